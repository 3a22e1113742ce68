//! One track towards one viewer: where it stands in its source, and how its packets are made.

mod packets;
mod start;

use super::beginning::Beginning;
use super::header::HeaderWriter;
use super::history::{Entry, History, Sent};
use super::numbering::{Numbering, Spent};
use super::pace::Pacer;
use super::timeline::Timeline;
use super::{SendCodec, SendDrop, SendTrackParameters};
use crate::codec::h264::ParameterSets;
use crate::codec::vp8;
use crate::packet::{MediaPacket, Ssrc};
use crate::ring::{MAX_PACKETS, StreamRing};
use crate::rtcp::SenderReport;
use crate::source::{Codec, MediaKind, SenderClock, SourceInfo};
use crate::srtp::SealContext;
use crate::time::Time;
use std::ops::Range;
use std::time::Duration;

/// Above this, a packet would be fragmented on Ethernet with IPv6.
const MAX_DATAGRAM: usize = 1_500 - 48;

/// One viewer asks for a key frame this often at most.
const KEY_FRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Nothing to send, and why.
    Idle(SendDrop),
    /// Video waits for a key frame, audio for its first packet.
    Awaiting,
    /// Packets from `start` on are sent.
    Live,
}

pub(super) struct TrackSender {
    kind: MediaKind,
    codecs: Vec<SendCodec>,
    header: HeaderWriter,
    rtx_header: HeaderWriter,
    /// First number whose header is written as now.
    header_since: u64,
    /// Position in the source's list of tracks.
    source_track: Option<usize>,
    codec: Option<SendCodec>,
    phase: Phase,
    /// First source number sent.
    start: u64,
    /// Source number after the highest sent.
    cursor: u64,
    /// Packets from `cursor` on wait in the ring.
    behind: bool,
    /// Highest number that went by while a key frame was awaited.
    passed_over: u64,
    /// The ring had nothing when the source was switched to.
    new_here: bool,
    /// The source comes from another edge: what comes first may be a burst of what that edge had kept.
    by_trunk: bool,
    beginning: Option<Beginning>,
    numbering: Numbering,
    pub(super) timeline: Timeline,
    picture_numbers: vp8::Continuity,
    /// H.264 parameter sets from the source's description, as a STAP-A.
    parameter_sets: Option<Vec<u8>>,
    /// Number and source timestamp of a packet of parameter sets that has yet to go out.
    prelude: Option<(u64, u32)>,
    history: History,
    next_rtx: u64,
    generation: u8,
    packet_count: u32,
    octet_count: u32,
    clock_at: Option<Time>,
    key_frame_wanted: bool,
    key_frame_not_before: Time,
}

impl TrackSender {
    pub(super) fn new(parameters: SendTrackParameters) -> TrackSender {
        let first = u64::from(parameters.first_sequence_number & 0x7FFF);
        let clock_rate = match parameters.kind {
            MediaKind::Audio => Codec::Opus.clock_rate(),
            MediaKind::Video => Codec::Vp8.clock_rate(),
        };
        TrackSender {
            kind: parameters.kind,
            header: HeaderWriter::new(parameters.ssrc, &parameters.mid, parameters.extensions),
            rtx_header: HeaderWriter::new(parameters.rtx_ssrc, &parameters.mid, parameters.extensions),
            header_since: 0,
            codecs: parameters.codecs,
            source_track: None,
            codec: None,
            phase: Phase::Idle(SendDrop::NoTrack),
            start: 0,
            cursor: 0,
            behind: false,
            passed_over: 0,
            new_here: false,
            by_trunk: false,
            beginning: None,
            numbering: Numbering::new(first),
            timeline: Timeline::new(clock_rate, parameters.first_timestamp),
            picture_numbers: vp8::Continuity::default(),
            parameter_sets: None,
            prelude: None,
            history: History::default(),
            // Any other start below 2^15 will do: the ssrc is another one.
            next_rtx: first ^ 0x5555,
            generation: 0,
            packet_count: 0,
            octet_count: 0,
            clock_at: None,
            key_frame_wanted: false,
            key_frame_not_before: Time::ZERO,
        }
    }

    pub(super) fn kind(&self) -> MediaKind {
        self.kind
    }

    pub(super) fn ssrc(&self) -> Ssrc {
        self.header.ssrc()
    }

    pub(super) fn rtx_ssrc(&self) -> Ssrc {
        self.rtx_header.ssrc()
    }

    pub(super) fn source_track(&self) -> Option<usize> {
        self.source_track
    }

    pub(super) fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    pub(super) fn is_behind(&self) -> bool {
        self.behind
    }

