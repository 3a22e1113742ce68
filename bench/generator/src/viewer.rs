//! A viewer that accounts for every packet: each stream's sequence complete, a share of it decrypted and compared.

use crate::frames::{FrameLog, Part};
use crate::media::{frame_start, is_genuine};
use crate::session::{Identity, Session};
use crate::srtp::TAG_BYTES;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Result};
use std::time::Instant;

/// What a Chromium viewer offers, word for word.
pub const OFFER: &str = include_str!("viewer.sdp");
/// One packet in so many is decrypted and compared.
const CHECK_EVERY: u64 = 50;
/// Payload types of `OFFER`: VP8 and its retransmissions.
const VIDEO_PAYLOAD_TYPE: u8 = 96;
const RTX_PAYLOAD_TYPE: u8 = 97;
/// Packets behind the newest one that a history must still hold.
const ASKED_BACK: u64 = 100;
/// Sequence numbers kept below the first one that arrived, for those that arrive after it.
const BEFORE_FIRST: u64 = 256;

/// What arrived on one ssrc.
#[derive(Default, Clone, Serialize)]
pub struct StreamCount {
    /// Packets, each sequence number once.
    pub packets: u64,
    /// Packets with a sequence number that was there already.
    pub repeated: u64,
    /// Lowest extended sequence number.
    pub first: u64,
    /// Highest extended sequence number.
    pub last: u64,
    /// Packets that stood behind a higher sequence number.
    pub late: u64,
    /// Datagram bytes.
    pub bytes: u64,
    /// One bit per sequence number, the lowest that can be noted first.
    #[serde(skip)]
    seen: Vec<u64>,
    #[serde(skip)]
    seen_from: u64,
}

impl StreamCount {
    /// Sequence numbers between first and last that no packet had.
    pub fn missing(&self) -> u64 {
        if self.packets == 0 {
            0
        } else {
            (self.last - self.first + 1).saturating_sub(self.packets)
        }
    }

