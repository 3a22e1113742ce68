//! What is being published: a room's source, its tracks and their codecs.

use crate::packet::Ssrc;

/// Audio or video.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MediaKind {
    /// An audio track.
    Audio,
    /// A video track.
    Video,
}

impl MediaKind {
    /// The kind's name in SDP.
    pub const fn name(self) -> &'static str {
        match self {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
        }
    }
}

/// Codecs that are forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Codec {
    /// Opus (RFC 7587), 48 kHz.
    Opus,
    /// VP8 (RFC 7741), 90 kHz.
    Vp8,
    /// H.264 (RFC 6184), 90 kHz.
    H264,
}

impl Codec {
    /// Whether the codec carries sound or pictures.
    pub const fn kind(self) -> MediaKind {
        match self {
            Codec::Opus => MediaKind::Audio,
            Codec::Vp8 | Codec::H264 => MediaKind::Video,
        }
    }

    /// RTP clock rate in Hz.
    pub const fn clock_rate(self) -> u32 {
        match self {
            Codec::Opus => 48_000,
            Codec::Vp8 | Codec::H264 => 90_000,
        }
    }
}

/// One publication of one room. A host who publishes again gets a higher incarnation, at whichever edge.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct SourceId {
    /// Room name.
    pub room: String,
    /// Unix milliseconds at which the publication was accepted; given by the rim, compared only for order.
    pub incarnation: u64,
}

/// A source and what it carries; fixed for the life of an incarnation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceInfo {
    /// Which publication.
    pub id: SourceId,
    /// The edge where the host is connected.
    pub origin_edge: String,
    /// Audio and video tracks; the position in this list is the track's index everywhere.
    pub tracks: Vec<TrackInfo>,
}

/// One audio or video track (one layer until simulcast is negotiated).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrackInfo {
    /// The codec all packets of the track use.
    pub codec: Codec,
    /// The publisher's format parameters, as in its `a=fmtp` line without the payload type.
    pub fmtp: String,
    /// The publisher's ssrc when the offer named it or the first packet has shown it.
    pub ssrc: Option<Ssrc>,
}

/// The publisher's mapping between wallclock and RTP time (RFC 3550 §6.4.1), taken from its sender reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SenderClock {
    /// NTP timestamp, UQ32.32 seconds.
    pub ntp: u64,
    /// RTP timestamp of the same moment.
    pub rtp: u32,
}
