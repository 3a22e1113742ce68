//! Sender reports, and what viewers report.

use super::*;
use crate::rtcp::RtcpError;

#[test]
fn reports_precede_the_replay_and_lie_on_the_publishers_line() {
    let mut world = World::new(parameters());
    for number in 0..10u64 {
        world.rings[VIDEO]
            .insert(Arc::new(frame(number, number * 33, 100, number == 0)))
            .unwrap();
    }
    let clock = SenderClock {
        ntp: 5_000 * SECOND,
        rtp: 27_000,
    };
    world
        .half
        .switch_source(&source(1, Codec::Vp8), &[None, Some(clock)], &world.rings, at(300));
    let first = world.reports(300);
    assert_eq!(first.len(), 1);
    assert_eq!((first[0].ssrc, first[0].packet_count), (VIDEO_SSRC, 0));
    let got = world.poll(300);
    // RTP 27,000 is the newest frame, number 9; it is stamped when it is sent, 3 ms after it came and some more for the squeeze.
    let late = got.last().unwrap().timestamp.wrapping_sub(first[0].rtp);
    assert!((270..900).contains(&late), "{late}");
    assert_eq!(first[0].ntp, 5_000 * SECOND);
    assert_eq!(world.reports(499), []);
    let second = world.reports(500);
    assert_eq!(second[0].rtp.wrapping_sub(first[0].rtp), 18_000);
    assert_eq!(second[0].ntp - first[0].ntp, SECOND / 5);
    assert_eq!((second[0].packet_count, second[0].octet_count), (10, 1_000));
    assert_eq!(world.half.poll_timeout(), Some(at(1_500)));
    let live = world.write(VIDEO, frame(11, 510, 100, false), 510).unwrap().unwrap();
    assert_eq!(live.timestamp.wrapping_sub(first[0].rtp), 2 * 3_000);
    // The audio track's clock comes later: both are reported at once.
    world.write(AUDIO, audio(5, 600), 600).unwrap();
    world.half.handle_sender_clock(
        AUDIO,
        SenderClock {
            ntp: 5_000 * SECOND,
            rtp: 4_800,
        },
        at(700),
    );
    let both = world.reports(700);
    assert_eq!(both.len(), 2);
    assert_eq!(both[0].rtp, 1_000, "audio number 5 was its first packet");
}

#[test]
fn a_repeated_or_late_report_moves_nothing_back() {
    let mut world = World::live(parameters());
    world.write(VIDEO, video(1, 0, b"K"), 0).unwrap();
    let clock = |second: u64| SenderClock {
        ntp: (900 + second) * SECOND,
        rtp: second as u32 * 90_000,
    };
    world.half.handle_sender_clock(VIDEO, clock(2), at(0));
    let first = world.reports(0)[0];
    for (stale, ms) in [(clock(2), 150), (clock(1), 160)] {
        world.half.handle_sender_clock(VIDEO, stale, at(ms));
    }
    let second = world.reports(200)[0];
    assert_eq!(second.ntp - first.ntp, SECOND / 5);
    // A host that sets its clock back by an hour is believed.
    world
        .half
        .handle_sender_clock(VIDEO, SenderClock { ntp: SECOND, rtp: 0 }, at(1_200));
    assert_eq!(world.reports(1_200)[0].ntp, SECOND);
}

#[test]
fn nothing_is_due_while_there_is_no_source() {
    let mut world = World::live(parameters());
    world.reports(0);
    world.half.clear_source();
    assert_eq!(
        (world.half.poll_timeout(), world.half.poll_key_frame_request(at(0))),
        (None, None)
    );
    assert_eq!(world.write(VIDEO, video(1, 0, b"K"), 0), Err(SendDrop::NoTrack));

    // A viewer that was behind when its source went.
    world.rings = vec![StreamRing::new(), StreamRing::new()];
    world
        .half
        .switch_source(&source(1, Codec::Vp8), &[None, None], &world.rings, at(0));
    for number in 2..40 {
        world.write(VIDEO, frame(number, 0, 1_000, number == 2), 0).unwrap();
    }
    world.reports(0);
    world.rings.clear();
    assert!(world.half.poll_timeout().is_some());
    assert_eq!(world.poll(5), []);
    assert_eq!(world.half.poll_timeout(), None);

    world.rings = vec![StreamRing::new(), StreamRing::new()];
    world
        .half
        .switch_source(&source(2, Codec::Vp8), &[None, None], &world.rings, at(1_000));
    let first = world.write(VIDEO, frame(7, 1_000, 100, true), 1_000).unwrap().unwrap();
    assert_eq!(first.number, 0x7FFE + 12);
    assert_eq!(first.timestamp.wrapping_sub(u32::MAX - 50), 11 * 3_000 + 90_000);
}

