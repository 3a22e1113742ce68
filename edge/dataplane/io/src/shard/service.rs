//! What is due: reports, paced packets, retransmissions, handshake timers, the dead.

use super::Shard;
use super::peer::{DtlsState, Part};
use crate::counters::Counter;
use crate::events::{Event, EventKind};
use crate::handoff::Handoff;
use std::time::Duration;
use tradewind_core::receive::ReceiveEvent;
use tradewind_core::time::Time;

/// A half that asks to be served again at once has nothing to give before then.
const SERVICE_GAP: Duration = Duration::from_millis(1);

impl Shard {
    /// Serves every peer whose time has come.
    pub(super) fn serve_due(&mut self, now: Time) {
        while let Some((due, key)) = self.timers.pop(now) {
            let Some(peer) = self.peers.get_mut(key.index).and_then(Option::as_mut) else {
                continue;
            };
            if peer.key != key || peer.scheduled != Some(due) {
                continue;
            }
            peer.scheduled = None;
            self.serve(key.index, now);
        }
    }

    /// Notes when the peer wants to be served next, not before `earliest`, if that is sooner than what is noted already.
    pub(super) fn schedule(&mut self, index: usize, earliest: Time) {
        let Some(peer) = self.peers[index].as_mut() else { return };
        let due = peer.due().max(earliest);
        if peer.scheduled.is_none_or(|scheduled| due < scheduled) {
            peer.scheduled = Some(due);
            self.timers.insert(due, peer.key);
        }
    }

    /// Lets a peer do all that is due now.
    pub(super) fn serve(&mut self, index: usize, now: Time) {
        let Some(peer) = self.peers[index].as_mut() else { return };
        if peer.session.is_dead(now) {
            return self.close(index, "ice_timeout", now);
        }
        if !peer.session.is_connected() && now >= peer.handshake_until {
            return self.close(index, "handshake_timeout", now);
        }
        if !self.serve_dtls(index, now) {
            return;
        }
        match self.peers[index]
            .as_ref()
            .map(|peer| matches!(peer.part, Part::Host { .. }))
        {
            Some(true) => self.serve_host(index, now),
            Some(false) => self.serve_viewer(index, now),
            None => return,
        }
        self.schedule(index, now + SERVICE_GAP);
    }

    /// Repeats a flight or frees the handshake; false when the session has ended.
    fn serve_dtls(&mut self, index: usize, now: Time) -> bool {
        let Some(peer) = self.peers[index].as_mut() else {
            return false;
        };
        if matches!(&peer.dtls, DtlsState::Lingering(_, until) if now >= *until) {
            peer.dtls = DtlsState::Freed;
            peer.dtls_due = None;
            self.trim_at.get_or_insert(now + super::TRIM_AFTER);
        }
        if peer.dtls_due.is_none_or(|due| now < due) {
            return true;
        }
        let Some(Err(error)) = peer.dtls().map(crate::dtls::Dtls::handle_timeout) else {
            self.send_dtls(index, now);
            return true;
        };
        self.fail_dtls(index, &error, now);
        false
    }

    fn serve_host(&mut self, index: usize, now: Time) {
        let Some(peer) = self.peers[index].as_mut() else { return };
        while let Some(range) = peer.session.poll_rtcp(self.egress.arena(), now) {
            self.egress.push(range);
        }
        self.flush_egress(index);
        self.count_host(index);
        loop {
            let Some(peer) = self.peers[index].as_mut() else { return };
            let Some(event) = peer.session.receive().and_then(|receive| receive.poll_event()) else {
                return;
            };
            let room = peer.room.to_string();
            let Part::Host {
                incarnation,
                source,
                byes,
                ..
            } = &mut peer.part
            else {
                return;
            };
            match event {
                ReceiveEvent::SenderClock { track, clock } => {
                    if let Some(source) = *source {
                        self.handle_sender_report(source, track, clock, now);
                    }
                }
                ReceiveEvent::Bye { track } => {
                    *byes |= 1 << track.min(63);
                    let tracks = source
                        .and_then(|source| self.sources.get(&source))
                        .map(|source| source.tracks());
                    if tracks.is_some_and(|tracks| byes.count_ones() as usize >= tracks) {
                        return self.close(index, "peer_goodbye", now);
                    }
                }
                ReceiveEvent::KeyFrameIgnored { .. } => {
                    let incarnation = *incarnation;
                    self.warn_of_host(room, incarnation, "key_frame_interval");
                }
                ReceiveEvent::BFrames { .. } => {
                    let incarnation = *incarnation;
                    self.warn_of_host(room, incarnation, "b_frames");
                }
            }
        }
    }

