//! What a viewer starts with when it joins an H.264 stream, and under which payload type.

use super::*;
use crate::codec::completion::KeyFrameCompletion;
use crate::codec::h264::{has_sps, is_key_frame_start};

const SPS: &[u8] = &[0x67, 0x42, 0x00, 0x0a, 0x96, 0x53];
const PPS: &[u8] = &[0x68, 0xc9, 0x63, 0x88];
const IDR: &[u8] = &[0x65, 0x88, 0x84];
const SLICE: &[u8] = &[0x41, 0x9a, 0x01];

/// A host that sends its parameter sets with its first frame and never again, and names none in its offer.
struct ThriftyHost {
    completion: KeyFrameCompletion,
    next: u64,
}

impl ThriftyHost {
    fn new() -> Self {
        ThriftyHost {
            completion: KeyFrameCompletion::new("packetization-mode=1"),
            next: 100,
        }
    }

    /// One frame as it leaves the host's shard.
    fn frame(&mut self, ms: u64, payloads: &[&[u8]]) -> Vec<MediaPacket> {
        let mut out = Vec::new();
        for payload in payloads {
            let mut packet = MediaPacket {
                timestamp: ms as u32 * 90,
                key_frame_start: is_key_frame_start(payload),
                marker: payload == payloads.last().expect("one at least"),
                ..video(self.next, ms, payload)
            };
            self.next += 1;
            out.extend(self.completion.handle_packet(&mut packet).unwrap());
            out.push(packet);
        }
        out
    }
}

fn starts_with_sets(got: &[Got]) {
    assert!(has_sps(&got[0].payload), "{got:?}");
    assert_eq!((got[1].payload.as_slice(), got[0].marker), (IDR, false));
    assert_eq!((got[1].number, got[1].timestamp), (got[0].number + 1, got[0].timestamp));
}

#[test]
fn who_joins_after_the_only_parameter_sets_starts_with_them() {
    let mut host = ThriftyHost::new();
    let mut world = World::new(parameters());
    for packet in host
        .frame(0, &[SPS, PPS, IDR])
        .into_iter()
        .chain(host.frame(33, &[SLICE]))
    {
        world.rings[VIDEO].insert(Arc::new(packet)).unwrap();
    }
    // Live: the first key frame that comes.
    world.rings[VIDEO] = StreamRing::new();
    world
        .half
        .switch_source(&source(1, Codec::H264), &[None, None], &world.rings, at(50));
    let mut got = Vec::new();
    for packet in host.frame(2_000, &[IDR]) {
        got.extend(world.write(VIDEO, packet, 2_000).unwrap());
    }
    starts_with_sets(&got);
    assert_eq!(world.nack(&[got[0].number], 2_010)[0].payload[2..], got[0].payload);

    // From the cache: the key frame that is there.
    let rings = std::mem::take(&mut world.rings);
    let mut late = World::new(parameters());
    late.rings = rings;
    late.half
        .switch_source(&source(1, Codec::H264), &[None, None], &late.rings, at(2_020));
    starts_with_sets(&late.poll(2_020));
}

#[test]
fn after_a_takeover_the_new_hosts_sets_come_first() {
    let mut world = World::live(parameters());
    world.write(VIDEO, video(1, 0, b"K"), 0).unwrap();
    let mut host = ThriftyHost::new();
    host.frame(500, &[SPS, PPS, IDR]);
    world.rings = vec![StreamRing::new(), StreamRing::new()];
    world
        .half
        .switch_source(&source(2, Codec::H264), &[None, None], &world.rings, at(600));
    let mut got = Vec::new();
    for packet in host.frame(1_000, &[IDR]) {
        got.extend(world.write(VIDEO, packet, 1_000).unwrap());
    }
    starts_with_sets(&got);
    assert_eq!((got[0].number, got[0].payload_type), (0x7FFF, 102));
}

#[test]
fn h264_goes_out_under_the_payload_type_whose_mode_and_profile_fit() {
    let offered = |payload_type, fmtp: &str| SendCodec {
        h264: H264Format::from_fmtp(fmtp),
        ..codec(Codec::H264, payload_type, None)
    };
    let mut parameters = parameters();
    parameters.tracks[VIDEO].codecs = vec![
        offered(102, "packetization-mode=0;profile-level-id=42001f"),
        offered(104, "packetization-mode=1;profile-level-id=42001f"),
        offered(116, "packetization-mode=1;profile-level-id=4d001f"),
    ];
    let sent_as = |parameters: &SendParameters, fmtp: &str| {
        let mut description = source(1, Codec::H264);
        description.tracks[VIDEO].fmtp = fmtp.into();
        let mut world = World::new(parameters.clone());
        world
            .half
            .switch_source(&description, &[None, None], &world.rings, at(0));
        let sent = world.write(VIDEO, video(1, 0, b"K"), 0)?;
        Ok(sent.map(|packet| packet.payload_type))
    };
    for (fmtp, payload_type) in [
        ("packetization-mode=1;profile-level-id=4d0028", 116),
        ("packetization-mode=1;profile-level-id=42e01f", 104),
        ("packetization-mode=1;profile-level-id=64000d", 104),
        ("packetization-mode=0;profile-level-id=42e01f", 102),
        ("", 102),
    ] {
        assert_eq!(sent_as(&parameters, fmtp), Ok(Some(payload_type)), "{fmtp}");
    }
    parameters.tracks[VIDEO].codecs.truncate(1);
    assert_eq!(
        sent_as(&parameters, "packetization-mode=1;profile-level-id=42e01f"),
        Err(SendDrop::NoCodec)
    );
}

#[test]
fn a_burst_of_a_source_new_here_goes_out_on_the_line_of_the_live_frames() {
    let mut world = World::new(parameters());
    world
        .half
        .switch_source(&source(1, Codec::Vp8), &[None, None], &world.rings, at(900));
    world.half.set_repair_delay(std::time::Duration::from_millis(100));
    // Thirty frames that a parent had kept come within 15 ms, and then one each 33 ms.
    let came = |number: u64| {
        if number < 30 {
            1_000 + number / 2
        } else {
            1_015 + (number - 30) * 100 / 3
        }
    };
    let (mut transits, mut next) = (Vec::new(), 0);
    for ms in 1_000..3_000 {
        world.reports(ms);
        let mut sent = world.poll(ms);
        while ms == came(next) {
            sent.extend(world.write(VIDEO, frame(next, ms, 1_000, next == 0), ms).unwrap());
            next += 1;
        }
        transits.extend(
            sent.iter()
                .map(|packet| (ms as u32 * 90).wrapping_sub(packet.timestamp) as i32),
        );
    }
    assert_eq!(transits.len() as u64, next, "everything goes out once");
    let live = transits[transits.len() - 1];
    let furthest_ms = transits
        .iter()
        .map(|ticks| ticks.wrapping_sub(live).abs())
        .max()
        .unwrap()
        / 90;
    assert!(furthest_ms <= 20, "{furthest_ms} ms off the line");
}
