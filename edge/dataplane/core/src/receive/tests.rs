use super::*;
use crate::rtcp::RtcpError;
use crate::rtcp::{SenderReport, write_bye, write_sender_report};
use crate::rtp::{HeaderFields, write_header};
use crate::source::MediaKind;
use proptest::prelude::*;
use std::collections::BTreeSet;

mod feedback;

const AUDIO: u32 = 0xA0;
const VIDEO: u32 = 0xB0;
const VIDEO_RTX: u32 = 0xB1;
const KEY: &[u8] = &[0x10, 0x00, 1, 2, 3];
const DELTA: &[u8] = &[0x10, 0x01, 1, 2, 3];

fn codec(payload_type: u8, codec: Codec, rtx_payload_type: Option<u8>) -> ReceiveCodec {
    let video = codec != Codec::Opus;
    ReceiveCodec {
        payload_type,
        codec,
        fmtp: String::new(),
        rtx_payload_type,
        nack: video,
        pli: video,
        fir: false,
    }
}

fn parameters() -> ReceiveParameters {
    let track = |kind, mid: &str, codecs| ReceiveTrackParameters {
        kind,
        mid: mid.into(),
        codecs,
        ssrcs: vec![],
        rtx_ssrcs: vec![],
    };
    ReceiveParameters {
        tracks: vec![
            track(MediaKind::Audio, "a", vec![codec(111, Codec::Opus, None)]),
            track(
                MediaKind::Video,
                "v",
                vec![codec(96, Codec::Vp8, Some(97)), codec(102, Codec::H264, Some(103))],
            ),
        ],
        extensions: ReceiveExtensions {
            mid: Some(1),
            transport_sequence_number: Some(2),
            ..Default::default()
        },
        local_ssrc: Ssrc(0x11),
        cname: "edge".into(),
        reduced_size: true,
        disabled: ReceiveDisabled::default(),
    }
}

fn rtp(
    ssrc: u32,
    payload_type: u8,
    number: u64,
    timestamp: u32,
    extensions: &[(u8, &[u8])],
    payload: &[u8],
) -> Vec<u8> {
    let mut packet = Vec::new();
    let fields = HeaderFields {
        marker: true,
        payload_type,
        sequence_number: number as u16,
        timestamp,
        ssrc: Ssrc(ssrc),
    };
    write_header(&mut packet, fields, extensions);
    packet.extend_from_slice(payload);
    packet
}

fn video(number: u64, payload: &[u8]) -> Vec<u8> {
    rtp(VIDEO, 96, number, 3_000 * number as u32, &[], payload)
}

fn rtx(original: u64, payload: &[u8]) -> Vec<u8> {
    let mut wrapped = (original as u16).to_be_bytes().to_vec();
    wrapped.extend_from_slice(payload);
    rtp(VIDEO_RTX, 97, 7_000, 3_000 * original as u32, &[], &wrapped)
}

fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

