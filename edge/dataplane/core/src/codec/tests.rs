use super::h264::ParameterSets;
use super::vp8::{Continuity, Descriptor, PictureId, Shift, rewrite_with};
use super::*;
use proptest::prelude::*;

const SPS: &[u8] = &[0x67, 0x42, 0x00, 0x0a, 0x96, 0x53];
const PPS: &[u8] = &[0x68, 0xc9, 0x63, 0x88];

fn stap_a(units: &[&[u8]]) -> Vec<u8> {
    let mut payload = vec![0x78];
    for unit in units {
        payload.extend_from_slice(&(unit.len() as u16).to_be_bytes());
        payload.extend_from_slice(unit);
    }
    payload
}

#[test]
fn h264_key_frames_start_at_parameter_sets_or_the_first_idr_slice() {
    let starts = |payload: &[u8]| is_key_frame_start(Codec::H264, payload);
    assert!(starts(SPS));
    assert!(starts(&[0x65, 0x88, 0x84]), "single IDR slice");
    assert!(starts(&stap_a(&[SPS, PPS])));
    assert!(starts(&stap_a(&[&[0x06, 1], &[0x65, 0x88]])), "SEI, then IDR");
    assert!(starts(&[0x7c, 0x85, 0x88]), "first fragment of an IDR slice");
    assert!(!starts(&[0x7c, 0x05, 0x88]), "later fragment");
    assert!(!starts(&[0x65, 0x40]), "second slice of the picture");
    assert!(!starts(PPS) && !starts(&[0x41, 0x9a]) && !starts(&[]));
    assert!(!starts(&[0x78, 0x00, 0x09, 0x67]), "length leaves the packet");
}

#[test]
fn parameter_sets_are_kept_from_packets_of_their_own_and_put_in_front() {
    let mut sets = ParameterSets::default();
    assert_eq!(sets.payload(), None);
    sets.handle_payload(SPS);
    assert_eq!(sets.payload(), None);
    sets.handle_payload(PPS);
    assert_eq!(sets.payload().unwrap(), stap_a(&[SPS, PPS]));
    let newer = [0x67, 0x42, 0x00, 0x1f, 0x96];
    sets.handle_payload(&stap_a(&[&newer, PPS]));
    assert_eq!(sets.payload().unwrap(), stap_a(&[&newer, PPS]));
    let mut again = ParameterSets::default();
    again.handle_payload(&sets.payload().unwrap());
    assert_eq!(again, sets);
    assert!(h264::has_sps(&sets.payload().unwrap()));
}

#[test]
fn parameter_sets_come_from_the_offer_too() {
    let sets = ParameterSets::from_fmtp("packetization-mode=1;sprop-parameter-sets=Z0IACpZT,aMljiA==");
    assert_eq!(sets.payload().unwrap(), stap_a(&[SPS, PPS]));
    assert!(!ParameterSets::from_fmtp("packetization-mode=1").is_complete());
}

#[test]
fn b_slices_are_recognised() {
    // first_mb_in_slice 0 = "1"; slice_type 1 = "010", 6 = "00111", 5 = "00110", 0 = "1".
    assert!(h264::is_b_slice_start(&[0x01, 0b1010_0000]));
    assert!(h264::is_b_slice_start(&[0x01, 0b1001_1100]));
    assert!(!h264::is_b_slice_start(&[0x41, 0b1001_1000]));
    assert!(!h264::is_b_slice_start(&[0x41, 0b1100_0000]));
    assert!(!h264::is_b_slice_start(&[0x41, 0, 0, 0, 0]));
}

// X, I+L+T+K, 15-bit PictureID 0x1234, TL0PICIDX 7, TID 1 with Y, KEYIDX 3, then a key frame tag.
const VP8_LONG: [u8; 8] = [0x90, 0xF0, 0x92, 0x34, 0x07, 0x63, 0x10, 0x00];

#[test]
fn vp8_descriptor_fields_are_found() {
    let descriptor = Descriptor::parse(&VP8_LONG).unwrap();
    assert_eq!(descriptor.picture_id, Some(PictureId::Long(0x1234)));
    assert_eq!((descriptor.tl0_pic_idx, descriptor.temporal_layer), (Some(7), Some(1)));
    assert_eq!((descriptor.key_idx, descriptor.len), (Some(3), 6));
    assert!(is_key_frame_start(Codec::Vp8, &VP8_LONG));
    assert!(is_key_frame_start(Codec::Vp8, &[0x10, 0x10]), "no extension at all");
    assert!(!is_key_frame_start(Codec::Vp8, &[0x10, 0x11]), "inter frame");
    assert!(!is_key_frame_start(Codec::Vp8, &[0x00, 0x10]), "not the start");
    assert!(!is_key_frame_start(Codec::Vp8, &[0x11, 0x10]), "partition 1");
    for length in 0..7 {
        assert_eq!(Descriptor::parse(&VP8_LONG[..length]), None, "{length} bytes");
    }
}

