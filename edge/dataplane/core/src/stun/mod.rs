//! STUN (RFC 8489) as ICE uses it: Binding requests in, Binding responses out.
//!
//! `parse` checks structure and FINGERPRINT and allocates nothing; MESSAGE-INTEGRITY is checked by
//! [`Message::has_valid_integrity`] once the session, and with it the password, is known. What ICE makes of a message
//! lives in `crate::ice`; TCP framing, long-term credentials and redirection never do.

mod attributes;
mod write;

#[cfg(test)]
mod tests;

use crate::stun::attributes::{Attributes, kind};
use ring::hmac;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub use write::{MessageWriter, binding_error, binding_success};

/// RFC 8489 §5: fixed value that tells STUN from what it is multiplexed with.
pub const MAGIC_COOKIE: u32 = 0x2112_A442;

/// RFC 8489 §5: type, length, cookie, transaction id.
pub const HEADER_LEN: usize = 20;

/// RFC 8489 §6.1 keeps requests below the path MTU; a datagram above this is no ICE check.
pub const MESSAGE_MAX_BYTES: usize = 1_500;

/// RFC 8489 §5: the identifier that ties a response to its request.
pub type TransactionId = [u8; 12];

/// Message class (RFC 8489 §5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    /// Expects a response.
    Request,
    /// Expects none.
    Indication,
    /// A positive answer.
    Success,
    /// A negative answer.
    Error,
}

/// The method of every ICE message (RFC 8489 §18.2).
pub const METHOD_BINDING: u16 = 0x001;

/// Why bytes are not a STUN message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StunError {
    /// Shorter than the header, or than the length it states.
    Truncated,
    /// Longer than [`MESSAGE_MAX_BYTES`], or than the length it states.
    TooLong,
    /// The first two bits are not zero or the cookie is not there.
    NotStun,
    /// The stated length is not a multiple of four, or an attribute leaves the message.
    BadLength,
    /// A known attribute has a value it cannot have.
    BadAttribute,
    /// FINGERPRINT does not match the bytes before it, or something follows it.
    BadFingerprint,
}

/// A parsed message; borrows the datagram.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// Request, indication or response.
    pub class: Class,
    /// 0x001 for Binding.
    pub method: u16,
    /// Ties a response to its request.
    pub transaction_id: TransactionId,
    /// USERNAME, `receiver's ufrag:sender's ufrag` in a check (RFC 8445 §7.2.2).
    pub username: Option<&'a str>,
    /// PRIORITY (RFC 8445 §7.1.1).
    pub priority: Option<u32>,
    /// USE-CANDIDATE: the controlling agent nominates this pair.
    pub use_candidate: bool,
    /// ICE-CONTROLLING with its tie-breaker.
    pub controlling: Option<u64>,
    /// ICE-CONTROLLED with its tie-breaker.
    pub controlled: Option<u64>,
    /// XOR-MAPPED-ADDRESS of a success response.
    pub mapped_address: Option<SocketAddr>,
    /// ERROR-CODE of an error response.
    pub error_code: Option<u16>,
    /// FINGERPRINT was there; a wrong one is an error of `parse`.
    pub has_fingerprint: bool,
    /// First attribute below 0x8000 that nobody here understands (RFC 8489 §6.3: answer 420).
    pub unknown_required: Option<u16>,
    integrity_at: Option<usize>,
}

/// Parses one datagram: structure, then FINGERPRINT. MESSAGE-INTEGRITY is left to the caller, who has the key.
pub fn parse(datagram: &[u8]) -> Result<Message<'_>, StunError> {
    let (message_type, transaction_id) = parse_header(datagram)?;
    let mut message = Message {
        bytes: datagram,
        class: class_of(message_type),
        method: method_of(message_type),
        transaction_id,
        username: None,
        priority: None,
        use_candidate: false,
        controlling: None,
        controlled: None,
        mapped_address: None,
        error_code: None,
        has_fingerprint: false,
        unknown_required: None,
        integrity_at: None,
    };
    for attribute in Attributes::new(datagram) {
        let attribute = attribute?;
        if message.has_fingerprint {
            // RFC 8489 §14.7: FINGERPRINT is the last attribute.
            return Err(StunError::BadFingerprint);
        }
        if attribute.kind == kind::FINGERPRINT {
            check_fingerprint(datagram, attribute.offset, attribute.value)?;
            message.has_fingerprint = true;
        } else if message.integrity_at.is_none() {
            message.take(attribute.kind, attribute.offset, attribute.value)?;
        }
        // RFC 8489 §14.5: what follows MESSAGE-INTEGRITY, other than FINGERPRINT, is not protected and is ignored.
    }
    Ok(message)
}

