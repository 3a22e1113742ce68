//! Answers for WHIP and WHEP, and the plans that go with them.

use crate::packet::Ssrc;
use crate::sdp::fmtp::{packetization_mode, without_sprop};
use crate::sdp::select::{self, Role};
use crate::sdp::{
    ExtensionIds, MediaSection, NegotiatedCodec, Offer, PublishMedia, PublishPlan, Remote, SdpError, ViewMedia,
    ViewPlan,
};
use crate::source::{Codec, MediaKind, TrackInfo};
use std::fmt::Write;
use std::net::SocketAddr;

/// Our side of the transport.
#[derive(Clone, Debug)]
pub struct LocalParameters {
    /// ICE user fragment.
    pub ufrag: String,
    /// ICE password.
    pub pwd: String,
    /// SHA-256 of our certificate.
    pub fingerprint_sha256: [u8; 32],
    /// Where we listen, as others reach it.
    pub candidates: Vec<SocketAddr>,
    /// The number in the `o=` line.
    pub session_id: u64,
}

/// What a viewer is to be sent.
#[derive(Clone, Debug)]
pub struct ViewParameters<'a> {
    /// RTCP CNAME and media stream id of both tracks, so that players keep them in sync (RFC 8834 §4.9). A token.
    pub cname: String,
    /// Our audio ssrc.
    pub audio_ssrc: Ssrc,
    /// Our video ssrc.
    pub video_ssrc: Ssrc,
    /// Our ssrc for video retransmissions.
    pub video_rtx_ssrc: Ssrc,
    /// Tracks of the current source; empty when nobody publishes yet or they are not known here.
    pub tracks: &'a [TrackInfo],
}

/// Answers a WHIP offer: every usable section `recvonly`, one codec each.
pub fn answer_publish(offer: &Offer, local: &LocalParameters) -> Result<(String, PublishPlan), SdpError> {
    let chosen = select::sections(offer, Role::Publisher);
    let remote = check(offer, &chosen, Role::Publisher)?;
    check_whole(offer, &chosen)?;
    let mut media = Vec::new();
    let mut writer = Writer::new(offer, local, &remote, &chosen);
    for (section, mut codecs) in offer.sections.iter().zip(chosen) {
        let Some(mut codec) = codecs.pop() else {
            writer.reject(section);
            continue;
        };
        let kind = codec.codec.kind();
        let extensions = select::extensions(section, Role::Publisher);
        // Feedback needs the number it is about; GStreamer offers one without the other.
        codec.transport_cc &= extensions.transport_wide_cc.is_some();
        writer.accept(section, std::slice::from_ref(&codec), &extensions, Role::Publisher);
        // With rids an ssrc in the offer may be any layer's: bind by what packets say.
        let group = section.fid_groups.first().filter(|_| !section.has_rids);
        let ssrc = group
            .map(|group| group.0)
            .or(section.ssrcs.first().copied())
            .filter(|_| !section.has_rids);
        media.push(PublishMedia {
            mid: section.mid.clone(),
            kind,
            codec,
            extensions,
            ssrc: ssrc.map(Ssrc),
            rtx_ssrc: group.map(|group| Ssrc(group.1)),
            reduced_size: section.rtcp_rsize,
        });
    }
    Ok((writer.text, PublishPlan { remote, media }))
}

