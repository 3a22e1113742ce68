//! Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).

use super::write::write_packet;
use super::{TRANSPORT_FEEDBACK, be32};
use crate::packet::Ssrc;
use crate::rtp::extend_sequence_number;
use crate::time::Time;
use std::collections::VecDeque;

/// Unit of arrival deltas: 250 µs.
const DELTA_UNIT_US: u64 = 250;

/// Unit of the reference time: 64 ms.
const REFERENCE_UNIT_US: u64 = 64_000;

/// Numbers one feedback may span; the status count field has 16 bits, a real publisher sends some 100 per interval.
const MAX_SPAN: u64 = 4_096;

/// Arrivals kept until the next feedback. At the bound the oldest is forgotten, which the sender sees as a loss.
const MAX_ARRIVALS: usize = 2_048;

/// Arrivals per feedback packet, so that it takes at most 924 bytes even with two chunks and two delta bytes for each: a report
/// and a short request go before it.
const MAX_ARRIVALS_PER_FEEDBACK: usize = 150;

/// A received feedback packet.
#[derive(Clone, Copy, Debug)]
pub struct TwccFeedback<'a> {
    /// Who reports.
    pub sender_ssrc: Ssrc,
    /// Ignored by receivers.
    pub media_ssrc: Ssrc,
    /// First transport-wide sequence number reported on.
    pub base_sequence_number: u16,
    /// Numbers reported on.
    pub status_count: u16,
    /// Reference time in units of 64 ms, 24 bit signed.
    pub reference_time: i32,
    /// Counter of feedback packets.
    pub feedback_count: u8,
    chunks_and_deltas: &'a [u8],
}

impl<'a> TwccFeedback<'a> {
    pub(super) fn read(body: &'a [u8]) -> Option<TwccFeedback<'a>> {
        let (fixed, chunks_and_deltas) = body.split_at_checked(16)?;
        let time = be32(fixed, 12);
        Some(TwccFeedback {
            sender_ssrc: Ssrc(be32(fixed, 0)),
            media_ssrc: Ssrc(be32(fixed, 4)),
            base_sequence_number: (be32(fixed, 8) >> 16) as u16,
            status_count: be32(fixed, 8) as u16,
            reference_time: time as i32 >> 8,
            feedback_count: time as u8,
            chunks_and_deltas,
        })
    }

    /// Every number reported on with its arrival in µs on the reporter's clock, `None` when not received.
    /// Ends early when the packet is cut short.
    pub fn arrivals(&self) -> impl Iterator<Item = (u16, Option<i64>)> + 'a {
        let feedback = *self;
        let mut symbols = 0usize;
        let mut chunk_bytes = 0usize;
        // The deltas begin after the chunk that covers the last status.
        while symbols < usize::from(feedback.status_count) {
            let Some(chunk) = chunk_at(feedback.chunks_and_deltas, chunk_bytes) else {
                break;
            };
            symbols += chunk_len(chunk);
            chunk_bytes += 2;
        }
        let complete = symbols >= usize::from(feedback.status_count);
        let mut deltas = feedback.chunks_and_deltas.get(chunk_bytes..).unwrap_or_default();
        let mut arrival_us = i64::from(feedback.reference_time) * REFERENCE_UNIT_US as i64;
        let mut chunk_index = 0usize;
        let mut within = 0usize;
        (0..if complete { feedback.status_count } else { 0 }).map_while(move |index| {
            let mut chunk = chunk_at(feedback.chunks_and_deltas, chunk_index * 2)?;
            if within == chunk_len(chunk) {
                chunk_index += 1;
                within = 0;
                chunk = chunk_at(feedback.chunks_and_deltas, chunk_index * 2)?;
            }
            let symbol = chunk_symbol(chunk, within);
            within += 1;
            let number = feedback.base_sequence_number.wrapping_add(index);
            let delta = match symbol {
                1 => {
                    let (&delta, rest) = deltas.split_first()?;
                    deltas = rest;
                    i64::from(delta)
                }
                2 => {
                    let (&delta, rest) = deltas.split_first_chunk::<2>()?;
                    deltas = rest;
                    i64::from(i16::from_be_bytes(delta))
                }
                _ => return Some((number, None)),
            };
            arrival_us += delta * DELTA_UNIT_US as i64;
            Some((number, Some(arrival_us)))
        })
    }
}

fn chunk_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk::<2>().map(|two| u16::from_be_bytes(*two))
}

/// Statuses in a chunk: a run's length, 14 one-bit symbols or 7 two-bit symbols.
fn chunk_len(chunk: u16) -> usize {
    match chunk >> 14 {
        0 | 1 => usize::from(chunk & 0x1FFF).max(1),
        2 => 14,
        _ => 7,
    }
}

fn chunk_symbol(chunk: u16, index: usize) -> u8 {
    match chunk >> 14 {
        0 | 1 => (chunk >> 13 & 3) as u8,
        2 => (chunk >> (13 - index.min(13)) & 1) as u8,
        _ => (chunk >> (12 - 2 * index.min(6)) & 3) as u8,
    }
}

