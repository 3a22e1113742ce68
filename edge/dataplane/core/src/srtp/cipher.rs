//! The two transforms and the key derivation. Nothing here remembers a packet.

use super::{BadKeyLength, Profile, SrtpDrop};
use crate::packet::Ssrc;
use aes::Aes128Enc;
use aes::cipher::{InnerIvInit, KeyInit, StreamCipherCore};
use ctr::CtrCore;
use ctr::flavors::Ctr128BE;
use hmac::{Hmac, Mac};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha1::Sha1;

/// RFC 7714 §13: the full tag.
const GCM_TAG_LEN: usize = 16;

/// RFC 3711 §5.2: 80 bits.
const SHA1_TAG_LEN: usize = 10;

/// Bytes of the first RTCP packet that stay readable (RFC 3711 §3.4).
const RTCP_HEADER_LEN: usize = 8;

/// The E bit above the 31-bit SRTCP index.
const ENCRYPTED: u32 = 1 << 31;

/// Session keys of one direction, for RTP or for RTCP.
#[expect(
    clippy::large_enum_variant,
    reason = "GCM is what nearly every session has: its key stays inline"
)]
pub(super) enum Cipher {
    /// AES-128-GCM (RFC 7714).
    Gcm { key: LessSafeKey, salt: [u8; 12] },
    /// AES-128 in counter mode with HMAC-SHA1 (RFC 3711 §4). Boxed: the rare profile must not cost every session its size.
    CounterMode(Box<CounterMode>),
}

pub(super) struct CounterMode {
    aes: Aes128Enc,
    mac: Hmac<Sha1>,
    salt: [u8; 14],
}

/// Session keys for RTP and RTCP (RFC 3711 §4.3.1, labels 0–5).
pub(super) fn derive(profile: Profile, key: &[u8], salt: &[u8]) -> Result<(Cipher, Cipher), BadKeyLength> {
    let bad = BadKeyLength { profile };
    if salt.len() != profile.salt_len() {
        return Err(bad);
    }
    let aes = Aes128Enc::new_from_slice(key).map_err(|_| bad)?;
    // RFC 7714 §11: the 96-bit salt is shifted up to the place of the 112-bit one.
    let mut master_salt = [0u8; 14];
    master_salt[..salt.len()].copy_from_slice(salt);
    let build = |first_label: u8| -> Cipher {
        let mut session_key = [0u8; 16];
        derive_into(&aes, &master_salt, first_label, &mut session_key);
        match profile {
            Profile::AeadAes128Gcm => {
                let mut salt = [0u8; 12];
                derive_into(&aes, &master_salt, first_label + 2, &mut salt);
                let unbound = UnboundKey::new(&AES_128_GCM, &session_key).expect("the session key has 16 bytes");
                Cipher::Gcm {
                    key: LessSafeKey::new(unbound),
                    salt,
                }
            }
            Profile::Aes128CmSha1_80 => {
                let mut auth_key = [0u8; 20];
                derive_into(&aes, &master_salt, first_label + 1, &mut auth_key);
                let mut salt = [0u8; 14];
                derive_into(&aes, &master_salt, first_label + 2, &mut salt);
                Cipher::CounterMode(Box::new(CounterMode {
                    aes: Aes128Enc::new(&session_key.into()),
                    mac: Hmac::new_from_slice(&auth_key).expect("HMAC takes keys of any length"),
                    salt,
                }))
            }
        }
    };
    Ok((build(0), build(3)))
}

/// RFC 3711 §4.3.3: the key stream under the master key, starting at (salt XOR label · 2^48) · 2^16.
pub(super) fn derive_into(aes: &Aes128Enc, master_salt: &[u8; 14], label: u8, output: &mut [u8]) {
    let mut iv = [0u8; 16];
    iv[..14].copy_from_slice(master_salt);
    iv[7] ^= label;
    output.fill(0);
    apply_key_stream(aes, &iv, output);
}

fn apply_key_stream(aes: &Aes128Enc, iv: &[u8; 16], data: &mut [u8]) {
    let core: CtrCore<&Aes128Enc, Ctr128BE> = CtrCore::inner_iv_init(aes, iv.into());
    core.apply_keystream_partial(data.into());
}

