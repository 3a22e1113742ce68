//! Where a decoder may start.

use crate::source::Codec;

/// Whether a payload begins a key frame: its first packet, or parameter sets that precede it.
pub(super) fn is_key_frame_start(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::Opus => false,
        Codec::Vp8 => vp8(payload).unwrap_or(false),
        Codec::H264 => h264(payload),
    }
}

/// RFC 7741 §4.2 and §4.3: S bit, partition 0, and the P bit of the frame tag clear.
fn vp8(payload: &[u8]) -> Option<bool> {
    let first = *payload.first()?;
    let mut at = 1;
    if first & 0x80 != 0 {
        let extended = *payload.get(1)?;
        at = 2;
        if extended & 0x80 != 0 {
            at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
        }
        at += usize::from(extended & 0x40 != 0) + usize::from(extended & 0x30 != 0);
    }
    Some(first & 0x17 == 0x10 && payload.get(at)? & 1 == 0)
}

/// RFC 6184 §5.2: SPS or IDR, alone, in a STAP-A, or as the first FU-A.
fn h264(payload: &[u8]) -> bool {
    let starts = |kind: u8| matches!(kind & 0x1F, 5 | 7);
    match payload.first().map(|first| first & 0x1F) {
        Some(24) => {
            let mut rest = &payload[1..];
            while let Some((len, after)) = rest.split_first_chunk::<2>() {
                if after.first().is_some_and(|kind| starts(*kind)) {
                    return true;
                }
                rest = after.get(usize::from(u16::from_be_bytes(*len))..).unwrap_or_default();
            }
            false
        }
        Some(28) => payload
            .get(1)
            .is_some_and(|header| header & 0x80 != 0 && starts(*header)),
        Some(kind) => starts(kind),
        None => false,
    }
}
