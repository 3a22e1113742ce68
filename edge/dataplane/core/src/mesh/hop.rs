//! One direction-pair of one trunk: numbers on what is sent, a judgement of what arrives.
//!
//! A path is judged by trunk packet number, never by gaps in a stream: a gap that came from further up would make every
//! descendant believe that its own hop is bad.

#[cfg(test)]
mod tests;

use crate::mesh::wire::Heartbeat;
use crate::time::Time;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Silence after which a backup is armed: one heartbeat interval and half of the next.
pub const ARM_SILENCE: Duration = Duration::from_millis(150);
/// Silence after which a backup takes over. It has been heard since it was armed, so nobody waits for this; a blackout of
/// 200 ms stays below on a machine whose every process is 100 ms late.
pub const COMMIT_SILENCE: Duration = Duration::from_millis(500);
/// The loss that arms: more than this share …
const ARM_LOSS_RATIO: f64 = 0.05;
/// … and at least this many packets …
const ARM_LOST_PACKETS: u32 = 5;
/// … in this time.
const ARM_WINDOW: Duration = Duration::from_millis(100);
/// Loss that goes on this long commits.
const COMMIT_LOSS: Duration = Duration::from_secs(1);
/// Two bad windows further apart are not one run of loss.
const LOSS_RUN_GAP: Duration = Duration::from_millis(300);
/// A hole in the numbers may still be filled by reordering for this long.
const REORDER_GRACE: Duration = Duration::from_millis(20);
/// Holes kept; more at once is a blackout and needs no detail.
const HOLES_MAX: usize = 4_096;
/// Window of the reported loss ratio.
const REPORT_WINDOW: Duration = Duration::from_secs(2);
/// Window of one-way delays; at ten heartbeats a second these are at most 600 samples.
const DELAY_WINDOW: Duration = Duration::from_secs(60);
const DELAY_SAMPLES_MAX: usize = 600;
/// Round-trip minimum is over this long at least and twice at most.
const RTT_MIN_WINDOW: Duration = Duration::from_secs(600);
/// The recent minimum is over this long at least and twice at most: ten heartbeats.
const RECENT_RTT_WINDOW: Duration = Duration::from_secs(1);
/// Window of the reported utilisation.
const RATE_WINDOW: Duration = Duration::from_secs(5);
const BUCKET: Duration = Duration::from_millis(10);
const BUCKETS_MAX: usize = (REPORT_WINDOW.as_millis() / BUCKET.as_millis()) as usize + 2;

#[derive(Clone, Copy, Default, Debug)]
struct Bucket {
    start: Time,
    received: u32,
    lost: u32,
}

/// What one end of a trunk knows of it.
#[derive(Debug)]
pub struct Hop {
    next_number: u64,
    /// Highest number received; `None` before the first.
    highest: Option<u64>,
    received: u64,
    lost: u64,
    /// Numbers missed, by number, with the time at which the hole was seen.
    holes: BTreeMap<u64, Time>,
    buckets: VecDeque<Bucket>,
    bursts: u64,
    burst_packets: u64,
    last_lost_number: Option<u64>,
    loss_ratio_30s: f64,
    loss_updated_at: Time,
    loss_run_started: Option<Time>,
    last_bad: Option<Time>,
    last_heard: Option<Time>,
    echo: Option<(u64, Time)>,
    rtt: Option<Rtt>,
    rtt_min: [Option<Duration>; 2],
    rtt_min_rotated_at: Time,
    recent: [Option<Duration>; 2],
    recent_rotated_at: Time,
    delays: VecDeque<(Time, i64)>,
    jitter_us: f64,
    last_delay_us: Option<i64>,
    rate_bytes: VecDeque<(Time, u64)>,
    /// Bytes handed to the connection.
    pub bytes_sent: u64,
    /// Bytes the connection has delivered.
    pub bytes_received: u64,
    /// Part of them that is media.
    pub media_bytes_sent: u64,
    /// Part of them that keeps a backup warm.
    pub backup_bytes_sent: u64,
}

#[derive(Clone, Copy, Debug)]
struct Rtt {
    smoothed: Duration,
    variance: Duration,
}

