//! What was agreed with a publisher.

use crate::packet::Ssrc;
use crate::source::{Codec, MediaKind};

/// What was agreed with the publisher.
#[derive(Clone, Debug)]
pub struct ReceiveParameters {
    /// One entry per accepted m-line, in order; the position is the track's index everywhere.
    pub tracks: Vec<ReceiveTrackParameters>,
    /// Header extension ids by meaning, as the publisher numbers them.
    pub extensions: ReceiveExtensions,
    /// The ssrc our RTCP comes from.
    pub local_ssrc: Ssrc,
    /// Our CNAME.
    pub cname: String,
    /// Feedback may go out without a report in front of it (RFC 5506).
    pub reduced_size: bool,
    /// Parts that are switched off by settings.
    pub disabled: ReceiveDisabled,
}

/// Parts of the receive half that settings can switch off, to show what they are worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiveDisabled {
    /// No repair requests.
    pub nack: bool,
    /// No transport-wide feedback.
    pub twcc: bool,
}

/// One accepted m-line.
#[derive(Clone, Debug)]
pub struct ReceiveTrackParameters {
    /// Audio or video.
    pub kind: MediaKind,
    /// The m-line's mid.
    pub mid: String,
    /// Codecs in the answer, preferred first.
    pub codecs: Vec<ReceiveCodec>,
    /// Ssrcs the offer named for media (`a=ssrc`, first of each FID group).
    pub ssrcs: Vec<Ssrc>,
    /// Ssrcs the offer named for RTX (second of each FID group).
    pub rtx_ssrcs: Vec<Ssrc>,
}

/// One codec of an m-line.
#[derive(Clone, Debug)]
pub struct ReceiveCodec {
    /// The publisher's payload type.
    pub payload_type: u8,
    /// What it carries.
    pub codec: Codec,
    /// Format parameters without the payload type.
    pub fmtp: String,
    /// The RTX payload type whose `apt` is this one.
    pub rtx_payload_type: Option<u8>,
    /// Generic NACK was agreed.
    pub nack: bool,
    /// PLI was agreed.
    pub pli: bool,
    /// FIR was agreed.
    pub fir: bool,
}

/// Ids of header extensions that the publisher may send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiveExtensions {
    /// urn:ietf:params:rtp-hdrext:sdes:mid
    pub mid: Option<u8>,
    /// urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id
    pub rid: Option<u8>,
    /// urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id
    pub repaired_rid: Option<u8>,
    /// Transport-wide sequence number, where feedback on it was agreed.
    pub transport_sequence_number: Option<u8>,
    /// abs-capture-time.
    pub abs_capture_time: Option<u8>,
    /// Audio level (RFC 6464).
    pub audio_level: Option<u8>,
    /// Video orientation.
    pub video_orientation: Option<u8>,
}
