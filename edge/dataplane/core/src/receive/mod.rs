//! The publisher's side of a session: decrypted RTP in, [`MediaPacket`]s out, and the RTCP that keeps them coming.
//!
//! Binding of ssrcs to tracks, RTX, padding, repair requests, transport-wide feedback, reception reports and key-frame requests
//! live here. Encryption does not, nor anything that knows a viewer.

use crate::packet::{MediaPacket, Ssrc};
use crate::rtcp::RtcpError;
use crate::rtp::RtpError;
use crate::source::{Codec, MediaKind, SenderClock, TrackInfo};
use crate::time::Time;

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
    /// Transport-wide sequence number.
    pub transport_sequence_number: Option<u8>,
    /// abs-capture-time.
    pub abs_capture_time: Option<u8>,
    /// Audio level (RFC 6464).
    pub audio_level: Option<u8>,
    /// Video orientation.
    pub video_orientation: Option<u8>,
}

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

/// What the publisher's RTCP, or its silence, tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReceiveEvent {
    /// A sender report gave a new mapping of wallclock to RTP time.
    SenderClock {
        /// The track's index.
        track: usize,
        /// The mapping.
        clock: SenderClock,
    },
    /// The publisher has said goodbye for this track's ssrc.
    Bye {
        /// The track's index.
        track: usize,
    },
    /// A key frame was asked for and none came within [`KEY_FRAME_PATIENCE`]; told once per track.
    KeyFrameIgnored {
        /// The track's index.
        track: usize,
    },
}

/// How long a host may take to answer a key-frame request before its operator is warned.
pub const KEY_FRAME_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// Counters since the start of the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiveStats {
    /// Packets that became [`MediaPacket`]s.
    pub packets: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Packets seen missing.
    pub packets_missing: u64,
    /// Packets that came after being seen missing.
    pub packets_recovered: u64,
    /// Packets given up.
    pub packets_lost: u64,
    /// Key frames begun.
    pub key_frames: u64,
    /// Repair requests sent (packets asked for, repetitions included).
    pub nacks_sent: u64,
    /// Key-frame requests sent.
    pub plis_sent: u64,
}

/// The publisher's side of a session.
pub struct ReceiveHalf {
    _parameters: ReceiveParameters,
}

impl ReceiveHalf {
    /// A half that has seen nothing yet.
    pub fn new(parameters: ReceiveParameters) -> ReceiveHalf {
        ReceiveHalf {
            _parameters: parameters,
        }
    }

    /// Takes one decrypted RTP packet with its extended number from `OpenContext::open_rtp`.
    ///
    /// `Ok(None)` for what only the half itself needs. A padding-only packet comes out with an empty payload, so that every
    /// reader of the stream knows its number to be spent.
    pub fn handle_rtp(
        &mut self,
        _packet: &[u8],
        _extended_sequence_number: u64,
        _now: Time,
    ) -> Result<Option<(usize, MediaPacket)>, ReceiveDrop> {
        todo!()
    }

    /// Takes one decrypted RTCP compound.
    pub fn handle_rtcp(&mut self, _compound: &[u8], _now: Time) -> Result<(), ReceiveDrop> {
        todo!()
    }

    /// Asks the publisher for a key frame of this track, at most one request per 500 ms; a key frame that arrives first answers it.
    pub fn request_key_frame(&mut self, _track: usize, _now: Time) {
        todo!()
    }

    /// The next plaintext compound to seal and send, if one is due.
    pub fn poll_rtcp(&mut self, _now: Time) -> Option<Vec<u8>> {
        todo!()
    }

    /// What Python or the trunks should know; call until `None`.
    pub fn poll_event(&mut self) -> Option<ReceiveEvent> {
        todo!()
    }

    /// When `poll_rtcp` will next have something.
    pub fn poll_timeout(&self) -> Option<Time> {
        todo!()
    }

    /// The plaintext compound that ends the session from our side.
    pub fn goodbye(&mut self, _now: Time) -> Vec<u8> {
        todo!()
    }

    /// What each track carries, once its first packet has shown the codec; the answer's first codec before that.
    pub fn track_infos(&self) -> Vec<TrackInfo> {
        todo!()
    }

    /// Whether the track's first packet has arrived.
    pub fn is_bound(&self, _track: usize) -> bool {
        todo!()
    }

    /// Counters, all tracks together.
    pub fn stats(&self) -> ReceiveStats {
        todo!()
    }
}
