use super::cipher::{Cipher, derive_into};
use super::*;
use crate::packet::Ssrc;
use crate::rtp::{HeaderFields, write_header};
use aes::Aes128Enc;
use aes::cipher::KeyInit;
use proptest::prelude::*;
use ring::aead::{AES_128_GCM, LessSafeKey, UnboundKey};

const PROFILES: [Profile; 2] = [Profile::AeadAes128Gcm, Profile::Aes128CmSha1_80];

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

fn pair(profile: Profile) -> (SealContext, OpenContext) {
    let key = [0x5A; 16];
    let salt = vec![0xC3; profile.salt_len()];
    (
        SealContext::new(profile, &key, &salt).unwrap(),
        OpenContext::new(profile, &key, &salt).unwrap(),
    )
}

fn sealed(seal: &SealContext, ssrc: u32, extended_sequence_number: u64, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0xEE; 5];
    let fields = HeaderFields {
        marker: false,
        payload_type: 96,
        sequence_number: extended_sequence_number as u16,
        timestamp: 1,
        ssrc: Ssrc(ssrc),
    };
    let header_len = write_header(&mut packet, fields, &[(1, b"0")]);
    packet.extend_from_slice(payload);
    seal.seal_rtp(&mut packet, 5, header_len, extended_sequence_number);
    packet.split_off(5)
}

