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

/// An unencrypted handshake record that begins with a ClientHello.
pub fn is_client_hello(datagram: &[u8]) -> bool {
    datagram.len() > HEADER_LEN
        && datagram[0] == HANDSHAKE
        && datagram[3..5] == [0, 0]
        && datagram[HEADER_LEN] == CLIENT_HELLO
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
