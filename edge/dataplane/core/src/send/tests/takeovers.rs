//! Another publication, and what the viewer sees go on.

use super::*;

#[test]
fn a_takeover_goes_on_under_the_same_ssrc_with_the_codecs_payload_type() {
    let mut world = World::live(parameters());
    let last = (0..5)
        .map(|n| {
            world
                .write(VIDEO, video(10 + n, n * 33, b"K"), n * 33)
                .unwrap()
                .unwrap()
        })
        .last()
        .unwrap();
    world.rings = vec![StreamRing::new(), StreamRing::new()];
    world
        .half
        .switch_source(&source(2, Codec::H264), &[None, None], &world.rings, at(632));
    assert_eq!(world.half.poll_key_frame_request(at(632)), Some(VIDEO));
    assert_eq!(
        world.write(VIDEO, video(65_530, 640, b"D"), 640),
        Err(SendDrop::AwaitingKeyFrame)
    );
    let first = world.write(VIDEO, video(65_531, 1_132, b"K"), 1_132).unwrap().unwrap();
    assert_eq!(
        (first.ssrc, first.payload_type, first.number),
        (last.ssrc, 102, last.number + 1)
    );
    assert_eq!(first.timestamp.wrapping_sub(last.timestamp), 90_000);
    assert_eq!(world.nack(&[last.number], 1_140), []);
    assert_eq!(world.drops(), BTreeMap::from([("nack_too_old", 1)]));
    let repair = world.nack(&[first.number], 1_140);
    assert_eq!((repair[0].payload_type, repair[0].timestamp), (103, first.timestamp));
}

#[test]
fn a_source_whose_codec_the_viewer_does_not_take_is_named() {
    let mut parameters = parameters();
    parameters.tracks[1].codecs.truncate(1);
    let mut world = World::new(parameters);
    world
        .half
        .switch_source(&source(1, Codec::H264), &[None, None], &world.rings, at(0));
    assert_eq!(world.write(VIDEO, video(1, 0, b"K"), 0), Err(SendDrop::NoCodec));
    assert_eq!(world.write(5, video(1, 0, b"K"), 0), Err(SendDrop::NoTrack));
    assert_eq!(world.half.poll_key_frame_request(at(0)), None);
}

#[test]
fn vp8_picture_numbers_go_on_after_a_takeover() {
    let mut world = World::live(parameters());
    let vp8 = |id: u8| [0x90, 0x80, 0x80, id, 0x00, 9];
    let key = |number, payload: &[u8]| MediaPacket {
        key_frame_start: true,
        ..video(number, 0, payload)
    };
    world.write(VIDEO, key(1, &vp8(10)), 0).unwrap();
    world.write(VIDEO, video(2, 0, &vp8(11)), 0).unwrap();
    world.rings = vec![StreamRing::new(), StreamRing::new()];
    world
        .half
        .switch_source(&source(2, Codec::Vp8), &[None, None], &world.rings, at(100));
    let first = world.write(VIDEO, key(1, &vp8(77)), 100).unwrap().unwrap();
    assert_eq!(first.payload[3], 12);
    let second = world.write(VIDEO, video(2, 133, &vp8(78)), 133).unwrap().unwrap();
    assert_eq!(second.payload[3], 13);
    // A repair carries what was sent.
    assert_eq!(world.nack(&[first.number], 140)[0].payload[2..], first.payload);
}

/// RFC 6184 §8.2.1 (the sets are those of its example), then an IDR slice that brings none.
#[test]
fn parameter_sets_of_the_description_precede_a_bare_key_frame() {
    let mut description = source(1, Codec::H264);
    description.tracks[1].fmtp = "packetization-mode=1;sprop-parameter-sets=Z0IACpZTBYmI,aMljiA==".into();
    let bare = |number, ms| MediaPacket {
        key_frame_start: true,
        ..video(number, ms, &[0x65, 0x88, 1])
    };
    let with_sets = |number, ms| MediaPacket {
        key_frame_start: true,
        ..video(number, ms, &[0x67, 0x42, 0, 0x0A])
    };

    let mut world = World::new(parameters());
    world
        .half
        .switch_source(&description, &[None, None], &world.rings, at(0));
    assert_eq!(world.write(VIDEO, bare(10, 0), 0), Ok(None));
    let got = world.poll(0);
    assert_eq!(
        got.iter().map(|packet| packet.number).collect::<Vec<_>>(),
        [0x7FFE, 0x7FFF]
    );
    assert_eq!(
        (got[0].payload[0] & 0x1F, got[0].marker, got[0].timestamp),
        (24, false, got[1].timestamp)
    );
    assert_eq!(world.nack(&[got[0].number], 10)[0].payload[2..], got[0].payload);
    assert_eq!(
        world.write(VIDEO, with_sets(11, 33), 33).unwrap().unwrap().number,
        0x8000
    );

    // The same from the cache, and a key frame that brings its sets is left alone.
    let mut world = World::new(parameters());
    world.rings[VIDEO].insert(Arc::new(bare(10, 0))).unwrap();
    world
        .half
        .switch_source(&description, &[None, None], &world.rings, at(0));
    assert_eq!(world.poll(0).len(), 2);
    let mut world = World::new(parameters());
    world
        .half
        .switch_source(&description, &[None, None], &world.rings, at(0));
    assert_eq!(world.write(VIDEO, with_sets(10, 0), 0).unwrap().unwrap().number, 0x7FFE);
}

