//! DTLS 1.2 for SRTP keys (RFC 5764) on OpenSSL, one datagram at a time.
//!
//! The caller feeds datagrams and a clock and drains datagrams; sockets never appear here. OpenSSL rather than a Rust
//! implementation because hosts with RSA certificates exist and Chromium must land on AES-GCM.

mod identity;
mod raw;
mod record;
#[cfg(test)]
mod tests;

pub use identity::{DtlsIdentity, Fingerprint};
use record::{Record, SeenRecords};

use openssl::error::ErrorStack;
use openssl::ssl::{ErrorCode, Ssl, SslStream};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::time::Duration;
use tradewind_core::srtp::Profile;

/// Largest datagram of a handshake flight; with IP and UDP headers it passes any path that IPv6 does.
const MTU_BYTES: u32 = 1_200;

/// Forged records of one handshake that are counted one by one when it ends.
const EARLY_MAX: usize = 256;

/// RFC 5764 §4.2.
const EXPORTER_LABEL: &str = "EXTRACTOR-dtls_srtp";

/// Which end of the handshake we are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DtlsRole {
    /// We send the ClientHello (`a=setup:active`).
    Active,
    /// The peer sends it (`a=setup:passive`).
    Passive,
}

impl DtlsRole {
    /// The role as Python and the log see it.
    pub const fn name(self) -> &'static str {
        match self {
            DtlsRole::Active => "client",
            DtlsRole::Passive => "server",
        }
    }
}

/// Keys for both directions, as the SRTP contexts want them.
pub struct SrtpKeys {
    /// What both ends agreed on.
    pub profile: Profile,
    /// Master key and salt of what we send.
    pub write: (Vec<u8>, Vec<u8>),
    /// Master key and salt of what the peer sends.
    pub read: (Vec<u8>, Vec<u8>),
}

/// What a datagram or a time-out led to.
pub enum DtlsProgress {
    /// Nothing to report.
    Pending,
    /// The handshake is complete and the peer's certificate is the promised one.
    Connected(SrtpKeys),
    /// The peer said goodbye.
    Closed,
}

/// Why a handshake failed. The session cannot go on.
#[derive(Debug)]
pub enum DtlsError {
    /// OpenSSL's account of it.
    Handshake(String),
    /// The peer's certificate is not the one its SDP promised.
    FingerprintMismatch,
    /// The peer agreed to no SRTP profile of ours.
    NoSrtpProfile,
}

/// Why one datagram or record was ignored; the session goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DtlsIgnored {
    /// Not DTLS records.
    Malformed,
    /// A ClientHello after the handshake.
    SecondHandshake,
    /// Nobody with the session's keys has made this record.
    AuthenticationFailed,
    /// A genuine record for the second time.
    Replayed,
}

/// One session's DTLS.
pub struct Dtls {
    stream: SslStream<Datagrams>,
    role: DtlsRole,
    peer: Fingerprint,
    connected: bool,
    /// Encrypted records that came before the handshake's end.
    early: usize,
    /// The record that was fed last was understood.
    had_effect: bool,
    /// Encrypted records that were genuine.
    seen: SeenRecords,
    /// What [`Dtls::poll_ignored`] has not given out; of one datagram.
    ignored: VecDeque<DtlsIgnored>,
}

/// What OpenSSL reads and writes: whole datagrams, never a byte stream.
#[derive(Default)]
struct Datagrams {
    incoming: VecDeque<Vec<u8>>,
    outgoing: VecDeque<Vec<u8>>,
    /// OpenSSL has asked for a datagram when there was none.
    starved: bool,
}

impl Read for Datagrams {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(datagram) = self.incoming.pop_front() else {
            self.starved = true;
            return Err(io::ErrorKind::WouldBlock.into());
        };
        // OpenSSL's buffer holds the largest record; what exceeds it is not DTLS and may be cut.
        let len = datagram.len().min(buffer.len());
        buffer[..len].copy_from_slice(&datagram[..len]);
        Ok(len)
    }
}

