//! The deterministic world: trunks, fail-over and trees over a seeded, lossy network in virtual time.

mod net;
mod sim;

use sim::{AUDIO, ROOM, VIDEO, World};
use std::time::Duration;
use tradewind_core::mesh::{FailoverPhase, Interest};
use tradewind_core::time::Time;

const FIVE: [(&str, &str, u64); 7] = [
    ("sg", "fra", 160),
    ("sg", "bom", 60),
    ("bom", "fra", 120),
    ("sg", "dxb", 80),
    ("dxb", "fra", 110),
    ("sg", "iad", 230),
    ("fra", "iad", 90),
];

/// fra watches what is published at sg, by bom, with dxb as backup.
fn relayed(seed: u64) -> World {
    relayed_in(World::new(seed, &FIVE))
}

fn relayed_in(mut world: World) -> World {
    world.publish("sg", 1);
    world.route(&["fra", "bom", "sg"], &["fra", "dxb", "sg"], 1);
    world.run_ms(1_000);
    world.watch("fra", Interest::Media);
    world.run_ms(5_000);
    world
}

#[test]
fn everything_arrives_once_and_in_time_over_160_ms_with_bursts_of_three() {
    for seed in 1..=4 {
        let mut world = World::new(seed, &[("sg", "fra", 160)]);
        world.link("sg", "fra", |link| {
            (link.loss_ratio, link.burst_packets, link.jitter) = (0.01, 3.0, Duration::from_millis(4));
        });
        world.publish("sg", 1);
        world.route(&["fra", "sg"], &[], 1);
        world.run_ms(1_000);
        world.watch("fra", Interest::Media);
        world.run_ms(2_000);
        let from = world.now;
        world.run_ms(30_000);
        world.assert_each_once();
        let until = Time::from_micros(world.now.as_micros() - 600_000);
        assert_eq!(world.missing("fra", 1, from, until), [], "seed {seed}");
        let mut late = Duration::ZERO;
        for arrival in world.nodes["fra"]
            .arrivals
            .iter()
            .filter(|arrival| arrival.at > from + Duration::from_secs(1))
        {
            let sent = world.sent_at(1, arrival.track, arrival.number).expect("it was sent");
            late = late.max((arrival.at - sent).saturating_sub(Duration::from_millis(80)));
        }
        assert!(
            late > Duration::from_millis(100),
            "seed {seed}: nothing was lost ({late:?})"
        );
        assert!(late <= Duration::from_millis(310), "seed {seed}: {late:?} late");
    }
}

#[test]
fn without_repair_packets_stay_lost() {
    let mut world = World::new(3, &[("sg", "fra", 160)]).without("trunk_nack");
    world.link("sg", "fra", |link| (link.loss_ratio, link.burst_packets) = (0.01, 3.0));
    world.publish("sg", 1);
    world.route(&["fra", "sg"], &[], 1);
    world.watch("fra", Interest::Media);
    world.run_ms(3_000);
    let from = world.now;
    world.run_ms(10_000);
    let until = Time::from_micros(world.now.as_micros() - 600_000);
    assert!(world.missing("fra", 1, from, until).len() > 10);
}

/// When the first whole picture can be decoded after a cold join in the middle of a group of pictures.
fn cold_join(world: &mut World) -> Duration {
    world.publish("sg", 1);
    world.route(&["fra", "bom", "sg"], &[], 1);
    world.run_ms(3_100);
    let joined = world.now;
    world.watch("fra", Interest::Media);
    world.run_ms(2_500);
    let key = world.nodes["fra"]
        .arrivals
        .iter()
        .find(|arrival| arrival.key_frame_start)
        .expect("a key frame");
    key.at - joined
}

#[test]
fn a_cold_join_starts_at_a_key_frame_that_has_passed() {
    let mut world = World::new(5, &FIVE);
    let start = cold_join(&mut world);
    // fra–bom is connected already, bom–sg is not: its handshake, and one round trip for each subscription.
    assert!(start <= Duration::from_millis(180 + 90 + 60), "{start:?}");
    let first = &world.nodes["fra"]
        .arrivals
        .iter()
        .find(|arrival| arrival.track == VIDEO)
        .expect("video");
    assert!(first.key_frame_start);
    let video: Vec<u16> = world.nodes["fra"]
        .arrivals
        .iter()
        .filter(|arrival| arrival.track == VIDEO)
        .map(|arrival| arrival.number)
        .collect();
    assert!(
        video.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)),
        "the replay comes before live, in order"
    );
    world.assert_each_once();
}

