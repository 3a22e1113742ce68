//! Relays and links that fail, and what their viewers miss.

use super::*;

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
            world.nodes[edge]
                .node
                .as_ref()
                .expect("alive")
                .stream_snapshots(world.now)[0]
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