/// A hop's numbers at one moment.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
#[allow(missing_docs)] // the fields are those of `TrunkStats` in `_native.pyi`, described there
pub struct HopStats {
    pub rtt_ms: f64,
    pub rtt_min_ms: f64,
    pub one_way_delay_raw_ms: f64,
    pub one_way_delay_p95_raw_ms: f64,
    pub jitter_ms: f64,
    pub loss_ratio: f64,
    pub loss_ratio_30s: f64,
    pub mean_burst_packets: f64,
    pub packets_received: u64,
    pub packets_lost: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub utilisation: f64,
    pub media_bytes_sent: u64,
    pub backup_bytes_sent: u64,
}

impl Hop {
    /// A hop about which nothing is known yet.
    pub fn new(now: Time) -> Self {
        Hop {
            next_number: 0,
            highest: None,
            received: 0,
            lost: 0,
            holes: BTreeMap::new(),
            buckets: VecDeque::new(),
            bursts: 0,
            burst_packets: 0,
            last_lost_number: None,
            loss_ratio_30s: 0.0,
            loss_updated_at: now,
            loss_run_started: None,
            last_bad: None,
            last_heard: None,
            echo: None,
            rtt: None,
            rtt_min: [None; 2],
            rtt_min_rotated_at: now,
            recent: [None; 2],
            recent_rotated_at: now,
            delays: VecDeque::new(),
            jitter_us: 0.0,
            last_delay_us: None,
            rate_bytes: VecDeque::new(),
            bytes_sent: 0,
            bytes_received: 0,
            media_bytes_sent: 0,
            backup_bytes_sent: 0,
        }
    }

    /// The connection is new: numbers and echoes begin anew, estimates and totals stay. The handshake's round trip stands for the
    /// recent one until a heartbeat tells: media that comes before would reach players that do not know how long to buffer.
    pub fn handle_reconnect(&mut self, handshake: Option<Duration>, now: Time) {
        if self.recent == [None; 2] {
            self.recent[0] = handshake;
            self.recent_rotated_at = now;
        }
        self.next_number = 0;
        self.highest = None;
        self.holes.clear();
        self.echo = None;
        self.last_lost_number = None;
        self.last_delay_us = None;
        self.loss_run_started = None;
        self.last_heard = Some(now);
    }

    /// A number for the next packet.
    pub fn take_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    /// Anything at all arrived.
    pub fn handle_heard(&mut self, bytes: usize, now: Time) {
        self.bytes_received += bytes as u64;
        self.last_heard = Some(now);
    }

    /// Something was handed to the connection.
    pub fn handle_sent(&mut self, bytes: usize, now: Time) {
        self.bytes_sent += bytes as u64;
        match self.rate_bytes.back_mut() {
            Some((start, sum)) if now - *start < Duration::from_millis(100) => *sum += bytes as u64,
            _ => self.rate_bytes.push_back((now, bytes as u64)),
        }
        while self
            .rate_bytes
            .front()
            .is_some_and(|(start, _)| now - *start > RATE_WINDOW)
        {
            self.rate_bytes.pop_front();
        }
    }

    /// This process itself stood still for `pause`; the neighbour's silence in that time proves nothing.
    pub fn forgive(&mut self, pause: Duration) {
        if let Some(heard) = &mut self.last_heard {
            *heard += pause;
        }
    }

    /// A numbered packet with 16 bits of its number arrived.
    pub fn handle_number_truncated(&mut self, number: u16, now: Time) {
        let full = match self.highest {
            None => u64::from(number),
            Some(highest) => extend(highest, number),
        };
        self.handle_number(full, now);
    }

    /// A numbered packet arrived.
    pub fn handle_number(&mut self, number: u64, now: Time) {
        match self.highest {
            None => self.highest = Some(number),
            Some(highest) if number > highest => {
                // A jump beyond what is kept is not believed hole by hole.
                let first = (highest + 1).max(number.saturating_sub(HOLES_MAX as u64));
                for missing in first..number {
                    self.holes.insert(missing, now);
                }
                while self.holes.len() > HOLES_MAX {
                    self.holes.pop_first();
                    self.lost += 1;
                }
                self.highest = Some(number);
            }
            Some(_) => {
                if self.holes.remove(&number).is_none() {
                    return; // a repeated packet, or one that was given up
                }
            }
        }
        self.received += 1;
        self.bucket(now).received += 1;
    }