/// Answers a WHEP offer: every usable section `sendonly`, with every codec that can be forwarded.
///
/// When the current tracks are known, a viewer that asks for a kind but cannot take today's codec of it gets a 406. Who wants
/// sound alone leaves the video section out, or closes it.
pub fn answer_view(
    offer: &Offer,
    local: &LocalParameters,
    parameters: &ViewParameters<'_>,
) -> Result<(String, ViewPlan), SdpError> {
    let chosen = select::sections(offer, Role::Viewer);
    let remote = check(offer, &chosen, Role::Viewer)?;
    let mut media = Vec::new();
    let mut writer = Writer::new(offer, local, &remote, &chosen);
    for (section, mut codecs) in offer.sections.iter().zip(chosen) {
        let Some(kind) = codecs.first().map(|codec| codec.codec.kind()) else {
            writer.reject(section);
            continue;
        };
        let extensions = select::extensions(section, Role::Viewer);
        codecs.iter_mut().for_each(|codec| codec.transport_cc = false);
        writer.accept(section, &codecs, &extensions, Role::Viewer);
        // Of those that fit a host's stream alike the first is used: one that fits every host. The answer keeps the client's order.
        codecs.sort_by_key(|one| one.codec == Codec::H264 && packetization_mode(&one.fmtp) == 0);
        let has_rtx = codecs.iter().any(|codec| codec.rtx_payload_type.is_some());
        let (ssrc, rtx_ssrc) = match kind {
            MediaKind::Audio => (parameters.audio_ssrc, None),
            MediaKind::Video => (parameters.video_ssrc, has_rtx.then_some(parameters.video_rtx_ssrc)),
        };
        writer.announce_stream(&parameters.cname, kind, ssrc, rtx_ssrc);
        media.push(ViewMedia {
            mid: section.mid.clone(),
            kind,
            codecs,
            extensions,
            ssrc,
            rtx_ssrc,
        });
    }
    let taken: Vec<MediaKind> = media.iter().map(|media| media.kind).collect();
    let plan = ViewPlan {
        remote,
        left_out: asked_for(offer)
            .map(|(kind, _)| kind)
            .filter(|kind| !taken.contains(kind))
            .collect(),
        media,
        cname: parameters.cname.clone(),
    };
    check_tracks(offer, &plan, parameters.tracks)?;
    Ok((writer.text, plan))
}

/// Refusals common to both: in an order that names the most telling reason.
fn check(offer: &Offer, chosen: &[Vec<NegotiatedCodec>], role: Role) -> Result<Remote, SdpError> {
    let used: Vec<&MediaSection> = offer
        .sections
        .iter()
        .zip(chosen)
        .filter(|(_, codecs)| !codecs.is_empty())
        .map(|(section, _)| section)
        .collect();
    if used.is_empty() {
        let right_way = |section: &&MediaSection| section.kind().is_some() && select::flows(offer, section, role);
        let Some(section) = offer.sections.iter().find(right_way) else {
            let needed = if role == Role::Publisher {
                "sendonly"
            } else {
                "recvonly"
            };
            let detail = format!("No audio or video section is open and {needed} or sendrecv; offer one that is.");
            return Err(SdpError::bad("wrong_direction", detail));
        };
        return Err(no_codec(section));
    }
    offer.check_transport(&used)?;
    offer.remote(&used)
}

/// RFC 9725 §4.4.2 and §4.4.3: a host is taken with all that it sends or not at all. One whose picture is left out
/// would believe to be seen.
fn check_whole(offer: &Offer, chosen: &[Vec<NegotiatedCodec>]) -> Result<(), SdpError> {
    let sent = offer.sections.iter().zip(chosen);
    let left_out = sent.filter(|(section, codecs)| codecs.is_empty() && select::flows(offer, section, Role::Publisher));
    for (section, _) in left_out {
        let Some(kind) = section.kind() else { continue };
        let has_codec = chosen.iter().flatten().any(|codec| codec.codec.kind() == kind);
        if has_codec {
            let detail = format!("A room has one {} track; send one.", section.media);
            return Err(SdpError::bad("too_many_tracks", detail));
        }
        return Err(no_codec(section));
    }
    Ok(())
}

