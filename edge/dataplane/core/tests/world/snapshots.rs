//! What a node says of its streams.

use super::*;
use tradewind_core::mesh::StreamSnapshot;

fn snapshot(world: &World, edge: &str) -> StreamSnapshot {
    let node = world.nodes[edge].node.as_ref().expect("alive");
    node.stream_snapshots(world.now).pop().expect("a stream")
}

#[test]
fn a_path_is_shown_while_the_source_is_heard_by_it() {
    let mut world = World::new(1, &FIVE);
    world.publish("sg", 1);
    world.route(&["fra", "bom", "sg"], &[], 1);
    world.run_ms(1_000);
    world.watch("fra", Interest::Media);
    world.run_ms(2_000);
    let path = ["sg", "bom", "fra"];
    assert_eq!(snapshot(&world, "sg").path, ["sg"]);
    assert_eq!(snapshot(&world, "fra").path, path);
    world.link("sg", "bom", |link| link.blackout = true);
    world.run_ms(900);
    assert_eq!(snapshot(&world, "fra").path, path, "a short silence moves nothing");
    world.run_ms(300);
    assert_eq!(snapshot(&world, "fra").path, [""; 0]);
    assert_eq!(snapshot(&world, "bom").path, [""; 0]);
    assert_eq!(
        snapshot(&world, "sg").path,
        ["sg"],
        "the source's edge needs nobody's word"
    );
    world.link("sg", "bom", |link| link.blackout = false);
    world.run_ms(4_000);
    assert_eq!(snapshot(&world, "fra").path, path);
}