/// A player fits a line through many reports per track; what a change of source does to one line it must do to the other.
#[test]
fn after_a_takeover_the_tracks_stay_in_sync() {
    let mut world = World::new(parameters());
    let clocks = [
        Some(SenderClock {
            ntp: 900 * SECOND,
            rtp: 0,
        }),
        Some(SenderClock {
            ntp: 900 * SECOND,
            rtp: 0,
        }),
    ];
    world
        .half
        .switch_source(&source(1, Codec::Vp8), &clocks, &world.rings, at(0));
    for n in 0..100u64 {
        world.write(AUDIO, audio(n, n * 20), n * 20).unwrap();
        if n % 2 == 0 {
            world.write(VIDEO, frame(n / 2, n * 20, 100, n == 0), n * 20).unwrap();
        }
    }
    let before = world.reports(2_000);
    world.rings = vec![StreamRing::new(), StreamRing::new()];
    world
        .half
        .switch_source(&source(2, Codec::Vp8), &[None, None], &world.rings, at(2_500));
    // The other host's clock is elsewhere; its video comes 70 ms after its audio of the same moment.
    for n in 0..120u64 {
        let ms = 2_500 + n * 20;
        world.write(AUDIO, audio(50_000 + n, ms), ms).unwrap();
        world
            .write(VIDEO, frame(9_000 + n, ms + 70, 100, n == 0), ms + 70)
            .unwrap();
        if n == 40 {
            let ntp = 7_777 * SECOND;
            world
                .half
                .handle_sender_clock(AUDIO, SenderClock { ntp, rtp: 50_000 * 960 }, at(ms));
            world.half.handle_sender_clock(
                VIDEO,
                SenderClock {
                    ntp,
                    rtp: 9_000 * 3_000,
                },
                at(ms),
            );
        }
    }
    let after = world.reports(5_000);
    assert_eq!((before.len(), after.len()), (2, 2));
    let shift = |track: usize, rate: i128| {
        let ticks = i128::from(after[track].rtp.wrapping_sub(before[track].rtp) as i32);
        i128::from(after[track].ntp.wrapping_sub(before[track].ntp)) - (ticks << 32) / rate
    };
    let skew_us = (shift(0, 48_000) - shift(1, 90_000)) * 1_000_000 / i128::from(SECOND);
    assert!(skew_us.abs() < 100, "{skew_us} µs");
}

/// The sound's clock of the new host comes two seconds after its picture's: until then nothing is said of either.
#[test]
fn after_a_takeover_no_track_is_reported_before_the_other() {
    let mut world = World::new(parameters());
    let clock = |ntp: u64, rtp| SenderClock { ntp: ntp * SECOND, rtp };
    world.half.switch_source(
        &source(1, Codec::Vp8),
        &[Some(clock(900, 0)), Some(clock(900, 0))],
        &world.rings,
        at(0),
    );
    for n in 0..50u64 {
        world.write(AUDIO, audio(n, n * 20), n * 20).unwrap();
        world.write(VIDEO, frame(n, n * 20, 100, n == 0), n * 20).unwrap();
    }
    assert_eq!(world.reports(1_000).len(), 2);
    world.rings = vec![StreamRing::new(), StreamRing::new()];
    world
        .half
        .switch_source(&source(2, Codec::Vp8), &[None, None], &world.rings, at(1_000));
    for n in 0..100u64 {
        let ms = 1_000 + n * 20;
        world.write(AUDIO, audio(50_000 + n, ms), ms).unwrap();
        world.write(VIDEO, frame(9_000 + n, ms, 100, n == 0), ms).unwrap();
    }
    world
        .half
        .handle_sender_clock(VIDEO, clock(7_000, 9_000 * 3_000), at(1_500));
    assert_eq!(world.reports(2_900), []);
    world
        .half
        .handle_sender_clock(AUDIO, clock(7_000, 50_000 * 960), at(3_000));
    assert_eq!(world.reports(3_000).len(), 2);

    // A host that never reports its sound does not silence the picture's reports for ever.
    world
        .half
        .switch_source(&source(3, Codec::Vp8), &[None, None], &world.rings, at(4_000));
    for n in 0..10u64 {
        let ms = 4_000 + n * 20;
        world.write(AUDIO, audio(90_000 + n, ms), ms).unwrap();
        world.write(VIDEO, frame(20_000 + n, ms, 100, n == 0), ms).unwrap();
    }
    world
        .half
        .handle_sender_clock(VIDEO, clock(8_000, 20_000 * 3_000), at(4_500));
    assert_eq!(world.reports(9_900), []);
    assert_eq!(world.half.poll_timeout(), Some(at(10_000)));
    assert_eq!(world.reports(10_000).len(), 1);
}
