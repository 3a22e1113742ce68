//! What an SFU must see inside payloads: where decoding can start, and what must change when a source does.
//!
//! Payload formats only (RFC 6184, RFC 7741, RFC 7587), no pictures. Packets of strangers come in here after decryption, so
//! nothing panics and nothing allocates per packet, except when parameter sets change or are put before a key frame.

pub mod completion;
pub mod h264;
pub mod vp8;

#[cfg(test)]
mod tests;

use crate::source::Codec;

/// Whether a payload begins a key frame: its first packet, or parameter sets that precede it under the same timestamp.
///
/// Audio starts anywhere and has no key frames: Opus is always `false` (RFC 7587 §4.2).
pub fn is_key_frame_start(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::Opus => false,
        Codec::Vp8 => vp8::is_key_frame_start(payload),
        Codec::H264 => h264::is_key_frame_start(payload),
    }
}
