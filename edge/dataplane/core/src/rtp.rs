//! RTP packets (RFC 3550 §5.1) with header extensions (RFC 8285): read from strangers, written for viewers.

use crate::packet::Ssrc;

/// Bytes of a header without contributing sources and extensions.
pub const FIXED_HEADER_LEN: usize = 12;

/// Profile of the one-byte extension form (RFC 8285 §4.2).
const ONE_BYTE_PROFILE: u16 = 0xBEDE;

/// Profile of the two-byte form; the low four bits are the application's (RFC 8285 §4.3).
const TWO_BYTE_PROFILE: u16 = 0x1000;

/// Whether a datagram is RTP or RTCP by its first byte (RFC 7983 §7).
pub fn is_rtp_or_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(128..=191))
}

/// Whether a datagram that [`is_rtp_or_rtcp`] is RTCP (RFC 5761 §4: packet types 192–223).
pub fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram.get(1), Some(192..=223))
}

/// Why a datagram is not a usable RTP packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RtpError {
    /// Shorter than its own header, extensions or padding.
    Truncated,
    /// The version field is not 2.
    BadVersion,
    /// The padding count is zero or larger than the packet (RFC 3550 §5.1).
    BadPadding,
}

impl RtpError {
    /// Every reason, so that each has a counter from the start.
    pub const ALL: &'static [RtpError] = &[RtpError::Truncated, RtpError::BadVersion, RtpError::BadPadding];

    /// Stable metric label.
    pub const fn name(self) -> &'static str {
        match self {
            RtpError::Truncated => "rtp_truncated",
            RtpError::BadVersion => "rtp_bad_version",
            RtpError::BadPadding => "rtp_bad_padding",
        }
    }
}

/// A parsed header: positions and values, no borrow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RtpHeader {
    /// Marker bit.
    pub marker: bool,
    /// Payload type, 7 bit.
    pub payload_type: u8,
    /// Sequence number as on the wire.
    pub sequence_number: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: Ssrc,
    /// Bytes before the payload: fixed header, contributing sources and extensions.
    pub header_len: usize,
    /// Bytes after the payload, their count byte included; 0 without the P bit.
    pub padding_len: usize,
    /// Profile of the extension block and where its elements start; `None` without the X bit.
    extension: Option<(u16, usize)>,
}

impl RtpHeader {
    /// Reads a decrypted packet.
    pub fn parse(packet: &[u8]) -> Result<RtpHeader, RtpError> {
        let mut header = RtpHeader::parse_encrypted(packet)?;
        if packet[0] & 0x20 != 0 {
            let padding_len = usize::from(packet[packet.len() - 1]);
            if padding_len == 0 || header.header_len + padding_len > packet.len() {
                return Err(RtpError::BadPadding);
            }
            header.padding_len = padding_len;
        }
        Ok(header)
    }

