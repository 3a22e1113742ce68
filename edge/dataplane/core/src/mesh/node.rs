//! One edge's part in all streams: tells inputs apart and gives each to its stream.

use crate::mesh::net::Net;
use crate::mesh::output::{EdgeId, Interest, MeshDrop, NodeConfig, Output, PeerSnapshot, Replay, StreamSnapshot};
use crate::mesh::routes::{RouteRejected, check_routes};
use crate::mesh::stream::{LINGER, Source, Stream};
use crate::mesh::varint::Reader;
use crate::mesh::wire::{CONTROL_FLOW, Flow, Heartbeat, Message, Subscribe};
use crate::packet::MediaPacket;
use crate::route::StreamRoute;
use crate::source::{SenderClock, SourceId, SourceInfo};
use crate::time::Time;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How often time is looked at; fail-over is decided in steps of this.
const TICK: Duration = Duration::from_millis(10);
/// While replays are under way: their pacing step.
const TICK_REPLAY: Duration = Duration::from_millis(5);
/// A tick this late means that this process stood still, and says nothing about any neighbour.
const STALL: Duration = Duration::from_millis(60);
/// Subscriptions of one neighbour; more rooms than an edge of this size can carry.
const SUBSCRIBERS_MAX: usize = 4_096;
/// How often connections that nobody needs are looked for.
const RELEASE_INTERVAL: Duration = Duration::from_secs(1);

/// One edge's part in all streams.
#[derive(Debug)]
pub struct TrunkNode {
    net: Net,
    streams: BTreeMap<String, Stream>,
    routes: BTreeMap<String, StreamRoute>,
    ticked_at: Option<Time>,
    released_at: Time,
}

impl TrunkNode {
    /// A node without neighbours.
    pub fn new(config: NodeConfig, now: Time) -> Self {
        TrunkNode {
            net: Net::new(config),
            streams: BTreeMap::new(),
            routes: BTreeMap::new(),
            ticked_at: None,
            released_at: now,
        }
    }

