//! What came from the network: told apart, given to its session, or dropped with a name.

use super::Shard;
use super::addresses::Holder;
use super::peer::DtlsState;
use crate::counters::{Counter, DropReason};
use crate::directory;
use crate::dtls::{DtlsError, DtlsIgnored, DtlsProgress, SrtpKeys};
use crate::events::{Event, EventKind};
use crate::handoff::{ForeignDatagram, Handoff, WorkerIndex};
use crate::shard::peer::DTLS_LINGER;
use crate::udp::{Destination, MediaSocket, Received, Receiver, send_one};
use std::net::SocketAddr;
use tradewind_core::ice;
use tradewind_core::session::{DatagramKind, SessionDrop, classify};
use tradewind_core::srtp::{OpenContext, SealContext};
use tradewind_core::time::Time;

impl Shard {
    /// Reads what waits in one socket, a bounded number of batches; returns whether more may wait.
    pub(super) fn receive_from(&mut self, socket: &MediaSocket, receiver: &mut Receiver) -> bool {
        for _ in 0..super::BATCHES_PER_TURN {
            let now = self.now();
            let (count, cut) = receiver.receive(
                socket,
                |Received {
                     source,
                     destination,
                     bytes,
                 }| {
                    self.parts.counters.add(Counter::PacketsReceived, 1);
                    self.parts.counters.add(Counter::BytesReceived, bytes.len() as u64);
                    self.handle_datagram(false, source, destination, bytes, now);
                },
            );
            if cut > 0 {
                self.parts.counters.drop_many(DropReason::DatagramSize, cut);
            }
            if !Receiver::is_full(count) {
                return false;
            }
        }
        true
    }

    /// Handles one datagram, from a socket or (`was_handed`) from another shard.
    pub(super) fn handle_datagram(
        &mut self,
        was_handed: bool,
        source: SocketAddr,
        destination: SocketAddr,
        bytes: &mut [u8],
        now: Time,
    ) {
        let Some(kind) = classify(bytes) else {
            let reason = if bytes.len() < 2 {
                DropReason::DatagramSize
            } else {
                DropReason::DatagramUnknown
            };
            return self.parts.counters.drop_one(reason);
        };
        if kind == DatagramKind::Stun {
            return self.handle_check(was_handed, source, destination, bytes, now);
        }
        let Some(index) = self.addresses.peer(source) else {
            return self.hand_over(was_handed, None, source, destination, bytes);
        };
        match kind {
            DatagramKind::Dtls => self.handle_dtls(index, source, bytes, now),
            DatagramKind::Rtp => self.handle_rtp(index, source, bytes, now),
            DatagramKind::Rtcp | DatagramKind::Stun => self.handle_rtcp(index, source, bytes, now),
        }
    }

    fn handle_check(&mut self, was_handed: bool, source: SocketAddr, destination: SocketAddr, bytes: &[u8], now: Time) {
        let Some((shard, slot)) = directory::check_owner(bytes) else {
            return self
                .parts
                .counters
                .drop_named(ice::drop_reason_without_session(bytes).name());
        };
        if shard != self.parts.mailbox.index() {
            return self.hand_over(was_handed, Some(shard), source, destination, bytes);
        }
        let found = self.by_slot.get(&slot).copied();
        let taken = found.is_some_and(|index| self.is_taken(index, source, now));
        let Some((index, peer)) = found.and_then(|index| Some((index, self.peers.get_mut(index)?.as_mut()?))) else {
            return self.parts.counters.drop_named(ice::IceDrop::UnknownUfrag.name());
        };
        if taken {
            return self.parts.counters.drop_one(DropReason::AddressTaken);
        }
        let reply = match peer.session.handle_check(bytes, source, destination, now) {
            Ok(reply) => reply,
            Err(reason) => return self.parts.counters.drop_named(reason.name()),
        };
        let family = usize::from(source.is_ipv6());
        let Some(socket) = self.parts.sockets[family].as_ref() else {
            return;
        };
        let way = Destination::new(source, destination, socket);
        send_one(socket, &way, &reply.response);
        let selected = peer.session.remote() == Some(source);
        if selected && (reply.nominated_changed.is_some() || peer.way.is_none()) {
            peer.way = Some((family, way));
        }
        self.own_address(index, source);
        self.start_dtls(index, now);
    }

