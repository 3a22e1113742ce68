//! RTP timestamps of one viewer's track: forward always, whatever source they come from.
//!
//! Three things bend the line out = in + offset: a replayed group of pictures is squeezed into the time it takes to send, another
//! source continues where the last one ended, and afterwards video is moved by a few ticks so that both tracks keep the same
//! relation to the wallclock (a player learns that relation from many sender reports and would average a change of only one).

use super::ntp_from_ticks;
use crate::source::SenderClock;
use crate::time::Time;

/// Bends remembered, so that a late packet gets the timestamp that the rest of its frame had.
const MAX_BENDS: usize = 4;

/// A report that is this much older than the last one, in UQ32.32 seconds, did not overtake it on the way.
const MAX_LATENESS: i64 = 10 << 32;

/// Until this source timestamp, another offset held.
#[derive(Clone, Copy, Debug)]
struct Bend {
    until: u32,
    offset: u32,
}

/// A replay: the span up to `anchor` is scaled by `numerator / denominator`, and ends `advance` ticks after the place that `anchor`
/// has on the live line. What follows joins that line within twice as many ticks.
#[derive(Clone, Copy, Debug)]
struct Squeeze {
    anchor: u32,
    anchor_out: u32,
    numerator: u32,
    denominator: u32,
    advance: u32,
}

/// A point on the line from wallclock to the viewer's RTP time.
#[derive(Clone, Copy, Debug)]
struct Reference {
    ntp: u64,
    rtp: u32,
}

/// Where a replay begins and ends, and how long sending it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replay {
    /// Source timestamp of the newest packet in the replay.
    pub(super) newest: u32,
    /// Ticks into which it is squeezed.
    pub(super) ticks: u32,
    /// Ticks by which the last of it is sent later than `newest` came.
    pub(super) advance: u32,
}

#[derive(Debug)]
pub(super) struct Timeline {
    clock_rate: u32,
    /// Where a line without a past begins.
    first_timestamp: u32,
    offset: u32,
    /// Newest first.
    bends: [Option<Bend>; MAX_BENDS],
    squeeze: Option<Squeeze>,
    /// Newest timestamp of the present source that was sent.
    newest: Option<u32>,
    /// Newest timestamp that the viewer got, and when.
    last: Option<(u32, Time)>,
    /// Ticks by which the line still has to move.
    pending_shift: i32,
    clock: Option<SenderClock>,
    /// The line of the source before, until the tracks are aligned.
    before: Option<Reference>,
}

impl Timeline {
    pub(super) fn new(clock_rate: u32, first_timestamp: u32) -> Timeline {
        Timeline {
            clock_rate,
            first_timestamp,
            offset: 0,
            bends: [None; MAX_BENDS],
            squeeze: None,
            newest: None,
            last: None,
            pending_shift: 0,
            clock: None,
            before: None,
        }
    }

    /// Another source will follow; the line of the last one is remembered.
    pub(super) fn detach(&mut self) {
        if let Some(clock) = self.clock.take() {
            self.before = Some(Reference {
                ntp: clock.ntp,
                rtp: self.report_timestamp(clock.rtp),
            });
        }
    }

    /// A source begins with this source timestamp, live or as a replay. Codecs of one kind share a clock rate.
    pub(super) fn start(&mut self, first: u32, replay: Option<Replay>, now: Time) {
        self.bends = [None; MAX_BENDS];
        self.squeeze = None;
        self.pending_shift = 0;
        let first_out = match self.last {
            None => self.first_timestamp,
            Some((out, at)) => {
                // Time that has passed is time on the viewer's line; at least a frame of 1/60 s, so that frames stay distinct.
                let elapsed = (now - at).as_micros() * u128::from(self.clock_rate) / 1_000_000;
                out.wrapping_add((elapsed as u32).max(self.clock_rate / 60))
            }
        };
        self.offset = first_out.wrapping_sub(first);
        if let Some(replay) = replay {
            let span = replay.newest.wrapping_sub(first);
            let numerator = replay.ticks.min(span);
            let anchor_out = first_out.wrapping_add(numerator);
            self.squeeze = Some(Squeeze {
                anchor: replay.newest,
                anchor_out,
                numerator,
                denominator: span.max(1),
                advance: replay.advance,
            });
            self.offset = anchor_out.wrapping_sub(replay.advance).wrapping_sub(replay.newest);
        }
        self.newest = None;
    }

    /// The viewer's timestamp for a packet about to be sent.
    pub(super) fn timestamp_of(&mut self, timestamp: u32, now: Time) -> u32 {
        if let Some(newest) = self.newest {
            let advance = timestamp.wrapping_sub(newest) as i32;
            if advance <= 0 {
                return self.map(timestamp);
            }
            if self.pending_shift != 0 && self.has_joined(timestamp) {
                self.shift(newest, advance);
            }
        }
        let out = self.map(timestamp);
        self.newest = Some(timestamp);
        self.last = Some((out, now));
        out
    }

