//! One track towards one viewer: where it stands in its source, and how its packets are made.

use super::beginning::Beginning;
use super::header::HeaderWriter;
use super::history::{Entry, History, Sent};
use super::numbering::{Numbering, Spent};
use super::pace::Pacer;
use super::timeline::{Replay, Timeline};
use super::{SendCodec, SendDrop, SendTrackParameters};
use crate::codec::h264::{ParameterSets, has_sps};
use crate::codec::vp8;
use crate::packet::{MediaPacket, Ssrc};
use crate::ring::{MAX_PACKETS, StreamRing};
use crate::rtcp::SenderReport;
use crate::source::{Codec, MediaKind, SenderClock, SourceInfo};
use crate::srtp::SealContext;
use crate::time::Time;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Above this, per-packet extensions are left out: 1,280 bytes with IPv6 and UDP headers pass every tunnel.
const COMFORTABLE_DATAGRAM: usize = 1_280 - 48;

/// Above this, a packet would be fragmented on Ethernet with IPv6.
const MAX_DATAGRAM: usize = 1_500 - 48;

/// One viewer asks for a key frame this often at most.
const KEY_FRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(500);

/// The replayed frames are stamped at most this far, 200 ms at 90 kHz, past the place of the newest.
const ADVANCE_MAX: i64 = 18_000;

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

    fn await_key_frame(&mut self) {
        self.phase = Phase::Awaiting;
        self.passed_over = 0;
        self.behind = false;
        self.key_frame_wanted = true;
    }

    /// When a viewer of a source that is new here starts, unless more of its first burst comes.
    pub(super) fn begins_at(&self) -> Option<Time> {
        self.beginning.as_ref().map(Beginning::over_at)
    }

    /// Starts from the ring now that the first burst is in it. `false` when a key frame has to be waited for after all.
    pub(super) fn begin_from(&mut self, ring: &StreamRing, now: Time) -> bool {
        self.beginning = None;
        let begins = self.start_replay(ring, now);
        if !begins {
            self.await_key_frame();
        }
        begins
    }

    fn start_replay(&mut self, ring: &StreamRing, now: Time) -> bool {
        let Some(range) = ring.group_replay(now) else {
            return false;
        };
        let packets = range.clone().filter_map(|number| ring.get(number));
        let bytes: usize = packets
            .clone()
            .map(|packet| packet.payload.len() + self.header.plain_len() + 16)
            .sum();
        let (Some(first), Some(newest)) = (packets.clone().next(), packets.clone().next_back()) else {
            return false;
        };
        let replay = replay_of(first.timestamp, newest.timestamp, bytes, packets, now);
        let key_frame = range
            .map_while(|number| ring.get(number))
            .take_while(|packet| packet.timestamp == first.timestamp);
        let complete = key_frame.into_iter().any(|packet| has_sps(&packet.payload));
        self.begin(first, complete, Some(replay), now);
        self.behind = true;
        true
    }

    /// The first packet of a source for this viewer is known.
    ///
    /// A decoder needs parameter sets before the key frame: unless it brings them (`complete`), those of the source's description
    /// go first, as a packet of their own that `poll_held` gives out.
    fn begin(&mut self, first: &MediaPacket, complete: bool, replay: Option<Replay>, now: Time) {
        self.phase = Phase::Live;
        self.start = first.extended_sequence_number;
        self.cursor = self.start;
        self.prelude = None;
        if self.parameter_sets.is_some() && !complete {
            self.prelude = Some((self.numbering.take(), first.timestamp));
            self.behind = true;
        }
        self.numbering.start(self.start);
        self.timeline.start(first.timestamp, replay, now);
        if self.codec.is_some_and(|codec| codec.codec == Codec::Vp8) {
            self.picture_numbers.restart(&first.payload);
        }
        self.key_frame_wanted = false;
    }

    /// Whether this packet is one of the first of a source that is new here; those go out when it is known how they come.
    fn is_beginning(&mut self, packet: &MediaPacket, now: Time) -> bool {
        if let Some(beginning) = &mut self.beginning {
            beginning.handle_packet(packet.timestamp, now);
            return true;
        }
        if !self.new_here || !self.by_trunk || !packet.key_frame_start {
            return false;
        }
        self.new_here = false;
        self.key_frame_wanted = false;
        self.beginning = Some(Beginning::new(Codec::Vp8.clock_rate(), packet.timestamp, now));
        true
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
        match self.phase {
            Phase::Live => {}
            Phase::Idle(reason) => return Err(reason),
            Phase::Awaiting if self.kind == MediaKind::Video && !packet.key_frame_start => {
                self.passed_over = self.passed_over.max(packet.extended_sequence_number);
                return Err(SendDrop::AwaitingKeyFrame);
            }
            Phase::Awaiting => {
                self.begin(packet, has_sps(&packet.payload), None, now);
                // A repaired key frame comes after packets that follow it: those wait in the ring.
                self.behind |= self.passed_over > packet.extended_sequence_number;
            }
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

    fn send_parameter_sets(
        &mut self,
        number: u64,
        source_timestamp: u32,
        output: &mut Vec<u8>,
        seal: &SealContext,
        now: Time,
    ) -> Range<usize> {
        let timestamp = self.timeline.timestamp_of(source_timestamp, now);
        let payload = self.parameter_sets.as_deref().unwrap_or_default();
        let payload_type = self.codec.map_or(0, |codec| codec.payload_type);
        let start = output.len();
        let header_len = self
            .header
            .write_plain(output, false, payload_type, number as u16, timestamp);
        output.extend_from_slice(payload);
        seal.seal_rtp(output, start, header_len, number);
        self.packet_count = self.packet_count.wrapping_add(1);
        self.octet_count = self.octet_count.wrapping_add(payload.len() as u32);
        self.history.record(Entry {
            source_number_low: 0,
            timestamp,
            sequence_number: number as u16,
            sent_ms: milliseconds(now),
            resent_ms: 0,
            generation: self.generation,
            sent: Sent::ParameterSets,
        });
        start..output.len()
    }

    /// Writes and seals a packet under the media ssrc.
    #[expect(
        clippy::too_many_arguments,
        reason = "one packet's values, used once, on the hot path"
    )]
    fn make(
        &mut self,
        packet: &MediaPacket,
        payload_type: u8,
        number: u64,
        timestamp: u32,
        newest: bool,
        output: &mut Vec<u8>,
        seal: &SealContext,
    ) -> Range<usize> {
        let start = output.len();
        let sequence_number = number as u16;
        let room = COMFORTABLE_DATAGRAM - seal.profile().rtp_overhead();
        let mut header_len = 0;
        if self.header.wants(&packet.extensions) {
            header_len = self.header.write_extended(
                output,
                packet.marker,
                payload_type,
                sequence_number,
                timestamp,
                &packet.extensions,
            );
            if header_len + packet.payload.len() > room {
                output.truncate(start);
                header_len = 0;
            }
        }
        if header_len == 0 {
            header_len = self
                .header
                .write_plain(output, packet.marker, payload_type, sequence_number, timestamp);
        }
        self.append_payload(packet, start, header_len, newest, output);
        seal.seal_rtp(output, start, header_len, number);
        start..output.len()
    }

    fn append_payload(
        &mut self,
        packet: &MediaPacket,
        start: usize,
        header_len: usize,
        newest: bool,
        output: &mut Vec<u8>,
    ) {
        if packet.payload.is_empty() {
            // RFC 3550 §5.1: P bit, and one byte that counts itself.
            output[start] |= 0x20;
            output.push(1);
            return;
        }
        let payload_start = start + header_len;
        output.extend_from_slice(&packet.payload);
        if self.codec.is_some_and(|codec| codec.codec == Codec::Vp8) {
            let copied = &mut output[payload_start..];
            if newest {
                self.picture_numbers.rewrite(copied);
            } else {
                vp8::rewrite_with(self.picture_numbers.shift(), copied);
            }
        }
    }

    /// Whether a packet asked for can be sent again; notes that it will be.
    pub(super) fn accept_nack(&mut self, sequence_number: u16, rtt: Duration, now: Time) -> Result<(), SendDrop> {
        if !self.codec.is_some_and(|codec| codec.nack) {
            return Err(SendDrop::NackDisabled);
        }
        let generation = self.generation;
        let entry = self.history.find(sequence_number).ok_or(SendDrop::NackUnknown)?;
        if entry.generation != generation {
            return Err(SendDrop::NackTooOld);
        }
        let now_ms = milliseconds(now);
        if entry.resent_ms != 0 && u128::from(now_ms.wrapping_sub(entry.resent_ms)) < rtt.as_millis() {
            return Err(SendDrop::NackRepeated);
        }
        entry.resent_ms = now_ms.max(1);
        Ok(())
    }

    /// Makes a sent packet again: as RTX when agreed (RFC 4588), else as it was.
    pub(super) fn repair(
        &mut self,
        sequence_number: u16,
        ring: &StreamRing,
        output: &mut Vec<u8>,
        seal: &SealContext,
    ) -> Result<Range<usize>, SendDrop> {
        let entry = *self.history.find(sequence_number).ok_or(SendDrop::NackUnknown)?;
        let codec = self.codec.ok_or(SendDrop::NoCodec)?;
        let source_number = extend(entry.source_number_low, self.cursor);
        let packet = match entry.sent {
            Sent::ParameterSets => None,
            _ => Some(ring.get(source_number).ok_or(SendDrop::NackTooOld)?),
        };
        let start = output.len();
        let Some(rtx_payload_type) = codec.rtx_payload_type else {
            // The same bytes under the same number: sealing them again gives the same packet, so the cipher is not weakened.
            // Another header under that number would weaken it (two AES-GCM tags of one nonce give the hash key away).
            let packet = packet.ok_or(SendDrop::NackTooOld)?;
            let number = self.numbering.number_of(source_number).ok_or(SendDrop::TooOld)?;
            if number < self.header_since {
                return Err(SendDrop::NackTooOld);
            }
            return Ok(self.make(packet, codec.payload_type, number, entry.timestamp, false, output, seal));
        };
        let number = self.next_rtx;
        self.next_rtx += 1;
        let marker = packet.is_some_and(|packet| packet.marker);
        let header_len = self
            .rtx_header
            .write_plain(output, marker, rtx_payload_type, number as u16, entry.timestamp);
        output.extend_from_slice(&sequence_number.to_be_bytes());
        match packet {
            None => output.extend_from_slice(self.parameter_sets.as_deref().unwrap_or_default()),
            Some(packet) if packet.payload.is_empty() => {}
            Some(packet) => self.append_payload(packet, start, header_len + 2, false, output),
        }
        seal.seal_rtp(output, start, header_len, number);
        Ok(start..output.len())
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

/// Stamps a replay so that it lies, as it is sent, on the line that the live frames will take: a player fits a line through when
/// each frame came, and never forgets. With the newest frame at its own place libwebrtc showed the live ones 5 to 60 ms early for
/// half a minute (timestamp_extrapolator.cc, which weighs every frame alike).
fn replay_of<'a>(
    first: u32,
    newest: u32,
    bytes: usize,
    packets: impl Iterator<Item = &'a Arc<MediaPacket>>,
    now: Time,
) -> Replay {
    let rate = i64::from(Codec::Vp8.clock_rate());
    let span = newest.wrapping_sub(first);
    let sending = Pacer::time_for(bytes).as_micros() as i64 * rate / 1_000_000;
    // At least a fiftieth of its span, so that frames stay distinct.
    let ticks = i64::from((sending as u32).max(span / 50).min(span));
    // The frame that came soonest after it was made tells the line: those of a burst were kept somewhere before.
    let age = packets
        .filter(|packet| packet.marker)
        .map(|packet| {
            let passed = (now - packet.received_at).as_micros() as i64 * rate / 1_000_000;
            passed - i64::from(newest.wrapping_sub(packet.timestamp))
        })
        .max()
        .unwrap_or(0);
    let advance = (age + (sending + ticks) / 2).clamp(0, ADVANCE_MAX);
    Replay {
        newest,
        ticks: ticks as u32,
        advance: advance as u32,
    }
}

fn milliseconds(now: Time) -> u16 {
    (now.as_micros() / 1_000) as u16
}

/// The number with these low 32 bits nearest to `reference`.
fn extend(low: u32, reference: u64) -> u64 {
    reference.wrapping_add_signed(i64::from(low.wrapping_sub(reference as u32) as i32))
}
