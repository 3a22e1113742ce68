//! The trunk thread's state: the node, the rings to the shards, and which connection each neighbour has.

use crate::counters::{Counter, DropReason};
use crate::events::{Event, EventKind};
use crate::handoff::{Handoff, WorkerIndex};
use crate::link::{CommandRejection, StreamStats, TrunkCommand, TrunkConfig, TrunkLink, TrunkStats};
use crate::trunk::connection::{CLOSE_DUPLICATE, CLOSE_UNUSED, Link};
use crate::trunk::dial;
use crate::trunk::identity::Dialler;
use crate::trunk::sources::Sources;
use bytes::Bytes;
use quinn::{Connection, ConnectionError, VarInt};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::AbortHandle;
use tradewind_core::mesh::{EdgeId, FailoverPhase, Features, MeshDrop, NodeConfig, Output, TrunkNode};
use tradewind_core::packet::MediaPacket;
use tradewind_core::source::{Codec, SourceId};
use tradewind_core::time::Time;

/// How often the numbers for `Dataplane::snapshot` are renewed.
const REPORT_INTERVAL: Duration = Duration::from_millis(200);

/// Tells connections to one neighbour apart.
pub type ConnectionId = u64;

/// The trunk thread's state. Tasks of one thread share it; it is never borrowed across an await.
pub struct Hub {
    /// `None`: a single edge without certificates.
    pub dialler: Option<Dialler>,
    /// What ties the thread to the rest of the packet path.
    pub link: TrunkLink,
    own: EdgeId,
    node: TrunkNode,
    sources: Sources,
    addresses: BTreeMap<String, String>,
    links: BTreeMap<EdgeId, Link>,
    dials: BTreeMap<EdgeId, AbortHandle>,
    next_connection: ConnectionId,
    reported_at: Time,
    counted: [u64; MeshDrop::ALL.len()],
    stopping: bool,
}

impl Hub {
    /// A hub without connections.
    pub fn new(config: &TrunkConfig, link: TrunkLink, dialler: Option<Dialler>) -> Self {
        let now = link.clock.now();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let node = TrunkNode::new(
            NodeConfig {
                edge_id: config.edge_id.clone(),
                // Unix time at the start, monotonic from there: comparable with the prober's within this edge.
                clock_base_us: (unix.as_micros() as u64)
                    .saturating_sub(now.as_micros())
                    .saturating_add_signed((config.clock_offset_ms * 1_000.0) as i64),
                window_bytes: config.window_bytes,
                features: Features::without(&config.disabled_features),
            },
            now,
        );
        Hub {
            dialler,
            link,
            own: EdgeId::from(config.edge_id.as_str()),
            node,
            sources: Sources::default(),
            addresses: BTreeMap::new(),
            links: BTreeMap::new(),
            dials: BTreeMap::new(),
            next_connection: 1,
            reported_at: now,
            counted: [0; MeshDrop::ALL.len()],
            stopping: false,
        }
    }

    /// Takes everything that waits, carries out what follows, and says how long to sleep; `None` to end.
    pub fn turn(this: &Rc<RefCell<Hub>>) -> Option<Duration> {
        let mut hub = this.borrow_mut();
        hub.link.mailbox.clear_wake();
        let now = hub.link.clock.now();
        while let Some((from, handoff)) = hub.link.mailbox.receive() {
            hub.handle_handoff(from, handoff, now);
        }
        while let Ok(command) = hub.link.commands.try_recv() {
            hub.handle_command(command, now);
        }
        if hub.node.poll_timeout().is_some_and(|at| at <= now) {
            hub.node.handle_timeout(now);
        }
        hub.carry_out(this, now);
        if now - hub.reported_at >= REPORT_INTERVAL {
            hub.reported_at = now;
            hub.report(now);
        }
        if hub.stopping {
            return None;
        }
        let next = hub
            .node
            .poll_timeout()
            .map_or(REPORT_INTERVAL, |at| at - hub.link.clock.now());
        Some(if hub.link.mailbox.flush() {
            next.min(Duration::from_millis(2))
        } else {
            next
        })
    }

