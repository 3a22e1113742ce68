//! Many `TrunkNode`s, one clock, and a host who publishes; what every viewer gets is written down.

use crate::net::{Direction, Random};
use bytes::Bytes;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;
use tradewind_core::mesh::{FailoverPhase, Features, Interest, NodeConfig, Output, TrunkNode};
use tradewind_core::packet::{MediaExtensions, MediaPacket, Ssrc};
use tradewind_core::route::StreamRoute;
use tradewind_core::source::{Codec, SourceId, SourceInfo, TrackInfo};
use tradewind_core::time::Time;

pub const ROOM: &str = "demo";
pub const VIDEO: u8 = 0;
pub const AUDIO: u8 = 1;
/// 30 frames a second of 8 packets, a key frame of 24 packets every 2 s, 50 audio packets a second.
const FRAME: Duration = Duration::from_micros(33_333);
const FRAME_PACKETS: u64 = 8;
const KEY_FRAME_PACKETS: u64 = 24;
const GROUP_FRAMES: u64 = 60;
const AUDIO_INTERVAL: Duration = Duration::from_millis(20);
/// QUIC gives up a silent connection after this.
const IDLE: Duration = Duration::from_secs(4);
const REDIAL: Duration = Duration::from_millis(200);

#[derive(Debug)]
enum Input {
    Datagram {
        from: String,
        to: String,
        bytes: Bytes,
        connection: u64,
    },
    Message {
        from: String,
        to: String,
        bytes: Vec<u8>,
        connection: u64,
    },
    PeerUp {
        a: String,
        b: String,
        connection: u64,
    },
    PeerDown {
        at: String,
        peer: String,
        connection: u64,
    },
    Dial {
        from: String,
        to: String,
    },
    Frame {
        origin: String,
        incarnation: u64,
    },
    Audio {
        origin: String,
        incarnation: u64,
    },
    Tick {
        node: String,
        life: u64,
    },
}

struct Event {
    at: Time,
    order: u64,
    input: Input,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Event {}
impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// One packet as a viewer's edge got it.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub at: Time,
    pub incarnation: u64,
    pub track: u8,
    pub number: u16,
    pub timestamp: u32,
    pub key_frame_start: bool,
}

struct Host {
    info: SourceInfo,
    frames: u64,
    number: [u64; 2],
    stopped: bool,
    /// Whether the node wants its packets.
    wanted: bool,
    kept: Vec<(u8, Arc<MediaPacket>)>,
    sent_at: BTreeMap<(u8, u16), Time>,
}

pub struct Node {
    pub node: Option<TrunkNode>,
    pub arrivals: Vec<Arrival>,
    pub failovers: Vec<(Time, FailoverPhase, String, &'static str)>,
    pub room_messages: Vec<(String, Vec<u8>)>,
    pub tree: (u64, Option<String>, Vec<String>),
    pub sources: Vec<u64>,
    pub lost: Vec<&'static str>,
    pub key_frames_asked: u32,
    pub repair_delays: Vec<(Time, u16)>,
    dials: BTreeSet<String>,
    life: u64,
    tick_at: Option<Time>,
}

pub struct World {
    pub now: Time,
    pub seed: u64,
    pub nodes: BTreeMap<String, Node>,
    pub features: Features,
    links: BTreeMap<(String, String), Direction>,
    connections: BTreeMap<(String, String), u64>,
    stream_clear_at: BTreeMap<(String, String), Time>,
    hosts: BTreeMap<(String, u64), Host>,
    events: BinaryHeap<Reverse<Event>>,
    random: Random,
    order: u64,
    next_connection: u64,
}

impl World {
    /// Edges and links with their round-trip times in milliseconds.
    pub fn new(seed: u64, links: &[(&str, &str, u64)]) -> World {
        let mut world = World {
            now: Time::from_millis(1_000),
            seed,
            nodes: BTreeMap::new(),
            features: Features::default(),
            links: BTreeMap::new(),
            connections: BTreeMap::new(),
            stream_clear_at: BTreeMap::new(),
            hosts: BTreeMap::new(),
            events: BinaryHeap::new(),
            random: Random::new(seed),
            order: 0,
            next_connection: 1,
        };
        for (a, b, rtt) in links {
            for (from, to) in [(a, b), (b, a)] {
                let direction = Direction::new(Duration::from_micros(rtt * 500));
                world.links.insert(((*from).to_owned(), (*to).to_owned()), direction);
            }
        }
        let names: BTreeSet<&str> = links.iter().flat_map(|(a, b, _)| [*a, *b]).collect();
        for name in names {
            world.start(name);
        }
        world
    }

