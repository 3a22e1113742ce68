//! Rooms and their sources as one shard sees them: who watches, where packets come from, and the fan-out.

use super::Shard;
use super::peer::Part;
use crate::counters::DropReason;
use crate::events::{Event, EventKind};
use crate::handoff::{Handoff, SourceHandle, WorkerIndex};
use std::sync::Arc;
use std::time::Duration;
use tradewind_core::hold::{SoundHold, hold_for};
use tradewind_core::media_clock::MediaClock;
use tradewind_core::packet::MediaPacket;
use tradewind_core::ring::StreamRing;
use tradewind_core::session::Session;
use tradewind_core::source::{Codec, MediaKind, SenderClock, SourceId, SourceInfo};
use tradewind_core::time::Time;

/// A frame that does not end within so many packets is sent in parts.
const PENDING_MAX: usize = 64;
/// Key-frame requests of one shard for one track are sent to another worker at most this often; the receive half
/// that gets them has its own, longer gap.
const KEY_FRAME_GAP: Duration = Duration::from_millis(100);

/// One room in one shard.
#[derive(Default)]
pub struct Room {
    /// Viewers here, connected or not, by their place in the shard's table.
    pub viewers: Vec<usize>,
    /// The source that viewers get: the latest publication that is known here.
    pub current: Option<SourceHandle>,
    /// Other workers that want the room's media.
    interested: Vec<WorkerIndex>,
}

/// One source in one shard.
pub struct Source {
    /// What it is.
    pub info: Arc<SourceInfo>,
    /// The worker that its packets come from.
    owner: WorkerIndex,
    /// The host's place in the table when it is connected here.
    pub host: Option<usize>,
    rings: Vec<StreamRing>,
    clocks: Vec<Option<SenderClock>>,
    /// What Python was told of the publisher's clock.
    media_clock: MediaClock,
    /// Time in which a loss on its way here is repaired; zero for a host of this edge.
    repair_delay: Duration,
    /// Sound that waits for its picture, by track; none for video.
    holds: Vec<Option<SoundHold>>,
    /// When the first of it is due, as noted in the shard's table.
    hold_due: Option<Time>,
    /// Packets of a frame whose marker has not come.
    pending: Vec<(u8, Arc<MediaPacket>)>,
    /// When a key frame was last asked of another worker, per track.
    asked_at: Vec<Option<Time>>,
}

/// Which of a room's viewers get a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Audience {
    All,
    /// Players that were told to show pictures later.
    BufferingPictures,
    ShowingAtOnce,
}

impl Audience {
    fn includes(self, session: &mut Session) -> bool {
        self == Audience::All
            || session
                .send()
                .is_some_and(|send| send.buffers_pictures() == (self == Audience::BufferingPictures))
    }
}

impl Source {
    fn new(info: Arc<SourceInfo>, owner: WorkerIndex, host: Option<usize>) -> Self {
        let tracks = info.tracks.len();
        let has_picture = info.tracks.iter().any(|track| track.codec.kind() == MediaKind::Video);
        let holds = info
            .tracks
            .iter()
            .map(|track| {
                (has_picture && track.codec.kind() == MediaKind::Audio)
                    .then(|| SoundHold::new(track.codec.clock_rate()))
            })
            .collect();
        Source {
            info,
            owner,
            host,
            rings: (0..tracks).map(|_| StreamRing::new()).collect(),
            clocks: vec![None; tracks],
            media_clock: MediaClock::default(),
            repair_delay: Duration::ZERO,
            holds,
            hold_due: None,
            pending: Vec::new(),
            asked_at: vec![None; tracks],
        }
    }

    /// How many tracks it has.
    pub fn tracks(&self) -> usize {
        self.info.tracks.len()
    }

    /// Its kept packets, by track.
    pub fn rings(&self) -> &[StreamRing] {
        &self.rings
    }

    /// Its codecs as Python sees them.
    pub fn codec_names(&self) -> Vec<&'static str> {
        self.info.tracks.iter().map(|track| codec_name(track.codec)).collect()
    }
}

