//! One `m=` section: what a client says about one audio or video line.

use crate::sdp::line::{Line, is_token, malformed};
use crate::sdp::offer::TransportAttributes;
use crate::sdp::{ATTRIBUTES_MAX, FORMATS_MAX, SdpError};
use crate::source::MediaKind;

/// Who may send, seen from the offering side.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Direction {
    /// Both; the default (RFC 8866 §6.7).
    #[default]
    SendRecv,
    /// The client only sends.
    SendOnly,
    /// The client only receives.
    RecvOnly,
    /// Nobody sends.
    Inactive,
}

impl Direction {
    /// The client is willing to send.
    pub const fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    /// The client is willing to receive.
    pub const fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "sendrecv" => Some(Direction::SendRecv),
            "sendonly" => Some(Direction::SendOnly),
            "recvonly" => Some(Direction::RecvOnly),
            "inactive" => Some(Direction::Inactive),
            _ => None,
        }
    }
}

/// One payload type of a section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Format {
    /// RTP payload type, 0 to 127.
    pub payload_type: u8,
    /// Encoding name of `a=rtpmap`, empty when there is none.
    pub encoding: String,
    /// Clock rate in Hz.
    pub clock_rate: u32,
    /// Audio channels; 1 when not stated.
    pub channels: u8,
    /// Everything after the payload type in `a=fmtp`.
    pub fmtp: String,
    /// `a=rtcp-fb … nack`
    pub nack: bool,
    /// `a=rtcp-fb … nack pli`
    pub pli: bool,
    /// `a=rtcp-fb … ccm fir`
    pub fir: bool,
    /// `a=rtcp-fb … transport-cc`
    pub transport_cc: bool,
}

/// One `m=` section of an offer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaSection {
    /// `audio`, `video`, `application`, … as written.
    pub media: String,
    /// 0 refuses the section unless `bundle_only` (RFC 9143 §6).
    pub port: u16,
    /// For example `UDP/TLS/RTP/SAVPF`.
    pub protocol: String,
    /// The format list as written; echoed when the section is rejected.
    pub format_list: String,
    /// RTP formats in the client's order of preference.
    pub formats: Vec<Format>,
    /// `a=mid`
    pub mid: Option<String>,
    /// Direction, seen from the client.
    pub direction: Option<Direction>,
    /// `a=rtcp-mux`
    pub rtcp_mux: bool,
    /// `a=rtcp-rsize`
    pub rtcp_rsize: bool,
    /// `a=bundle-only`
    pub bundle_only: bool,
    /// `a=extmap`: id, direction seen from the client, URI.
    pub extensions: Vec<(u8, Direction, String)>,
    /// Distinct ssrcs in order of appearance.
    pub ssrcs: Vec<u32>,
    /// `a=ssrc-group:FID`: media ssrc and its retransmission ssrc.
    pub fid_groups: Vec<(u32, u32)>,
    /// `a=rid` was there: the section may carry several layers.
    pub has_rids: bool,
    pub(crate) transport: TransportAttributes,
}

impl MediaSection {
    /// Audio or video over RTP; `None` for data channels and the like.
    pub fn kind(&self) -> Option<MediaKind> {
        let rtp = matches!(
            self.protocol.as_str(),
            "UDP/TLS/RTP/SAVPF" | "UDP/TLS/RTP/SAVP" | "RTP/SAVPF" | "RTP/SAVP"
        );
        match self.media.as_str() {
            "audio" if rtp => Some(MediaKind::Audio),
            "video" if rtp => Some(MediaKind::Video),
            _ => None,
        }
    }

    /// The client itself has switched the section off (RFC 3264 §6, RFC 9143 §6).
    pub fn is_refused(&self) -> bool {
        self.port == 0 && !self.bundle_only
    }

    /// `m=<media> <port>[/<count>] <protocol> <format> …`
    pub(crate) fn parse(line: Line<'_>) -> Result<Self, SdpError> {
        let mut words = line.value.splitn(4, ' ');
        let (Some(media), Some(port), Some(protocol), Some(formats)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(malformed(line.number, "is not m=media port protocol formats"));
        };
        let port = port.split('/').next().and_then(|port| port.parse().ok());
        let port = port.ok_or_else(|| malformed(line.number, "has no valid port"))?;
        let formats_ok = formats.split(' ').all(is_token) && formats.split(' ').count() <= FORMATS_MAX;
        if !is_token(media) || !protocol.split('/').all(is_token) || protocol.len() > 64 || !formats_ok {
            return Err(malformed(
                line.number,
                "names media, protocol or formats that are no tokens",
            ));
        }
        let mut section = MediaSection {
            media: media.to_owned(),
            port,
            protocol: protocol.to_owned(),
            format_list: formats.to_owned(),
            ..MediaSection::default()
        };
        if section.kind().is_some() {
            for format in formats.split(' ') {
                let payload_type: u8 =
                    format.parse().ok().filter(|pt| *pt < 128).ok_or_else(|| {
                        malformed(line.number, "lists a payload type that is not a number from 0 to 127")
                    })?;
                if section.format_mut(payload_type).is_some() {
                    return Err(malformed(line.number, "lists a payload type twice"));
                }
                section.formats.push(Format {
                    payload_type,
                    channels: 1,
                    ..Format::default()
                });
            }
        }
        Ok(section)
    }

