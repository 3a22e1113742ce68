//! A hop's estimates against made-up arrivals.

use super::*;

fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

/// 240 packets a second, less those that `lose` names, with a tick after each.
fn run(hop: &mut Hop, from: u64, to: u64, lose: impl Fn(u64) -> bool) -> Vec<(u64, bool, bool)> {
    (from..to)
        .map(|number| {
            let now = at(number * 1_000 / 240);
            if !lose(number) {
                hop.handle_heard(1_200, now);
                hop.handle_number_truncated(number as u16, now);
            }
            hop.handle_tick(now);
            (number, hop.is_lossy(now), hop.is_lossy_for_long(now))
        })
        .collect()
}

#[test]
fn one_burst_of_eight_is_lossy_for_a_moment_and_never_for_long() {
    let mut hop = Hop::new(at(0));
    let seen = run(&mut hop, 0, 1_000, |number| (300..308).contains(&number));
    assert!(seen.iter().any(|(_, lossy, _)| *lossy));
    assert!(seen.iter().all(|(_, _, long)| !long));
    assert!(
        seen.iter().filter(|(_, lossy, _)| *lossy).count() <= 30,
        "longer than the window"
    );
    assert_eq!((hop.lost, hop.stats(1, at(4_166)).mean_burst_packets), (8, 8.0));
}

#[test]
fn a_200_ms_blackout_is_never_lossy_for_long() {
    let mut hop = Hop::new(at(0));
    let seen = run(&mut hop, 0, 1_000, |number| (300..348).contains(&number));
    assert!(seen.iter().all(|(_, _, long)| !long));
}

#[test]
fn a_third_of_all_packets_lost_for_a_second_is_lossy_for_long() {
    let mut hop = Hop::new(at(0));
    let seen = run(&mut hop, 0, 1_000, |number| number > 300 && number % 3 == 0);
    let first = seen.iter().find(|(_, _, long)| *long).expect("loss goes on").0;
    assert!((540..600).contains(&first), "{first}");
}

#[test]
fn random_bursts_of_three_at_one_percent_do_not_arm() {
    let mut hop = Hop::new(at(0));
    let seen = run(&mut hop, 0, 20_000, |number| number % 300 < 3);
    assert!(seen.iter().all(|(_, lossy, _)| !lossy));
    let ratio = hop.stats(1, at(20_000 * 1_000 / 240)).loss_ratio_30s;
    assert!((0.008..0.012).contains(&ratio), "{ratio}");
}

#[test]
fn reordering_within_the_grace_is_not_loss() {
    let mut hop = Hop::new(at(0));
    for pair in 0..500u64 {
        let now = at(pair * 8);
        hop.handle_number_truncated((pair * 2 + 1) as u16, now);
        hop.handle_number_truncated((pair * 2) as u16, now + Duration::from_millis(5));
        hop.handle_tick(now + Duration::from_millis(6));
    }
    assert_eq!(
        (hop.lost, hop.received),
        (0, 999),
        "the very first number came after its successor"
    );
}

#[test]
fn a_round_trip_is_measured_by_echo_whatever_the_clocks_say() {
    let (mut here, mut there) = (Hop::new(at(0)), Hop::new(at(0)));
    let there_offset = 5_000_000u64;
    let beat = here.make_heartbeat(1_000_000, at(1_000));
    there.handle_heartbeat(&beat, 1_080_000 + there_offset, at(1_080));
    let reply = there.make_heartbeat(1_130_000 + there_offset, at(1_130));
    here.handle_heartbeat(&reply, 1_210_000, at(1_210));
    assert_eq!(here.rtt(), Some(Duration::from_millis(160)));
    assert_eq!(there.stats(1, at(1_130)).one_way_delay_raw_ms, 5_080.0);
    assert_eq!(here.stats(1, at(1_210)).one_way_delay_raw_ms, -4_920.0);
}

#[test]
fn numbers_extend_to_the_nearest() {
    assert_eq!(extend(65_535, 0), 65_536);
    assert_eq!(extend(65_536, 65_535), 65_535);
    assert_eq!(extend(3, 65_530), 65_530);
    assert_eq!(extend(200_000, 3_000), 199_608);
}

#[test]
fn a_stall_lengthens_the_smoothed_round_trip_and_not_the_recent_one() {
    let mut hop = Hop::new(at(0));
    let sample = |hop: &mut Hop, from_ms: u64, to_ms: u64, rtt_ms: u64| {
        for ms in (from_ms..to_ms).step_by(100) {
            hop.handle_rtt(Duration::from_millis(rtt_ms), at(ms));
        }
    };
    assert_eq!(hop.recent_rtt(), None);
    hop.handle_reconnect(Some(Duration::from_millis(190)), at(0));
    assert_eq!(
        hop.recent_rtt(),
        Some(Duration::from_millis(190)),
        "until a heartbeat tells"
    );
    sample(&mut hop, 0, 3_000, 160);
    sample(&mut hop, 3_000, 3_400, 560);
    assert!(hop.rtt().is_some_and(|rtt| rtt > Duration::from_millis(300)));
    assert_eq!(hop.recent_rtt(), Some(Duration::from_millis(160)));
    sample(&mut hop, 3_400, 6_000, 560);
    assert_eq!(hop.recent_rtt(), Some(Duration::from_millis(560)), "a longer way");
    sample(&mut hop, 6_000, 6_100, 160);
    assert_eq!(
        hop.recent_rtt(),
        Some(Duration::from_millis(160)),
        "a shorter one at once"
    );
}
