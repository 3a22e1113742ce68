//! A peer's beginning and end, and the report for snapshots.

use super::peer::{DtlsState, HANDSHAKE_TIMEOUT, Part, Peer};
use super::timers::PeerKey;
use super::{OpenSession, Shard};
use crate::counters::Counter;
use crate::events::{Event, EventKind};
use crate::handoff::Handoff;
use crate::link::StreamStats;
use std::sync::PoisonError;
use tradewind_core::receive::ReceiveStats;
use tradewind_core::send::SendStats;
use tradewind_core::session::{Half, Session};
use tradewind_core::time::Time;

impl Shard {
    pub(super) fn open(&mut self, open: OpenSession, now: Time) {
        let part = match &open.half {
            Half::Host(_) => Part::Host {
                incarnation: open.incarnation,
                source: None,
                byes: 0,
                counted: ReceiveStats::default(),
            },
            Half::Viewer(_) => Part::Viewer {
                counted: SendStats::default(),
            },
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.peers.push(None);
            self.peers.len() - 1
        });
        let is_viewer = matches!(part, Part::Viewer { .. });
        let room = open.room.clone();
        self.by_slot.insert(open.session_id as u32, index);
        self.peers[index] = Some(Box::new(Peer {
            key: PeerKey {
                session_id: open.session_id,
                index,
            },
            room: open.room,
            session: Session::new(&open.ice_ufrag, &open.ice_pwd, open.half, now)
                .expiring_after(self.parts.peer_timeout),
            dtls: DtlsState::Waiting(open.dtls),
            handshake_until: now + HANDSHAKE_TIMEOUT,
            dtls_role: open.dtls_role,
            dtls_due: None,
            way: None,
            part,
            scheduled: None,
            media_seen: false,
        }));
        if is_viewer {
            self.join(&room, index);
        }
        self.schedule(index, now);
    }

    /// Ends a session: says goodbye, leaves its room or takes its source away, and tells Python.
    pub(super) fn close(&mut self, index: usize, reason: &str, now: Time) {
        self.say_goodbye(index, now);
        let Some(peer) = self.peers[index].take() else { return };
        self.free.push(index);
        self.by_slot.remove(&(peer.key.session_id as u32));
        for address in self.addresses.forget(index) {
            self.tell_shards(|| Handoff::AddressReleased { address });
        }
        self.parts.directory.remove(peer.key.session_id);
        self.parts.counters.add(Counter::SessionsClosed, 1);
        self.parts.events.send(Event {
            kind: EventKind::SessionClosed,
            session_id: Some(peer.key.session_id),
            room: peer.room.to_string(),
            role: peer.role(),
            reason: reason.to_owned(),
            ..Event::default()
        });
        match &peer.part {
            Part::Viewer { .. } => self.leave(&peer.room, index),
            Part::Host {
                source: Some(source),
                incarnation,
                ..
            } => {
                self.parts.events.send(Event {
                    kind: EventKind::SourceStopped,
                    room: peer.room.to_string(),
                    incarnation: *incarnation,
                    reason: reason.to_owned(),
                    ..Event::default()
                });
                self.take_down(*source, now);
            }
            Part::Host { source: None, .. } => {}
        }
    }

    /// RTCP BYE and a DTLS goodbye, as far as there are keys for them.
    fn say_goodbye(&mut self, index: usize, now: Time) {
        let Some(peer) = self.peers[index].as_mut() else { return };
        if peer.session.is_dead(now) {
            return; // RFC 7675 §5.1: nothing more may be sent
        }
        if let Some(range) = peer.session.goodbye(self.egress.arena(), now) {
            self.egress.push(range);
        }
        if let Some(dtls) = peer.dtls() {
            dtls.close();
        }
        self.flush_egress(index);
        self.send_dtls(index, now);
    }

    pub(super) fn close_all(&mut self, reason: &str, now: Time) {
        for index in 0..self.peers.len() {
            if self.peers[index].is_some() {
                self.close(index, reason, now);
            }
        }
        self.parts.mailbox.flush();
    }

    /// Renews what snapshots read.
    pub(super) fn report(&mut self) {
        let mut streams = Vec::with_capacity(self.sources.len());
        for source in self.sources.values() {
            let id = &source.info.id;
            let viewers = self
                .rooms
                .get(id.room.as_str())
                .map_or(0, |room| room.viewers.len() as u64);
            let mut stats = StreamStats {
                room: id.room.clone(),
                incarnation: id.incarnation,
                local: source.host.is_some(),
                viewers,
                codecs: source.codec_names(),
                ..StreamStats::default()
            };
            let host = source.host.and_then(|index| self.peers[index].as_mut());
            if let Some(receive) = host.and_then(|peer| peer.session.receive()) {
                let received = receive.stats();
                stats.packets = received.packets;
                stats.bytes = received.bytes;
                stats.packets_lost = received.packets_lost;
                stats.packets_recovered = received.packets_recovered;
                stats.key_frames = received.key_frames;
                stats.path = vec![self.parts.edge_id.to_string()];
            }
            streams.push(stats);
        }
        self.parts.report.lock().unwrap_or_else(PoisonError::into_inner).streams = streams;
    }
}