    /// Reads the header of a packet whose payload is still encrypted: the padding count is not readable yet.
    pub fn parse_encrypted(packet: &[u8]) -> Result<RtpHeader, RtpError> {
        let Some(fixed) = packet.first_chunk::<FIXED_HEADER_LEN>() else {
            return Err(RtpError::Truncated);
        };
        if fixed[0] >> 6 != 2 {
            return Err(RtpError::BadVersion);
        }
        let mut header_len = FIXED_HEADER_LEN + 4 * usize::from(fixed[0] & 0x0F);
        let mut extension = None;
        if fixed[0] & 0x10 != 0 {
            let Some(&[p0, p1, l0, l1]) = packet.get(header_len..).and_then(|rest| rest.first_chunk::<4>()) else {
                return Err(RtpError::Truncated);
            };
            extension = Some((u16::from_be_bytes([p0, p1]), header_len + 4));
            header_len += 4 + 4 * usize::from(u16::from_be_bytes([l0, l1]));
        }
        if header_len > packet.len() {
            return Err(RtpError::Truncated);
        }
        Ok(RtpHeader {
            marker: fixed[1] & 0x80 != 0,
            payload_type: fixed[1] & 0x7F,
            sequence_number: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: Ssrc(u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]])),
            header_len,
            padding_len: 0,
            extension,
        })
    }

    /// The payload without padding. `packet` must be the one this header was parsed from.
    pub fn payload<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        packet
            .get(self.header_len..packet.len().saturating_sub(self.padding_len))
            .unwrap_or_default()
    }

    /// The element with this id, in either form. `packet` must be the one this header was parsed from.
    pub fn extension<'a>(&self, packet: &'a [u8], id: u8) -> Option<&'a [u8]> {
        self.extensions(packet)
            .find(|(found, _)| *found == id)
            .map(|(_, value)| value)
    }

    /// All elements as (id, value). A broken element ends the walk; what came before it stays valid.
    pub fn extensions<'a>(&self, packet: &'a [u8]) -> Extensions<'a> {
        let Some((profile, start)) = self.extension else {
            return Extensions {
                rest: &[],
                form: Form::OneByte,
            };
        };
        let form = match profile {
            ONE_BYTE_PROFILE => Form::OneByte,
            _ if profile & 0xFFF0 == TWO_BYTE_PROFILE => Form::TwoByte,
            _ => {
                return Extensions {
                    rest: &[],
                    form: Form::OneByte,
                };
            }
        };
        Extensions {
            rest: packet.get(start..self.header_len).unwrap_or_default(),
            form,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    OneByte,
    TwoByte,
}

/// Walks the elements of an extension block.
#[derive(Clone, Debug)]
pub struct Extensions<'a> {
    rest: &'a [u8],
    form: Form,
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&first, after) = self.rest.split_first()?;
            if first == 0 {
                // RFC 8285 §4.1.2: a zero byte is padding.
                self.rest = after;
                continue;
            }
            let (id, len, after) = match self.form {
                // RFC 8285 §4.2: id 15 is reserved and ends the processing.
                Form::OneByte if first >> 4 == 15 => return None,
                // RFC 8285 §4.2: id 0 with a length is treated as padding of that one byte only.
                Form::OneByte if first >> 4 == 0 => {
                    self.rest = after;
                    continue;
                }
                Form::OneByte => (first >> 4, usize::from(first & 0x0F) + 1, after),
                Form::TwoByte => {
                    let (&len, after) = after.split_first()?;
                    (first, usize::from(len), after)
                }
            };
            let (value, rest) = after.split_at_checked(len)?;
            self.rest = rest;
            return Some((id, value));
        }
    }
}

/// The fixed part of a header to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeaderFields {
    /// Marker bit.
    pub marker: bool,
    /// Payload type, 7 bit.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence_number: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: Ssrc,
}

/// Appends a header with the given extension elements and returns its length.
///
/// The one-byte form is used unless an id is above 14 or a value is empty or above 16 bytes. Elements with id 0 or values above
/// 255 bytes cannot be expressed and are left out.
pub fn write_header(output: &mut Vec<u8>, fields: HeaderFields, extensions: &[(u8, &[u8])]) -> usize {
    let start = output.len();
    let expressible = |(id, value): &&(u8, &[u8])| *id != 0 && value.len() <= 255;
    let any = extensions.iter().any(|element| expressible(&element));
    output.push(if any { 0x90 } else { 0x80 });
    output.push(u8::from(fields.marker) << 7 | (fields.payload_type & 0x7F));
    output.extend_from_slice(&fields.sequence_number.to_be_bytes());
    output.extend_from_slice(&fields.timestamp.to_be_bytes());
    output.extend_from_slice(&fields.ssrc.0.to_be_bytes());
    if !any {
        return output.len() - start;
    }
    let one_byte = extensions
        .iter()
        .filter(expressible)
        .all(|(id, value)| *id <= 14 && (1..=16).contains(&value.len()));
    let profile = if one_byte { ONE_BYTE_PROFILE } else { TWO_BYTE_PROFILE };
    output.extend_from_slice(&profile.to_be_bytes());
    output.extend_from_slice(&[0, 0]);
    let elements = output.len();
    for (id, value) in extensions.iter().filter(expressible) {
        let len = value.len() as u8;
        if one_byte {
            output.push(id << 4 | (len - 1));
        } else {
            output.extend_from_slice(&[*id, len]);
        }
        output.extend_from_slice(value);
    }
    while !(output.len() - elements).is_multiple_of(4) {
        output.push(0);
    }
    let words = ((output.len() - elements) / 4) as u16;
    output[elements - 2..elements].copy_from_slice(&words.to_be_bytes());
    output.len() - start
}