    fn take(&mut self, sequence_number: u16, bytes: usize) -> u64 {
        let extended = if self.packets == 0 {
            self.first = u64::from(sequence_number);
            self.seen_from = self.first.saturating_sub(BEFORE_FIRST);
            self.first
        } else {
            // Nearest value to the highest so far (RFC 3711 §3.3.1).
            let delta = sequence_number.wrapping_sub(self.last as u16) as i16;
            self.last.saturating_add_signed(i64::from(delta))
        };
        self.bytes += bytes as u64;
        let Some(place) = extended.checked_sub(self.seen_from) else {
            self.late += 1;
            return extended;
        };
        let (word, bit) = ((place / 64) as usize, 1u64 << (place % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        if self.seen[word] & bit != 0 {
            self.repeated += 1;
            return extended;
        }
        self.seen[word] |= bit;
        if self.packets > 0 && extended <= self.last {
            self.late += 1;
        }
        self.first = self.first.min(extended);
        self.last = self.last.max(extended);
        self.packets += 1;
        extended
    }
}

/// One connected viewer.
pub struct Viewer {
    /// The session, for ending it.
    pub session: Session,
    seed: u64,
    /// By ssrc.
    pub streams: BTreeMap<u32, StreamCount>,
    /// Packets decrypted.
    pub decrypted: u64,
    /// Packets whose tag or body was wrong.
    pub wrong: u64,
    received: u64,
    reports: u32,
    frames: Option<FrameLog>,
    video_ssrc: Option<u32>,
    asked: Option<u16>,
    /// Answers to `ask_again`: the very packet, sent again and genuine.
    pub answered: u64,
}

impl Viewer {
    /// Connects by WHEP.
    pub fn open(identity: &Identity, url: &str, token: &str, number: usize, seed: u64) -> Result<Self> {
        let session = Session::open(identity, url, token, OFFER, number)?;
        Ok(Viewer {
            session,
            seed,
            streams: BTreeMap::new(),
            decrypted: 0,
            wrong: 0,
            received: 0,
            reports: 0,
            frames: None,
            video_ssrc: None,
            asked: None,
            answered: 0,
        })
    }

    /// Decrypts every video packet from now on and notes when each frame became decodable.
    pub fn log_frames(&mut self) {
        self.frames = Some(FrameLog::default());
    }

    /// The frames noted so far, if `log_frames` was called.
    pub fn frames(&mut self) -> Option<&mut FrameLog> {
        self.frames.as_mut()
    }

    /// The socket, for epoll.
    pub fn descriptor(&self) -> i32 {
        std::os::fd::AsRawFd::as_raw_fd(&self.session.socket)
    }

    /// The SRTP profile that was negotiated.
    pub fn srtp_profile(&self) -> &str {
        &self.session.srtp_profile
    }

    /// Media packets received on all streams.
    pub fn packets(&self) -> u64 {
        self.received
    }

    /// Reads until the socket is empty.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<()> {
        loop {
            match self.session.socket.recv(buffer) {
                Ok(length) => self.take(&mut buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // The server's port is closed; what has arrived still counts.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn take(&mut self, datagram: &mut [u8]) {
        // RFC 7983 §7 and RFC 5761 §4: 128 to 191 is RTP or RTCP, payload types 64 to 95 with the marker are RTCP.
        if datagram.len() < 12 + TAG_BYTES || !(128..192).contains(&datagram[0]) || (192..224).contains(&datagram[1]) {
            return;
        }
        let sequence_number = u16::from_be_bytes([datagram[2], datagram[3]]);
        let ssrc = u32::from_be_bytes([datagram[8], datagram[9], datagram[10], datagram[11]]);
        let stream = self.streams.entry(ssrc).or_default();
        let extended = stream.take(sequence_number, datagram.len());
        self.received += 1;
        let payload_type = datagram[1] & 0x7F;
        if payload_type == VIDEO_PAYLOAD_TYPE {
            self.video_ssrc = Some(ssrc);
        }
        if payload_type == RTX_PAYLOAD_TYPE {
            self.take_again(datagram, ssrc, extended);
        } else if self.frames.is_some() || self.received.is_multiple_of(CHECK_EVERY) {
            self.decrypted += 1;
            let header_bytes = header_bytes(datagram);
            let (marker, timestamp) = (
                datagram[1] & 0x80 != 0,
                u32::from_be_bytes([datagram[4], datagram[5], datagram[6], datagram[7]]),
            );
            let payload = if header_bytes < datagram.len() {
                self.session.incoming.open_rtp(datagram, header_bytes, ssrc, extended)
            } else {
                None
            };
            match payload {
                Some(payload) if is_genuine(payload, self.seed) => {
                    if let Some(log) = &mut self.frames
                        && let Some((first, key_frame)) = frame_start(payload)
                    {
                        log.take(
                            extended,
                            Part {
                                timestamp,
                                marker,
                                first,
                                key_frame,
                            },
                            Instant::now(),
                        );
                    }
                }
                _ => self.wrong += 1,
            }
        }
    }

    /// A retransmission (RFC 4588 §4): the payload begins with the sequence number that was lost.
    fn take_again(&mut self, datagram: &mut [u8], ssrc: u32, extended: u64) {
        self.decrypted += 1;
        let header_bytes = header_bytes(datagram);
        let payload = if header_bytes < datagram.len() {
            self.session.incoming.open_rtp(datagram, header_bytes, ssrc, extended)
        } else {
            None
        };
        match payload.as_deref().and_then(|payload| payload.split_first_chunk::<2>()) {
            Some((number, body)) if is_genuine(body, self.seed) => {
                self.answered += u64::from(self.asked == Some(u16::from_be_bytes(*number)));
            }
            _ => self.wrong += 1,
        }
    }

    /// Asks for a packet that has arrived (RFC 4585 §6.2.1), to see that the server still has it. Whether there was one.
    pub fn ask_again(&mut self) -> Result<bool> {
        let Some((ssrc, stream)) = self.video_ssrc.and_then(|ssrc| Some((ssrc, self.streams.get(&ssrc)?))) else {
            return Ok(false);
        };
        let Some(wanted) = stream
            .last
            .checked_sub(ASKED_BACK)
            .filter(|wanted| *wanted >= stream.first)
        else {
            return Ok(false);
        };
        let wanted = wanted as u16;
        self.asked = Some(wanted);
        let mut request = vec![0x81, 205, 0, 3];
        request.extend_from_slice(&1u32.to_be_bytes());
        request.extend_from_slice(&ssrc.to_be_bytes());
        request.extend_from_slice(&wanted.to_be_bytes());
        request.extend_from_slice(&[0, 0]);
        self.session.outgoing.seal_rtcp(&mut request, 1, self.reports);
        self.reports += 1;
        self.session.socket.send(&request).map(|_| true)
    }

    /// Mean size of this viewer's video datagrams.
    pub fn video_datagram_bytes(&self) -> f64 {
        let stream = self.video_ssrc.and_then(|ssrc| self.streams.get(&ssrc));
        stream.map_or(0.0, |stream| {
            stream.bytes as f64 / (stream.packets + stream.repeated).max(1) as f64
        })
    }

    /// Whether the kernel hands this socket several datagrams at a time (UDP_GRO), as no browser asks for.
    pub fn takes_runs(&self) -> bool {
        let mut value: libc::c_int = 0;
        let mut length = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: both places live through the call and have the sizes that it is told.
        let outcome = unsafe {
            libc::getsockopt(
                self.descriptor(),
                libc::SOL_UDP,
                libc::UDP_GRO,
                std::ptr::from_mut(&mut value).cast(),
                &mut length,
            )
        };
        outcome == 0 && value != 0
    }

    /// Renews consent and reports what was received (RFC 3550 §6.4.2), as a browser does.
    pub fn report(&mut self) -> Result<()> {
        self.session.renew_consent()?;
        let mut report = vec![0x80 | self.streams.len().min(31) as u8, 201];
        report.extend_from_slice(&((1 + 6 * self.streams.len().min(31)) as u16).to_be_bytes());
        report.extend_from_slice(&1u32.to_be_bytes());
        for (ssrc, stream) in self.streams.iter().take(31) {
            report.extend_from_slice(&ssrc.to_be_bytes());
            report.extend_from_slice(&0u32.to_be_bytes());
            report.extend_from_slice(&(stream.last as u32).to_be_bytes());
            report.extend_from_slice(&[0; 12]);
        }
        self.session.outgoing.seal_rtcp(&mut report, 1, self.reports);
        self.reports += 1;
        self.session.socket.send(&report).map(|_| ())
    }
}

fn header_bytes(packet: &[u8]) -> usize {
    let fixed = 12 + 4 * usize::from(packet[0] & 0x0F);
    if packet[0] & 0x10 == 0 || packet.len() < fixed + 4 {
        return fixed;
    }
    fixed + 4 + 4 * usize::from(u16::from_be_bytes([packet[fixed + 2], packet[fixed + 3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sequence_number_counts_once_and_a_gap_shows_whatever_is_repeated() {
        let mut stream = StreamCount::default();
        for number in [65_534, 65_535, 0, 2, 2, 2, 65_533] {
            stream.take(number, 100);
        }
        assert_eq!((stream.packets, stream.repeated, stream.late), (5, 2, 1));
        assert_eq!(stream.missing(), 1);
        stream.take(1, 100);
        assert_eq!(stream.missing(), 0);
    }
}