/// A codec's name in SDP.
pub fn codec_name(codec: Codec) -> &'static str {
    match codec {
        Codec::Opus => "opus",
        Codec::Vp8 => "VP8",
        Codec::H264 => "H264",
    }
}

impl Shard {
    /// A viewer is in the room: its media is wanted from now on.
    pub(super) fn join(&mut self, room: &Arc<str>, index: usize) {
        let viewers = &mut self.rooms.entry(Arc::clone(room)).or_default().viewers;
        viewers.push(index);
        if viewers.len() == 1 {
            self.tell_interest(room, true);
        }
    }

    /// A viewer has left.
    pub(super) fn leave(&mut self, room: &Arc<str>, index: usize) {
        let Some(state) = self.rooms.get_mut(room) else { return };
        state.viewers.retain(|viewer| *viewer != index);
        if state.viewers.is_empty() {
            self.tell_interest(room, false);
            self.forget_room(room);
        }
    }

    fn tell_interest(&mut self, room: &Arc<str>, wanted: bool) {
        for worker in self.parts.mailbox.others() {
            self.notice(
                worker,
                Handoff::Interest {
                    room: Arc::clone(room),
                    wanted,
                },
            );
        }
    }

    fn forget_room(&mut self, room: &Arc<str>) {
        if self
            .rooms
            .get(room)
            .is_some_and(|room| room.viewers.is_empty() && room.current.is_none() && room.interested.is_empty())
        {
            self.rooms.remove(room);
        }
    }

    /// A packet of a host of this shard.
    pub(super) fn publish_packet(&mut self, index: usize, track: usize, packet: MediaPacket, now: Time) {
        let Some(handle) = self.source_of(index, now) else {
            return;
        };
        self.note_first_media(index);
        let packet = Arc::new(packet);
        let Some(source) = self.sources.get(&handle) else {
            return;
        };
        let room = self.rooms.get(source.info.id.room.as_str());
        for worker in room.map_or(&[][..], |room| &room.interested) {
            let handoff = Handoff::Packet {
                source: handle,
                track: track as u8,
                packet: Arc::clone(&packet),
            };
            if self.parts.mailbox.send_media(*worker, handoff).is_err() {
                let to_trunk = *worker >= self.parts.shards;
                self.parts.counters.drop_one(if to_trunk {
                    DropReason::HandoffTrunkFull
                } else {
                    DropReason::HandoffRingFull
                });
            }
        }
        self.handle_packet(handle, track, packet, now);
    }

    /// The host's source; made known to everybody with its first packet.
    fn source_of(&mut self, index: usize, now: Time) -> Option<SourceHandle> {
        let peer = self.peers[index].as_mut()?;
        let Part::Host {
            incarnation, source, ..
        } = &mut peer.part
        else {
            return None;
        };
        if let Some(handle) = *source {
            return Some(handle);
        }
        let handle = SourceHandle::next();
        *source = Some(handle);
        let info = Arc::new(SourceInfo {
            id: SourceId {
                room: peer.room.to_string(),
                incarnation: *incarnation,
            },
            origin_edge: self.parts.edge_id.to_string(),
            tracks: peer
                .session
                .receive()
                .map(|receive| receive.track_infos())
                .unwrap_or_default(),
        });
        let own = self.parts.mailbox.index();
        for worker in self.parts.mailbox.others() {
            self.notice(
                worker,
                Handoff::SourceUp {
                    handle,
                    info: Arc::clone(&info),
                },
            );
        }
        self.bring_up(handle, info, own, Some(index), now);
        // A newer publication may have been there already: then this host was just closed.
        let peer = self.peers[index].as_ref()?;
        let source = self.sources.get(&handle)?;
        self.parts.events.send(Event {
            kind: EventKind::SourceStarted,
            room: peer.room.to_string(),
            incarnation: source.info.id.incarnation,
            codecs: source.codec_names(),
            ..Event::default()
        });
        Some(handle)
    }

