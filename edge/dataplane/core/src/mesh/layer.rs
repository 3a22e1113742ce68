//! The packets of one layer as they pass this node: what is kept for retransmission and replay, and what is missing.

use crate::mesh::hop::extend;
use crate::packet::MediaPacket;
use crate::ring::{RingDrop, StreamRing};
use crate::time::Time;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// A lost packet that arrives later than this is of no use to a viewer's jitter buffer.
pub const REPAIR_DEADLINE: Duration = Duration::from_millis(300);
/// A wider gap is a new start, not loss to repair: 2 s of a 500 pps stream.
const REPAIR_GAP_MAX: u64 = 1_024;
/// A repeat is up to a tick late, and round trips vary.
const TICK_ALLOWANCE: Duration = Duration::from_millis(20);
/// Repeats of one request at most.
const ASKS_MAX: u8 = 6;
/// A burst of loss that may have taken the start of a replay.
const LOST_START_MAX: u64 = 8;
/// Packets refused as too old in a row before the sequence is taken to have begun anew.
const RESTART_AFTER: u32 = 64;

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inserted {
    /// Not seen before. `repaired` when it had been asked for.
    New {
        /// It fills a known hole.
        repaired: bool,
    },
    /// Seen before, by whichever way.
    Duplicate,
    /// Behind everything that is kept.
    TooOld,
}

#[derive(Clone, Copy, Debug)]
struct Ask {
    missed_at: Time,
    next_at: Time,
    asks: u8,
    /// A later packet has shown that it was sent to us.
    certain: bool,
}

/// One ssrc of one track.
#[derive(Debug, Default)]
pub struct Layer {
    ring: StreamRing,
    missing: BTreeMap<u64, Ask>,
    /// Below it, packets have been forgotten and cannot be told from new ones.
    floor: u64,
    too_old_run: u32,
    /// Highest number before the last restart: what comes next is numbered above it.
    highest_before: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came because they were asked for.
    pub recovered: u64,
}

impl Layer {
    /// The full number of a packet with these 16 bits.
    pub fn extend(&self, sequence_number: u16) -> u64 {
        match self.highest() {
            Some(highest) => extend(highest, sequence_number),
            // One rollover up, so that packets from before the first one seen still have a number; and after a restart, so that
            // numbers never go back: the rings behind this one would refuse everything until they are reached again.
            None => ((self.highest_before >> 16) + 1) << 16 | u64::from(sequence_number),
        }
    }

    /// Highest number seen.
    pub fn highest(&self) -> Option<u64> {
        self.ring.highest()
    }

    /// Takes a packet in.
    pub fn insert(&mut self, packet: &Arc<MediaPacket>, now: Time) -> Inserted {
        let number = packet.extended_sequence_number;
        let (highest, oldest) = (self.ring.highest(), self.ring.oldest());
        let inserted = if number < self.floor {
            Err(RingDrop::TooOld)
        } else {
            self.ring.insert(Arc::clone(packet))
        };
        match inserted {
            Ok(()) => {
                if let (Some(before), Some(after)) = (oldest, self.ring.oldest())
                    && after > before
                {
                    self.floor = after;
                }
            }
            Err(RingDrop::Duplicate) if self.is_kept(packet) => return Inserted::Duplicate,
            // Another packet under a kept number is a whole cycle of numbers away from it.
            Err(RingDrop::Duplicate | RingDrop::TooOld) => {
                self.too_old_run += 1;
                if self.too_old_run >= RESTART_AFTER {
                    self.restart();
                }
                return Inserted::TooOld;
            }
        }
        self.too_old_run = 0;
        if let Some(highest) = highest.filter(|highest| *highest < number && number - highest <= REPAIR_GAP_MAX) {
            self.miss(highest + 1..number, true, now);
        }
        let repaired = self.missing.remove(&number).is_some_and(|ask| ask.asks > 0);
        self.recovered += u64::from(repaired);
        Inserted::New { repaired }
    }

