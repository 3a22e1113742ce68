//! One room's stream at one node: its source, who it comes from, who it goes to.

use crate::mesh::failover::Phase;
use crate::mesh::layer::Layer;
use crate::mesh::output::{EdgeId, Interest};
use crate::mesh::repair::RepairDelay;
use crate::mesh::wire::{SourceHeartbeat, SourceState, Wants};
use crate::packet::Ssrc;
use crate::route::StreamRoute;
use crate::source::{SenderClock, SourceId, SourceInfo};
use crate::time::Time;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// A node *has* a stream when its source's heartbeat advanced within this time.
pub const FRESH: Duration = Duration::from_millis(300);
/// A path is shown this long after the source's heartbeat last came by it: longer than a fail-over takes.
const PATH_KNOWN: Duration = Duration::from_secs(1);
/// Media goes on this long after the last leaf, or each zapping viewer would pay for a subscription.
pub const LINGER: Duration = Duration::from_secs(10);
/// Packets of one source that may come before it is announced: half a second of a busy stream.
pub const EARLY_MAX: usize = 256;
/// Layers per source: each track, and a restart of each ssrc.
pub const LAYERS_MAX: usize = 32;

/// One room at one node.
#[derive(Debug)]
pub struct Stream {
    /// Which room.
    pub room: String,
    /// What this edge's own people want …
    pub interest: Interest,
    /// … and what they wanted until then.
    pub lingering: Option<(Interest, Time)>,
    /// How control says to reach the source.
    pub route: Option<StreamRoute>,
    /// The publication, once known.
    pub source: Option<Source>,
    /// Where it may come from.
    pub upstreams: BTreeMap<EdgeId, Upstream>,
    /// Where it goes.
    pub children: BTreeMap<EdgeId, Child>,
    /// The parent.
    pub active: Option<EdgeId>,
    /// Since when.
    pub active_since: Time,
    /// The parent is not the route's, because the route's failed; until control says otherwise.
    pub committed: bool,
    /// The route's parent is being joined before the old one is left.
    pub moving: Option<EdgeId>,
    /// Whether the backup carries media.
    pub phase: Phase,
    /// What children are told.
    pub state: SourceState,
    /// The source edge's own heartbeat counter.
    pub counter: u64,
    /// When the source's edge sends the next heartbeat.
    pub beat_at: Time,
    /// Key frames that were asked for and have not come, per track.
    pub key_frames_wanted: BTreeMap<u8, KeyFrameWanted>,
    /// What was last said with `LocalInterest`.
    pub local_wanted: bool,
    /// Publication and value that were last said with `RepairDelay`.
    pub repair_told: Option<(u64, u16)>,
    /// What was last said with `TreeChanged`.
    pub tree: Option<(u64, Option<EdgeId>, Vec<EdgeId>)>,
    /// Something changed that the subscriptions depend on.
    pub unsettled: bool,
}

/// A publication.
#[derive(Debug)]
pub struct Source {
    /// What it is.
    pub info: Arc<SourceInfo>,
    /// Its identity, shared by all outputs.
    pub id: Arc<SourceId>,
    /// Whether its host is connected here.
    pub local: bool,
    /// Its packets by track and ssrc.
    pub layers: BTreeMap<(u8, Ssrc), Layer>,
    /// Its wallclock by track.
    pub clocks: BTreeMap<u8, SenderClock>,
    /// When the clocks are repeated to the children.
    pub clocks_at: Time,
    /// Packets and bytes taken in.
    pub packets: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Key frames among them.
    pub key_frames: u64,
    /// Timestamp of the last one, by track.
    pub key_frame_timestamps: BTreeMap<u8, u32>,
}

/// A subscription of ours.
#[derive(Debug)]
pub struct Upstream {
    /// Our number for it.
    pub subscription: u64,
    /// Of the last message.
    pub revision: u64,
    /// What the parent was last told; `None` when it has to be told anew.
    pub sent: Option<(Wants, Vec<String>)>,
    /// When.
    pub sent_at: Time,
    /// When the subscription began, or began anew.
    pub since: Time,
    /// The parent has announced the source or sent a heartbeat.
    pub answered: bool,
    /// The parent has refused, and nothing better was heard since.
    pub refused: bool,
    /// The incarnation behind each generation in flow ids.
    pub generations: [Option<u64>; 16],
    /// The source's last heartbeat.
    pub beat: Option<Beat>,
    /// Time in which a loss on the way through this parent is repaired.
    pub repair: RepairDelay,
    /// When media last came.
    pub media_at: Option<Time>,
    /// Packets that came before their source was announced.
    pub early: VecDeque<(u64, Bytes)>,
}