    /// Turns holes that reordering will no longer fill into losses. To be called every few milliseconds.
    pub fn handle_tick(&mut self, now: Time) {
        let ripe: Vec<u64> = self
            .holes
            .iter()
            .filter(|(_, seen)| now - **seen >= REORDER_GRACE)
            .map(|(number, _)| *number)
            .collect();
        for number in ripe {
            self.holes.remove(&number);
            self.lost += 1;
            self.burst_packets += 1;
            if self.last_lost_number.is_none_or(|last| last + 1 != number) {
                self.bursts += 1;
            }
            self.last_lost_number = Some(number);
            self.bucket(now).lost += 1;
        }
        if self.is_lossy(now) {
            let resumed = self.last_bad.is_none_or(|bad| now - bad > LOSS_RUN_GAP);
            if resumed || self.loss_run_started.is_none() {
                self.loss_run_started = Some(now);
            }
            self.last_bad = Some(now);
        } else if self.last_bad.is_some_and(|bad| now - bad > LOSS_RUN_GAP) {
            self.loss_run_started = None;
        }
        if now - self.loss_updated_at >= REPORT_WINDOW / 2 {
            let seconds = (now - self.loss_updated_at).as_secs_f64();
            let weight = 1.0 - (-seconds / 30.0).exp();
            self.loss_ratio_30s += weight * (self.loss_within(now, REPORT_WINDOW).0 - self.loss_ratio_30s);
            self.loss_updated_at = now;
        }
    }

    /// How long nothing has arrived; `None` when nothing ever has.
    pub fn silence(&self, now: Time) -> Option<Duration> {
        self.last_heard.map(|heard| now - heard)
    }

    /// More than 5 % lost within 100 ms, at least 5 packets.
    pub fn is_lossy(&self, now: Time) -> bool {
        let (ratio, lost) = self.loss_within(now, ARM_WINDOW);
        lost >= ARM_LOST_PACKETS && ratio > ARM_LOSS_RATIO
    }

    /// Loss has gone on for a second.
    pub fn is_lossy_for_long(&self, now: Time) -> bool {
        let recent = self.last_bad.is_some_and(|bad| now - bad <= LOSS_RUN_GAP);
        recent && self.loss_run_started.is_some_and(|start| now - start >= COMMIT_LOSS)
    }

    /// The heartbeat to send now. `clock_us` is this edge's clock as neighbours see it.
    pub fn make_heartbeat(&mut self, clock_us: u64, now: Time) -> Heartbeat {
        let (echo_clock_us, echo_delay_us) = match self.echo {
            Some((clock, arrived)) => (clock, (now - arrived).as_micros() as u64),
            None => (0, 0),
        };
        Heartbeat {
            trunk_number: self.take_number(),
            clock_us,
            echo_clock_us,
            echo_delay_us,
            received_highest: self.highest.unwrap_or(0),
            received: self.received,
            lost: self.lost,
        }
    }

    /// A heartbeat arrived.
    pub fn handle_heartbeat(&mut self, beat: &Heartbeat, clock_us: u64, now: Time) {
        self.handle_number(beat.trunk_number, now);
        self.echo = Some((beat.clock_us, now));
        if beat.echo_clock_us != 0 {
            let elapsed = clock_us
                .saturating_sub(beat.echo_clock_us)
                .saturating_sub(beat.echo_delay_us);
            // A minute is beyond any path: a wrong echo must not poison the estimate.
            if elapsed < 60_000_000 {
                self.handle_rtt(Duration::from_micros(elapsed), now);
            }
        }
        let delay_us = clock_us.cast_signed().wrapping_sub(beat.clock_us.cast_signed());
        if let Some(last) = self.last_delay_us {
            // RFC 3550 §6.4.1: the smoothed difference of relative transit times.
            self.jitter_us += (delay_us.wrapping_sub(last).unsigned_abs() as f64 - self.jitter_us) / 16.0;
        }
        self.last_delay_us = Some(delay_us);
        self.delays.push_back((now, delay_us));
        while self.delays.len() > DELAY_SAMPLES_MAX
            || self.delays.front().is_some_and(|(at, _)| now - *at > DELAY_WINDOW)
        {
            self.delays.pop_front();
        }
    }