impl Write for Datagrams {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.outgoing.push_back(buffer.to_vec());
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Dtls {
    /// A handshake that has not begun; `peer` is the fingerprint that the peer's SDP promised.
    pub fn new(identity: &DtlsIdentity, role: DtlsRole, peer: Fingerprint) -> Result<Dtls, ErrorStack> {
        let mut ssl = Ssl::new(identity.context())?;
        match role {
            DtlsRole::Active => ssl.set_connect_state(),
            DtlsRole::Passive => ssl.set_accept_state(),
        }
        ssl.set_mtu(MTU_BYTES)?;
        raw::use_short_first_timeout(&ssl);
        let stream = SslStream::new(ssl, Datagrams::default())?;
        Ok(Dtls {
            stream,
            role,
            peer,
            connected: false,
            early: 0,
            had_effect: false,
            seen: SeenRecords::default(),
            ignored: VecDeque::new(),
        })
    }

    /// Which end we are.
    pub fn role(&self) -> DtlsRole {
        self.role
    }

    /// Sends the first flight when we are the client; nothing otherwise. To be called once ICE has a valid pair.
    pub fn start(&mut self) -> Result<(), DtlsError> {
        match self.role {
            DtlsRole::Active => self.advance().map(|_| ()),
            DtlsRole::Passive => Ok(()),
        }
    }

    /// Feeds one datagram. What of it was ignored comes out of [`Dtls::poll_ignored`].
    pub fn handle_datagram(&mut self, datagram: &[u8]) -> Result<DtlsProgress, DtlsError> {
        self.ignored.clear();
        if !record::is_plausible(datagram) {
            self.ignored.push_back(DtlsIgnored::Malformed);
            return Ok(DtlsProgress::Pending);
        }
        for record in record::records(datagram) {
            // OpenSSL drops forged records without a word, so each one is fed alone and its effect is looked at.
            let progress = if self.connected {
                self.handle_late(&record)
            } else {
                self.handle_early(&record)
            }?;
            if !matches!(progress, DtlsProgress::Pending) {
                return Ok(progress); // behind the last flight stands nothing that media needs
            }
        }
        Ok(DtlsProgress::Pending)
    }

    /// Why something of the latest datagram was ignored, once per record.
    pub fn poll_ignored(&mut self) -> Option<DtlsIgnored> {
        self.ignored.pop_front()
    }

    /// A record of the handshake. Of those that came encrypted before its end, the peer's Finished is the genuine one.
    fn handle_early(&mut self, record: &Record<'_>) -> Result<DtlsProgress, DtlsError> {
        let progress = self.feed(record)?;
        let is_encrypted = record.epoch > 0;
        if !matches!(progress, DtlsProgress::Connected(_)) {
            self.early += usize::from(is_encrypted);
            return Ok(progress);
        }
        if is_encrypted {
            self.seen.insert(record.sequence_number);
        } else {
            self.early = self.early.saturating_sub(1); // it waited for this record, and its number is not known
        }
        let forged = std::mem::take(&mut self.early).min(EARLY_MAX);
        self.ignored
            .extend(std::iter::repeat_n(DtlsIgnored::AuthenticationFailed, forged));
        Ok(progress)
    }

    /// A record after the handshake. A genuine one makes OpenSSL give out data, answer, return, or end; after a forged one it
    /// asks for the next.
    fn handle_late(&mut self, record: &Record<'_>) -> Result<DtlsProgress, DtlsError> {
        let reason = if record.is_client_hello() {
            DtlsIgnored::SecondHandshake
        } else if record.is_plain_alert() || record.epoch > 1 {
            DtlsIgnored::AuthenticationFailed
        } else if record.epoch == 0 {
            return Ok(DtlsProgress::Pending); // the unencrypted part of a repeated flight
        } else if self.seen.contains(record.sequence_number) {
            DtlsIgnored::Replayed
        } else {
            let progress = self.feed(record)?;
            if self.had_effect || !matches!(progress, DtlsProgress::Pending) {
                self.seen.insert(record.sequence_number);
                return Ok(progress);
            }
            DtlsIgnored::AuthenticationFailed
        };
        self.ignored.push_back(reason);
        Ok(DtlsProgress::Pending)
    }

    fn feed(&mut self, record: &Record<'_>) -> Result<DtlsProgress, DtlsError> {
        let datagrams = self.stream.get_mut();
        let waiting = datagrams.outgoing.len();
        datagrams.incoming.push_back(record.bytes.to_vec());
        datagrams.starved = false;
        self.had_effect = false;
        let progress = self.advance();
        let datagrams = self.stream.get_mut();
        self.had_effect |= datagrams.outgoing.len() > waiting || !datagrams.starved;
        datagrams.incoming.clear();
        progress
    }

    /// The next datagram to send to the peer.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.stream.get_mut().outgoing.pop_front()
    }

