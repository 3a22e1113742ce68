//! One media packet as it travels between sessions, shards and trunks: decrypted, unwrapped, immutable.

use crate::time::Time;
use bytes::Bytes;

/// Synchronisation source identifier (RFC 3550 §3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ssrc(pub u32);

/// A packet of one layer of one track, after decryption and RTX unwrapping, before any viewer's rewrite.
///
/// Shared as `Arc<MediaPacket>`: one decrypt, any number of readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaPacket {
    /// When the packet reached this edge.
    pub received_at: Time,
    /// The publisher's ssrc; identifies the layer within its track.
    pub ssrc: Ssrc,
    /// The publisher's sequence number extended by its rollover count (RFC 3711 §3.3.1), never passed on above 16 bit.
    pub extended_sequence_number: u64,
    /// RTP timestamp in units of the track's clock rate.
    pub timestamp: u32,
    /// Last packet of a frame (video), first of a talk spurt (audio).
    pub marker: bool,
    /// The payload type the publisher negotiated; viewers get their own by codec.
    pub payload_type: u8,
    /// The packet begins a frame from which decoding can start, parameter sets included.
    pub key_frame_start: bool,
    /// Header extensions that viewers may get, already independent of the publisher's ids.
    pub extensions: MediaExtensions,
    /// RTP payload without padding.
    pub payload: Bytes,
}

/// Header extensions that cross the edge, by meaning and not by id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaExtensions {
    /// abs-capture-time: NTP timestamp (UQ32.32) and estimated clock offset if present.
    pub abs_capture_time: Option<(u64, Option<i64>)>,
    /// ssrc-audio-level (RFC 6464), the raw byte with its voice-activity bit.
    pub audio_level: Option<u8>,
    /// 3GPP video orientation byte.
    pub video_orientation: Option<u8>,
}