/// Whether a datagram should be given to `parse`, judged by its first bytes (RFC 7983 §7).
pub fn is_stun(datagram: &[u8]) -> bool {
    datagram.len() >= HEADER_LEN && datagram[0] < 4 && datagram[4..8] == MAGIC_COOKIE.to_be_bytes()
}

impl<'a> Message<'a> {
    /// Whether MESSAGE-INTEGRITY is there and right under a short-term password (RFC 8489 §9.1).
    pub fn has_valid_integrity(&self, key: &hmac::Key) -> bool {
        let Some(at) = self.integrity_at else {
            return false;
        };
        let (Some(protected), Some(tag)) = (self.bytes.get(..at), self.bytes.get(at + 4..at + 24)) else {
            return false;
        };
        // RFC 8489 §14.5: the length in the header counts up to and including this attribute.
        let mut copy = [0_u8; MESSAGE_MAX_BYTES];
        let Some(copy) = copy.get_mut(..at) else {
            return false;
        };
        copy.copy_from_slice(protected);
        let stated = u16::try_from(at + 24 - HEADER_LEN).unwrap_or(u16::MAX);
        copy[2..4].copy_from_slice(&stated.to_be_bytes());
        hmac::verify(key, copy, tag).is_ok()
    }

    /// Whether MESSAGE-INTEGRITY is present at all.
    pub fn has_integrity(&self) -> bool {
        self.integrity_at.is_some()
    }

    /// The part of USERNAME before the colon: the ufrag of whom the check is for (RFC 8445 §7.2.2).
    pub fn receiver_ufrag(&self) -> Option<&'a str> {
        self.username?.split_once(':').map(|(receiver, _)| receiver)
    }

    fn take(&mut self, attribute: u16, offset: usize, value: &'a [u8]) -> Result<(), StunError> {
        match attribute {
            kind::USERNAME => {
                // RFC 8489 §14.3: less than 509 bytes of UTF-8.
                let text = std::str::from_utf8(value).map_err(|_| StunError::BadAttribute)?;
                if value.len() >= 509 {
                    return Err(StunError::BadAttribute);
                }
                // The first of duplicates counts (RFC 8489 §5).
                self.username.get_or_insert(text);
            }
            kind::MESSAGE_INTEGRITY if value.len() == 20 => self.integrity_at = Some(offset),
            kind::PRIORITY => self.priority = Some(u32::from_be_bytes(exact(value)?)),
            kind::USE_CANDIDATE => self.use_candidate = true,
            kind::ICE_CONTROLLING => self.controlling = Some(u64::from_be_bytes(exact(value)?)),
            kind::ICE_CONTROLLED => self.controlled = Some(u64::from_be_bytes(exact(value)?)),
            kind::XOR_MAPPED_ADDRESS => self.mapped_address = Some(unxor_address(value, &self.transaction_id)?),
            kind::ERROR_CODE => {
                let [_, _, class, number, ..] = value else {
                    return Err(StunError::BadAttribute);
                };
                self.error_code = Some(u16::from(class & 7) * 100 + u16::from(*number));
            }
            kind::MESSAGE_INTEGRITY => return Err(StunError::BadAttribute),
            kind::MAPPED_ADDRESS
            | kind::UNKNOWN_ATTRIBUTES
            | kind::REALM
            | kind::NONCE
            | kind::MESSAGE_INTEGRITY_SHA256
            | kind::PASSWORD_ALGORITHM
            | kind::USERHASH => {}
            unknown if unknown < 0x8000 => {
                self.unknown_required.get_or_insert(unknown);
            }
            _ => {}
        }
        Ok(())
    }
}

