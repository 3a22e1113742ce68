//! How much may leave towards one viewer at once.

use crate::time::Time;
use std::time::Duration;

/// One slot; key frames spread over several.
pub(super) const SLOT: Duration = Duration::from_millis(5);

/// Bytes per slot: ten full packets, one GSO run. 19 Mbit/s, so that a common frame leaves whole.
pub(super) const SLOT_BYTES: usize = 12_000;

/// Counts bytes per slot of 5 ms.
#[derive(Debug, Default)]
pub(super) struct Pacer {
    slot_start: Time,
    sent_bytes: usize,
}

impl Pacer {
    /// Whether another packet may leave now.
    pub(super) fn admits(&mut self, now: Time) -> bool {
        if now - self.slot_start >= SLOT {
            self.slot_start = now;
            self.sent_bytes = 0;
        }
        self.sent_bytes < SLOT_BYTES
    }

    /// Counts what has left, admitted or not (audio never waits).
    pub(super) fn handle_sent(&mut self, len: usize) {
        self.sent_bytes += len;
    }

    /// When another packet may leave.
    pub(super) fn next_admission(&self) -> Time {
        if self.sent_bytes < SLOT_BYTES {
            self.slot_start
        } else {
            self.slot_start + SLOT
        }
    }

    /// How long sending this many bytes takes.
    pub(super) fn time_for(bytes: usize) -> Duration {
        SLOT * (bytes / SLOT_BYTES) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_takes_twelve_kilobytes_and_the_next_one_again() {
        let mut pacer = Pacer::default();
        let mut admitted = |ms: u64| {
            let mut count = 0;
            while pacer.admits(Time::from_millis(ms)) {
                pacer.handle_sent(1_200);
                count += 1;
            }
            count
        };
        assert_eq!(
            [admitted(100), admitted(104), admitted(105), admitted(300)],
            [10, 0, 10, 10]
        );
    }
}
