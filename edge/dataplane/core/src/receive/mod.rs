//! The publisher's side of a session: decrypted RTP in, [`MediaPacket`]s out, and the RTCP that keeps them coming.
//!
//! Binding of ssrcs to tracks, RTX, padding, repair requests, transport-wide feedback, reception reports and key-frame requests
//! live here. Encryption does not, nor anything that knows a viewer.

mod drops;
mod nack;
mod parameters;
#[cfg(test)]
mod tests;
mod track;
mod window;

use crate::codec;
use crate::packet::{MediaExtensions, MediaPacket, Ssrc};
use crate::rtcp::{self, Rtcp, TwccRecorder};
use crate::rtp::{RtpHeader, extend_sequence_number};
use crate::source::{Codec, SenderClock, TrackInfo};
use crate::time::Time;
use bytes::Bytes;
pub use drops::ReceiveDrop;
pub use parameters::{ReceiveCodec, ReceiveDisabled, ReceiveExtensions, ReceiveParameters, ReceiveTrackParameters};
use std::collections::VecDeque;
use std::time::Duration;
use track::{KeyFrameRequest, TrackReceiver};

/// Transport-wide feedback at the upper end of what libwebrtc sends (50–250 ms): congestion control reacts to its age.
const FEEDBACK_INTERVAL: Duration = Duration::from_millis(50);

/// First reception report after the first packet, so that the publisher soon knows its round trip.
const FIRST_REPORT: Duration = Duration::from_millis(300);

/// Reception reports after that; libwebrtc's interval for video.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Bytes of a compound: with IPv6, UDP and SRTCP below the 1,280 that pass every tunnel (RFC 8200 §5).
const COMPOUND_MAX: usize = 1_200;

/// A NACK's header and the longest key-frame request, which go with the numbers.
const REQUEST_BYTES: usize = 12 + 20;

/// A feedback packet of up to 924 bytes joins a compound only while that is this short.
const COMPOUND_ROOM: usize = 200;

/// Events kept for the driver.
const MAX_EVENTS: usize = 64;

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
    /// The host sends B-frames, which players show out of order; told once per track.
    BFrames {
        /// The track's index.
        track: usize,
    },
}

/// How long a host may take to answer a key-frame request before its operator is warned.
pub const KEY_FRAME_PATIENCE: Duration = Duration::from_secs(2);

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
    extensions: ReceiveExtensions,
    local_ssrc: Ssrc,
    cname: String,
    reduced_size: bool,
    disabled: ReceiveDisabled,
    tracks: Vec<TrackReceiver>,
    bindings: Vec<Binding>,
    twcc: TwccRecorder,
    next_feedback: Option<Time>,
    next_report: Option<Time>,
    events: VecDeque<ReceiveEvent>,
    due: Vec<u64>,
    stats: ReceiveStats,
}

/// What an ssrc carries; decided by its first packet and kept, since mid and rid vanish after the first report.
#[derive(Clone, Copy, Debug)]
struct Binding {
    ssrc: Ssrc,
    track: usize,
    role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Media,
    Rtx,
}

/// Header extensions of one packet, by meaning.
#[derive(Default)]
struct PacketExtensions<'a> {
    mid: Option<&'a [u8]>,
    transport_sequence_number: Option<u16>,
    media: MediaExtensions,
}

impl ReceiveHalf {
    /// A half that has seen nothing yet.
    pub fn new(parameters: ReceiveParameters) -> ReceiveHalf {
        ReceiveHalf {
            extensions: parameters.extensions,
            local_ssrc: parameters.local_ssrc,
            cname: parameters.cname,
            reduced_size: parameters.reduced_size,
            disabled: parameters.disabled,
            tracks: parameters.tracks.into_iter().map(TrackReceiver::new).collect(),
            bindings: Vec::new(),
            twcc: TwccRecorder::new(),
            next_feedback: None,
            next_report: None,
            events: VecDeque::new(),
            due: Vec::new(),
            stats: ReceiveStats::default(),
        }
    }