    /// From now on datagrams from `address` belong to this peer.
    fn own_address(&mut self, index: usize, address: SocketAddr) {
        let in_use = self.peers[index].as_ref().and_then(|peer| peer.session.remote());
        let (is_new, left) = self.addresses.give(address, index, in_use);
        if is_new {
            self.tell_shards(|| Handoff::AddressOwned { address });
        }
        if let Some(address) = left {
            self.tell_shards(|| Handoff::AddressReleased { address });
        }
    }

    /// Whether somebody else holds the address that a check for this peer came from. Another shard is asked, and releases what is
    /// not in use any more; a client repeats its checks.
    fn is_taken(&mut self, index: usize, address: SocketAddr, now: Time) -> bool {
        match self.addresses.holder(address, index) {
            None => false,
            Some(Holder::Peer(other)) => self.is_in_use(address, other, now),
            Some(Holder::Shard(shard)) => {
                // A claim that finds no room is made again with the next check.
                let _ = self
                    .parts
                    .mailbox
                    .send_media(shard, Handoff::AddressClaimed { address });
                true
            }
        }
    }

    /// Another shard's peer was asked from an address that belongs here.
    pub(super) fn handle_claim(&mut self, from: WorkerIndex, address: SocketAddr, now: Time) {
        match self.addresses.peer(address) {
            Some(index) if self.is_in_use(address, index, now) => {}
            Some(_) => {
                self.addresses.release(address);
                self.tell_shards(|| Handoff::AddressReleased { address });
            }
            // It was released, but the notice did not fit.
            None => self.notice(from, Handoff::AddressReleased { address }),
        }
    }

    /// Whether a living peer's media goes by this address. Others that it has shown are free for whoever comes from them.
    fn is_in_use(&self, address: SocketAddr, index: usize, now: Time) -> bool {
        let session = self.peers[index].as_ref().map(|peer| &peer.session);
        session.is_some_and(|session| {
            session.remote() == Some(address) && session.is_connected() && !session.is_quiet(now)
        })
    }

    pub(super) fn tell_shards(&mut self, handoff: impl Fn() -> Handoff) {
        for shard in self.other_shards() {
            self.notice(shard, handoff());
        }
    }

    /// Sends a datagram to the shard that owns its session, once.
    fn hand_over(
        &mut self,
        was_handed: bool,
        owner: Option<usize>,
        source: SocketAddr,
        destination: SocketAddr,
        bytes: &[u8],
    ) {
        if was_handed {
            return self.parts.counters.drop_one(DropReason::ForeignUnknown);
        }
        let Some(owner) = owner.or_else(|| self.addresses.shard(source)) else {
            return self.parts.counters.drop_named(SessionDrop::AddressUnvalidated.name());
        };
        if owner >= self.parts.shards {
            return self.parts.counters.drop_named(ice::IceDrop::UnknownUfrag.name());
        }
        let datagram = ForeignDatagram {
            source,
            destination,
            bytes: bytes.to_vec(),
        };
        match self
            .parts
            .mailbox
            .send_media(owner, Handoff::ForeignDatagram(Box::new(datagram)))
        {
            Ok(()) => self.parts.counters.add(Counter::ForeignHanded, 1),
            Err(_) => self.parts.counters.drop_one(DropReason::ForeignRingFull),
        }
    }

    fn handle_rtp(&mut self, index: usize, source: SocketAddr, bytes: &mut [u8], now: Time) {
        let Some(peer) = self.peers[index].as_mut() else { return };
        match peer.session.handle_rtp(bytes, source, now) {
            Ok(Some((track, packet))) => self.publish_packet(index, track, packet, now),
            Ok(None) => {}
            Err(reason) => self.parts.counters.drop_named(reason.name()),
        }
        self.schedule(index, now);
    }

    fn handle_rtcp(&mut self, index: usize, source: SocketAddr, bytes: &mut [u8], now: Time) {
        let Some(peer) = self.peers[index].as_mut() else { return };
        if let Err(reason) = peer.session.handle_rtcp(bytes, source, now) {
            self.parts.counters.drop_named(reason.name());
        }
        // A repair request is answered at once, a sender report passed on at once.
        self.serve(index, now);
    }

