//! The bytes that are published, and how a viewer recognises them again.

/// Bytes before the body: VP8 payload descriptor (RFC 7741 §4.2), VP8 frame header, the packet's number.
const BODY_START: usize = DESCRIPTOR_BYTES + FRAME_HEADER_BYTES + 8;
const DESCRIPTOR_BYTES: usize = 4;
const FRAME_HEADER_BYTES: usize = 10;
/// Audio bodies are shorter than any video packet that is sent.
const VIDEO_MIN_BYTES: usize = 200;

/// What one packet of a frame is.
pub struct PacketShape {
    /// Number of the packet since the start, over all frames.
    pub number: u64,
    /// First packet of its frame.
    pub first: bool,
    /// The frame is a key frame.
    pub key_frame: bool,
    /// Picture number; 15 bits are sent.
    pub picture: u64,
}

/// Appends a VP8 payload of `bytes` bytes whose body is a function of `seed` and the packet's number.
pub fn append_payload(packet: &mut Vec<u8>, shape: &PacketShape, seed: u64, bytes: usize) {
    let end = packet.len() + bytes.max(BODY_START);
    // X=1, S on the first packet; I=1; 15-bit PictureID.
    packet.extend_from_slice(&[0x80 | if shape.first { 0x10 } else { 0 }, 0x80]);
    packet.extend_from_slice(&(0x8000 | (shape.picture & 0x7FFF) as u16).to_be_bytes());
    let mut header = [0u8; FRAME_HEADER_BYTES];
    // RFC 6386 §9.1: the lowest bit is 0 on key frames, and a start code and the size follow.
    header[0] = if shape.key_frame { 0x10 } else { 0x11 };
    if shape.key_frame {
        header[3..].copy_from_slice(&[0x9D, 0x01, 0x2A, 0x80, 0x02, 0x68, 0x01]);
    }
    packet.extend_from_slice(&header);
    packet.extend_from_slice(&shape.number.to_be_bytes());
    let mut state = start(seed, shape.number);
    while packet.len() < end {
        packet.push(next(&mut state));
    }
}

/// Whether a received payload is one that was published. The descriptor is the relay's to rewrite; the rest is not.
pub fn is_genuine(payload: &[u8], seed: u64) -> bool {
    let Some(number) = payload.get(BODY_START - 8..BODY_START) else {
        return false;
    };
    let number = u64::from_be_bytes(number.try_into().expect("eight bytes"));
    let mut state = start(seed, number);
    payload[BODY_START..].iter().all(|byte| *byte == next(&mut state))
}

/// Whether a payload begins a frame, and whether that frame is a key frame; `None` for anything but our video.
pub fn frame_start(payload: &[u8]) -> Option<(bool, bool)> {
    let descriptor = *payload.first()?;
    if descriptor & 0x80 == 0 || payload.len() < VIDEO_MIN_BYTES {
        return None;
    }
    let first = descriptor & 0x10 != 0;
    Some((first, first && payload[DESCRIPTOR_BYTES] & 1 == 0))
}

fn start(seed: u64, number: u64) -> u64 {
    (seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15)) | 1
}

fn next(state: &mut u64) -> u8 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 32) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_is_noticed() {
        let shape = PacketShape {
            number: 41,
            first: true,
            key_frame: true,
            picture: 3,
        };
        let mut payload = Vec::new();
        append_payload(&mut payload, &shape, 7, 1_160);
        assert_eq!(payload.len(), 1_160);
        assert!(is_genuine(&payload, 7));
        assert!(!is_genuine(&payload, 8));
        payload[900] ^= 1;
        assert!(!is_genuine(&payload, 7));
    }
}