    /// The next thing the rim has to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.net.outputs.pop_front()
    }

    /// When to call [`TrunkNode::handle_timeout`]; `None` while nothing goes on.
    pub fn poll_timeout(&self) -> Option<Time> {
        let busy = !self.streams.is_empty() || self.net.peers.values().any(|peer| peer.up);
        let tick = if self.streams.values().any(Stream::is_replaying) {
            TICK_REPLAY
        } else {
            TICK
        };
        busy.then(|| self.ticked_at.map_or(Time::ZERO, |at| at + tick))
    }

    /// Time has passed. To be called after all input that has arrived by `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        if let Some(pause) = self.ticked_at.map(|at| now - at).filter(|pause| *pause > STALL) {
            self.net
                .peers
                .values_mut()
                .for_each(|peer| peer.hop.forgive(pause - TICK));
        }
        self.ticked_at = Some(now);
        self.net.handle_tick(now);
        for stream in self.streams.values_mut() {
            stream.handle_tick(&mut self.net, now);
        }
        self.streams.retain(|_, stream| {
            let idle = stream.is_idle();
            if idle && let Some(source) = stream.source.take() {
                self.net.outputs.push_back(Output::SourceLost {
                    source: source.id,
                    reason: "unused",
                });
            }
            if idle {
                stream.tell_tree(&mut self.net);
            }
            !idle
        });
        if now - self.released_at >= RELEASE_INTERVAL {
            self.released_at = now;
            let wanted = next_hops(&self.routes, self.net.config.features.backup);
            self.net.release_unwanted(&wanted, now);
        }
        if self.streams.is_empty() && !self.net.peers.values().any(|peer| peer.up) {
            self.ticked_at = None;
        }
    }

    /// Who may be a neighbour: the whole fleet as control names it.
    pub fn apply_peers(&mut self, edges: impl IntoIterator<Item = String>, now: Time) {
        let own = self.net.own.to_string();
        self.net.known = edges.into_iter().filter(|edge| *edge != own).collect();
        let gone: Vec<EdgeId> = self
            .net
            .peers
            .keys()
            .filter(|edge| !self.net.known.contains(&***edge))
            .cloned()
            .collect();
        for edge in gone {
            self.handle_peer_down(&edge, now);
            self.net.peers.remove(&edge);
            self.net.outputs.push_back(Output::Disconnect { peer: edge });
        }
        self.want_next_hops(now);
    }

    /// The whole route table: taken as a whole or refused as a whole, and then the last good one stays.
    pub fn apply_routes(&mut self, routes: &[StreamRoute], now: Time) -> Result<(), RouteRejected> {
        self.routes = check_routes(&self.net.own, &self.net.known, routes)?;
        self.want_next_hops(now);
        for (room, stream) in &mut self.streams {
            let route = self.routes.get(room);
            let ways = |route: &StreamRoute| (route.primary.clone(), route.backup.clone(), route.incarnation);
            if route.map(ways) != stream.route.as_ref().map(ways) {
                stream.route = route.cloned();
                stream.committed = false;
                stream.settle(&mut self.net, now);
            }
        }
        Ok(())
    }

    /// A trunk is up, for the first time or anew. `rtt` is the round trip that its handshake took, when that is known.
    pub fn handle_peer_up(&mut self, peer: &str, rtt: Option<Duration>, now: Time) {
        let Some(entry) = self.net.entry(peer, now) else {
            return self.net.count_drop(MeshDrop::PeerUnknown);
        };
        entry.up = true;
        entry.hop.handle_reconnect(rtt, now);
        entry.subscribers.clear();
        self.net.hurry_heartbeat(peer, now);
        self.forget_connection(peer, now);
    }

    /// A trunk is down. Streams wait for silence before they move: it may be replaced at once.
    pub fn handle_peer_down(&mut self, peer: &str, now: Time) {
        let Some(entry) = self.net.peers.get_mut(peer) else {
            return;
        };
        entry.up = false;
        entry.subscribers.clear();
        self.forget_connection(peer, now);
    }

    /// A datagram, or a large packet that came on a stream of its own: flow id and the rest.
    pub fn handle_datagram(&mut self, peer: &str, datagram: &Bytes, now: Time) {
        let Some((edge, _)) = self.net.peers.get_key_value(peer).filter(|(_, entry)| entry.up) else {
            return self.net.count_drop(MeshDrop::PeerUnknown);
        };
        let edge = edge.clone();
        self.heard(&edge, datagram.len(), now);
        let mut reader = Reader::new(datagram);
        let Ok(flow_id) = reader.varint() else {
            return self.net.count_drop(MeshDrop::DatagramMalformed);
        };
        if flow_id == CONTROL_FLOW {
            if reader.is_empty() {
                return self.net.count_drop(MeshDrop::DatagramMalformed);
            }
            while !reader.is_empty() {
                match Message::decode(&mut reader) {
                    Ok(Some(message)) => self.handle_message(&edge, message, now),
                    Ok(None) => self.net.count_drop(MeshDrop::MessageUnknown),
                    Err(_) => return self.net.count_drop(MeshDrop::MessageMalformed),
                }
            }
            return;
        }
        let rtp = datagram.slice(datagram.len() - reader.rest().len()..);
        let flow = Flow::from_id(flow_id).and_then(|flow| {
            let room = self.net.peers[&edge].subscribed.get(&flow.subscription)?;
            Some((flow, self.streams.get_mut(room)?))
        });
        // The number is read first, so that a packet nobody wants is not taken for a lost one.
        if let (Ok(parsed), Some(entry)) = (crate::mesh::TrunkRtp::parse(&rtp), self.net.peers.get_mut(&edge)) {
            entry.hop.handle_number_truncated(parsed.trunk_number, now);
        }
        match flow {
            Some((flow, stream)) => stream.handle_media(&edge, flow, &rtp, &mut self.net, now),
            None => self.net.count_drop(MeshDrop::FlowUnknown),
        }
    }

    /// One message from a stream of flow 0.
    pub fn handle_stream_message(&mut self, peer: &str, message: &[u8], now: Time) {
        let Some((edge, _)) = self.net.peers.get_key_value(peer).filter(|(_, entry)| entry.up) else {
            return self.net.count_drop(MeshDrop::PeerUnknown);
        };
        let edge = edge.clone();
        self.heard(&edge, message.len(), now);
        match Message::decode(&mut Reader::new(message)) {
            Ok(Some(message)) => self.handle_message(&edge, message, now),
            Ok(None) => self.net.count_drop(MeshDrop::MessageUnknown),
            Err(_) => self.net.count_drop(MeshDrop::MessageMalformed),
        }
    }

    /// A host's first packet has arrived at this edge.
    pub fn handle_local_source(&mut self, info: SourceInfo, now: Time) {
        let stream = stream_entry(&mut self.streams, &self.routes, &info.id.room, now);
        if info.id.incarnation > stream.incarnation() || stream.source.is_none() {
            stream.replace_source(Source::new(info, true, now), None, &mut self.net, now);
            stream.settle(&mut self.net, now);
        }
    }

    /// The host is gone.
    pub fn handle_local_source_gone(&mut self, source: &SourceId, reason: &'static str, now: Time) {
        if let Some(stream) = self.streams.get_mut(&source.room)
            && stream.source.as_ref().is_some_and(|known| known.local)
        {
            stream.handle_source_gone(source.incarnation, reason, &mut self.net, now);
            stream.settle(&mut self.net, now);
        }
    }

    /// A packet of a local host.
    pub fn handle_local_packet(&mut self, source: &SourceId, track: u8, packet: Arc<MediaPacket>, now: Time) {
        if let Some(stream) = self.streams.get_mut(&source.room)
            && stream.incarnation() == source.incarnation
        {
            stream.handle_local_packet(track, packet, &mut self.net, now);
        }
    }

    /// A local host's wallclock.
    pub fn handle_local_sender_clock(&mut self, source: &SourceId, track: u8, clock: SenderClock, now: Time) {
        if let Some(stream) = self.streams.get_mut(&source.room)
            && stream.incarnation() == source.incarnation
        {
            stream.handle_sender_clock(track, clock, &mut self.net, now);
        }
    }

    /// What this edge's own people want of a room now.
    pub fn set_interest(&mut self, room: &str, interest: Interest, now: Time) {
        if interest == Interest::None && !self.streams.contains_key(room) {
            return;
        }
        let stream = stream_entry(&mut self.streams, &self.routes, room, now);
        let before = std::mem::replace(&mut stream.interest, interest);
        if interest < before {
            stream.lingering = Some((before, now + LINGER));
        } else if stream.lingering.is_some_and(|(wanted, _)| wanted <= interest) {
            stream.lingering = None;
        }
        stream.settle(&mut self.net, now);
    }

    /// A viewer here needs a key frame.
    pub fn request_key_frame(&mut self, room: &str, track: u8, now: Time) {
        if let Some(stream) = self.streams.get_mut(room) {
            stream.request_key_frame(track, &mut self.net, now);
        }
    }

    /// The packets from the latest key frame on, for a worker whose people have just come.
    pub fn replay(&self, room: &str, now: Time) -> Option<Replay> {
        self.streams.get(room)?.replay(now)
    }

    /// Sends a room message to a neighbour; false when its trunk is down.
    pub fn send_room_message(&mut self, room: &str, peer: &str, payload: Vec<u8>, now: Time) -> bool {
        let up = self.net.is_up(peer);
        self.net.send_message(
            peer,
            &Message::RoomMessage {
                room: room.to_owned(),
                payload,
            },
            now,
        );
        up
    }

    /// Whether the neighbour was heard within the time after which a backup would take over.
    pub fn is_heard(&self, peer: &str, now: Time) -> bool {
        let silence = self.net.peers.get(peer).and_then(|entry| entry.hop.silence(now));
        silence.is_some_and(|silence| silence < crate::mesh::hop::COMMIT_SILENCE)
    }

    /// Round-trip time and silence of every known neighbour, and the rest of telemetry.
    pub fn peer_snapshots(&self, now: Time) -> Vec<PeerSnapshot> {
        let window = self.net.config.window_bytes;
        let snapshot = |(edge, peer): (&EdgeId, &crate::mesh::net::Peer)| PeerSnapshot {
            peer: edge.clone(),
            connected: peer.up,
            stats: peer.hop.stats(window, now),
        };
        self.net.peers.iter().map(snapshot).collect()
    }

    /// Every stream that passes this edge or is wanted here.
    pub fn stream_snapshots(&self, now: Time) -> Vec<StreamSnapshot> {
        self.streams
            .values()
            .map(|stream| self.stream_snapshot(stream, now))
            .collect()
    }

    /// Counted drops.
    pub fn drops(&self) -> impl Iterator<Item = (MeshDrop, u64)> + '_ {
        self.net.drops()
    }

    fn handle_message(&mut self, edge: &EdgeId, message: Message, now: Time) {
        match message {
            Message::Heartbeat(beat) => self.handle_heartbeat(edge, &beat, now),
            Message::SourceHeartbeat(beat) => {
                if let Some((stream, net)) = self.upstream_of(edge, beat.subscription) {
                    stream.handle_source_heartbeat(edge, beat, net, now);
                }
            }
            Message::Source {
                subscription,
                generation,
                info,
            } => {
                if let Some((stream, net)) = self.upstream_of(edge, subscription) {
                    stream.handle_source(edge, generation, info, net, now);
                }
            }
            Message::Refused { subscription, .. } => {
                if let Some((stream, _)) = self.upstream_of(edge, subscription) {
                    stream.handle_refused(edge, now);
                }
            }
            Message::SourceGone {
                subscription,
                incarnation,
                ..
            } => {
                if let Some((stream, net)) = self.upstream_of(edge, subscription) {
                    stream.handle_source_gone(incarnation, "ended", net, now);
                }
            }
            Message::SenderClock { flow, clock } => {
                let Some(flow) = Flow::from_id(flow) else {
                    return self.net.count_drop(MeshDrop::FlowUnknown);
                };
                if let Some((stream, net)) = self.upstream_of(edge, flow.subscription) {
                    let generation = stream
                        .upstreams
                        .get(edge)
                        .and_then(|up| up.generations[usize::from(flow.generation)]);
                    if generation == Some(stream.incarnation()) {
                        stream.handle_sender_clock(flow.track, clock, net, now);
                    }
                }
            }
            Message::Nack {
                flow,
                ssrc,
                sequence_numbers,
            } => {
                let Some(flow) = Flow::from_id(flow) else {
                    return self.net.count_drop(MeshDrop::FlowUnknown);
                };
                if let Some((stream, net)) = self.child_of(edge, flow.subscription) {
                    stream.handle_nack(edge, flow, ssrc, &sequence_numbers, net, now);
                }
            }
            Message::KeyFrameRequest { flow } => {
                let Some(flow) = Flow::from_id(flow) else {
                    return self.net.count_drop(MeshDrop::FlowUnknown);
                };
                if let Some((stream, net)) = self.child_of(edge, flow.subscription) {
                    stream.request_key_frame(flow.track, net, now);
                }
            }
            Message::Subscribe(subscribe) => self.handle_subscribe(edge, subscribe, now),
            Message::Unsubscribe { subscription, revision } => {
                if let Some((stream, net)) = self.child_of(edge, subscription) {
                    stream.handle_unsubscribe(edge, subscription, revision);
                    stream.settle(net, now);
                    if let Some(entry) = self.net.peers.get_mut(edge) {
                        entry.subscribers.remove(&subscription);
                    }
                }
            }
            Message::RoomMessage { room, payload } => {
                self.net.outputs.push_back(Output::RoomMessage {
                    room,
                    peer: edge.clone(),
                    payload,
                });
            }
        }
    }

    fn handle_heartbeat(&mut self, edge: &EdgeId, beat: &Heartbeat, now: Time) {
        let clock_us = self.net.clock_us(now);
        let Some(entry) = self.net.peers.get_mut(edge) else {
            return;
        };
        let first = entry.hop.rtt().is_none();
        entry.hop.handle_heartbeat(beat, clock_us, now);
        if first {
            self.net.hurry_heartbeat(edge, now);
        }
    }

    fn handle_subscribe(&mut self, edge: &EdgeId, subscribe: Subscribe, now: Time) {
        let Some(entry) = self.net.peers.get_mut(edge) else {
            return;
        };
        let (subscription, room) = (subscribe.subscription, subscribe.room.clone());
        if entry.subscribers.len() >= SUBSCRIBERS_MAX && !entry.subscribers.contains_key(&subscription) {
            let refused = Message::Refused {
                subscription,
                reason: "full".to_owned(),
            };
            self.net.send_message(edge, &refused, now);
            return self.net.count_drop(MeshDrop::SubscriptionLimit);
        }
        // One subscription per room: a new number replaces the old one.
        entry.subscribers.retain(|_, known| *known != room);
        entry.subscribers.insert(subscription, room.clone());
        self.net.hurry_heartbeat(edge, now);
        let stream = stream_entry(&mut self.streams, &self.routes, &room, now);
        stream.handle_subscribe(edge, subscribe, &mut self.net, now);
        if !stream.children.contains_key(edge)
            && let Some(entry) = self.net.peers.get_mut(edge)
        {
            entry.subscribers.remove(&subscription);
        }
    }

    fn upstream_of(&mut self, edge: &EdgeId, subscription: u64) -> Option<(&mut Stream, &mut Net)> {
        let room = self
            .net
            .peers
            .get(edge)
            .and_then(|entry| entry.subscribed.get(&subscription));
        let stream = room
            .and_then(|room| self.streams.get_mut(room))
            .filter(|stream| stream.upstreams.contains_key(edge));
        if stream.is_none() {
            self.net.count_drop(MeshDrop::SubscriptionUnknown);
        }
        stream.map(|stream| (stream, &mut self.net))
    }

    fn child_of(&mut self, edge: &EdgeId, subscription: u64) -> Option<(&mut Stream, &mut Net)> {
        let room = self
            .net
            .peers
            .get(edge)
            .and_then(|entry| entry.subscribers.get(&subscription));
        let stream = room
            .and_then(|room| self.streams.get_mut(room))
            .filter(|stream| stream.children.contains_key(edge));
        if stream.is_none() {
            self.net.count_drop(MeshDrop::SubscriptionUnknown);
        }
        stream.map(|stream| (stream, &mut self.net))
    }

    fn heard(&mut self, edge: &EdgeId, bytes: usize, now: Time) {
        if let Some(entry) = self.net.peers.get_mut(edge) {
            entry.hop.handle_heard(bytes, now);
        }
    }

    fn forget_connection(&mut self, peer: &str, now: Time) {
        for stream in self.streams.values_mut() {
            if let Some(upstream) = stream.upstreams.get_mut(peer) {
                upstream.handle_reconnect(now);
                stream.unsettled = true;
            }
            if let Some(child) = stream.children.get_mut(peer) {
                child.detached.get_or_insert(now);
                child.cursors.clear();
                stream.unsettled = true;
            }
            if stream.unsettled {
                stream.settle(&mut self.net, now);
            }
        }
    }

    fn want_next_hops(&mut self, now: Time) {
        for next in next_hops(&self.routes, self.net.config.features.backup) {
            self.net.want(next, now);
        }
    }

    fn stream_snapshot(&self, stream: &Stream, now: Time) -> StreamSnapshot {
        let layers = || stream.source.iter().flat_map(|source| source.layers.values());
        let source = stream.source.as_ref();
        StreamSnapshot {
            room: stream.room.clone(),
            incarnation: stream.incarnation(),
            local: source.is_some_and(|source| source.local),
            parent: stream.active.clone(),
            backup: stream
                .standbys()
                .into_iter()
                .find(|edge| stream.upstreams.contains_key(edge)),
            path: stream.known_path(&self.net.own, now),
            phase: match (stream.committed, stream.moving.is_some()) {
                (true, _) if stream.phase.name() == "steady" => "committed",
                (_, true) if stream.phase.name() == "steady" => "moving",
                _ => stream.phase.name(),
            },
            packets: source.map_or(0, |source| source.packets),
            bytes: source.map_or(0, |source| source.bytes),
            packets_lost: layers().map(|layer| layer.lost).sum(),
            packets_recovered: layers().map(|layer| layer.recovered).sum(),
            key_frames: source.map_or(0, |source| source.key_frames),
            codecs: source
                .iter()
                .flat_map(|source| source.info.tracks.iter().map(|track| track.codec))
                .collect(),
        }
    }
}

fn stream_entry<'a>(
    streams: &'a mut BTreeMap<String, Stream>,
    routes: &BTreeMap<String, StreamRoute>,
    room: &str,
    now: Time,
) -> &'a mut Stream {
    streams.entry(room.to_owned()).or_insert_with(|| {
        let mut stream = Stream::new(room, now);
        stream.route = routes.get(room).cloned();
        stream
    })
}

/// Neighbours to be connected with before anybody asks: a handshake would cost a cold join and an arming a round trip.
fn next_hops(routes: &BTreeMap<String, StreamRoute>, backups: bool) -> BTreeSet<&str> {
    let paths = routes
        .values()
        .flat_map(|route| [Some(&route.primary), Some(&route.backup).filter(|_| backups)]);
    paths
        .flatten()
        .filter_map(|path| path.get(1))
        .map(String::as_str)
        .collect()
}
