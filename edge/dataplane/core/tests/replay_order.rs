//! What a subscriber that comes back is sent first.

use bytes::Bytes;
use std::sync::Arc;
use tradewind_core::mesh::wire::{Flow, Message, Subscribe, Wants};
use tradewind_core::mesh::{Features, NodeConfig, Output, Priority, Reader, TrunkNode};
use tradewind_core::packet::{MediaExtensions, MediaPacket, Ssrc};
use tradewind_core::source::{Codec, SourceId, SourceInfo, TrackInfo};
use tradewind_core::time::Time;

/// Video comes first in the offer, as in FFmpeg's.
const VIDEO: u8 = 0;
const AUDIO: u8 = 1;

fn source() -> SourceInfo {
    let track = |codec, ssrc| TrackInfo {
        codec,
        fmtp: String::new(),
        ssrc: Some(Ssrc(ssrc)),
    };
    SourceInfo {
        id: SourceId {
            room: "demo".into(),
            incarnation: 1,
        },
        origin_edge: "sg".into(),
        tracks: vec![track(Codec::Vp8, 10), track(Codec::Opus, 11)],
    }
}

fn packet(track: u8, number: u64, at: Time) -> Arc<MediaPacket> {
    Arc::new(MediaPacket {
        received_at: at,
        ssrc: Ssrc(10 + u32::from(track)),
        extended_sequence_number: 1 << 16 | number,
        timestamp: number as u32,
        marker: true,
        payload_type: 96,
        key_frame_start: track == VIDEO && number == 0,
        extensions: MediaExtensions::default(),
        payload: Bytes::from(vec![0; if track == VIDEO { 1_100 } else { 120 }]),
    })
}

#[test]
fn a_subscriber_that_comes_back_gets_the_sound_it_missed_before_the_picture() {
    let config = NodeConfig {
        edge_id: "sg".into(),
        clock_base_us: 0,
        window_bytes: 1 << 20,
        features: Features::default(),
    };
    let now = Time::from_millis(1_000);
    let mut node = TrunkNode::new(config, now);
    node.apply_peers(["fra".to_owned()], now);
    node.handle_peer_up("fra", None, now);
    node.handle_local_source(source(), now);
    for number in 0..40 {
        for track in [VIDEO, AUDIO] {
            node.handle_local_packet(&source().id, track, packet(track, number, now), now);
        }
    }
    let subscribe = Subscribe {
        subscription: 7,
        revision: 1,
        wants: Wants {
            media: true,
            tree: true,
            backup: false,
        },
        room: "demo".into(),
        route: vec!["sg".into()],
        via: vec!["fra".into()],
        last_seen: vec![(Ssrc(10), 9), (Ssrc(11), 29)],
    };
    node.handle_stream_message("fra", &Message::Subscribe(subscribe).to_bytes(), now);
    let mut sent = Vec::new();
    for step in 1..=20 {
        node.handle_timeout(now + std::time::Duration::from_millis(5 * step));
        while let Some(output) = node.poll_output() {
            let Output::Datagram { priority, bytes, .. } = output else {
                continue;
            };
            let flow = Reader::new(&bytes).varint().expect("a flow id");
            if let Some(flow) = Flow::from_id(flow) {
                sent.push((flow.track, priority));
            }
        }
    }
    let sound = [(AUDIO, Priority::Audio); 10];
    let picture = [(VIDEO, Priority::Replay); 30];
    assert_eq!(sent, [&sound[..], &picture].concat());
}
