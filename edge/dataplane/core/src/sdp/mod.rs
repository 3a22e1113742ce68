//! SDP offers of strangers in, answers and plans out (RFC 8866, RFC 8829 as far as WHIP and WHEP use them).
//!
//! `Offer::parse` applies limits before it looks at anything and takes linear time. `answer_publish` and `answer_view`
//! decide what is accepted and return the answer's text together with a plan for the session. Only what can be
//! forwarded is negotiated here; what is done with it lives in the session's halves. Offers are never created.

mod answer;
mod fmtp;
mod line;
mod offer;
mod plan;
mod section;
mod select;
mod trickle;

#[cfg(test)]
mod tests;

pub use answer::{LocalParameters, ViewParameters, answer_publish, answer_view};
pub use fmtp::{H264Format, parameter as fmtp_parameter, sprop_parameter_sets};
pub use offer::Offer;
pub use plan::{
    DtlsRole, ExtensionIds, Fingerprint, FingerprintAlgorithm, NegotiatedCodec, PublishMedia, PublishPlan, Remote,
    ViewMedia, ViewPlan,
};
pub use section::{Direction, Format, MediaSection};
pub use trickle::check_trickle;

/// An offer above this is refused unread. Chromium's largest is 7 KB; candidates of many interfaces add 100 B each.
pub const OFFER_MAX_BYTES: usize = 64 * 1024;

/// No line of a real offer comes near; long `sprop-parameter-sets` stay below 1 KB.
pub const LINE_MAX_BYTES: usize = 8 * 1024;

/// One audio and one video line are used; conferencing clients that reuse a connection offer a few more.
pub const SECTIONS_MAX: usize = 32;

/// How large an offer may be as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferLimits {
    /// Bytes of the body.
    pub bytes: usize,
    /// Media sections.
    pub sections: usize,
}

impl Default for OfferLimits {
    fn default() -> Self {
        OfferLimits {
            bytes: OFFER_MAX_BYTES,
            sections: SECTIONS_MAX,
        }
    }
}

impl OfferLimits {
    /// Takes whatever comes; only for measuring what the limits are worth.
    pub const NONE: OfferLimits = OfferLimits {
        bytes: usize::MAX,
        sections: usize::MAX,
    };
}

/// Formats of one m-line: a payload type has seven bits.
pub const FORMATS_MAX: usize = 128;

/// Extensions, ssrcs, ssrc groups and fingerprints that one m-line may list.
pub const ATTRIBUTES_MAX: usize = 64;

/// Why an offer gets no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SdpError {
    /// HTTP status: 400 for what the client must repair, 406 for no codec in common, 412 and 422 for a trickle PATCH.
    pub status: u16,
    /// Label of metrics and problem documents, snake_case.
    pub reason: &'static str,
    /// One sentence that says what to do.
    pub detail: String,
}

impl SdpError {
    pub(crate) fn bad(reason: &'static str, detail: impl Into<String>) -> Self {
        SdpError {
            status: 400,
            reason,
            detail: detail.into(),
        }
    }

    pub(crate) fn no_common_codec(detail: impl Into<String>) -> Self {
        SdpError {
            status: 406,
            reason: "no_common_codec",
            detail: detail.into(),
        }
    }

    /// Every reason that an error can carry, so that counters exist from the start.
    pub const REASONS: [&'static str; 18] = [
        "sdp_too_large",
        "sdp_line_too_long",
        "sdp_too_many_media",
        "sdp_too_many_attributes",
        "sdp_not_text",
        "sdp_malformed",
        "sdp_no_media",
        "no_bundle",
        "no_rtcp_mux",
        "no_fingerprint",
        "no_ice_credentials",
        "bad_setup",
        "ice_lite_peer",
        "wrong_direction",
        "too_many_tracks",
        "no_common_codec",
        "ice_restart_unsupported",
        "trickle_mismatch",
    ];
}

impl std::fmt::Display for SdpError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({}): {}", self.reason, self.status, self.detail)
    }
}

impl std::error::Error for SdpError {}
