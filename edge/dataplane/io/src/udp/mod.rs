//! The media port: sockets shared between shards, batches in, segmented runs out.
//!
//! Everything unsafe about sockets is here: message headers and control messages of `recvmmsg(2)` and `sendmmsg(2)`.

mod bind;
mod control;
mod receive;
mod send;
#[cfg(test)]
mod tests;

pub use bind::{BindError, MediaSocket, bind_shards};
pub use receive::{Received, Receiver};
pub use send::{BATCH_RUNS, Destination, Run, SendResult, send_one, send_runs};