/// The source's heartbeat as one parent passes it on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Beat {
    /// The publication.
    pub incarnation: u64,
    /// The source edge's counter.
    pub counter: u64,
    /// When it last advanced.
    pub advanced_at: Time,
    /// What the parent says of itself.
    pub state: SourceState,
    /// Edges from the source's to the parent.
    pub path: Vec<String>,
}

/// A subscriber.
#[derive(Debug)]
pub struct Child {
    /// Its number for the subscription.
    pub subscription: u64,
    /// Of its last message.
    pub revision: u64,
    /// What it wants.
    pub wants: Wants,
    /// Edges from here to the source's, as it said.
    pub route: Vec<String>,
    /// Edges its subscription came through.
    pub via: Vec<String>,
    /// What it has, for passing on when this node has nothing itself.
    pub last_seen: Vec<(Ssrc, u16)>,
    /// The generation in its flow ids.
    pub generation: u8,
    /// The incarnation that was announced to it.
    pub announced: Option<u64>,
    /// Where a layer's replay stands; none for layers that are live.
    pub cursors: BTreeMap<(u8, Ssrc), u64>,
    /// The upstream that serves it; `None` at the source's edge.
    pub serving: Option<EdgeId>,
    /// When it was last sent a heartbeat of the source.
    pub beat_at: Option<Time>,
    /// Its trunk went down; it may come back.
    pub detached: Option<Time>,
}

/// A key frame that was asked for.
#[derive(Clone, Copy, Debug)]
pub struct KeyFrameWanted {
    /// When it was first asked for.
    pub since: Time,
    /// When it is asked for again.
    pub next_at: Time,
    /// How often it may still be.
    pub left: u8,
}

impl Stream {
    pub fn new(room: &str, now: Time) -> Self {
        Stream {
            room: room.to_owned(),
            interest: Interest::None,
            lingering: None,
            route: None,
            source: None,
            upstreams: BTreeMap::new(),
            children: BTreeMap::new(),
            active: None,
            active_since: now,
            committed: false,
            moving: None,
            phase: Phase::Steady,
            state: SourceState::Healthy,
            counter: 0,
            beat_at: now,
            key_frames_wanted: BTreeMap::new(),
            local_wanted: false,
            repair_told: None,
            tree: None,
            unsettled: true,
        }
    }

    /// Nothing is left to do or to remember.
    pub fn is_idle(&self) -> bool {
        self.interest == Interest::None
            && self.lingering.is_none()
            && self.children.is_empty()
            && self.upstreams.is_empty()
            && !self.source.as_ref().is_some_and(|source| source.local)
    }

    pub fn incarnation(&self) -> u64 {
        self.source.as_ref().map_or(0, |source| source.id.incarnation)
    }

    /// The host is connected here, and no newer publication is known elsewhere.
    pub fn is_origin(&self, own: &str) -> bool {
        let Some(source) = self.source.as_ref().filter(|source| source.local) else {
            return false;
        };
        self.route
            .as_ref()
            .is_none_or(|route| route.source_edge == own || route.incarnation <= source.id.incarnation)
    }

    /// What this edge's own people need, those who have just left included.
    pub fn own_wants(&self) -> Wants {
        let interest = self
            .lingering
            .map_or(self.interest, |(interest, _)| interest.max(self.interest));
        Wants {
            media: interest == Interest::Media,
            tree: interest != Interest::None,
            backup: false,
        }
    }

    /// The source's heartbeat advances through `peer`, by a way that does not lead through this edge.
    pub fn is_fresh(&self, peer: &str, own: &str, now: Time) -> bool {
        self.upstreams
            .get(peer)
            .is_some_and(|upstream| upstream.is_fresh(own, self.incarnation(), now))
    }

    /// The path from the source to this edge, as children served by `via` are told.
    pub fn path_through(&self, via: Option<&str>, own: &str) -> Vec<String> {
        let mut path = match via {
            Some(via) => self
                .upstreams
                .get(via)
                .and_then(|up| up.beat.as_ref())
                .map_or(Vec::new(), |b| b.path.clone()),
            None => Vec::new(),
        };
        path.push(own.to_owned());
        path
    }

    /// The path that media takes, the source's edge first; empty when the parent's word of it is old.
    pub fn known_path(&self, own: &str, now: Time) -> Vec<String> {
        let is_known = match self.active.as_ref().and_then(|active| self.upstreams.get(active)) {
            Some(upstream) => upstream
                .beat
                .as_ref()
                .is_some_and(|beat| now - beat.advanced_at <= PATH_KNOWN),
            None => self.is_origin(own),
        };
        if is_known {
            self.path_through(self.active.as_deref(), own)
        } else {
            Vec::new()
        }
    }

