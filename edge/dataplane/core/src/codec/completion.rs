//! H.264 key frames that bring no parameter sets get the ones seen before, where a stream enters the fleet.
//!
//! Some encoders send SPS and PPS once (FFmpeg with global headers, GStreamer's rtph264pay with `config-interval=0`), and then only
//! who has watched from the start can decode. Done once at the host's edge, every ring, trunk and viewer behind it sees a stream
//! that can be entered at each key frame.

use super::h264::{ParameterSets, brings_parameter_sets, has_sps};
use crate::packet::{MediaExtensions, MediaPacket};
use crate::ring::RingDrop;
use bytes::Bytes;
use std::collections::VecDeque;

/// Added packets remembered; a packet late by more key frames than that cannot be numbered. A host whose every frame is a key frame
/// passes so many in a second, and repairs come sooner.
const MAX_ADDED: usize = 64;

/// One track of a host here.
///
/// An added packet takes a number of its own, so what follows it moves up by one.
#[derive(Debug)]
pub struct KeyFrameCompletion {
    sets: ParameterSets,
    /// Highest of the host's numbers.
    highest: Option<u64>,
    /// Timestamp of the frame that `highest` belongs to.
    timestamp: u32,
    /// That frame has come without a gap so far.
    whole: bool,
    /// That frame has brought an SPS, or has been given one.
    complete: bool,
    /// The host's number before which a packet was added, and how many were added until then; newest first.
    added: VecDeque<(u64, u64)>,
    /// What was forgotten from `added`: the lowest number that can still be mapped.
    floor: u64,
}

impl KeyFrameCompletion {
    /// Knows what the host's description says (`sprop-parameter-sets`).
    pub fn new(fmtp: &str) -> Self {
        KeyFrameCompletion {
            sets: ParameterSets::from_fmtp(fmtp),
            highest: None,
            timestamp: 0,
            whole: false,
            complete: false,
            added: VecDeque::new(),
            floor: 0,
        }
    }

    /// Takes the host's next packet and gives it its number; what comes back is to be sent before it.
    ///
    /// After a gap nothing is added: the missing packet may be a newer SPS, and an older one behind it would spoil the picture.
    pub fn handle_packet(&mut self, packet: &mut MediaPacket) -> Result<Option<MediaPacket>, RingDrop> {
        let number = packet.extended_sequence_number;
        let newest = self.highest.is_none_or(|highest| number > highest);
        if newest {
            let in_order = self.highest.is_some_and(|highest| number == highest + 1);
            if packet.timestamp != self.timestamp || self.highest.is_none() {
                self.timestamp = packet.timestamp;
                self.whole = in_order;
                self.complete = false;
            } else {
                self.whole &= in_order;
            }
            self.highest = Some(number);
        }
        if brings_parameter_sets(&packet.payload) {
            self.sets.handle_payload(&packet.payload);
            self.complete |= packet.timestamp == self.timestamp && has_sps(&packet.payload);
        }
        let mut before = None;
        if newest && self.whole && !self.complete && packet.key_frame_start {
            before = self.sets.payload().map(|payload| MediaPacket {
                extended_sequence_number: number + self.added.front().map_or(0, |(_, count)| *count),
                marker: false,
                extensions: MediaExtensions::default(),
                payload: Bytes::from(payload),
                ..packet.clone()
            });
            if before.is_some() {
                self.note_added(number);
            }
        }
        packet.extended_sequence_number = self.number_of(number).ok_or(RingDrop::TooOld)?;
        Ok(before)
    }

    fn note_added(&mut self, before: u64) {
        self.complete = true;
        let count = self.added.front().map_or(0, |(_, count)| *count);
        self.added.push_front((before, count + 1));
        if self.added.len() > MAX_ADDED {
            self.added.pop_back();
            self.floor = self.added.back().map_or(0, |(number, _)| *number);
        }
    }