    /// Smoothed round-trip time; `None` before the first echo.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt.map(|rtt| rtt.smoothed)
    }

    /// Shortest round trip of the last second or two; `None` before the first echo. A process that stood still for a moment
    /// lengthens the smoothed one for a second, and this not at all.
    pub fn recent_rtt(&self) -> Option<Duration> {
        self.recent.iter().flatten().min().copied()
    }

    /// The numbers for telemetry.
    pub fn stats(&self, window_bytes: u64, now: Time) -> HopStats {
        let rtt = self.rtt().unwrap_or_default();
        let sent: u64 = self.rate_bytes.iter().map(|(_, bytes)| bytes).sum();
        // What the window allows per second at this round trip is the trunk's capacity.
        let capacity = window_bytes as f64 / rtt.as_secs_f64().max(0.001);
        let (median, p95) = self.delay_quantiles();
        HopStats {
            rtt_ms: millis(rtt),
            rtt_min_ms: millis(self.rtt_min.iter().flatten().min().copied().unwrap_or_default()),
            one_way_delay_raw_ms: median as f64 / 1_000.0,
            one_way_delay_p95_raw_ms: p95 as f64 / 1_000.0,
            jitter_ms: self.jitter_us / 1_000.0,
            loss_ratio: self.loss_within(now, REPORT_WINDOW).0,
            loss_ratio_30s: self.loss_ratio_30s,
            mean_burst_packets: if self.bursts == 0 {
                0.0
            } else {
                self.burst_packets as f64 / self.bursts as f64
            },
            packets_received: self.received,
            packets_lost: self.lost,
            bytes_sent: self.bytes_sent,
            bytes_received: self.bytes_received,
            utilisation: (sent as f64 / RATE_WINDOW.as_secs_f64() / capacity).min(1.0),
            media_bytes_sent: self.media_bytes_sent,
            backup_bytes_sent: self.backup_bytes_sent,
        }
    }

    /// RFC 9002 §5.3; the echo carries its own delay, so there is nothing to subtract.
    fn handle_rtt(&mut self, sample: Duration, now: Time) {
        self.rtt = Some(match self.rtt {
            None => Rtt {
                smoothed: sample,
                variance: sample / 2,
            },
            Some(rtt) => Rtt {
                variance: (rtt.variance * 3 + rtt.smoothed.abs_diff(sample)) / 4,
                smoothed: (rtt.smoothed * 7 + sample) / 8,
            },
        });
        if now - self.rtt_min_rotated_at > RTT_MIN_WINDOW {
            self.rtt_min = [None, self.rtt_min[0]];
            self.rtt_min_rotated_at = now;
        }
        self.rtt_min[0] = Some(self.rtt_min[0].map_or(sample, |min| min.min(sample)));
        if now - self.recent_rotated_at > RECENT_RTT_WINDOW {
            self.recent = [None, self.recent[0]];
            self.recent_rotated_at = now;
        }
        self.recent[0] = Some(self.recent[0].map_or(sample, |min| min.min(sample)));
    }

    fn delay_quantiles(&self) -> (i64, i64) {
        if self.delays.is_empty() {
            return (0, 0);
        }
        let mut sorted: Vec<i64> = self.delays.iter().map(|(_, delay)| *delay).collect();
        sorted.sort_unstable();
        (
            sorted[sorted.len() / 2],
            sorted[(sorted.len() * 95 / 100).min(sorted.len() - 1)],
        )
    }

    fn loss_within(&self, now: Time, window: Duration) -> (f64, u32) {
        let (mut received, mut lost) = (0u32, 0u32);
        for bucket in self
            .buckets
            .iter()
            .rev()
            .take_while(|bucket| now - bucket.start <= window)
        {
            received += bucket.received;
            lost += bucket.lost;
        }
        let total = received + lost;
        (
            if total == 0 {
                0.0
            } else {
                f64::from(lost) / f64::from(total)
            },
            lost,
        )
    }

    fn bucket(&mut self, now: Time) -> &mut Bucket {
        if self.buckets.back().is_none_or(|bucket| now - bucket.start >= BUCKET) {
            if self.buckets.len() == BUCKETS_MAX {
                self.buckets.pop_front();
            }
            self.buckets.push_back(Bucket {
                start: now,
                ..Bucket::default()
            });
        }
        self.buckets.back_mut().expect("one was pushed when there was none")
    }
}

/// The full number nearest to `highest` whose low 16 bits are `number`.
pub fn extend(highest: u64, number: u16) -> u64 {
    let forward = number.wrapping_sub(highest as u16);
    if forward < 0x8000 {
        highest + u64::from(forward)
    } else {
        // Backwards; a number from before the start is taken as ahead, so that nothing underflows.
        highest
            .checked_sub(u64::from(forward.wrapping_neg()))
            .unwrap_or(highest + u64::from(forward))
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