#[test]
fn a_cold_join_whose_first_packets_are_lost_does_not_wait_for_the_next_key_frame() {
    for seed in 0..40 {
        let mut world = World::new(seed, &FIVE);
        world.link("bom", "fra", |link| (link.loss_ratio, link.burst_packets) = (0.1, 3.0));
        let start = cold_join(&mut world);
        // Subscriptions may be lost too; the next key frame would come 2 s after the last.
        assert!(start <= Duration::from_millis(800), "seed {seed}: {start:?}");
    }
}

#[test]
fn a_warm_ring_serves_a_second_edge_from_the_relay() {
    let mut world = World::new(6, &FIVE);
    world.publish("sg", 1);
    world.route(&["bom", "sg"], &[], 1);
    world.watch("bom", Interest::Media);
    world.route(&["fra", "bom", "sg"], &[], 1);
    world.run_ms(4_700);
    let joined = world.now;
    world.watch("fra", Interest::Media);
    world.run_ms(1_000);
    let first = world.nodes["fra"]
        .arrivals
        .iter()
        .find(|arrival| arrival.track == VIDEO)
        .expect("video");
    assert!(
        first.key_frame_start && first.at - joined <= Duration::from_millis(120),
        "{:?}",
        first.at - joined
    );
    assert_eq!(world.nodes["sg"].tree.2, ["bom"], "sg feeds bom only");
    assert_eq!(world.nodes["bom"].tree, (1, Some("sg".into()), vec!["fra".into()]));
}

#[test]
fn without_the_cache_a_warm_relay_lets_a_new_edge_wait() {
    let mut world = World::new(6, &FIVE).without("cache");
    world.publish("sg", 1);
    world.route(&["bom", "sg"], &[], 1);
    world.watch("bom", Interest::Media);
    world.route(&["fra", "bom", "sg"], &[], 1);
    world.run_ms(3_100);
    let joined = world.now;
    world.watch("fra", Interest::Media);
    world.run_ms(2_500);
    let key = world.nodes["fra"]
        .arrivals
        .iter()
        .find(|arrival| arrival.key_frame_start)
        .expect("a key frame");
    assert!(key.at - joined > Duration::from_millis(800));
}

/// The gap at fra when its relay dies or a link of it goes dark, less the round trip of the backup path (190 ms).
fn gap_after(seed: u64, fault: impl Fn(&mut World)) -> (Duration, World) {
    let mut world = relayed(seed);
    world.run_ms(seed * 37 % 2_000);
    let from = world.now;
    fault(&mut world);
    world.run_ms(6_000);
    let gap = world.longest_gap("fra", from);
    if std::env::var_os("WORLD_PRINT").is_some() {
        println!("seed {seed}: gap {gap:?} {:?}", world.nodes["fra"].failovers);
    }
    world.assert_each_once();
    (gap.saturating_sub(Duration::from_millis(190)), world)
}

#[test]
fn a_killed_relay_costs_a_backup_round_trip_and_250_ms() {
    for seed in 1..=5 {
        let (gap, world) = gap_after(seed, |world| world.kill("bom"));
        assert!(
            gap <= Duration::from_millis(250),
            "seed {seed}: {gap:?} {:?}",
            world.nodes["fra"].failovers
        );
        assert_eq!(world.commits("fra"), 1, "seed {seed}");
        let until = Time::from_micros(world.now.as_micros() - 600_000);
        assert_eq!(
            world.missing("fra", 1, Time::from_millis(4_000), until),
            [],
            "seed {seed}: a gap remains"
        );
        assert_eq!(world.nodes["fra"].tree.1.as_deref(), Some("dxb"));
    }
}

#[test]
fn a_dark_last_link_costs_the_same() {
    for seed in 1..=5 {
        let (gap, world) = gap_after(seed, |world| world.link("bom", "fra", |link| link.blackout = true));
        assert!(gap <= Duration::from_millis(250), "seed {seed}: {gap:?}");
        assert_eq!(world.commits("fra"), 1, "seed {seed}");
    }
}

