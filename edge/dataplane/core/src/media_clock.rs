//! The publisher's clock as the room needs it: which unix time its newest frame has.
//!
//! Sender reports pair the publisher's wallclock with RTP time when they leave (RFC 3550 §6.4.1); a frame that arrives
//! together with one was taken at that time. Players show the same clock, whatever it says.

use crate::source::SenderClock;
use crate::time::Time;
use std::time::Duration;

/// Seconds between 1900 (NTP) and 1970 (unix), RFC 5905 §6, as milliseconds.
const NTP_UNIX_OFFSET_MS: u64 = 2_208_988_800_000;
/// Any NTP time since 1995 is above; below it counts the seconds since something else, as players take it too.
const NTP_FROM_MS: u64 = 3_000_000_000_000;
/// A clock that goes on as told is said again after this long, so that a lost word is made up for.
const REPEAT: Duration = Duration::from_secs(10);
/// A change is said at most this often, whatever a publisher's reports claim.
const GAP: Duration = Duration::from_secs(1);
/// Reports are late by the way's jitter; a larger step is a clock that was set.
const STEP_MS: u64 = 250;

/// What a sender report says as unix milliseconds.
pub fn unix_ms(clock: SenderClock) -> u64 {
    let seconds_ms = (clock.ntp >> 32) * 1_000;
    let ntp_ms = seconds_ms + (((clock.ntp & 0xffff_ffff) * 1_000) >> 32);
    if ntp_ms > NTP_FROM_MS {
        ntp_ms - NTP_UNIX_OFFSET_MS
    } else {
        ntp_ms
    }
}

/// Decides when a publisher's clock is worth telling: at first, when it was set, and now and then.
#[derive(Clone, Copy, Default, Debug)]
pub struct MediaClock {
    told: Option<(u64, Time)>,
}

impl MediaClock {
    /// A sender report has arrived; gives the unix milliseconds to tell.
    pub fn handle_sender_clock(&mut self, clock: SenderClock, now: Time) -> Option<u64> {
        let said_ms = unix_ms(clock);
        if let Some((told_ms, at)) = self.told {
            let since = now - at;
            let expected_ms = told_ms.saturating_add(since.as_millis() as u64);
            if since < GAP || (since < REPEAT && said_ms.abs_diff(expected_ms) <= STEP_MS) {
                return None;
            }
        }
        self.told = Some((said_ms, now));
        Some(said_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(unix_ms: u64) -> SenderClock {
        let ntp_ms = unix_ms + NTP_UNIX_OFFSET_MS;
        let fraction = ((ntp_ms % 1_000) << 32).div_ceil(1_000);
        SenderClock {
            ntp: (ntp_ms / 1_000) << 32 | fraction,
            rtp: 0,
        }
    }

    #[test]
    fn ntp_becomes_unix_time_and_other_clocks_stay_as_they_are() {
        assert_eq!(unix_ms(at(1_763_913_600_123)), 1_763_913_600_123);
        let uptime = SenderClock {
            ntp: 5 << 32 | 1 << 31,
            rtp: 0,
        };
        assert_eq!(unix_ms(uptime), 5_500);
        assert_eq!(unix_ms(SenderClock { ntp: u64::MAX, rtp: 0 }), 2_085_978_495_999);
    }

    #[test]
    fn a_clock_is_told_at_first_when_set_and_now_and_then() {
        const NOW: u64 = 1_763_913_600_000;
        let mut clock = MediaClock::default();
        for (millis, said, expected) in [
            (0, NOW, true),
            (500, NOW + 500, false),
            (900, 7, false), // too soon after the last, whatever it says
            (3_000, NOW + 3_200, false),
            (4_000, NOW + 4_251, true),
            (9_000, NOW + 9_251, false),
            (14_000, NOW + 14_251, true),
            (15_500, NOW - 3_600_000, true),
        ] {
            let told = clock.handle_sender_clock(at(said), Time::from_millis(millis));
            assert_eq!(told, expected.then_some(said), "at {millis} ms");
        }
    }
}
