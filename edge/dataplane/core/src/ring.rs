//! The packets of one stream's layer that may be wanted again: for retransmission, for a fast first frame, for a trunk's repair.

use crate::packet::MediaPacket;
use crate::time::Time;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Every packet is kept this long: a retransmission later than that comes too late for any player.
pub const KEEP: Duration = Duration::from_secs(2);

/// The current group of pictures is kept longer, for first frames.
pub const KEEP_GROUP: Duration = Duration::from_secs(4);

/// Slots at most; above 2,000 packets/s the time bounds yield to this one.
pub const MAX_PACKETS: u64 = 4_096;

/// A longer group of pictures is not replayed: two seconds between key frames, as hosts are asked for, and some lateness.
pub const REPLAY_MAX: Duration = Duration::from_millis(2_500);

/// A younger hole is still being repaired and does not prevent a replay: the missing packet follows, as it does for everybody.
pub const REPAIR_DEADLINE: Duration = Duration::from_millis(300);

const FIRST_SLOTS: usize = 128;

/// Why a packet was not kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RingDrop {
    /// The packet is there already.
    Duplicate,
    /// The packet lies below what is kept.
    TooOld,
}

impl RingDrop {
    /// Every reason, so that each has a counter from the start.
    pub const ALL: &'static [RingDrop] = &[RingDrop::Duplicate, RingDrop::TooOld];

    /// Stable metric label.
    pub const fn name(self) -> &'static str {
        match self {
            RingDrop::Duplicate => "ring_duplicate",
            RingDrop::TooOld => "ring_too_old",
        }
    }
}

/// A bounded window of one stream's packets by extended sequence number.
#[derive(Debug)]
pub struct StreamRing {
    /// Power of two long; packet `n` lives at `n % len`.
    slots: Vec<Option<Arc<MediaPacket>>>,
    oldest: u64,
    /// One above the highest number; equal to `oldest` when nothing is kept.
    next: u64,
    /// First packet of the latest key frame's timestamp.
    group_start: Option<u64>,
}

impl Default for StreamRing {
    fn default() -> Self {
        StreamRing::new()
    }
}

impl StreamRing {
    /// An empty ring; memory comes with the packets.
    pub const fn new() -> Self {
        StreamRing {
            slots: Vec::new(),
            oldest: 0,
            next: 0,
            group_start: None,
        }
    }

    /// Keeps a packet and forgets what its arrival has made too old.
    pub fn insert(&mut self, packet: Arc<MediaPacket>) -> Result<(), RingDrop> {
        let number = packet.extended_sequence_number;
        if self.is_empty() || number >= self.next + MAX_PACKETS {
            // First packet, or a jump beyond anything repairable.
            self.clear();
            self.oldest = number;
            self.next = number;
        }
        if number < self.oldest {
            let reach_back =
                self.next - number <= self.slots.len() as u64 && !self.is_stale(number, packet.received_at);
            if !reach_back {
                return Err(RingDrop::TooOld);
            }
            self.oldest = number;
        }
        if self.get(number).is_some() {
            return Err(RingDrop::Duplicate);
        }
        self.next = self.next.max(number + 1);
        while self.next - self.oldest > MAX_PACKETS {
            self.forget_oldest();
        }
        self.grow();
        let (received_at, key_frame_start, timestamp) = (packet.received_at, packet.key_frame_start, packet.timestamp);
        let slot = self.slot(number);
        self.slots[slot] = Some(packet);
        self.evict(received_at);
        self.move_group_start(number, timestamp, key_frame_start);
        Ok(())
    }

    /// The packet with this number, if it is kept.
    pub fn get(&self, extended_sequence_number: u64) -> Option<&Arc<MediaPacket>> {
        if extended_sequence_number < self.oldest || extended_sequence_number >= self.next {
            return None;
        }
        self.slots.get(self.slot(extended_sequence_number))?.as_ref()
    }

    /// The highest number received.
    pub fn highest(&self) -> Option<u64> {
        if self.is_empty() { None } else { Some(self.next - 1) }
    }