    fn warn_of_host(&self, room: String, incarnation: u64, reason: &str) {
        self.parts.events.send(Event {
            kind: EventKind::SourceWarning,
            room,
            incarnation,
            reason: reason.to_owned(),
            ..Event::default()
        });
    }

    fn serve_viewer(&mut self, index: usize, now: Time) {
        let Some(peer) = self.peers[index].as_mut() else { return };
        let source = self.rooms.get(&peer.room).and_then(|room| room.current);
        let rings = source
            .and_then(|source| self.sources.get(&source))
            .map_or(&[][..], |source| source.rings());
        while let Some(range) = peer.session.poll_rtcp(self.egress.arena(), now) {
            self.egress.push(range);
        }
        // Bounded: what one visit sends may not fill the socket while others wait.
        let mut sent = false;
        for _ in 0..256 {
            let Some(range) = peer.session.poll_packet(rings, self.egress.arena(), now) else {
                break;
            };
            self.egress.push(range);
            sent = true;
        }
        self.flush_egress(index);
        if sent {
            self.note_first_media(index);
        }
        self.count_viewer(index);
        self.ask_for_key_frames(index, source, now);
    }

    /// As [`Shard::count_viewer`].
    fn count_host(&mut self, index: usize) {
        let Some(peer) = self.peers[index].as_mut() else { return };
        let Part::Host { counted, .. } = &mut peer.part else {
            return;
        };
        let Some(receive) = peer.session.receive() else { return };
        let stats = receive.stats();
        let counters = &self.parts.counters;
        counters.add(Counter::NacksSent, stats.nacks_sent - counted.nacks_sent);
        counters.add(Counter::KeyFrameRequestsSent, stats.plis_sent - counted.plis_sent);
        *counted = stats;
    }

    /// Adds what the half has counted since the last time to the shard's numbers.
    fn count_viewer(&mut self, index: usize) {
        let Some(peer) = self.peers[index].as_mut() else { return };
        let Part::Viewer { counted } = &mut peer.part else {
            return;
        };
        let Some(send) = peer.session.send() else { return };
        let stats = send.stats();
        let counters = &self.parts.counters;
        counters.add(
            Counter::RetransmissionsSent,
            stats.retransmissions - counted.retransmissions,
        );
        counters.add(Counter::NacksReceived, stats.nacks_received - counted.nacks_received);
        counters.add(Counter::ReplaysStarted, stats.replays - counted.replays);
        *counted = stats;
        send.drain_drops(|reason, count| {
            for _ in 0..count {
                counters.drop_named(reason.name());
            }
        });
    }

    pub(super) fn note_first_media(&mut self, index: usize) {
        let Some(peer) = self.peers[index].as_mut() else { return };
        if !std::mem::replace(&mut peer.media_seen, true) {
            self.parts.events.send(Event {
                kind: EventKind::SessionFirstMedia,
                session_id: Some(peer.key.session_id),
                room: peer.room.to_string(),
                role: peer.role(),
                ..Event::default()
            });
        }
    }

    /// Sends what the arena holds to this peer.
    pub(super) fn flush_egress(&mut self, index: usize) {
        let way = self.peers[index].as_ref().and_then(|peer| peer.way.as_ref());
        self.egress.finish_peer(way);
        self.egress.send(&self.parts.sockets, &self.parts.counters);
    }

    pub(super) fn other_shards(&self) -> impl Iterator<Item = usize> + use<> {
        let (own, shards) = (self.parts.mailbox.index(), self.parts.shards);
        (0..shards).filter(move |shard| *shard != own)
    }

    /// Hands a notice to another worker; one that does not fit is counted.
    pub(super) fn notice(&mut self, worker: usize, handoff: Handoff) {
        if self.parts.mailbox.send_notice(worker, handoff).is_err() {
            self.parts
                .counters
                .drop_one(crate::counters::DropReason::HandoffNoticeFull);
        }
    }
}
