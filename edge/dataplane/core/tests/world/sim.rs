//! Many `TrunkNode`s, one clock, and a host who publishes; what every viewer gets is written down.

mod events;

use crate::net::{Direction, Random};
use bytes::Bytes;
use events::{Event, Input};
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
}

fn pair(a: &str, b: &str) -> (String, String) {
    if a < b {
        (a.to_owned(), b.to_owned())
    } else {
        (b.to_owned(), a.to_owned())
    }
}