/// Everything that is due at `ms`, by kind.
fn due(half: &mut ReceiveHalf, ms: u64) -> (Vec<u16>, usize, usize, usize) {
    let (mut nacked, mut plis, mut reports, mut feedbacks) = (vec![], 0, 0, 0);
    while let Some(compound) = half.poll_rtcp(at(ms)) {
        for packet in rtcp::parse(&compound).unwrap() {
            match packet {
                Rtcp::Nack {
                    media_ssrc, missing, ..
                } => {
                    assert_eq!(media_ssrc, Ssrc(VIDEO));
                    nacked.extend(missing);
                }
                Rtcp::Pli { .. } => plis += 1,
                Rtcp::ReceiverReport { .. } => reports += 1,
                Rtcp::TwccFeedback(_) => feedbacks += 1,
                Rtcp::Sdes(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    (nacked, plis, reports, feedbacks)
}

#[test]
fn an_ssrc_is_bound_by_its_first_packet_and_keeps_its_track_without_mid() {
    let mut half = ReceiveHalf::new(parameters());
    // Both m-lines could claim nothing by payload type alone: mid decides.
    let first = rtp(VIDEO, 96, 5, 9, &[(1, b"v")], KEY);
    let (track, packet) = half.handle_rtp(&first, 5, at(0)).unwrap().unwrap();
    assert_eq!((track, packet.key_frame_start, &packet.payload[..]), (1, true, KEY));
    let (track, packet) = half.handle_rtp(&video(6, DELTA), 6, at(1)).unwrap().unwrap();
    assert_eq!((track, packet.key_frame_start, packet.ssrc), (1, false, Ssrc(VIDEO)));
    assert!(half.is_bound(1) && !half.is_bound(0));
    assert_eq!(half.track_infos()[1].ssrc, Some(Ssrc(VIDEO)));
    // A second media ssrc of the same track is a stranger, mid or not.
    let other = rtp(0xBB, 96, 1, 9, &[(1, b"v")], KEY);
    assert_eq!(half.handle_rtp(&other, 1, at(2)), Err(ReceiveDrop::UnknownSsrc));
}

#[test]
fn without_mid_the_payload_type_binds_and_an_unknown_one_does_not() {
    let mut half = ReceiveHalf::new(parameters());
    assert_eq!(
        half.handle_rtp(&rtp(AUDIO, 111, 1, 1, &[], b"opus"), 1, at(0))
            .unwrap()
            .unwrap()
            .0,
        0
    );
    assert_eq!(
        half.handle_rtp(&rtp(9, 50, 1, 1, &[], b"?"), 1, at(0)),
        Err(ReceiveDrop::UnknownSsrc)
    );
    assert_eq!(
        half.handle_rtp(&rtp(9, 50, 1, 1, &[(1, b"v")], b"?"), 1, at(0)),
        Err(ReceiveDrop::UnknownPayloadType)
    );
    half.handle_rtp(&video(1, KEY), 1, at(0)).unwrap();
    let changed = rtp(VIDEO, 102, 2, 1, &[], &[0x65, 1]);
    assert_eq!(half.handle_rtp(&changed, 2, at(0)), Err(ReceiveDrop::CodecChanged));
}

#[test]
fn a_gap_is_asked_for_repaired_by_rtx_and_told_once() {
    let mut half = ReceiveHalf::new(parameters());
    assert_eq!(
        half.handle_rtp(&rtx(65_534, DELTA), 7_000, at(0)),
        Err(ReceiveDrop::RtxUnbound)
    );
    half.handle_rtp(&video(65_533, KEY), 65_533, at(0)).unwrap();
    half.handle_rtp(&video(65_537, DELTA), 65_537, at(10)).unwrap();
    assert_eq!(due(&mut half, 14).0, []);
    assert_eq!(half.poll_timeout(), Some(at(15)));
    assert_eq!(due(&mut half, 15).0, [65_534, 65_535, 0]);
    assert_eq!(due(&mut half, 16).0, []);
    let (track, packet) = half.handle_rtp(&rtx(65_536, DELTA), 7_000, at(60)).unwrap().unwrap();
    assert_eq!((track, packet.ssrc, packet.payload_type), (1, Ssrc(VIDEO), 96));
    assert_eq!((packet.extended_sequence_number, &packet.payload[..]), (65_536, DELTA));
    assert_eq!(
        half.handle_rtp(&rtx(65_536, DELTA), 7_001, at(61)),
        Err(ReceiveDrop::Duplicate)
    );
    assert_eq!(
        half.handle_rtp(&video(65_534, DELTA), 65_534, at(62))
            .unwrap()
            .unwrap()
            .1
            .extended_sequence_number,
        65_534
    );
    assert_eq!(due(&mut half, 150).0, [65_535]);
    assert_eq!(half.stats().packets_recovered, 2);
}

#[test]
fn rtx_of_an_unknown_apt_and_probes_are_named() {
    let mut half = ReceiveHalf::new(parameters());
    half.handle_rtp(&video(100, KEY), 100, at(0)).unwrap();
    half.handle_rtp(&rtx(100, DELTA), 7_000, at(0)).unwrap_err();
    assert_eq!(
        half.handle_rtp(&rtp(VIDEO_RTX, 97, 1, 0, &[], &[]), 1, at(0)),
        Err(ReceiveDrop::RtxPadding)
    );
    assert_eq!(
        half.handle_rtp(&rtp(VIDEO_RTX, 97, 1, 0, &[], &[1]), 1, at(0)),
        Err(ReceiveDrop::RtxTruncated)
    );
    assert_eq!(
        half.handle_rtp(&rtp(VIDEO_RTX, 109, 1, 0, &[], &[0, 101, 1]), 1, at(0)),
        Err(ReceiveDrop::RtxUnbound)
    );
    // The original would lie before the very first number.
    assert_eq!(
        half.handle_rtp(&rtx(0xFFF0, DELTA), 1, at(0)),
        Err(ReceiveDrop::RtxTooOld)
    );
    // RTX of another codec than the track's.
    assert_eq!(
        half.handle_rtp(&rtp(VIDEO_RTX, 103, 1, 0, &[], &[0, 101, 1]), 1, at(0)),
        Err(ReceiveDrop::CodecChanged)
    );
}

#[test]
fn padding_is_stripped_and_a_packet_of_nothing_else_is_passed_on_empty() {
    let mut half = ReceiveHalf::new(parameters());
    let mut padded = video(1, &[0x10, 0x00, 9, 0, 0, 3]);
    padded[0] |= 0x20;
    let (_, packet) = half.handle_rtp(&padded, 1, at(0)).unwrap().unwrap();
    assert_eq!(packet.payload[..], [0x10, 0x00, 9]);
    let mut padding_only = video(2, &[0, 0, 0, 4]);
    padding_only[0] |= 0x20;
    let (_, packet) = half.handle_rtp(&padding_only, 2, at(0)).unwrap().unwrap();
    assert_eq!((packet.extended_sequence_number, packet.payload.len()), (2, 0));
}

#[test]
fn key_frame_requests_are_coalesced_and_a_key_frame_answers_them() {
    let mut half = ReceiveHalf::new(parameters());
    half.request_key_frame(1, at(0));
    assert_eq!(due(&mut half, 0).1, 0, "no ssrc to ask yet");
    half.handle_rtp(&video(1, DELTA), 1, at(10)).unwrap();
    assert_eq!(due(&mut half, 10).1, 1);
    half.request_key_frame(1, at(20));
    half.request_key_frame(1, at(30));
    assert_eq!(due(&mut half, 509).1, 0);
    assert_eq!(due(&mut half, 510).1, 1);
    half.request_key_frame(1, at(520));
    half.handle_rtp(&video(2, KEY), 2, at(530)).unwrap();
    assert_eq!(due(&mut half, 1_100).1, 0);
    half.request_key_frame(0, at(1_100));
    assert_eq!(due(&mut half, 1_100).1, 0, "audio has no key frames");
}

#[test]
fn a_host_that_ignores_requests_is_told_of_once() {
    let mut half = ReceiveHalf::new(parameters());
    half.handle_rtp(&video(1, DELTA), 1, at(0)).unwrap();
    half.request_key_frame(1, at(0));
    for ms in [0, 500, 1_999] {
        half.request_key_frame(1, at(ms));
        due(&mut half, ms);
        assert_eq!(half.poll_event(), None);
    }
    due(&mut half, 2_000);
    assert_eq!(half.poll_event(), Some(ReceiveEvent::KeyFrameIgnored { track: 1 }));
    half.request_key_frame(1, at(9_000));
    due(&mut half, 9_000);
    assert_eq!(half.poll_event(), None);
}

#[test]
fn a_host_that_sends_b_frames_is_told_of_once() {
    let h264 = |number: u64, payload: &[u8]| rtp(VIDEO, 102, number, 3_000 * number as u32, &[], payload);
    let mut half = ReceiveHalf::new(parameters());
    // slice_type 5, a P slice; then 6 and 1, both B, the last as the first fragment of a slice.
    for (number, payload) in [
        (1, &[0x41, 0b1001_1000][..]),
        (2, &[0x01, 0b1001_1100]),
        (3, &[0x1c, 0x81, 0b1010_0000]),
    ] {
        half.handle_rtp(&h264(number, payload), number, at(number)).unwrap();
        let expected = (number == 2).then_some(ReceiveEvent::BFrames { track: 1 });
        assert_eq!(half.poll_event(), expected, "packet {number}");
    }
    let mut half = ReceiveHalf::new(parameters());
    half.handle_rtp(&video(1, &[0x01, 0b1001_1100]), 1, at(0)).unwrap();
    assert_eq!(half.poll_event(), None, "VP8 has none");
}

#[test]
fn sender_reports_give_clocks_and_are_answered_with_their_delay() {
    let mut half = ReceiveHalf::new(parameters());
    half.handle_rtp(&video(1, KEY), 1, at(0)).unwrap();
    let report = SenderReport {
        ssrc: Ssrc(VIDEO),
        ntp: 0x1234_5678_9ABC_DEF0,
        rtp: 77,
        packet_count: 1,
        octet_count: 1,
    };
    let mut compound = Vec::new();
    write_sender_report(&mut compound, &report, &[]);
    write_bye(&mut compound, &[Ssrc(VIDEO), Ssrc(5)]);
    half.handle_rtcp(&compound, at(100)).unwrap();
    let clock = SenderClock {
        ntp: report.ntp,
        rtp: 77,
    };
    assert_eq!(half.poll_event(), Some(ReceiveEvent::SenderClock { track: 1, clock }));
    assert_eq!(half.poll_event(), Some(ReceiveEvent::Bye { track: 1 }));
    assert_eq!(half.poll_event(), None);
    let compound = half.poll_rtcp(at(350)).unwrap();
    match rtcp::parse(&compound).unwrap().next() {
        Some(Rtcp::ReceiverReport { mut receptions, .. }) => {
            let reception = receptions.next().unwrap();
            assert_eq!(reception.ssrc, Ssrc(VIDEO));
            assert_eq!(reception.last_sender_report, 0x5678_9ABC);
            assert_eq!(reception.delay_since_last_sender_report, 65_536 / 4);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        half.handle_rtcp(&[1, 2, 3], at(0)),
        Err(ReceiveDrop::Rtcp(RtcpError::Truncated))
    );
}

#[test]
fn loss_is_reported_in_256ths() {
    let mut half = ReceiveHalf::new(parameters());
    for number in (0..200u64).filter(|number| number % 4 != 3) {
        half.handle_rtp(&video(number, DELTA), number, at(number)).unwrap();
    }
    let compound = half.poll_rtcp(at(300)).unwrap();
    let Some(Rtcp::ReceiverReport { mut receptions, .. }) = rtcp::parse(&compound).unwrap().next() else {
        panic!()
    };
    let reception = receptions.next().unwrap();
    assert_eq!((reception.fraction_lost, reception.cumulative_lost), (63, 49));
}

#[test]
fn feedback_follows_arrivals_within_its_interval() {
    let mut half = ReceiveHalf::new(parameters());
    half.handle_rtp(&rtp(VIDEO, 96, 1, 1, &[(2, &[0, 9])], KEY), 1, at(1_000))
        .unwrap();
    assert_eq!(half.poll_timeout(), Some(at(1_050)));
    assert_eq!(due(&mut half, 1_050).3, 1);
    assert_eq!(due(&mut half, 1_150).3, 0, "nothing came since");
}

#[test]
fn switched_off_parts_stay_silent() {
    let mut parameters = parameters();
    parameters.disabled = ReceiveDisabled { nack: true, twcc: true };
    let mut half = ReceiveHalf::new(parameters);
    half.handle_rtp(&rtp(VIDEO, 96, 1, 1, &[(2, &[0, 9])], KEY), 1, at(0))
        .unwrap();
    half.handle_rtp(&rtp(VIDEO, 96, 5, 1, &[(2, &[0, 10])], DELTA), 5, at(0))
        .unwrap();
    assert_eq!(due(&mut half, 200), (vec![], 0, 0, 0));
}

#[test]
fn every_drop_has_its_own_name() {
    let names: BTreeSet<_> = ReceiveDrop::ALL.iter().map(|drop| drop.name()).collect();
    assert_eq!(names.len(), ReceiveDrop::ALL.len());
}

proptest! {
    /// Through loss, reordering and wraps: with repairs answered, every packet comes out exactly once.
    #[test]
    fn every_packet_comes_out_once(
        start in 60_000u64..70_000,
        fates in proptest::collection::vec(prop_oneof![4 => Just(0u8), 1 => Just(1u8), 1 => Just(2u8)], 10..400),
    ) {
        let mut half = ReceiveHalf::new(parameters());
        let mut out = BTreeSet::new();
        let mut held = None;
        let mut now = 0;
        let mut take = |half: &mut ReceiveHalf, packet: &[u8], number: u64, now: u64| {
            if let Ok(Some((_, packet))) = half.handle_rtp(packet, number, at(now)) {
                assert!(out.insert(packet.extended_sequence_number));
            }
        };
        let last = start + fates.len() as u64;
        for (number, fate) in (start..).zip(fates.iter().copied().chain([0])) {
            now += 4;
            match fate {
                1 if number != start => {}
                2 if number != start => held = Some(number),
                _ => {
                    take(&mut half, &video(number, DELTA), number, now);
                    if let Some(late) = held.take() {
                        take(&mut half, &video(late, DELTA), late, now);
                    }
                }
            }
            for asked in due(&mut half, now).0 {
                let original = extend_sequence_number(asked, number).unwrap();
                take(&mut half, &rtx(original, DELTA), 1, now);
            }
        }
        for asked in due(&mut half, now + 6).0 {
            let original = extend_sequence_number(asked, last).unwrap();
            take(&mut half, &rtx(original, DELTA), 1, now + 6);
        }
        prop_assert_eq!(out.len() as u64, last - start + 1);
        prop_assert_eq!(half.stats().packets_lost, 0);
    }

    #[test]
    fn arbitrary_packets_never_panic(packet in proptest::collection::vec(any::<u8>(), 0..80), number: u64, payload_type in 90u8..112) {
        let mut half = ReceiveHalf::new(parameters());
        half.handle_rtp(&video(1, KEY), 1, at(0)).unwrap();
        let mut packet = packet;
        if packet.len() > 2 {
            packet[0] = 0x80 | packet[0] & 0x3F;
            packet[1] = payload_type;
        }
        let _ = half.handle_rtp(&packet, number & 0xFFFF_FFFF_FFFF, at(1));
        let _ = half.handle_rtcp(&packet, at(2));
        let _ = half.poll_rtcp(at(900));
    }
}
