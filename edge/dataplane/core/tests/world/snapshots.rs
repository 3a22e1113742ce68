//! What a node says of its streams.

use super::*;
use bytes::Bytes;
use std::sync::Arc;
use tradewind_core::mesh::{Features, NodeConfig, StreamSnapshot, TrunkNode};
use tradewind_core::packet::{MediaExtensions, MediaPacket, Ssrc};
use tradewind_core::source::{Codec, SourceId, SourceInfo, TrackInfo};

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

#[test]
fn a_parameter_set_and_its_slice_are_one_key_frame() {
    let now = Time::from_millis(1_000);
    let config = NodeConfig {
        edge_id: "sg".into(),
        clock_base_us: 0,
        window_bytes: 1_000_000,
        features: Features::default(),
    };
    let mut node = TrunkNode::new(config, now);
    let id = SourceId {
        room: ROOM.into(),
        incarnation: 1,
    };
    let video = TrackInfo {
        codec: Codec::H264,
        fmtp: String::new(),
        ssrc: Some(Ssrc(7)),
    };
    let info = SourceInfo {
        id: id.clone(),
        origin_edge: "sg".into(),
        tracks: vec![video],
    };
    node.handle_local_source(info, now);
    let frames = [
        (0, true),
        (0, true),
        (3_000, false),
        (6_000, true),
        (6_000, true),
        (6_000, true),
    ];
    for (number, (timestamp, key_frame_start)) in frames.into_iter().enumerate() {
        let packet = MediaPacket {
            received_at: now,
            ssrc: Ssrc(7),
            extended_sequence_number: number as u64,
            timestamp,
            marker: false,
            payload_type: 96,
            key_frame_start,
            extensions: MediaExtensions::default(),
            payload: Bytes::from_static(b"x"),
        };
        node.handle_local_packet(&id, VIDEO, Arc::new(packet), now);
    }
    let snapshot = node.stream_snapshots(now).pop().expect("a stream");
    assert_eq!((snapshot.packets, snapshot.key_frames), (6, 2));
}