    fn handle_dtls(&mut self, index: usize, source: SocketAddr, bytes: &[u8], now: Time) {
        let Some(peer) = self.peers[index].as_mut() else { return };
        if let Err(reason) = peer.session.check_source(source) {
            return self.parts.counters.drop_named(reason.name());
        }
        let connected = peer.session.is_connected();
        let Some(dtls) = peer.dtls() else {
            return self.parts.counters.drop_one(DropReason::DtlsAfterFree);
        };
        let progress = dtls.handle_datagram(bytes);
        while let Some(ignored) = dtls.poll_ignored() {
            self.parts.counters.drop_one(match ignored {
                DtlsIgnored::Malformed => DropReason::DtlsMalformed,
                DtlsIgnored::SecondHandshake => DropReason::DtlsSecondHandshake,
                DtlsIgnored::AuthenticationFailed => DropReason::DtlsAuthenticationFailed,
                DtlsIgnored::Replayed => DropReason::DtlsReplayed,
            });
        }
        self.send_dtls(index, now);
        match progress {
            Ok(DtlsProgress::Pending) => {}
            Ok(DtlsProgress::Connected(keys)) => return self.connect(index, keys, now),
            Ok(DtlsProgress::Closed) => return self.close(index, "peer_closed", now),
            // Once keys are in use, an upset OpenSSL is no reason to stop the media.
            Err(_) if connected => self.parts.counters.drop_one(DropReason::DtlsMalformed),
            Err(error) => return self.fail_dtls(index, &error, now),
        }
        self.schedule(index, now);
    }

    fn start_dtls(&mut self, index: usize, now: Time) {
        let Some(peer) = self.peers[index].as_mut() else { return };
        if peer.way.is_none() || !matches!(peer.dtls, DtlsState::Waiting(_)) {
            return;
        }
        let DtlsState::Waiting(mut dtls) = std::mem::replace(&mut peer.dtls, DtlsState::Freed) else {
            return;
        };
        let started = dtls.start();
        peer.dtls = DtlsState::Running(dtls);
        if let Err(error) = started {
            return self.fail_dtls(index, &error, now);
        }
        self.send_dtls(index, now);
        self.schedule(index, now);
    }

    /// Sends what the handshake has to say and notes its timer.
    pub(super) fn send_dtls(&mut self, index: usize, now: Time) {
        let Some(peer) = self.peers[index].as_mut() else { return };
        let Some((family, way)) = peer.way else { return };
        let socket = self.parts.sockets[family].as_ref();
        let Some(dtls) = peer.dtls() else { return };
        while let Some(datagram) = dtls.poll_transmit() {
            if let Some(socket) = socket {
                send_one(socket, &way, &datagram);
            }
        }
        let remaining = dtls.poll_timeout();
        peer.dtls_due = remaining.map(|remaining| now + remaining);
    }

    fn connect(&mut self, index: usize, keys: SrtpKeys, now: Time) {
        let open = OpenContext::new(keys.profile, &keys.read.0, &keys.read.1);
        let seal = SealContext::new(keys.profile, &keys.write.0, &keys.write.1);
        let (Ok(open), Ok(seal)) = (open, seal) else {
            return self.close(index, "dtls_failed", now);
        };
        let Some(peer) = self.peers[index].as_mut() else { return };
        peer.session.handle_keys(open, seal);
        peer.dtls = match std::mem::replace(&mut peer.dtls, DtlsState::Freed) {
            DtlsState::Waiting(dtls) | DtlsState::Running(dtls) => DtlsState::Lingering(dtls, now + DTLS_LINGER),
            other => other,
        };
        self.parts.counters.add(Counter::SessionsConnected, 1);
        self.parts.events.send(Event {
            kind: EventKind::SessionConnected,
            session_id: Some(peer.key.session_id),
            room: peer.room.to_string(),
            role: peer.role(),
            srtp_profile: keys.profile.name(),
            dtls_role: peer.dtls_role.name(),
            remote_address: peer
                .session
                .remote()
                .map(|remote| remote.to_string())
                .unwrap_or_default(),
            ..Event::default()
        });
        self.show_source(index, now);
        self.serve(index, now);
    }

    pub(super) fn fail_dtls(&mut self, index: usize, error: &DtlsError, now: Time) {
        let (drop, reason) = match error {
            DtlsError::FingerprintMismatch => (DropReason::DtlsFingerprintMismatch, "fingerprint_mismatch"),
            DtlsError::NoSrtpProfile => (DropReason::DtlsHandshakeFailed, "no_srtp_profile"),
            DtlsError::Handshake(_) => (DropReason::DtlsHandshakeFailed, "dtls_failed"),
        };
        self.parts.counters.drop_one(drop);
        self.close(index, reason, now);
    }
}