    /// A replay begins at a key frame, yet the first packet that came does not: asks for those before it. Nothing else would
    /// show that they were sent, and who watches would wait for the next key frame.
    pub fn suspect_lost_start(&mut self, now: Time) {
        let first = self.first();
        self.miss(first.saturating_sub(LOST_START_MAX)..first, false, now);
    }

    /// Whether this very packet is kept, and not only its number.
    fn is_kept(&self, packet: &MediaPacket) -> bool {
        let kept = self.ring.get(packet.extended_sequence_number);
        kept.is_some_and(|kept| kept.timestamp == packet.timestamp)
    }

    fn miss(&mut self, numbers: Range<u64>, certain: bool, now: Time) {
        let ask = Ask {
            missed_at: now,
            next_at: now,
            asks: 0,
            certain,
        };
        self.missing.extend(numbers.map(|number| (number, ask)));
    }

    /// A kept packet.
    pub fn get(&self, number: u64) -> Option<&Arc<MediaPacket>> {
        self.ring.get(number)
    }

    /// First number kept.
    pub fn first(&self) -> u64 {
        self.ring.oldest().unwrap_or(0)
    }

    /// Where the latest group of pictures begins, when decoding can start with it.
    pub fn group_start(&self, now: Time) -> Option<u64> {
        self.ring.group_replay(now).map(|range| range.start)
    }

    /// The number after which a new parent has to replay: before the oldest hole that can still be filled.
    pub fn last_gapless(&self) -> Option<u64> {
        match self.missing.iter().find(|(_, ask)| ask.certain) {
            Some((first, _)) => first.checked_sub(1),
            None => self.highest(),
        }
    }

    /// Numbers to ask for now. Asked for at once, and again until an answer would come too late.
    pub fn poll_asks(&mut self, rtt: Duration, now: Time) -> Vec<u64> {
        let interval = repeat_interval(rtt);
        let mut due = Vec::new();
        self.missing.retain(|number, ask| {
            if now - ask.missed_at >= REPAIR_DEADLINE {
                self.lost += u64::from(ask.certain);
                return false;
            }
            let in_time = ask.asks == 0 || (now - ask.missed_at) + rtt <= REPAIR_DEADLINE;
            if now >= ask.next_at && ask.asks < ASKS_MAX && in_time {
                ask.asks += 1;
                ask.next_at = ask.missed_at + interval * u32::from(ask.asks);
                due.push(*number);
            }
            true
        });
        due
    }

    /// Forgets everything: what comes next is not the continuation of what was here, and is numbered above it.
    pub fn restart(&mut self) {
        self.highest_before = self.ring.highest().unwrap_or(self.highest_before);
        self.ring.clear();
        self.missing.clear();
        self.floor = 0;
        self.too_old_run = 0;
    }

    /// Asks for nothing that is missing now: somebody else does.
    pub fn forget_missing(&mut self) {
        self.missing.clear();
    }

    /// Whether anything is missing.
    pub fn is_missing_any(&self) -> bool {
        !self.missing.is_empty()
    }
}