/// RFC 3711 Appendix B.2 and B.3.
#[test]
fn key_derivation_matches_the_rfc() {
    let aes = Aes128Enc::new_from_slice(&hex("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap();
    let salt: [u8; 14] = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().unwrap();
    let mut key_stream = [0; 48];
    derive_into(&aes, &salt, 0, &mut key_stream);
    assert_eq!(
        key_stream[..],
        hex("E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0")
    );

    let aes = Aes128Enc::new_from_slice(&hex("E1F97A0D3E018BE0D64FA32C06DE4139")).unwrap();
    let salt: [u8; 14] = hex("0EC675AD498AFEEBB6960B3AABE6").try_into().unwrap();
    let (mut key, mut auth, mut session_salt) = ([0; 16], [0; 94], [0; 14]);
    derive_into(&aes, &salt, 0, &mut key);
    derive_into(&aes, &salt, 1, &mut auth);
    derive_into(&aes, &salt, 2, &mut session_salt);
    assert_eq!(key[..], hex("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(session_salt[..], hex("30CBBC08863D8C85D49DB34A9AE1"));
    assert_eq!(auth[..20], hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
}

/// The master key of RFC 3711 B.3 on the packets of libsrtp's own vector (test/srtp_driver.c).
#[test]
fn counter_mode_matches_the_reference_implementation() {
    let key = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
    let salt = hex("0EC675AD498AFEEBB6960B3AABE6");
    let mut seal = SealContext::new(Profile::Aes128CmSha1_80, &key, &salt).unwrap();
    let mut packet = hex("800f1234 decafbad cafebabe abababab abababab abababab abababab");
    seal.seal_rtp(&mut packet, 0, 12, 0x1234);
    let reference = hex("800f1234 decafbad cafebabe 4e55dc4c e79978d8 8ca4d215 949d2402 b78d6acc 99ea179b 8dbb");
    assert_eq!(packet, reference);
    let mut open = OpenContext::new(Profile::Aes128CmSha1_80, &key, &salt).unwrap();
    assert_eq!(
        open.open_rtp(&mut packet),
        Ok(OpenedRtp {
            len: 28,
            extended_sequence_number: 0x1234
        })
    );
    assert_eq!(packet[12..28], [0xAB; 16]);

    let mut compound = hex("81c8000b cafebabe abababab abababab abababab abababab");
    seal.next_srtcp_index = 1;
    seal.seal_rtcp(&mut compound, 0);
    assert_eq!(
        compound,
        hex("81c8000b cafebabe 7128035b e487b9bd bef89041 f977a5a8 80000001 993e08cd 54d6c123 0798")
    );
    assert_eq!(open.open_rtcp(&mut compound), Ok(24));
    assert_eq!(compound[8..24], [0xAB; 16]);
}

fn rfc_7714_cipher() -> Cipher {
    let key = hex("00010203 04050607 08090a0b 0c0d0e0f");
    Cipher::Gcm {
        key: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).unwrap()),
        salt: hex("51756964 2070726f 2071756f").try_into().unwrap(),
    }
}

/// RFC 7714 §16.1.1.
#[test]
fn gcm_rtp_matches_the_rfc() {
    let plain = hex(
        "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070
        61727465 73207472 6573",
    );
    let cipher = rfc_7714_cipher();
    let mut packet = plain.clone();
    cipher.seal_rtp(&mut packet, 0, 12, 0xF17B);
    assert_eq!(
        packet,
        hex(
            "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b
            36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce"
        )
    );
    assert_eq!(cipher.open_rtp(&mut packet, 12, 0xF17B), Ok(plain.len()));
    assert_eq!(packet[..plain.len()], plain);
}

/// RFC 7714 §17.1.
#[test]
fn gcm_rtcp_matches_the_rfc() {
    let plain = hex(
        "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef
        deadbeef deadbeef deadbeef",
    );
    let cipher = rfc_7714_cipher();
    let mut packet = plain.clone();
    cipher.seal_rtcp(&mut packet, 0, 0x5D4);
    assert_eq!(
        packet,
        hex(
            "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46
            86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4"
        )
    );
    assert_eq!(cipher.srtcp_index(&packet), Ok((Ssrc(0x4d617273), 0x5D4)));
    assert_eq!(cipher.open_rtcp(&mut packet, 0x5D4), Ok(plain.len()));
    assert_eq!(packet[..plain.len()], plain);
}

#[test]
fn a_replay_is_refused_also_across_the_rollover() {
    for profile in PROFILES {
        let (seal, mut open) = pair(profile);
        let numbers = [65_533u64, 65_535, 65_536, 65_534, 65_537];
        let packets: Vec<_> = numbers
            .iter()
            .map(|number| sealed(&seal, 7, *number, b"payload"))
            .collect();
        for (number, packet) in numbers.iter().zip(&packets) {
            let mut opened = packet.clone();
            let result = open.open_rtp(&mut opened).unwrap();
            assert_eq!(result.extended_sequence_number, *number);
            assert!(opened[..result.len].ends_with(b"payload"));
        }
        for packet in &packets {
            assert_eq!(open.open_rtp(&mut packet.clone()), Err(SrtpDrop::Replayed));
        }
        let mut far = sealed(&seal, 7, 65_537 + 2_000, b"payload");
        open.open_rtp(&mut far).unwrap();
        assert_eq!(
            open.open_rtp(&mut sealed(&seal, 7, 65_538, b"payload")),
            Err(SrtpDrop::TooOld)
        );
    }
}

#[test]
fn a_forgery_leaves_no_trace() {
    for profile in PROFILES {
        let (seal, mut open) = pair(profile);
        let genuine = sealed(&seal, 7, 100, b"payload");
        for at in 0..genuine.len() {
            let mut forged = genuine.clone();
            forged[at] ^= 0x04;
            // Flipped header bits may also make it another packet; none of them may open.
            assert!(open.open_rtp(&mut forged).is_err(), "byte {at}");
        }
        // A forged far number must not have moved the window.
        let mut far = sealed(&seal, 7, 60_000, b"payload");
        *far.last_mut().unwrap() ^= 1;
        assert_eq!(open.open_rtp(&mut far), Err(SrtpDrop::AuthenticationFailed));
        assert!(open.open_rtp(&mut genuine.clone()).is_ok());
        for len in 0..genuine.len() {
            assert!(open.open_rtp(&mut genuine[..len].to_vec()).is_err(), "length {len}");
        }
    }
}

#[test]
fn reports_are_opened_once_and_only_encrypted() {
    for profile in PROFILES {
        let (mut seal, mut open) = pair(profile);
        let mut compound = Vec::new();
        crate::rtcp::write_pli(&mut compound, Ssrc(1), Ssrc(2));
        let plain = compound.clone();
        seal.seal_rtcp(&mut compound, 0);
        let copy = compound.clone();
        for len in 0..copy.len() {
            assert!(open.open_rtcp(&mut copy[..len].to_vec()).is_err(), "length {len}");
        }
        assert_eq!(open.open_rtcp(&mut compound), Ok(plain.len()));
        assert_eq!(compound[..plain.len()], plain);
        assert_eq!(open.open_rtcp(&mut copy.clone()), Err(SrtpDrop::Replayed));
        let mut unencrypted = copy;
        let word = unencrypted.len() - if profile == Profile::AeadAes128Gcm { 4 } else { 14 };
        unencrypted[word] &= 0x7F;
        assert_eq!(open.open_rtcp(&mut unencrypted), Err(SrtpDrop::Unencrypted));
    }
}

#[test]
fn keys_of_another_length_are_refused() {
    assert!(SealContext::new(Profile::AeadAes128Gcm, &[0; 16], &[0; 14]).is_err());
    assert!(OpenContext::new(Profile::Aes128CmSha1_80, &[0; 15], &[0; 14]).is_err());
}

#[test]
fn every_drop_has_its_own_name() {
    let mut names: Vec<_> = SrtpDrop::ALL.iter().map(|drop| drop.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), SrtpDrop::ALL.len());
}

proptest! {
    /// Whatever is lost and however it is shuffled within the window, the rollover counter is guessed right.
    #[test]
    fn rollover_is_estimated_through_loss_and_reordering(
        start in 0u64..32_768,
        steps in proptest::collection::vec((1u64..20_000, 0u64..500), 1..40),
    ) {
        let (seal, mut open) = pair(Profile::AeadAes128Gcm);
        let mut highest = start;
        open.open_rtp(&mut sealed(&seal, 7, start, b"first")).unwrap();
        for (forward, back) in steps {
            highest += forward;
            let opened = open.open_rtp(&mut sealed(&seal, 7, highest, b"new")).unwrap();
            prop_assert_eq!(opened.extended_sequence_number, highest);
            if back > 0 && back < forward {
                let opened = open.open_rtp(&mut sealed(&seal, 7, highest - back, b"late")).unwrap();
                prop_assert_eq!(opened.extended_sequence_number, highest - back);
            }
        }
    }

    #[test]
    fn arbitrary_datagrams_never_panic(mut datagram in proptest::collection::vec(any::<u8>(), 0..100), gcm: bool) {
        let (_, mut open) = pair(PROFILES[usize::from(gcm)]);
        prop_assert!(open.open_rtp(&mut datagram.clone()).is_err());
        prop_assert!(open.open_rtcp(&mut datagram).is_err());
    }
}
