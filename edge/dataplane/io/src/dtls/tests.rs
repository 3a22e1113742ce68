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

const ACTIVE: (DtlsRole, DtlsRole) = (DtlsRole::Active, DtlsRole::Passive);
const PASSIVE: (DtlsRole, DtlsRole) = (DtlsRole::Passive, DtlsRole::Active);
const BOTH_ROLES: [(DtlsRole, DtlsRole); 2] = [ACTIVE, PASSIVE];

/// Two ends in these roles, started; each expects the other's certificate.
fn started(ours: &DtlsIdentity, theirs: &DtlsIdentity, roles: (DtlsRole, DtlsRole)) -> (Dtls, Dtls) {
    let mut us = Dtls::new(ours, roles.0, fingerprint(theirs)).expect("session");
    let mut them = Dtls::new(theirs, roles.1, fingerprint(ours)).expect("session");
    us.start().expect("start");
    them.start().expect("start");
    (us, them)
}

fn two_identities() -> (DtlsIdentity, DtlsIdentity) {
    (
        DtlsIdentity::generate().expect("identity"),
        DtlsIdentity::generate().expect("identity"),
    )
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
                    Ok(DtlsProgress::Pending) => {}
                    Ok(progress) => results[to] = Some(Ok(progress)),
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
    for roles in BOTH_ROLES {
        let (ours, theirs) = (DtlsIdentity::generate().expect("identity"), rsa_identity());
        let (mut us, mut them) = started(&ours, &theirs, roles);
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
        for roles in BOTH_ROLES {
            let (ours, theirs) = (DtlsIdentity::generate().expect("identity"), curve_identity(curve));
            let (mut us, mut them) = started(&ours, &theirs, roles);
            let results = exchange([&mut us, &mut them], |_, _| true);
            assert_eq!(keys(&results[0]).profile, keys(&results[1]).profile, "{curve:?}");
        }
    }
}