    /// A datagram from a neighbour; those of a connection that was replaced are of no interest.
    pub fn handle_datagram(this: &Rc<RefCell<Hub>>, peer: &EdgeId, id: ConnectionId, datagram: &Bytes) {
        let mut hub = this.borrow_mut();
        if hub.links.get(peer).is_some_and(|link| link.id == id) {
            let now = hub.link.clock.now();
            hub.node.handle_datagram(peer, datagram, now);
            hub.carry_out(this, now);
        }
    }

    /// A message from a neighbour's stream.
    pub fn handle_stream_message(this: &Rc<RefCell<Hub>>, peer: &EdgeId, id: ConnectionId, message: &[u8]) {
        let mut hub = this.borrow_mut();
        if hub.links.get(peer).is_some_and(|link| link.id == id) {
            let now = hub.link.clock.now();
            hub.node.handle_stream_message(peer, message, now);
            hub.carry_out(this, now);
        }
    }

    /// A connection has ended.
    pub fn handle_closed(this: &Rc<RefCell<Hub>>, peer: &EdgeId, id: ConnectionId, error: &ConnectionError) {
        let mut hub = this.borrow_mut();
        if hub.links.get(peer).is_none_or(|link| link.id != id) {
            return;
        }
        hub.links.remove(peer);
        hub.note_up(peer, false);
        let now = hub.link.clock.now();
        hub.node.handle_peer_down(peer, now);
        let reason = match error {
            ConnectionError::TimedOut => "timeout",
            ConnectionError::ApplicationClosed(_) => "closed_by_peer",
            ConnectionError::LocallyClosed => "closed",
            ConnectionError::Reset => "reset",
            _ => "transport_error",
        };
        hub.tell(Event {
            kind: EventKind::TrunkDown,
            peer: Some(peer.to_string()),
            reason: reason.to_owned(),
            ..Event::default()
        });
        hub.carry_out(this, now);
    }

    /// Takes a new connection to `peer`, or closes it because another is kept. Of two that live, the one dialled by the
    /// edge whose name sorts first is kept, so that both ends agree; one that is silent makes room for any.
    pub fn adopt(this: &Rc<RefCell<Hub>>, peer: &EdgeId, connection: Connection, dialled: bool) -> bool {
        let mut hub = this.borrow_mut();
        let now = hub.link.clock.now();
        let preferred = |dialled: bool| dialled == (*hub.own < **peer);
        if let Some(link) = hub.links.get(peer) {
            let alive = link.connection.close_reason().is_none() && hub.node.is_heard(peer, now);
            if alive && preferred(link.dialled) && !preferred(dialled) {
                connection.close(VarInt::from_u32(CLOSE_DUPLICATE), b"duplicate");
                return false;
            }
        }
        let id = hub.next_connection;
        hub.next_connection += 1;
        let remote = connection.remote_address();
        let rtt = connection.rtt();
        let link = Link::start(this, peer, id, connection, dialled);
        let replaced = hub.links.insert(peer.clone(), link);
        if let Some(replaced) = &replaced {
            replaced
                .connection
                .close(VarInt::from_u32(CLOSE_DUPLICATE), b"duplicate");
            hub.node.handle_peer_down(peer, now);
        }
        hub.note_up(peer, true);
        hub.node.handle_peer_up(peer, Some(rtt), now);
        if replaced.is_none() {
            hub.tell(Event {
                kind: EventKind::TrunkUp,
                peer: Some(peer.to_string()),
                remote_address: remote.to_string(),
                ..Event::default()
            });
        }
        hub.carry_out(this, now);
        true
    }

    /// The connection in use to `peer`.
    pub fn connection_of(&self, peer: &EdgeId) -> Option<Connection> {
        self.links.get(peer).map(|link| link.connection.clone())
    }

    /// Where `peer` is reached.
    pub fn address_of(&self, peer: &str) -> Option<String> {
        self.addresses.get(peer).cloned()
    }

    /// The first of a certificate's names that may be a neighbour.
    pub fn known_peer(&self, names: &[String]) -> Option<EdgeId> {
        names
            .iter()
            .find(|name| self.addresses.contains_key(*name))
            .map(|name| EdgeId::from(name.as_str()))
    }