/// How long to wait before asking again. One round trip when two fit into the deadline; else as often as lets a third
/// answer arrive in time, because a repeat after one round trip would come too late to be of use.
pub fn repeat_interval(rtt: Duration) -> Duration {
    let interval = if rtt * 5 / 2 <= REPAIR_DEADLINE {
        rtt + Duration::from_millis(5)
    } else {
        REPAIR_DEADLINE.saturating_sub(rtt + TICK_ALLOWANCE) / 2
    };
    interval.max(Duration::from_millis(20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{MediaExtensions, Ssrc};
    use bytes::Bytes;

    fn packet(number: u64, millis: u64, timestamp: u32, key: bool) -> Arc<MediaPacket> {
        Arc::new(MediaPacket {
            received_at: Time::from_millis(millis),
            ssrc: Ssrc(1),
            extended_sequence_number: number,
            timestamp,
            marker: false,
            payload_type: 96,
            key_frame_start: key,
            extensions: MediaExtensions::default(),
            payload: Bytes::from_static(b"x"),
        })
    }

    #[test]
    fn a_gap_is_asked_for_at_once_and_again_until_an_answer_would_be_late() {
        let mut layer = Layer::default();
        let rtt = Duration::from_millis(160);
        layer.insert(&packet(100, 0, 0, true), Time::ZERO);
        layer.insert(&packet(103, 0, 0, false), Time::ZERO);
        let mut asked = Vec::new();
        for millis in 0..400 {
            let due = layer.poll_asks(rtt, Time::from_millis(millis));
            if !due.is_empty() {
                assert_eq!(due, [101, 102]);
                asked.push(millis);
            }
        }
        assert_eq!(asked, [0, 60, 120], "the third answer arrives at 280 ms");
        assert_eq!(layer.lost, 2);
    }

    #[test]
    fn a_start_without_its_key_frame_is_asked_for_and_not_counted_when_it_never_was() {
        let mut layer = Layer::default();
        let first = 1 << 16 | 100;
        layer.insert(&packet(first, 0, 0, false), Time::ZERO);
        layer.suspect_lost_start(Time::ZERO);
        let asked = layer.poll_asks(Duration::from_millis(50), Time::ZERO);
        assert_eq!(asked, (first - 8..first).collect::<Vec<_>>());
        assert_eq!(
            layer.insert(&packet(first - 1, 50, 0, true), Time::from_millis(50)),
            Inserted::New { repaired: true }
        );
        assert_eq!(layer.last_gapless(), Some(first));
        layer.poll_asks(Duration::from_millis(50), Time::from_millis(400));
        assert_eq!((layer.lost, layer.is_missing_any()), (0, false));
    }

    #[test]
    fn a_repaired_packet_is_new_once() {
        let mut layer = Layer::default();
        layer.insert(&packet(100, 0, 0, true), Time::ZERO);
        layer.insert(&packet(102, 0, 0, false), Time::ZERO);
        assert_eq!(layer.poll_asks(Duration::from_millis(50), Time::ZERO), [101]);
        assert_eq!(
            layer.insert(&packet(101, 60, 0, false), Time::from_millis(60)),
            Inserted::New { repaired: true }
        );
        assert_eq!(
            layer.insert(&packet(101, 61, 0, false), Time::from_millis(61)),
            Inserted::Duplicate
        );
        assert_eq!((layer.recovered, layer.is_missing_any()), (1, false));
    }

    /// A stream of 20 ms packets whose timestamps count packets: what a layer makes of the one sent as number `sent`.
    fn pass(layer: &mut Layer, sent: u64, millis: u64) -> (Inserted, u64) {
        let number = layer.extend(sent as u16);
        let packet = packet(number, millis, sent as u32, false);
        (layer.insert(&packet, Time::from_millis(millis)), number)
    }

    #[test]
    fn after_any_outage_numbers_go_on_upwards_and_the_rings_behind_take_them() {
        for away in [
            100, 5_000, 32_767, 32_768, 40_000, 65_000, 65_500, 65_536, 70_000, 100_000, 131_000,
        ] {
            let (mut layer, mut behind) = (Layer::default(), StreamRing::new());
            let mut refused = 0;
            let sent = (70_000..70_500).chain(70_500 + away..70_500 + away + 500);
            for sent in sent {
                let millis = sent * 4;
                let (inserted, number) = pass(&mut layer, sent, millis);
                match inserted {
                    Inserted::New { .. } => {
                        assert_eq!(number as u16, sent as u16, "after {away}");
                        let kept = behind.insert(packet(number, millis, sent as u32, false));
                        assert_eq!(kept, Ok(()), "after {away}");
                    }
                    _ => refused += 1,
                }
            }
            assert!(refused <= RESTART_AFTER, "after {away}: {refused} refused");
        }
    }

    #[test]
    fn a_restarted_sequence_is_believed_after_a_while() {
        let mut layer = Layer::default();
        pass(&mut layer, 20_000, 0);
        let taken: Vec<u64> = (10_000..10_100)
            .map(|sent| pass(&mut layer, sent, 1))
            .filter(|(inserted, _)| *inserted != Inserted::TooOld)
            .map(|(_, number)| number)
            .collect();
        assert_eq!(taken, (2 << 16 | 10_064..2 << 16 | 10_100).collect::<Vec<u64>>());
    }
}
