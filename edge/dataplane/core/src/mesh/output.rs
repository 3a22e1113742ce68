//! What a node is told at its start, and what it tells.

use crate::mesh::hop::HopStats;
use crate::packet::MediaPacket;
use crate::source::{Codec, SenderClock, SourceId, SourceInfo};
use std::sync::Arc;

/// An edge's name, as in its certificate.
pub type EdgeId = Arc<str>;

/// How a node starts.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// This edge.
    pub edge_id: String,
    /// Added to the monotonic clock to make the clock that neighbours see, in microseconds. The same for all of this
    /// edge's measurements, so that offsets telescope along a path.
    pub clock_base_us: u64,
    /// Congestion window of a trunk; what utilisation is measured against.
    pub window_bytes: u64,
    /// What is switched on.
    pub features: Features,
}

/// Mechanisms that can be taken away, to show what they are worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Features {
    /// Arm and commit.
    pub failover: bool,
    /// Keep the backup warm; without it, it is subscribed when needed.
    pub backup: bool,
    /// Ask a neighbour for lost packets.
    pub trunk_nack: bool,
    /// Replay the current group of pictures to a new subscriber.
    pub cache: bool,
}

impl Default for Features {
    fn default() -> Self {
        Features {
            failover: true,
            backup: true,
            trunk_nack: true,
            cache: true,
        }
    }
}

impl Features {
    /// Everything but what is named; names that are not ours are another part's.
    pub fn without(disabled: &[String]) -> Self {
        let on = |name: &str| !disabled.iter().any(|disabled| disabled == name);
        Features {
            failover: on("failover"),
            backup: on("backup"),
            trunk_nack: on("trunk_nack"),
            cache: on("cache"),
        }
    }
}

/// What this edge's own people want of a room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Interest {
    /// Nothing.
    #[default]
    None,
    /// Room messages.
    RoomOnly,
    /// Media and room messages.
    Media,
}

/// Which datagrams go first when the connection cannot take all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Priority {
    /// Heartbeats, requests, clocks.
    Control,
    /// Audio.
    Audio,
    /// Video as it comes.
    Video,
    /// What was asked for again.
    Retransmission,
    /// What a new subscriber is caught up with.
    Replay,
}

impl Priority {
    /// Number of priorities.
    pub const COUNT: usize = 5;
}

/// A step of a fail-over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailoverPhase {
    /// The backup carries media too.
    Armed,
    /// It no longer does.
    Released,
    /// It is the parent now.
    Committed,
}

impl FailoverPhase {
    /// The name in events.
    pub const fn name(self) -> &'static str {
        match self {
            FailoverPhase::Armed => "armed",
            FailoverPhase::Released => "released",
            FailoverPhase::Committed => "committed",
        }
    }
}

/// What the rim has to do.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// Send in a DATAGRAM frame, or on a stream of its own when it is too large for one.
    Datagram {
        /// To whom.
        peer: EdgeId,
        /// Before or after what.
        priority: Priority,
        /// Flow id and the rest.
        bytes: Vec<u8>,
    },
    /// Send on the reliable stream for subscriptions.
    StreamMessage {
        /// To whom.
        peer: EdgeId,
        /// One message, without the length in front.
        bytes: Vec<u8>,
        /// A room message: it has a stream of its own.
        room_message: bool,
    },
    /// Have a connection, and keep trying.
    Connect {
        /// To whom.
        peer: EdgeId,
    },
    /// No connection is needed any more.
    Disconnect {
        /// To whom.
        peer: EdgeId,
    },
    /// A remote source's packet, once each, in arrival order.
    Packet {
        /// Whose.
        source: Arc<SourceId>,
        /// Index into its tracks.
        track: u8,
        /// The packet.
        packet: Arc<MediaPacket>,
    },
    /// A remote source can be had here.
    SourceSeen {
        /// What it is.
        info: Arc<SourceInfo>,
        /// The neighbour it comes through.
        via: EdgeId,
    },
    /// It no longer can.
    SourceLost {
        /// Which.
        source: Arc<SourceId>,
        /// In snake_case.
        reason: &'static str,
    },
    /// A remote publisher's wallclock.
    SenderClock {
        /// Whose.
        source: Arc<SourceId>,
        /// Index into its tracks.
        track: u8,
        /// The mapping.
        clock: SenderClock,
    },
    /// A loss on a remote source's way here is repaired in this time: worth buffering in a player.
    RepairDelay {
        /// Whose.
        source: Arc<SourceId>,
        /// How long.
        repair_ms: u16,
    },
    /// Somebody downstream needs a key frame of a local source.
    KeyFrameRequest {
        /// Whose.
        source: Arc<SourceId>,
        /// Index into its tracks.
        track: u8,
    },
    /// Neighbours want (or no longer want) a local source's packets.
    LocalInterest {
        /// Which room.
        room: String,
        /// Whether they do.
        wanted: bool,
    },
    /// A neighbour's message for the room.
    RoomMessage {
        /// Which room.
        room: String,
        /// Who sent it.
        peer: EdgeId,
        /// What it says.
        payload: Vec<u8>,
    },
    /// This edge's place in the room's tree is now this.
    TreeChanged {
        /// Which room.
        room: String,
        /// The publication; 0 before one is known.
        incarnation: u64,
        /// Towards the source; `None` at its edge.
        parent: Option<EdgeId>,
        /// Away from it.
        children: Vec<EdgeId>,
    },
    /// A step of a fail-over.
    Failover {
        /// Which room.
        room: String,
        /// The publication.
        incarnation: u64,
        /// Which step.
        phase: FailoverPhase,
        /// The parent after this step.
        parent: EdgeId,
        /// The backup; after a commit, the former parent.
        peer: EdgeId,
        /// What spoke against the parent.
        reason: &'static str,
    },
}

