//! One track of a publisher: its ssrc and codec once bound, what has arrived, what is asked for.

use super::nack::NackList;
use super::window::{Arrival, ReceiveWindow};
use super::{KEY_FRAME_PATIENCE, ReceiveCodec, ReceiveDrop, ReceiveStats, ReceiveTrackParameters};
use crate::codec::h264;
use crate::packet::Ssrc;
use crate::rtcp::ReceptionReport;
use crate::source::{Codec, MediaKind};
use crate::time::Time;
use std::time::Duration;

/// One key-frame request per track and interval, however many viewers ask.
pub(super) const KEY_FRAME_INTERVAL: Duration = Duration::from_millis(500);

/// How the publisher is asked for a key frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum KeyFrameRequest {
    /// Picture loss indication.
    Pli,
    /// Full intra request with its command number.
    Fir(u8),
}

/// Key-frame requests towards the publisher.
#[derive(Debug, Default)]
struct KeyFrameRequests {
    wanted: bool,
    /// Full intra requests so far.
    commands: u8,
    last_sent: Option<Time>,
    unanswered_since: Option<Time>,
    last_timestamp: Option<u32>,
    told: bool,
}

/// Loss and jitter as the publisher is told (RFC 3550 §6.4.1, A.3, A.8).
#[derive(Debug, Default)]
struct Reception {
    base: Option<u64>,
    received: u64,
    expected_before: u64,
    received_before: u64,
    transit: Option<i64>,
    /// In 1/16 timestamp units, as in A.8.
    jitter_scaled: u64,
    last_sender_report: Option<(u32, Time)>,
}

pub(super) struct TrackReceiver {
    pub(super) parameters: ReceiveTrackParameters,
    pub(super) ssrc: Option<Ssrc>,
    /// Index of the codec that the first packet had.
    codec: Option<usize>,
    window: ReceiveWindow,
    nacks: NackList,
    reception: Reception,
    key_frames: KeyFrameRequests,
    b_frames_told: bool,
}

impl TrackReceiver {
    pub(super) fn new(parameters: ReceiveTrackParameters) -> TrackReceiver {
        TrackReceiver {
            parameters,
            ssrc: None,
            codec: None,
            window: ReceiveWindow::default(),
            nacks: NackList::default(),
            reception: Reception::default(),
            key_frames: KeyFrameRequests::default(),
            b_frames_told: false,
        }
    }

    /// The codec of the first packet, or the preferred one before it.
    pub(super) fn codec(&self) -> Option<&ReceiveCodec> {
        self.parameters.codecs.get(self.codec.unwrap_or(0))
    }

    /// Fixes the codec at the first packet and refuses another one later.
    pub(super) fn accept_payload_type(&mut self, payload_type: u8) -> Result<Codec, ReceiveDrop> {
        let at = self
            .parameters
            .codecs
            .iter()
            .position(|codec| codec.payload_type == payload_type);
        let at = at.ok_or(ReceiveDrop::UnknownPayloadType)?;
        let codec = self.parameters.codecs[at].codec;
        match self.codec {
            None => self.codec = Some(at),
            Some(bound) if self.parameters.codecs[bound].codec != codec => return Err(ReceiveDrop::CodecChanged),
            Some(_) => {}
        }
        Ok(codec)
    }

    /// The media payload type that an RTX payload type repairs.
    pub(super) fn associated_payload_type(&self, rtx_payload_type: u8) -> Result<u8, ReceiveDrop> {
        let codec = self
            .parameters
            .codecs
            .iter()
            .find(|codec| codec.rtx_payload_type == Some(rtx_payload_type));
        codec.map(|codec| codec.payload_type).ok_or(ReceiveDrop::RtxUnbound)
    }

    pub(super) fn highest(&self) -> Option<u64> {
        self.window.highest()
    }

    /// Notes the arrival of a number, directly or by RTX; what is missing below it will be asked for when `nack`.
    pub(super) fn handle_number(
        &mut self,
        number: u64,
        nack: bool,
        now: Time,
        stats: &mut ReceiveStats,
    ) -> Result<(), ReceiveDrop> {
        match self.window.handle_arrival(number) {
            Arrival::Newest { after: None } => Ok(()),
            Arrival::Newest { after: Some(highest) } => {
                let missing = number - highest - 1;
                stats.packets_missing += missing;
                if nack && self.codec().is_some_and(|codec| codec.nack) {
                    self.nacks.handle_gap(highest + 1, number, now);
                }
                Ok(())
            }
            Arrival::Late => {
                stats.packets_recovered += 1;
                self.nacks.handle_arrival(number, now);
                Ok(())
            }
            Arrival::Duplicate => Err(ReceiveDrop::Duplicate),
            Arrival::TooOld => Err(ReceiveDrop::TooOld),
        }
    }

    /// Counts a packet that came under the track's own ssrc.
    pub(super) fn count_reception(&mut self, number: u64, timestamp: u32, clock_rate: u32, now: Time) {
        let reception = &mut self.reception;
        reception.base = Some(reception.base.map_or(number, |base| base.min(number)));
        reception.received += 1;
        let arrival = (u128::from(now.as_micros()) * u128::from(clock_rate) / 1_000_000) as u32;
        let transit = i64::from(arrival.wrapping_sub(timestamp) as i32);
        if let Some(before) = reception.transit.replace(transit) {
            // Across a wrap of either clock the difference is huge once; RFC 3550 A.8 takes it modulo 2^32.
            let distance = u64::from(((transit - before) as i32).unsigned_abs());
            reception.jitter_scaled = (reception.jitter_scaled + distance)
                .saturating_sub((reception.jitter_scaled + 8) >> 4)
                .min(u64::from(u32::MAX) << 4);
        }
    }