    /// Takes one `a=` line of the section; what is not understood is ignored (RFC 8866 §5.13).
    pub(crate) fn take_attribute(&mut self, line: Line<'_>) -> Result<(), SdpError> {
        let (name, value) = line.value.split_once(':').unwrap_or((line.value, ""));
        match name {
            "mid" => {
                if !is_token(value) {
                    return Err(malformed(line.number, "has a mid that is no token"));
                }
                self.mid = Some(value.to_owned());
            }
            "rtcp-mux" => self.rtcp_mux = true,
            "rtcp-rsize" => self.rtcp_rsize = true,
            "bundle-only" => self.bundle_only = true,
            "rid" => self.has_rids = true,
            "rtpmap" => self
                .take_rtpmap(value)
                .ok_or_else(|| malformed(line.number, "is no valid rtpmap"))?,
            "fmtp" => self.take_fmtp(value),
            "rtcp-fb" => self.take_feedback(value),
            "extmap" => {
                let extension = parse_extension(value).ok_or_else(|| malformed(line.number, "is no valid extmap"))?;
                push_bounded(&mut self.extensions, extension, line)?;
            }
            "ssrc" => {
                let ssrc = value.split(' ').next().and_then(|ssrc| ssrc.parse().ok());
                let ssrc = ssrc.ok_or_else(|| malformed(line.number, "is no valid ssrc"))?;
                // Bounded by ATTRIBUTES_MAX, so the scan is.
                if !self.ssrcs.contains(&ssrc) {
                    push_bounded(&mut self.ssrcs, ssrc, line)?;
                }
            }
            "ssrc-group" => {
                let mut words = value.split(' ');
                if words.next() == Some("FID") {
                    let mut next = || words.next().and_then(|ssrc| ssrc.parse::<u32>().ok());
                    let (Some(media), Some(rtx)) = (next(), next()) else {
                        return Err(malformed(line.number, "is no valid ssrc-group"));
                    };
                    push_bounded(&mut self.fid_groups, (media, rtx), line)?;
                }
            }
            _ => match Direction::from_name(line.value) {
                Some(direction) => self.direction = Some(direction),
                None => self.transport.take_attribute(name, value, line)?,
            },
        }
        Ok(())
    }

    fn format_mut(&mut self, payload_type: u8) -> Option<&mut Format> {
        // At most FORMATS_MAX entries.
        self.formats
            .iter_mut()
            .find(|format| format.payload_type == payload_type)
    }

    /// `<pt> <encoding>/<clock>[/<channels>]`; one for a payload type that the m-line does not list is ignored.
    fn take_rtpmap(&mut self, value: &str) -> Option<()> {
        let (payload_type, encoding) = value.split_once(' ')?;
        let payload_type: u8 = payload_type.parse().ok()?;
        let mut parts = encoding.trim().split('/');
        let name = parts.next().filter(|name| is_token(name))?;
        let clock_rate = parts.next()?.parse().ok()?;
        let channels = parts.next().map_or(Some(1), |channels| channels.parse().ok())?;
        if let Some(format) = self.format_mut(payload_type) {
            format.encoding = name.to_owned();
            format.clock_rate = clock_rate;
            format.channels = channels;
        }
        Some(())
    }

    fn take_fmtp(&mut self, value: &str) {
        let Some((payload_type, parameters)) = value.split_once(' ') else {
            return;
        };
        if let Some(format) = payload_type
            .parse()
            .ok()
            .and_then(|payload_type| self.format_mut(payload_type))
        {
            format.fmtp = parameters.trim().to_owned();
        }
    }

    /// `<pt|*> nack [pli] | ccm fir | transport-cc`
    fn take_feedback(&mut self, value: &str) {
        let Some((payload_type, feedback)) = value.split_once(' ') else {
            return;
        };
        let apply = |format: &mut Format| match feedback.trim() {
            "nack" => format.nack = true,
            "nack pli" => format.pli = true,
            "ccm fir" => format.fir = true,
            "transport-cc" => format.transport_cc = true,
            _ => {}
        };
        if payload_type == "*" {
            self.formats.iter_mut().for_each(apply);
        } else if let Some(format) = payload_type.parse().ok().and_then(|pt| self.format_mut(pt)) {
            apply(format);
        }
    }
}

/// `<id>[/<direction>] <uri> …`
fn parse_extension(value: &str) -> Option<(u8, Direction, String)> {
    let mut words = value.split(' ');
    let (id, uri) = (words.next()?, words.next()?);
    let (id, direction) = match id.split_once('/') {
        Some((id, direction)) => (id, Direction::from_name(direction)?),
        None => (id, Direction::SendRecv),
    };
    // RFC 8285 §5: 4096 and up are place-holders in offers; nothing of ours is worth them.
    let id: u16 = id.parse().ok().filter(|id| *id > 0)?;
    Some((u8::try_from(id).unwrap_or(0), direction, uri.to_owned()))
}

pub(crate) fn push_bounded<T>(list: &mut Vec<T>, item: T, line: Line<'_>) -> Result<(), SdpError> {
    if list.len() >= ATTRIBUTES_MAX {
        let detail = format!(
            "Line {}: more than {ATTRIBUTES_MAX} attributes of one kind in a section.",
            line.number
        );
        return Err(SdpError::bad("sdp_too_many_attributes", detail));
    }
    list.push(item);
    Ok(())
}