impl CounterMode {
    /// RFC 3711 §4.1.1.
    fn apply(&self, ssrc: Ssrc, index: u64, data: &mut [u8]) {
        let mut iv = [0u8; 16];
        iv[..14].copy_from_slice(&self.salt);
        xor(&mut iv[4..8], &ssrc.0.to_be_bytes());
        xor(&mut iv[8..14], &index.to_be_bytes()[2..]);
        apply_key_stream(&self.aes, &iv, data);
    }

    /// RFC 3711 §4.2: over the packet and the rollover counter, or over the SRTCP packet with its index.
    fn mac(&self, packet: &[u8], trailer: &[u8]) -> Hmac<Sha1> {
        let mut mac = self.mac.clone();
        mac.update(packet);
        mac.update(trailer);
        mac
    }

    fn tag(&self, packet: &[u8], trailer: &[u8]) -> [u8; SHA1_TAG_LEN] {
        let full = self.mac(packet, trailer).finalize().into_bytes();
        let mut tag = [0; SHA1_TAG_LEN];
        tag.copy_from_slice(&full[..SHA1_TAG_LEN]);
        tag
    }

    fn verify(&self, packet: &[u8], trailer: &[u8], tag: &[u8]) -> Result<(), SrtpDrop> {
        self.mac(packet, trailer)
            .verify_truncated_left(tag)
            .map_err(|_| SrtpDrop::AuthenticationFailed)
    }
}

fn xor(target: &mut [u8], source: &[u8]) {
    for (target, source) in target.iter_mut().zip(source) {
        *target ^= source;
    }
}

/// RFC 7714 §8.1: two zero bytes, ssrc, rollover counter, sequence number; XOR salt.
fn rtp_nonce(salt: &[u8; 12], ssrc: Ssrc, index: u64) -> Nonce {
    let mut nonce = *salt;
    xor(&mut nonce[2..6], &ssrc.0.to_be_bytes());
    xor(&mut nonce[6..12], &index.to_be_bytes()[2..]);
    Nonce::assume_unique_for_key(nonce)
}