#[test]
fn a_dark_first_link_is_told_by_the_relay_that_has_no_backup() {
    for seed in 1..=5 {
        let (gap, world) = gap_after(seed, |world| world.link("sg", "bom", |link| link.blackout = true));
        assert!(
            gap <= Duration::from_millis(250),
            "seed {seed}: {gap:?} {:?}",
            world.nodes["fra"].failovers
        );
        assert_eq!(world.commits("fra"), 1, "seed {seed}");
    }
}

#[test]
fn a_relay_whose_own_backup_is_long_has_its_children_arm_theirs_and_they_stay() {
    // bom's own way round is 430 ms, fra's 190 ms.
    let links = [&FIVE[..], &[("bom", "iad", 200)]].concat();
    for seed in 1..=5 {
        let mut world = World::new(seed, &links);
        world.publish("sg", 1);
        world.route(&["bom", "sg"], &["bom", "iad", "sg"], 1);
        world.route(&["fra", "bom", "sg"], &["fra", "dxb", "sg"], 1);
        world.run_ms(1_000);
        world.watch("fra", Interest::Media);
        world.run_ms(5_000 + seed * 37);
        let from = world.now;
        world.link("sg", "bom", |link| link.blackout = true);
        world.run_ms(6_000);
        let gap = world.longest_gap("fra", from);
        assert!(gap <= Duration::from_millis(250 + 190), "seed {seed}: {gap:?}");
        assert_eq!((world.commits("bom"), world.commits("fra")), (1, 0), "seed {seed}");
        world.assert_each_once();
    }
}

#[test]
fn a_short_blackout_and_one_burst_move_nothing_and_lose_nothing() {
    for seed in 1..=5 {
        let mut world = relayed(seed);
        world.run_ms(seed * 37 % 2_000);
        let from = world.now;
        world.link("bom", "fra", |link| link.blackout = true);
        world.run_ms(200);
        world.link("bom", "fra", |link| link.blackout = false);
        world.run_ms(3_000);
        world.direction("bom", "fra").lose_next = 8;
        world.run_ms(4_000);
        assert_eq!(
            world.commits("fra"),
            0,
            "seed {seed}: {:?}",
            world.nodes["fra"].failovers
        );
        let until = Time::from_micros(world.now.as_micros() - 600_000);
        assert_eq!(world.missing("fra", 1, from, until), [], "seed {seed}");
        let phases: Vec<FailoverPhase> = world.nodes["fra"]
            .failovers
            .iter()
            .map(|(_, phase, ..)| *phase)
            .collect();
        assert_eq!(phases.last(), Some(&FailoverPhase::Released), "seed {seed}: {phases:?}");
        world.assert_each_once();
    }
}

#[test]
fn loss_that_goes_on_commits_within_two_seconds() {
    let mut world = relayed(9);
    world.link("bom", "fra", |link| (link.loss_ratio, link.burst_packets) = (0.3, 3.0));
    world.run_ms(2_000);
    assert_eq!(world.commits("fra"), 1, "{:?}", world.nodes["fra"].failovers);
}

#[test]
fn an_unarmed_backup_costs_less_than_two_percent() {
    let mut world = relayed(4);
    world.run_ms(20_000);
    let sent = |edge: &str, to: &str| {
        let node = world.nodes[edge].node.as_ref().expect("alive");
        node.peer_snapshots(world.now)
            .into_iter()
            .find(|peer| *peer.peer == *to)
            .expect("a peer")
            .stats
    };
    let backup = sent("dxb", "fra").bytes_sent + sent("sg", "dxb").bytes_sent;
    let media = sent("bom", "fra").media_bytes_sent;
    let ratio = backup as f64 / media as f64;
    assert!(ratio < 0.02 && ratio > 0.0, "{ratio}");
    assert_eq!(sent("dxb", "fra").media_bytes_sent, 0);
}

#[test]
fn without_failover_a_killed_relay_stops_the_picture() {
    let mut world = relayed_in(World::new(2, &FIVE).without("failover"));
    let from = world.now;
    world.kill("bom");
    world.run_ms(6_000);
    assert!(world.longest_gap("fra", from) > Duration::from_secs(5));
}

#[test]
fn without_a_warm_backup_the_gap_is_longer() {
    let mut world = relayed_in(World::new(2, &FIVE).without("backup"));
    let from = world.now;
    world.kill("bom");
    world.run_ms(6_000);
    let gap = world.longest_gap("fra", from);
    assert!(
        gap > Duration::from_millis(440) && gap < Duration::from_secs(3),
        "{gap:?} {:?}",
        world.nodes["fra"].failovers
    );
}