    /// Moves the line at a frame's beginning, backwards by at most half the frame's advance.
    fn shift(&mut self, newest: u32, advance: i32) {
        let shift = self.pending_shift.max(-(advance / 2));
        if shift == 0 {
            return;
        }
        self.pending_shift -= shift;
        self.bends.copy_within(..MAX_BENDS - 1, 1);
        self.bends[0] = Some(Bend {
            until: newest,
            offset: self.offset,
        });
        self.offset = self.offset.wrapping_add_signed(shift);
    }

    /// Whether no replay bends the line at this source timestamp.
    fn has_joined(&self, timestamp: u32) -> bool {
        self.squeeze.is_none_or(|squeeze| {
            let after = timestamp.wrapping_sub(squeeze.anchor) as i32;
            after > 0 && after as u32 >= 2 * squeeze.advance
        })
    }

    fn map(&self, timestamp: u32) -> u32 {
        if let Some(squeeze) = self.squeeze {
            let after = timestamp.wrapping_sub(squeeze.anchor) as i32;
            if after <= 0 {
                let before = u64::from(after.unsigned_abs());
                let scaled = before * u64::from(squeeze.numerator) / u64::from(squeeze.denominator);
                return squeeze.anchor_out.wrapping_sub(scaled as u32);
            }
            if (after as u32) < 2 * squeeze.advance {
                return squeeze.anchor_out.wrapping_add(after as u32 / 2);
            }
        }
        let holds = |bend: &&Bend| bend.until.wrapping_sub(timestamp) as i32 >= 0;
        // The oldest bend that covers the timestamp tells the offset it was sent with.
        let bend = self.bends.iter().rev().flatten().find(holds);
        timestamp.wrapping_add(bend.map_or(self.offset, |bend| bend.offset))
    }

    /// Where the line will be once a pending shift is done: what reports say from the beginning.
    fn report_timestamp(&self, timestamp: u32) -> u32 {
        timestamp
            .wrapping_add(self.offset)
            .wrapping_add_signed(self.pending_shift)
    }

    /// Takes a source's report; `false` when it is not newer than the last one.
    pub(super) fn handle_sender_clock(&mut self, clock: SenderClock) -> bool {
        let newer = self.clock.is_none_or(|known| {
            let ahead = clock.ntp.wrapping_sub(known.ntp) as i64;
            // Far behind is not late: the host has set its clock.
            !(-MAX_LATENESS..=0).contains(&ahead)
        });
        if newer {
            self.clock = Some(clock);
        }
        newer
    }

    /// The mapping for the viewer, at the moment of the source's last sender report; `None` before the first report or packet.
    pub(super) fn sender_clock(&self) -> Option<SenderClock> {
        let clock = self.clock?;
        Some(SenderClock {
            ntp: clock.ntp,
            rtp: self.report_timestamp(clock.rtp),
        })
    }

    /// By how much the wallclock of this line differs from that of the source before, in UQ32.32 seconds.
    fn ntp_shift(&self) -> Option<i64> {
        let now = self.sender_clock()?;
        let before = self.before?;
        let ticks = i64::from(now.rtp.wrapping_sub(before.rtp) as i32);
        Some((now.ntp.wrapping_sub(before.ntp) as i64).wrapping_sub(ntp_from_ticks(ticks, self.clock_rate)))
    }

    /// After a takeover: moves this line so that it relates to the wallclock as `leader` does. `true` when nothing is left to do.
    pub(super) fn align_to(&mut self, leader: &Timeline) -> bool {
        if self.before.is_none() || leader.before.is_none() {
            return true;
        }
        let (Some(own), Some(theirs)) = (self.ntp_shift(), leader.ntp_shift()) else {
            return false;
        };
        let ticks = (i128::from(own.wrapping_sub(theirs)) * i128::from(self.clock_rate)) >> 32;
        // More than two seconds is no transport jitter but a host whose tracks disagree: its reports are passed on as they are.
        if ticks.unsigned_abs() <= 2 * u128::from(self.clock_rate) {
            self.pending_shift = ticks as i32;
        }
        true
    }

    /// Whether another source's line was before this one, and the tracks are not aligned yet.
    pub(super) fn continues(&self) -> bool {
        self.before.is_some()
    }

