//! A look at DTLS records before OpenSSL sees them: what cannot be a record must not end a handshake.

/// RFC 6347 §4.1: content type, version, epoch, sequence number, length.
pub const HEADER_LEN: usize = 13;
/// RFC 6347 §4.2.2: type, length, message sequence, fragment offset, fragment length.
const HANDSHAKE_HEADER_LEN: usize = 12;
/// No handshake message of a browser comes near: certificates are a few kilobytes.
const HANDSHAKE_MESSAGE_MAX: usize = 32 * 1_024;
/// RFC 6347 §4.1: content types.
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
/// RFC 5246 §7.4.
const CLIENT_HELLO: u8 = 1;

/// Whether every record of the datagram is well-formed as far as it is not encrypted.
pub fn is_plausible(datagram: &[u8]) -> bool {
    let mut rest = datagram;
    while !rest.is_empty() {
        let Some((header, after)) = rest.split_at_checked(HEADER_LEN) else {
            return false;
        };
        // RFC 6347 §4.1: {254, 255} is DTLS 1.0 (and every first ClientHello), {254, 253} is 1.2.
        if header[1] != 254 || !matches!(header[2], 253 | 255) {
            return false;
        }
        let len = usize::from(u16::from_be_bytes([header[11], header[12]]));
        let Some((body, next)) = after.split_at_checked(len) else {
            return false;
        };
        let encrypted = header[3..5] != [0, 0];
        let well_formed = match header[0] {
            HANDSHAKE => encrypted || is_plausible_handshake(body),
            CHANGE_CIPHER_SPEC => body == [1],
            ALERT => encrypted || body.len() == 2,
            APPLICATION_DATA => encrypted,
            _ => false,
        };
        if !well_formed {
            return false;
        }
        rest = next;
    }
    !datagram.is_empty()
}

/// One record of a plausible datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Header and body.
    pub bytes: &'a [u8],
    /// 0 before encryption, 1 after it; there is no second handshake.
    pub epoch: u16,
    /// Within its epoch.
    pub sequence_number: u64,
}

impl Record<'_> {
    /// An unencrypted handshake record that begins with a ClientHello.
    pub fn is_client_hello(&self) -> bool {
        self.epoch == 0 && self.bytes[0] == HANDSHAKE && self.bytes.get(HEADER_LEN) == Some(&CLIENT_HELLO)
    }

    /// An unencrypted alert.
    pub fn is_plain_alert(&self) -> bool {
        self.epoch == 0 && self.bytes[0] == ALERT
    }
}

/// The records of a plausible datagram.
pub fn records(datagram: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let header = rest.first_chunk::<HEADER_LEN>()?;
        let len = HEADER_LEN + usize::from(u16::from_be_bytes([header[11], header[12]]));
        let (bytes, next) = rest.split_at_checked(len)?;
        rest = next;
        let number = header[5..11]
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte));
        Some(Record {
            bytes,
            epoch: u16::from_be_bytes([header[3], header[4]]),
            sequence_number: number,
        })
    })
}

/// The sequence numbers of encrypted records that were genuine; as long as OpenSSL's own window (RFC 6347 §4.1.2.6).
#[derive(Clone, Copy, Default, Debug)]
pub struct SeenRecords {
    /// One above the highest.
    next: u64,
    /// Bit i: `next - 1 - i` was seen.
    seen: u64,
}

impl SeenRecords {
    /// Whether a record with this number is a repetition, or too old to tell.
    pub fn contains(&self, number: u64) -> bool {
        let Some(back) = self.next.checked_sub(1).and_then(|highest| highest.checked_sub(number)) else {
            return false;
        };
        back >= 64 || self.seen & (1 << back) != 0
    }

    /// A genuine record.
    pub fn insert(&mut self, number: u64) {
        if number >= self.next {
            let ahead = u32::try_from(number - self.next).map_or(u32::MAX, |ahead| ahead.saturating_add(1));
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.next = number + 1; // 48 bits on the wire
        } else if self.next - 1 - number < 64 {
            self.seen |= 1 << (self.next - 1 - number);
        }
    }
}

/// One or more fragments that lie within their messages.
fn is_plausible_handshake(body: &[u8]) -> bool {
    let mut rest = body;
    while !rest.is_empty() {
        let Some((header, after)) = rest.split_at_checked(HANDSHAKE_HEADER_LEN) else {
            return false;
        };
        let number =
            |at: usize| usize::from(header[at]) << 16 | usize::from(header[at + 1]) << 8 | usize::from(header[at + 2]);
        let (message_len, fragment_offset, fragment_len) = (number(1), number(6), number(9));
        if message_len > HANDSHAKE_MESSAGE_MAX || fragment_offset + fragment_len > message_len {
            return false;
        }
        let Some((_, next)) = after.split_at_checked(fragment_len) else {
            return false;
        };
        rest = next;
    }
    !body.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_told_apart() {
        let first = [&[22, 254, 253, 0, 0, 0, 0, 0, 0, 1, 2, 0, 1][..], &[1]].concat();
        let second = [&[21, 254, 253, 0, 1, 0, 0, 0, 0, 0, 9, 0, 2][..], &[1, 0]].concat();
        let datagram = [&first[..], &second].concat();
        let found: Vec<Record> = records(&datagram).collect();
        let seen: Vec<_> = found.iter().map(|r| (r.bytes, r.epoch, r.sequence_number)).collect();
        assert_eq!(seen, [(&first[..], 0, 258), (&second[..], 1, 9)]);
        assert!(found[0].is_client_hello() && !found[1].is_client_hello());
        assert!(!found[0].is_plain_alert() && !found[1].is_plain_alert());
        assert_eq!(records(&datagram[..20]).count(), 1);
    }

    #[test]
    fn a_genuine_record_is_known_again() {
        let mut seen = SeenRecords::default();
        assert!(!seen.contains(0));
        for (number, known) in [(0, 0), (5, 0), (3, 5), (70, 70), (7, 7)] {
            seen.insert(number);
            assert!(seen.contains(number) && seen.contains(known), "{number}");
        }
        assert!(seen.contains(6), "too old to tell");
        assert!(!seen.contains(8) && !seen.contains(71));
        seen.insert(1 << 40);
        assert!(seen.contains(70) && !seen.contains((1 << 40) - 1));
    }
}
