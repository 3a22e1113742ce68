//! Which sections, codecs and extensions of an offer are used.

use crate::sdp::fmtp::{packetization_mode, parameter};
use crate::sdp::{Direction, ExtensionIds, FORMATS_MAX, Format, MediaSection, NegotiatedCodec, Offer};
use crate::source::{Codec, MediaKind};

const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const TRANSPORT_WIDE_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
const ABS_CAPTURE_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";
const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const VIDEO_ORIENTATION: &str = "urn:3gpp:video-orientation";
const PLAYOUT_DELAY: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";

/// Which way media flows, seen from the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// WHIP: the client sends.
    Publisher,
    /// WHEP: the client receives.
    Viewer,
}

/// Per section of an offer, in order: the codecs that can be used, empty when the section is to be rejected.
///
/// The first audio and the first video section that flow the right way and have a codec are used; a room has one track
/// of each, so others get port 0.
pub fn sections(offer: &Offer, role: Role) -> Vec<Vec<NegotiatedCodec>> {
    let mut taken: Vec<MediaKind> = Vec::new();
    let mut choose = |section: &MediaSection| {
        let kind = section
            .kind()
            .filter(|kind| !taken.contains(kind) && flows(offer, section, role))?;
        let codecs = codecs(section, kind, role);
        if !codecs.is_empty() {
            taken.push(kind);
        }
        Some(codecs)
    };
    offer
        .sections
        .iter()
        .map(|section| choose(section).unwrap_or_default())
        .collect()
}

/// Whether a section is open and flows the way the role needs.
pub fn flows(offer: &Offer, section: &MediaSection, role: Role) -> bool {
    let direction = offer.direction(section);
    !section.is_refused()
        && match role {
            Role::Publisher => direction.sends(),
            Role::Viewer => direction.receives(),
        }
}

/// Extensions of a section that are understood here and flow the right way.
pub fn extensions(section: &MediaSection, role: Role) -> ExtensionIds {
    let mut ids = ExtensionIds::default();
    for (id, direction, uri) in &section.extensions {
        let flows = match role {
            Role::Publisher => direction.sends(),
            Role::Viewer => direction.receives(),
        };
        // RFC 8285 §4.2: ids 1 to 14 fit the one-byte form, which is all that viewers are sent; 15 is reserved.
        let usable = matches!(id, 1..=14) || (role == Role::Publisher && *id > 15);
        let slot = match uri.as_str() {
            MID => &mut ids.mid,
            // Viewers get no congestion feedback to give until there is an estimate to make of it.
            TRANSPORT_WIDE_CC if role == Role::Publisher => &mut ids.transport_wide_cc,
            ABS_CAPTURE_TIME => &mut ids.abs_capture_time,
            AUDIO_LEVEL => &mut ids.audio_level,
            VIDEO_ORIENTATION => &mut ids.video_orientation,
            PLAYOUT_DELAY if role == Role::Viewer => &mut ids.playout_delay,
            _ => continue,
        };
        if flows && usable {
            slot.get_or_insert(*id);
        }
    }
    ids
}

/// The extensions chosen above as `a=extmap` values, in the order they were offered.
pub fn extension_lines(section: &MediaSection, ids: &ExtensionIds, role: Role) -> Vec<String> {
    let chosen = [
        ids.mid,
        ids.transport_wide_cc,
        ids.abs_capture_time,
        ids.audio_level,
        ids.video_orientation,
        ids.playout_delay,
    ];
    let offered = section.extensions.iter().filter(|(id, ..)| chosen.contains(&Some(*id)));
    let line = |(id, direction, uri): &(u8, Direction, String)| match (direction, role) {
        // RFC 8285 §5: the answer may narrow a direction, and states it from its own side.
        (Direction::SendRecv, _) => format!("{id} {uri}"),
        (_, Role::Publisher) => format!("{id}/recvonly {uri}"),
        (_, Role::Viewer) => format!("{id}/sendonly {uri}"),
    };
    offered.map(line).collect()
}

fn codecs(section: &MediaSection, kind: MediaKind, role: Role) -> Vec<NegotiatedCodec> {
    let usable = section.formats.iter().filter_map(|format| {
        let codec = codec_of(format).filter(|codec| codec.kind() == kind)?;
        Some((codec, format))
    });
    let rtx = retransmissions(section);
    let mut codecs: Vec<NegotiatedCodec> = usable.map(|(codec, format)| negotiate(codec, format, &rtx)).collect();
    if role == Role::Publisher {
        // A track keeps one codec for life, so a publisher is left one: its first. Of H.264 its first with fragments
        // (packetization-mode 1), because without them every slice must fit a packet.
        let preferred = codecs.first().map(|first| first.codec);
        let fragments = |one: &NegotiatedCodec| one.codec != Codec::H264 || packetization_mode(&one.fmtp) == 1;
        let index = codecs
            .iter()
            .position(|one| Some(one.codec) == preferred && fragments(one))
            .unwrap_or(0);
        codecs.truncate(index + 1);
        codecs.drain(..index.min(codecs.len()));
    }
    codecs
}

fn codec_of(format: &Format) -> Option<Codec> {
    // Encoding names are case-insensitive (RFC 8866 §6.6): GStreamer writes OPUS.
    let is = |name: &str| format.encoding.eq_ignore_ascii_case(name);
    match format.clock_rate {
        48_000 if is("opus") && format.channels == 2 => Some(Codec::Opus),
        90_000 if is("vp8") => Some(Codec::Vp8),
        // RFC 6184 §6.4: interleaved packetization (mode 2) reorders, which nothing here undoes.
        90_000 if is("h264") && packetization_mode(&format.fmtp) <= 1 => Some(Codec::H264),
        _ => None,
    }
}

/// Payload types of RFC 4588 by the payload type they repeat, in one pass.
fn retransmissions(section: &MediaSection) -> [Option<u8>; FORMATS_MAX] {
    let mut by_apt = [None; FORMATS_MAX];
    for format in section
        .formats
        .iter()
        .filter(|format| format.encoding.eq_ignore_ascii_case("rtx"))
    {
        let apt = parameter(&format.fmtp, "apt").and_then(|apt| apt.parse::<usize>().ok());
        if let Some(slot) = apt.and_then(|apt| by_apt.get_mut(apt)) {
            slot.get_or_insert(format.payload_type);
        }
    }
    by_apt
}

fn negotiate(codec: Codec, format: &Format, rtx: &[Option<u8>; FORMATS_MAX]) -> NegotiatedCodec {
    let video = codec.kind() == MediaKind::Video;
    NegotiatedCodec {
        codec,
        payload_type: format.payload_type,
        fmtp: format.fmtp.clone(),
        rtx_payload_type: rtx[usize::from(format.payload_type & 0x7f)],
        nack: format.nack,
        pli: format.pli && video,
        fir: format.fir && video,
        transport_cc: format.transport_cc,
    }
}