    /// Alignment is done or impossible: the line before is forgotten.
    pub(super) fn forget_before(&mut self) {
        self.before = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1 << 32;

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    #[test]
    fn a_replay_is_squeezed_and_meets_the_live_line() {
        let mut line = Timeline::new(90_000, u32::MAX - 100);
        line.start(
            1_000,
            Some(Replay {
                newest: 181_000,
                ticks: 9_000,
                advance: 900,
            }),
            at(0),
        );
        let mut previous = line.timestamp_of(1_000, at(0));
        assert_eq!(previous, u32::MAX - 100);
        for frame in 1..=80u32 {
            let out = line.timestamp_of(1_000 + frame * 3_000, at(1));
            let step = out.wrapping_sub(previous);
            // The last of the replay is stamped 10 ms after its place, and the next frame is back at its own.
            let expected = match frame {
                ..=60 => 150,
                61 => 2_100,
                _ => 3_000,
            };
            assert_eq!(step, expected);
            previous = out;
        }
        // A late packet of the replay gets what its frame had.
        assert_eq!(line.timestamp_of(4_000, at(2)), (u32::MAX - 100).wrapping_add(150));
    }

    #[test]
    fn another_source_goes_on_by_the_time_that_passed() {
        let mut line = Timeline::new(48_000, 500);
        line.start(7, None, at(0));
        assert_eq!(line.timestamp_of(7, at(0)), 500);
        assert_eq!(line.timestamp_of(967, at(20)), 1_460);
        line.detach();
        line.start(4_000_000_000, None, at(520));
        assert_eq!(line.timestamp_of(4_000_000_000, at(520)), 1_460 + 24_000);
    }

    /// One source after another on two tracks; the second one's reports come late. Returns both lines.
    fn taken_over(video_late_ms: u64, clocks_agree_after_ms: u64) -> (Timeline, Timeline) {
        let mut audio = Timeline::new(48_000, 11);
        let mut video = Timeline::new(90_000, 22);
        for (line, rate) in [(&mut audio, 48u32), (&mut video, 90)] {
            line.start(0, None, at(0));
            line.handle_sender_clock(SenderClock {
                ntp: 1_000 * SECOND,
                rtp: 0,
            });
            for ms in (0..1_000).step_by(20) {
                line.timestamp_of(ms as u32 * rate, at(ms));
            }
            line.detach();
        }
        audio.start(700_000, None, at(1_500));
        audio.timestamp_of(700_000, at(1_500));
        video.start(900_000, None, at(1_500 + video_late_ms));
        video.timestamp_of(900_000, at(1_500 + video_late_ms));
        let ntp = 5_000 * SECOND;
        audio.handle_sender_clock(SenderClock { ntp, rtp: 700_000 });
        // The first video frame was captured at another moment than the first audio packet.
        video.handle_sender_clock(SenderClock {
            ntp: ntp + clocks_agree_after_ms * SECOND / 1_000,
            rtp: 900_000,
        });
        (audio, video)
    }

    #[test]
    fn after_a_takeover_both_tracks_relate_to_the_wallclock_alike() {
        for (video_late_ms, capture_late_ms) in [(0u64, 0u64), (90, 40), (40, 90), (300, 0), (0, 300)] {
            let (mut audio, mut video) = taken_over(video_late_ms, capture_late_ms);
            assert!(video.align_to(&audio));
            let reported = video.sender_clock().unwrap();
            let mut previous = 0;
            for frame in 1..60u32 {
                let out = video.timestamp_of(900_000 + frame * 3_000, at(2_000 + u64::from(frame) * 33));
                assert!(frame == 1 || out.wrapping_sub(previous) as i32 >= 1_500);
                assert_eq!(
                    video.timestamp_of(900_000 + frame * 3_000, at(9_000)),
                    out,
                    "a frame has one timestamp"
                );
                previous = out;
            }
            assert_eq!(video.pending_shift, 0);
            assert_eq!(
                video.sender_clock(),
                Some(reported),
                "reports told the final line from the beginning"
            );
            // A player that has learnt the old lines is off by the same amount on both tracks.
            let skew = video.ntp_shift().unwrap() - audio.ntp_shift().unwrap();
            assert!(skew.unsigned_abs() < SECOND / 10_000, "{skew}");
            audio.timestamp_of(701_000, at(2_000));
        }
    }

    #[test]
    fn without_reports_there_is_nothing_to_align() {
        let (audio, mut video) = taken_over(0, 0);
        video.clock = None;
        assert!(!video.align_to(&audio));
        video.before = None;
        assert!(video.align_to(&audio));
        assert_eq!(video.pending_shift, 0);
    }

    proptest! {
        #[test]
        fn timestamps_move_forward_through_takeovers(
            sources in proptest::collection::vec(
                (any::<u32>(), 1usize..20, 0u64..3_000, proptest::option::of(0u32..18_000)),
                1..6,
            ),
        ) {
            let mut line = Timeline::new(90_000, u32::MAX - 3);
            let mut now = 0;
            let mut previous = None;
            for (first, frames, pause, advance) in sources {
                now += pause;
                let newest = first.wrapping_add(3_000 * (frames as u32 / 2));
                line.start(first, advance.map(|advance| Replay { newest, ticks: 200, advance }), at(now));
                for frame in 0..frames as u32 {
                    now += 33;
                    let out = line.timestamp_of(first.wrapping_add(frame * 3_000), at(now));
                    if let Some(previous) = previous {
                        prop_assert!(out.wrapping_sub(previous) as i32 > 0);
                    }
                    previous = Some(out);
                }
                line.detach();
            }
        }
    }
}
