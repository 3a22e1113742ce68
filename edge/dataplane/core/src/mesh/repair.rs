//! How much delay hides one repair on the way from the source: what players are told to buffer.
//!
//! A hop repairs by itself, so a path needs its slowest hop's time and not the sum. A player that buffers less shows every
//! loss on a trunk as a freeze. Nothing in an edge waits for this time.

use crate::time::Time;
use std::time::Duration;

/// What a repair takes beyond a round trip, and what a player's own way needs besides. A loss of sound shows with its next packet,
/// 20 ms later, one at a frame's end with the next frame's first, 40 ms later at 25 frames per second; a node's tick and the
/// player's own decoding take 10 ms more. The rest is for the sound, which a player delays by 90 ms more than its picture
/// ([`crate::hold`]): with 80 ms in all, repaired sound left here 40 ms late, and Chromium's jitter buffer for sound wandered
/// between 20 and 110 ms, its lip sync with it; with repairs in time it stays between 40 and 60 ms.
const DETECTION: Duration = Duration::from_millis(105);
/// Hops give a repair up 300 ms after they miss a packet; with a far hop's noticing, nothing later than this comes.
pub const REPAIR_DELAY_MAX_MS: u16 = 500;
/// Smaller differences are jitter of the round trip, which a player's buffer shall not follow.
const STEP_MS: u16 = 20;
/// The way must have been better for this long before less is said.
const LOWER_AFTER: Duration = Duration::from_secs(10);
/// As long as the shortest round trip of the last second or two takes to show a longer way in full.
const RISE_FOR: Duration = Duration::from_secs(2);

/// One upstream's value. Neighbours are told what is needed now, so that differences too small to act on do not add up along
/// a path; players are told a value that rises at once and falls late.
#[derive(Clone, Copy, Debug, Default)]
pub struct RepairDelay {
    needed_ms: u16,
    said_ms: Option<u16>,
    /// Until then every rise is followed: a way that grows longer does so in steps.
    rising_until: Time,
    /// Since when less would do, and the most that was needed since.
    lower: Option<(Time, u16)>,
}

impl RepairDelay {
    /// Takes in what the parent said and the hop's round trip; `None` for a hop that repairs nothing. It is the shortest of the
    /// last second or two: a process that stood still must not lengthen players' buffers for ten seconds.
    pub fn handle_sample(&mut self, upstream_ms: u64, rtt: Option<Duration>, now: Time) {
        let hop_ms = rtt.map_or(0, |rtt| (rtt + DETECTION).as_millis() as u64);
        let needed_ms = upstream_ms.max(hop_ms).min(u64::from(REPAIR_DELAY_MAX_MS)) as u16;
        self.needed_ms = needed_ms;
        let Some(said_ms) = self.said_ms else {
            self.said_ms = Some(needed_ms);
            return;
        };
        let step = needed_ms > said_ms.saturating_add(STEP_MS);
        if step || (needed_ms > said_ms && now < self.rising_until) {
            if step {
                self.rising_until = now + RISE_FOR;
            }
            self.said_ms = Some(needed_ms);
            self.lower = None;
        } else if needed_ms.saturating_add(STEP_MS) >= said_ms {
            self.lower = None;
        } else {
            let (since, most_ms) = self.lower.unwrap_or((now, needed_ms));
            let most_ms = most_ms.max(needed_ms);
            if now - since >= LOWER_AFTER {
                self.said_ms = Some(most_ms);
                self.lower = None;
            } else {
                self.lower = Some((since, most_ms));
            }
        }
    }

    /// For neighbours, in milliseconds; 0 before the first sample.
    pub fn needed_ms(&self) -> u16 {
        self.needed_ms
    }

    /// For players, in milliseconds; `None` before the first sample.
    pub fn said_ms(&self) -> Option<u16> {
        self.said_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1_000)
    }

    fn rtt(millis: u64) -> Option<Duration> {
        Some(Duration::from_millis(millis))
    }

    #[test]
    fn the_slowest_hop_counts_and_not_the_sum() {
        let mut delay = RepairDelay::default();
        assert_eq!(delay.said_ms(), None);
        delay.handle_sample(110, rtt(160), at(0));
        assert_eq!(delay.said_ms(), Some(265));
        let mut behind = RepairDelay::default();
        behind.handle_sample(265, rtt(60), at(0));
        assert_eq!(behind.said_ms(), Some(265));
        let mut far = RepairDelay::default();
        far.handle_sample(u64::MAX, None, at(0));
        assert_eq!(far.said_ms(), Some(REPAIR_DELAY_MAX_MS));
    }

    #[test]
    fn it_rises_at_once_and_falls_after_ten_good_seconds() {
        let mut delay = RepairDelay::default();
        delay.handle_sample(0, rtt(100), at(0));
        delay.handle_sample(0, rtt(120), at(1));
        assert_eq!((delay.said_ms(), delay.needed_ms()), (Some(205), 225), "jitter");
        delay.handle_sample(0, rtt(121), at(2));
        assert_eq!(delay.said_ms(), Some(226));
        for second in 3..12 {
            delay.handle_sample(0, rtt(50), at(second));
        }
        delay.handle_sample(0, rtt(110), at(12));
        for second in 13..23 {
            delay.handle_sample(0, rtt(if second == 15 { 80 } else { 50 }), at(second));
            assert_eq!(delay.said_ms(), Some(226), "a relapse begins the wait anew");
        }
        delay.handle_sample(0, rtt(50), at(23));
        assert_eq!(delay.said_ms(), Some(185), "what was needed within the wait");
    }
}
