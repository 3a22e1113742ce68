//! The beginning of a source that is new to this edge: what its parent had kept of it comes in one burst.
//!
//! Sent on as they come, a second's frames would reach a player within a few milliseconds, stamped a frame's interval apart. It
//! takes when frames come for when they were made, and showed the live ones up to 60 ms early for half a minute. So a viewer
//! starts when the burst is over, from the ring, as one does who comes later.

use crate::time::Time;
use std::time::Duration;

/// As long without a frame that came sooner than it was made after the one before, and the burst is over.
const QUIET: Duration = Duration::from_millis(20);
/// No viewer waits longer for a burst's end.
const LONGEST: Duration = Duration::from_millis(300);
/// Jitter of a frame that is no part of a burst.
const JITTER_US: i64 = 5_000;

/// Watches a source's first frames until they come as fast as they were made.
#[derive(Debug)]
pub(super) struct Beginning {
    clock_rate: u32,
    first: u32,
    first_at: Time,
    /// By how much the frames so far have come sooner than they were made.
    lead_us: i64,
    quiet_at: Time,
}

impl Beginning {
    /// The first packet, with its source timestamp. `clock_rate` in Hz.
    pub(super) fn new(clock_rate: u32, timestamp: u32, now: Time) -> Beginning {
        Beginning {
            clock_rate,
            first: timestamp,
            first_at: now,
            lead_us: 0,
            quiet_at: now + QUIET,
        }
    }

    /// Another packet came.
    pub(super) fn handle_packet(&mut self, timestamp: u32, now: Time) {
        let made = i64::from(timestamp.wrapping_sub(self.first) as i32) * 1_000_000 / i64::from(self.clock_rate);
        let lead_us = made - (now - self.first_at).as_micros() as i64;
        if lead_us > self.lead_us + JITTER_US {
            self.lead_us = lead_us;
            self.quiet_at = now + QUIET;
        }
    }

    /// When it is over, unless more of it comes.
    pub(super) fn over_at(&self) -> Time {
        self.quiet_at.min(self.first_at + LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    #[test]
    fn a_key_frame_alone_waits_for_nothing_more() {
        let mut beginning = Beginning::new(90_000, u32::MAX - 10, at(100));
        for ms in [101, 105, 118] {
            beginning.handle_packet(u32::MAX - 10, at(ms));
        }
        assert_eq!(beginning.over_at(), at(120));
    }

    #[test]
    fn a_burst_is_over_when_frames_come_as_they_are_made() {
        let mut beginning = Beginning::new(90_000, u32::MAX - 10, at(100));
        for frame in 1..=30u32 {
            beginning.handle_packet((u32::MAX - 10).wrapping_add(frame * 3_000), at(100 + u64::from(frame)));
        }
        assert_eq!(beginning.over_at(), at(150));
        for frame in 31..35u32 {
            beginning.handle_packet(
                (u32::MAX - 10).wrapping_add(frame * 3_000),
                at(130 + u64::from(frame - 30) * 33),
            );
        }
        assert_eq!(beginning.over_at(), at(150), "live frames do not prolong it");
    }

    #[test]
    fn nobody_waits_for_ever() {
        let mut beginning = Beginning::new(90_000, 0, at(100));
        for frame in 1..=100u32 {
            beginning.handle_packet(frame * 9_000, at(100 + u64::from(frame) * 10));
        }
        assert_eq!(beginning.over_at(), at(400));
    }
}