    /// A source became available, here or elsewhere.
    pub(super) fn bring_up(
        &mut self,
        handle: SourceHandle,
        info: Arc<SourceInfo>,
        owner: WorkerIndex,
        host: Option<usize>,
        now: Time,
    ) {
        let room: Arc<str> = info.id.room.as_str().into();
        self.sources.insert(handle, Source::new(info, owner, host));
        self.choose_source(&room, now);
    }

    /// A source is gone, here or elsewhere.
    pub(super) fn take_down(&mut self, handle: SourceHandle, now: Time) {
        let Some(source) = self.sources.remove(&handle) else {
            return;
        };
        if source.owner == self.parts.mailbox.index() {
            for worker in self.parts.mailbox.others() {
                self.notice(
                    worker,
                    Handoff::SourceDown {
                        handle,
                        reason: "source_stopped",
                    },
                );
            }
        }
        self.unflushed.retain(|(waiting, _)| *waiting != handle);
        if let Some(due) = source.hold_due {
            self.held_sound.remove(&(due, handle));
        }
        let room: Arc<str> = source.info.id.room.as_str().into();
        self.choose_source(&room, now);
        self.forget_room(&room);
    }

    /// Gives viewers the latest publication of their room, and ends older ones of this shard.
    fn choose_source(&mut self, room: &Arc<str>, now: Time) {
        let of_room = |source: &Source| *source.info.id.room == **room;
        let best = self
            .sources
            .iter()
            .filter(|(_, source)| of_room(source))
            .max_by_key(|(handle, source)| (source.info.id.incarnation, source.host.is_some(), **handle))
            .map(|(handle, _)| *handle);
        let state = self.rooms.entry(Arc::clone(room)).or_default();
        if state.current != best {
            state.current = best;
            let viewers = state.viewers.clone();
            let info = best
                .and_then(|best| self.sources.get(&best))
                .map(|source| Arc::clone(&source.info));
            self.parts.directory.set_source(room, info);
            for viewer in viewers {
                self.show_source(viewer, now);
                self.serve(viewer, now);
            }
        }
        let Some(newest) = best
            .and_then(|best| self.sources.get(&best))
            .map(|best| best.info.id.incarnation)
        else {
            return;
        };
        let superseded: Vec<usize> = self
            .sources
            .values()
            .filter(|source| of_room(source) && source.info.id.incarnation < newest)
            .filter_map(|source| source.host)
            .collect();
        for host in superseded {
            self.close(host, "superseded", now);
        }
    }

    /// Shows the room's source to a connected viewer.
    pub(super) fn show_source(&mut self, index: usize, now: Time) {
        let Some(peer) = self.peers[index].as_mut() else { return };
        let current = self.rooms.get(&peer.room).and_then(|room| room.current);
        let Some(source) = current.and_then(|current| self.sources.get(&current)) else {
            if let Some(send) = peer.session.send() {
                send.clear_source();
            }
            return;
        };
        if !peer.session.is_connected() {
            return;
        }
        if let Some(send) = peer.session.send() {
            send.set_repair_delay(source.repair_delay);
            send.switch_source(&source.info, &source.clocks, &source.rings, now);
        }
    }

    /// Another worker wants, or no longer wants, a room's media: it gets what is kept from the latest key frame on.
    pub(super) fn handle_interest(&mut self, from: WorkerIndex, room: &Arc<str>, wanted: bool) {
        let state = self.rooms.entry(Arc::clone(room)).or_default();
        state.interested.retain(|worker| *worker != from);
        if !wanted {
            return self.forget_room(room);
        }
        state.interested.push(from);
        let own = self.parts.mailbox.index();
        for (handle, source) in &self.sources {
            if source.owner != own || *source.info.id.room != **room {
                continue;
            }
            for (track, clock) in source.clocks.iter().enumerate() {
                if let Some(clock) = *clock {
                    let notice = Handoff::SenderClock {
                        source: *handle,
                        track: track as u8,
                        clock,
                    };
                    if self.parts.mailbox.send_notice(from, notice).is_err() {
                        self.parts.counters.drop_one(DropReason::HandoffNoticeFull);
                    }
                }
            }
            for (track, ring) in source.rings.iter().enumerate() {
                let (Some(start), Some(last)) = (ring.group_start(), ring.highest()) else {
                    continue;
                };
                for packet in (start..=last).filter_map(|number| ring.get(number)) {
                    let handoff = Handoff::Packet {
                        source: *handle,
                        track: track as u8,
                        packet: Arc::clone(packet),
                    };
                    if self.parts.mailbox.send_media(from, handoff).is_err() {
                        self.parts.counters.drop_one(DropReason::HandoffRingFull);
                    }
                }
            }
        }
    }