    /// Takes one decrypted RTP packet with its extended number from `OpenContext::open_rtp`.
    ///
    /// `Ok(None)` for what only the half itself needs. A padding-only packet comes out with an empty payload, so that every
    /// reader of the stream knows its number to be spent.
    pub fn handle_rtp(
        &mut self,
        packet: &[u8],
        extended_sequence_number: u64,
        now: Time,
    ) -> Result<Option<(usize, MediaPacket)>, ReceiveDrop> {
        let header = RtpHeader::parse(packet).map_err(ReceiveDrop::Rtp)?;
        let extensions = self.read_extensions(&header, packet);
        if let (Some(number), false) = (extensions.transport_sequence_number, self.disabled.twcc) {
            self.twcc.handle_arrival(number, now);
            self.next_feedback.get_or_insert(now + FEEDBACK_INTERVAL);
        }
        let binding = match self.bindings.iter().find(|binding| binding.ssrc == header.ssrc) {
            Some(binding) => *binding,
            None => self.bind(&header, extensions.mid)?,
        };
        let track = &mut self.tracks[binding.track];
        let payload = header.payload(packet);
        let (number, payload_type, payload) = match binding.role {
            Role::Media => (extended_sequence_number, header.payload_type, payload),
            Role::Rtx => unwrap_rtx(track, header.payload_type, payload)?,
        };
        let codec = track.accept_payload_type(payload_type)?;
        if binding.role == Role::Media {
            track.ssrc.get_or_insert(header.ssrc);
            track.count_reception(number, header.timestamp, codec.clock_rate(), now);
            self.next_report.get_or_insert(now + FIRST_REPORT);
        }
        track.handle_number(number, !self.disabled.nack, now, &mut self.stats)?;
        let key_frame_start = codec::is_key_frame_start(codec, payload);
        if key_frame_start && track.handle_key_frame(header.timestamp) {
            self.stats.key_frames += 1;
        }
        let has_b_frames = codec == Codec::H264 && track.handle_h264(payload);
        self.stats.packets += 1;
        self.stats.bytes += payload.len() as u64;
        let packet = MediaPacket {
            received_at: now,
            // RTX is bound only after its track, so the ssrc is known.
            ssrc: track.ssrc.unwrap_or(header.ssrc),
            extended_sequence_number: number,
            timestamp: header.timestamp,
            marker: header.marker,
            payload_type,
            key_frame_start,
            extensions: extensions.media,
            payload: Bytes::copy_from_slice(payload),
        };
        if has_b_frames {
            self.push_event(ReceiveEvent::BFrames { track: binding.track });
        }
        Ok(Some((binding.track, packet)))
    }