    fn number_of(&self, number: u64) -> Option<u64> {
        if number < self.floor {
            return None;
        }
        let added = self.added.iter().find(|(before, _)| number >= *before);
        Some(number + added.map_or(0, |(_, count)| *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::h264::is_key_frame_start;
    use crate::packet::Ssrc;
    use crate::time::Time;
    use proptest::prelude::*;

    const SPS: &[u8] = &[0x67, 0x42, 0x00, 0x0a, 0x96, 0x53];
    const PPS: &[u8] = &[0x68, 0xc9, 0x63, 0x88];
    const IDR: &[u8] = &[0x65, 0x88, 0x84];
    const SLICE: &[u8] = &[0x41, 0x9a, 0x01];
    const SETS: &[u8] = &[
        0x78, 0, 6, 0x67, 0x42, 0x00, 0x0a, 0x96, 0x53, 0, 4, 0x68, 0xc9, 0x63, 0x88,
    ];

    fn packet(number: u64, timestamp: u32, payload: &[u8]) -> MediaPacket {
        MediaPacket {
            received_at: Time::ZERO,
            ssrc: Ssrc(1),
            extended_sequence_number: number,
            timestamp,
            marker: true,
            payload_type: 96,
            key_frame_start: is_key_frame_start(payload),
            extensions: MediaExtensions::default(),
            payload: Bytes::copy_from_slice(payload),
        }
    }

    /// What comes out for one packet: number and payload of each.
    fn pass(completion: &mut KeyFrameCompletion, number: u64, timestamp: u32, payload: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let mut packet = packet(number, timestamp, payload);
        let before = completion.handle_packet(&mut packet).expect("not too old");
        before
            .into_iter()
            .chain([packet])
            .map(|packet| (packet.extended_sequence_number, packet.payload.to_vec()))
            .collect()
    }

    fn seen(sets: &[&[u8]]) -> (KeyFrameCompletion, u64) {
        let mut completion = KeyFrameCompletion::new("packetization-mode=1");
        let mut number = 10;
        for payload in sets.iter().chain(&[IDR, SLICE]) {
            let timestamp = if *payload == SLICE { 2 } else { 1 };
            let out = pass(&mut completion, number, timestamp, payload);
            assert_eq!(
                out,
                [(number, payload.to_vec())],
                "a key frame with its own sets stays as it is"
            );
            number += 1;
        }
        (completion, number)
    }

    #[test]
    fn a_bare_key_frame_gets_the_sets_that_the_stream_brought_once() {
        for sets in [&[SPS, PPS][..], &[SETS][..]] {
            let (mut completion, next) = seen(sets);
            assert_eq!(
                pass(&mut completion, next, 3, IDR),
                [(next, SETS.to_vec()), (next + 1, IDR.to_vec())]
            );
            assert_eq!(
                pass(&mut completion, next + 1, 4, SLICE),
                [(next + 2, SLICE.to_vec())],
                "what follows moves up"
            );
            // An access unit delimiter stands before the sets.
            assert_eq!(pass(&mut completion, next + 2, 5, &[0x09, 0xf0]).len(), 1);
            assert_eq!(pass(&mut completion, next + 3, 5, IDR)[0], (next + 4, SETS.to_vec()));
        }
    }

    #[test]
    fn what_is_added_belongs_to_the_key_frame_and_does_not_end_it() {
        let (mut completion, next) = seen(&[SPS, PPS]);
        let mut idr = packet(next, 3, IDR);
        let added = completion.handle_packet(&mut idr).unwrap().unwrap();
        assert_eq!((added.timestamp, added.marker, added.key_frame_start), (3, false, true));
        assert!(idr.marker);
    }

    #[test]
    fn newer_sets_replace_older_ones_and_those_of_the_description() {
        let mut completion = KeyFrameCompletion::new("sprop-parameter-sets=Z0IACpZT,aMljiA==");
        pass(&mut completion, 1, 1, SLICE);
        assert_eq!(pass(&mut completion, 2, 2, IDR)[0].1, SETS);
        let newer = &[0x67, 0x42, 0x00, 0x1f, 0x96, 0x53];
        pass(&mut completion, 3, 3, newer);
        assert_eq!(pass(&mut completion, 4, 3, IDR).len(), 1);
        assert_eq!(pass(&mut completion, 5, 4, IDR)[0].1[3..9], newer[..]);
    }

    #[test]
    fn after_a_gap_nothing_is_added_and_late_packets_find_their_place() {
        let (mut completion, next) = seen(&[SPS, PPS]);
        pass(&mut completion, next, 3, IDR);
        // `next + 1` is missing: it may be a newer SPS.
        assert_eq!(pass(&mut completion, next + 2, 4, IDR), [(next + 3, IDR.to_vec())]);
        assert_eq!(pass(&mut completion, next + 1, 4, SPS), [(next + 2, SPS.to_vec())]);
        assert_eq!(pass(&mut completion, next - 1, 2, SLICE), [(next - 1, SLICE.to_vec())]);
    }

    #[test]
    fn a_packet_from_before_all_that_is_remembered_is_refused() {
        let (mut completion, next) = seen(&[SPS, PPS]);
        for frame in 0..=MAX_ADDED as u64 {
            assert_eq!(pass(&mut completion, next + frame, 10 + frame as u32, IDR).len(), 2);
        }
        let mut late = packet(next, 10, IDR);
        assert_eq!(completion.handle_packet(&mut late), Err(RingDrop::TooOld));
    }

    proptest! {
        #[test]
        fn numbers_stay_in_order_and_apart(fates in proptest::collection::vec((0u8..5, 0u64..4), 1..200)) {
            let mut completion = KeyFrameCompletion::new("sprop-parameter-sets=Z0IACpZT,aMljiA==");
            let mut out = std::collections::BTreeMap::new();
            let mut late = Vec::new();
            for (index, (kind, fate)) in fates.into_iter().enumerate() {
                let number = 65_500 + index as u64;
                let payload: &[u8] = [IDR, SLICE, SPS, PPS, SLICE][usize::from(kind)];
                if fate == 0 {
                    late.push((number, payload));
                    continue;
                }
                for (number, payload) in std::mem::take(&mut late).into_iter().rev().chain([(number, payload)]) {
                    let mut packet = packet(number, number as u32 / 2, payload);
                    let Ok(before) = completion.handle_packet(&mut packet) else { continue };
                    if let Some(before) = before {
                        prop_assert_eq!(before.extended_sequence_number + 1, packet.extended_sequence_number);
                        prop_assert!(out.insert(before.extended_sequence_number, None).is_none());
                    }
                    prop_assert!(out.insert(packet.extended_sequence_number, Some(number)).is_none());
                }
            }
            let order: Vec<u64> = out.values().copied().flatten().collect();
            prop_assert!(order.is_sorted(), "{:?}", order);
        }
    }
}