/// What a worker whose people have just come is caught up with.
#[derive(Clone, PartialEq, Debug)]
pub struct Replay {
    /// Whose packets.
    pub source: Arc<SourceId>,
    /// The publisher's wallclock by track.
    pub clocks: Vec<(u8, SenderClock)>,
    /// From the latest key frame on, with the audio beside it, in arrival order; empty when decoding could not start.
    pub packets: Vec<(u8, Arc<MediaPacket>)>,
}

/// Why something from a neighbour was dropped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MeshDrop {
    /// No flow id, or an empty datagram.
    DatagramMalformed,
    /// A control message that breaks its format.
    MessageMalformed,
    /// A control message of a type we do not know.
    MessageUnknown,
    /// A flow that was never given out.
    FlowUnknown,
    /// Not RTP as trunks carry it.
    RtpMalformed,
    /// A packet that came before, by whichever way.
    Duplicate,
    /// A packet behind everything that is kept.
    TooOld,
    /// A packet of a publication that a newer one has replaced.
    Superseded,
    /// A packet that came before its source was announced, and too many of them.
    EarlyOverflow,
    /// A packet of a track the source does not have, or of one ssrc too many.
    TrackUnknown,
    /// A message about a subscription that does not exist.
    SubscriptionUnknown,
    /// A subscription beyond the bound.
    SubscriptionLimit,
    /// A request for a packet that is not kept.
    NackUnknown,
    /// From somebody who is not a neighbour.
    PeerUnknown,
}

impl MeshDrop {
    /// Every reason, in order.
    pub const ALL: [MeshDrop; 14] = [
        MeshDrop::DatagramMalformed,
        MeshDrop::MessageMalformed,
        MeshDrop::MessageUnknown,
        MeshDrop::FlowUnknown,
        MeshDrop::RtpMalformed,
        MeshDrop::Duplicate,
        MeshDrop::TooOld,
        MeshDrop::Superseded,
        MeshDrop::EarlyOverflow,
        MeshDrop::TrackUnknown,
        MeshDrop::SubscriptionUnknown,
        MeshDrop::SubscriptionLimit,
        MeshDrop::NackUnknown,
        MeshDrop::PeerUnknown,
    ];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            MeshDrop::DatagramMalformed => "trunk_datagram_malformed",
            MeshDrop::MessageMalformed => "trunk_message_malformed",
            MeshDrop::MessageUnknown => "trunk_message_unknown",
            MeshDrop::FlowUnknown => "trunk_flow_unknown",
            MeshDrop::RtpMalformed => "trunk_rtp_malformed",
            MeshDrop::Duplicate => "trunk_duplicate",
            MeshDrop::TooOld => "trunk_too_old",
            MeshDrop::Superseded => "trunk_superseded",
            MeshDrop::EarlyOverflow => "trunk_early_overflow",
            MeshDrop::TrackUnknown => "trunk_track_unknown",
            MeshDrop::SubscriptionUnknown => "trunk_subscription_unknown",
            MeshDrop::SubscriptionLimit => "trunk_subscription_limit",
            MeshDrop::NackUnknown => "trunk_nack_unknown",
            MeshDrop::PeerUnknown => "trunk_peer_unknown",
        }
    }
}

/// One neighbour's numbers.
#[derive(Clone, PartialEq, Debug)]
pub struct PeerSnapshot {
    /// Which neighbour.
    pub peer: EdgeId,
    /// Whether its trunk is up.
    pub connected: bool,
    /// Its hop.
    pub stats: HopStats,
}

/// One stream's numbers.
#[derive(Clone, PartialEq, Debug, Default)]
#[allow(missing_docs)] // the fields are those of `StreamStats` in `_native.pyi`, described there
pub struct StreamSnapshot {
    pub room: String,
    pub incarnation: u64,
    pub local: bool,
    pub parent: Option<EdgeId>,
    pub backup: Option<EdgeId>,
    pub path: Vec<String>,
    pub phase: &'static str,
    pub packets: u64,
    pub bytes: u64,
    pub packets_lost: u64,
    pub packets_recovered: u64,
    pub key_frames: u64,
    pub codecs: Vec<Codec>,
}
