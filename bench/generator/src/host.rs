//! A publisher with an exact cadence: `frames_per_second` frames of `packets_per_frame` packets, and Opus beside it.

use crate::media::{PacketShape, append_payload};
use crate::session::{Identity, Session};
use std::io::Result;
use std::time::{Duration, Instant};

/// The offer of a Chromium host, reduced to the codecs it sends here.
const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=msid-semantic: WMS\r\n\
m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:{ufrag}\r\n\
a=ice-pwd:{pwd}\r\na=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\na=mid:0\r\na=sendonly\r\n\
a=msid:- video\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n\
a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=ssrc-group:FID 286331153 286331154\r\n\
a=ssrc:286331153 cname:generator\r\na=ssrc:286331154 cname:generator\r\n\
m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:{ufrag}\r\n\
a=ice-pwd:{pwd}\r\na=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\na=mid:1\r\na=sendonly\r\n\
a=msid:- audio\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n\
a=ssrc:286331155 cname:generator\r\n";
const VIDEO_SSRC: u32 = 286_331_153;
const AUDIO_SSRC: u32 = 286_331_155;
const RTP_HEADER_BYTES: usize = 12;
const AUDIO_INTERVAL: Duration = Duration::from_millis(20);
const NTP_UNIX_OFFSET_SECONDS: u64 = 2_208_988_800;

/// What a host sends.
#[derive(Clone, Copy)]
pub struct Cadence {
    /// Video frames a second.
    pub frames_per_second: u32,
    /// Packets of one frame.
    pub packets_per_frame: u32,
    /// RTP payload bytes of a video packet.
    pub payload_bytes: usize,
    /// A key frame every so many frames.
    pub key_frame_interval: u64,
    /// 50 Opus packets a second as well.
    pub audio: bool,
    /// Decides the packets' bodies.
    pub seed: u64,
}

/// The publisher: call `run` whenever `next_at` has come.
pub struct Host {
    /// The session, for ending it.
    pub session: Session,
    cadence: Cadence,
    started: Instant,
    frames: u64,
    packets: u64,
    audio_packets: u64,
    reports: u32,
    next_report: Instant,
    latest: Duration,
    frames_told: u64,
    scratch: Vec<u8>,
}

impl Host {
    /// Connects by WHIP.
    pub fn open(identity: &Identity, url: &str, token: &str, cadence: Cadence) -> Result<Self> {
        let session = Session::open(identity, url, token, OFFER, 99_999)?;
        let started = Instant::now();
        Ok(Host {
            session,
            cadence,
            started,
            frames: 0,
            packets: 0,
            audio_packets: 0,
            reports: 0,
            next_report: started,
            latest: Duration::ZERO,
            frames_told: 0,
            scratch: Vec::with_capacity(1_500),
        })
    }

    /// Whether sound goes with the picture from now on; sound that has ended does not come back.
    pub fn set_audio(&mut self, audio: bool) {
        self.cadence.audio &= audio;
    }

    /// When the next frame, audio packet or report is due.
    pub fn next_at(&self) -> Instant {
        let frame = self.frame_due();
        let audio = if self.cadence.audio { self.audio_due() } else { frame };
        frame.min(audio).min(self.next_report)
    }

    /// Goes on after `pause` without sending: what was due meanwhile is not made up for in one burst.
    pub fn resume_after(&mut self, pause: Duration) {
        self.started += pause;
    }

    /// Video packets sent so far.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Frames sent since this was last asked.
    pub fn take_frames(&mut self) -> u64 {
        self.frames - std::mem::replace(&mut self.frames_told, self.frames)
    }

    /// How late the latest frame left since this was last asked: a gap that the server did not make.
    pub fn take_lateness(&mut self) -> Duration {
        std::mem::take(&mut self.latest)
    }

    fn frame_due(&self) -> Instant {
        self.started + Duration::from_nanos(self.frames * 1_000_000_000 / u64::from(self.cadence.frames_per_second))
    }

    fn audio_due(&self) -> Instant {
        self.started + AUDIO_INTERVAL * u32::try_from(self.audio_packets).unwrap_or(u32::MAX)
    }