/// Collects arrivals by transport-wide sequence number and writes feedback for them.
#[derive(Clone, Debug, Default)]
pub struct TwccRecorder {
    /// (extended transport-wide number, arrival), ascending by number.
    arrivals: VecDeque<(u64, Time)>,
    highest: Option<u64>,
    /// The number after the last one reported on.
    next_base: Option<u64>,
    feedback_count: u8,
}

impl TwccRecorder {
    /// A recorder with nothing recorded.
    pub fn new() -> Self {
        TwccRecorder::default()
    }

    /// Whether something waits to be reported.
    pub fn is_pending(&self) -> bool {
        !self.arrivals.is_empty()
    }

    /// Notes an arrival. A repetition is ignored; a number from before the last feedback is reported again from there.
    pub fn handle_arrival(&mut self, sequence_number: u16, now: Time) {
        // The first number is lifted by one cycle, so that a reordered predecessor has room below it.
        let reference = self.highest.unwrap_or(0x1_0000 + u64::from(sequence_number));
        let Some(extended) = extend_sequence_number(sequence_number, reference) else {
            return;
        };
        self.highest = Some(reference.max(extended));
        if reference.saturating_sub(extended) > MAX_SPAN {
            return;
        }
        let at = self.arrivals.partition_point(|(number, _)| *number < extended);
        if self.arrivals.get(at).is_some_and(|(number, _)| *number == extended) {
            return;
        }
        self.arrivals.insert(at, (extended, now));
        if self.arrivals.len() > MAX_ARRIVALS {
            self.arrivals.pop_front();
        }
    }

    /// Appends one feedback packet for what has arrived since the last; `false` when there is nothing to report.
    /// Call again until it says so: a burst takes several packets.
    pub fn write_feedback(&mut self, output: &mut Vec<u8>, sender_ssrc: Ssrc, media_ssrc: Ssrc) -> bool {
        let Some(&(first, first_arrival)) = self.arrivals.front() else {
            return false;
        };
        let base = self.next_base.map_or(first, |next| {
            // As below: a base from which the first arrival is out of reach would report nothing, for ever.
            if first.saturating_sub(next) >= MAX_SPAN {
                first
            } else {
                next.min(first)
            }
        });
        let reference_units = first_arrival.as_micros() / REFERENCE_UNIT_US;
        let mut previous_us = reference_units * REFERENCE_UNIT_US;
        let mut statuses = Statuses::default();
        let mut deltas: Vec<u8> = Vec::with_capacity(64);
        let mut next = base;
        let mut reported = 0;
        for &(number, arrival) in self.arrivals.iter().take(MAX_ARRIVALS_PER_FEEDBACK) {
            if number - base >= MAX_SPAN {
                break;
            }
            // Deltas are rounded against the sum of those already written, so that rounding does not pile up.
            let units = (arrival.as_micros() as i64 - previous_us as i64) / DELTA_UNIT_US as i64;
            let Ok(delta) = i16::try_from(units) else {
                break;
            };
            statuses.push_run(0, (number - next) as usize);
            if let Ok(small) = u8::try_from(delta) {
                statuses.push_run(1, 1);
                deltas.push(small);
            } else {
                statuses.push_run(2, 1);
                deltas.extend_from_slice(&delta.to_be_bytes());
            }
            previous_us = (previous_us as i64 + units * DELTA_UNIT_US as i64) as u64;
            next = number + 1;
            reported += 1;
        }
        self.arrivals.drain(..reported);
        let chunks = statuses.finish();
        let feedback_count = self.feedback_count;
        self.feedback_count = feedback_count.wrapping_add(1);
        self.next_base = Some(self.next_base.map_or(next, |before| before.max(next)));
        write_packet(output, 15, TRANSPORT_FEEDBACK, |output| {
            let start = output.len();
            output.extend_from_slice(&sender_ssrc.0.to_be_bytes());
            output.extend_from_slice(&media_ssrc.0.to_be_bytes());
            output.extend_from_slice(&(base as u16).to_be_bytes());
            output.extend_from_slice(&((next - base) as u16).to_be_bytes());
            // The 24-bit reference time wraps after 12 days; senders unwrap it.
            output.extend_from_slice(&((reference_units as u32) << 8 | u32::from(feedback_count)).to_be_bytes());
            chunks
                .iter()
                .for_each(|chunk| output.extend_from_slice(&chunk.to_be_bytes()));
            output.extend_from_slice(&deltas);
            while !(output.len() - start).is_multiple_of(4) {
                output.push(0);
            }
        });
        true
    }
}

/// Packs statuses into run-length chunks where a run is long, else into vectors of seven two-bit symbols.
#[derive(Default)]
struct Statuses {
    symbols: VecDeque<(u8, usize)>,
}

impl Statuses {
    fn push_run(&mut self, symbol: u8, len: usize) {
        if len == 0 {
            return;
        }
        match self.symbols.back_mut() {
            Some((last, count)) if *last == symbol => *count += len,
            _ => self.symbols.push_back((symbol, len)),
        }
    }