    pub fn without(mut self, disabled: &str) -> World {
        self.features = Features::without(&[disabled.to_owned()]);
        let names: Vec<String> = self.nodes.keys().cloned().collect();
        names.iter().for_each(|name| self.start(name));
        self
    }

    /// Starts an edge, or starts it anew after [`World::kill`].
    pub fn start(&mut self, name: &str) {
        let edges: BTreeSet<String> = self.links.keys().map(|(from, _)| from.clone()).collect();
        let config = NodeConfig {
            edge_id: name.to_owned(),
            // Every edge's clock is off by its own amount.
            clock_base_us: 1_000_000_000 + self.random.below(10_000_000),
            window_bytes: 4_000_000,
            features: self.features,
        };
        let mut node = TrunkNode::new(config, self.now);
        node.apply_peers(edges, self.now);
        let life = self.nodes.get(name).map_or(0, |node| node.life + 1);
        self.nodes.insert(
            name.to_owned(),
            Node {
                node: Some(node),
                arrivals: Vec::new(),
                failovers: Vec::new(),
                room_messages: Vec::new(),
                tree: (0, None, Vec::new()),
                sources: Vec::new(),
                lost: Vec::new(),
                key_frames_asked: 0,
                repair_delays: Vec::new(),
                dials: BTreeSet::new(),
                life,
                tick_at: None,
            },
        );
    }

    /// SIGKILL: nothing is said to anybody.
    pub fn kill(&mut self, name: &str) {
        let node = self.nodes.get_mut(name).expect("a known edge");
        node.node = None;
        node.dials.clear();
        let gone: Vec<_> = self
            .connections
            .keys()
            .filter(|(a, b)| a == name || b == name)
            .cloned()
            .collect();
        for (a, b) in gone {
            let connection = self.connections.remove(&(a.clone(), b.clone())).expect("just listed");
            let (at, peer) = if a == name { (b, a) } else { (a, b) };
            self.push(self.now + IDLE, Input::PeerDown { at, peer, connection });
        }
    }

    pub fn link(&mut self, a: &str, b: &str, mut change: impl FnMut(&mut Direction)) {
        change(self.links.get_mut(&(a.to_owned(), b.to_owned())).expect("a known link"));
        change(self.links.get_mut(&(b.to_owned(), a.to_owned())).expect("a known link"));
    }

    pub fn direction(&mut self, from: &str, to: &str) -> &mut Direction {
        self.links
            .get_mut(&(from.to_owned(), to.to_owned()))
            .expect("a known link")
    }

    /// A host begins to publish at `origin`.
    pub fn publish(&mut self, origin: &str, incarnation: u64) {
        let ssrc = |base: u32| Some(Ssrc(base + incarnation as u32));
        let info = SourceInfo {
            id: SourceId {
                room: ROOM.to_owned(),
                incarnation,
            },
            origin_edge: origin.to_owned(),
            tracks: vec![
                TrackInfo {
                    codec: Codec::Vp8,
                    fmtp: String::new(),
                    ssrc: ssrc(1_000),
                },
                TrackInfo {
                    codec: Codec::Opus,
                    fmtp: String::new(),
                    ssrc: ssrc(2_000),
                },
            ],
        };
        let host = Host {
            info: info.clone(),
            frames: 0,
            // Close to a rollover, so that every run crosses one.
            number: [65_000, 65_400],
            stopped: false,
            wanted: false,
            kept: Vec::new(),
            sent_at: BTreeMap::new(),
        };
        self.hosts.insert((origin.to_owned(), incarnation), host);
        self.with(origin, |node, now| node.handle_local_source(info, now));
        let origin = origin.to_owned();
        self.push(
            self.now,
            Input::Frame {
                origin: origin.clone(),
                incarnation,
            },
        );
        self.push(self.now, Input::Audio { origin, incarnation });
    }

