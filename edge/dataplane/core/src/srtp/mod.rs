//! SRTP and SRTCP in place (RFC 3711, RFC 7714).
//!
//! [`SealContext`] protects what leaves with our keys, [`OpenContext`] opens what arrives with the peer's. A context knows
//! nothing of media: rollover counters and replay windows by ssrc, nothing else.

mod cipher;
mod replay;
#[cfg(test)]
mod tests;

use crate::rtp::{RtpError, RtpHeader, extend_sequence_number};
use cipher::Cipher;
use replay::ReplayTable;

/// Protection profiles that DTLS may agree on (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Profile {
    /// SRTP_AEAD_AES_128_GCM.
    AeadAes128Gcm,
    /// SRTP_AES128_CM_HMAC_SHA1_80.
    Aes128CmSha1_80,
}

impl Profile {
    /// Bytes of the master key.
    pub const fn key_len(self) -> usize {
        16
    }

    /// Bytes of the master salt.
    pub const fn salt_len(self) -> usize {
        match self {
            Profile::AeadAes128Gcm => 12,
            Profile::Aes128CmSha1_80 => 14,
        }
    }

    /// Bytes by which an RTP packet grows.
    pub const fn rtp_overhead(self) -> usize {
        match self {
            Profile::AeadAes128Gcm => 16,
            Profile::Aes128CmSha1_80 => 10,
        }
    }

    /// The name in the IANA registry, as OpenSSL spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Profile::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            Profile::Aes128CmSha1_80 => "SRTP_AES128_CM_SHA1_80",
        }
    }
}

/// Keying material of a length that the profile does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadKeyLength {
    /// The profile the material was meant for.
    pub profile: Profile,
}

impl std::fmt::Display for BadKeyLength {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{} takes a {}-byte key and a {}-byte salt",
            self.profile.name(),
            self.profile.key_len(),
            self.profile.salt_len()
        )
    }
}

impl std::error::Error for BadKeyLength {}

/// Why a protected datagram was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SrtpDrop {
    /// Not an RTP header.
    Header(RtpError),
    /// Shorter than header and tag together.
    TooShort,
    /// The index was received before.
    Replayed,
    /// The index lies below the replay window, or before the first packet.
    TooOld,
    /// The tag does not fit.
    AuthenticationFailed,
    /// More ssrcs than one peer can need.
    TooManySsrcs,
    /// SRTCP without the encryption bit: never negotiated.
    Unencrypted,
}

impl SrtpDrop {
    /// Every reason, so that each has a counter from the start.
    pub const ALL: &'static [SrtpDrop] = &[
        SrtpDrop::Header(RtpError::Truncated),
        SrtpDrop::Header(RtpError::BadVersion),
        SrtpDrop::Header(RtpError::BadPadding),
        SrtpDrop::TooShort,
        SrtpDrop::Replayed,
        SrtpDrop::TooOld,
        SrtpDrop::AuthenticationFailed,
        SrtpDrop::TooManySsrcs,
        SrtpDrop::Unencrypted,
    ];

    /// Stable metric label.
    pub const fn name(self) -> &'static str {
        match self {
            SrtpDrop::Header(error) => error.name(),
            SrtpDrop::TooShort => "srtp_too_short",
            SrtpDrop::Replayed => "srtp_replayed",
            SrtpDrop::TooOld => "srtp_too_old",
            SrtpDrop::AuthenticationFailed => "srtp_authentication_failed",
            SrtpDrop::TooManySsrcs => "srtp_too_many_ssrcs",
            SrtpDrop::Unencrypted => "srtp_unencrypted",
        }
    }
}

/// Seals packets with our write keys.
pub struct SealContext {
    profile: Profile,
    rtp: Cipher,
    rtcp: Cipher,
    next_srtcp_index: u32,
}

impl SealContext {
    /// Derives session keys from a master key and salt (RFC 3711 §4.3).
    pub fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Result<SealContext, BadKeyLength> {
        let (rtp, rtcp) = cipher::derive(profile, key, salt)?;
        Ok(SealContext {
            profile,
            rtp,
            rtcp,
            next_srtcp_index: 0,
        })
    }

    /// What DTLS agreed on.
    pub const fn profile(&self) -> Profile {
        self.profile
    }

    /// Seals the packet `buffer[packet_start..]` in place and appends its tag.
    ///
    /// `extended_sequence_number` has the header's number in its low 16 bits and the rollover counter above; giving one pair
    /// of ssrc and number two different payloads would break the cipher, so callers number every packet once.
    pub fn seal_rtp(
        &self,
        buffer: &mut Vec<u8>,
        packet_start: usize,
        header_len: usize,
        extended_sequence_number: u64,
    ) {
        self.rtp
            .seal_rtp(buffer, packet_start, header_len, extended_sequence_number);
    }

    /// Seals the compound `buffer[packet_start..]` in place and appends index and tag.
    pub fn seal_rtcp(&mut self, buffer: &mut Vec<u8>, packet_start: usize) {
        let index = self.next_srtcp_index;
        // RFC 3711 §3.4: one index per packet, 31 bit. 2^31 reports outlast any session.
        self.next_srtcp_index = (index + 1) & 0x7FFF_FFFF;
        self.rtcp.seal_rtcp(buffer, packet_start, index);
    }
}

/// An opened RTP packet: `packet[..len]` is plaintext.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenedRtp {
    /// Bytes of the plaintext packet, header included.
    pub len: usize,
    /// Sequence number with its rollover counter above.
    pub extended_sequence_number: u64,
}

/// Opens packets with the peer's write keys.
pub struct OpenContext {
    rtp: Cipher,
    rtcp: Cipher,
    rtp_replay: ReplayTable,
    rtcp_replay: ReplayTable,
}

impl OpenContext {
    /// Derives session keys from a master key and salt (RFC 3711 §4.3).
    pub fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Result<OpenContext, BadKeyLength> {
        let (rtp, rtcp) = cipher::derive(profile, key, salt)?;
        Ok(OpenContext {
            rtp,
            rtcp,
            rtp_replay: ReplayTable::default(),
            rtcp_replay: ReplayTable::default(),
        })
    }

    /// Opens an SRTP packet in place. Nothing is remembered of a packet that does not authenticate.
    pub fn open_rtp(&mut self, packet: &mut [u8]) -> Result<OpenedRtp, SrtpDrop> {
        let header = RtpHeader::parse_encrypted(packet).map_err(SrtpDrop::Header)?;
        let sequence_number = header.sequence_number;
        let index = match self.rtp_replay.highest(header.ssrc) {
            Some(highest) => extend_sequence_number(sequence_number, highest).ok_or(SrtpDrop::TooOld)?,
            // RFC 3711 §3.3.1: the rollover counter starts at zero with the first packet.
            None => u64::from(sequence_number),
        };
        self.rtp_replay.check(header.ssrc, index)?;
        let len = self.rtp.open_rtp(packet, header.header_len, index)?;
        self.rtp_replay.commit(header.ssrc, index);
        Ok(OpenedRtp {
            len,
            extended_sequence_number: index,
        })
    }

    /// Opens an SRTCP compound in place and returns the plaintext's length.
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpDrop> {
        let (ssrc, index) = self.rtcp.srtcp_index(packet)?;
        self.rtcp_replay.check(ssrc, u64::from(index))?;
        let len = self.rtcp.open_rtcp(packet, index)?;
        self.rtcp_replay.commit(ssrc, u64::from(index));
        Ok(len)
    }
}
