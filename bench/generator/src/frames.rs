//! When each frame became decodable: all of its packets here, and all frames before it back to a key frame.

use std::collections::BTreeMap;
use std::time::Instant;

/// Packets that may wait for a gap to be filled; older ones are given up.
const WAITING_MAX: usize = 4_096;

/// What one packet says of its frame.
#[derive(Clone, Copy)]
pub struct Part {
    /// RTP timestamp.
    pub timestamp: u32,
    /// Last packet of the frame.
    pub marker: bool,
    /// First packet of the frame.
    pub first: bool,
    /// First packet of a key frame.
    pub key_frame: bool,
}

/// One decodable frame.
#[derive(Clone, Copy)]
pub struct Frame {
    /// When its last missing packet arrived.
    pub at: Instant,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Decoding can start here.
    pub key_frame: bool,
}

/// Orders packets by sequence number and notes frames as a decoder could take them.
#[derive(Default)]
pub struct FrameLog {
    waiting: BTreeMap<u64, Part>,
    /// The sequence number the decoder needs next; none before the first key frame.
    next: Option<u64>,
    /// All decodable frames in order.
    pub frames: Vec<Frame>,
}

impl FrameLog {
    /// Takes a packet in whatever order it arrives.
    pub fn take(&mut self, sequence_number: u64, part: Part, now: Instant) {
        if self.next.is_some_and(|next| sequence_number < next) {
            return;
        }
        self.waiting.insert(sequence_number, part);
        while self.waiting.len() > WAITING_MAX {
            self.waiting.pop_first();
        }
        while let Some((start, end)) = self.complete_frame() {
            let part = self.waiting[&start];
            self.frames.push(Frame {
                at: now,
                timestamp: part.timestamp,
                key_frame: part.key_frame,
            });
            self.waiting = self.waiting.split_off(&(end + 1));
            self.next = Some(end + 1);
        }
    }

    /// The next whole frame: the one that follows, or a later key frame.
    fn complete_frame(&self) -> Option<(u64, u64)> {
        let following = self.next.and_then(|next| self.whole_from(next));
        following.or_else(|| {
            let keys = self.waiting.iter().filter(|(_, part)| part.key_frame);
            keys.filter_map(|(start, _)| self.whole_from(*start)).next_back()
        })
    }

    fn whole_from(&self, start: u64) -> Option<(u64, u64)> {
        let opening = self.waiting.get(&start).filter(|part| part.first)?;
        for (expected, (sequence_number, part)) in (start..).zip(self.waiting.range(start..)) {
            if *sequence_number != expected || part.timestamp != opening.timestamp {
                return None;
            }
            if part.marker {
                return Some((start, expected));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(timestamp: u32, first: bool, marker: bool, key_frame: bool) -> Part {
        Part {
            timestamp,
            marker,
            first,
            key_frame,
        }
    }

    #[test]
    fn a_gap_holds_frames_back_until_it_is_filled() {
        let (mut log, now) = (FrameLog::default(), Instant::now());
        log.take(10, part(1, true, true, true), now);
        log.take(12, part(3, true, true, false), now);
        assert_eq!(log.frames.len(), 1);
        log.take(11, part(2, true, true, false), now);
        assert_eq!(
            log.frames.iter().map(|frame| frame.timestamp).collect::<Vec<_>>(),
            [1, 2, 3]
        );
    }

    #[test]
    fn nothing_is_decodable_before_a_key_frame_and_a_later_one_ends_a_gap() {
        let (mut log, now) = (FrameLog::default(), Instant::now());
        log.take(10, part(1, true, true, false), now);
        assert!(log.frames.is_empty());
        log.take(20, part(5, true, false, true), now);
        assert!(log.frames.is_empty());
        log.take(21, part(5, false, true, false), now);
        assert_eq!(log.frames.len(), 1);
    }
}
