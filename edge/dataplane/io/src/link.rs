//! What the trunk thread is given: its mailbox, commands from Python, and where its numbers go.

use crate::clock::Clock;
use crate::counters::WorkerCounters;
use crate::events::EventSender;
use crate::handoff::Mailbox;
use crossbeam_channel::{Receiver, Sender};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tradewind_core::route::StreamRoute;

/// How the trunk thread starts.
#[derive(Clone, Debug)]
pub struct TrunkConfig {
    /// This edge.
    pub edge_id: String,
    /// Local address; port 0 takes a free one.
    pub bind: SocketAddr,
    /// This edge's certificate chain; empty: no trunks (a single edge).
    pub certificate_pem: Vec<u8>,
    /// Its private key.
    pub key_pem: Vec<u8>,
    /// The authority every peer's certificate must come from.
    pub ca_pem: Vec<u8>,
    /// Congestion window of each trunk in bytes.
    pub window_bytes: u64,
    /// Added to the clock that neighbours see, in milliseconds: lets a test run an edge whose clock is wrong.
    pub clock_offset_ms: f64,
    /// Features switched off by the operator or a bench run: `failover`, `trunk_nack`, `backup`, `cache`, …
    pub disabled_features: Vec<String>,
}

/// Where a neighbouring edge is reached and who it must prove to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerAddress {
    /// Its identity, as in its certificate.
    pub edge_id: String,
    /// `host:port` of its trunk socket, or of the emulator in front of it.
    pub address: String,
}

/// A command that cannot be carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandRejection {
    /// In snake_case; also a metric label.
    pub reason: &'static str,
    /// A sentence that says what to do.
    pub detail: String,
}

/// Where an answer goes; the asker waits at most a second.
pub type Reply<T> = Sender<T>;

/// Commands from Python to the trunk thread; it is woken through its mailbox's eventfd.
#[derive(Debug)]
pub enum TrunkCommand {
    /// The whole table of neighbours.
    SetPeers(Vec<PeerAddress>),
    /// The whole table of routes; refused as a whole, or applied.
    SetRoutes(Vec<StreamRoute>, Reply<Result<(), CommandRejection>>),
    /// People are in the room without watching: join its tree for room messages only.
    SetRoomInterest {
        /// Which room.
        room: String,
        /// Whether anybody is there.
        interested: bool,
    },
    /// A room message to a neighbour in the room's tree.
    SendRoomMessage {
        /// Which room.
        room: String,
        /// Which neighbour.
        peer: String,
        /// What to say.
        payload: Vec<u8>,
    },
    /// Close all trunks and end the thread.
    Stop,
}

/// Everything that ties the trunk thread to the rest of the packet path.
pub struct TrunkLink {
    /// Rings from and to the shards; the trunk's index is the last one.
    pub mailbox: Mailbox,
    /// Commands from Python.
    pub commands: Receiver<TrunkCommand>,
    /// Events to Python.
    pub events: EventSender,
    /// Counted drops and packets of this thread.
    pub counters: Arc<WorkerCounters>,
    /// Where the thread puts its numbers a few times a second; `Dataplane::snapshot` reads them.
    pub report: Arc<Mutex<TrunkReport>>,
    /// The process's clock.
    pub clock: Clock,
}

/// A running trunk thread.
#[derive(Debug)]
pub struct TrunkHandle {
    /// The bound address.
    pub local_address: SocketAddr,
    /// Ends after [`TrunkCommand::Stop`].
    pub thread: std::thread::JoinHandle<()>,
}

/// The trunk thread's numbers at one moment.
#[derive(Clone, Debug, Default)]
pub struct TrunkReport {
    /// Neighbours with a trunk at this moment; kept at every change, unlike the rest.
    pub up: BTreeSet<String>,
    /// One entry per configured neighbour.
    pub trunks: Vec<TrunkStats>,
    /// One entry per source that this edge has, carries or wants; `viewers` is filled in from the shards.
    pub streams: Vec<StreamStats>,
}

/// One trunk as this edge sees it; ratios 0–1, over the last window.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)] // the fields are those of `TrunkStats` in `_native.pyi`, described there
pub struct TrunkStats {
    pub peer: String,
    pub connected: bool,
    pub rtt_ms: f64,
    pub rtt_min_ms: f64,
    pub one_way_delay_raw_ms: f64,
    pub one_way_delay_p95_raw_ms: f64,
    pub jitter_ms: f64,
    pub loss_ratio: f64,
    pub loss_ratio_30s: f64,
    pub mean_burst_packets: f64,
    pub packets_received: u64,
    pub packets_lost: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub utilisation: f64,
    pub media_bytes_sent: u64,
    pub backup_bytes_sent: u64,
}

/// One source as this edge sees it.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)] // the fields are those of `StreamStats` in `_native.pyi`, described there
pub struct StreamStats {
    pub room: String,
    pub incarnation: u64,
    pub local: bool,
    pub parent: Option<String>,
    pub backup: Option<String>,
    pub path: Vec<String>,
    pub phase: &'static str,
    pub viewers: u64,
    pub packets: u64,
    pub bytes: u64,
    pub packets_lost: u64,
    pub packets_recovered: u64,
    pub key_frames: u64,
    pub codecs: Vec<&'static str>,
}
