//! Names of what does not go to a viewer, and of its requests that are not answered.

use crate::rtcp::RtcpError;

/// Why a packet did not go to a viewer, or a viewer's request was not answered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SendDrop {
    /// The viewer watches no such track of this source.
    NoTrack,
    /// The viewer does not take the track's codec, or not in the track's packetization-mode.
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

    pub(super) fn index(self) -> usize {
        SendDrop::ALL
            .iter()
            .position(|reason| *reason == self)
            .expect("ALL names every reason")
    }

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