#[test]
fn numbers_go_on_counting_when_the_source_changes() {
    let mut continuity = Continuity::default();
    let mut payload = VP8_LONG;
    continuity.rewrite(&mut payload);
    assert_eq!(payload, VP8_LONG, "the first source passes unchanged");
    let other = [0x90, 0xF0, 0x80, 0x05, 0xFE, 0x7F, 0x10, 0x00];
    continuity.restart(&other);
    let mut payload = other;
    let shift = continuity.rewrite(&mut payload);
    let sent = Descriptor::parse(&payload).unwrap();
    assert_eq!(
        (sent.picture_id, sent.tl0_pic_idx),
        (Some(PictureId::Long(0x1235)), Some(8))
    );
    assert_eq!(
        (sent.key_idx, sent.temporal_layer),
        (Some(4), Some(1)),
        "TID and Y stay"
    );
    let mut again = other;
    rewrite_with(shift, &mut again);
    assert_eq!(again, payload, "a retransmission is rewritten as its original");
}

#[test]
fn a_late_packet_does_not_set_the_count_back() {
    let packet = |id: u16| [0x90, 0x80, 0x80 | (id >> 8) as u8, id as u8, 0x11, 0];
    let mut continuity = Continuity::default();
    for id in [100, 103, 101] {
        continuity.rewrite(&mut packet(id));
    }
    continuity.restart(&packet(7));
    let mut payload = packet(7);
    continuity.rewrite(&mut payload);
    assert_eq!(
        Descriptor::parse(&payload).unwrap().picture_id,
        Some(PictureId::Long(104))
    );
}

#[test]
fn short_picture_ids_wrap_at_seven_bits_and_stay_short() {
    let packet = |id: u8| [0x90, 0x80, id, 0x11];
    let mut continuity = Continuity::default();
    continuity.rewrite(&mut packet(0x7F));
    continuity.restart(&packet(0x30));
    let mut payload = packet(0x30);
    continuity.rewrite(&mut payload);
    assert_eq!(payload, packet(0x00));
    let mut payload = packet(0x31);
    continuity.rewrite(&mut payload);
    assert_eq!(payload, packet(0x01));
}

#[test]
fn short_picture_ids_go_on_from_the_newest_after_a_wrap() {
    let packet = |id: u8| [0x90, 0x80, id & 0x7F, 0x11];
    let mut continuity = Continuity::default();
    for id in 100..=140 {
        continuity.rewrite(&mut packet(id));
    }
    continuity.rewrite(&mut packet(120)); // late
    continuity.restart(&packet(50));
    let mut payload = packet(50);
    continuity.rewrite(&mut payload);
    assert_eq!(payload, packet(141));
}

proptest! {
    #[test]
    fn arbitrary_payloads_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..64), shift: (u16, u8, u8)) {
        for codec in [Codec::Opus, Codec::Vp8, Codec::H264] {
            is_key_frame_start(codec, &payload);
        }
        h264::is_b_slice_start(&payload);
        ParameterSets::default().handle_payload(&payload);
        let mut copy = payload.clone();
        rewrite_with(Shift { picture_id: shift.0, tl0_pic_idx: shift.1, key_idx: shift.2 }, &mut copy);
        prop_assert_eq!(copy.len(), payload.len());
        let mut continuity = Continuity::default();
        continuity.rewrite(&mut copy);
        continuity.restart(&payload);
        continuity.rewrite(&mut copy);
    }

    #[test]
    fn a_shift_is_undone_by_its_opposite(picture_id: u16, tl0: u8, key_idx: u8, bytes: [u8; 8]) {
        let mut payload = bytes;
        payload[0] |= 0x80;
        let original = payload;
        let there = Shift { picture_id, tl0_pic_idx: tl0, key_idx };
        let back = Shift {
            picture_id: picture_id.wrapping_neg(), tl0_pic_idx: tl0.wrapping_neg(), key_idx: key_idx.wrapping_neg(),
        };
        rewrite_with(there, &mut payload);
        rewrite_with(back, &mut payload);
        prop_assert_eq!(payload, original);
    }
}
