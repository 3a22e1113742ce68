//! What was agreed with a viewer.

use super::SendCodec;
use crate::packet::Ssrc;
use crate::source::MediaKind;

/// What was agreed with the viewer, and the random starts that the rim has drawn.
#[derive(Clone, Debug)]
pub struct SendParameters {
    /// One entry per accepted m-line.
    pub tracks: Vec<SendTrackParameters>,
    /// Our CNAME: one for all tracks, so that they are played in sync.
    pub cname: String,
    /// Parts that are switched off by settings.
    pub disabled: SendDisabled,
}

/// Parts of the send half that settings can switch off, to show what they are worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendDisabled {
    /// Repair requests are not answered.
    pub nack: bool,
    /// No replay of the current group of pictures: every viewer waits for a key frame.
    pub cache: bool,
    /// No sender reports: a player knows nothing of how its tracks' clocks belong together.
    pub sender_reports: bool,
}

/// One accepted m-line.
#[derive(Clone, Debug)]
pub struct SendTrackParameters {
    /// Audio or video.
    pub kind: MediaKind,
    /// The m-line's mid.
    pub mid: String,
    /// Every codec that the viewer takes and we forward, preferred first.
    pub codecs: Vec<SendCodec>,
    /// Our ssrc for this viewer.
    pub ssrc: Ssrc,
    /// Our RTX ssrc for this viewer.
    pub rtx_ssrc: Ssrc,
    /// Header extension ids as the viewer numbers them.
    pub extensions: SendExtensions,
    /// Random; only the low 15 bits are used (below 2^15 the first loss cannot hide a wrap, RFC 3711 §3.3.1).
    pub first_sequence_number: u16,
    /// Random first RTP timestamp.
    pub first_timestamp: u32,
}

/// Ids of header extensions that the viewer understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendExtensions {
    /// urn:ietf:params:rtp-hdrext:sdes:mid
    pub mid: Option<u8>,
    /// abs-capture-time.
    pub abs_capture_time: Option<u8>,
    /// Audio level (RFC 6464).
    pub audio_level: Option<u8>,
    /// Video orientation.
    pub video_orientation: Option<u8>,
    /// playout-delay; written on video only, because a player moves its audio along to stay in sync.
    pub playout_delay: Option<u8>,
    /// Transport-wide sequence number; its place is reserved, nothing is written yet.
    pub transport_sequence_number: Option<u8>,
}
