//! A viewer's side of a session: [`MediaPacket`]s in, sealed RTP out, and the RTCP around it.
//!
//! Per-viewer rewriting, history, retransmission, pacing, replay of the first group of pictures, sender reports and takeover
//! live here. Sockets do not, nor anything that knows a publisher's session. Nothing allocates per packet.
//!
//! The driver, per packet of a source: insert it into the stream's ring, then `write` it for each viewer. What `write` holds back
//! for pacing, replays and retransmissions come out of `poll_packet`, again and again until `None`, at each `poll_timeout`.

use crate::packet::{MediaPacket, Ssrc};
use crate::ring::StreamRing;
use crate::rtcp::RtcpError;
use crate::source::{Codec, MediaKind, SenderClock, SourceInfo};
use crate::srtp::SealContext;
use crate::time::Time;
use std::ops::Range;

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

/// One codec of an m-line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendCodec {
    /// What it carries.
    pub codec: Codec,
    /// The viewer's payload type.
    pub payload_type: u8,
    /// The RTX payload type whose `apt` is this one.
    pub rtx_payload_type: Option<u8>,
    /// Generic NACK was agreed.
    pub nack: bool,
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
    /// Transport-wide sequence number; its place is reserved, nothing is written yet.
    pub transport_sequence_number: Option<u8>,
}

/// Why a packet did not go to a viewer, or a viewer's request was not answered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SendDrop {
    /// The viewer watches no such track of this source.
    NoTrack,
    /// The viewer does not take the track's codec.
    NoCodec,
    /// Video before the first key frame for this viewer.
    AwaitingKeyFrame,
    /// The packet precedes the one the viewer started with.
    BeforeStart,
    /// Too late to be numbered.
    TooOld,
    /// The packet would not fit a datagram.
    TooLarge,
    /// The viewer fell behind by more than the ring holds and waits for a key frame.
    FellBehind,
    /// Not RTCP after decryption.
    Rtcp(RtcpError),
    /// A repair request for a number that was never sent or is forgotten.
    NackUnknown,
    /// A repair request for a packet that has left the ring.
    NackTooOld,
    /// A repair request repeated within one round trip.
    NackRepeated,
    /// More repair requests than are kept.
    NackOverflow,
    /// Repair requests are switched off or were not agreed.
    NackDisabled,
    /// Feedback about an ssrc that is not ours.
    UnknownSsrc,
}

impl SendDrop {
    /// Every reason, so that each has a counter from the start.
    pub const ALL: &'static [SendDrop] = &[
        SendDrop::NoTrack,
        SendDrop::NoCodec,
        SendDrop::AwaitingKeyFrame,
        SendDrop::BeforeStart,
        SendDrop::TooOld,
        SendDrop::TooLarge,
        SendDrop::FellBehind,
        SendDrop::Rtcp(RtcpError::Truncated),
        SendDrop::Rtcp(RtcpError::BadVersion),
        SendDrop::NackUnknown,
        SendDrop::NackTooOld,
        SendDrop::NackRepeated,
        SendDrop::NackOverflow,
        SendDrop::NackDisabled,
        SendDrop::UnknownSsrc,
    ];

    /// Stable metric label.
    pub const fn name(self) -> &'static str {
        match self {
            SendDrop::NoTrack => "send_no_track",
            SendDrop::NoCodec => "send_no_codec",
            SendDrop::AwaitingKeyFrame => "send_awaiting_key_frame",
            SendDrop::BeforeStart => "send_before_start",
            SendDrop::TooOld => "send_too_old",
            SendDrop::TooLarge => "send_too_large",
            SendDrop::FellBehind => "send_fell_behind",
            SendDrop::Rtcp(error) => error.name(),
            SendDrop::NackUnknown => "nack_unknown",
            SendDrop::NackTooOld => "nack_too_old",
            SendDrop::NackRepeated => "nack_repeated",
            SendDrop::NackOverflow => "nack_overflow",
            SendDrop::NackDisabled => "nack_disabled",
            SendDrop::UnknownSsrc => "send_unknown_ssrc",
        }
    }
}