#[test]
fn a_planned_move_breaks_nothing() {
    let mut world = relayed(7);
    let from = world.now;
    world.route(&["fra", "sg"], &["fra", "dxb", "sg"], 1);
    world.run_ms(4_000);
    assert_eq!(world.nodes["fra"].tree.1.as_deref(), Some("sg"));
    let until = Time::from_micros(world.now.as_micros() - 600_000);
    assert_eq!(world.missing("fra", 1, from, until), []);
    assert!(
        world.longest_gap("fra", from) < Duration::from_millis(100),
        "{:?}",
        world.longest_gap("fra", from)
    );
    assert_eq!(world.commits("fra"), 0);
    world.run_ms(2_000);
    assert_eq!(world.nodes["bom"].tree.2, Vec::<String>::new(), "the old relay is left");
    world.assert_each_once();
}

/// What fra's players are told now.
fn repair_ms(world: &World) -> u16 {
    world.nodes["fra"].repair_delays.last().expect("a repair delay").1
}

#[test]
fn players_are_told_the_repair_time_of_the_slowest_hop_and_of_the_new_way_after_a_move() {
    for seed in 0..4 {
        let mut world = World::new(seed, &FIVE);
        world.publish("sg", 1);
        world.route(&["fra", "bom", "sg"], &["fra", "dxb", "sg"], 1);
        world.run_ms(1_000);
        world.watch("fra", Interest::Media);
        world.run_ms(1_000);
        // bom–fra is 120 ms, and 80 ms; at most a tick more.
        assert!(
            (200..=210).contains(&repair_ms(&world)),
            "seed {seed}: {}",
            repair_ms(&world)
        );
        world.run_ms(20_000);
        assert_eq!(
            world.nodes["fra"].repair_delays.len(),
            1,
            "seed {seed}: a quiet way wobbles"
        );
        assert!(
            world.nodes["sg"].repair_delays.is_empty(),
            "the source's own edge repairs nothing"
        );
        world.kill("bom");
        world.run_ms(2_000);
        assert!(
            (190..=200).contains(&repair_ms(&world)),
            "seed {seed}: dxb–fra is 110 ms"
        );
        world.route(&["fra", "sg"], &["fra", "dxb", "sg"], 1);
        world.run_ms(3_000);
        assert!(
            (240..=250).contains(&repair_ms(&world)),
            "seed {seed}: sg–fra is 160 ms"
        );
    }
}

#[test]
fn the_repair_time_below_a_relay_rises_at_once_and_falls_late() {
    let mut world = relayed(7);
    let slow = |world: &mut World, delay_ms: u64| {
        world.link("sg", "bom", |link| link.delay = Duration::from_millis(delay_ms));
    };
    let before = repair_ms(&world);
    slow(&mut world, 120);
    world.run_ms(3_000);
    let risen = repair_ms(&world);
    assert!(
        (305..=322).contains(&risen),
        "240 ms two hops up: {risen}, {before} before"
    );
    slow(&mut world, 30);
    world.run_ms(9_000);
    assert!(repair_ms(&world) >= risen);
    world.run_ms(20_000);
    assert!((200..=225).contains(&repair_ms(&world)), "{}", repair_ms(&world));
}

#[test]
fn the_stream_stays_ten_seconds_after_the_last_leaf() {
    let mut world = relayed(8);
    world.watch("fra", Interest::None);
    world.run_ms(9_500);
    assert_eq!(world.nodes["bom"].tree.2, ["fra"]);
    world.run_ms(2_000);
    assert_eq!(world.nodes["bom"].tree.2, Vec::<String>::new());
    assert_eq!(world.nodes["sg"].tree.2, Vec::<String>::new());
    assert_eq!(world.nodes["fra"].lost, ["unused"]);
}

