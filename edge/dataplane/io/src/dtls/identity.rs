//! This process's certificate, and how a peer's is recognised.

use super::{MTU_BYTES, raw};
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::ssl::{SslContext, SslMethod, SslMode, SslOptions, SslSessionCacheMode, SslVerifyMode, SslVersion};
use openssl::x509::{X509, X509NameBuilder, X509Ref};

/// Server preference; also what we offer as a client. AES-GCM costs a quarter of AES-CM with HMAC-SHA1.
const SRTP_PROFILES: &str = "SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80";

/// Forward-secret suites with either kind of certificate; the CBC ones are for old stacks (GStreamer on Debian 11).
const CIPHERS: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:\
    ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:\
    ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:\
    ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA";

/// Curves for the key exchange, and the only ones that OpenSSL accepts in a peer's certificate: FFmpeg with GnuTLS makes its
/// own on P-224.
const GROUPS: &str = "X25519:P-256:P-384:P-521:P-224";

/// Days a certificate is valid. It lives as long as the process; browsers do not look at it.
const VALID_DAYS: u32 = 365;

/// A certificate's hash as SDP states it (RFC 8122 §5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fingerprint {
    /// The hash function's name in SDP: `sha-256` and its kin.
    pub algorithm: String,
    /// The hash.
    pub bytes: Vec<u8>,
}

impl Fingerprint {
    /// Whether `certificate` is the one meant. An unknown hash function matches nothing.
    pub fn matches(&self, certificate: &X509Ref) -> bool {
        let digest = match self.algorithm.to_ascii_lowercase().as_str() {
            "sha-1" => MessageDigest::sha1(),
            "sha-224" => MessageDigest::sha224(),
            "sha-256" => MessageDigest::sha256(),
            "sha-384" => MessageDigest::sha384(),
            "sha-512" => MessageDigest::sha512(),
            _ => return false,
        };
        certificate.digest(digest).is_ok_and(|actual| *actual == *self.bytes)
    }
}

/// The certificate that all sessions of this process show, and the settings they share.
pub struct DtlsIdentity {
    context: SslContext,
    fingerprint_sha256: [u8; 32],
}

impl DtlsIdentity {
    /// Makes a key on P-256 and a self-signed certificate.
    pub fn generate() -> Result<DtlsIdentity, ErrorStack> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
        let mut name = X509NameBuilder::new()?;
        name.append_entry_by_nid(Nid::COMMONNAME, "tradewind")?;
        let name = name.build();
        let mut serial = BigNum::new()?;
        serial.rand(127, MsbOption::MAYBE_ZERO, false)?;
        let mut builder = X509::builder()?;
        builder.set_version(2)?;
        builder.set_serial_number(&*serial.to_asn1_integer()?)?;
        builder.set_subject_name(&name)?;
        builder.set_issuer_name(&name)?;
        // A day back, for peers whose clock is behind.
        builder.set_not_before(&*Asn1Time::from_unix(unix_seconds() - 86_400)?)?;
        builder.set_not_after(&*Asn1Time::days_from_now(VALID_DAYS)?)?;
        builder.set_pubkey(&key)?;
        builder.sign(&key, MessageDigest::sha256())?;
        Self::new(&builder.build(), &key)
    }

    pub(super) fn new(certificate: &X509, key: &PKey<openssl::pkey::Private>) -> Result<DtlsIdentity, ErrorStack> {
        let mut context = SslContext::builder(SslMethod::dtls())?;
        context.set_min_proto_version(Some(SslVersion::DTLS1_2))?;
        context.set_max_proto_version(Some(SslVersion::DTLS1_2))?;
        context.set_cipher_list(CIPHERS)?;
        context.set_groups_list(GROUPS)?;
        context.set_certificate(certificate)?;
        context.set_private_key(key)?;
        context.set_tlsext_use_srtp(SRTP_PROFILES)?;
        context.set_options(
            SslOptions::NO_QUERY_MTU
                | SslOptions::NO_TICKET
                | SslOptions::NO_RENEGOTIATION
                | SslOptions::CIPHER_SERVER_PREFERENCE,
        );
        context.set_session_cache_mode(SslSessionCacheMode::OFF);
        // A session needs its handshake state for seconds, yet a crowd that joins at once holds all of them together.
        context.set_mode(SslMode::RELEASE_BUFFERS);
        raw::return_after_handshake_records(&mut context);
        raw::limit_record_len(&mut context, MTU_BYTES)?;
        // Self-signed by nature: who the peer is stands in its SDP and is checked before keys are exported.
        context.set_verify_callback(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT, |_, _| true);
        let digest = certificate.digest(MessageDigest::sha256())?;
        let mut fingerprint_sha256 = [0; 32];
        fingerprint_sha256.copy_from_slice(&digest);
        Ok(DtlsIdentity {
            context: context.build(),
            fingerprint_sha256,
        })
    }

    /// What our SDP states.
    pub fn fingerprint_sha256(&self) -> [u8; 32] {
        self.fingerprint_sha256
    }

    pub(super) fn context(&self) -> &SslContext {
        &self.context
    }
}

fn unix_seconds() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0))
}