    /// Takes a batch of what other workers handed over; returns whether more waits.
    pub(super) fn handle_handoffs(&mut self, now: Time) -> bool {
        for _ in 0..super::HANDOFFS_PER_TURN {
            let Some((from, handoff)) = self.parts.mailbox.receive() else {
                return false;
            };
            match handoff {
                Handoff::Packet { source, track, packet } => self.handle_packet(source, track.into(), packet, now),
                Handoff::SourceUp { handle, info } => self.bring_up(handle, info, from, None, now),
                Handoff::SourceDown { handle, .. } => self.take_down(handle, now),
                Handoff::SenderClock { source, track, clock } => {
                    self.apply_sender_clock(source, track.into(), clock, now);
                }
                Handoff::RepairDelay { source, repair_ms } => self.apply_repair_delay(source, repair_ms, now),
                Handoff::Interest { room, wanted } => self.handle_interest(from, &room, wanted),
                Handoff::KeyFrameRequest { source, track } => self.request_key_frame(source, track.into(), now),
                Handoff::ForeignDatagram(mut datagram) => {
                    let (source, destination) = (datagram.source, datagram.destination);
                    self.handle_datagram(true, source, destination, &mut datagram.bytes, now);
                }
                Handoff::AddressOwned { address } => {
                    self.foreign.insert(address, from);
                }
                Handoff::AddressReleased { address } => {
                    if self.foreign.get(&address) == Some(&from) {
                        self.foreign.remove(&address);
                    }
                }
            }
        }
        true
    }

    /// A packet of a source, from here or from another worker: kept, and sent on when its frame is complete.
    fn handle_packet(&mut self, handle: SourceHandle, track: usize, packet: Arc<MediaPacket>, now: Time) {
        let counters = &self.parts.counters;
        let Some(source) = self.sources.get_mut(&handle) else {
            return counters.drop_one(DropReason::HandoffUnknownSource);
        };
        let Some(ring) = source.rings.get_mut(track) else {
            return counters.drop_one(DropReason::HandoffUnknownSource);
        };
        if let Err(reason) = ring.insert(Arc::clone(&packet)) {
            return counters.drop_named(reason.name());
        }
        let room = self.rooms.get(source.info.id.room.as_str());
        if room.is_none_or(|room| room.current != Some(handle) || room.viewers.is_empty()) {
            return;
        }
        if source.info.tracks[track].codec.kind() == MediaKind::Audio {
            return self.handle_sound(handle, track, packet, now);
        }
        let is_last = packet.marker;
        if source.pending.is_empty() {
            self.unflushed.push((handle, now));
        }
        source.pending.push((track as u8, packet));
        if is_last || source.pending.len() >= PENDING_MAX {
            self.flush_source(handle, now);
        }
    }

    /// Sound does not wait behind a picture, and its packets are single. Players that buffer the picture get it when their
    /// picture will be shown, the others at once.
    fn handle_sound(&mut self, handle: SourceHandle, track: usize, packet: Arc<MediaPacket>, now: Time) {
        let sound_hold = self.parts.features.sound_hold;
        let Some(source) = self.sources.get_mut(&handle) else {
            return;
        };
        let hold = source.holds[track].as_mut().filter(|_| sound_hold);
        let Some(hold) = hold.filter(|_| hold_for(source.repair_delay).is_some()) else {
            return self.fan_out(handle, &[(track as u8, packet)], Audience::All, now);
        };
        hold.handle_packet(Arc::clone(&packet));
        self.fan_out(handle, &[(track as u8, packet)], Audience::ShowingAtOnce, now);
        self.release_sound(handle, now);
    }

