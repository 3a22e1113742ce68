//! Sound that waits for its picture.
//!
//! A player that was told to buffer video for repairs (playout-delay) plays its sound at once, and moves the two together
//! over half a minute, with a sound buffer too short for repaired packets. So the last edge keeps the sound of such a
//! stream nearly as long as the player keeps the picture, and gives it out in the rhythm of its timestamps: repaired packets
//! take their places, jitter is gone, and sound and picture fit from the first second. The picture never waits here.

use crate::packet::MediaPacket;
use crate::time::Time;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// What a player adds to sound and not to a picture: its jitter buffer, 40 to 60 ms in libwebrtc when sound comes in its rhythm,
/// and 30 ms to the loudspeaker. Measured with Chromium 156 at 160 ms RTT.
const PLAYER_SOUND_DELAY: Duration = Duration::from_millis(90);
/// A shorter hold is not worth a timer: libwebrtc itself leaves 30 ms between sound and picture.
const HOLD_MIN: Duration = Duration::from_millis(20);
/// Half a second of packets of 10 ms; beyond, the oldest go out early.
const WAITING_MAX: usize = 50;
/// The shortest transit is looked for in the current and the last window: a sender's clock that drifts by 100 ppm, or a
/// longer route, is followed within two of them.
const TRANSIT_WINDOW: Duration = Duration::from_secs(5);
/// A packet further than this from where its timestamp belongs is neither late nor repaired: the host's timestamps have
/// leapt, or stood still while it sent nothing.
const LEAP_MIN: Duration = Duration::from_secs(2);

/// How long sound waits when players buffer `repair_delay` of the picture; `None` when not at all.
pub fn hold_for(repair_delay: Duration) -> Option<Duration> {
    let hold = repair_delay.saturating_sub(PLAYER_SOUND_DELAY);
    (hold >= HOLD_MIN).then_some(hold)
}

/// The waiting packets of one audio track.
#[derive(Debug)]
pub struct SoundHold {
    clock_rate: u64,
    /// In order of their sequence numbers, each with its media time in microseconds.
    waiting: VecDeque<(i64, Arc<MediaPacket>)>,
    newest: Option<Newest>,
    transit: ShortestTransit,
}

/// Where other packets' timestamps are counted from.
#[derive(Debug)]
struct Newest {
    number: u64,
    timestamp: u32,
    /// The timestamp in microseconds, from when the first packet came.
    media_us: i64,
}

impl SoundHold {
    /// Nothing waits. `clock_rate` in Hz.
    pub fn new(clock_rate: u32) -> SoundHold {
        SoundHold {
            clock_rate: u64::from(clock_rate.max(1)),
            waiting: VecDeque::new(),
            newest: None,
            transit: ShortestTransit::default(),
        }
    }

    /// Takes a packet in.
    pub fn handle_packet(&mut self, packet: Arc<MediaPacket>) {
        let media_us = self.media_us(&packet);
        let number = packet.extended_sequence_number;
        let place = self
            .waiting
            .iter()
            .rposition(|(_, waiting)| waiting.extended_sequence_number < number)
            .map_or(0, |before| before + 1);
        self.waiting.insert(place, (media_us, packet));
    }

    /// The next packet whose time has come, when each waits `hold` after the earliest moment it could have been here.
    pub fn poll_packet(&mut self, hold: Duration, now: Time) -> Option<Arc<MediaPacket>> {
        let due = self.poll_timeout(hold)?;
        if due > now && self.waiting.len() <= WAITING_MAX {
            return None;
        }
        self.waiting.pop_front().map(|(_, packet)| packet)
    }

    /// When to ask next; `None` when nothing waits.
    pub fn poll_timeout(&self, hold: Duration) -> Option<Time> {
        let (media_us, _) = self.waiting.front()?;
        let arrival = u64::try_from(media_us.saturating_add(self.transit.shortest())).unwrap_or(0);
        Some(Time::from_micros(arrival) + hold)
    }