    /// Takes one decrypted RTCP compound.
    pub fn handle_rtcp(&mut self, compound: &[u8], now: Time) -> Result<(), ReceiveDrop> {
        for packet in rtcp::parse(compound).map_err(ReceiveDrop::Rtcp)? {
            match packet {
                Rtcp::SenderReport { report, .. } => {
                    let Some(track) = self.track_of(report.ssrc) else {
                        continue;
                    };
                    self.tracks[track].handle_sender_report(report.ntp, now);
                    // RFC 3550 §6.4.1: a sender without a wallclock may say zero.
                    if report.ntp != 0 {
                        let clock = SenderClock {
                            ntp: report.ntp,
                            rtp: report.rtp,
                        };
                        self.push_event(ReceiveEvent::SenderClock { track, clock });
                    }
                }
                Rtcp::Bye(ssrcs) => {
                    for ssrc in ssrcs {
                        if let Some(track) = self.track_of(ssrc) {
                            self.push_event(ReceiveEvent::Bye { track });
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Asks the publisher for a key frame of this track, at most one request per 500 ms; a key frame that arrives first answers it.
    pub fn request_key_frame(&mut self, track: usize, now: Time) {
        if let Some(track) = self.tracks.get_mut(track) {
            track.request_key_frame(now);
        }
    }

    /// The next plaintext compound to seal and send, if one is due.
    pub fn poll_rtcp(&mut self, now: Time) -> Option<Vec<u8>> {
        let mut compound = Vec::new();
        let report_due = self.next_report.is_some_and(|at| now >= at);
        // RFC 4585 §3.1: where RFC 5506 was not agreed, every compound begins with a report.
        if report_due || (!self.reduced_size && self.is_feedback_due(now)) {
            self.next_report = Some(now + REPORT_INTERVAL);
            self.write_report(&mut compound, now);
        }
        let reported = compound.len();
        for index in 0..self.tracks.len() {
            let track = &mut self.tracks[index];
            self.due.clear();
            // Four bytes for each number when none lie close together; what finds no room follows in the next compound, at once.
            let limit = COMPOUND_MAX.saturating_sub(compound.len() + REQUEST_BYTES) / 4;
            track.poll_nack(now, limit, &mut self.due, &mut self.stats);
            if let Some(ssrc) = track.ssrc {
                self.stats.nacks_sent += self.due.len() as u64;
                rtcp::write_nack(
                    &mut compound,
                    self.local_ssrc,
                    ssrc,
                    self.due.iter().map(|number| *number as u16),
                );
                if let Some(request) = track.poll_key_frame_request(now) {
                    self.stats.plis_sent += 1;
                    match request {
                        KeyFrameRequest::Pli => rtcp::write_pli(&mut compound, self.local_ssrc, ssrc),
                        KeyFrameRequest::Fir(command) => {
                            rtcp::write_fir(&mut compound, self.local_ssrc, ssrc, command);
                        }
                    }
                }
            }
            if track.poll_key_frame_ignored(now) {
                self.push_event(ReceiveEvent::KeyFrameIgnored { track: index });
            }
        }
        if self.next_feedback.is_some_and(|at| now >= at) && compound.len() < COMPOUND_ROOM.max(reported + 1) {
            let media_ssrc = self
                .tracks
                .iter()
                .find_map(|track| track.ssrc)
                .unwrap_or(self.local_ssrc);
            self.twcc.write_feedback(&mut compound, self.local_ssrc, media_ssrc);
            // What did not fit into one packet follows in the next compound, at once.
            self.next_feedback = self.twcc.is_pending().then_some(now);
        }
        if compound.is_empty() { None } else { Some(compound) }
    }

    fn is_feedback_due(&self, now: Time) -> bool {
        let mut requests = self.tracks.iter().filter_map(TrackReceiver::next_request_at);
        self.next_feedback.is_some_and(|at| now >= at) || requests.any(|at| now >= at)
    }

    /// What Python or the trunks should know; call until `None`.
    pub fn poll_event(&mut self) -> Option<ReceiveEvent> {
        self.events.pop_front()
    }

    /// When `poll_rtcp` will next have something.
    pub fn poll_timeout(&self) -> Option<Time> {
        let tracks = self.tracks.iter().filter_map(TrackReceiver::poll_timeout);
        tracks.chain(self.next_report).chain(self.next_feedback).min()
    }

    /// The plaintext compound that ends the session from our side.
    pub fn goodbye(&mut self, now: Time) -> Vec<u8> {
        let mut compound = Vec::new();
        self.write_report(&mut compound, now);
        rtcp::write_bye(&mut compound, &[self.local_ssrc]);
        compound
    }

    /// What each track carries, once its first packet has shown the codec; the answer's first codec before that.
    pub fn track_infos(&self) -> Vec<TrackInfo> {
        let infos = self.tracks.iter().filter_map(|track| {
            let codec = track.codec()?;
            let ssrc = track.ssrc.or_else(|| track.parameters.ssrcs.first().copied());
            Some(TrackInfo {
                codec: codec.codec,
                fmtp: codec.fmtp.clone(),
                ssrc,
            })
        });
        infos.collect()
    }

    /// Whether the track's first packet has arrived.
    pub fn is_bound(&self, track: usize) -> bool {
        self.tracks.get(track).is_some_and(|track| track.ssrc.is_some())
    }

    /// Counters, all tracks together.
    pub fn stats(&self) -> ReceiveStats {
        self.stats
    }

    fn track_of(&self, ssrc: Ssrc) -> Option<usize> {
        self.tracks.iter().position(|track| track.ssrc == Some(ssrc))
    }

    fn push_event(&mut self, event: ReceiveEvent) {
        // A driver that polls after each input never comes near the bound; one that does not loses the oldest.
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    fn write_report(&mut self, compound: &mut Vec<u8>, now: Time) {
        let receptions: Vec<_> = self
            .tracks
            .iter_mut()
            .filter_map(|track| track.reception_report(now))
            .collect();
        rtcp::write_receiver_report(compound, self.local_ssrc, &receptions);
        rtcp::write_sdes(compound, self.local_ssrc, &self.cname);
    }

    fn read_extensions<'a>(&self, header: &RtpHeader, packet: &'a [u8]) -> PacketExtensions<'a> {
        let ids = &self.extensions;
        let mut found = PacketExtensions::default();
        for (id, value) in header.extensions(packet) {
            let id = Some(id);
            if id == ids.transport_sequence_number {
                found.transport_sequence_number = value.first_chunk::<2>().map(|two| u16::from_be_bytes(*two));
            } else if id == ids.mid {
                found.mid = Some(value);
            } else if id == ids.abs_capture_time {
                found.media.abs_capture_time = read_abs_capture_time(value);
            } else if id == ids.audio_level {
                found.media.audio_level = value.first().copied();
            } else if id == ids.video_orientation {
                found.media.video_orientation = value.first().copied();
            }
        }
        found
    }

    /// Finds the track of a new ssrc: by mid, else by the offer's ssrcs, else by payload type (FFmpeg sends no mid).
    fn bind(&mut self, header: &RtpHeader, mid: Option<&[u8]>) -> Result<Binding, ReceiveDrop> {
        let ssrc = header.ssrc;
        let payload_type = header.payload_type;
        let media = |track: &TrackReceiver| {
            track
                .parameters
                .codecs
                .iter()
                .any(|codec| codec.payload_type == payload_type)
        };
        let rtx = |track: &TrackReceiver| {
            track
                .parameters
                .codecs
                .iter()
                .any(|codec| codec.rtx_payload_type == Some(payload_type))
        };
        let by_mid = || {
            self.tracks
                .iter()
                .position(|track| Some(track.parameters.mid.as_bytes()) == mid)
        };
        let by_ssrc = || {
            let names = |track: &TrackReceiver| {
                track.parameters.ssrcs.contains(&ssrc) || track.parameters.rtx_ssrcs.contains(&ssrc)
            };
            self.tracks.iter().position(names)
        };
        let by_payload_type = || self.tracks.iter().position(|track| media(track) || rtx(track));
        let track = by_mid()
            .or_else(by_ssrc)
            .or_else(by_payload_type)
            .ok_or(ReceiveDrop::UnknownSsrc)?;
        let role = if media(&self.tracks[track]) {
            Role::Media
        } else if rtx(&self.tracks[track]) {
            Role::Rtx
        } else {
            return Err(ReceiveDrop::UnknownPayloadType);
        };
        let binding = Binding { ssrc, track, role };
        if self
            .bindings
            .iter()
            .any(|other| other.track == track && other.role == role)
        {
            return Err(ReceiveDrop::UnknownSsrc);
        }
        self.bindings.push(binding);
        Ok(binding)
    }
}

/// RFC 4588 §4: the original sequence number comes first, the rest is the original payload.
fn unwrap_rtx<'a>(
    track: &TrackReceiver,
    payload_type: u8,
    payload: &'a [u8],
) -> Result<(u64, u8, &'a [u8]), ReceiveDrop> {
    if payload.is_empty() {
        return Err(ReceiveDrop::RtxPadding);
    }
    let (original, payload) = payload.split_first_chunk::<2>().ok_or(ReceiveDrop::RtxTruncated)?;
    let payload_type = track.associated_payload_type(payload_type)?;
    let highest = track.highest().ok_or(ReceiveDrop::RtxUnbound)?;
    let number = extend_sequence_number(u16::from_be_bytes(*original), highest).ok_or(ReceiveDrop::RtxTooOld)?;
    Ok((number, payload_type, payload))
}

/// The short form has the timestamp only, the long one an estimated clock offset too.
fn read_abs_capture_time(value: &[u8]) -> Option<(u64, Option<i64>)> {
    let (ntp, rest) = value.split_first_chunk::<8>()?;
    Some((
        u64::from_be_bytes(*ntp),
        rest.first_chunk::<8>().map(|offset| i64::from_be_bytes(*offset)),
    ))
}