    pub(super) fn handle_sender_report(&mut self, ntp: u64, now: Time) {
        self.reception.last_sender_report = Some(((ntp >> 16) as u32, now));
    }

    /// The block about this track, `None` before its first packet.
    pub(super) fn reception_report(&mut self, now: Time) -> Option<ReceptionReport> {
        let ssrc = self.ssrc?;
        let highest = self.window.highest()?;
        let reception = &mut self.reception;
        let expected = highest.saturating_sub(reception.base?) + 1;
        let expected_now = expected.saturating_sub(reception.expected_before);
        let received_now = reception.received - reception.received_before;
        reception.expected_before = expected;
        reception.received_before = reception.received;
        let lost_now = expected_now.saturating_sub(received_now);
        let fraction_lost = (lost_now * 256).checked_div(expected_now).unwrap_or(0).min(255) as u8;
        let (last_sender_report, delay) = match reception.last_sender_report {
            Some((middle, at)) => (middle, ((now - at).as_micros() * 65_536 / 1_000_000) as u32),
            None => (0, 0),
        };
        Some(ReceptionReport {
            ssrc,
            fraction_lost,
            cumulative_lost: (expected as i64 - reception.received as i64).clamp(-(1 << 23), (1 << 23) - 1) as i32,
            extended_highest_sequence_number: highest as u32,
            jitter: (reception.jitter_scaled >> 4) as u32,
            last_sender_report,
            delay_since_last_sender_report: delay,
        })
    }

    /// Numbers to ask for now, at most `limit`. What is given up leaves a hole in the picture, so a key frame is wanted.
    pub(super) fn poll_nack(&mut self, now: Time, limit: usize, due: &mut Vec<u64>, stats: &mut ReceiveStats) {
        let given_up = self.nacks.poll(now, limit, due);
        stats.packets_lost += given_up;
        if given_up > 0 {
            self.request_key_frame(now);
        }
    }

    pub(super) fn request_key_frame(&mut self, now: Time) {
        if self.parameters.kind == MediaKind::Video {
            self.key_frames.wanted = true;
            self.key_frames.unanswered_since.get_or_insert(now);
        }
    }

    /// Notes a packet that begins a key frame; `true` for the first one of its frame.
    pub(super) fn handle_key_frame(&mut self, timestamp: u32) -> bool {
        self.key_frames.wanted = false;
        self.key_frames.unanswered_since = None;
        self.key_frames.last_timestamp.replace(timestamp) != Some(timestamp)
    }

    /// Looks for B-frames; `true` for the first that is found.
    pub(super) fn handle_h264(&mut self, payload: &[u8]) -> bool {
        let found = !self.b_frames_told && h264::is_b_slice_start(payload);
        self.b_frames_told |= found;
        found
    }

    /// The request that goes out now.
    pub(super) fn poll_key_frame_request(&mut self, now: Time) -> Option<KeyFrameRequest> {
        if self.key_frame_request_at().is_none_or(|at| now < at) {
            return None;
        }
        let pli = self.codec().is_some_and(|codec| codec.pli);
        self.key_frames.wanted = false;
        self.key_frames.last_sent = Some(now);
        if pli {
            return Some(KeyFrameRequest::Pli);
        }
        // RFC 5104 §4.3.1.1: a repetition keeps its number. Ours come half a second apart, when the answer to the one before was
        // lost too: each is a new command, or the publisher would take it for done.
        self.key_frames.commands = self.key_frames.commands.wrapping_add(1);
        Some(KeyFrameRequest::Fir(self.key_frames.commands))
    }

    fn key_frame_request_at(&self) -> Option<Time> {
        let agreed = self.codec().is_some_and(|codec| codec.pli || codec.fir);
        if !self.key_frames.wanted || !agreed || self.ssrc.is_none() {
            return None;
        }
        Some(
            self.key_frames
                .last_sent
                .map_or(Time::ZERO, |sent| sent + KEY_FRAME_INTERVAL),
        )
    }

    /// Whether the host has ignored requests for so long that somebody should know; told once.
    pub(super) fn poll_key_frame_ignored(&mut self, now: Time) -> bool {
        let ignored = self.key_frame_ignored_at().is_some_and(|at| now >= at);
        self.key_frames.told |= ignored;
        ignored
    }

    fn key_frame_ignored_at(&self) -> Option<Time> {
        if self.key_frames.told || self.ssrc.is_none() {
            return None;
        }
        self.key_frames.unanswered_since.map(|since| since + KEY_FRAME_PATIENCE)
    }

    /// When the host is asked for something next.
    pub(super) fn next_request_at(&self) -> Option<Time> {
        let requests = [self.nacks.poll_timeout(), self.key_frame_request_at()];
        requests.into_iter().flatten().min()
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        let deadlines = [self.next_request_at(), self.key_frame_ignored_at()];
        deadlines.into_iter().flatten().min()
    }
}
