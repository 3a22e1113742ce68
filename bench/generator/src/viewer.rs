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

/// What arrived on one ssrc.
#[derive(Default, Clone, Serialize)]
pub struct StreamCount {
    /// Packets, retransmissions of the same sequence number included.
    pub packets: u64,
    /// Extended sequence number of the first packet.
    pub first: u64,
    /// Highest extended sequence number.
    pub last: u64,
    /// Packets that stood behind a higher sequence number.
    pub late: u64,
    /// Datagram bytes.
    pub bytes: u64,
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
            self.first
        } else {
            // Nearest value to the highest so far (RFC 3711 §3.3.1).
            let delta = sequence_number.wrapping_sub(self.last as u16) as i16;
            self.last.saturating_add_signed(i64::from(delta))
        };
        if self.packets > 0 && extended <= self.last {
            self.late += 1;
        }
        self.last = self.last.max(extended);
        self.packets += 1;
        self.bytes += bytes as u64;
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
        if self.frames.is_some() || self.received.is_multiple_of(CHECK_EVERY) {
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