    /// Follows the first track of this kind in the source; from its key-frame cache when it has one. True when it did so.
    pub(super) fn switch_source(&mut self, source: &SourceInfo, rings: &[StreamRing], cache: bool, now: Time) -> bool {
        self.clear_source();
        self.generation = self.generation.wrapping_add(1);
        self.source_track = source.tracks.iter().position(|track| track.codec.kind() == self.kind);
        let Some(index) = self.source_track else {
            self.codec = None;
            self.phase = Phase::Idle(SendDrop::NoTrack);
            return false;
        };
        let codec = source.tracks[index].codec;
        self.codec = SendCodec::choose(&self.codecs, &source.tracks[index]);
        if self.codec.is_none() {
            self.phase = Phase::Idle(SendDrop::NoCodec);
            return false;
        }
        self.phase = Phase::Awaiting;
        self.parameter_sets = match codec {
            Codec::H264 => ParameterSets::from_fmtp(&source.tracks[index].fmtp).payload(),
            _ => None,
        };
        if self.kind != MediaKind::Video {
            return false;
        }
        let ring = rings.get(index).filter(|_| cache);
        self.new_here = ring.is_some_and(|ring| ring.highest().is_none());
        let replays = ring.is_some_and(|ring| self.start_replay(ring, now));
        if !replays {
            self.await_key_frame();
        }
        replays
    }

    /// The source is gone; numbers and timestamps go on when another one comes.
    pub(super) fn clear_source(&mut self) {
        self.timeline.detach();
        self.clock_at = None;
        self.source_track = None;
        self.codec = None;
        self.phase = Phase::Idle(SendDrop::NoTrack);
        self.behind = false;
        self.beginning = None;
        self.prelude = None;
        self.key_frame_wanted = false;
    }

    /// Has the player buffer for repairs; see [`super::SendHalf::set_repair_delay`].
    pub(super) fn set_repair_delay(&mut self, delay: Duration) {
        self.by_trunk = !delay.is_zero();
        if self.kind == MediaKind::Video && self.header.set_playout_delay(delay) {
            self.header_since = self.numbering.next();
        }
    }

    pub(super) fn buffers_pictures(&self) -> bool {
        self.kind == MediaKind::Video && self.header.tells_playout_delay()
    }

    /// One live packet, which the ring has already.
    pub(super) fn write(
        &mut self,
        packet: &MediaPacket,
        pacer: &mut Pacer,
        output: &mut Vec<u8>,
        seal: &SealContext,
        now: Time,
    ) -> Result<Option<Range<usize>>, SendDrop> {
        if self.phase == Phase::Live && packet.extended_sequence_number >= self.cursor + MAX_PACKETS {
            self.leap(packet.extended_sequence_number);
        }
        if self.phase == Phase::Awaiting && self.is_beginning(packet, now) {
            return Ok(None);
        }
        if let Phase::Idle(reason) = self.phase {
            return Err(reason);
        }
        if self.phase == Phase::Awaiting && !self.begin_live(packet, now) {
            self.passed_over = self.passed_over.max(packet.extended_sequence_number);
            return Err(SendDrop::AwaitingKeyFrame);
        }
        let number = packet.extended_sequence_number;
        if number < self.start {
            return Err(SendDrop::BeforeStart);
        }
        if number >= self.cursor && self.kind == MediaKind::Video {
            self.behind |= !pacer.admits(now);
            if self.behind {
                return Ok(None);
            }
        }
        self.send(packet, output, seal, now)
    }

    /// The source's numbers have leapt beyond what rings keep: it was away for long. Passed on, a leap of more than half the
    /// sequence numbers would have the player's SRTP guess the wrong rollover (RFC 3711 §3.3.1), so the viewer's numbers go on.
    fn leap(&mut self, number: u64) {
        if self.kind == MediaKind::Video {
            return self.await_key_frame();
        }
        self.start = number;
        self.cursor = number;
        self.numbering.start(number);
    }

    /// The next packet that waits in the ring; the pacer has admitted it. `Ok(None)` when the viewer has caught up.
    pub(super) fn poll_held(
        &mut self,
        ring: &StreamRing,
        output: &mut Vec<u8>,
        seal: &SealContext,
        now: Time,
    ) -> Result<Option<Range<usize>>, SendDrop> {
        let (Some(oldest), Some(highest)) = (ring.oldest(), ring.highest()) else {
            self.behind = false;
            return Ok(None);
        };
        if self.cursor < oldest {
            self.await_key_frame();
            return Err(SendDrop::FellBehind);
        }
        if let Some((number, timestamp)) = self.prelude.take() {
            return Ok(Some(self.send_parameter_sets(number, timestamp, output, seal, now)));
        }
        while self.cursor <= highest {
            match ring.get(self.cursor) {
                None => self.cursor += 1,
                Some(packet) => {
                    let sent = self.send(packet, output, seal, now);
                    if !matches!(sent, Ok(None)) {
                        return sent;
                    }
                }
            }
        }
        self.behind = false;
        Ok(None)
    }

