//! A source's packets on their way to the viewers of its room, frame by frame.

use super::Shard;
use crate::counters::DropReason;
use crate::events::{Event, EventKind};
use crate::handoff::SourceHandle;
use std::sync::Arc;
use tradewind_core::packet::MediaPacket;
use tradewind_core::session::Session;
use tradewind_core::source::MediaKind;
use tradewind_core::time::Time;

/// A frame that does not end within so many packets is sent in parts.
const PENDING_MAX: usize = 64;

/// Which of a room's viewers get a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
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

impl Shard {
    /// A packet of a source, from here or from another worker: kept, and sent on when its frame is complete.
    pub(super) fn handle_packet(&mut self, handle: SourceHandle, track: usize, packet: Arc<MediaPacket>, now: Time) {
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
    pub(super) fn fan_out(
        &mut self,
        handle: SourceHandle,
        batch: &[(u8, Arc<MediaPacket>)],
        audience: Audience,
        now: Time,
    ) {
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
            let mut has_media = false;
            for (track, packet) in batch {
                if peer.session.begin((*track).into(), packet, now) {
                    while let Some(range) = peer.session.poll_rtcp(self.egress.arena(), now) {
                        self.egress.push(range);
                    }
                }
                match peer.session.write((*track).into(), packet, self.egress.arena(), now) {
                    Ok(Some(range)) => {
                        self.egress.push(range);
                        has_media = true;
                    }
                    Ok(None) => {}
                    Err(reason) => self.parts.counters.drop_named(reason.name()),
                }
            }
            if !self.egress.is_empty() {
                self.egress.finish_peer(peer.way.as_ref());
                if self.egress.is_full() {
                    self.egress.send(&self.parts.sockets, &self.parts.counters);
                }
                if has_media && !std::mem::replace(&mut peer.media_seen, true) {
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
}