fn no_codec(section: &MediaSection) -> SdpError {
    let mut names: Vec<&str> = section.formats.iter().map(|format| format.encoding.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    SdpError::no_common_codec(format!(
        "No codec in common: H264 (packetization-mode 0 or 1), VP8 and opus/48000/2 are forwarded; the {} section offers {}.",
        section.media,
        names.join(", ")
    ))
}

/// Sections of a viewer that are open for audio or video from here.
fn asked_for(offer: &Offer) -> impl Iterator<Item = (MediaKind, &MediaSection)> {
    let open = offer
        .sections
        .iter()
        .filter(|section| select::flows(offer, section, Role::Viewer));
    open.filter_map(|section| Some((section.kind()?, section)))
}

fn check_tracks(offer: &Offer, plan: &ViewPlan, tracks: &[TrackInfo]) -> Result<(), SdpError> {
    for track in tracks {
        let kind = track.codec.kind();
        if plan.left_out.contains(&kind)
            && let Some((_, section)) = asked_for(offer).find(|(asked, _)| *asked == kind)
        {
            return Err(no_codec(section));
        }
        let Some(media) = plan.media.iter().find(|media| media.kind == track.codec.kind()) else {
            continue;
        };
        if media.codec_for(track.codec, &track.fmtp).is_none() {
            return Err(SdpError::no_common_codec(format!(
                "The room is sent in {:?} ({}) and the offer has no payload type for it; offer that codec.",
                track.codec,
                if track.fmtp.is_empty() {
                    "no parameters"
                } else {
                    &track.fmtp
                }
            )));
        }
    }
    Ok(())
}

/// Writes an answer section by section.
struct Writer<'a> {
    text: String,
    local: &'a LocalParameters,
    setup: &'static str,
    candidates_written: bool,
}

impl<'a> Writer<'a> {
    fn new(offer: &Offer, local: &'a LocalParameters, remote: &Remote, chosen: &[Vec<NegotiatedCodec>]) -> Self {
        let mut writer = Writer {
            text: String::with_capacity(4096),
            local,
            setup: remote.dtls_role.setup(),
            candidates_written: false,
        };
        writer.line(format_args!("v=0"));
        writer.line(format_args!("o=- {} 1 IN IP4 127.0.0.1", local.session_id));
        writer.line(format_args!("s=-"));
        writer.line(format_args!("t=0 0"));
        let mids: Vec<&str> = offer
            .sections
            .iter()
            .zip(chosen)
            .filter(|(section, codecs)| !codecs.is_empty() && offer.is_bundled(section))
            .filter_map(|(section, _)| section.mid.as_deref())
            .collect();
        if !mids.is_empty() {
            writer.line(format_args!("a=group:BUNDLE {}", mids.join(" ")));
        }
        writer.line(format_args!("a=ice-lite"));
        writer.line(format_args!("a=msid-semantic: WMS *"));
        writer
    }

    /// RFC 3264 §6: the section stays in its place with port 0.
    fn reject(&mut self, section: &MediaSection) {
        self.line(format_args!(
            "m={} 0 {} {}",
            section.media, section.protocol, section.format_list
        ));
        self.line(format_args!("c=IN IP4 0.0.0.0"));
        if let Some(mid) = &section.mid {
            self.line(format_args!("a=mid:{mid}"));
        }
        self.line(format_args!("a=inactive"));
    }

    fn accept(&mut self, section: &MediaSection, codecs: &[NegotiatedCodec], extensions: &ExtensionIds, role: Role) {
        let types = codecs
            .iter()
            .flat_map(|codec| [Some(codec.payload_type), codec.rtx_payload_type])
            .flatten();
        let types: Vec<String> = types.map(|payload_type| payload_type.to_string()).collect();
        self.line(format_args!(
            "m={} 9 {} {}",
            section.media,
            section.protocol,
            types.join(" ")
        ));
        self.line(format_args!("c=IN IP4 0.0.0.0"));
        self.line(format_args!("a=rtcp:9 IN IP4 0.0.0.0"));
        if let Some(mid) = &section.mid {
            self.line(format_args!("a=mid:{mid}"));
        }
        self.transport();
        self.line(format_args!(
            "a={}",
            if role == Role::Publisher {
                "recvonly"
            } else {
                "sendonly"
            }
        ));
        self.line(format_args!("a=rtcp-mux"));
        if section.rtcp_rsize {
            self.line(format_args!("a=rtcp-rsize"));
        }
        for extension in select::extension_lines(section, extensions, role) {
            self.line(format_args!("a=extmap:{extension}"));
        }
        codecs.iter().for_each(|codec| self.codec(section, codec));
    }

