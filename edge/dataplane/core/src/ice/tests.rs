use super::*;
use crate::stun::MessageWriter;
use proptest::prelude::*;

const PASSWORD: &str = "a password of twenty-two";

fn agent() -> IceLite {
    IceLite::new("local", PASSWORD, Time::ZERO)
}

fn check_of(transaction: u8, build: impl FnOnce(MessageWriter) -> MessageWriter) -> Vec<u8> {
    let writer = MessageWriter::binding(Class::Request, [transaction; 12])
        .username("local:remote")
        .priority(1);
    build(writer).finish(Some(&stun::integrity_key(PASSWORD)))
}

fn check(build: impl FnOnce(MessageWriter) -> MessageWriter) -> Vec<u8> {
    check_of(3, build)
}

fn from(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 7], port))
}

fn ours() -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 1], 7700))
}

#[test]
fn a_valid_check_is_answered_with_its_source() {
    let mut agent = agent();
    let datagram = check(|writer| writer.controlling(9).use_candidate());
    assert_eq!(username_ufrag(&datagram), Some("local"));
    let reply = agent
        .handle_binding_request(&datagram, from(1), ours(), Time::ZERO)
        .unwrap();
    let response = stun::parse(&reply.response).unwrap();
    assert_eq!((response.class, response.transaction_id), (Class::Success, [3; 12]));
    assert_eq!(response.mapped_address, Some(from(1)));
    assert!(response.has_fingerprint && response.has_valid_integrity(&stun::integrity_key(PASSWORD)));
    assert_eq!(reply.nominated_changed, Some(from(1)));
    assert_eq!((agent.remote(), agent.local()), (Some(from(1)), Some(ours())));
}

#[test]
fn a_check_without_a_role_is_accepted() {
    let mut agent = agent();
    agent
        .handle_binding_request(&check(|writer| writer), from(1), ours(), Time::ZERO)
        .unwrap();
    assert_eq!(agent.remote(), Some(from(1)));
}

#[test]
fn every_refusal_has_its_name() {
    let key = stun::integrity_key(PASSWORD);
    let request = || MessageWriter::binding(Class::Request, [3; 12]);
    let good = check(|writer| writer);
    let cases = [
        (
            good[..good.len() - 1].to_vec(),
            IceDrop::Malformed(StunError::Truncated),
        ),
        (request().username("local:x").finish_bare(), IceDrop::NoFingerprint),
        (request().finish(Some(&key)), IceDrop::NoUsername),
        (request().username("local").finish(Some(&key)), IceDrop::NoUsername),
        (request().username("other:x").finish(Some(&key)), IceDrop::UnknownUfrag),
        (request().username("local:x").finish(None), IceDrop::NoIntegrity),
        (
            request()
                .username("local:x")
                .finish(Some(&stun::integrity_key("wrong"))),
            IceDrop::BadIntegrity,
        ),
        (
            MessageWriter::binding(Class::Indication, [3; 12]).finish(None),
            IceDrop::NotBindingRequest,
        ),
        (
            MessageWriter::binding(Class::Success, [3; 12]).finish(Some(&key)),
            IceDrop::NotBindingRequest,
        ),
    ];
    for (datagram, reason) in cases {
        let mut agent = agent();
        assert_eq!(
            agent.handle_binding_request(&datagram, from(1), ours(), Time::ZERO),
            Err(reason)
        );
        assert!(!agent.is_validated(from(1)));
        assert!(IceDrop::NAMES.contains(&reason.name()));
    }
    assert_eq!(drop_reason_without_session(&good), IceDrop::UnknownUfrag);
    assert_eq!(
        drop_reason_without_session(b"\x00\x01"),
        IceDrop::Malformed(StunError::Truncated)
    );
}

#[test]
fn an_unknown_required_attribute_is_refused_with_420() {
    let reply = agent()
        .handle_binding_request(
            &check(|writer| writer.attribute(0x7abc, b"")),
            from(1),
            ours(),
            Time::ZERO,
        )
        .unwrap();
    assert_eq!(stun::parse(&reply.response).unwrap().error_code, Some(420));
    assert_eq!(reply.nominated_changed, None);
}