/// Extends a 16-bit sequence number to the 64-bit one nearest to `reference` (RFC 3711 §3.3.1, RFC 3550 A.1).
///
/// Returns `None` where that would lie before the very first number.
pub fn extend_sequence_number(sequence_number: u16, reference: u64) -> Option<u64> {
    let distance = sequence_number.wrapping_sub(reference as u16) as i16;
    reference.checked_add_signed(i64::from(distance))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields() -> HeaderFields {
        HeaderFields {
            marker: true,
            payload_type: 96,
            sequence_number: 0xFFFE,
            timestamp: 0xDEAD_BEEF,
            ssrc: Ssrc(0xCAFE_BABE),
        }
    }

    #[test]
    fn a_written_header_reads_back_the_same() {
        for elements in [
            &[][..],
            &[(1, &b"0"[..]), (3, &[1, 2, 3])],
            &[(15, &b"mid"[..]), (200, &[7; 40])],
            &[(2, &b""[..])],
        ] {
            let mut packet = vec![0xAA; 3];
            let header_len = write_header(&mut packet, fields(), elements);
            packet.extend_from_slice(b"payload");
            let packet = &packet[3..];
            let header = RtpHeader::parse(packet).unwrap();
            assert_eq!(header.header_len, header_len);
            assert_eq!(header_len % 4, 0);
            assert!(header.marker);
            assert_eq!((header.payload_type, header.sequence_number), (96, 0xFFFE));
            assert_eq!((header.timestamp, header.ssrc), (0xDEAD_BEEF, Ssrc(0xCAFE_BABE)));
            assert_eq!(header.payload(packet), b"payload");
            assert_eq!(header.extensions(packet).collect::<Vec<_>>(), elements);
            for (id, value) in elements {
                assert_eq!(header.extension(packet, *id), Some(*value));
            }
        }
    }

    #[test]
    fn padding_is_stripped_and_a_lying_count_is_refused() {
        let mut packet = Vec::new();
        write_header(&mut packet, fields(), &[]);
        packet[0] |= 0x20;
        packet.extend_from_slice(&[9, 9, 0, 0, 3]);
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!(header.payload(&packet), [9, 9]);
        for lie in [0, 6, 255] {
            *packet.last_mut().unwrap() = lie;
            assert_eq!(RtpHeader::parse(&packet), Err(RtpError::BadPadding));
        }
    }

    #[test]
    fn a_reserved_id_ends_the_walk() {
        let mut packet = Vec::new();
        write_header(&mut packet, fields(), &[(1, b"a"), (2, b"b"), (3, b"c")]);
        packet[18] = 0xF0;
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!(header.extensions(&packet).collect::<Vec<_>>(), [(1, &b"a"[..])]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(mut packet in proptest::collection::vec(any::<u8>(), 0..80), rtp: bool) {
            if let (true, Some(first)) = (rtp, packet.first_mut()) {
                *first = 0x80 | (*first & 0x3F);
            }
            if let Ok(header) = RtpHeader::parse(&packet) {
                let _ = header.payload(&packet);
                prop_assert!(header.extensions(&packet).count() <= packet.len());
            }
            let _ = RtpHeader::parse_encrypted(&packet);
        }

        #[test]
        fn an_extended_number_is_the_nearest_with_these_low_bits(reference in 0u64..1 << 50, sequence_number: u16) {
            match extend_sequence_number(sequence_number, reference) {
                Some(extended) => {
                    prop_assert_eq!(extended as u16, sequence_number);
                    prop_assert!(extended.abs_diff(reference) <= 0x8000);
                }
                None => prop_assert!(reference < 0x8000 && u64::from(sequence_number) > reference),
            }
        }
    }
}
