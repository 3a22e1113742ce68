//! What a session needs to know after an answer has been given.

use crate::packet::Ssrc;
use crate::sdp::fmtp::H264Format;
use crate::source::{Codec, MediaKind};

/// Hash of the peer's certificate as its offer states it (RFC 8122 §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Which hash.
    pub algorithm: FingerprintAlgorithm,
    /// Its value; the length fits the algorithm.
    pub bytes: Vec<u8>,
}

/// Hashes that are strong enough to bind a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FingerprintAlgorithm {
    /// What every client sends.
    Sha256,
    /// Offered beside SHA-256 by aiortc.
    Sha384,
    /// Offered beside SHA-256 by aiortc.
    Sha512,
}

/// Who opens the DTLS handshake (RFC 8842).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DtlsRole {
    /// We wait for the ClientHello: `a=setup:passive`.
    Server,
    /// We send it: `a=setup:active`, because the offer was passive.
    Client,
}

/// The transport side of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The peer's ICE user fragment; second half of the USERNAME of its checks.
    pub ufrag: String,
    /// The peer's ICE password. ICE-lite sends no checks and never needs it, but a trickle PATCH must repeat it.
    pub pwd: String,
    /// What the peer's certificate must hash to.
    pub fingerprint: Fingerprint,
    /// Our role in the handshake.
    pub dtls_role: DtlsRole,
}

/// Ids the client gave to the header extensions both sides understand (RFC 8285), `None` where not negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtensionIds {
    /// urn:ietf:params:rtp-hdrext:sdes:mid
    pub mid: Option<u8>,
    /// transport-wide-cc-extensions-01, publishers only.
    pub transport_wide_cc: Option<u8>,
    /// abs-capture-time
    pub abs_capture_time: Option<u8>,
    /// urn:ietf:params:rtp-hdrext:ssrc-audio-level
    pub audio_level: Option<u8>,
    /// urn:3gpp:video-orientation
    pub video_orientation: Option<u8>,
    /// playout-delay, viewers only: the lever on a browser's jitter buffer.
    pub playout_delay: Option<u8>,
}

/// One codec of one media section under the client's payload types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NegotiatedCodec {
    /// The codec.
    pub codec: Codec,
    /// The client's payload type for it.
    pub payload_type: u8,
    /// The client's format parameters, unchanged.
    pub fmtp: String,
    /// The client's payload type for retransmissions of it (RFC 4588 `apt`).
    pub rtx_payload_type: Option<u8>,
    /// Generic NACK (RFC 4585 §6.2.1).
    pub nack: bool,
    /// Picture loss indication (RFC 4585 §6.3.1).
    pub pli: bool,
    /// Full intra request (RFC 5104 §4.3.1).
    pub fir: bool,
    /// Transport-wide feedback.
    pub transport_cc: bool,
}

/// One accepted section of a publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishMedia {
    /// The section's `a=mid`, absent from very simple offers.
    pub mid: Option<String>,
    /// Audio or video.
    pub kind: MediaKind,
    /// The one codec the answer leaves, so that the source's track never changes codec.
    pub codec: NegotiatedCodec,
    /// Extension ids as the publisher uses them.
    pub extensions: ExtensionIds,
    /// The ssrc the offer announces. Absent with simulcast rids: bind by mid or payload type.
    pub ssrc: Option<Ssrc>,
    /// The ssrc of retransmissions, from `a=ssrc-group:FID`.
    pub rtx_ssrc: Option<Ssrc>,
    /// RTCP may come without a report in front (RFC 5506 §5).
    pub reduced_size: bool,
}

/// What a WHIP answer promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishPlan {
    /// Transport of the peer.
    pub remote: Remote,
    /// Accepted sections in offer order: at most one audio and one video.
    pub media: Vec<PublishMedia>,
}

/// One accepted section of a viewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewMedia {
    /// The section's `a=mid`.
    pub mid: Option<String>,
    /// Audio or video.
    pub kind: MediaKind,
    /// Every codec that can be forwarded, so that a takeover with another one needs no renegotiation.
    pub codecs: Vec<NegotiatedCodec>,
    /// Extension ids as the viewer wants them, one-byte form (1 to 14).
    pub extensions: ExtensionIds,
    /// Our ssrc.
    pub ssrc: Ssrc,
    /// Our ssrc for retransmissions; `None` when the viewer knows no RTX.
    pub rtx_ssrc: Option<Ssrc>,
}

/// What a WHEP answer promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewPlan {
    /// Transport of the peer.
    pub remote: Remote,
    /// Accepted sections in offer order: at most one audio and one video.
    pub media: Vec<ViewMedia>,
    /// Kinds that the offer asks for in none of the codecs that are forwarded.
    pub left_out: Vec<MediaKind>,
    /// RTCP CNAME of both tracks.
    pub cname: String,
}

impl ViewMedia {
    /// Under which of the viewer's payload types a track goes out; `None` when the viewer cannot take it.
    pub fn codec_for(&self, codec: Codec, track_fmtp: &str) -> Option<&NegotiatedCodec> {
        let mut candidates = self.codecs.iter().filter(|offered| offered.codec == codec);
        if codec != Codec::H264 {
            return candidates.next();
        }
        H264Format::from_fmtp(track_fmtp)
            .choose(candidates.map(|offered| (offered, H264Format::from_fmtp(&offered.fmtp))))
    }
}

impl FingerprintAlgorithm {
    /// RFC 8122 §5 `hash-func`; weaker ones than SHA-256 are not understood.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "sha-256" => Some(FingerprintAlgorithm::Sha256),
            "sha-384" => Some(FingerprintAlgorithm::Sha384),
            "sha-512" => Some(FingerprintAlgorithm::Sha512),
            _ => None,
        }
    }

    /// Bytes of a value.
    pub const fn digest_len(self) -> usize {
        match self {
            FingerprintAlgorithm::Sha256 => 32,
            FingerprintAlgorithm::Sha384 => 48,
            FingerprintAlgorithm::Sha512 => 64,
        }
    }
}

impl DtlsRole {
    /// The value of our `a=setup`.
    pub const fn setup(self) -> &'static str {
        match self {
            DtlsRole::Server => "passive",
            DtlsRole::Client => "active",
        }
    }
}
