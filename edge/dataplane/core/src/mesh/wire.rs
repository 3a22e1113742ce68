//! The messages of a trunk: what `docs/wire.md` describes, in bytes.
//!
//! A message is `type (varint) · length (varint) · body`. Flow 0 carries them, in datagrams (several may stand in one) and
//! on streams. Unknown types are skipped, so that a newer neighbour does no harm.

mod encoding;
#[cfg(test)]
mod tests;

use crate::packet::Ssrc;
use crate::source::{SenderClock, SourceInfo};

/// Application protocol of a trunk connection.
pub const ALPN: &[u8] = b"tradewind-trunk/1";
/// The flow of control messages.
pub const CONTROL_FLOW: u64 = 0;
/// Tracks per source; the low four bits of a flow id.
pub const TRACKS_MAX: usize = 16;
/// Largest message on a stream. A danmaku batch is the largest we send, at most 100 comments of 200 characters.
pub const MESSAGE_BYTES_MAX: usize = 65_536;
/// Edges in a route or path: source, two relays, leaf, and room for a detour during a move.
pub const PATH_EDGES_MAX: usize = 8;
/// Bytes of an edge id; it is a DNS label in certificates (RFC 1035 §2.3.4).
pub const EDGE_ID_BYTES_MAX: usize = 63;
/// Largest incarnation: pages read them as JSON numbers (RFC 7493 §2.2), and a host who publishes again needs a higher one.
pub const INCARNATION_MAX: u64 = (1 << 53) - 2;
/// Bytes of a room name.
pub const ROOM_BYTES_MAX: usize = 256;

/// The flow that carries a track: the subscriber's number for the subscription, the generation of the source (it counts
/// takeovers, so that packets of two publications cannot be confused), and the track's index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flow {
    /// The subscriber's number for the subscription, from 1.
    pub subscription: u64,
    /// Which publication since the subscription began, modulo 16.
    pub generation: u8,
    /// Index into the source's tracks.
    pub track: u8,
}

impl Flow {
    /// The flow id on the wire.
    pub const fn id(self) -> u64 {
        self.subscription << 8 | ((self.generation & 15) as u64) << 4 | (self.track & 15) as u64
    }

    /// What a flow id means; `None` for flow ids below the first subscription's.
    pub const fn from_id(id: u64) -> Option<Flow> {
        if id < 256 {
            return None;
        }
        Some(Flow {
            subscription: id >> 8,
            generation: (id >> 4 & 15) as u8,
            track: (id & 15) as u8,
        })
    }
}

/// What a subscriber wants.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Wants {
    /// Media packets; without it only source heartbeats flow.
    pub media: bool,
    /// A place in the room's tree: room messages pass here.
    pub tree: bool,
    /// This is the subscriber's backup; counted apart.
    pub backup: bool,
}

impl Wants {
    const fn bits(self) -> u8 {
        self.media as u8 | (self.tree as u8) << 1 | (self.backup as u8) << 2
    }

    const fn from_bits(bits: u8) -> Wants {
        Wants {
            media: bits & 1 != 0,
            tree: bits & 2 != 0,
            backup: bits & 4 != 0,
        }
    }

    /// Media or tree: more than a warm backup.
    pub const fn is_leaf(self) -> bool {
        self.media || self.tree
    }

    /// What both want together; a backup only when both are.
    pub const fn or(self, other: Wants) -> Wants {
        Wants {
            media: self.media || other.media,
            tree: self.tree || other.tree,
            backup: self.backup && other.backup,
        }
    }
}

/// How a node stands to a stream, as it tells its subscribers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SourceState {
    /// The stream arrives, or a backup is taking over.
    #[default]
    Healthy,
    /// The parent is silent, or says this of itself and there is no backup: arm yours.
    Suspect,
    /// No way to the source is left.
    Orphan,
}

/// Sent to every neighbour: proof of life, clock, echo, and what was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Heartbeat {
    /// Trunk packet number, from the same counter as the media packets' numbers, not truncated.
    pub trunk_number: u64,
    /// The sender's clock in microseconds when it sent this.
    pub clock_us: u64,
    /// `clock_us` of the last heartbeat received; 0 when none was.
    pub echo_clock_us: u64,
    /// Time between its arrival and this message.
    pub echo_delay_us: u64,
    /// Highest trunk packet number received.
    pub received_highest: u64,
    /// Trunk packets received since the connection began.
    pub received: u64,
    /// Trunk packets lost since the connection began.
    pub lost: u64,
}

/// Proof that the source is alive and how its packets come here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceHeartbeat {
    /// The receiver's number for its subscription.
    pub subscription: u64,
    /// The publication.
    pub incarnation: u64,
    /// Counted by the source's edge, every 100 ms.
    pub counter: u64,
    /// How the sender stands to the stream.
    pub state: SourceState,
    /// Edges from the source's to the sender.
    pub path: Vec<String>,
    /// Time in which a loss on the way to the sender is repaired; 0 at the source's edge.
    pub repair_ms: u64,
}

/// Asks for a stream, or changes what is asked of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscribe {
    /// The subscriber's number, from 1; its flows are derived from it.
    pub subscription: u64,
    /// Higher replaces lower.
    pub revision: u64,
    /// What is wanted.
    pub wants: Wants,
    /// Which room.
    pub room: String,
    /// Edges from the receiver to the source's.
    pub route: Vec<String>,
    /// Edges that this subscription has come through, the first subscriber first.
    pub via: Vec<String>,
    /// Last sequence number held per ssrc; packets after it are replayed. Empty: replay from the latest key frame.
    pub last_seen: Vec<(Ssrc, u16)>,
}

/// Everything that travels on flow 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Proof of life.
    Heartbeat(Heartbeat),
    /// Proof of the source's life.
    SourceHeartbeat(SourceHeartbeat),
    /// Asks for packets of a flow again.
    Nack {
        /// The flow id.
        flow: u64,
        /// Whose packets.
        ssrc: Ssrc,
        /// Which, truncated to 16 bit.
        sequence_numbers: Vec<u16>,
    },
    /// Asks for a key frame of a flow.
    KeyFrameRequest {
        /// The flow id.
        flow: u64,
    },
    /// The publisher's wallclock for a flow.
    SenderClock {
        /// The flow id.
        flow: u64,
        /// The mapping.
        clock: SenderClock,
    },
    /// Asks for a stream.
    Subscribe(Subscribe),
    /// Ends a subscription.
    Unsubscribe {
        /// The subscriber's number.
        subscription: u64,
        /// Higher replaces lower.
        revision: u64,
    },
    /// Accepts a subscription, or tells of a takeover.
    Source {
        /// The receiver's number for its subscription.
        subscription: u64,
        /// The generation in its flow ids from now on.
        generation: u8,
        /// What is published.
        info: SourceInfo,
    },
    /// The subscription cannot be served now; it is remembered unless the reason is `loop`.
    Refused {
        /// The receiver's number for its subscription.
        subscription: u64,
        /// In snake_case.
        reason: String,
    },
    /// The source has ended.
    SourceGone {
        /// The receiver's number for its subscription.
        subscription: u64,
        /// Which publication.
        incarnation: u64,
        /// In snake_case.
        reason: String,
    },
    /// To the room's people beyond this neighbour.
    RoomMessage {
        /// Which room.
        room: String,
        /// Opaque to the trunk.
        payload: Vec<u8>,
    },
}
