//! How a packet for a viewer is made, the first time and again.

use super::super::SendDrop;
use super::super::history::{Entry, Sent};
use super::{TrackSender, milliseconds};
use crate::codec::vp8;
use crate::packet::MediaPacket;
use crate::ring::StreamRing;
use crate::source::Codec;
use crate::srtp::SealContext;
use crate::time::Time;
use std::ops::Range;
use std::time::Duration;

/// Above this, per-packet extensions are left out: 1,280 bytes with IPv6 and UDP headers pass every tunnel.
const COMFORTABLE_DATAGRAM: usize = 1_280 - 48;

impl TrackSender {
    pub(super) fn send_parameter_sets(
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
    pub(super) fn make(
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

    pub(super) fn append_payload(
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
    pub(in crate::send) fn accept_nack(
        &mut self,
        sequence_number: u16,
        rtt: Duration,
        now: Time,
    ) -> Result<(), SendDrop> {
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
    pub(in crate::send) fn repair(
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
}

/// The number with these low 32 bits nearest to `reference`.
fn extend(low: u32, reference: u64) -> u64 {
    reference.wrapping_add_signed(i64::from(low.wrapping_sub(reference as u32) as i32))
}
