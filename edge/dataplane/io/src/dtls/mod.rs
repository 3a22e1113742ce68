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

use openssl::error::ErrorStack;
use openssl::ssl::{ErrorCode, Ssl, SslStream};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::time::Duration;
use tradewind_core::srtp::Profile;

/// Largest datagram of a handshake flight; with IP and UDP headers it passes any path that IPv6 does.
const MTU_BYTES: u32 = 1_200;

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

/// Why one datagram was ignored; the session goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DtlsIgnored {
    /// Not DTLS records.
    Malformed,
    /// A ClientHello after the handshake.
    SecondHandshake,
}

/// One session's DTLS.
pub struct Dtls {
    stream: SslStream<Datagrams>,
    role: DtlsRole,
    peer: Fingerprint,
    connected: bool,
}

/// What OpenSSL reads and writes: whole datagrams, never a byte stream.
#[derive(Default)]
struct Datagrams {
    incoming: VecDeque<Vec<u8>>,
    outgoing: VecDeque<Vec<u8>>,
}

impl Read for Datagrams {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(datagram) = self.incoming.pop_front() else {
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

    /// Feeds one datagram.
    pub fn handle_datagram(&mut self, datagram: &[u8]) -> Result<Result<DtlsProgress, DtlsIgnored>, DtlsError> {
        if !record::is_plausible(datagram) {
            return Ok(Err(DtlsIgnored::Malformed));
        }
        if self.connected && record::is_client_hello(datagram) {
            return Ok(Err(DtlsIgnored::SecondHandshake));
        }
        self.stream.get_mut().incoming.push_back(datagram.to_vec());
        let progress = self.advance();
        self.stream.get_mut().incoming.clear();
        progress.map(Ok)
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
                Ok(_) => {}
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