    fn send(
        &mut self,
        packet: &MediaPacket,
        output: &mut Vec<u8>,
        seal: &SealContext,
        now: Time,
    ) -> Result<Option<Range<usize>>, SendDrop> {
        let source_number = packet.extended_sequence_number;
        let newest = source_number >= self.cursor;
        self.cursor = self.cursor.max(source_number + 1);
        let mut sent = Sent::Media;
        if packet.payload.is_empty() {
            if self.numbering.spend(source_number).ok_or(SendDrop::TooOld)? == Spent::Closed {
                return Ok(None);
            }
            sent = Sent::Padding;
        }
        let number = self.numbering.number_of(source_number).ok_or(SendDrop::TooOld)?;
        if !newest && self.has_sent(source_number, number) {
            // The ring gave it out before the driver did: a frame that waited for its marker while a replay caught up.
            return Ok(None);
        }
        let overhead = seal.profile().rtp_overhead();
        if self.header.plain_len() + packet.payload.len() + overhead > MAX_DATAGRAM {
            return Err(SendDrop::TooLarge);
        }
        let timestamp = self.timeline.timestamp_of(packet.timestamp, now);
        let payload_type = self.codec.map_or(0, |codec| codec.payload_type);
        let range = self.make(packet, payload_type, number, timestamp, newest, output, seal);
        self.numbering.handle_sent(number);
        self.packet_count = self.packet_count.wrapping_add(1);
        self.octet_count = self.octet_count.wrapping_add(packet.payload.len() as u32);
        self.history.record(Entry {
            source_number_low: source_number as u32,
            timestamp,
            sequence_number: number as u16,
            sent_ms: milliseconds(now),
            resent_ms: 0,
            generation: self.generation,
            sent,
        });
        Ok(Some(range))
    }

    fn has_sent(&mut self, source_number: u64, number: u64) -> bool {
        let generation = self.generation;
        let known = self.history.find(number as u16);
        known.is_some_and(|entry| entry.generation == generation && entry.source_number_low == source_number as u32)
    }

    pub(super) fn want_key_frame(&mut self) {
        self.key_frame_wanted |= self.kind == MediaKind::Video && self.source_track.is_some();
    }

    pub(super) fn key_frame_request_at(&self) -> Option<Time> {
        self.key_frame_wanted.then_some(self.key_frame_not_before)
    }

    /// The source's track to ask; again after a while as long as the viewer waits.
    pub(super) fn poll_key_frame_request(&mut self, now: Time) -> Option<usize> {
        if self.key_frame_request_at().is_none_or(|at| now < at) {
            return None;
        }
        self.key_frame_not_before = now + KEY_FRAME_REQUEST_INTERVAL;
        self.key_frame_wanted = self.phase == Phase::Awaiting;
        self.source_track
    }

    /// Takes a newer report of the source. Trunks repeat reports and may deliver an older one late: those would move the
    /// viewer's reports backwards.
    pub(super) fn handle_sender_clock(&mut self, clock: SenderClock, now: Time) {
        if self.timeline.handle_sender_clock(clock) {
            self.clock_at = Some(now);
        }
    }

    pub(super) fn has_sender_clock(&self) -> bool {
        self.clock_at.is_some()
    }

    /// The report for now: the source's own, moved along its line by the time since it came. None is made without a source's.
    pub(super) fn sender_report(&self, now: Time) -> Option<SenderReport> {
        if !self.is_live() {
            return None;
        }
        let clock = self.timeline.sender_clock()?;
        let elapsed_us = (now - self.clock_at?).as_micros() as u64;
        let rate = match self.kind {
            MediaKind::Audio => Codec::Opus.clock_rate(),
            MediaKind::Video => Codec::Vp8.clock_rate(),
        };
        // Whole ticks first, then the wallclock from them: the pair lies exactly on the line.
        let ticks = elapsed_us * u64::from(rate) / 1_000_000;
        Some(SenderReport {
            ssrc: self.ssrc(),
            ntp: clock.ntp.wrapping_add_signed(super::ntp_from_ticks(ticks as i64, rate)),
            rtp: clock.rtp.wrapping_add(ticks as u32),
            packet_count: self.packet_count,
            octet_count: self.octet_count,
        })
    }
}

fn milliseconds(now: Time) -> u16 {
    (now.as_micros() / 1_000) as u16
}
