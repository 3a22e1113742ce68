//! What is missing of a track, and when to ask for it (again).

use crate::time::Time;
use std::collections::VecDeque;
use std::time::Duration;

/// A gap this young may be reordering: datagrams that overtake each other on an access link do so within a few milliseconds.
const REORDER_TOLERANCE: Duration = Duration::from_millis(5);

/// Numbers asked for at a time. At the bound the oldest are given up: a key frame repairs such a hole better.
const MAX_MISSING: usize = 512;

/// Requests per packet; libwebrtc uses the same number (modules/video_coding/nack_requester.cc).
const MAX_TRIES: u8 = 10;

/// A packet is given up after this time: players do not wait longer.
const GIVE_UP: Duration = Duration::from_secs(1);

/// Assumed before the first repair: ICE-lite measures no round trip, and a publisher's reports say nothing of ours.
const INITIAL_REPAIR_TIME: Duration = Duration::from_millis(100);

/// Repetitions are neither closer nor further apart than this.
const REPEAT_RANGE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

#[derive(Clone, Copy, Debug)]
struct Missing {
    number: u64,
    since: Time,
    next_at: Time,
    first_asked: Option<Time>,
    tries: u8,
}

/// Missing numbers of one track, ascending.
#[derive(Debug)]
pub(super) struct NackList {
    missing: VecDeque<Missing>,
    repair_time: Duration,
    given_up: u64,
}

impl Default for NackList {
    fn default() -> Self {
        NackList {
            missing: VecDeque::new(),
            repair_time: INITIAL_REPAIR_TIME,
            given_up: 0,
        }
    }
}

impl NackList {
    /// Notes the numbers between the former highest and the new one, both exclusive.
    pub(super) fn handle_gap(&mut self, first: u64, end: u64, now: Time) {
        let reachable = first.max(end.saturating_sub(MAX_MISSING as u64));
        self.given_up += reachable - first;
        for number in reachable..end {
            if self.missing.len() == MAX_MISSING {
                self.missing.pop_front();
                self.given_up += 1;
            }
            let next_at = now + REORDER_TOLERANCE;
            self.missing.push_back(Missing {
                number,
                since: now,
                next_at,
                first_asked: None,
                tries: 0,
            });
        }
    }

    /// Forgets a number that has arrived; `true` when it had been missing.
    pub(super) fn handle_arrival(&mut self, number: u64, now: Time) -> bool {
        let Ok(at) = self.missing.binary_search_by_key(&number, |missing| missing.number) else {
            return false;
        };
        let Some(found) = self.missing.remove(at) else {
            return false;
        };
        if let Some(asked) = found.first_asked {
            let sample = now - asked;
            if found.tries == 1 {
                self.repair_time = (self.repair_time * 7 + sample) / 8;
            } else if sample > self.repair_time {
                // Karn: which request was answered is unknown, but the estimate may be too small for any to be in time.
                self.repair_time = (self.repair_time * 15 + sample) / 16;
            }
        }
        true
    }

    /// Numbers to ask for now, ascending and at most `limit`; each is due again later, those beyond the limit with the next poll.
    /// Returns the numbers given up meanwhile.
    pub(super) fn poll(&mut self, now: Time, limit: usize, due: &mut Vec<u64>) -> u64 {
        let repeat = (self.repair_time + self.repair_time / 4).clamp(REPEAT_RANGE.0, REPEAT_RANGE.1);
        let before = self.missing.len();
        self.missing.retain_mut(|missing| {
            if now < missing.next_at {
                return true;
            }
            if missing.tries == MAX_TRIES || now - missing.since >= GIVE_UP {
                return false;
            }
            if due.len() >= limit {
                return true;
            }
            missing.tries += 1;
            missing.first_asked.get_or_insert(now);
            missing.next_at = now + repeat;
            due.push(missing.number);
            true
        });
        std::mem::take(&mut self.given_up) + (before - self.missing.len()) as u64
    }

    /// When something will be due.
    pub(super) fn poll_timeout(&self) -> Option<Time> {
        self.missing.iter().map(|missing| missing.next_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(list: &mut NackList, ms: u64) -> Vec<u64> {
        let mut due = Vec::new();
        list.poll(Time::from_millis(ms), MAX_MISSING, &mut due);
        due
    }

    #[test]
    fn reordering_asks_for_nothing() {
        let mut list = NackList::default();
        list.handle_gap(5, 7, Time::from_millis(0));
        assert!(list.handle_arrival(6, Time::from_millis(2)));
        assert!(list.handle_arrival(5, Time::from_millis(3)));
        assert_eq!(poll(&mut list, 5), []);
        assert_eq!(list.poll_timeout(), None);
    }

    #[test]
    fn repetitions_follow_the_measured_repair_time() {
        let mut list = NackList::default();
        for number in 0..60u64 {
            list.handle_gap(number, number + 1, Time::from_millis(number * 1_000));
            assert_eq!(poll(&mut list, number * 1_000 + 5), [number]);
            list.handle_arrival(number, Time::from_millis(number * 1_000 + 45));
        }
        list.handle_gap(99, 100, Time::from_millis(100_000));
        assert_eq!(poll(&mut list, 100_005), [99]);
        // Repairs take 40 ms: asked again after 50, not after the initial 125.
        assert_eq!(list.poll_timeout().map(|at| at.as_micros() / 1_000), Some(100_055));
    }

    #[test]
    fn a_packet_is_given_up_in_the_end() {
        let mut list = NackList::default();
        list.handle_gap(5, 6, Time::from_millis(0));
        let mut asked = 0;
        let mut given_up = 0;
        while let Some(at) = list.poll_timeout() {
            let mut due = Vec::new();
            given_up += list.poll(at, MAX_MISSING, &mut due);
            asked += due.len();
        }
        assert_eq!(given_up, 1);
        assert!((5..=usize::from(MAX_TRIES)).contains(&asked), "{asked}");
    }

    #[test]
    fn the_list_is_bounded() {
        let mut list = NackList::default();
        list.handle_gap(0, 10_000, Time::ZERO);
        list.handle_gap(10_001, 10_011, Time::ZERO);
        let mut due = Vec::new();
        let given_up = list.poll(Time::from_millis(5), MAX_MISSING, &mut due);
        assert_eq!((due.len(), given_up), (MAX_MISSING, 10_010 - MAX_MISSING as u64));
    }
}