    /// How long until [`Dtls::handle_timeout`] must be called; `None` when nothing is in flight.
    pub fn poll_timeout(&self) -> Option<Duration> {
        raw::remaining(self.stream.ssl())
    }

    /// Repeats the last flight when its time has come.
    pub fn handle_timeout(&mut self) -> Result<(), DtlsError> {
        raw::handle(self.stream.ssl()).map_err(|()| DtlsError::Handshake("the peer does not answer".to_owned()))
    }

    /// Says goodbye; the datagram comes out of [`Dtls::poll_transmit`].
    pub fn close(&mut self) {
        // An unfinished handshake has no keys for an alert; the peer's own time-out ends it.
        let _ = self.stream.shutdown();
    }

    fn advance(&mut self) -> Result<DtlsProgress, DtlsError> {
        if self.connected {
            return self.read_after_handshake();
        }
        match self.stream.do_handshake() {
            Ok(()) => {
                self.connected = true;
                self.export_keys().map(DtlsProgress::Connected)
            }
            Err(error) if matches!(error.code(), ErrorCode::WANT_READ | ErrorCode::WANT_WRITE) => {
                Ok(DtlsProgress::Pending)
            }
            Err(error) => Err(DtlsError::Handshake(error.to_string())),
        }
    }

    /// A repeated last flight makes OpenSSL repeat ours; an alert may be the peer's goodbye. Application data has no
    /// meaning here and is discarded.
    fn read_after_handshake(&mut self) -> Result<DtlsProgress, DtlsError> {
        let mut discarded = [0; 256];
        loop {
            match self.stream.ssl_read(&mut discarded) {
                Ok(_) => self.had_effect = true,
                Err(error) if error.code() == ErrorCode::ZERO_RETURN => return Ok(DtlsProgress::Closed),
                Err(error) if matches!(error.code(), ErrorCode::WANT_READ | ErrorCode::WANT_WRITE) => {
                    return Ok(DtlsProgress::Pending);
                }
                Err(error) => return Err(DtlsError::Handshake(error.to_string())),
            }
        }
    }

    fn export_keys(&self) -> Result<SrtpKeys, DtlsError> {
        let ssl = self.stream.ssl();
        let certificate = ssl.peer_certificate().ok_or(DtlsError::FingerprintMismatch)?;
        if !self.peer.matches(&certificate) {
            return Err(DtlsError::FingerprintMismatch);
        }
        let profile = match ssl.selected_srtp_profile().map(|profile| profile.name()) {
            Some("SRTP_AEAD_AES_128_GCM") => Profile::AeadAes128Gcm,
            Some("SRTP_AES128_CM_SHA1_80") => Profile::Aes128CmSha1_80,
            _ => return Err(DtlsError::NoSrtpProfile),
        };
        let (key_len, salt_len) = (profile.key_len(), profile.salt_len());
        let mut material = vec![0; 2 * (key_len + salt_len)];
        ssl.export_keying_material(&mut material, EXPORTER_LABEL, None)
            .map_err(|error| DtlsError::Handshake(error.to_string()))?;
        // RFC 5764 §4.2: client key, server key, client salt, server salt.
        let (keys, salts) = material.split_at(2 * key_len);
        let client = (keys[..key_len].to_vec(), salts[..salt_len].to_vec());
        let server = (keys[key_len..].to_vec(), salts[salt_len..].to_vec());
        Ok(match self.role {
            DtlsRole::Active => SrtpKeys {
                profile,
                write: client,
                read: server,
            },
            DtlsRole::Passive => SrtpKeys {
                profile,
                write: server,
                read: client,
            },
        })
    }
}
