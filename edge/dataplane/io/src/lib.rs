//! Sockets, threads and batching around the packet path.
//!
//! One pinned shard thread per core owns its sockets and sessions; one trunk thread speaks QUIC to other edges. They
//! meet only in [`handoff`]: bounded single-producer rings of immutable packets and small notices. Policy never lives
//! here; the core crate decides, this crate carries out.
#![deny(missing_docs)]

pub mod clock;
pub mod counters;
pub mod dataplane;
pub mod directory;
pub mod dtls;
pub mod event_fd;
pub mod events;
pub mod features;
pub mod handoff;
pub mod link;
pub mod plan;
pub mod shard;
pub mod trunk;
pub mod udp;
