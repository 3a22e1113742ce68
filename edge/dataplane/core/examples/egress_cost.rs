//! Prints what rewriting and sealing one packet for one viewer costs, beside sealing alone: no sockets, one thread, packets of
//! 1,200 bytes. Each number is the median over frames, so that a busy machine disturbs it little.
//!
//! `cargo run --release -p tradewind-core --example egress_cost [viewers] [frames]`

use bytes::Bytes;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;
use tradewind_core::packet::{MediaExtensions, MediaPacket, Ssrc};
use tradewind_core::ring::StreamRing;
use tradewind_core::sdp::H264Format;
use tradewind_core::send::{SendCodec, SendDisabled, SendExtensions, SendHalf, SendParameters, SendTrackParameters};
use tradewind_core::source::{Codec, MediaKind, SourceId, SourceInfo, TrackInfo};
use tradewind_core::srtp::{Profile, SealContext};
use tradewind_core::time::Time;

const PAYLOAD_BYTES: usize = 1_160;
const PACKETS_PER_FRAME: u64 = 8;

fn parameters(viewer: u32, codec: Codec) -> SendParameters {
    SendParameters {
        tracks: vec![SendTrackParameters {
            kind: MediaKind::Video,
            mid: "1".into(),
            codecs: vec![SendCodec {
                codec,
                payload_type: 96,
                rtx_payload_type: Some(97),
                nack: true,
                h264: H264Format::default(),
            }],
            ssrc: Ssrc(1_000 + viewer),
            rtx_ssrc: Ssrc(2_000_000 + viewer),
            extensions: SendExtensions {
                mid: Some(4),
                ..Default::default()
            },
            first_sequence_number: viewer as u16,
            first_timestamp: viewer,
        }],
        cname: "edge".into(),
        disabled: SendDisabled::default(),
    }
}

fn packet(number: u64, now: Time) -> Arc<MediaPacket> {
    let frame = number / PACKETS_PER_FRAME;
    // A VP8 descriptor with a 15-bit PictureID; the first frame is a key frame.
    let mut payload = vec![0xA5; PAYLOAD_BYTES];
    payload[..6].copy_from_slice(&[
        0x90,
        0x80,
        0x80 | (frame >> 8) as u8 & 0x7F,
        frame as u8,
        u8::from(frame > 0),
        0,
    ]);
    Arc::new(MediaPacket {
        received_at: now,
        ssrc: Ssrc(1),
        extended_sequence_number: number,
        timestamp: frame as u32 * 3_000,
        marker: number % PACKETS_PER_FRAME == PACKETS_PER_FRAME - 1,
        payload_type: 96,
        key_frame_start: number == 0,
        extensions: MediaExtensions::default(),
        payload: Bytes::from(payload),
    })
}

fn contexts(profile: Profile, viewers: u32) -> Vec<SealContext> {
    let context = |viewer: u32| {
        let salt = vec![viewer as u8; profile.salt_len()];
        SealContext::new(profile, &[viewer as u8; 16], &salt).expect("lengths are the profile's")
    };
    (0..viewers).map(context).collect()
}

fn measure(profile: Profile, codec: Codec, viewers: u32, frames: u64) -> f64 {
    let seal = contexts(profile, viewers);
    let mut halves: Vec<SendHalf> = (0..viewers)
        .map(|viewer| SendHalf::new(parameters(viewer, codec)))
        .collect();
    let source = SourceInfo {
        id: SourceId {
            room: "room".into(),
            incarnation: 1,
        },
        origin_edge: "sg".into(),
        tracks: vec![TrackInfo {
            codec,
            fmtp: String::new(),
            ssrc: None,
        }],
    };
    let mut rings = [StreamRing::new()];
    for half in &mut halves {
        half.switch_source(&source, &[None], &rings, Time::ZERO);
    }
    let mut output: Vec<u8> = Vec::with_capacity(64 * 1024);
    let mut costs = Vec::new();
    for frame in 0..frames {
        let now = Time::from_millis(frame * 33);
        let packets: Vec<_> = (0..PACKETS_PER_FRAME)
            .map(|index| packet(frame * PACKETS_PER_FRAME + index, now))
            .collect();
        let begun = Instant::now();
        for packet in &packets {
            let _ = rings[0].insert(packet.clone());
        }
        let mut written = 0u32;
        for (half, seal) in halves.iter_mut().zip(&seal) {
            output.clear();
            for packet in &packets {
                written += u32::from(matches!(half.write(0, packet, &mut output, seal, now), Ok(Some(_))));
            }
            black_box(&output);
        }
        assert_eq!(
            u64::from(written),
            u64::from(viewers) * PACKETS_PER_FRAME,
            "every packet is written"
        );
        costs.push(begun.elapsed().as_nanos() as f64 / f64::from(written));
    }
    median(costs)
}

/// The floor: the same bytes sealed in place, nothing rewritten and nothing copied.
fn measure_seal(profile: Profile, viewers: u32, frames: u64) -> f64 {
    let seal = contexts(profile, viewers);
    let mut output: Vec<u8> = Vec::with_capacity(64 * 1024);
    let mut costs = Vec::new();
    for frame in 0..frames {
        let begun = Instant::now();
        for seal in &seal {
            for number in 0..PACKETS_PER_FRAME {
                output.resize(PAYLOAD_BYTES + 20, 0);
                seal.seal_rtp(&mut output, 0, 20, frame * PACKETS_PER_FRAME + number);
                black_box(&output);
            }
        }
        costs.push(begun.elapsed().as_nanos() as f64 / f64::from(viewers) / PACKETS_PER_FRAME as f64);
    }
    median(costs)
}

fn median(mut costs: Vec<f64>) -> f64 {
    costs.sort_by(f64::total_cmp);
    costs[costs.len() / 2]
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let viewers = arguments.next().unwrap_or(200);
    let frames = u64::from(arguments.next().unwrap_or(300));
    for profile in [Profile::AeadAes128Gcm, Profile::Aes128CmSha1_80] {
        let cost = measure_seal(profile, viewers, frames);
        println!(
            "{} seal alone, {viewers} viewers: {cost:.0} ns per packet",
            profile.name()
        );
        for codec in [Codec::H264, Codec::Vp8] {
            let cost = measure(profile, codec, viewers, frames);
            println!(
                "{} {codec:?}, {viewers} viewers: {cost:.0} ns per packet",
                profile.name()
            );
        }
    }
}
