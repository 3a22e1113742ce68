//! What waits for a trunk connection: by priority, bounded in bytes and in time.

use std::collections::VecDeque;
use std::time::Duration;
use tradewind_core::mesh::Priority;
use tradewind_core::time::Time;

/// Bytes that may wait: a replayed group of pictures and half a second of a busy trunk.
const BYTES_MAX: usize = 4 * 1_024 * 1_024;
/// Live media and repairs are of no use after this; replays are bounded by their pacing.
const STALE: Duration = Duration::from_millis(500);

/// Datagrams on their way to one neighbour.
#[derive(Debug, Default)]
pub struct SendQueue {
    waiting: [VecDeque<(Time, Vec<u8>)>; Priority::COUNT],
    bytes: usize,
}

/// What `pop` threw away and found.
#[derive(Debug, Default)]
pub struct Popped {
    /// The next datagram.
    pub datagram: Option<Vec<u8>>,
    /// Datagrams that had waited too long.
    pub stale: u64,
}

impl SendQueue {
    /// Queues a datagram. When full, the oldest of the lowest priority make room; returns how many were dropped.
    pub fn push(&mut self, priority: Priority, datagram: Vec<u8>, now: Time) -> u64 {
        self.bytes += datagram.len();
        self.waiting[priority as usize].push_back((now, datagram));
        let mut dropped = 0;
        while self.bytes > BYTES_MAX {
            let Some(lowest) = self.waiting.iter_mut().rev().find(|queue| !queue.is_empty()) else {
                break;
            };
            if let Some((_, datagram)) = lowest.pop_front() {
                self.bytes -= datagram.len();
                dropped += 1;
            }
        }
        dropped
    }

    /// Takes the next datagram, the highest priority first.
    pub fn pop(&mut self, now: Time) -> Popped {
        let mut popped = Popped::default();
        for (priority, queue) in self.waiting.iter_mut().enumerate() {
            let expires = priority == Priority::Audio as usize
                || priority == Priority::Video as usize
                || priority == Priority::Retransmission as usize;
            while let Some((since, datagram)) = queue.pop_front() {
                self.bytes -= datagram.len();
                if expires && now - since > STALE {
                    popped.stale += 1;
                    continue;
                }
                popped.datagram = Some(datagram);
                return popped;
            }
        }
        popped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_overtakes_video_and_old_media_is_left_behind() {
        let mut queue = SendQueue::default();
        queue.push(Priority::Video, vec![1], Time::ZERO);
        queue.push(Priority::Replay, vec![2], Time::ZERO);
        queue.push(Priority::Video, vec![3], Time::from_millis(600));
        queue.push(Priority::Audio, vec![4], Time::from_millis(600));
        let now = Time::from_millis(601);
        let order: Vec<_> = std::iter::from_fn(|| {
            let popped = queue.pop(now);
            popped.datagram.map(|datagram| (datagram[0], popped.stale))
        })
        .collect();
        assert_eq!(order, [(4, 0), (3, 1), (2, 0)]);
    }

    #[test]
    fn a_full_queue_drops_the_oldest_replay_first() {
        let mut queue = SendQueue::default();
        queue.push(Priority::Replay, vec![0; BYTES_MAX / 2], Time::ZERO);
        queue.push(Priority::Replay, vec![1; BYTES_MAX / 2], Time::ZERO);
        assert_eq!(queue.push(Priority::Control, vec![2; 100], Time::ZERO), 1);
        assert_eq!(queue.pop(Time::ZERO).datagram.map(|datagram| datagram[0]), Some(2));
        assert_eq!(queue.pop(Time::ZERO).datagram.map(|datagram| datagram[0]), Some(1));
    }
}