    fn media_us(&mut self, packet: &MediaPacket) -> i64 {
        let (number, timestamp) = (packet.extended_sequence_number, packet.timestamp);
        let arrived_us = packet.received_at.as_micros() as i64;
        let mut media_us = arrived_us;
        if let Some(newest) = &self.newest {
            let shortest = self.transit.shortest();
            let ticks = i64::from(timestamp.wrapping_sub(newest.timestamp) as i32);
            media_us = newest.media_us + ticks * 1_000_000 / self.clock_rate as i64;
            if (arrived_us - media_us).abs_diff(shortest) > LEAP_MIN.as_micros() as u64 {
                if number < newest.number {
                    return i64::MIN; // from before a leap: its time has passed
                }
                // Begun anew, as if this one had come the shortest way: what waits keeps its times.
                media_us = arrived_us - shortest;
            }
        }
        self.transit.handle_sample(arrived_us - media_us, packet.received_at);
        if self.newest.as_ref().is_none_or(|newest| number > newest.number) {
            self.newest = Some(Newest {
                number,
                timestamp,
                media_us,
            });
        }
        media_us
    }
}

/// Minimum of arrival minus media time over the last five to ten seconds, in microseconds.
#[derive(Debug, Default)]
struct ShortestTransit {
    since: Option<Time>,
    current: i64,
    previous: i64,
}

impl ShortestTransit {
    fn handle_sample(&mut self, transit_us: i64, now: Time) {
        match self.since {
            None => {
                self.since = Some(now);
                self.previous = transit_us;
                self.current = transit_us;
            }
            Some(since) if now - since >= TRANSIT_WINDOW => {
                self.since = Some(now);
                self.previous = self.current;
                self.current = transit_us;
            }
            Some(_) => self.current = self.current.min(transit_us),
        }
    }