#[test]
fn a_takeover_reaches_every_viewer_at_the_same_edge_and_at_another() {
    let mut world = relayed(10);
    world.publish("sg", 2);
    world.run_ms(500);
    world.stop_publishing("sg", 1);
    world.run_ms(2_000);
    assert_eq!(world.nodes["fra"].sources, [1, 2]);
    let last = world.nodes["fra"].arrivals.last().expect("media");
    assert_eq!(last.incarnation, 2);
    let first = world.nodes["fra"]
        .arrivals
        .iter()
        .find(|arrival| arrival.incarnation == 2 && arrival.track == VIDEO);
    assert!(first.expect("video").key_frame_start);
    world.publish("iad", 3);
    world.route(&["fra", "iad"], &["fra", "sg", "iad"], 3);
    world.run_ms(3_000);
    assert_eq!(world.nodes["fra"].sources, [1, 2, 3]);
    assert_eq!(world.nodes["fra"].arrivals.last().expect("media").incarnation, 3);
    assert_eq!(world.nodes["fra"].lost, ["superseded", "superseded"]);
    world.assert_each_once();
}

#[test]
fn siblings_that_are_cut_off_do_not_feed_each_other() {
    let mut world = World::new(11, &[("sg", "fra", 100), ("sg", "iad", 100), ("fra", "iad", 80)]);
    world.publish("sg", 1);
    world.route(&["fra", "sg"], &["fra", "iad", "sg"], 1);
    world.route(&["iad", "sg"], &["iad", "fra", "sg"], 1);
    world.watch("fra", Interest::Media);
    world.watch("iad", Interest::Media);
    world.run_ms(4_000);
    let backups = |world: &World| {
        ["fra", "iad"].map(|edge| {
            world.nodes[edge].node.as_ref().expect("alive").stream_snapshots()[0]
                .backup
                .is_some()
        })
    };
    assert_eq!(backups(&world), [true, true]);
    world.kill("sg");
    world.run_ms(10_000);
    for edge in ["fra", "iad"] {
        let stale = world.nodes[edge].arrivals.last().expect("media").at;
        assert!(world.now - stale > Duration::from_secs(8), "{edge} still gets packets");
        let commits = world.commits(edge);
        assert!(
            commits <= 1,
            "{edge} moved {commits} times to and fro: {:?}",
            world.nodes[edge].failovers
        );
    }
    // One link lost, on the other hand, is served by the sibling.
    let mut world = World::new(12, &[("sg", "fra", 100), ("sg", "iad", 100), ("fra", "iad", 80)]);
    world.publish("sg", 1);
    world.route(&["fra", "sg"], &["fra", "iad", "sg"], 1);
    world.route(&["iad", "sg"], &["iad", "fra", "sg"], 1);
    world.watch("fra", Interest::Media);
    world.watch("iad", Interest::Media);
    world.run_ms(4_000);
    let from = world.now;
    world.link("sg", "iad", |link| link.blackout = true);
    world.run_ms(4_000);
    let gap = world.longest_gap("iad", from);
    assert!(
        gap <= Duration::from_millis(250 + 180),
        "{gap:?} {:?}",
        world.nodes["iad"].failovers
    );
    assert_eq!(world.nodes["iad"].tree.1.as_deref(), Some("fra"));
    assert_eq!(world.nodes["fra"].tree.1.as_deref(), Some("sg"));
}

#[test]
fn only_children_of_the_failed_hop_move() {
    // sg > bom > fra > iad; bom dies. fra moves to dxb, iad stays with fra.
    let mut world = World::new(13, &FIVE);
    world.publish("sg", 1);
    world.route(&["fra", "bom", "sg"], &["fra", "dxb", "sg"], 1);
    world.route(&["iad", "fra", "bom", "sg"], &["iad", "sg"], 1);
    world.watch("fra", Interest::Media);
    world.watch("iad", Interest::Media);
    world.run_ms(5_000);
    let from = world.now;
    world.kill("bom");
    world.run_ms(5_000);
    assert_eq!(
        (world.commits("fra"), world.commits("iad")),
        (1, 0),
        "{:?}",
        world.nodes["iad"].failovers
    );
    assert!(world.longest_gap("iad", from) <= Duration::from_millis(250 + 190 + 50));
    let until = Time::from_micros(world.now.as_micros() - 800_000);
    assert_eq!(world.missing("iad", 1, from, until), []);
}

#[test]
fn room_messages_follow_the_tree_both_ways() {
    let mut world = World::new(14, &FIVE);
    world.publish("sg", 1);
    world.route(&["fra", "bom", "sg"], &[], 1);
    world.watch("fra", Interest::RoomOnly);
    world.run_ms(2_000);
    assert_eq!(world.nodes["fra"].tree.1.as_deref(), Some("bom"));
    assert_eq!(world.nodes["bom"].tree.2, ["fra"]);
    assert!(world.nodes["fra"].arrivals.is_empty(), "nobody watches");
    assert!(world.with("fra", |node, now| node.send_room_message(
        ROOM,
        "bom",
        b"hi".to_vec(),
        now
    )));
    world.run_ms(200);
    assert_eq!(world.nodes["bom"].room_messages, [("fra".to_owned(), b"hi".to_vec())]);
    assert!(!world.with("fra", |node, now| node.send_room_message(
        ROOM,
        "nobody",
        Vec::new(),
        now
    )));
}

