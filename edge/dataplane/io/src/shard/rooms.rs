//! Rooms and their sources as one shard sees them: who watches, and where packets come from.

use super::Shard;
use super::peer::Part;
use super::sound::HeldSound;
use crate::events::{Event, EventKind};
use crate::handoff::{Handoff, SourceHandle, WorkerIndex};
use std::sync::Arc;
use std::time::Duration;
use tradewind_core::codec::completion::KeyFrameCompletion;
use tradewind_core::media_clock::MediaClock;
use tradewind_core::packet::MediaPacket;
use tradewind_core::ring::{RingDrop, StreamRing};
use tradewind_core::source::{Codec, SenderClock, SourceId, SourceInfo, TrackInfo};
use tradewind_core::time::Time;

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
    pub(super) interested: Vec<WorkerIndex>,
}

/// One source in one shard.
pub struct Source {
    /// What it is.
    pub info: Arc<SourceInfo>,
    /// The worker that its packets come from.
    pub(super) owner: WorkerIndex,
    /// The host's place in the table when it is connected here.
    pub host: Option<usize>,
    pub(super) rings: Vec<StreamRing>,
    pub(super) clocks: Vec<Option<SenderClock>>,
    /// For the H.264 tracks of a host here.
    completions: Vec<Option<KeyFrameCompletion>>,
    /// What Python was told of the publisher's clock.
    media_clock: MediaClock,
    /// Time in which a loss on its way here is repaired; zero for a host of this edge.
    pub(super) repair_delay: Duration,
    /// What waits for its picture.
    pub(super) sound: HeldSound,
    /// Packets of a frame whose marker has not come.
    pub(super) pending: Vec<(u8, Arc<MediaPacket>)>,
    /// When a key frame was last asked of another worker, per track.
    asked_at: Vec<Option<Time>>,
}

impl Source {
    fn new(info: Arc<SourceInfo>, owner: WorkerIndex, host: Option<usize>) -> Self {
        let tracks = info.tracks.len();
        let sound = HeldSound::new(&info.tracks);
        let completion = |track: &TrackInfo| {
            let wanted = host.is_some() && track.codec == Codec::H264;
            wanted.then(|| KeyFrameCompletion::new(&track.fmtp))
        };
        let completions = info.tracks.iter().map(completion).collect();
        Source {
            info,
            owner,
            host,
            rings: (0..tracks).map(|_| StreamRing::new()).collect(),
            clocks: vec![None; tracks],
            completions,
            media_clock: MediaClock::default(),
            repair_delay: Duration::ZERO,
            sound,
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

    /// Makes a host's packet part of the stream that everybody gets; what comes back goes before it.
    pub(super) fn complete_key_frame(
        &mut self,
        track: usize,
        packet: &mut MediaPacket,
    ) -> Result<Option<MediaPacket>, RingDrop> {
        match self.completions.get_mut(track) {
            Some(Some(completion)) => completion.handle_packet(packet),
            _ => Ok(None),
        }
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

    pub(super) fn forget_room(&mut self, room: &Arc<str>) {
        if self
            .rooms
            .get(room)
            .is_some_and(|room| room.viewers.is_empty() && room.current.is_none() && room.interested.is_empty())
        {
            self.rooms.remove(room);
        }
    }

    /// The host's source; made known to everybody with its first packet.
    pub(super) fn source_of(&mut self, index: usize, now: Time) -> Option<SourceHandle> {
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
        self.forget_held_sound(handle, &source);
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
