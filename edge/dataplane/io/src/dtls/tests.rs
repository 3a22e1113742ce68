use super::*;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::X509;

fn fingerprint(identity: &DtlsIdentity) -> Fingerprint {
    Fingerprint {
        algorithm: "sha-256".to_owned(),
        bytes: identity.fingerprint_sha256().to_vec(),
    }
}

fn rsa_identity() -> DtlsIdentity {
    identity_of(PKey::from_rsa(Rsa::generate(2_048).expect("key")).expect("key"))
}

fn curve_identity(curve: Nid) -> DtlsIdentity {
    let group = EcGroup::from_curve_name(curve).expect("curve");
    identity_of(PKey::from_ec_key(EcKey::generate(&group).expect("key")).expect("key"))
}

fn identity_of(key: PKey<Private>) -> DtlsIdentity {
    let mut builder = X509::builder().expect("builder");
    builder.set_version(2).expect("version");
    builder
        .set_not_before(&openssl::asn1::Asn1Time::days_from_now(0).expect("time"))
        .expect("time");
    builder
        .set_not_after(&openssl::asn1::Asn1Time::days_from_now(1).expect("time"))
        .expect("time");
    builder.set_pubkey(&key).expect("key");
    builder.sign(&key, MessageDigest::sha256()).expect("signature");
    DtlsIdentity::new(&builder.build(), &key).expect("context")
}

/// Carries datagrams both ways until neither end has any; `keep` decides which of the client's and server's pass.
fn exchange(
    ends: [&mut Dtls; 2],
    mut keep: impl FnMut(usize, &[u8]) -> bool,
) -> [Option<Result<DtlsProgress, DtlsError>>; 2] {
    let mut results = [None, None];
    let [first, second] = ends;
    let ends = [first, second];
    loop {
        let mut moved = false;
        for from in 0..2 {
            while let Some(datagram) = ends[from].poll_transmit() {
                moved = true;
                assert!(datagram.len() <= MTU_BYTES as usize, "{} bytes", datagram.len());
                if !keep(from, &datagram) {
                    continue;
                }
                let to = 1 - from;
                match ends[to].handle_datagram(&datagram) {
                    Ok(Ok(DtlsProgress::Pending) | Err(_)) => {}
                    Ok(Ok(progress)) => results[to] = Some(Ok(progress)),
                    Err(error) => results[to] = Some(Err(error)),
                }
            }
        }
        if !moved {
            return results;
        }
    }
}

fn keys(result: &Option<Result<DtlsProgress, DtlsError>>) -> &SrtpKeys {
    match result {
        Some(Ok(DtlsProgress::Connected(keys))) => keys,
        Some(Err(error)) => panic!("{error:?}"),
        _ => panic!("the handshake did not end"),
    }
}

#[test]
fn both_ends_agree_on_gcm_and_mirror_their_keys() {
    for ours_active in [true, false] {
        let (ours, theirs) = (DtlsIdentity::generate().expect("identity"), rsa_identity());
        let roles = if ours_active {
            (DtlsRole::Active, DtlsRole::Passive)
        } else {
            (DtlsRole::Passive, DtlsRole::Active)
        };
        let mut us = Dtls::new(&ours, roles.0, fingerprint(&theirs)).expect("session");
        let mut them = Dtls::new(&theirs, roles.1, fingerprint(&ours)).expect("session");
        us.start().expect("start");
        them.start().expect("start");
        let results = exchange([&mut us, &mut them], |_, _| true);
        let (ours, theirs) = (keys(&results[0]), keys(&results[1]));
        assert_eq!(ours.profile, Profile::AeadAes128Gcm);
        assert_eq!(ours.write, theirs.read);
        assert_eq!(ours.read, theirs.write);
        assert_ne!(ours.read, ours.write);
    }
}

/// FFmpeg with GnuTLS shows a certificate on P-224, in both roles.
#[test]
fn certificates_on_every_common_curve_are_accepted() {
    for curve in [Nid::X9_62_PRIME256V1, Nid::SECP384R1, Nid::SECP521R1, Nid::SECP224R1] {
        for roles in [
            (DtlsRole::Active, DtlsRole::Passive),
            (DtlsRole::Passive, DtlsRole::Active),
        ] {
            let (ours, theirs) = (DtlsIdentity::generate().expect("identity"), curve_identity(curve));
            let mut us = Dtls::new(&ours, roles.0, fingerprint(&theirs)).expect("session");
            let mut them = Dtls::new(&theirs, roles.1, fingerprint(&ours)).expect("session");
            us.start().expect("start");
            them.start().expect("start");
            let results = exchange([&mut us, &mut them], |_, _| true);
            assert_eq!(keys(&results[0]).profile, keys(&results[1]).profile, "{curve:?}");
        }
    }
}