    /// Credentials stand in every section, because clients differ in where they look; candidates only in the first,
    /// which carries the group (RFC 9143 §7.1).
    fn transport(&mut self) {
        let local = self.local;
        self.line(format_args!("a=ice-ufrag:{}", local.ufrag));
        self.line(format_args!("a=ice-pwd:{}", local.pwd));
        let hex: Vec<String> = local
            .fingerprint_sha256
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        self.line(format_args!("a=fingerprint:sha-256 {}", hex.join(":")));
        let setup = self.setup;
        self.line(format_args!("a=setup:{setup}"));
        if std::mem::replace(&mut self.candidates_written, true) {
            return;
        }
        // Simple clients take the first candidate only, and IPv4 is what they understand.
        let mut candidates = local.candidates.clone();
        candidates.sort_by_key(SocketAddr::is_ipv6);
        for (index, address) in candidates.iter().enumerate() {
            // RFC 8445 §5.1.2.1: type preference 126 for host candidates, component 1.
            let priority = (126_u32 << 24) | ((65_535 - u32::try_from(index).unwrap_or(65_535).min(65_535)) << 8) | 255;
            let (ip, port) = (address.ip(), address.port());
            self.line(format_args!(
                "a=candidate:{} 1 udp {priority} {ip} {port} typ host",
                index + 1
            ));
        }
        self.line(format_args!("a=end-of-candidates"));
    }

    fn codec(&mut self, section: &MediaSection, codec: &NegotiatedCodec) {
        let payload_type = codec.payload_type;
        let Some(format) = section
            .formats
            .iter()
            .find(|format| format.payload_type == payload_type)
        else {
            return;
        };
        let channels = if format.channels > 1 {
            format!("/{}", format.channels)
        } else {
            String::new()
        };
        self.line(format_args!(
            "a=rtpmap:{payload_type} {}/{}{channels}",
            format.encoding, format.clock_rate
        ));
        let feedback = [
            (codec.nack, "nack"),
            (codec.pli, "nack pli"),
            (codec.fir, "ccm fir"),
            (codec.transport_cc, "transport-cc"),
        ];
        for (_, name) in feedback.into_iter().filter(|(wanted, _)| *wanted) {
            self.line(format_args!("a=rtcp-fb:{payload_type} {name}"));
        }
        let fmtp = without_sprop(&codec.fmtp);
        if !fmtp.is_empty() {
            self.line(format_args!("a=fmtp:{payload_type} {fmtp}"));
        }
        if let Some(rtx) = codec.rtx_payload_type {
            self.line(format_args!("a=rtpmap:{rtx} rtx/{}", format.clock_rate));
            self.line(format_args!("a=fmtp:{rtx} apt={payload_type}"));
        }
    }

    /// One media stream for both tracks, so that players synchronise them (RFC 8830, RFC 5576).
    fn announce_stream(&mut self, cname: &str, kind: MediaKind, ssrc: Ssrc, rtx_ssrc: Option<Ssrc>) {
        let track = kind.name();
        self.line(format_args!("a=msid:{cname} {track}"));
        if let Some(rtx) = rtx_ssrc {
            self.line(format_args!("a=ssrc-group:FID {} {}", ssrc.0, rtx.0));
        }
        for Ssrc(ssrc) in [Some(ssrc), rtx_ssrc].into_iter().flatten() {
            self.line(format_args!("a=ssrc:{ssrc} cname:{cname}"));
            self.line(format_args!("a=ssrc:{ssrc} msid:{cname} {track}"));
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.text.write_fmt(line).expect("writing to a String does not fail");
        self.text.push_str("\r\n");
    }
}
