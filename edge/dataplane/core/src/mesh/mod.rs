//! Trunks: how streams pass from edge to edge, and how they go on when a hop fails (DESIGN §5, `docs/wire.md`).
//!
//! [`TrunkNode`] is one edge's part in all streams: a pure state machine. Connections, TLS and sockets live in the I/O
//! crate's `trunk`; local publishers and viewers live in sessions. Feed one input with `handle_*`, `apply_*` or `set_*`,
//! drain [`TrunkNode::poll_output`], call [`TrunkNode::handle_timeout`] at [`TrunkNode::poll_timeout`].

mod failover;
mod forward;
mod hop;
mod layer;
mod net;
mod node;
mod output;
mod quic;
mod repair;
mod routes;
mod settle;
mod stream;
mod subscribe;
mod trunk_rtp;
mod varint;
mod watch;
mod window;
pub mod wire;

pub use hop::HopStats;
pub use node::TrunkNode;
pub use output::{
    EdgeId, FailoverPhase, Features, Interest, MeshDrop, NodeConfig, Output, PeerSnapshot, Priority, Replay,
    StreamSnapshot,
};
pub use quic::{IdState, PacketNumbers, QuicDrop, VERSION as QUIC_VERSION, check_datagram, destination};
pub use routes::RouteRejected;
pub use trunk_rtp::{TrunkRtp, encode_rtp};
pub use varint::{Malformed, Reader, put_bytes, put_varint};
pub use window::Window;
