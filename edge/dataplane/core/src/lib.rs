//! The packet path without I/O: what to do with a packet, and when.
//!
//! Everything here takes packets and `now` as arguments and returns what to do. No sockets, no clocks, no
//! randomness, no threads. One driving contract for every state machine: feed one input with `handle_*`, drain
//! `poll_*` until it returns `None`, ask `poll_timeout` when to call `handle_timeout` next.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod codec;
pub mod hold;
pub mod ice;
pub mod media_clock;
pub mod mesh;
pub mod packet;
pub mod receive;
pub mod ring;
pub mod route;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod send;
pub mod session;
pub mod source;
pub mod srtp;
pub mod stun;
pub mod time;
