//! Writing messages: responses for the edge, requests for test peers and the load generator.

use crate::stun::attributes::kind;
use crate::stun::{Class, HEADER_LEN, MAGIC_COOKIE, METHOD_BINDING, TransactionId, fingerprint, xor_pad};
use ring::hmac;
use std::net::{IpAddr, SocketAddr};

/// Builds one message, attribute by attribute; `finish` adds MESSAGE-INTEGRITY and FINGERPRINT.
#[derive(Debug)]
pub struct MessageWriter {
    bytes: Vec<u8>,
    transaction_id: TransactionId,
}

impl MessageWriter {
    /// An empty Binding message.
    pub fn binding(class: Class, transaction_id: TransactionId) -> Self {
        let class_bits = match class {
            Class::Request => 0x000,
            Class::Indication => 0x010,
            Class::Success => 0x100,
            Class::Error => 0x110,
        };
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&(METHOD_BINDING | class_bits).to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
        bytes.extend_from_slice(&transaction_id);
        MessageWriter { bytes, transaction_id }
    }

    /// USERNAME.
    pub fn username(self, username: &str) -> Self {
        self.attribute(kind::USERNAME, username.as_bytes())
    }

    /// PRIORITY.
    pub fn priority(self, priority: u32) -> Self {
        self.attribute(kind::PRIORITY, &priority.to_be_bytes())
    }

    /// USE-CANDIDATE.
    pub fn use_candidate(self) -> Self {
        self.attribute(kind::USE_CANDIDATE, &[])
    }

    /// ICE-CONTROLLING.
    pub fn controlling(self, tie_breaker: u64) -> Self {
        self.attribute(kind::ICE_CONTROLLING, &tie_breaker.to_be_bytes())
    }

    /// ICE-CONTROLLED.
    pub fn controlled(self, tie_breaker: u64) -> Self {
        self.attribute(kind::ICE_CONTROLLED, &tie_breaker.to_be_bytes())
    }

    /// XOR-MAPPED-ADDRESS (RFC 8489 §14.2).
    pub fn mapped_address(self, address: SocketAddr) -> Self {
        let pad = xor_pad(&self.transaction_id);
        let mut value = [0_u8; 20];
        let [port_high, port_low] = address.port().to_be_bytes();
        value[2] = port_high ^ pad[0];
        value[3] = port_low ^ pad[1];
        let length = match address.ip() {
            IpAddr::V4(ip) => {
                value[1] = 1;
                value[4..8].copy_from_slice(&ip.octets());
                8
            }
            IpAddr::V6(ip) => {
                value[1] = 2;
                value[4..20].copy_from_slice(&ip.octets());
                20
            }
        };
        value[4..length]
            .iter_mut()
            .zip(pad)
            .for_each(|(octet, pad)| *octet ^= pad);
        self.attribute(kind::XOR_MAPPED_ADDRESS, &value[..length])
    }

    /// ERROR-CODE with its reason phrase (RFC 8489 §14.8).
    pub fn error_code(self, code: u16, phrase: &str) -> Self {
        let mut value = vec![0, 0, (code / 100) as u8 & 7, (code % 100) as u8];
        value.extend_from_slice(phrase.as_bytes());
        self.attribute(kind::ERROR_CODE, &value)
    }

    /// UNKNOWN-ATTRIBUTES (RFC 8489 §14.9).
    pub fn unknown_attributes(self, attributes: &[u16]) -> Self {
        let value: Vec<u8> = attributes
            .iter()
            .flat_map(|attribute| attribute.to_be_bytes())
            .collect();
        self.attribute(kind::UNKNOWN_ATTRIBUTES, &value)
    }

    /// Any attribute, for tests that send what the edge must survive.
    pub fn attribute(mut self, attribute: u16, value: &[u8]) -> Self {
        self.push(attribute, value);
        self
    }

    /// Adds MESSAGE-INTEGRITY when there is a key, then FINGERPRINT.
    pub fn finish(mut self, key: Option<&hmac::Key>) -> Vec<u8> {
        if let Some(key) = key {
            // RFC 8489 §14.5: the length counts the attribute before it is computed.
            self.set_length(self.bytes.len() + 24);
            let tag = hmac::sign(key, &self.bytes);
            self.push(kind::MESSAGE_INTEGRITY, tag.as_ref());
        }
        self.set_length(self.bytes.len() + 8);
        let value = fingerprint(&self.bytes);
        self.push(kind::FINGERPRINT, &value.to_be_bytes());
        self.bytes
    }

    /// The message without MESSAGE-INTEGRITY and FINGERPRINT, for tests.
    pub fn finish_bare(self) -> Vec<u8> {
        self.bytes
    }

    fn push(&mut self, attribute: u16, value: &[u8]) {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&attribute.to_be_bytes());
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(&value[..usize::from(length)]);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.set_length(self.bytes.len());
    }

    fn set_length(&mut self, total: usize) {
        let length = u16::try_from(total - HEADER_LEN).unwrap_or(u16::MAX);
        self.bytes[2..4].copy_from_slice(&length.to_be_bytes());
    }
}

/// The answer to a valid check: the source address as seen, integrity-protected (RFC 8445 §7.3).
pub fn binding_success(transaction_id: TransactionId, source: SocketAddr, key: &hmac::Key) -> Vec<u8> {
    MessageWriter::binding(Class::Success, transaction_id)
        .mapped_address(source)
        .finish(Some(key))
}

/// A refusal of an authenticated request (RFC 8489 §6.3.1).
pub fn binding_error(
    transaction_id: TransactionId,
    code: u16,
    phrase: &str,
    unknown: &[u16],
    key: &hmac::Key,
) -> Vec<u8> {
    let writer = MessageWriter::binding(Class::Error, transaction_id).error_code(code, phrase);
    let writer = if unknown.is_empty() {
        writer
    } else {
        writer.unknown_attributes(unknown)
    };
    writer.finish(Some(key))
}