    /// Sends what is due at `now`, reads and drops what the server reports.
    pub fn run(&mut self, now: Instant) -> Result<()> {
        let mut feedback = [0u8; 1_500];
        while self.session.socket.recv(&mut feedback).is_ok() {}
        while self.frame_due() <= now {
            self.latest = self.latest.max(now - self.frame_due());
            self.send_frame()?;
        }
        while self.cadence.audio && self.audio_due() <= now {
            self.send_audio()?;
        }
        if self.next_report <= now {
            self.next_report = now + Duration::from_secs(1);
            self.session.renew_consent()?;
            let elapsed = now - self.started;
            let video_clock = (elapsed.as_micros() * 9 / 100) as u32;
            self.send_report(VIDEO_SSRC, video_clock)?;
            if self.cadence.audio {
                self.send_report(AUDIO_SSRC, (elapsed.as_micros() * 48 / 1_000) as u32)?;
            }
        }
        Ok(())
    }

    fn header(&mut self, marker: bool, payload_type: u8, sequence_number: u64, timestamp: u32, ssrc: u32) {
        self.scratch.clear();
        self.scratch
            .extend_from_slice(&[0x80, payload_type | if marker { 0x80 } else { 0 }]);
        self.scratch.extend_from_slice(&(sequence_number as u16).to_be_bytes());
        self.scratch.extend_from_slice(&timestamp.to_be_bytes());
        self.scratch.extend_from_slice(&ssrc.to_be_bytes());
    }

    fn send_frame(&mut self) -> Result<()> {
        let count = self.cadence.packets_per_frame;
        let timestamp = (self.frames * 90_000 / u64::from(self.cadence.frames_per_second)) as u32;
        for index in 0..count {
            let shape = PacketShape {
                number: self.packets,
                first: index == 0,
                key_frame: self.frames.is_multiple_of(self.cadence.key_frame_interval),
                picture: self.frames,
            };
            self.header(index + 1 == count, 96, self.packets, timestamp, VIDEO_SSRC);
            append_payload(&mut self.scratch, &shape, self.cadence.seed, self.cadence.payload_bytes);
            self.session
                .outgoing
                .seal_rtp(&mut self.scratch, RTP_HEADER_BYTES, VIDEO_SSRC, self.packets);
            self.session.socket.send(&self.scratch)?;
            self.packets += 1;
        }
        self.frames += 1;
        Ok(())
    }

    fn send_audio(&mut self) -> Result<()> {
        self.header(
            self.audio_packets == 0,
            111,
            self.audio_packets,
            (self.audio_packets * 960) as u32,
            AUDIO_SSRC,
        );
        let shape = PacketShape {
            number: self.audio_packets,
            first: false,
            key_frame: false,
            picture: 0,
        };
        append_payload(&mut self.scratch, &shape, self.cadence.seed, 120);
        self.session
            .outgoing
            .seal_rtp(&mut self.scratch, RTP_HEADER_BYTES, AUDIO_SSRC, self.audio_packets);
        self.session.socket.send(&self.scratch)?;
        self.audio_packets += 1;
        Ok(())
    }

    fn send_report(&mut self, ssrc: u32, rtp: u32) -> Result<()> {
        let unix = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let ntp = ((unix.as_secs() + NTP_UNIX_OFFSET_SECONDS) << 32)
            | ((u64::from(unix.subsec_nanos()) << 32) / 1_000_000_000);
        // RFC 3550 §6.4.1: a sender report without report blocks is seven words.
        let mut report = vec![0x80, 200, 0, 6];
        report.extend_from_slice(&ssrc.to_be_bytes());
        report.extend_from_slice(&ntp.to_be_bytes());
        report.extend_from_slice(&rtp.to_be_bytes());
        report.extend_from_slice(&(self.packets as u32).to_be_bytes());
        report.extend_from_slice(&0u32.to_be_bytes());
        self.session.outgoing.seal_rtcp(&mut report, ssrc, self.reports);
        self.reports += 1;
        self.session.socket.send(&report).map(|_| ())
    }
}