    /// The rest of a path after this edge, when it leads through `next`: the route's own, or a child's.
    pub fn route_through(&self, next: &str) -> Option<Vec<String>> {
        let own = self.route.iter().flat_map(|route| [&route.primary, &route.backup]);
        let children = self.children.values().map(|child| &child.route);
        own.chain(children)
            .find(|path| path.get(1).map(String::as_str) == Some(next))
            .map(|path| path[1..].to_vec())
    }

    /// Neighbours that could take over from the parent, the best first.
    pub fn standbys(&self) -> Vec<EdgeId> {
        let mut standbys: Vec<EdgeId> = self.moving.iter().cloned().collect();
        for path in self.route.iter().flat_map(|route| [&route.primary, &route.backup]) {
            if let Some(next) = path.get(1)
                && self.active.as_deref() != Some(next)
                && !standbys.iter().any(|edge| **edge == **next)
            {
                standbys.push(EdgeId::from(next.as_str()));
            }
        }
        standbys
    }
}

impl Upstream {
    pub fn new(subscription: u64, now: Time) -> Self {
        Upstream {
            subscription,
            revision: 0,
            sent: None,
            sent_at: now,
            since: now,
            answered: false,
            refused: false,
            generations: [None; 16],
            beat: None,
            repair: RepairDelay::default(),
            media_at: None,
            early: VecDeque::new(),
        }
    }

    /// The trunk was replaced; everything has to be said again.
    pub fn handle_reconnect(&mut self, now: Time) {
        self.sent = None;
        self.since = now;
        self.answered = false;
        self.refused = false;
        self.generations = [None; 16];
        self.early.clear();
    }

    pub fn is_looped(&self, own: &str) -> bool {
        self.beat
            .as_ref()
            .is_some_and(|beat| beat.path.iter().any(|edge| edge == own))
    }

    pub fn is_fresh(&self, own: &str, incarnation: u64, now: Time) -> bool {
        !self.is_looped(own)
            && self.beat.as_ref().is_some_and(|beat| {
                now - beat.advanced_at <= FRESH && beat.incarnation >= incarnation && beat.state != SourceState::Orphan
            })
    }

    /// Takes a heartbeat in; whether it advanced, and whether path or state changed.
    pub fn handle_beat(&mut self, beat: SourceHeartbeat, now: Time) -> (bool, bool) {
        self.answered = true;
        let known = self.beat.take();
        let advanced = known
            .as_ref()
            .is_none_or(|known| (beat.incarnation, beat.counter) > (known.incarnation, known.counter));
        let changed = known
            .as_ref()
            .is_none_or(|known| known.path != beat.path || known.state != beat.state);
        let advanced_at = if advanced {
            now
        } else {
            known.as_ref().map_or(now, |known| known.advanced_at)
        };
        let counter = known
            .as_ref()
            .filter(|_| !advanced)
            .map_or(beat.counter, |known| known.counter);
        let incarnation = known
            .as_ref()
            .filter(|_| !advanced)
            .map_or(beat.incarnation, |known| known.incarnation);
        self.refused &= !advanced;
        self.beat = Some(Beat {
            incarnation,
            counter,
            advanced_at,
            state: beat.state,
            path: beat.path,
        });
        (advanced, changed)
    }
}

impl Source {
    pub fn new(info: SourceInfo, local: bool, now: Time) -> Self {
        Source {
            id: Arc::new(info.id.clone()),
            info: Arc::new(info),
            local,
            layers: BTreeMap::new(),
            clocks: BTreeMap::new(),
            clocks_at: now,
            packets: 0,
            bytes: 0,
            key_frames: 0,
            key_frame_timestamps: BTreeMap::new(),
        }
    }

    /// Counts a packet at which decoding can start: parameter sets and the slice after them are one key frame.
    pub fn count_key_frame(&mut self, track: u8, timestamp: u32) {
        let before = self.key_frame_timestamps.insert(track, timestamp);
        self.key_frames += u64::from(before != Some(timestamp));
    }

    /// What a new parent is asked to go on from; nothing when it is too old to go on from.
    pub fn last_seen(&self, now: Time) -> Vec<(Ssrc, u16)> {
        self.layers
            .iter()
            .filter(|(_, layer)| {
                let last = layer.highest().and_then(|highest| layer.get(highest));
                last.is_some_and(|packet| now - packet.received_at <= Duration::from_secs(2))
            })
            .filter_map(|((_, ssrc), layer)| Some((*ssrc, layer.last_gapless()? as u16)))
            .collect()
    }
}
