//! A media packet as RTP on a trunk: the publisher's own header, our header extension ids, no padding, no CSRCs.
//!
//! The extensions are the one-byte form (RFC 8285 §4.2) with fixed ids, so a neighbour negotiates nothing.

use crate::mesh::varint::{Malformed, Reader};
use crate::packet::{MediaExtensions, MediaPacket, Ssrc};
use crate::time::Time;
use bytes::Bytes;

/// Transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01): the hop's trunk packet number.
pub const EXTENSION_TRUNK_NUMBER: u8 = 1;
/// abs-capture-time: 8 bytes of NTP time, or 16 with the clock offset.
pub const EXTENSION_ABS_CAPTURE_TIME: u8 = 2;
/// ssrc-audio-level (RFC 6464).
pub const EXTENSION_AUDIO_LEVEL: u8 = 3;
/// 3GPP video orientation (TS 26.114 §7.4.5).
pub const EXTENSION_VIDEO_ORIENTATION: u8 = 4;
/// Our own: bit 0 says that decoding can start at this packet.
pub const EXTENSION_FLAGS: u8 = 5;

const FIXED_HEADER_BYTES: usize = 12;
const ONE_BYTE_PROFILE: u16 = 0xbede;
const FLAG_KEY_FRAME_START: u8 = 1;

/// What an RTP packet from a trunk holds, before its sequence number is extended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrunkRtp {
    /// The hop's packet number, truncated to 16 bit.
    pub trunk_number: u16,
    /// The publisher's sequence number.
    pub sequence_number: u16,
    /// The publisher's timestamp.
    pub timestamp: u32,
    /// The publisher's ssrc.
    pub ssrc: Ssrc,
    /// The publisher's marker bit.
    pub marker: bool,
    /// The publisher's payload type.
    pub payload_type: u8,
    /// Whether decoding can start here.
    pub key_frame_start: bool,
    /// Extensions by meaning.
    pub extensions: MediaExtensions,
    /// Where the payload begins.
    pub payload_offset: usize,
}

impl TrunkRtp {
    /// Parses the packet behind the flow id.
    pub fn parse(packet: &[u8]) -> Result<TrunkRtp, Malformed> {
        let mut reader = Reader::new(packet);
        let first = reader.u8()?;
        // RFC 3550 §5.1: version 2. We never send padding or CSRCs, and take none.
        if first & 0xef != 0x80 {
            return Err(Malformed);
        }
        let second = reader.u8()?;
        let mut parsed = TrunkRtp {
            trunk_number: 0,
            sequence_number: reader.u16()?,
            timestamp: reader.u32()?,
            ssrc: Ssrc(reader.u32()?),
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            key_frame_start: false,
            extensions: MediaExtensions::default(),
            payload_offset: FIXED_HEADER_BYTES,
        };
        // The trunk packet number is in every packet, so the extension bit must be set.
        if first & 0x10 == 0 || reader.u16()? != ONE_BYTE_PROFILE {
            return Err(Malformed);
        }
        let words = usize::from(reader.u16()?);
        let mut block = Reader::new(reader.take(words * 4)?);
        parsed.payload_offset += 4 + words * 4;
        let mut numbered = false;
        while !block.is_empty() {
            let head = block.u8()?;
            if head == 0 {
                continue; // padding between elements (RFC 8285 §4.2)
            }
            let value = block.take(usize::from(head & 15) + 1)?;
            numbered |= head >> 4 == EXTENSION_TRUNK_NUMBER;
            parsed.take_extension(head >> 4, value)?;
        }
        if numbered { Ok(parsed) } else { Err(Malformed) }
    }

    /// The packet with its sequence number extended; `packet` is the buffer that was parsed, shared and not copied.
    pub fn into_media(self, packet: &Bytes, extended_sequence_number: u64, received_at: Time) -> MediaPacket {
        MediaPacket {
            received_at,
            ssrc: self.ssrc,
            extended_sequence_number,
            timestamp: self.timestamp,
            marker: self.marker,
            payload_type: self.payload_type,
            key_frame_start: self.key_frame_start,
            extensions: self.extensions,
            payload: packet.slice(self.payload_offset..),
        }
    }

    fn take_extension(&mut self, id: u8, value: &[u8]) -> Result<(), Malformed> {
        let mut reader = Reader::new(value);
        match id {
            EXTENSION_TRUNK_NUMBER => self.trunk_number = reader.u16()?,
            EXTENSION_ABS_CAPTURE_TIME => {
                let ntp = reader.u64()?;
                let offset = if reader.is_empty() {
                    None
                } else {
                    Some(reader.u64()?.cast_signed())
                };
                self.extensions.abs_capture_time = Some((ntp, offset));
            }
            EXTENSION_AUDIO_LEVEL => self.extensions.audio_level = Some(reader.u8()?),
            EXTENSION_VIDEO_ORIENTATION => self.extensions.video_orientation = Some(reader.u8()?),
            EXTENSION_FLAGS => self.key_frame_start = reader.u8()? & FLAG_KEY_FRAME_START != 0,
            _ => {} // a newer neighbour's
        }
        Ok(())
    }
}

