//! Edges that join a stream: cold, warm, and after the last leaf has gone.

use super::*;

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
