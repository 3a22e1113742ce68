use super::*;
use proptest::prelude::*;

const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

// RFC 5769 §2.1.
const REQUEST: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
\x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff\x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\
\x00\x06\x00\x09\x65\x76\x74\x6a\x3a\x68\x36\x76\x59\x20\x20\x20\
\x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
\x80\x28\x00\x04\xe5\x7a\x3b\xcf";

// RFC 5769 §2.2.
const RESPONSE_IPV4: &[u8] = b"\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
\x80\x22\x00\x0btest vector\x20\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43\
\x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7\
\x80\x28\x00\x04\xc0\x7d\x4c\x96";

// RFC 5769 §2.3.
const RESPONSE_IPV6: &[u8] = b"\x01\x01\x00\x48\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
\x80\x22\x00\x0btest vector\x20\
\x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9\
\x00\x08\x00\x14\xa3\x82\x95\x4e\x4b\xe6\x7b\xf1\x17\x84\xc9\x7c\x82\x92\xc2\x75\xbf\xe3\xed\x41\
\x80\x28\x00\x04\xc8\xfb\x0b\x4c";

#[test]
fn rfc_5769_request_is_understood() {
    let message = parse(REQUEST).unwrap();
    assert_eq!((message.class, message.method), (Class::Request, METHOD_BINDING));
    assert_eq!(message.username, Some("evtj:h6vY"));
    assert_eq!(message.receiver_ufrag(), Some("evtj"));
    assert_eq!(message.priority, Some(0x6e00_01ff));
    assert_eq!(message.controlled, Some(0x932f_f9b1_5126_3b36));
    assert!(message.has_fingerprint);
    assert!(message.has_valid_integrity(&integrity_key(PASSWORD)));
    assert!(!message.has_valid_integrity(&integrity_key("another password entirely")));
}

#[test]
fn rfc_5769_responses_are_understood() {
    for (bytes, address) in [
        (RESPONSE_IPV4, "192.0.2.1:32853"),
        (RESPONSE_IPV6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
    ] {
        let message = parse(bytes).unwrap();
        assert_eq!(message.class, Class::Success);
        assert_eq!(message.mapped_address, Some(address.parse().unwrap()));
        assert!(message.has_valid_integrity(&integrity_key(PASSWORD)));
    }
}

#[test]
fn every_flipped_bit_of_the_vector_is_noticed() {
    let key = integrity_key(PASSWORD);
    for bit in 0..REQUEST.len() * 8 {
        let mut bytes = REQUEST.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(!matches!(parse(&bytes), Ok(message) if message.has_fingerprint && message.has_valid_integrity(&key)));
    }
}

#[test]
fn every_truncation_is_an_error() {
    for length in 0..REQUEST.len() {
        assert!(parse(&REQUEST[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn trailing_bytes_are_an_error() {
    let mut bytes = REQUEST.to_vec();
    bytes.push(0);
    assert_eq!(parse(&bytes).unwrap_err(), StunError::TooLong);
}

#[test]
fn attributes_after_integrity_are_ignored() {
    let key = integrity_key(PASSWORD);
    let mut bytes = MessageWriter::binding(Class::Request, [7; 12])
        .username("a:b")
        .finish(Some(&key));
    bytes.truncate(bytes.len() - 8); // FINGERPRINT off
    bytes.extend_from_slice(&kind::USE_CANDIDATE.to_be_bytes());
    bytes.extend_from_slice(&[0, 0]);
    let length = (bytes.len() - HEADER_LEN) as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    let message = parse(&bytes).unwrap();
    assert!(!message.use_candidate);
    assert!(message.has_valid_integrity(&key));
}

#[test]
fn unknown_required_attribute_is_named_and_optional_one_passes() {
    let bytes = MessageWriter::binding(Class::Request, [1; 12])
        .attribute(0x7777, b"x")
        .finish(None);
    assert_eq!(parse(&bytes).unwrap().unknown_required, Some(0x7777));
    let bytes = MessageWriter::binding(Class::Request, [1; 12])
        .attribute(0xC057, b"x")
        .finish(None);
    assert_eq!(parse(&bytes).unwrap().unknown_required, None);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1600)) {
        if let Ok(message) = parse(&bytes) {
            message.has_valid_integrity(&integrity_key(PASSWORD));
        }
    }

    #[test]
    fn mutated_vectors_never_panic(at in 0..REQUEST.len(), value: u8, cut in 0..=REQUEST.len()) {
        let mut bytes = REQUEST.to_vec();
        bytes[at] = value;
        bytes.truncate(cut);
        let _ = parse(&bytes);
    }

    #[test]
    fn what_is_written_is_read(
        transaction_id: [u8; 12], username in "[a-zA-Z0-9+/]{4,40}:[a-zA-Z0-9+/]{4,40}", priority: u32,
        tie_breaker: u64, use_candidate: bool, controlling: bool, ip: std::net::IpAddr, port: u16,
    ) {
        let key = integrity_key(PASSWORD);
        let address = SocketAddr::new(ip, port);
        let mut writer = MessageWriter::binding(Class::Request, transaction_id)
            .username(&username).priority(priority).mapped_address(address);
        if use_candidate { writer = writer.use_candidate(); }
        writer = if controlling { writer.controlling(tie_breaker) } else { writer.controlled(tie_breaker) };
        let bytes = writer.finish(Some(&key));
        let message = parse(&bytes).unwrap();
        prop_assert_eq!(message.transaction_id, transaction_id);
        prop_assert_eq!(message.username, Some(username.as_str()));
        prop_assert_eq!(message.priority, Some(priority));
        prop_assert_eq!(message.use_candidate, use_candidate);
        prop_assert_eq!(message.controlling, controlling.then_some(tie_breaker));
        prop_assert_eq!(message.controlled, (!controlling).then_some(tie_breaker));
        prop_assert_eq!(message.mapped_address, Some(address));
        prop_assert!(message.has_fingerprint && message.has_valid_integrity(&key));
    }
}
