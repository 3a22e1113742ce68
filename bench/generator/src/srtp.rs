//! SRTP and SRTCP with AES-128-GCM (RFC 3711, RFC 7714), written apart from the product's so that one checks the other.

use openssl::symm::{Cipher, encrypt};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// Bytes that AES-128-GCM adds to a packet.
pub const TAG_BYTES: usize = 16;

/// Keys of one direction of one session.
pub struct Keys {
    rtp: LessSafeKey,
    rtp_salt: [u8; 12],
    rtcp: LessSafeKey,
    rtcp_salt: [u8; 12],
}

impl Keys {
    /// Derives session keys from a 16-byte master key and a 12-byte master salt (RFC 3711 §4.3.1, RFC 7714 §11).
    pub fn new(master_key: &[u8], master_salt: &[u8]) -> Self {
        let derive = |label: u8, length: usize| {
            // The 96-bit salt is padded on the right to the 112 bits of the key derivation function.
            let mut block = [0u8; 16];
            block[..12].copy_from_slice(master_salt);
            block[7] ^= label;
            let zeros = vec![0u8; length];
            encrypt(Cipher::aes_128_ctr(), master_key, Some(&block), &zeros).expect("key and block have AES' lengths")
        };
        let aead = |bytes: &[u8]| LessSafeKey::new(UnboundKey::new(&AES_128_GCM, bytes).expect("16-byte key"));
        let salt = |bytes: Vec<u8>| <[u8; 12]>::try_from(bytes).expect("12-byte salt");
        Keys {
            rtp: aead(&derive(0, 16)),
            rtp_salt: salt(derive(2, 12)),
            rtcp: aead(&derive(3, 16)),
            rtcp_salt: salt(derive(5, 12)),
        }
    }

    fn rtp_nonce(&self, ssrc: u32, extended_sequence_number: u64) -> Nonce {
        // RFC 7714 §8.1: 16 zero bits, ssrc, rollover counter, sequence number; exclusive-or with the salt.
        let mut bytes = [0u8; 12];
        bytes[2..6].copy_from_slice(&ssrc.to_be_bytes());
        bytes[6..12].copy_from_slice(&extended_sequence_number.to_be_bytes()[2..8]);
        bytes
            .iter_mut()
            .zip(self.rtp_salt)
            .for_each(|(byte, salt)| *byte ^= salt);
        Nonce::assume_unique_for_key(bytes)
    }

    /// Encrypts the payload behind `header_bytes` in place and appends the tag.
    pub fn seal_rtp(&self, packet: &mut Vec<u8>, header_bytes: usize, ssrc: u32, extended_sequence_number: u64) {
        let (header, payload) = packet.split_at_mut(header_bytes);
        let tag = self
            .rtp
            .seal_in_place_separate_tag(
                self.rtp_nonce(ssrc, extended_sequence_number),
                Aad::from(&*header),
                payload,
            )
            .expect("a packet is far below AES-GCM's limit");
        packet.extend_from_slice(tag.as_ref());
    }

    /// Decrypts in place; the payload, or `None` when the tag is wrong.
    pub fn open_rtp<'a>(
        &self,
        packet: &'a mut [u8],
        header_bytes: usize,
        ssrc: u32,
        extended_sequence_number: u64,
    ) -> Option<&'a mut [u8]> {
        let (header, payload) = packet.split_at_mut(header_bytes);
        let nonce = self.rtp_nonce(ssrc, extended_sequence_number);
        self.rtp.open_in_place(nonce, Aad::from(&*header), payload).ok()
    }

    /// Seals an RTCP compound packet (RFC 7714 §9): header in the clear, then payload, tag, E bit and index.
    pub fn seal_rtcp(&self, packet: &mut Vec<u8>, ssrc: u32, index: u32) {
        let trailer = (0x8000_0000 | index).to_be_bytes();
        let mut bytes = [0u8; 12];
        bytes[2..6].copy_from_slice(&ssrc.to_be_bytes());
        bytes[8..12].copy_from_slice(&index.to_be_bytes());
        bytes
            .iter_mut()
            .zip(self.rtcp_salt)
            .for_each(|(byte, salt)| *byte ^= salt);
        let mut aad = packet[..8].to_vec();
        aad.extend_from_slice(&trailer);
        let tag = self
            .rtcp
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(bytes), Aad::from(aad), &mut packet[8..])
            .expect("a report is far below AES-GCM's limit");
        packet.extend_from_slice(tag.as_ref());
        packet.extend_from_slice(&trailer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_derivation_follows_rfc_3711() {
        // RFC 3711 appendix B.3 gives the AES-CM derivation for a 112-bit salt; the first 96 bits are what GCM uses.
        let key = [
            0xE1, 0xF9, 0x7A, 0x0D, 0x3E, 0x01, 0x8B, 0xE0, 0xD6, 0x4F, 0xA3, 0x2C, 0x06, 0xDE, 0x41, 0x39,
        ];
        let block = [
            0x0E, 0xC6, 0x75, 0xAD, 0x49, 0x8A, 0xFE, 0xEB, 0xB6, 0x96, 0x0B, 0x3A, 0xAB, 0xE6, 0, 0,
        ];
        let derived = encrypt(Cipher::aes_128_ctr(), &key, Some(&block), &[0u8; 16]).unwrap();
        assert_eq!(derived[..4], [0xC6, 0x1E, 0x7A, 0x93]);
    }

    #[test]
    fn what_is_sealed_opens_and_what_is_changed_does_not() {
        let keys = Keys::new(&[7; 16], &[9; 12]);
        let mut packet = vec![0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5];
        packet.extend_from_slice(b"payload");
        keys.seal_rtp(&mut packet, 12, 5, 65_537);
        let mut changed = packet.clone();
        changed[13] ^= 1;
        assert_eq!(
            keys.open_rtp(&mut packet, 12, 5, 65_537)
                .map(|payload| payload.to_vec()),
            Some(b"payload".to_vec())
        );
        assert!(keys.open_rtp(&mut changed, 12, 5, 65_537).is_none());
    }
}