    /// The lowest number that may be there.
    pub fn oldest(&self) -> Option<u64> {
        if self.is_empty() { None } else { Some(self.oldest) }
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.oldest == self.next
    }

    /// Forgets everything: the source is gone.
    pub fn clear(&mut self) {
        self.slots.iter_mut().for_each(|slot| *slot = None);
        self.oldest = 0;
        self.next = 0;
        self.group_start = None;
    }

    /// The numbers from the first packet of the latest key frame's timestamp to the newest packet, when a viewer can start with
    /// them: not too long, and no hole that is past its repair.
    pub fn group_replay(&self, now: Time) -> Option<Range<u64>> {
        let start = self.group_start?;
        let first = self.get(start)?;
        if now - first.received_at > REPLAY_MAX {
            return None;
        }
        let mut hole = false;
        for number in start..self.next {
            match self.get(number) {
                None => hole = true,
                Some(packet) => {
                    if hole && now - packet.received_at > REPAIR_DEADLINE {
                        return None;
                    }
                    hole = false;
                }
            }
        }
        Some(start..self.next)
    }

    /// First packet of the latest key frame's timestamp, whether or not it can be replayed.
    pub fn group_start(&self) -> Option<u64> {
        self.group_start
    }

    fn slot(&self, number: u64) -> usize {
        number as usize & (self.slots.len().wrapping_sub(1))
    }

    /// Whether `number` need not be kept at `now`, judged by the packet after which it would come.
    fn is_stale(&self, number: u64, now: Time) -> bool {
        (number + 1..self.next)
            .find_map(|later| self.get(later))
            .is_some_and(|later| now - later.received_at > KEEP)
    }

    fn evict(&mut self, now: Time) {
        while self.oldest < self.next {
            let kept = self.get(self.oldest).is_some_and(|packet| {
                let age = now - packet.received_at;
                let in_group = self.group_start.is_some_and(|start| self.oldest >= start);
                age <= KEEP || (in_group && age <= KEEP_GROUP)
            });
            // A hole at the old end is of no use to anybody.
            if kept {
                break;
            }
            self.forget_oldest();
        }
        if self.group_start.is_some_and(|start| start < self.oldest) {
            self.group_start = None;
        }
    }

