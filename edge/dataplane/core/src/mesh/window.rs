//! How much a trunk may have in flight: a configured window, blind to random loss, halved when a queue builds up.
//!
//! Live video is limited by its source, and one to five per cent of loss between regions is not congestion: a controller
//! that answers loss, as NewReno and CUBIC do, collapses. A standing queue shows as delay.

use crate::time::Time;
use std::time::Duration;

/// Delay above the minimum that is taken for a standing queue.
pub const QUEUE_DELAY: Duration = Duration::from_millis(100);
/// The minimum is over this long at least and twice at most, so that a path that became longer is not a queue for ever.
const MIN_WINDOW: Duration = Duration::from_secs(10);
/// The window never falls below this share of the configured one …
const FLOOR_SHARE: u64 = 8;
/// … nor below this: audio and heartbeats of a few hundred rooms.
const FLOOR_BYTES: u64 = 64 * 1_024;
/// Each round trip without a queue gives back this share of the configured window.
const GROWTH_SHARE: u64 = 16;

/// The window of one connection.
#[derive(Clone, Debug)]
pub struct Window {
    configured: u64,
    current: u64,
    minimum: [Option<Duration>; 2],
    rotated_at: Time,
    changed_at: Time,
}

impl Window {
    /// A window of `configured` bytes.
    pub fn new(configured: u64, now: Time) -> Self {
        let configured = configured.max(FLOOR_BYTES);
        Window {
            configured,
            current: configured,
            minimum: [None; 2],
            rotated_at: now,
            changed_at: now,
        }
    }

    /// Bytes that may be in flight.
    pub const fn bytes(&self) -> u64 {
        self.current
    }

    /// What the operator configured.
    pub const fn configured(&self) -> u64 {
        self.configured
    }

    /// A round trip was measured.
    pub fn handle_rtt(&mut self, rtt: Duration, now: Time) {
        if now - self.rotated_at >= MIN_WINDOW {
            self.minimum = [None, self.minimum[0]];
            self.rotated_at = now;
        }
        self.minimum[0] = Some(self.minimum[0].map_or(rtt, |minimum| minimum.min(rtt)));
        let minimum = self.minimum.iter().flatten().min().copied().unwrap_or(rtt);
        if now - self.changed_at < rtt {
            return; // what was changed has not come back yet
        }
        if rtt > minimum + QUEUE_DELAY {
            self.current = (self.current / 2).max(self.configured / FLOOR_SHARE).max(FLOOR_BYTES);
            self.changed_at = now;
        } else if self.current < self.configured {
            self.current = (self.current + self.configured / GROWTH_SHARE).min(self.configured);
            self.changed_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(160);

    fn feed(window: &mut Window, rtt: Duration, from: u64, to: u64) {
        for millis in (from..to).step_by(10) {
            window.handle_rtt(rtt, Time::from_millis(millis));
        }
    }

    #[test]
    fn a_queue_halves_the_window_once_per_round_trip_and_it_comes_back() {
        let mut window = Window::new(4_000_000, Time::ZERO);
        feed(&mut window, RTT, 0, 1_000);
        assert_eq!(window.bytes(), 4_000_000);
        window.handle_rtt(RTT * 2, Time::from_millis(1_000));
        window.handle_rtt(RTT * 2, Time::from_millis(1_010));
        assert_eq!(window.bytes(), 2_000_000);
        feed(&mut window, RTT, 1_330, 3_330);
        assert_eq!(window.bytes(), 4_000_000);
    }

    #[test]
    fn a_longer_path_is_not_a_queue_for_ever() {
        let mut window = Window::new(4_000_000, Time::ZERO);
        feed(&mut window, RTT, 0, 1_000);
        feed(&mut window, Duration::from_millis(560), 1_000, 5_000);
        assert_eq!(window.bytes(), 500_000, "never below an eighth");
        feed(&mut window, Duration::from_millis(560), 5_000, 40_000);
        assert_eq!(window.bytes(), 4_000_000);
    }
}
