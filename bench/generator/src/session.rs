//! One WebRTC session over one UDP socket: offer, ICE, DTLS, and then keys.

use crate::{http, srtp};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{Ssl, SslContext, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::{X509, X509NameBuilder};
use ring::hmac;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// Chromium's list in Chromium's order; the server's preference decides.
const SRTP_PROFILES: &str = "SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM:SRTP_AEAD_AES_128_GCM";

/// What all sessions of the generator share: one certificate, one TLS context.
pub struct Identity {
    context: SslContext,
    fingerprint: String,
}

impl Identity {
    /// Makes an ECDSA P-256 certificate, as Chromium does for each page.
    pub fn new() -> std::result::Result<Self, openssl::error::ErrorStack> {
        let key = PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?)?)?;
        let certificate = self_signed(&key)?;
        let mut builder = SslContext::builder(SslMethod::dtls_client())?;
        builder.set_certificate(&certificate)?;
        builder.set_private_key(&key)?;
        builder.set_min_proto_version(Some(SslVersion::DTLS1_2))?;
        builder.set_tlsext_use_srtp(SRTP_PROFILES)?;
        // The answer's fingerprint is compared below; there is no chain to verify.
        builder.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
        let digest = certificate.digest(MessageDigest::sha256())?;
        Ok(Identity {
            context: builder.build(),
            fingerprint: colon_hex(&digest),
        })
    }
}

fn self_signed(key: &PKey<Private>) -> std::result::Result<X509, openssl::error::ErrorStack> {
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_text("CN", "generator")?;
    let name = name.build();
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(&*BigNum::from_u32(1)?.to_asn1_integer()?)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    builder.set_pubkey(key)?;
    builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    builder.set_not_after(&*Asn1Time::days_from_now(30)?)?;
    builder.sign(key, MessageDigest::sha256())?;
    Ok(builder.build())
}

fn colon_hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect::<Vec<_>>()
        .join(":")
}

/// A session whose media can flow.
pub struct Session {
    /// Connected to the server's candidate.
    pub socket: UdpSocket,
    /// Seals what is sent.
    pub outgoing: srtp::Keys,
    /// Opens what is received.
    pub incoming: srtp::Keys,
    /// The profile's name as OpenSSL gives it.
    pub srtp_profile: String,
    check: Vec<u8>,
    resource: String,
    token: String,
}

impl Session {
    /// Goes through POST, ICE and DTLS. `offer` is a template with `{ufrag}`, `{pwd}` and `{fingerprint}`.
    pub fn open(identity: &Identity, url: &str, token: &str, offer: &str, number: usize) -> Result<Self> {
        let ufrag = format!("g{number:05}");
        let offer = offer
            .replace("{ufrag}", &ufrag)
            .replace("{pwd}", "generatorgeneratorgenera")
            .replace("{fingerprint}", &identity.fingerprint);
        let http::Created { answer, resource } = http::post_offer(url, token, &offer)?;
        let attribute = |name: &str| {
            let found = answer.lines().find_map(|line| line.trim_end().strip_prefix(name));
            found.ok_or_else(|| Error::other(format!("the answer has no {name}")))
        };
        if attribute("a=setup:")? != "passive" {
            return Err(Error::other(
                "this generator is a DTLS client; the answer wants a server",
            ));
        }
        let remote = candidate(&answer)?;
        let local = if remote.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(local)?;
        socket.connect(remote)?;
        let check = binding_request(
            &format!("{}:{ufrag}", attribute("a=ice-ufrag:")?),
            attribute("a=ice-pwd:")?,
            number,
        );
        connect_ice(&socket, &check)?;
        let fingerprint = attribute("a=fingerprint:sha-256 ")?.to_uppercase();
        let (keys, srtp_profile) = handshake(identity, &socket, &fingerprint)?;
        socket.set_nonblocking(true)?;
        Ok(Session {
            socket,
            // RFC 5764 §4.2: client key, server key, client salt, server salt.
            outgoing: srtp::Keys::new(&keys[..16], &keys[32..44]),
            incoming: srtp::Keys::new(&keys[16..32], &keys[44..56]),
            srtp_profile,

            check,
            resource,
            token: token.to_owned(),
        })
    }

    /// Ends the session as a well-behaved client does.
    pub fn delete(&self) -> Result<()> {
        http::delete(&self.resource, &self.token)
    }

