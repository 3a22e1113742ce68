use super::*;
use crate::mesh::varint::Reader;
use crate::source::{Codec, SourceId, TrackInfo};
use proptest::prelude::*;

fn round_trip(message: &Message) {
    let bytes = message.to_bytes();
    let mut reader = Reader::new(&bytes);
    assert_eq!(Message::decode(&mut reader).as_ref(), Ok(&Some(message.clone())));
    assert!(reader.is_empty());
    for cut in 0..bytes.len() {
        assert!(
            Message::decode(&mut Reader::new(&bytes[..cut])).is_err(),
            "cut at {cut} of {message:?}"
        );
    }
}

#[test]
fn every_message_survives_the_wire_and_no_prefix_of_it_does() {
    let path = vec!["sg".to_owned(), "bom".to_owned()];
    let info = SourceInfo {
        id: SourceId {
            room: "demo".into(),
            incarnation: 1_764_000_000_123,
        },
        origin_edge: "sg".into(),
        tracks: vec![
            TrackInfo {
                codec: Codec::Opus,
                fmtp: "minptime=10".into(),
                ssrc: None,
            },
            TrackInfo {
                codec: Codec::H264,
                fmtp: "packetization-mode=1".into(),
                ssrc: Some(Ssrc(7)),
            },
        ],
    };
    for message in [
        Message::Heartbeat(Heartbeat {
            trunk_number: 70_000,
            clock_us: 5,
            lost: 3,
            ..Heartbeat::default()
        }),
        Message::SourceHeartbeat(SourceHeartbeat {
            subscription: 3,
            incarnation: 1_764_000_000_123,
            counter: 99,
            state: SourceState::Orphan,
            path: path.clone(),
            repair_ms: 210,
        }),
        Message::Nack {
            flow: 768,
            ssrc: Ssrc(9),
            sequence_numbers: vec![65_534, 65_535, 0, 14, 15, 40],
        },
        Message::KeyFrameRequest { flow: 769 },
        Message::SenderClock {
            flow: 769,
            clock: SenderClock { ntp: u64::MAX, rtp: 1 },
        },
        Message::Subscribe(Subscribe {
            subscription: 3,
            revision: 2,
            wants: Wants {
                media: true,
                tree: false,
                backup: true,
            },
            room: "demo".into(),
            route: path.clone(),
            via: vec!["fra".into()],
            last_seen: vec![(Ssrc(7), 65_535)],
        }),
        Message::Unsubscribe {
            subscription: 3,
            revision: 4,
        },
        Message::Source {
            subscription: 3,
            generation: 1,
            info,
        },
        Message::Refused {
            subscription: 3,
            reason: "orphan".into(),
        },
        Message::SourceGone {
            subscription: 3,
            incarnation: 8,
            reason: "ended".into(),
        },
    ] {
        round_trip(&message);
    }
}

#[test]
fn an_incarnation_that_nobody_could_follow_is_malformed() {
    let told = |incarnation| {
        let id = SourceId {
            room: "demo".into(),
            incarnation,
        };
        [
            Message::SourceHeartbeat(SourceHeartbeat {
                subscription: 3,
                incarnation,
                counter: 1,
                state: SourceState::Healthy,
                path: vec!["sg".into()],
                repair_ms: 0,
            }),
            Message::Source {
                subscription: 3,
                generation: 0,
                info: SourceInfo {
                    id,
                    origin_edge: "sg".into(),
                    tracks: vec![],
                },
            },
            Message::SourceGone {
                subscription: 3,
                incarnation,
                reason: "ended".into(),
            },
        ]
    };
    told((1 << 53) - 2).iter().for_each(round_trip);
    for message in told((1 << 53) - 1) {
        let bytes = message.to_bytes();
        assert!(Message::decode(&mut Reader::new(&bytes)).is_err(), "{message:?}");
    }
}

#[test]
fn an_unknown_type_is_skipped() {
    let mut bytes = vec![0x3f, 2, 0, 0];
    Message::KeyFrameRequest { flow: 256 }.encode(&mut bytes);
    let mut reader = Reader::new(&bytes);
    assert_eq!(Message::decode(&mut reader), Ok(None));
    assert_eq!(
        Message::decode(&mut reader),
        Ok(Some(Message::KeyFrameRequest { flow: 256 }))
    );
}

#[test]
fn flow_ids_are_unique_per_subscription_generation_and_track() {
    let flow = Flow {
        subscription: 5,
        generation: 15,
        track: 3,
    };
    assert_eq!(Flow::from_id(flow.id()), Some(flow));
    assert_eq!(Flow::from_id(255), None);
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let mut reader = Reader::new(&bytes);
        while let Ok(_message) = Message::decode(&mut reader) {
            if reader.is_empty() { break; }
        }
    }
}