/// Counters since the start of the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendStats {
    /// RTP packets sent, retransmissions included.
    pub packets: u64,
    /// Their bytes, headers and tags included.
    pub bytes: u64,
    /// Retransmissions among them.
    pub retransmissions: u64,
    /// Packets asked for by NACK.
    pub nacks_received: u64,
    /// Key frames asked for by PLI or FIR.
    pub key_frame_requests: u64,
}

/// The viewer's side of a session.
pub struct SendHalf {
    _parameters: SendParameters,
}

impl SendHalf {
    /// A half that watches nothing yet.
    pub fn new(parameters: SendParameters) -> SendHalf {
        SendHalf {
            _parameters: parameters,
        }
    }

    /// Shows a source to the viewer: the first one, or another that takes over. `clocks` and `rings` by the source's track index.
    ///
    /// Ssrcs stay, timestamps move forward, video starts at a key frame: replayed from the ring when there is one, else asked for.
    pub fn switch_source(
        &mut self,
        _source: &SourceInfo,
        _clocks: &[Option<SenderClock>],
        _rings: &[StreamRing],
        _now: Time,
    ) {
        todo!()
    }

    /// Rewrites and seals one live packet of the source's `track`, appended to `output`; the packet is in the ring already.
    ///
    /// `Ok(None)` when nothing goes out now: the packet is held back for pacing and comes out of `poll_packet`, or its number was
    /// spent on padding.
    pub fn write(
        &mut self,
        _track: usize,
        _packet: &MediaPacket,
        _output: &mut Vec<u8>,
        _seal: &SealContext,
        _now: Time,
    ) -> Result<Option<Range<usize>>, SendDrop> {
        todo!()
    }

    /// The next sealed packet that is due: retransmissions first, then what pacing has held back. Call until `None`.
    pub fn poll_packet(
        &mut self,
        _rings: &[StreamRing],
        _output: &mut Vec<u8>,
        _seal: &SealContext,
        _now: Time,
    ) -> Option<Range<usize>> {
        todo!()
    }

    /// Takes one decrypted RTCP compound: repair and key-frame requests, reception reports.
    pub fn handle_rtcp(&mut self, _compound: &[u8], _now: Time) -> Result<(), SendDrop> {
        todo!()
    }

    /// A new mapping of wallclock to RTP time for the source's `track`.
    pub fn handle_sender_clock(&mut self, _track: usize, _clock: SenderClock, _now: Time) {
        todo!()
    }

    /// The next plaintext compound to seal and send: sender reports with SDES, before the first packet and each second.
    pub fn poll_rtcp(&mut self, _now: Time) -> Option<Vec<u8>> {
        todo!()
    }

    /// The source's track of which a key frame is wanted; repeated while the viewer waits for one.
    pub fn poll_key_frame_request(&mut self, _now: Time) -> Option<usize> {
        todo!()
    }

    /// When `poll_packet`, `poll_rtcp` or `poll_key_frame_request` will next have something.
    pub fn poll_timeout(&self) -> Option<Time> {
        todo!()
    }

    /// The plaintext compound that ends the session from our side.
    pub fn goodbye(&mut self, _now: Time) -> Vec<u8> {
        todo!()
    }

    /// Reasons counted inside the half since the last call (a result that `write` or `handle_rtcp` returned is not among them).
    pub fn drain_drops(&mut self, _count: impl FnMut(SendDrop, u32)) {
        todo!()
    }

    /// Counters, all tracks together.
    pub fn stats(&self) -> SendStats {
        todo!()
    }

    /// Smoothed round-trip time from the viewer's reports; `None` before the first.
    pub fn rtt(&self) -> Option<std::time::Duration> {
        todo!()
    }
}