/// The key for MESSAGE-INTEGRITY under short-term credentials: the password itself (RFC 8489 §9.1.1).
pub fn integrity_key(password: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes())
}

fn parse_header(datagram: &[u8]) -> Result<(u16, TransactionId), StunError> {
    let Some((header, body)) = datagram.split_first_chunk::<HEADER_LEN>() else {
        return Err(StunError::Truncated);
    };
    if datagram.len() > MESSAGE_MAX_BYTES {
        return Err(StunError::TooLong);
    }
    if !is_stun(datagram) {
        return Err(StunError::NotStun);
    }
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if length % 4 != 0 {
        return Err(StunError::BadLength);
    }
    match body.len() {
        actual if actual < length => Err(StunError::Truncated),
        actual if actual > length => Err(StunError::TooLong),
        _ => {
            let mut transaction_id = [0; 12];
            transaction_id.copy_from_slice(&header[8..20]);
            Ok((u16::from_be_bytes([header[0], header[1]]), transaction_id))
        }
    }
}

// RFC 8489 §5, figure 3: M11..M7 C1 M6..M4 C0 M3..M0.
fn class_of(message_type: u16) -> Class {
    match (message_type & 0x100 != 0, message_type & 0x010 != 0) {
        (false, false) => Class::Request,
        (false, true) => Class::Indication,
        (true, false) => Class::Success,
        (true, true) => Class::Error,
    }
}

fn method_of(message_type: u16) -> u16 {
    (message_type & 0x000f) | ((message_type & 0x00e0) >> 1) | ((message_type & 0x3e00) >> 2)
}

fn check_fingerprint(datagram: &[u8], offset: usize, value: &[u8]) -> Result<(), StunError> {
    let stated = u32::from_be_bytes(exact(value).map_err(|_| StunError::BadFingerprint)?);
    let covered = datagram.get(..offset).ok_or(StunError::BadFingerprint)?;
    // The header's length already counts FINGERPRINT, because it is last (RFC 8489 §14.7).
    if stated == fingerprint(covered) {
        Ok(())
    } else {
        Err(StunError::BadFingerprint)
    }
}

/// RFC 8489 §14.7: CRC-32 of what precedes the attribute, XORed so that it differs from other CRC-32s in the packet.
fn fingerprint(covered: &[u8]) -> u32 {
    crc32(covered) ^ 0x5354_554E
}

/// CRC-32 of ITU-T V.42, table driven.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (crc >> 8) ^ CRC_TABLE[usize::from((crc as u8) ^ byte)]
    })
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0_u32; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xEDB8_8320
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

fn exact<const N: usize>(value: &[u8]) -> Result<[u8; N], StunError> {
    value.try_into().map_err(|_| StunError::BadAttribute)
}

/// The pad of RFC 8489 §14.2: cookie followed by transaction id.
fn xor_pad(transaction_id: &TransactionId) -> [u8; 16] {
    let mut pad = [0; 16];
    pad[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    pad[4..].copy_from_slice(transaction_id);
    pad
}

fn unxor_address(value: &[u8], transaction_id: &TransactionId) -> Result<SocketAddr, StunError> {
    let Some((&[_, family, port_high, port_low], address)) = value.split_first_chunk::<4>() else {
        return Err(StunError::BadAttribute);
    };
    let pad = xor_pad(transaction_id);
    let port = u16::from_be_bytes([port_high ^ pad[0], port_low ^ pad[1]]);
    let ip = match family {
        1 => {
            let mut octets: [u8; 4] = exact(address)?;
            octets.iter_mut().zip(pad).for_each(|(octet, pad)| *octet ^= pad);
            IpAddr::V4(Ipv4Addr::from(octets))
        }
        2 => {
            let mut octets: [u8; 16] = exact(address)?;
            octets.iter_mut().zip(pad).for_each(|(octet, pad)| *octet ^= pad);
            IpAddr::V6(Ipv6Addr::from(octets))
        }
        _ => return Err(StunError::BadAttribute),
    };
    Ok(SocketAddr::new(ip, port))
}