    fn finish(mut self) -> Vec<u16> {
        let mut chunks = Vec::with_capacity(16);
        while let Some(&(symbol, len)) = self.symbols.front() {
            if len > 7 || self.symbols.len() == 1 {
                let run = len.min(0x1FFF);
                chunks.push(u16::from(symbol) << 13 | run as u16);
                self.consume(run);
                continue;
            }
            let mut chunk = 0xC000u16;
            for index in 0..7 {
                let symbol = self.symbols.front().map_or(0, |(symbol, _)| *symbol);
                chunk |= u16::from(symbol) << (12 - 2 * index);
                self.consume(1);
            }
            chunks.push(chunk);
        }
        chunks
    }

    /// Takes `count` symbols from the front run, which is at least that long or gone.
    fn consume(&mut self, count: usize) {
        if let Some((_, len)) = self.symbols.front_mut() {
            *len -= count;
            if *len == 0 {
                self.symbols.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{Rtcp, parse};
    use proptest::prelude::*;

    fn read(compound: &[u8]) -> Vec<(u16, Option<i64>)> {
        let mut arrivals = Vec::new();
        for packet in parse(compound).unwrap() {
            match packet {
                Rtcp::TwccFeedback(feedback) => arrivals.extend(feedback.arrivals()),
                other => panic!("{other:?}"),
            }
        }
        arrivals
    }

    #[test]
    fn gaps_and_late_arrivals_are_told() {
        let mut recorder = TwccRecorder::new();
        for (number, ms) in [(65_534u16, 1_000), (0, 1_002), (65_535, 1_003), (3, 1_090)] {
            recorder.handle_arrival(number, Time::from_millis(ms));
        }
        let mut compound = Vec::new();
        assert!(recorder.write_feedback(&mut compound, Ssrc(1), Ssrc(2)));
        assert_eq!(
            read(&compound),
            [
                (65_534, Some(1_000_000)),
                (65_535, Some(1_003_000)),
                (0, Some(1_002_000)),
                (1, None),
                (2, None),
                (3, Some(1_090_000))
            ]
        );
        // Number 2 comes after its loss was reported: the next feedback begins there again.
        recorder.handle_arrival(2, Time::from_millis(1_200));
        recorder.handle_arrival(4, Time::from_millis(1_201));
        compound.clear();
        assert!(recorder.write_feedback(&mut compound, Ssrc(1), Ssrc(2)));
        assert_eq!(read(&compound), [(2, Some(1_200_000)), (3, None), (4, Some(1_201_000))]);
        assert!(!recorder.write_feedback(&mut compound, Ssrc(1), Ssrc(2)));
    }

    #[test]
    fn a_gap_of_any_length_is_reported_past() {
        for gap in [MAX_SPAN as u16 - 1, MAX_SPAN as u16, MAX_SPAN as u16 + 1, 30_000] {
            let mut recorder = TwccRecorder::new();
            let mut compound = Vec::new();
            recorder.handle_arrival(1, Time::from_millis(1_000));
            assert!(recorder.write_feedback(&mut compound, Ssrc(1), Ssrc(2)));
            recorder.handle_arrival(2 + gap, Time::from_millis(12_000));
            compound.clear();
            assert!(recorder.write_feedback(&mut compound, Ssrc(1), Ssrc(2)));
            assert_eq!(
                read(&compound).last(),
                Some(&(2 + gap, Some(12_000_000))),
                "gap of {gap}"
            );
            assert!(!recorder.is_pending(), "gap of {gap}");
        }
    }

    #[test]
    fn one_bit_vectors_of_others_are_read() {
        let mut feedback = vec![0x8F, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 10, 0, 3, 0, 0, 1, 0];
        feedback.extend_from_slice(&[0b1010_1000, 0, 4, 8]);
        assert_eq!(read(&feedback), [(10, Some(65_000)), (11, None), (12, Some(67_000))]);
    }

    proptest! {
        #[test]
        fn every_arrival_is_told_once(start: u16, steps in proptest::collection::vec((1u16..60, 0u64..20_000), 1..900)) {
            let mut recorder = TwccRecorder::new();
            let mut now = 5_000_000_000u64;
            let mut number = start;
            let mut expected = Vec::new();
            let mut told = Vec::new();
            for chunk in steps.chunks(120) {
                for (step, wait_us) in chunk {
                    number = number.wrapping_add(*step);
                    now += wait_us;
                    recorder.handle_arrival(number, Time::from_micros(now));
                    expected.push((number, now as i64));
                }
                let mut compound = Vec::new();
                while recorder.write_feedback(&mut compound, Ssrc(1), Ssrc(2)) {
                    prop_assert!(compound.len() < 1_200 * 30);
                }
                told.extend(read(&compound).into_iter().filter_map(|(number, at)| at.map(|at| (number, at))));
            }
            prop_assert_eq!(told.len(), expected.len());
            for ((number, at), (sent, arrived)) in told.iter().zip(&expected) {
                prop_assert_eq!(number, sent);
                prop_assert!((at - arrived).abs() <= 250, "{} against {}", at, arrived);
            }
        }
    }
}
