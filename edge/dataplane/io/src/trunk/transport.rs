//! QUIC's settings for live media, and our congestion window behind quinn's trait.

use crate::clock::Clock;
use quinn::congestion::{Controller, ControllerFactory};
use quinn::{TransportConfig, VarInt};
use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tradewind_core::mesh::Window;

/// A dead neighbour is noticed by heartbeats long before; this only ends the connection.
const IDLE: Duration = Duration::from_secs(4);
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// With quinn's default of 1,200, datagrams have 1,162 bytes, and publishers' packets reach 1,200.
const INITIAL_MTU: u16 = 1_280;
/// What quinn may hold before sending; our own queue, which knows priorities, holds the rest.
pub const DATAGRAM_BUFFER: usize = 32 * 1_024;
/// What may wait to be read: a fifth of a second of a 300 Mbit/s trunk.
const DATAGRAM_RECEIVE_BUFFER: usize = 8 * 1_024 * 1_024;
/// Streams for subscriptions, room messages and packets too large for a datagram.
const STREAMS_MAX: u32 = 256;
/// Unread bytes of all streams; room messages are small.
const STREAM_WINDOW: u32 = 1_024 * 1_024;

/// The settings of every trunk connection.
pub fn transport(window_bytes: u64, clock: Clock) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(VarInt::from_u32(IDLE.as_millis() as u32).into()))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .initial_mtu(INITIAL_MTU)
        .datagram_send_buffer_size(DATAGRAM_BUFFER)
        .datagram_receive_buffer_size(Some(DATAGRAM_RECEIVE_BUFFER))
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(STREAM_WINDOW * 4))
        .congestion_controller_factory(Arc::new(WindowFactory { window_bytes, clock }));
    transport
}

struct WindowFactory {
    window_bytes: u64,
    clock: Clock,
}

impl ControllerFactory for WindowFactory {
    fn build(self: Arc<Self>, _now: Instant, _current_mtu: u16) -> Box<dyn Controller> {
        Box::new(WindowController {
            window: Window::new(self.window_bytes, self.clock.now()),
            clock: self.clock,
        })
    }
}

/// The core's window, told of round trips and of nothing else: random loss is not congestion.
#[derive(Clone)]
struct WindowController {
    window: Window,
    clock: Clock,
}

impl Controller for WindowController {
    fn on_ack(&mut self, now: Instant, _sent: Instant, _bytes: u64, _limited: bool, rtt: &quinn_proto::RttEstimator) {
        self.window.handle_rtt(rtt.get(), self.clock.at(now));
    }

    fn on_congestion_event(&mut self, _now: Instant, _sent: Instant, _is_persistent: bool, _lost_bytes: u64) {}

    fn on_mtu_update(&mut self, _new_mtu: u16) {}

    fn window(&self) -> u64 {
        self.window.bytes()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.window.configured()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