#[test]
fn a_lost_flight_is_repeated_by_the_timer() {
    let (ours, theirs) = two_identities();
    let (mut us, mut them) = started(&ours, &theirs, PASSIVE);
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
    for roles in BOTH_ROLES {
        let (ours, theirs) = two_identities();
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
    let (ours, theirs) = two_identities();
    let (mut us, mut them) = started(&ours, &theirs, PASSIVE);
    let mut hello = Vec::new();
    exchange([&mut us, &mut them], |from, datagram| {
        if from == 1 && hello.is_empty() {
            hello = datagram.to_vec();
        }
        true
    });
    assert_eq!(ignored(&mut us, &hello), [DtlsIgnored::SecondHandshake]);
    assert!(us.poll_transmit().is_none());
}

#[test]
fn garbage_before_and_during_a_handshake_does_not_end_it() {
    let (ours, theirs) = two_identities();
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

/// Feeds a datagram that must leave the session as it is; why its parts were ignored.
fn ignored(end: &mut Dtls, datagram: &[u8]) -> Vec<DtlsIgnored> {
    let progress = end.handle_datagram(datagram).expect("no error");
    assert!(matches!(progress, DtlsProgress::Pending));
    std::iter::from_fn(|| end.poll_ignored()).collect()
}

fn record(content_type: u8, epoch: u8, number: u8, body: &[u8]) -> Vec<u8> {
    let (version_and_epoch, number) = ([254, 253, 0, epoch], [0, 0, 0, 0, 0, number]);
    let len = [0, body.len() as u8];
    [&[content_type], &version_and_epoch[..], &number, &len, body].concat()
}

#[test]
fn forged_and_repeated_records_are_told_from_genuine_ones() {
    for roles in BOTH_ROLES {
        let (ours, theirs) = two_identities();
        let (mut us, mut them) = started(&ours, &theirs, roles);
        let mut last = Vec::new();
        exchange([&mut us, &mut them], |from, datagram| {
            if from == 1 {
                last = datagram.to_vec(); // their Finished, alone or behind the rest of its flight
            }
            true
        });
        assert_eq!(ignored(&mut us, &last), [DtlsIgnored::Replayed]);
        for content_type in [20, 21, 22, 23] {
            let forged = record(content_type, 1, 99, &[7; 40]);
            let expected = if content_type == 20 {
                DtlsIgnored::Malformed // a ChangeCipherSpec is one byte long
            } else {
                DtlsIgnored::AuthenticationFailed
            };
            assert_eq!(ignored(&mut us, &forged), [expected], "{content_type}");
        }
        let alert = record(21, 0, 9, &[2, 40]);
        assert_eq!(ignored(&mut us, &alert), [DtlsIgnored::AuthenticationFailed]);
        let later = [record(23, 2, 1, &[7; 40]), record(23, 1, 98, &[7; 40])].concat();
        assert_eq!(ignored(&mut us, &later), [DtlsIgnored::AuthenticationFailed; 2]);

        assert_eq!(them.stream.ssl_write(b"data").expect("written"), 4);
        let genuine = them.poll_transmit().expect("a record");
        let mut cut = genuine.clone();
        *cut.last_mut().expect("a tag") ^= 1;
        assert_eq!(ignored(&mut us, &cut), [DtlsIgnored::AuthenticationFailed]);
        assert_eq!(ignored(&mut us, &genuine), []);
        assert_eq!(ignored(&mut us, &genuine), [DtlsIgnored::Replayed]);
        them.close();
        let results = exchange([&mut us, &mut them], |_, _| true);
        assert!(matches!(results[0], Some(Ok(DtlsProgress::Closed))));
    }
}

/// A server repeats its last flight when ours was repeated, which happens on every path of more than 200 ms.
#[test]
fn a_repeated_last_flight_is_genuine_in_both_roles() {
    for roles in BOTH_ROLES {
        let (ours, theirs) = two_identities();
        let (mut us, mut them) = started(&ours, &theirs, roles);
        // The server's last flight is on its way while the client's timer fires.
        let server = usize::from(roles.0 == DtlsRole::Active);
        let mut held = Vec::new();
        exchange([&mut us, &mut them], |from, datagram| {
            let is_last = record::records(datagram).any(|record| record.epoch == 1);
            if from == server && is_last {
                held.push(datagram.to_vec());
            }
            from != server || !is_last
        });
        let client = if server == 1 { &mut us } else { &mut them };
        let wait = client.poll_timeout().expect("a flight is in the air");
        std::thread::sleep(wait + Duration::from_millis(5));
        client.handle_timeout().expect("repeat");
        // Repeated flights reach us one by one; the second and third are of no use, and genuine.
        let (mut connected, mut named) = (false, Vec::new());
        for _ in 0..8 {
            let own: Vec<_> = std::iter::from_fn(|| us.poll_transmit()).collect();
            for datagram in own {
                them.handle_datagram(&datagram).expect("no error");
            }
            let to_us = if server == 1 {
                std::mem::take(&mut held)
            } else {
                Vec::new()
            };
            for datagram in to_us.into_iter().chain(std::iter::from_fn(|| them.poll_transmit())) {
                let progress = us.handle_datagram(&datagram).expect("no error");
                connected |= matches!(progress, DtlsProgress::Connected(_));
                named.extend(std::iter::from_fn(|| us.poll_ignored()));
            }
        }
        assert_eq!(named, [], "our role {:?}", roles.0);
        assert_eq!(connected, server == 1, "as a server we were connected before");
    }
}

#[test]
fn forged_records_during_a_handshake_are_counted_at_its_end() {
    let (ours, theirs) = two_identities();
    let (mut us, mut them) = started(&ours, &theirs, PASSIVE);
    for number in [40, 41] {
        assert_eq!(ignored(&mut us, &record(22, 1, number, &[7; 40])), []);
    }
    let results = exchange([&mut us, &mut them], |_, _| true);
    assert_eq!(keys(&results[0]).write, keys(&results[1]).read);
    let counted: Vec<DtlsIgnored> = std::iter::from_fn(|| us.poll_ignored()).collect();
    assert_eq!(counted, [DtlsIgnored::AuthenticationFailed; 2]);
}

#[test]
fn goodbye_is_heard() {
    let (ours, theirs) = two_identities();
    let (mut us, mut them) = started(&ours, &theirs, PASSIVE);
    exchange([&mut us, &mut them], |_, _| true);
    them.close();
    let results = exchange([&mut us, &mut them], |_, _| true);
    assert!(matches!(results[0], Some(Ok(DtlsProgress::Closed))));
}