/// RFC 7714 §9.1: two zero bytes, ssrc, two zero bytes, the index; XOR salt.
fn rtcp_nonce(salt: &[u8; 12], ssrc: Ssrc, index: u32) -> Nonce {
    let mut nonce = *salt;
    xor(&mut nonce[2..6], &ssrc.0.to_be_bytes());
    xor(&mut nonce[8..12], &index.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

fn ssrc_at(packet: &[u8], at: usize) -> Ssrc {
    Ssrc(
        packet
            .get(at..)
            .and_then(|rest| rest.first_chunk::<4>())
            .map_or(0, |four| u32::from_be_bytes(*four)),
    )
}

impl Cipher {
    pub(super) fn seal_rtp(&self, buffer: &mut Vec<u8>, packet_start: usize, header_len: usize, index: u64) {
        let packet = &mut buffer[packet_start..];
        let ssrc = ssrc_at(packet, 8);
        match self {
            Cipher::Gcm { key, salt } => {
                let (header, payload) = packet.split_at_mut(header_len);
                let tag = key
                    .seal_in_place_separate_tag(rtp_nonce(salt, ssrc, index), Aad::from(header), payload)
                    .expect("a datagram is shorter than GCM's limit");
                buffer.extend_from_slice(tag.as_ref());
            }
            Cipher::CounterMode(cipher) => {
                cipher.apply(ssrc, index, &mut packet[header_len..]);
                let tag = cipher.tag(packet, &((index >> 16) as u32).to_be_bytes());
                buffer.extend_from_slice(&tag);
            }
        }
    }

    /// Opens `packet` in place and returns the plaintext's length, header included.
    pub(super) fn open_rtp(&self, packet: &mut [u8], header_len: usize, index: u64) -> Result<usize, SrtpDrop> {
        let ssrc = ssrc_at(packet, 8);
        match self {
            Cipher::Gcm { key, salt } => {
                let (header, payload) = packet.split_at_mut(header_len);
                if payload.len() < GCM_TAG_LEN {
                    return Err(SrtpDrop::TooShort);
                }
                key.open_in_place(rtp_nonce(salt, ssrc, index), Aad::from(header), payload)
                    .map_err(|_| SrtpDrop::AuthenticationFailed)?;
                Ok(packet.len() - GCM_TAG_LEN)
            }
            Cipher::CounterMode(cipher) => {
                let len = packet
                    .len()
                    .checked_sub(SHA1_TAG_LEN)
                    .filter(|len| *len >= header_len)
                    .ok_or(SrtpDrop::TooShort)?;
                let (sealed, tag) = packet.split_at_mut(len);
                cipher.verify(sealed, &((index >> 16) as u32).to_be_bytes(), tag)?;
                cipher.apply(ssrc, index, &mut sealed[header_len..]);
                Ok(len)
            }
        }
    }

    pub(super) fn seal_rtcp(&self, buffer: &mut Vec<u8>, packet_start: usize, index: u32) {
        let packet = &mut buffer[packet_start..];
        let ssrc = ssrc_at(packet, 4);
        let trailer = (ENCRYPTED | index).to_be_bytes();
        match self {
            Cipher::Gcm { key, salt } => {
                let (header, payload) = packet.split_at_mut(RTCP_HEADER_LEN);
                let tag = key
                    .seal_in_place_separate_tag(
                        rtcp_nonce(salt, ssrc, index),
                        Aad::from(rtcp_aad(header, trailer)),
                        payload,
                    )
                    .expect("a datagram is shorter than GCM's limit");
                buffer.extend_from_slice(tag.as_ref());
                buffer.extend_from_slice(&trailer);
            }
            Cipher::CounterMode(cipher) => {
                cipher.apply(ssrc, u64::from(index), &mut packet[RTCP_HEADER_LEN..]);
                let tag = cipher.tag(packet, &trailer);
                buffer.extend_from_slice(&trailer);
                buffer.extend_from_slice(&tag);
            }
        }
    }

    /// Ssrc and index of an SRTCP packet, not yet authenticated.
    pub(super) fn srtcp_index(&self, packet: &[u8]) -> Result<(Ssrc, u32), SrtpDrop> {
        let tag_len = match self {
            Cipher::Gcm { .. } => 0,
            Cipher::CounterMode(_) => SHA1_TAG_LEN,
        };
        let overhead = match self {
            Cipher::Gcm { .. } => GCM_TAG_LEN + 4,
            Cipher::CounterMode(_) => SHA1_TAG_LEN + 4,
        };
        if packet.len() < RTCP_HEADER_LEN + overhead {
            return Err(SrtpDrop::TooShort);
        }
        let Ssrc(word) = ssrc_at(packet, packet.len() - tag_len - 4);
        if word & ENCRYPTED == 0 {
            return Err(SrtpDrop::Unencrypted);
        }
        Ok((ssrc_at(packet, 4), word & !ENCRYPTED))
    }

    /// Opens `packet`, whose index [`Self::srtcp_index`] has read, in place; returns the plaintext's length.
    pub(super) fn open_rtcp(&self, packet: &mut [u8], index: u32) -> Result<usize, SrtpDrop> {
        let ssrc = ssrc_at(packet, 4);
        let trailer = (ENCRYPTED | index).to_be_bytes();
        match self {
            Cipher::Gcm { key, salt } => {
                let end = packet.len() - 4;
                let (header, payload) = packet[..end].split_at_mut(RTCP_HEADER_LEN);
                key.open_in_place(
                    rtcp_nonce(salt, ssrc, index),
                    Aad::from(rtcp_aad(header, trailer)),
                    payload,
                )
                .map_err(|_| SrtpDrop::AuthenticationFailed)?;
                Ok(end - GCM_TAG_LEN)
            }
            Cipher::CounterMode(cipher) => {
                let end = packet.len() - SHA1_TAG_LEN - 4;
                let (sealed, rest) = packet.split_at_mut(end);
                cipher.verify(sealed, &trailer, &rest[4..])?;
                cipher.apply(ssrc, u64::from(index), &mut sealed[RTCP_HEADER_LEN..]);
                Ok(end)
            }
        }
    }
}

/// RFC 7714 §9.2: the readable header and the word with E bit and index.
fn rtcp_aad(header: &[u8], trailer: [u8; 4]) -> [u8; RTCP_HEADER_LEN + 4] {
    let mut aad = [0; RTCP_HEADER_LEN + 4];
    aad[..RTCP_HEADER_LEN].copy_from_slice(&header[..RTCP_HEADER_LEN]);
    aad[RTCP_HEADER_LEN..].copy_from_slice(&trailer);
    aad
}