    fn handle_command(&mut self, command: TrunkCommand, now: Time) {
        match command {
            TrunkCommand::SetPeers(peers) => {
                self.addresses = peers.into_iter().map(|peer| (peer.edge_id, peer.address)).collect();
                self.node.apply_peers(self.addresses.keys().cloned(), now);
            }
            TrunkCommand::SetRoutes(routes, reply) => {
                let applied = self.node.apply_routes(&routes, now);
                let answer = applied.map_err(|rejected| CommandRejection {
                    reason: rejected.reason,
                    detail: rejected.detail,
                });
                let _ = reply.try_send(answer); // the asker may have given up waiting
            }
            TrunkCommand::SetRoomInterest { room, interested } => {
                let interest = self.sources.set_people(&room, interested);
                self.node.set_interest(&room, interest, now);
            }
            TrunkCommand::SendRoomMessage { room, peer, payload } => {
                if !self.node.send_room_message(&room, &peer, payload, now) {
                    // The trunk went down after the message was taken; the rooms' relays repeat what matters.
                    self.link.counters.drop_many(DropReason::RoomMessageUndeliverable, 1);
                }
            }
            TrunkCommand::Stop => self.stopping = true,
        }
    }

    fn handle_handoff(&mut self, from: WorkerIndex, handoff: Handoff, now: Time) {
        match handoff {
            Handoff::SourceUp { handle, info } => {
                self.sources.add_local(handle, info.id.clone(), from);
                self.node.handle_local_source((*info).clone(), now);
            }
            Handoff::SourceDown { handle, reason } => {
                if let Some(source) = self.sources.remove_local(handle) {
                    self.node.handle_local_source_gone(&source.id, reason, now);
                }
            }
            Handoff::Packet { source, track, packet } => match self.sources.local(source) {
                Some(local) => self.node.handle_local_packet(&local.id, track, packet, now),
                None => self.link.counters.drop_many(DropReason::HandoffUnknownSource, 1),
            },
            Handoff::SenderClock { source, track, clock } => {
                if let Some(local) = self.sources.local(source) {
                    self.node.handle_local_sender_clock(&local.id, track, clock, now);
                }
            }
            Handoff::Interest { room, wanted } => {
                let interest = self.sources.set_shard(&room, from, wanted);
                self.node.set_interest(&room, interest, now);
                if wanted {
                    self.replay(from, &room, now);
                }
            }
            Handoff::KeyFrameRequest { source, track } => {
                if let Some(id) = self.sources.remote(source) {
                    self.node.request_key_frame(&id.room, track, now);
                }
            }
            // Datagrams and addresses are the shards' own business; repair delays are said by this thread.
            Handoff::ForeignDatagram(_)
            | Handoff::AddressOwned { .. }
            | Handoff::AddressReleased { .. }
            | Handoff::AddressClaimed { .. }
            | Handoff::RepairDelay { .. } => {}
        }
    }

    fn replay(&mut self, shard: WorkerIndex, room: &str, now: Time) {
        let Some(replay) = self.node.replay(room, now) else {
            return;
        };
        let Some(source) = self.sources.remote_handle(&replay.source) else {
            return;
        };
        for (track, clock) in replay.clocks {
            self.notice(shard, Handoff::SenderClock { source, track, clock });
        }
        for (track, packet) in replay.packets {
            if self
                .link
                .mailbox
                .send_media(shard, Handoff::Packet { source, track, packet })
                .is_err()
            {
                self.link.counters.drop_many(DropReason::HandoffRingFull, 1);
            }
        }
    }

    fn carry_out(&mut self, this: &Rc<RefCell<Hub>>, now: Time) {
        while let Some(output) = self.node.poll_output() {
            self.carry_out_one(this, output, now);
        }
        self.link.mailbox.flush();
    }

