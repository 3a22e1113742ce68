//! Names of what is taken from a publisher and goes no further.

use crate::rtcp::RtcpError;
use crate::rtp::RtpError;

/// Why an authenticated packet of a publisher went no further.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReceiveDrop {
    /// Not RTP after decryption (padding does not fit).
    Rtp(RtpError),
    /// Not RTCP after decryption.
    Rtcp(RtcpError),
    /// The payload type was not agreed for this track.
    UnknownPayloadType,
    /// Neither mid, nor ssrc, nor payload type tells the track, or the track has another ssrc.
    UnknownSsrc,
    /// Another codec than the track's first packet had.
    CodecChanged,
    /// RTX without room for the original number.
    RtxTruncated,
    /// RTX before any packet of its track, or for an `apt` that is not the track's codec.
    RtxUnbound,
    /// RTX whose original lies before the first packet or below the window.
    RtxTooOld,
    /// RTX without payload: a probe for bandwidth.
    RtxPadding,
    /// Received before, directly or repaired.
    Duplicate,
    /// Below the receive window.
    TooOld,
}

impl ReceiveDrop {
    /// Every reason, so that each has a counter from the start.
    pub const ALL: &'static [ReceiveDrop] = &[
        ReceiveDrop::Rtp(RtpError::Truncated),
        ReceiveDrop::Rtp(RtpError::BadVersion),
        ReceiveDrop::Rtp(RtpError::BadPadding),
        ReceiveDrop::Rtcp(RtcpError::Truncated),
        ReceiveDrop::Rtcp(RtcpError::BadVersion),
        ReceiveDrop::UnknownPayloadType,
        ReceiveDrop::UnknownSsrc,
        ReceiveDrop::CodecChanged,
        ReceiveDrop::RtxTruncated,
        ReceiveDrop::RtxUnbound,
        ReceiveDrop::RtxTooOld,
        ReceiveDrop::RtxPadding,
        ReceiveDrop::Duplicate,
        ReceiveDrop::TooOld,
    ];

    /// Stable metric label.
    pub const fn name(self) -> &'static str {
        match self {
            ReceiveDrop::Rtp(error) => error.name(),
            ReceiveDrop::Rtcp(error) => error.name(),
            ReceiveDrop::UnknownPayloadType => "receive_unknown_payload_type",
            ReceiveDrop::UnknownSsrc => "receive_unknown_ssrc",
            ReceiveDrop::CodecChanged => "receive_codec_changed",
            ReceiveDrop::RtxTruncated => "receive_rtx_truncated",
            ReceiveDrop::RtxUnbound => "receive_rtx_unbound",
            ReceiveDrop::RtxTooOld => "receive_rtx_too_old",
            ReceiveDrop::RtxPadding => "receive_rtx_padding",
            ReceiveDrop::Duplicate => "receive_duplicate",
            ReceiveDrop::TooOld => "receive_too_old",
        }
    }
}