    pub fn stop_publishing(&mut self, origin: &str, incarnation: u64) {
        let host = self.hosts.get_mut(&(origin.to_owned(), incarnation)).expect("a host");
        host.stopped = true;
        let id = host.info.id.clone();
        self.with(origin, |node, now| node.handle_local_source_gone(&id, "ended", now));
    }

    pub fn route(&mut self, primary: &[&str], backup: &[&str], incarnation: u64) {
        let owned = |path: &[&str]| path.iter().map(|edge| (*edge).to_owned()).collect::<Vec<_>>();
        let route = StreamRoute {
            room: ROOM.to_owned(),
            incarnation,
            source_edge: (*primary.last().expect("a path")).to_owned(),
            primary: owned(primary),
            backup: owned(backup),
            reason: String::new(),
        };
        self.with(primary[0], |node, now| node.apply_routes(&[route], now))
            .expect("a good route");
    }

    pub fn watch(&mut self, edge: &str, interest: Interest) {
        self.with(edge, |node, now| node.set_interest(ROOM, interest, now));
    }

    /// Calls into a node and carries out what it says.
    pub fn with<T>(&mut self, name: &str, call: impl FnOnce(&mut TrunkNode, Time) -> T) -> T {
        let now = self.now;
        let node = self
            .nodes
            .get_mut(name)
            .and_then(|node| node.node.as_mut())
            .expect("the edge lives");
        let result = call(node, now);
        self.drain(name);
        result
    }

    pub fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.events.peek().is_some_and(|Reverse(event)| event.at <= end) {
            let Some(Reverse(event)) = self.events.pop() else { break };
            self.now = event.at;
            self.handle(event.input);
        }
        self.now = end;
    }

    pub fn run_ms(&mut self, millis: u64) {
        self.run(Duration::from_millis(millis));
    }

    pub fn sent_at(&self, incarnation: u64, track: u8, number: u16) -> Option<Time> {
        let (_, host) = self.hosts.iter().find(|((_, known), _)| *known == incarnation)?;
        host.sent_at.get(&(track, number)).copied()
    }

    /// Every packet the host sent between two moments that `edge` never got.
    pub fn missing(&self, edge: &str, incarnation: u64, from: Time, to: Time) -> Vec<(u8, u16)> {
        let (_, host) = self
            .hosts
            .iter()
            .find(|((_, known), _)| *known == incarnation)
            .expect("a host");
        let got: BTreeSet<(u8, u16)> = self.nodes[edge]
            .arrivals
            .iter()
            .filter(|arrival| arrival.incarnation == incarnation)
            .map(|arrival| (arrival.track, arrival.number))
            .collect();
        let sent = host.sent_at.iter().filter(|(_, at)| **at >= from && **at < to);
        sent.map(|(key, _)| *key).filter(|key| !got.contains(key)).collect()
    }

    /// The longest pause between complete frames at `edge` since `from`, less one frame interval.
    pub fn longest_gap(&self, edge: &str, from: Time) -> Duration {
        let mut frames: BTreeMap<u32, (u64, Time)> = BTreeMap::new();
        let video = self.nodes[edge]
            .arrivals
            .iter()
            .filter(|arrival| arrival.track == VIDEO);
        for arrival in video {
            let entry = frames.entry(arrival.timestamp).or_insert((0, arrival.at));
            *entry = (entry.0 + 1, entry.1.max(arrival.at));
        }
        let complete = frames
            .values()
            .filter(|(count, _)| *count >= FRAME_PACKETS)
            .map(|(_, at)| *at);
        let mut playable = Time::ZERO;
        // A frame is decodable when it and those before it are there.
        let times: Vec<Time> = complete
            .map(|at| {
                playable = playable.max(at);
                playable
            })
            .filter(|at| *at >= from)
            .collect();
        let times: Vec<Time> = [from].into_iter().chain(times).chain([self.now]).collect();
        let pauses = times.windows(2).map(|pair| pair[1] - pair[0]);
        pauses.max().unwrap_or_default().saturating_sub(FRAME)
    }