#[test]
fn media_follows_the_nominated_path_and_not_the_latest() {
    let mut agent = agent();
    let plain = check_of(1, |writer| writer.controlling(1));
    let nominating = |transaction| check_of(transaction, |writer| writer.controlling(1).use_candidate());
    agent
        .handle_binding_request(&nominating(2), from(1), ours(), Time::ZERO)
        .unwrap();
    let reply = agent
        .handle_binding_request(&plain, from(2), ours(), Time::ZERO)
        .unwrap();
    assert_eq!(reply.nominated_changed, None);
    assert!(agent.is_validated(from(2)));
    assert_eq!(agent.remote(), Some(from(1)));
    let reply = agent
        .handle_binding_request(&nominating(3), from(2), ours(), Time::ZERO)
        .unwrap();
    assert_eq!(reply.nominated_changed, Some(from(2)));
}

#[test]
fn without_any_nomination_the_latest_validated_path_is_used() {
    let mut agent = agent();
    let plain = |transaction| check_of(transaction, |writer| writer);
    agent
        .handle_binding_request(&plain(1), from(1), ours(), Time::ZERO)
        .unwrap();
    let reply = agent
        .handle_binding_request(&plain(2), from(2), ours(), Time::ZERO)
        .unwrap();
    assert_eq!(reply.nominated_changed, Some(from(2)));
    let reply = agent
        .handle_binding_request(&plain(3), from(2), ours(), Time::ZERO)
        .unwrap();
    assert_eq!(reply.nominated_changed, None);
}

#[test]
fn paths_are_bounded_and_the_selected_one_stays() {
    let mut agent = agent();
    agent
        .handle_binding_request(&check(|writer| writer.use_candidate()), from(1), ours(), Time::ZERO)
        .unwrap();
    for port in 2..100 {
        let now = Time::from_millis(u64::from(port));
        agent
            .handle_binding_request(&check_of(port as u8 + 100, |writer| writer), from(port), ours(), now)
            .unwrap();
    }
    assert_eq!(agent.paths.len(), PATHS_MAX);
    assert!(agent.is_validated(from(1)) && agent.is_validated(from(99)) && !agent.is_validated(from(2)));
}

#[test]
fn silence_of_30_s_is_death_and_a_forged_check_is_no_sign_of_life() {
    let mut agent = agent();
    let at = Time::from_millis(10_000);
    agent
        .handle_binding_request(&check(|writer| writer), from(1), ours(), at)
        .unwrap();
    let forged = MessageWriter::binding(Class::Request, [3; 12])
        .username("local:remote")
        .finish(Some(&stun::integrity_key("forged")));
    agent
        .handle_binding_request(&forged, from(1), ours(), Time::from_millis(30_000))
        .unwrap_err();
    assert!(!agent.is_quiet(Time::from_millis(16_999)));
    assert!(agent.is_quiet(Time::from_millis(17_000)));
    assert_eq!(agent.poll_timeout(), Time::from_millis(40_000));
    assert!(!agent.is_dead(Time::from_millis(39_999)));
    assert!(agent.is_dead(Time::from_millis(40_000)));
}

#[test]
fn an_operator_may_give_up_sooner_but_not_later_than_the_standard_allows() {
    let dead_at = |silence: u64| agent().expiring_after(Duration::from_secs(silence)).poll_timeout();
    assert_eq!(dead_at(5), Time::from_millis(5_000));
    assert_eq!(dead_at(60), Time::from_millis(30_000));
}

#[test]
fn a_recorded_check_from_elsewhere_moves_nothing_and_a_retransmission_is_answered() {
    let mut agent = agent();
    let datagram = check(|writer| writer.use_candidate());
    agent
        .handle_binding_request(&datagram, from(1), ours(), Time::ZERO)
        .unwrap();
    agent
        .handle_binding_request(&datagram, from(1), ours(), Time::ZERO)
        .unwrap();
    let replayed = agent.handle_binding_request(&datagram, from(2), ours(), Time::ZERO);
    assert_eq!(replayed, Err(IceDrop::Replayed));
    assert!(!agent.is_validated(from(2)));
    assert_eq!(agent.remote(), Some(from(1)));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        username_ufrag(&bytes);
        prop_assert!(agent().handle_binding_request(&bytes, from(1), ours(), Time::ZERO).is_err());
    }
}