    /// Sends the sound whose time has come.
    pub(super) fn release_due_sound(&mut self, now: Time) {
        while let Some((due, handle)) = self.held_sound.first().copied() {
            if due > now {
                return;
            }
            self.release_sound(handle, now);
        }
    }

    fn release_sound(&mut self, handle: SourceHandle, now: Time) {
        let Some(source) = self.sources.get(&handle) else {
            return;
        };
        let wait = hold_for(source.repair_delay).unwrap_or_default();
        for track in 0..source.holds.len() {
            loop {
                let hold = self
                    .sources
                    .get_mut(&handle)
                    .and_then(|source| source.holds[track].as_mut());
                let Some(packet) = hold.and_then(|hold| hold.poll_packet(wait, now)) else {
                    break;
                };
                self.fan_out(handle, &[(track as u8, packet)], Audience::BufferingPictures, now);
            }
        }
        let Some(source) = self.sources.get_mut(&handle) else {
            return;
        };
        let due = source
            .holds
            .iter()
            .flatten()
            .filter_map(|hold| hold.poll_timeout(wait))
            .min();
        if due != source.hold_due {
            if let Some(noted) = source.hold_due {
                self.held_sound.remove(&(noted, handle));
            }
            self.held_sound.extend(due.map(|due| (due, handle)));
            source.hold_due = due;
        }
    }

    /// When [`Shard::release_due_sound`] has something to do.
    pub(super) fn next_held_sound(&self) -> Option<Time> {
        self.held_sound.first().map(|(due, _)| *due)
    }

    /// Sends frames whose marker has not come in time.
    pub(super) fn flush_overdue(&mut self, now: Time) {
        while let Some((handle, since)) = self.unflushed.first().copied() {
            if now - since < super::FLUSH_AFTER {
                return;
            }
            self.flush_source(handle, now);
        }
    }

    fn flush_source(&mut self, handle: SourceHandle, now: Time) {
        self.unflushed.retain(|(waiting, _)| *waiting != handle);
        let Some(source) = self.sources.get_mut(&handle) else {
            return;
        };
        let mut batch = std::mem::take(&mut source.pending);
        self.fan_out(handle, &batch, Audience::All, now);
        batch.clear();
        if let Some(source) = self.sources.get_mut(&handle) {
            source.pending = batch; // its memory serves the next frame
        }
    }

    /// The inner loop of an edge: the packets of one frame, for each viewer in turn, as one run.
    fn fan_out(&mut self, handle: SourceHandle, batch: &[(u8, Arc<MediaPacket>)], audience: Audience, now: Time) {
        let Some(room) = self
            .sources
            .get(&handle)
            .and_then(|source| self.rooms.get(source.info.id.room.as_str()))
        else {
            return;
        };
        for index in &room.viewers {
            let Some(peer) = self.peers[*index].as_mut() else {
                continue;
            };
            if !peer.session.is_connected() || !audience.includes(&mut peer.session) {
                continue;
            }
            for (track, packet) in batch {
                match peer.session.write((*track).into(), packet, self.egress.arena(), now) {
                    Ok(Some(range)) => self.egress.push(range),
                    Ok(None) => {}
                    Err(reason) => self.parts.counters.drop_named(reason.name()),
                }
            }
            if !self.egress.is_empty() {
                self.egress.finish_peer(peer.way.as_ref());
                if self.egress.is_full() {
                    self.egress.send(&self.parts.sockets, &self.parts.counters);
                }
                if !std::mem::replace(&mut peer.media_seen, true) {
                    self.parts.events.send(Event {
                        kind: EventKind::SessionFirstMedia,
                        session_id: Some(peer.key.session_id),
                        room: peer.room.to_string(),
                        role: "viewer",
                        ..Event::default()
                    });
                }
            }
            let due = peer.due().max(now);
            if peer.scheduled.is_none_or(|scheduled| due < scheduled) {
                peer.scheduled = Some(due);
                self.timers.insert(due, peer.key);
            }
        }
        self.egress.send(&self.parts.sockets, &self.parts.counters);
    }