    pub fn commits(&self, edge: &str) -> usize {
        self.nodes[edge]
            .failovers
            .iter()
            .filter(|(_, phase, ..)| *phase == FailoverPhase::Committed)
            .count()
    }

    /// No packet twice at any edge, whatever happened.
    pub fn assert_each_once(&self) {
        for (name, node) in &self.nodes {
            let mut seen = BTreeSet::new();
            for arrival in &node.arrivals {
                let key = (arrival.incarnation, arrival.track, arrival.timestamp, arrival.number);
                assert!(seen.insert(key), "seed {}: {name} got {arrival:?} twice", self.seed);
            }
        }
    }

    fn push(&mut self, at: Time, input: Input) {
        self.order += 1;
        self.events.push(Reverse(Event {
            at,
            order: self.order,
            input,
        }));
    }

    fn alive(&self, name: &str) -> bool {
        self.nodes[name].node.is_some()
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Datagram {
                from,
                to,
                bytes,
                connection,
            } => {
                if self.is_current(&from, &to, connection) && self.alive(&to) {
                    self.with(&to, |node, now| node.handle_datagram(&from, &bytes, now));
                }
            }
            Input::Message {
                from,
                to,
                bytes,
                connection,
            } => {
                if self.is_current(&from, &to, connection) && self.alive(&to) {
                    self.with(&to, |node, now| node.handle_stream_message(&from, &bytes, now));
                }
            }
            Input::PeerUp { a, b, connection } => self.connected(a, b, connection),
            Input::PeerDown { at, peer, connection } => {
                let pair = pair(&at, &peer);
                if self.connections.get(&pair).is_some_and(|known| *known != connection) {
                    return; // a newer connection took its place
                }
                self.connections.remove(&pair);
                if self.alive(&at) {
                    self.with(&at, |node, now| node.handle_peer_down(&peer, now));
                    if self.nodes[&at].dials.contains(&peer) {
                        self.push(self.now + REDIAL, Input::Dial { from: at, to: peer });
                    }
                }
            }
            Input::Dial { from, to } => self.dial(from, to),
            Input::Frame { origin, incarnation } => self.frame(origin, incarnation),
            Input::Audio { origin, incarnation } => self.audio(origin, incarnation),
            Input::Tick { node, life } => {
                let entry = self.nodes.get_mut(&node).expect("a known edge");
                if entry.life == life && entry.node.is_some() {
                    entry.tick_at = None;
                    self.with(&node, |node, now| node.handle_timeout(now));
                }
            }
        }
    }

    fn is_current(&self, from: &str, to: &str, connection: u64) -> bool {
        self.connections.get(&pair(from, to)) == Some(&connection)
    }

    fn dial(&mut self, from: String, to: String) {
        if !self.alive(&from)
            || !self.nodes[&from].dials.contains(&to)
            || self.connections.contains_key(&pair(&from, &to))
        {
            return;
        }
        let there = self
            .links
            .get(&(from.clone(), to.clone()))
            .map(|link| (link.delay, link.blackout));
        match there {
            Some((delay, false)) if self.alive(&to) => {
                // A handshake is one and a half round trips until both may send.
                let connection = self.next_connection;
                self.next_connection += 1;
                self.push(
                    self.now + delay * 3,
                    Input::PeerUp {
                        a: from,
                        b: to,
                        connection,
                    },
                );
            }
            Some(_) => self.push(self.now + REDIAL, Input::Dial { from, to }),
            None => {}
        }
    }

    fn connected(&mut self, a: String, b: String, connection: u64) {
        if self.connections.contains_key(&pair(&a, &b)) || !self.alive(&a) || !self.alive(&b) {
            return;
        }
        self.connections.insert(pair(&a, &b), connection);
        self.with(&a, |node, now| node.handle_peer_up(&b, now));
        self.with(&b, |node, now| node.handle_peer_up(&a, now));
    }

    fn frame(&mut self, origin: String, incarnation: u64) {
        let host = self.hosts.get_mut(&(origin.clone(), incarnation)).expect("a host");
        if host.stopped || self.nodes[&origin].node.is_none() {
            return;
        }
        let key = host.frames.is_multiple_of(GROUP_FRAMES);
        let count = if key { KEY_FRAME_PACKETS } else { FRAME_PACKETS };
        let timestamp = (host.frames * 3_000) as u32;
        host.frames += 1;
        if key {
            host.kept.clear();
        }
        for index in 0..count {
            self.emit(
                &origin,
                incarnation,
                VIDEO,
                timestamp,
                index + 1 == count,
                key && index == 0,
                1_100,
            );
        }
        self.push(self.now + FRAME, Input::Frame { origin, incarnation });
    }

    fn audio(&mut self, origin: String, incarnation: u64) {
        let host = &self.hosts[&(origin.clone(), incarnation)];
        if host.stopped || self.nodes[&origin].node.is_none() {
            return;
        }
        let timestamp = (host.number[usize::from(AUDIO)] * 960) as u32;
        self.emit(&origin, incarnation, AUDIO, timestamp, false, false, 120);
        self.push(self.now + AUDIO_INTERVAL, Input::Audio { origin, incarnation });
    }

    #[allow(clippy::too_many_arguments)] // a packet has that many fields
    fn emit(
        &mut self,
        origin: &str,
        incarnation: u64,
        track: u8,
        timestamp: u32,
        marker: bool,
        key: bool,
        bytes: usize,
    ) {
        let host = self.hosts.get_mut(&(origin.to_owned(), incarnation)).expect("a host");
        let number = host.number[usize::from(track)];
        host.number[usize::from(track)] += 1;
        host.sent_at.insert((track, number as u16), self.now);
        let packet = Arc::new(MediaPacket {
            received_at: self.now,
            ssrc: host.info.tracks[usize::from(track)].ssrc.expect("announced"),
            extended_sequence_number: number,
            timestamp,
            marker,
            payload_type: 96 + track,
            key_frame_start: key,
            extensions: MediaExtensions::default(),
            payload: Bytes::from(vec![number as u8; bytes]),
        });
        host.kept.push((track, Arc::clone(&packet)));
        let id = host.info.id.clone();
        if host.wanted {
            self.with(origin, |node, now| node.handle_local_packet(&id, track, packet, now));
        }
    }

    fn drain(&mut self, name: &str) {
        while let Some(output) = self
            .nodes
            .get_mut(name)
            .and_then(|node| node.node.as_mut()?.poll_output())
        {
            self.carry_out(name, output);
        }
        let entry = self.nodes.get_mut(name).expect("a known edge");
        let Some(at) = entry.node.as_ref().and_then(TrunkNode::poll_timeout) else {
            return;
        };
        let at = at.max(self.now);
        if entry.tick_at.is_none_or(|pending| at < pending) {
            entry.tick_at = Some(at);
            let life = entry.life;
            self.push(
                at,
                Input::Tick {
                    node: name.to_owned(),
                    life,
                },
            );
        }
    }

    fn carry_out(&mut self, name: &str, output: Output) {
        let now = self.now;
        match output {
            Output::Datagram { peer, bytes, .. } => self.send_datagram(name, &peer, bytes),
            Output::StreamMessage { peer, bytes, .. } => self.send_message(name, &peer, bytes),
            Output::Connect { peer } => {
                self.entry(name).dials.insert(peer.to_string());
                self.push(
                    now,
                    Input::Dial {
                        from: name.to_owned(),
                        to: peer.to_string(),
                    },
                );
            }
            Output::Disconnect { peer } => {
                self.entry(name).dials.remove(&*peer);
            }
            Output::Packet { source, track, packet } => self.entry(name).arrivals.push(Arrival {
                at: now,
                incarnation: source.incarnation,
                track,
                number: packet.extended_sequence_number as u16,
                timestamp: packet.timestamp,
                key_frame_start: packet.key_frame_start,
            }),
            Output::SourceSeen { info, .. } => self.entry(name).sources.push(info.id.incarnation),
            Output::SourceLost { reason, .. } => self.entry(name).lost.push(reason),
            Output::KeyFrameRequest { .. } => self.entry(name).key_frames_asked += 1,
            Output::RoomMessage { peer, payload, .. } => {
                self.entry(name).room_messages.push((peer.to_string(), payload));
            }
            Output::TreeChanged {
                incarnation,
                parent,
                children,
                ..
            } => {
                let children = children.iter().map(ToString::to_string).collect();
                self.entry(name).tree = (incarnation, parent.map(|edge| edge.to_string()), children);
            }
            Output::Failover {
                phase, parent, reason, ..
            } => {
                self.entry(name)
                    .failovers
                    .push((now, phase, parent.to_string(), reason));
            }
            Output::LocalInterest { wanted, .. } => self.local_interest(name, wanted),
            Output::RepairDelay { repair_ms, .. } => self.entry(name).repair_delays.push((now, repair_ms)),
            Output::SenderClock { .. } => {}
        }
    }

    /// As a shard does: the packets from the latest key frame on, then live.
    fn local_interest(&mut self, origin: &str, wanted: bool) {
        let hosts = self
            .hosts
            .iter_mut()
            .filter(|((edge, _), host)| edge == origin && !host.stopped);
        let Some((_, host)) = hosts.max_by_key(|((_, incarnation), _)| *incarnation) else {
            return;
        };
        host.wanted = wanted;
        let (id, kept) = (host.info.id.clone(), host.kept.clone());
        if wanted {
            let now = self.now;
            let node = self
                .nodes
                .get_mut(origin)
                .and_then(|node| node.node.as_mut())
                .expect("it just spoke");
            kept.into_iter()
                .for_each(|(track, packet)| node.handle_local_packet(&id, track, packet, now));
        }
    }

    fn send_datagram(&mut self, from: &str, to: &str, bytes: Vec<u8>) {
        let Some(&connection) = self.connections.get(&pair(from, to)) else {
            return;
        };
        let Some(link) = self.links.get_mut(&(from.to_owned(), to.to_owned())) else {
            return;
        };
        if let Some(delay) = link.carry(&mut self.random) {
            let (from, to) = (from.to_owned(), to.to_owned());
            self.push(
                self.now + delay,
                Input::Datagram {
                    from,
                    to,
                    bytes: Bytes::from(bytes),
                    connection,
                },
            );
        }
    }

    /// Reliable and in order: each loss costs a round trip and an acknowledgement delay, a blackout the time it lasts.
    fn send_message(&mut self, from: &str, to: &str, bytes: Vec<u8>) {
        let Some(&connection) = self.connections.get(&pair(from, to)) else {
            return;
        };
        let key = (from.to_owned(), to.to_owned());
        let Some(link) = self.links.get_mut(&key) else { return };
        if link.blackout {
            // Tried again by whoever wants it; the blackout's end is not known here.
            let delay = link.delay * 6;
            let at = self.now + delay;
            return self.push(
                at,
                Input::Message {
                    from: key.0,
                    to: key.1,
                    bytes,
                    connection,
                },
            );
        }
        let mut wait = Duration::ZERO;
        let delay = loop {
            match link.carry(&mut self.random) {
                Some(delay) => break delay,
                None => wait += link.delay * 2 + Duration::from_millis(25),
            }
        };
        let clear = self.stream_clear_at.get(&key).copied().unwrap_or(self.now);
        let at = (self.now + wait + delay).max(clear);
        self.stream_clear_at.insert(key.clone(), at);
        self.push(
            at,
            Input::Message {
                from: key.0,
                to: key.1,
                bytes,
                connection,
            },
        );
    }

    fn entry(&mut self, name: &str) -> &mut Node {
        self.nodes.get_mut(name).expect("a known edge")
    }
}

fn pair(a: &str, b: &str) -> (String, String) {
    if a < b {
        (a.to_owned(), b.to_owned())
    } else {
        (b.to_owned(), a.to_owned())
    }
}