#[test]
fn a_key_frame_request_reaches_the_host_once_per_half_second() {
    let mut world = relayed(15);
    for _ in 0..5 {
        world.with("fra", |node, now| node.request_key_frame(ROOM, VIDEO, now));
        world.with("fra", |node, now| node.request_key_frame(ROOM, AUDIO, now));
        world.run_ms(20);
    }
    world.run_ms(300);
    assert_eq!(world.nodes["sg"].key_frames_asked, 1);
}

#[test]
fn a_relay_that_comes_back_serves_again() {
    let mut world = relayed(16);
    world.kill("bom");
    world.run_ms(5_000);
    world.start("bom");
    world.run_ms(6_000);
    // Now dxb dies: bom, the former parent, is the warm backup.
    let from = world.now;
    world.kill("dxb");
    world.run_ms(4_000);
    assert!(
        world.longest_gap("fra", from) <= Duration::from_millis(250 + 180),
        "{:?}",
        world.nodes["fra"].failovers
    );
    assert_eq!(world.nodes["fra"].tree.1.as_deref(), Some("bom"));
}

/// Random meshes, random faults: nothing comes twice, no path loops, and whoever has a way gets the picture back.
#[test]
fn random_worlds_recover_without_loops() {
    for seed in 1..=6 {
        random_world(seed);
    }
}

fn random_world(seed: u64) {
    let mut random = net::Random::new(seed * 7_919);
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut links = Vec::new();
    for (index, a) in names.iter().enumerate() {
        for b in &names[index + 1..] {
            links.push((*a, *b, 20 + random.below(230)));
        }
    }
    let mut world = World::new(seed, &links);
    for (a, b, _) in &links {
        world.link(a, b, |link| (link.loss_ratio, link.burst_packets) = (0.005, 3.0));
    }
    world.publish("a", 1);
    for edge in &names[1..] {
        let relays: Vec<&str> = names[1..].iter().copied().filter(|relay| relay != edge).collect();
        let (first, second) = (random.below(4) as usize, random.below(4) as usize);
        let primary = if random.below(3) == 0 {
            vec![*edge, "a"]
        } else {
            vec![*edge, relays[first], "a"]
        };
        let backup = if first == second || primary.len() == 2 {
            vec![*edge, relays[second], "a"]
        } else {
            vec![*edge, "a"]
        };
        let backup = if backup == primary {
            vec![*edge, relays[(second + 1) % 4], "a"]
        } else {
            backup
        };
        world.route(&primary, &backup, 1);
        world.watch(edge, Interest::Media);
    }
    world.run_ms(4_000);
    for _ in 0..6 {
        let (a, b, _) = links[random.below(links.len() as u64) as usize];
        world.link(a, b, |link| link.blackout = true);
        world.run_ms(50 + random.below(1_200));
        world.link(a, b, |link| link.blackout = false);
        world.run_ms(500 + random.below(1_500));
    }
    let victim = names[1 + random.below(5) as usize];
    world.kill(victim);
    world.run_ms(8_000);
    world.assert_each_once();
    for edge in names[1..].iter().filter(|edge| **edge != victim) {
        let node = world.nodes[*edge].node.as_ref().expect("alive");
        let stream = node
            .stream_snapshots()
            .into_iter()
            .find(|stream| stream.room == ROOM)
            .expect("it watches");
        let mut path = stream.path.clone();
        path.sort();
        path.dedup();
        assert_eq!(
            path.len(),
            stream.path.len(),
            "seed {seed}: {edge} has a loop {:?}",
            stream.path
        );
        let last = world.nodes[*edge].arrivals.last().expect("media").at;
        assert!(
            world.now - last < Duration::from_millis(500),
            "seed {seed}: {edge} lost the picture {:?} ago after {victim} died; {stream:?} {:?}",
            world.now - last,
            world.nodes[*edge].failovers
        );
    }
}