    pub(super) fn apply_sender_clock(&mut self, handle: SourceHandle, track: usize, clock: SenderClock, now: Time) {
        let Some(source) = self.sources.get_mut(&handle) else {
            return;
        };
        let Some(known) = source.clocks.get_mut(track) else {
            return;
        };
        *known = Some(clock);
        let Some(room) = self.rooms.get(source.info.id.room.as_str()) else {
            return;
        };
        if room.current != Some(handle) {
            return;
        }
        for index in &room.viewers {
            if let Some(send) = self.peers[*index].as_mut().and_then(|peer| peer.session.send()) {
                send.handle_sender_clock(track, clock, now);
            }
        }
    }

    /// A sender report of a host here: for viewers, for other workers, and for the room's comments.
    pub(super) fn handle_sender_report(&mut self, handle: SourceHandle, track: usize, clock: SenderClock, now: Time) {
        self.apply_sender_clock(handle, track, clock, now);
        for worker in self.parts.mailbox.others() {
            self.notice(
                worker,
                Handoff::SenderClock {
                    source: handle,
                    track: track as u8,
                    clock,
                },
            );
        }
        let Some(source) = self.sources.get_mut(&handle) else {
            return;
        };
        if let Some(media_time_ms) = source.media_clock.handle_sender_clock(clock, now) {
            self.parts.events.send(Event {
                kind: EventKind::SourceClock,
                room: source.info.id.room.clone(),
                incarnation: source.info.id.incarnation,
                media_time_ms,
                ..Event::default()
            });
        }
    }

    /// Has players of a source buffer for its repairs.
    fn apply_repair_delay(&mut self, handle: SourceHandle, repair_ms: u16, now: Time) {
        let Some(source) = self.sources.get_mut(&handle) else {
            return;
        };
        source.repair_delay = Duration::from_millis(repair_ms.into());
        let Some(room) = self.rooms.get(source.info.id.room.as_str()) else {
            return;
        };
        if room.current != Some(handle) {
            return;
        }
        for index in &room.viewers {
            if let Some(send) = self.peers[*index].as_mut().and_then(|peer| peer.session.send()) {
                send.set_repair_delay(source.repair_delay);
            }
        }
        self.release_sound(handle, now);
    }

    /// Asks for a key frame of a source, wherever it comes from.
    pub(super) fn request_key_frame(&mut self, handle: SourceHandle, track: usize, now: Time) {
        let Some(source) = self.sources.get_mut(&handle) else {
            return;
        };
        if let Some(host) = source.host {
            if let Some(receive) = self.peers[host].as_mut().and_then(|peer| peer.session.receive()) {
                receive.request_key_frame(track, now);
                self.schedule(host, now);
            }
            return;
        }
        let Some(asked_at) = source.asked_at.get_mut(track) else {
            return;
        };
        if asked_at.is_some_and(|asked_at| now - asked_at < KEY_FRAME_GAP) {
            return;
        }
        *asked_at = Some(now);
        let owner = source.owner;
        self.notice(
            owner,
            Handoff::KeyFrameRequest {
                source: handle,
                track: track as u8,
            },
        );
    }

    /// Passes on what a viewer's half wants.
    pub(super) fn ask_for_key_frames(&mut self, index: usize, source: Option<SourceHandle>, now: Time) {
        let Some(source) = source else { return };
        let mut wanted = [None; 4];
        for slot in &mut wanted {
            let peer = self.peers[index].as_mut();
            *slot = peer.and_then(|peer| peer.session.send()?.poll_key_frame_request(now));
        }
        for track in wanted.into_iter().flatten() {
            self.request_key_frame(source, track, now);
        }
    }
}