    /// Renews consent (RFC 7675); to be called every few seconds.
    pub fn renew_consent(&self) -> Result<()> {
        self.socket.send(&self.check).map(|_| ())
    }
}

fn candidate(answer: &str) -> Result<SocketAddr> {
    for line in answer.lines().filter_map(|line| line.strip_prefix("a=candidate:")) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if fields.len() > 5
            && fields[2].eq_ignore_ascii_case("udp")
            && let (Ok(ip), Ok(port)) = (fields[4].parse(), fields[5].parse())
        {
            return Ok(SocketAddr::new(ip, port));
        }
    }
    Err(Error::other("the answer has no UDP candidate"))
}

fn binding_request(username: &str, password: &str, number: usize) -> Vec<u8> {
    let mut message = vec![0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
    message.extend_from_slice(b"gene");
    message.extend_from_slice(&(number as u64).to_be_bytes());
    let mut attribute = |kind: u16, value: &[u8]| {
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&(value.len() as u16).to_be_bytes());
        message.extend_from_slice(value);
        message.resize(message.len().next_multiple_of(4), 0);
    };
    attribute(0x0006, username.as_bytes());
    attribute(0x0024, &0x6E00_1EFFu32.to_be_bytes());
    attribute(0x802A, &(number as u64 + 1).to_be_bytes());
    attribute(0x0025, &[]);
    // RFC 8489 §14.5: the length covers the integrity attribute itself while it is computed.
    let length = (message.len() - 20 + 24) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    let tag = hmac::sign(&key, &message);
    message.extend_from_slice(&[0, 8, 0, 20]);
    message.extend_from_slice(tag.as_ref());
    let length = (message.len() - 20 + 8) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
    let fingerprint = crc32(&message) ^ 0x5354_554E;
    message.extend_from_slice(&[0x80, 0x28, 0, 4]);
    message.extend_from_slice(&fingerprint.to_be_bytes());
    message
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |mut crc, byte| {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xEDB8_8320
            } else {
                crc >> 1
            };
        }
        crc
    })
}

fn connect_ice(socket: &UdpSocket, check: &[u8]) -> Result<()> {
    let mut buffer = [0u8; 1500];
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    for _ in 0..25 {
        socket.send(check)?;
        match socket.recv(&mut buffer) {
            Ok(length) if length >= 20 && buffer[..2] == [1, 1] => return Ok(()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::new(
        ErrorKind::TimedOut,
        "no answer to ICE connectivity checks for 5 s",
    ))
}

/// DTLS records of a connected socket; everything else that arrives in between is dropped.
#[derive(Debug)]
struct Records<'a>(&'a UdpSocket);

impl Read for Records<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            let length = self.0.recv(buffer)?;
            // RFC 7983 §7: 20 to 63 is DTLS.
            if length > 0 && (20..64).contains(&buffer[0]) {
                return Ok(length);
            }
        }
    }
}

impl Write for Records<'_> {
    fn write(&mut self, buffer: &[u8]) -> Result<usize> {
        self.0.send(buffer)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

fn handshake(identity: &Identity, socket: &UdpSocket, fingerprint: &str) -> Result<([u8; 56], String)> {
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut ssl = Ssl::new(&identity.context)?;
    ssl.set_mtu(1200)?;
    let stream = ssl
        .connect(Records(socket))
        .map_err(|error| Error::other(format!("DTLS: {error}")))?;
    let peer = stream
        .ssl()
        .peer_certificate()
        .ok_or_else(|| Error::other("DTLS: the server has no certificate"))?;
    if colon_hex(&peer.digest(MessageDigest::sha256())?) != fingerprint {
        return Err(Error::other("DTLS: the server's certificate is not the answer's"));
    }
    let profile = stream
        .ssl()
        .selected_srtp_profile()
        .ok_or_else(|| Error::other("DTLS: no SRTP profile"))?;
    if profile.name() != "SRTP_AEAD_AES_128_GCM" {
        return Err(Error::other(format!(
            "DTLS: this generator measures AES-128-GCM, the server chose {}",
            profile.name()
        )));
    }
    let name = profile.name().to_owned();
    let mut keys = [0u8; 56];
    stream
        .ssl()
        .export_keying_material(&mut keys, "EXTRACTOR-dtls_srtp", None)?;
    // Dropping the stream sends nothing: no close_notify, the session goes on.
    Ok((keys, name))
}