    fn shortest(&self) -> i64 {
        self.current.min(self.previous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{MediaExtensions, Ssrc};
    use bytes::Bytes;

    const HOLD: Duration = Duration::from_millis(150);

    fn packet(number: u64, received_ms: u64) -> Arc<MediaPacket> {
        // Starts shortly before a wrap of the timestamp.
        packet_at(
            number,
            (u32::MAX - 2_000).wrapping_add(number as u32 * 960),
            received_ms,
        )
    }

    fn packet_at(number: u64, timestamp: u32, received_ms: u64) -> Arc<MediaPacket> {
        Arc::new(MediaPacket {
            received_at: Time::from_millis(received_ms),
            ssrc: Ssrc(1),
            extended_sequence_number: number,
            timestamp,
            marker: false,
            payload_type: 111,
            key_frame_start: false,
            extensions: MediaExtensions::default(),
            payload: Bytes::from_static(&[0]),
        })
    }

    fn released(hold: &mut SoundHold, now_ms: u64) -> Vec<u64> {
        std::iter::from_fn(|| hold.poll_packet(HOLD, Time::from_millis(now_ms)))
            .map(|packet| packet.extended_sequence_number)
            .collect()
    }

    #[test]
    fn a_hold_shorter_than_the_players_own_delay_is_none() {
        assert_eq!(hold_for(Duration::ZERO), None);
        assert_eq!(hold_for(Duration::from_millis(100)), None);
        assert_eq!(hold_for(Duration::from_millis(265)), Some(Duration::from_millis(175)));
    }

    #[test]
    fn jitter_does_not_reach_the_rhythm() {
        let mut hold = SoundHold::new(48_000);
        for (number, jitter) in [(0, 0), (1, 30), (2, 5), (3, 60)] {
            hold.handle_packet(packet(number, 1_000 + 20 * number + jitter));
        }
        assert_eq!(hold.poll_timeout(HOLD), Some(Time::from_millis(1_150)));
        assert_eq!(released(&mut hold, 1_149), [] as [u64; 0]);
        assert_eq!(released(&mut hold, 1_150), [0]);
        assert_eq!(released(&mut hold, 1_209), [1, 2]);
        assert_eq!(released(&mut hold, 1_210), [3]);
        assert_eq!(hold.poll_timeout(HOLD), None);
    }

    #[test]
    fn a_repaired_packet_takes_its_place() {
        let mut hold = SoundHold::new(48_000);
        hold.handle_packet(packet(0, 1_000));
        hold.handle_packet(packet(2, 1_040));
        hold.handle_packet(packet(1, 1_140));
        assert_eq!(released(&mut hold, 1_190), [0, 1, 2]);
    }

    #[test]
    fn what_comes_after_its_time_goes_at_once() {
        let mut hold = SoundHold::new(48_000);
        hold.handle_packet(packet(0, 1_000));
        hold.handle_packet(packet(2, 1_040));
        assert_eq!(released(&mut hold, 1_190), [0, 2]);
        hold.handle_packet(packet(1, 1_300));
        assert_eq!(released(&mut hold, 1_300), [1]);
    }

    #[test]
    fn a_longer_route_is_followed_within_two_windows() {
        let mut hold = SoundHold::new(48_000);
        let mut waits = Vec::new();
        for number in 0..1_000 {
            let longer = if number < 100 { 0 } else { 400 };
            let received = 1_000 + 20 * number + longer;
            hold.handle_packet(packet(number, received));
            let due = hold.poll_timeout(HOLD).map_or(0, |due| due.as_micros() / 1_000);
            waits.push(due.saturating_sub(received));
            hold.poll_packet(HOLD, Time::from_millis(due.max(received)));
        }
        assert_eq!(waits[99], 150);
        assert_eq!(waits[101], 0, "late against the old route");
        assert_eq!(waits[999], 150);
    }

    #[test]
    fn a_shorter_route_is_followed_at_once() {
        let mut hold = SoundHold::new(48_000);
        hold.handle_packet(packet(0, 1_300));
        hold.handle_packet(packet(1, 1_020));
        assert_eq!(released(&mut hold, 1_170), [0, 1]);
    }

    #[test]
    fn leaping_timestamps_begin_anew() {
        const HOUR: u32 = 48_000 * 3_600;
        for leap in [
            HOUR,
            HOUR.wrapping_neg(),
            48_000 * 3,
            (48_000u32 * 3).wrapping_neg(),
            1 << 31,
        ] {
            let mut hold = SoundHold::new(48_000);
            for number in 0..20u32 {
                // Every fifth packet leaps, and the sixth leaps back: the rhythm of arrival stays.
                let leapt = if number % 5 == 4 { leap } else { 0 };
                let timestamp = (number * 960).wrapping_add(leapt);
                let received = 1_000 + 20 * u64::from(number);
                hold.handle_packet(packet_at(number.into(), timestamp, received));
                let last = hold
                    .waiting
                    .back()
                    .map(|(media_us, _)| media_us + hold.transit.shortest());
                assert_eq!(last, Some(received as i64 * 1_000), "{leap}: {number}");
            }
            assert_eq!(released(&mut hold, 1_149), [] as [u64; 0], "{leap}");
            assert_eq!(
                released(&mut hold, 1_350).len(),
                11,
                "{leap}: 20 ms apart from 1,150 on"
            );
        }
    }

    #[test]
    fn a_packet_from_before_a_leap_goes_at_once_and_disturbs_nothing() {
        let mut hold = SoundHold::new(48_000);
        hold.handle_packet(packet_at(0, 0, 1_000));
        hold.handle_packet(packet_at(2, 500_000_000, 1_040));
        hold.handle_packet(packet_at(3, 500_000_960, 1_060));
        assert_eq!(released(&mut hold, 1_150), [0]);
        hold.handle_packet(packet_at(1, 960, 1_155));
        assert_eq!(released(&mut hold, 1_155), [1]);
        assert_eq!(hold.poll_timeout(HOLD), Some(Time::from_millis(1_190)));
        assert_eq!(released(&mut hold, 1_210), [2, 3]);
    }

    #[test]
    fn days_of_timestamps_and_a_long_silence_stay_right() {
        let mut hold = SoundHold::new(48_000);
        // The timestamp wraps every 24.9 h; after 13 h of silence it seems to lie behind.
        for (number, hour) in (0..80).chain([93, 94, 200]).enumerate() {
            let received = 1_000 + hour * 3_600_000;
            let timestamp = (hour * 3_600 * 48_000) as u32;
            hold.handle_packet(packet_at(number as u64, timestamp, received));
            let due = received + 150;
            assert_eq!(hold.poll_timeout(HOLD), Some(Time::from_millis(due)), "hour {hour}");
            assert_eq!(released(&mut hold, due), [number as u64]);
        }
    }

    #[test]
    fn a_flood_is_bounded() {
        let mut hold = SoundHold::new(48_000);
        for number in 0..60 {
            hold.handle_packet(packet(number, 1_000));
        }
        // Timestamps ahead of arrivals: without the bound the last would go out 1.2 s later.
        let early = released(&mut hold, 1_000).len();
        assert!(early >= 60 - WAITING_MAX, "{early} went out");
    }
}
