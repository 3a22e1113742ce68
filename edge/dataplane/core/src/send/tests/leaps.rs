//! A source whose numbers leap: it was away for longer than rings keep.

use super::*;

/// A trunk that was dark for minutes: its numbers went on without us, or were lifted above what was here.
const LEAPS: [u64; 4] = [4_096, 32_768, 65_536, 200_000];

#[test]
fn sound_goes_on_without_a_leap_of_its_numbers() {
    for leap in LEAPS {
        let mut world = World::live(parameters());
        let before = world.write(AUDIO, audio(5, 0), 0).unwrap().unwrap();
        // `World::read` opens every packet as a player does: a leap of its index would fail there.
        let after = world.write(AUDIO, audio(6 + leap, 9_000), 9_000).unwrap().unwrap();
        assert_eq!(after.number, before.number + 1);
        assert_eq!(
            after.timestamp.wrapping_sub(before.timestamp),
            (leap as u32 + 1) * 960,
            "the source's own clock tells how long it was away"
        );
        let next = world.write(AUDIO, audio(8 + leap, 9_040), 9_040).unwrap().unwrap();
        assert_eq!(next.number, after.number + 2, "gaps stay gaps");
        assert_eq!(
            world.write(AUDIO, audio(5 + leap, 9_041), 9_041),
            Err(SendDrop::BeforeStart)
        );
    }
}

#[test]
fn a_picture_goes_on_at_a_key_frame_without_a_leap_of_its_numbers() {
    for leap in LEAPS {
        let mut world = World::live(parameters());
        let before = world.write(VIDEO, video(10, 0, b"K"), 0).unwrap().unwrap();
        let delta = world.write(VIDEO, video(11 + leap, 9_000, b"D"), 9_000);
        assert_eq!(delta, Err(SendDrop::AwaitingKeyFrame));
        assert_eq!(world.half.poll_key_frame_request(at(9_000)), Some(VIDEO));
        let after = world
            .write(VIDEO, video(13 + leap, 9_100, b"K"), 9_100)
            .unwrap()
            .unwrap();
        assert_eq!(after.number, before.number + 1);
        assert_eq!(world.half.poll_key_frame_request(at(9_700)), None);
    }
}

#[test]
fn a_key_frame_that_leaps_is_shown_at_once_and_a_smaller_gap_stays_one() {
    let mut world = World::live(parameters());
    let first = world.write(VIDEO, video(10, 0, b"K"), 0).unwrap().unwrap();
    let gap = world.write(VIDEO, video(10 + 4_096, 500, b"D"), 500).unwrap().unwrap();
    assert_eq!(gap.number, first.number + 4_096);
    let leapt = world.write(VIDEO, video(90_000, 9_000, b"K"), 9_000).unwrap().unwrap();
    assert_eq!(leapt.number, gap.number + 1);
}
