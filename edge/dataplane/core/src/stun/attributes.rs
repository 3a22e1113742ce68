//! Walking the attributes of a message whose header has been checked.

use crate::stun::{HEADER_LEN, StunError};

/// Attribute types (RFC 8489 §18.3, RFC 8445 §16.1).
pub mod kind {
    /// Obsolete plain form of XOR-MAPPED-ADDRESS.
    pub const MAPPED_ADDRESS: u16 = 0x0001;
    /// `receiver:sender`.
    pub const USERNAME: u16 = 0x0006;
    /// HMAC-SHA1 over what precedes it.
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    /// Class and number of an error response.
    pub const ERROR_CODE: u16 = 0x0009;
    /// Which attributes a 420 is about.
    pub const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
    /// Long-term credentials only.
    pub const REALM: u16 = 0x0014;
    /// Long-term credentials only.
    pub const NONCE: u16 = 0x0015;
    /// HMAC-SHA256; ICE negotiates no such thing.
    pub const MESSAGE_INTEGRITY_SHA256: u16 = 0x001C;
    /// Long-term credentials only.
    pub const PASSWORD_ALGORITHM: u16 = 0x001D;
    /// Long-term credentials only.
    pub const USERHASH: u16 = 0x001E;
    /// Where the request came from.
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    /// Priority of a peer-reflexive candidate.
    pub const PRIORITY: u16 = 0x0024;
    /// Nomination.
    pub const USE_CANDIDATE: u16 = 0x0025;
    /// CRC-32, last.
    pub const FINGERPRINT: u16 = 0x8028;
    /// Sender is controlled.
    pub const ICE_CONTROLLED: u16 = 0x8029;
    /// Sender is controlling.
    pub const ICE_CONTROLLING: u16 = 0x802A;
}

/// One attribute of a message.
pub struct Attribute<'a> {
    /// Attribute type.
    pub kind: u16,
    /// Where its header begins in the datagram.
    pub offset: usize,
    /// Value without padding.
    pub value: &'a [u8],
}

/// Iterates over attributes; ends after the first malformed one.
pub struct Attributes<'a> {
    datagram: &'a [u8],
    offset: usize,
}

impl<'a> Attributes<'a> {
    /// Attributes of a datagram; the header is skipped unseen.
    pub fn new(datagram: &'a [u8]) -> Self {
        Attributes {
            datagram,
            offset: HEADER_LEN,
        }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, StunError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.datagram.get(self.offset..).filter(|rest| !rest.is_empty())?;
        let offset = self.offset;
        // RFC 8489 §14: padded to four bytes; the length does not count padding.
        let parsed = rest
            .split_first_chunk::<4>()
            .and_then(|(&[kind_high, kind_low, high, low], tail)| {
                let length = usize::from(u16::from_be_bytes([high, low]));
                let value = tail.get(..length)?;
                let next = offset + 4 + length.next_multiple_of(4);
                Some((
                    Attribute {
                        kind: u16::from_be_bytes([kind_high, kind_low]),
                        offset,
                        value,
                    },
                    next,
                ))
            });
        let Some((attribute, next)) = parsed.filter(|(_, next)| *next <= self.datagram.len()) else {
            self.offset = self.datagram.len();
            return Some(Err(StunError::BadLength));
        };
        self.offset = next;
        Some(Ok(attribute))
    }
}