#[test]
fn a_lost_flight_is_repeated_by_the_timer() {
    let (ours, theirs) = (
        DtlsIdentity::generate().expect("identity"),
        DtlsIdentity::generate().expect("identity"),
    );
    let mut us = Dtls::new(&ours, DtlsRole::Passive, fingerprint(&theirs)).expect("session");
    let mut them = Dtls::new(&theirs, DtlsRole::Active, fingerprint(&ours)).expect("session");
    them.start().expect("start");
    let lost = exchange([&mut us, &mut them], |from, _| from != 0);
    assert!(lost[0].is_none() && lost[1].is_none());
    let wait = us.poll_timeout().expect("a flight is in the air");
    assert!(wait <= Duration::from_millis(200), "{wait:?}");
    // OpenSSL reads the system's clock itself, so this one test has to let real time pass.
    std::thread::sleep(wait + Duration::from_millis(5));
    us.handle_timeout().expect("repeat");
    let results = exchange([&mut us, &mut them], |_, _| true);
    assert_eq!(keys(&results[0]).write, keys(&results[1]).read);
}

#[test]
fn another_certificate_than_the_promised_one_ends_in_both_roles() {
    for ours_active in [true, false] {
        let (ours, theirs) = (
            DtlsIdentity::generate().expect("identity"),
            DtlsIdentity::generate().expect("identity"),
        );
        let roles = if ours_active {
            (DtlsRole::Active, DtlsRole::Passive)
        } else {
            (DtlsRole::Passive, DtlsRole::Active)
        };
        let mut wrong = fingerprint(&theirs);
        wrong.bytes[7] ^= 1;
        let mut us = Dtls::new(&ours, roles.0, wrong).expect("session");
        let mut them = Dtls::new(&theirs, roles.1, fingerprint(&ours)).expect("session");
        us.start().expect("start");
        them.start().expect("start");
        let results = exchange([&mut us, &mut them], |_, _| true);
        assert!(
            matches!(results[0], Some(Err(DtlsError::FingerprintMismatch))),
            "our role {:?}",
            roles.0
        );
    }
}

#[test]
fn a_second_client_hello_is_named_and_changes_nothing() {
    let (ours, theirs) = (
        DtlsIdentity::generate().expect("identity"),
        DtlsIdentity::generate().expect("identity"),
    );
    let mut us = Dtls::new(&ours, DtlsRole::Passive, fingerprint(&theirs)).expect("session");
    let mut them = Dtls::new(&theirs, DtlsRole::Active, fingerprint(&ours)).expect("session");
    them.start().expect("start");
    let mut hello = Vec::new();
    exchange([&mut us, &mut them], |from, datagram| {
        if from == 1 && hello.is_empty() {
            hello = datagram.to_vec();
        }
        true
    });
    let second = us.handle_datagram(&hello).expect("no error");
    assert!(matches!(second, Err(DtlsIgnored::SecondHandshake)));
    assert!(us.poll_transmit().is_none());
}

#[test]
fn garbage_before_and_during_a_handshake_does_not_end_it() {
    let (ours, theirs) = (
        DtlsIdentity::generate().expect("identity"),
        DtlsIdentity::generate().expect("identity"),
    );
    let mut us = Dtls::new(&ours, DtlsRole::Passive, fingerprint(&theirs)).expect("session");
    let mut them = Dtls::new(&theirs, DtlsRole::Active, fingerprint(&ours)).expect("session");
    for garbage in [
        &[22_u8; 12][..],
        &[22; 13],
        &[20; 300],
        &[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1],
    ] {
        assert!(us.handle_datagram(garbage).is_ok());
    }
    them.start().expect("start");
    let results = exchange([&mut us, &mut them], |_, _| true);
    assert_eq!(keys(&results[0]).write, keys(&results[1]).read);
}

#[test]
fn goodbye_is_heard() {
    let (ours, theirs) = (
        DtlsIdentity::generate().expect("identity"),
        DtlsIdentity::generate().expect("identity"),
    );
    let mut us = Dtls::new(&ours, DtlsRole::Passive, fingerprint(&theirs)).expect("session");
    let mut them = Dtls::new(&theirs, DtlsRole::Active, fingerprint(&ours)).expect("session");
    them.start().expect("start");
    exchange([&mut us, &mut them], |_, _| true);
    them.close();
    let results = exchange([&mut us, &mut them], |_, _| true);
    assert!(matches!(results[0], Some(Ok(DtlsProgress::Closed))));
}