    fn carry_out_one(&mut self, this: &Rc<RefCell<Hub>>, output: Output, now: Time) {
        match output {
            Output::Datagram { peer, priority, bytes } => {
                if let Some(link) = self.links.get(&peer) {
                    let dropped = link.send(priority, bytes, now);
                    self.link.counters.drop_many(DropReason::TrunkQueueFull, dropped);
                }
            }
            Output::StreamMessage {
                peer,
                bytes,
                room_message,
            } => {
                let taken = self
                    .links
                    .get(&peer)
                    .is_none_or(|link| link.send_message(bytes, room_message));
                if !taken {
                    self.link.counters.drop_many(DropReason::TrunkQueueFull, 1);
                }
            }
            Output::Connect { peer } => {
                if let Some(dialler) = &self.dialler {
                    let keep = dial::keep_connected(Rc::clone(this), dialler.clone(), peer.clone());
                    self.dials.insert(peer, tokio::task::spawn_local(keep).abort_handle());
                }
            }
            Output::Disconnect { peer } => {
                if let Some(dial) = self.dials.remove(&peer) {
                    dial.abort();
                }
                if let Some(link) = self.links.get(&peer) {
                    link.connection.close(VarInt::from_u32(CLOSE_UNUSED), b"unused");
                }
            }
            Output::Packet { source, track, packet } => self.hand_packet(&source, track, &packet, now),
            Output::SourceSeen { info, via } => {
                let handle = self.sources.add_remote(info.id.clone());
                let (room, incarnation) = (info.id.room.clone(), info.id.incarnation);
                self.notice_all(|| Handoff::SourceUp {
                    handle,
                    info: Arc::clone(&info),
                });
                let peer = Some(via.to_string());
                self.tell(Event {
                    kind: EventKind::SourceSeen,
                    room,
                    incarnation,
                    peer,
                    ..Event::default()
                });
            }
            Output::SourceLost { source, reason } => {
                if let Some(handle) = self.sources.remove_remote(&source) {
                    self.notice_all(|| Handoff::SourceDown { handle, reason });
                }
                let (room, incarnation) = (source.room.clone(), source.incarnation);
                let reason = reason.to_owned();
                self.tell(Event {
                    kind: EventKind::SourceLost,
                    room,
                    incarnation,
                    reason,
                    ..Event::default()
                });
            }
            Output::SenderClock { source, track, clock } => {
                let Some(handle) = self.sources.remote_handle(&source) else {
                    return;
                };
                for shard in self.sources.shards(&source.room).to_vec() {
                    self.notice(
                        shard,
                        Handoff::SenderClock {
                            source: handle,
                            track,
                            clock,
                        },
                    );
                }
            }
            Output::RepairDelay { source, repair_ms } => {
                if let Some(source) = self.sources.remote_handle(&source) {
                    self.notice_all(|| Handoff::RepairDelay { source, repair_ms });
                }
            }
            Output::KeyFrameRequest { source, track } => {
                if let Some((handle, owner)) = self.sources.local_handle(&source) {
                    self.notice(owner, Handoff::KeyFrameRequest { source: handle, track });
                }
            }
            Output::LocalInterest { room, wanted } => {
                let room: Arc<str> = Arc::from(room);
                self.notice_all(|| Handoff::Interest {
                    room: Arc::clone(&room),
                    wanted,
                });
            }
            Output::RoomMessage { room, peer, payload } => {
                let peer = Some(peer.to_string());
                self.tell(Event {
                    kind: EventKind::RoomMessage,
                    room,
                    peer,
                    payload,
                    ..Event::default()
                });
            }
            Output::TreeChanged {
                room,
                incarnation,
                parent,
                children,
            } => self.tell(Event {
                kind: EventKind::TreeChanged,
                room,
                incarnation,
                parent: parent.map(|edge| edge.to_string()),
                children: children.iter().map(ToString::to_string).collect(),
                ..Event::default()
            }),
            Output::Failover {
                room,
                incarnation,
                phase,
                parent,
                peer,
                reason,
            } => {
                self.link.counters.add(
                    match phase {
                        FailoverPhase::Armed => Counter::FailoversArmed,
                        FailoverPhase::Released => Counter::FailoversReleased,
                        FailoverPhase::Committed => Counter::FailoversCommitted,
                    },
                    1,
                );
                self.tell(Event {
                    kind: EventKind::Failover,
                    room,
                    incarnation,
                    phase: phase.name(),
                    parent: Some(parent.to_string()),
                    peer: Some(peer.to_string()),
                    reason: reason.to_owned(),
                    ..Event::default()
                });
            }
        }
    }