    fn forget_oldest(&mut self) {
        let index = self.slot(self.oldest);
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = None;
        }
        self.oldest += 1;
    }

    fn grow(&mut self) {
        let needed = (self.next - self.oldest) as usize;
        if needed <= self.slots.len() {
            return;
        }
        let len = needed.next_power_of_two().max(FIRST_SLOTS);
        let mut slots = vec![None; len];
        for number in self.oldest..self.next {
            let old = self.slot(number);
            if let Some(packet) = self.slots.get_mut(old).and_then(Option::take) {
                let at = packet.extended_sequence_number as usize & (len - 1);
                slots[at] = Some(packet);
            }
        }
        self.slots = slots;
    }

    fn move_group_start(&mut self, number: u64, timestamp: u32, key_frame_start: bool) {
        let current = self
            .group_start
            .and_then(|start| Some((start, self.get(start)?.timestamp)));
        let mut start = match current {
            Some((start, same)) if same == timestamp => start.min(number),
            Some((start, _)) if !key_frame_start || number < start => return,
            None if !key_frame_start => return,
            _ => number,
        };
        // Parameter sets may be packets of their own before the key frame, with its timestamp.
        while start > self.oldest && self.get(start - 1).is_some_and(|packet| packet.timestamp == timestamp) {
            start -= 1;
        }
        self.group_start = Some(start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{MediaExtensions, Ssrc};
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn packet(number: u64, ms: u64, timestamp: u32, key_frame_start: bool) -> Arc<MediaPacket> {
        Arc::new(MediaPacket {
            received_at: Time::from_millis(ms),
            ssrc: Ssrc(1),
            extended_sequence_number: number,
            timestamp,
            marker: false,
            payload_type: 96,
            key_frame_start,
            extensions: MediaExtensions::default(),
            payload: Bytes::from_static(b"x"),
        })
    }

    #[test]
    fn a_replay_starts_at_the_first_packet_of_the_key_frames_timestamp() {
        let mut ring = StreamRing::new();
        ring.insert(packet(10, 0, 900, false)).unwrap();
        // SPS and PPS come as packets of their own; the flag is on the slice.
        ring.insert(packet(11, 30, 1_000, false)).unwrap();
        ring.insert(packet(13, 31, 1_000, true)).unwrap();
        ring.insert(packet(14, 60, 2_000, false)).unwrap();
        assert_eq!(ring.group_replay(Time::from_millis(60)), Some(13..15));
        ring.insert(packet(12, 61, 1_000, false)).unwrap();
        assert_eq!(ring.group_replay(Time::from_millis(61)), Some(11..15));
    }

    #[test]
    fn a_hole_past_its_repair_prevents_a_replay_and_its_filling_allows_it() {
        let mut ring = StreamRing::new();
        ring.insert(packet(10, 0, 900, true)).unwrap();
        ring.insert(packet(12, 10, 1_000, false)).unwrap();
        assert_eq!(ring.group_replay(Time::from_millis(20)), Some(10..13));
        assert_eq!(ring.group_replay(Time::from_millis(311)), None);
        ring.insert(packet(11, 312, 950, false)).unwrap();
        assert_eq!(ring.group_replay(Time::from_millis(312)), Some(10..13));
    }

    #[test]
    fn a_long_group_is_not_replayed_but_its_key_frame_is_kept_for_four_seconds() {
        let mut ring = StreamRing::new();
        ring.insert(packet(0, 0, 0, true)).unwrap();
        for number in 1..=130u64 {
            ring.insert(packet(number, number * 30, number as u32, false)).unwrap();
        }
        assert_eq!(ring.oldest(), Some(0));
        assert_eq!(ring.group_replay(Time::from_millis(3_900)), None);
        ring.insert(packet(131, 4_001, 131, false)).unwrap();
        assert_eq!(ring.group_start(), None);
        assert!(ring.oldest() > Some(0));
    }

    #[test]
    fn audio_is_kept_for_two_seconds() {
        let mut ring = StreamRing::new();
        for number in 65_500..66_000u64 {
            ring.insert(packet(number, number * 20, number as u32, false)).unwrap();
        }
        assert_eq!(ring.oldest(), Some(65_999 - 100));
        assert!(ring.slots.len() <= 128);
    }

    #[test]
    fn a_jump_forgets_what_was_before() {
        let mut ring = StreamRing::new();
        ring.insert(packet(5, 0, 0, true)).unwrap();
        ring.insert(packet(5 + 2 * MAX_PACKETS, 1, 0, false)).unwrap();
        assert_eq!(ring.get(5), None);
        assert_eq!(ring.group_start(), None);
        assert_eq!(ring.insert(packet(6, 2, 0, false)), Err(RingDrop::TooOld));
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_was_inserted(start in 60_000u64..70_000, steps in proptest::collection::vec((-40i64..60, 0u64..60), 1..200)) {
            let mut ring = StreamRing::new();
            let mut model = BTreeMap::new();
            let mut number = start;
            let mut ms = 0;
            for (step, wait) in steps {
                number = number.saturating_add_signed(step);
                ms += wait;
                let inserted = packet(number, ms, number as u32, false);
                match ring.insert(inserted.clone()) {
                    Ok(()) => prop_assert!(model.insert(number, inserted).is_none_or(|_: Arc<MediaPacket>| false)),
                    Err(RingDrop::Duplicate) => prop_assert!(model.contains_key(&number)),
                    Err(RingDrop::TooOld) => {}
                }
                let (oldest, highest) = (ring.oldest().unwrap(), ring.highest().unwrap());
                prop_assert!(highest - oldest < MAX_PACKETS);
                model.retain(|kept, _| *kept >= oldest);
                for kept in oldest..=highest {
                    prop_assert_eq!(ring.get(kept), model.get(&kept));
                }
            }
        }
    }
}
