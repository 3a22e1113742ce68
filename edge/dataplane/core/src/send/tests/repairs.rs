//! Repairs on request, with and without RTX.

use super::*;

#[test]
fn a_repair_comes_from_the_ring_under_the_rtx_ssrc() {
    let mut world = World::live(parameters());
    let mut sent = BTreeMap::new();
    for number in 0..100u64 {
        let payload = if number == 0 {
            b"K0".to_vec()
        } else {
            format!("D{number}").into_bytes()
        };
        let got = world
            .write(VIDEO, video(65_500 + number, number, &payload), number)
            .unwrap()
            .unwrap();
        sent.insert(got.number, got);
    }
    let asked: Vec<u64> = sent.keys().copied().skip(40).take(3).collect();
    let repairs = world.nack(&asked, 100);
    assert_eq!(repairs.len(), 3);
    for (index, (repair, original)) in repairs.iter().zip(asked.iter().map(|number| &sent[number])).enumerate() {
        assert_eq!((repair.ssrc, repair.payload_type), (VIDEO_RTX, 97));
        assert_eq!(repair.number, (0x7FFE ^ 0x5555) + index as u64);
        assert_eq!(repair.timestamp, original.timestamp);
        assert_eq!(repair.payload[..2], (original.number as u16).to_be_bytes());
        assert_eq!(repair.payload[2..], original.payload);
    }
    assert_eq!(world.nack(&asked, 120), []);
    assert_eq!(world.drops(), BTreeMap::from([("nack_repeated", 3)]));
    assert_eq!(
        world.nack(&asked, 151).len(),
        3,
        "after a round trip it may have been lost again"
    );
    assert_eq!(world.nack(&[0x7FFE + 500], 160), []);
    assert_eq!(world.drops(), BTreeMap::from([("nack_unknown", 1)]));
    assert_eq!(world.half.stats().retransmissions, 6);
}

#[test]
fn a_repair_that_left_the_ring_is_named() {
    let mut world = World::live(parameters());
    world.write(VIDEO, video(1, 0, b"K"), 0).unwrap();
    world.write(VIDEO, video(2, 5_000, b"D"), 5_000).unwrap();
    assert_eq!(world.nack(&[0x7FFE], 5_000), []);
    assert_eq!(world.drops(), BTreeMap::from([("nack_too_old", 1)]));
}

#[test]
fn without_rtx_the_same_datagram_is_sent_again() {
    let mut parameters = parameters();
    parameters.tracks[1].codecs[0].rtx_payload_type = None;
    let mut world = World::live(parameters);
    let first = world.write(VIDEO, video(1, 0, b"K"), 0).unwrap().unwrap();
    let mut compound = Vec::new();
    write_nack(&mut compound, Ssrc(9), VIDEO_SSRC, [first.number as u16]);
    world.half.handle_rtcp(&compound, at(10)).unwrap();
    let range = world
        .half
        .poll_packet(&world.rings, &mut world.output, &world.seal, at(10))
        .unwrap();
    assert_eq!(world.output[range], first.datagram);
}

#[test]
fn video_carries_the_repair_delay_from_then_on_in_packets_of_equal_length() {
    let mut parameters = parameters();
    for track in &mut parameters.tracks {
        track.extensions.playout_delay = Some(6);
    }
    let mut world = World::live(parameters);
    world.half.set_repair_delay(Duration::ZERO);
    let told = |got: &Got| {
        let header = RtpHeader::parse_encrypted(&got.datagram).unwrap();
        header.extension(&got.datagram, 6).map(<[u8]>::to_vec)
    };
    let near = world.write(VIDEO, frame(1, 0, 100, true), 0).unwrap().unwrap();
    assert_eq!(told(&near), None);
    let due = world.half.poll_timeout();
    world.half.set_repair_delay(Duration::from_millis(210));
    assert_eq!(world.half.poll_timeout(), due, "a hint delays nothing here");
    let far = world.write(VIDEO, frame(2, 0, 100, false), 0).unwrap().unwrap();
    assert_eq!(told(&far), Some(vec![0x01, 0x51, 0x90]));
    let next = world.write(VIDEO, frame(3, 0, 100, false), 0).unwrap().unwrap();
    assert_eq!((told(&next), next.datagram.len()), (told(&far), far.datagram.len()));
    let sound = world.write(AUDIO, audio(5, 0), 0).unwrap().unwrap();
    assert_eq!(told(&sound), None);
}

#[test]
fn without_rtx_a_packet_from_before_another_header_is_not_sent_again() {
    let mut parameters = parameters();
    parameters.tracks[1].codecs[0].rtx_payload_type = None;
    parameters.tracks[1].extensions.playout_delay = Some(6);
    let mut world = World::live(parameters);
    let first = world.write(VIDEO, video(1, 0, b"K"), 0).unwrap().unwrap();
    world.half.set_repair_delay(Duration::from_millis(210));
    world.write(VIDEO, video(2, 0, b"D"), 0).unwrap();
    assert_eq!(world.nack(&[first.number], 10), [], "one nonce, two headers");
    assert_eq!(world.drops(), BTreeMap::from([("nack_too_old", 1)]));
}

#[test]
fn a_packet_that_the_ring_gave_out_is_not_sent_again() {
    let mut world = World::new(parameters());
    let waiting: Vec<_> = (0..3).map(|n| frame(10 + n, 0, 100, n == 0)).collect();
    for packet in &waiting {
        world.rings[VIDEO].insert(Arc::new(packet.clone())).unwrap();
    }
    world
        .half
        .switch_source(&source(1, Codec::Vp8), &[None, None], &world.rings, at(1));
    assert_eq!(world.poll(1).len(), 3);
    for packet in waiting {
        assert_eq!(world.write(VIDEO, packet, 1), Ok(None));
    }
    assert_eq!(
        world.write(VIDEO, frame(13, 2, 100, false), 2).unwrap().unwrap().number,
        0x7FFE + 3
    );
}