    fn hand_packet(&mut self, id: &SourceId, track: u8, packet: &Arc<MediaPacket>, now: Time) {
        let Some(source) = self.sources.remote_handle(id) else {
            return;
        };
        let mut full = false;
        for shard in self.sources.shards(&id.room) {
            let handoff = Handoff::Packet {
                source,
                track,
                packet: Arc::clone(packet),
            };
            if self.link.mailbox.send_media(*shard, handoff).is_err() {
                self.link.counters.drop_many(DropReason::HandoffRingFull, 1);
                full = true;
            }
        }
        if full {
            // What a full ring lost cannot be asked for again; video starts anew, audio goes on (the node knows which).
            self.node.request_key_frame(&id.room, track, now);
        }
    }

    fn notice_all(&mut self, handoff: impl Fn() -> Handoff) {
        for shard in self.link.mailbox.others() {
            self.notice(shard, handoff());
        }
    }

    fn notice(&mut self, shard: WorkerIndex, handoff: Handoff) {
        if self.link.mailbox.send_notice(shard, handoff).is_err() {
            self.link.counters.drop_many(DropReason::HandoffRingFull, 1);
        }
    }

    /// Lets Python's thread know at once which neighbours can be told something.
    fn note_up(&self, peer: &EdgeId, is_up: bool) {
        let Ok(mut report) = self.link.report.lock() else {
            return;
        };
        if is_up {
            report.up.insert(peer.to_string());
        } else {
            report.up.remove(&**peer);
        }
    }

    fn tell(&self, event: Event) {
        self.link.events.send(event);
    }

    fn report(&mut self, now: Time) {
        for (reason, total) in self.node.drops() {
            let counted = &mut self.counted[reason as usize];
            if total > *counted {
                self.link.counters.drop_named_many(reason.name(), total - *counted);
            }
            *counted = total;
        }
        let trunks = self
            .node
            .peer_snapshots(now)
            .into_iter()
            .map(|peer| trunk_stats(&peer))
            .collect();
        let streams = self.node.stream_snapshots(now).into_iter().map(stream_stats).collect();
        if let Ok(mut report) = self.link.report.lock() {
            report.trunks = trunks;
            report.streams = streams;
        }
    }
}

fn trunk_stats(peer: &tradewind_core::mesh::PeerSnapshot) -> TrunkStats {
    let stats = peer.stats;
    TrunkStats {
        peer: peer.peer.to_string(),
        connected: peer.connected,
        rtt_ms: stats.rtt_ms,
        rtt_min_ms: stats.rtt_min_ms,
        one_way_delay_raw_ms: stats.one_way_delay_raw_ms,
        one_way_delay_p95_raw_ms: stats.one_way_delay_p95_raw_ms,
        jitter_ms: stats.jitter_ms,
        loss_ratio: stats.loss_ratio,
        loss_ratio_30s: stats.loss_ratio_30s,
        mean_burst_packets: stats.mean_burst_packets,
        packets_received: stats.packets_received,
        packets_lost: stats.packets_lost,
        bytes_sent: stats.bytes_sent,
        bytes_received: stats.bytes_received,
        utilisation: stats.utilisation,
        media_bytes_sent: stats.media_bytes_sent,
        backup_bytes_sent: stats.backup_bytes_sent,
    }
}

fn stream_stats(stream: tradewind_core::mesh::StreamSnapshot) -> StreamStats {
    StreamStats {
        room: stream.room,
        incarnation: stream.incarnation,
        local: stream.local,
        parent: stream.parent.map(|edge| edge.to_string()),
        backup: stream.backup.map(|edge| edge.to_string()),
        path: stream.path,
        phase: stream.phase,
        viewers: 0,
        packets: stream.packets,
        bytes: stream.bytes,
        packets_lost: stream.packets_lost,
        packets_recovered: stream.packets_recovered,
        key_frames: stream.key_frames,
        codecs: stream.codecs.into_iter().map(codec_name).collect(),
    }
}

const fn codec_name(codec: Codec) -> &'static str {
    match codec {
        Codec::Opus => "opus",
        Codec::Vp8 => "vp8",
        Codec::H264 => "h264",
    }
}
