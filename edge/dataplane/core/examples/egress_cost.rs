//! Prints what rewriting and sealing one packet for one viewer costs: no sockets, one thread, packets of 1,200 bytes.
//!
//! `cargo run --release -p tradewind-core --example egress_cost [viewers] [frames]`

use bytes::Bytes;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;
use tradewind_core::packet::{MediaExtensions, MediaPacket, Ssrc};
use tradewind_core::ring::StreamRing;
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

fn measure(profile: Profile, codec: Codec, viewers: u32, frames: u64) -> f64 {
    let seal: Vec<SealContext> = (0..viewers)
        .map(|viewer| {
            let salt = vec![viewer as u8; profile.salt_len()];
            SealContext::new(profile, &[viewer as u8; 16], &salt).expect("lengths are the profile's")
        })
        .collect();
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
    let (mut written, mut bytes) = (0u64, 0usize);
    let mut busy = std::time::Duration::ZERO;
    for frame in 0..frames {
        let now = Time::from_millis(frame * 33);
        let packets: Vec<_> = (0..PACKETS_PER_FRAME)
            .map(|index| packet(frame * PACKETS_PER_FRAME + index, now))
            .collect();
        let begun = Instant::now();
        for packet in &packets {
            let _ = rings[0].insert(packet.clone());
        }
        for (half, seal) in halves.iter_mut().zip(&seal) {
            output.clear();
            for packet in &packets {
                if let Ok(Some(range)) = half.write(0, packet, &mut output, seal, now) {
                    written += 1;
                    bytes += range.len();
                }
            }
            black_box(&output);
        }
        // The first frames warm caches and tables.
        if frame >= frames / 10 {
            busy += begun.elapsed();
        } else {
            written = 0;
        }
    }
    assert!(bytes > 0 && written > 0, "every packet is written");
    busy.as_nanos() as f64 / written as f64
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let viewers = arguments.next().unwrap_or(200);
    let frames = u64::from(arguments.next().unwrap_or(300));
    for profile in [Profile::AeadAes128Gcm, Profile::Aes128CmSha1_80] {
        for codec in [Codec::H264, Codec::Vp8] {
            let cost = measure(profile, codec, viewers, frames);
            println!(
                "{} {codec:?}, {viewers} viewers: {cost:.0} ns per packet",
                profile.name()
            );
        }
    }
}
