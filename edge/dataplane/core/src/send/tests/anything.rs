//! Whatever upstream and viewers do.

use super::*;
use proptest::prelude::*;

proptest! {
    /// Whatever upstream does (loss, reordering, padding, floods), a viewer gets each packet once, under its own number, in the
    /// publisher's order; and NACK brings back what the viewer lost.
    #[test]
    fn a_viewer_gets_every_packet_once(
        start in 60_000u64..70_000,
        fates in proptest::collection::vec((0u8..12, 0u64..8, 1usize..1_100), 20..300),
    ) {
        let mut world = World::live(parameters());
        let mut ms = 0;
        let mut got: BTreeMap<u64, Got> = BTreeMap::new();
        let mut expected: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let mut lost_by_viewer = Vec::new();
        let mut held = Vec::new();
        let mut feed = |world: &mut World, packet: MediaPacket, ms: u64, lose: bool| {
            if !packet.payload.is_empty() {
                expected.insert(packet.extended_sequence_number, packet.payload.to_vec());
            }
            let written = world.write(VIDEO, packet, ms).unwrap();
            for packet in written.into_iter().chain(world.poll(ms)) {
                if packet.ssrc == VIDEO_SSRC {
                    if lose { lost_by_viewer.push(packet.number) }
                    assert!(got.insert(packet.number, packet).is_none());
                }
            }
        };
        feed(&mut world, frame(start, 0, 10, true), 0, false);
        for (number, (fate, wait, len)) in (start + 1..).zip(fates.iter().copied()) {
            ms += wait;
            let packet = |len: usize| {
                let mut packet = frame(number, ms, len.max(1), false);
                if len == 0 { packet.payload = Bytes::new() } else { packet.payload = Bytes::from(format!("D{number:0>len$}").into_bytes()); }
                packet
            };
            match fate {
                0 => {}
                1 => held.push(packet(len)),
                2 => held.push(packet(0)),
                3 => feed(&mut world, packet(0), ms, false),
                _ => {
                    feed(&mut world, packet(len), ms, fate == 4);
                    for late in held.drain(..) {
                        feed(&mut world, MediaPacket { received_at: at(ms), ..late }, ms, false);
                    }
                }
            }
        }
        while world.half.poll_timeout().is_some_and(|due| due <= at(ms + 10_000)) && ms < 200_000 {
            ms += 5;
            for packet in world.poll(ms) {
                assert!(got.insert(packet.number, packet).is_none());
            }
            world.half.poll_key_frame_request(at(ms));
            world.half.poll_rtcp(at(ms));
            if !world.half.has_backlog() { break }
        }
        let media: Vec<_> = got.values().filter(|packet| !packet.payload.is_empty()).map(|packet| packet.payload.clone()).collect();
        prop_assert_eq!(&media, &expected.values().cloned().collect::<Vec<_>>());
        let mut previous = None;
        for packet in got.values() {
            if let Some(previous) = previous {
                prop_assert!(packet.timestamp.wrapping_sub(previous) as i32 >= 0);
            }
            previous = Some(packet.timestamp);
        }
        for number in lost_by_viewer.into_iter().rev().take(50) {
            ms += 10;
            let repairs = world.nack(&[number], ms);
            if repairs.is_empty() {
                // Only what is older than history or ring keep may be refused.
                let drops = world.drops();
                prop_assert!(drops.contains_key("nack_too_old") || drops.contains_key("nack_unknown"));
                prop_assert!(ms > 1_000);
                continue;
            }
            prop_assert_eq!(&repairs[0].payload[2..], &got[&number].payload[..]);
        }
    }

    #[test]
    fn arbitrary_reports_never_panic(mut compound in proptest::collection::vec(any::<u8>(), 0..100), kind in 200u8..207, count in 0u8..32) {
        let mut world = World::live(parameters());
        world.write(VIDEO, video(1, 0, b"K"), 0).unwrap();
        if compound.len() >= 12 {
            compound.truncate(compound.len() / 4 * 4);
            compound[0] = 0x80 | count;
            compound[1] = kind;
            compound[2] = 0;
            compound[3] = (compound.len() / 4 - 1) as u8;
            compound[8..12].copy_from_slice(&VIDEO_SSRC.0.to_be_bytes());
        }
        let _ = world.half.handle_rtcp(&compound, at(1));
        world.poll(2);
    }
}