#[test]
fn no_report_is_invented() {
    let mut world = World::live(parameters());
    world.write(VIDEO, video(1, 0, b"K"), 0).unwrap();
    assert_eq!(world.reports(10_000), []);
    assert_eq!(world.half.poll_timeout(), None);
}

#[test]
fn the_round_trip_is_what_the_echo_says() {
    let mut world = World::live(parameters());
    world.write(VIDEO, video(1, 0, b"K"), 0).unwrap();
    world.half.handle_sender_clock(
        VIDEO,
        SenderClock {
            ntp: 77 * SECOND + 12_345_678,
            rtp: 0,
        },
        at(0),
    );
    let sent = world.reports(1_000)[0];
    let echo = |delay_ms: u32| {
        let reception = ReceptionReport {
            ssrc: VIDEO_SSRC,
            fraction_lost: 0,
            cumulative_lost: 0,
            extended_highest_sequence_number: 0,
            jitter: 0,
            last_sender_report: (sent.ntp >> 16) as u32,
            delay_since_last_sender_report: delay_ms * 65_536 / 1_000,
        };
        let mut compound = Vec::new();
        write_receiver_report(&mut compound, Ssrc(9), &[reception]);
        compound
    };
    assert_eq!(world.half.rtt(), None);
    world.half.handle_rtcp(&echo(500), at(1_680)).unwrap();
    let rtt = world.half.rtt().unwrap().as_millis();
    assert!((179..=181).contains(&rtt), "{rtt}");
    // An echo from the future changes nothing.
    world.half.handle_rtcp(&echo(5_000), at(1_690)).unwrap();
    assert_eq!(world.half.rtt().unwrap().as_millis(), rtt);
    assert_eq!(
        world.half.handle_rtcp(&[0; 3], at(1_690)),
        Err(SendDrop::Rtcp(RtcpError::Truncated))
    );
}

#[test]
fn a_goodbye_names_every_ssrc() {
    let mut world = World::live(parameters());
    let compound = world.half.goodbye(at(0));
    let Some(Rtcp::Bye(ssrcs)) = rtcp::parse(&compound).unwrap().last() else {
        panic!()
    };
    assert_eq!(
        ssrcs.collect::<Vec<_>>(),
        [Ssrc(0xA0), Ssrc(0xA1), VIDEO_SSRC, VIDEO_RTX]
    );
}

#[test]
fn a_track_that_begins_live_is_reported_before_its_first_packet() {
    let mut world = World::new(parameters());
    let clock = SenderClock {
        ntp: 5_000 * SECOND,
        rtp: 4_800,
    };
    world
        .half
        .switch_source(&source(1, Codec::Vp8), &[Some(clock), None], &world.rings, at(100));
    assert_eq!(world.reports(100), [], "nothing to report before the line is known");
    let (first, second) = (audio(5, 120), audio(6, 140));
    assert!(world.half.begin(AUDIO, &first, at(120)));
    let reports = world.reports(120);
    assert_eq!(reports.len(), 1);
    assert_eq!((reports[0].ssrc, reports[0].packet_count), (Ssrc(0xA0), 0));
    assert!(!world.half.begin(AUDIO, &first, at(120)), "it has begun");
    let sent = world.write(AUDIO, first, 120).unwrap().unwrap();
    // 4,800 is number 5's timestamp, reported 20 ms later.
    assert_eq!(reports[0].rtp.wrapping_sub(sent.timestamp), 960);
    assert!(!world.half.begin(AUDIO, &second, at(140)));
    // A picture begins at a key frame only.
    assert!(!world.half.begin(VIDEO, &video(1, 150, b"D"), at(150)));
    assert!(world.half.begin(VIDEO, &video(2, 160, b"K"), at(160)));
}