/// Appends the packet as RTP.
pub fn encode_rtp(out: &mut Vec<u8>, packet: &MediaPacket, trunk_number: u16) {
    out.push(0x90); // version 2, extension
    out.push(u8::from(packet.marker) << 7 | packet.payload_type & 0x7f);
    out.extend_from_slice(&(packet.extended_sequence_number as u16).to_be_bytes());
    out.extend_from_slice(&packet.timestamp.to_be_bytes());
    out.extend_from_slice(&packet.ssrc.0.to_be_bytes());
    out.extend_from_slice(&ONE_BYTE_PROFILE.to_be_bytes());
    let words_at = out.len();
    out.extend_from_slice(&[0, 0]);
    let block_at = out.len();
    put_extension(out, EXTENSION_TRUNK_NUMBER, &trunk_number.to_be_bytes());
    if let Some((ntp, offset)) = packet.extensions.abs_capture_time {
        let mut value = [0u8; 16];
        value[..8].copy_from_slice(&ntp.to_be_bytes());
        value[8..].copy_from_slice(&offset.unwrap_or(0).to_be_bytes());
        put_extension(
            out,
            EXTENSION_ABS_CAPTURE_TIME,
            if offset.is_some() { &value } else { &value[..8] },
        );
    }
    if let Some(level) = packet.extensions.audio_level {
        put_extension(out, EXTENSION_AUDIO_LEVEL, &[level]);
    }
    if let Some(orientation) = packet.extensions.video_orientation {
        put_extension(out, EXTENSION_VIDEO_ORIENTATION, &[orientation]);
    }
    if packet.key_frame_start {
        put_extension(out, EXTENSION_FLAGS, &[FLAG_KEY_FRAME_START]);
    }
    while !(out.len() - block_at).is_multiple_of(4) {
        out.push(0);
    }
    let words = ((out.len() - block_at) / 4) as u16;
    out[words_at..block_at].copy_from_slice(&words.to_be_bytes());
    out.extend_from_slice(&packet.payload);
}

fn put_extension(out: &mut Vec<u8>, id: u8, value: &[u8]) {
    out.push(id << 4 | (value.len() as u8 - 1));
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(extensions: MediaExtensions, key_frame_start: bool) -> MediaPacket {
        MediaPacket {
            received_at: Time::from_millis(4),
            ssrc: Ssrc(0x1234_5678),
            extended_sequence_number: 3 << 16 | 0xfffe,
            timestamp: 90_000,
            marker: true,
            payload_type: 102,
            key_frame_start,
            extensions,
            payload: Bytes::from_static(b"payload"),
        }
    }

    #[test]
    fn a_packet_keeps_everything_the_publisher_said() {
        for offset in [None, Some(-5)] {
            let extensions = MediaExtensions {
                abs_capture_time: Some((77, offset)),
                audio_level: Some(0x8a),
                video_orientation: Some(1),
            };
            let sent = packet(extensions, true);
            let mut bytes = Vec::new();
            encode_rtp(&mut bytes, &sent, 65_530);
            let parsed = TrunkRtp::parse(&bytes).expect("our own packet");
            assert_eq!((parsed.trunk_number, parsed.sequence_number), (65_530, 0xfffe));
            let received = parsed.into_media(&Bytes::from(bytes), 3 << 16 | 0xfffe, Time::from_millis(4));
            assert_eq!(received, sent);
        }
    }

    #[test]
    fn a_packet_without_a_trunk_number_is_malformed() {
        let mut bytes = Vec::new();
        encode_rtp(&mut bytes, &packet(MediaExtensions::default(), false), 1);
        bytes[16] = 0x71;
        assert_eq!(TrunkRtp::parse(&bytes), Err(Malformed));
    }

    #[test]
    fn a_packet_of_1200_bytes_grows_by_no_more_than_a_trunk_datagram_allows() {
        // quinn offers 1,280 - 1 - 8 (connection id) - 4 (packet number) - 16 (tag) - 3 (frame) = 1,248 bytes.
        let extensions = MediaExtensions {
            abs_capture_time: Some((1, Some(1))),
            audio_level: None,
            video_orientation: Some(1),
        };
        let mut sent = packet(extensions, true);
        sent.payload = Bytes::from(vec![0; 1_200 - 12]);
        let mut bytes = Vec::new();
        encode_rtp(&mut bytes, &sent, 1);
        assert!(4 + bytes.len() <= 1_248, "{}", bytes.len());
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(parsed) = TrunkRtp::parse(&bytes) {
                prop_assert!(parsed.payload_offset <= bytes.len());
            }
        }
    }
}
