use super::*;
use crate::packet::MediaExtensions;
use crate::rtcp::{ReceptionReport, SenderReport, write_fir, write_nack, write_pli, write_receiver_report};
use crate::rtp::RtpHeader;
use crate::sdp::H264Format;
use crate::source::{Codec, SourceId, TrackInfo};
use crate::srtp::{OpenContext, Profile};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

mod anything;
mod leaps;
mod repairs;
mod reports;
mod starts;
mod switches;
mod takeovers;

const AUDIO: usize = 0;
const VIDEO: usize = 1;
const VIDEO_SSRC: Ssrc = Ssrc(0xB0);
const VIDEO_RTX: Ssrc = Ssrc(0xB1);
const SECOND: u64 = 1 << 32;

fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

fn codec(codec: Codec, payload_type: u8, rtx_payload_type: Option<u8>) -> SendCodec {
    SendCodec {
        codec,
        payload_type,
        rtx_payload_type,
        nack: rtx_payload_type.is_some(),
        h264: H264Format::from_fmtp("packetization-mode=1;profile-level-id=42e01f"),
    }
}

fn parameters() -> SendParameters {
    let extensions = SendExtensions {
        mid: Some(4),
        abs_capture_time: Some(5),
        ..Default::default()
    };
    SendParameters {
        tracks: vec![
            SendTrackParameters {
                kind: MediaKind::Audio,
                mid: "0".into(),
                codecs: vec![codec(Codec::Opus, 111, None)],
                ssrc: Ssrc(0xA0),
                rtx_ssrc: Ssrc(0xA1),
                extensions,
                first_sequence_number: 0xFFFF,
                first_timestamp: 1_000,
            },
            SendTrackParameters {
                kind: MediaKind::Video,
                mid: "1".into(),
                codecs: vec![codec(Codec::Vp8, 96, Some(97)), codec(Codec::H264, 102, Some(103))],
                ssrc: VIDEO_SSRC,
                rtx_ssrc: VIDEO_RTX,
                extensions,
                first_sequence_number: 0x7FFE,
                first_timestamp: u32::MAX - 50,
            },
        ],
        cname: "edge".into(),
        disabled: SendDisabled::default(),
    }
}

fn source(incarnation: u64, video: Codec) -> SourceInfo {
    let track = |codec| TrackInfo {
        codec,
        fmtp: String::new(),
        ssrc: None,
    };
    SourceInfo {
        id: SourceId {
            room: "room".into(),
            incarnation,
        },
        origin_edge: "sg".into(),
        tracks: vec![track(Codec::Opus), track(video)],
    }
}

/// A packet as the viewer's SRTP stack gives it to its decoder.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Got {
    ssrc: Ssrc,
    payload_type: u8,
    number: u64,
    timestamp: u32,
    marker: bool,
    payload: Vec<u8>,
    datagram: Vec<u8>,
}

/// One viewer with its rings and its own end of SRTP.
struct World {
    half: SendHalf,
    rings: Vec<StreamRing>,
    seal: SealContext,
    open: OpenContext,
    output: Vec<u8>,
}

impl World {
    fn new(parameters: SendParameters) -> World {
        let (key, salt) = ([1; 16], [2; 12]);
        World {
            half: SendHalf::new(parameters),
            rings: vec![StreamRing::new(), StreamRing::new()],
            seal: SealContext::new(Profile::AeadAes128Gcm, &key, &salt).unwrap(),
            open: OpenContext::new(Profile::AeadAes128Gcm, &key, &salt).unwrap(),
            output: Vec::new(),
        }
    }

    fn live(parameters: SendParameters) -> World {
        let mut world = World::new(parameters);
        world
            .half
            .switch_source(&source(1, Codec::Vp8), &[None, None], &world.rings, at(0));
        world
    }

    fn read(&mut self, range: Range<usize>) -> Got {
        let datagram = self.output[range].to_vec();
        let mut packet = datagram.clone();
        let opened = self.open.open_rtp(&mut packet).expect("every packet is numbered once");
        packet.truncate(opened.len);
        let header = RtpHeader::parse(&packet).unwrap();
        assert!(header.extension(&packet, 4).is_some());
        Got {
            ssrc: header.ssrc,
            payload_type: header.payload_type,
            number: opened.extended_sequence_number,
            timestamp: header.timestamp,
            marker: header.marker,
            payload: header.payload(&packet).to_vec(),
            datagram,
        }
    }

    fn write(&mut self, track: usize, packet: MediaPacket, ms: u64) -> Result<Option<Got>, SendDrop> {
        let packet = Arc::new(packet);
        if let Some(ring) = self.rings.get_mut(track) {
            let _ = ring.insert(packet.clone());
        }
        let written = self.half.write(track, &packet, &mut self.output, &self.seal, at(ms))?;
        Ok(written.map(|range| self.read(range)))
    }

    fn poll(&mut self, ms: u64) -> Vec<Got> {
        let mut got = Vec::new();
        while let Some(range) = self.half.poll_packet(&self.rings, &mut self.output, &self.seal, at(ms)) {
            got.push(self.read(range));
        }
        got
    }

    fn reports(&mut self, ms: u64) -> Vec<SenderReport> {
        let Some(compound) = self.half.poll_rtcp(at(ms)) else {
            return vec![];
        };
        let mut reports = vec![];
        let mut names = 0;
        for packet in rtcp::parse(&compound).unwrap() {
            match packet {
                Rtcp::SenderReport { report, .. } => reports.push(report),
                Rtcp::Sdes(_) => names += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(reports.len(), names);
        reports
    }

    fn nack(&mut self, numbers: &[u64], ms: u64) -> Vec<Got> {
        let mut compound = Vec::new();
        write_nack(
            &mut compound,
            Ssrc(9),
            VIDEO_SSRC,
            numbers.iter().map(|number| *number as u16),
        );
        self.half.handle_rtcp(&compound, at(ms)).unwrap();
        self.poll(ms)
    }

    fn drops(&mut self) -> BTreeMap<&'static str, u32> {
        let mut drops = BTreeMap::new();
        self.half.drain_drops(|reason, count| {
            drops.insert(reason.name(), count);
        });
        drops
    }
}

fn video(number: u64, ms: u64, payload: &[u8]) -> MediaPacket {
    MediaPacket {
        received_at: at(ms),
        ssrc: Ssrc(7),
        extended_sequence_number: number,
        timestamp: number as u32 * 3_000,
        marker: true,
        payload_type: 120,
        key_frame_start: payload.first() == Some(&b'K'),
        extensions: MediaExtensions::default(),
        payload: Bytes::copy_from_slice(payload),
    }
}

fn audio(number: u64, ms: u64) -> MediaPacket {
    MediaPacket {
        timestamp: number as u32 * 960,
        key_frame_start: false,
        ..video(number, ms, b"opus")
    }
}

/// One frame of one packet.
fn frame(number: u64, ms: u64, len: usize, key: bool) -> MediaPacket {
    let mut payload = vec![b'D'; len];
    payload[0] = if key { b'K' } else { b'D' };
    video(number, ms, &payload)
}

#[test]
fn packets_get_the_viewers_numbers_and_gaps_stay_gaps() {
    let mut world = World::live(parameters());
    assert_eq!(
        world.write(VIDEO, video(65_534, 0, b"D"), 0),
        Err(SendDrop::AwaitingKeyFrame)
    );
    let first = world.write(VIDEO, video(65_535, 1, b"K"), 1).unwrap().unwrap();
    assert_eq!((first.ssrc, first.payload_type, first.number), (VIDEO_SSRC, 96, 0x7FFE));
    assert_eq!(
        (first.timestamp, first.marker, &first.payload[..]),
        (u32::MAX - 50, true, &b"K"[..])
    );
    let third = world.write(VIDEO, video(65_537, 2, b"D3"), 2).unwrap().unwrap();
    assert_eq!(
        (third.number, third.timestamp),
        (0x8000, (u32::MAX - 50).wrapping_add(6_000))
    );
    let second = world.write(VIDEO, video(65_536, 3, b"D2"), 3).unwrap().unwrap();
    assert_eq!(
        (second.number, second.timestamp),
        (0x7FFF, (u32::MAX - 50).wrapping_add(3_000))
    );
    assert_eq!(
        world.write(VIDEO, video(65_534, 4, b"D"), 4),
        Err(SendDrop::BeforeStart)
    );
    let sound = world.write(AUDIO, audio(5, 4), 4).unwrap().unwrap();
    assert_eq!(
        (sound.payload_type, sound.number, sound.timestamp),
        (111, 0x7FFF, 1_000)
    );
    assert_eq!(world.half.stats().packets, 4);
}

#[test]
fn extensions_are_written_by_the_viewers_ids_while_they_fit() {
    let mut world = World::live(parameters());
    let extensions = MediaExtensions {
        abs_capture_time: Some((5, None)),
        audio_level: Some(1),
        ..Default::default()
    };
    let first = world
        .write(
            VIDEO,
            MediaPacket {
                extensions,
                ..video(1, 0, b"K")
            },
            0,
        )
        .unwrap()
        .unwrap();
    let header = RtpHeader::parse_encrypted(&first.datagram).unwrap();
    assert_eq!(header.extension(&first.datagram, 5), Some(&5u64.to_be_bytes()[..]));
    assert_eq!(header.extensions(&first.datagram).count(), 2);
    let large = MediaPacket {
        extensions,
        ..frame(2, 0, 1_190, false)
    };
    let second = world.write(VIDEO, large, 0).unwrap().unwrap();
    let header = RtpHeader::parse_encrypted(&second.datagram).unwrap();
    assert_eq!(header.extension(&second.datagram, 5), None);
    assert!(second.datagram.len() <= 1_232);
    assert_eq!(
        world.write(VIDEO, frame(3, 0, 1_600, false), 0),
        Err(SendDrop::TooLarge)
    );
}

#[test]
fn a_number_spent_on_padding_closes_up_or_is_filled() {
    let mut world = World::live(parameters());
    assert_eq!(
        world.write(VIDEO, video(10, 0, b"K"), 0).unwrap().unwrap().number,
        0x7FFE
    );
    assert_eq!(world.write(VIDEO, video(11, 0, b""), 0), Ok(None));
    assert_eq!(
        world.write(VIDEO, video(13, 0, b"D"), 0).unwrap().unwrap().number,
        0x8000
    );
    // Number 12 was a hole that the viewer saw: padding fills it, with the P bit, so that it is not asked for for ever.
    let filler = world.write(VIDEO, video(12, 0, b""), 0).unwrap().unwrap();
    assert_eq!((filler.number, filler.payload.len()), (0x7FFF, 0));
    assert_eq!(filler.datagram[0] & 0x20, 0x20);
    let repair = world.nack(&[filler.number], 10);
    assert_eq!(repair[0].payload, (filler.number as u16).to_be_bytes());
}

#[test]
fn a_key_frame_is_asked_for_until_it_comes_and_when_the_viewer_asks() {
    let mut world = World::live(parameters());
    assert_eq!(world.half.poll_timeout(), Some(at(0)));
    assert_eq!(world.half.poll_key_frame_request(at(0)), Some(VIDEO));
    assert_eq!(world.half.poll_key_frame_request(at(499)), None);
    assert_eq!(world.half.poll_key_frame_request(at(500)), Some(VIDEO));
    world.write(VIDEO, video(1, 600, b"K"), 600).unwrap();
    assert_eq!(world.half.poll_key_frame_request(at(1_500)), None);
    let mut compound = Vec::new();
    write_pli(&mut compound, Ssrc(9), VIDEO_SSRC);
    write_fir(&mut compound, Ssrc(9), VIDEO_SSRC, 1);
    write_pli(&mut compound, Ssrc(9), Ssrc(12345));
    world.half.handle_rtcp(&compound, at(1_600)).unwrap();
    assert_eq!(world.half.poll_key_frame_request(at(1_600)), Some(VIDEO));
    assert_eq!(world.half.poll_key_frame_request(at(9_000)), None);
    assert_eq!(world.drops(), BTreeMap::from([("send_unknown_ssrc", 1)]));
}

#[test]
fn a_cached_group_is_replayed_paced_and_ends_at_the_live_line() {
    let mut world = World::new(parameters());
    for number in 0..45u64 {
        let packet = frame(100 + number, number * 33, 1_000, number == 3);
        world.rings[VIDEO].insert(Arc::new(packet)).unwrap();
    }
    world
        .half
        .switch_source(&source(1, Codec::Vp8), &[None, None], &world.rings, at(1_500));
    assert_eq!(world.half.poll_key_frame_request(at(1_500)), None);
    let mut got = Vec::new();
    let mut ms = 1_500;
    let mut next = 145;
    while world.half.poll_timeout().is_some_and(|due| due <= at(1_700)) || ms < 1_600 {
        world.reports(ms);
        let slot = world.poll(ms);
        assert!(slot.iter().map(|packet| packet.datagram.len()).sum::<usize>() <= 13_000);
        got.extend(slot);
        if ms == 1_510 {
            let sound = world.write(AUDIO, audio(5, ms), ms).unwrap();
            assert!(sound.is_some(), "audio does not wait");
        }
        if ms % 33 == 0 {
            got.extend(world.write(VIDEO, frame(next, ms, 1_000, false), ms).unwrap());
            next += 1;
        }
        ms += 1;
    }
    assert_eq!(got.len() as u64, next - 103);
    for (index, pair) in got.windows(2).enumerate() {
        assert_eq!(pair[1].number, pair[0].number + 1);
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp) as i32;
        assert!(
            match index {
                0..41 => (1..300).contains(&step),
                41..44 => (300..3_000).contains(&step), // where the replay joins the live line
                _ => step == 3_000,
            },
            "{index}: {step}"
        );
    }
    assert_eq!(got[0].payload[0], b'K');
}

#[test]
fn replayed_frames_lie_on_the_line_of_the_live_ones_as_they_are_sent() {
    // 30 frames/s.
    let came = |number: u64| number * 100 / 3;
    for (frames, age) in [(45, 1), (45, 16), (45, 30), (2, 10), (1, 25), (60, 20)] {
        let mut world = World::new(parameters());
        for number in 0..frames {
            let packet = frame(100 + number, came(100 + number), 1_000, number == 0);
            world.rings[VIDEO].insert(Arc::new(packet)).unwrap();
        }
        let mut next = 100 + frames;
        let start = came(next - 1) + age;
        world
            .half
            .switch_source(&source(1, Codec::Vp8), &[None, None], &world.rings, at(start));
        let mut transits = Vec::new();
        for ms in start..start + 1_000 {
            let mut sent = world.poll(ms);
            if ms == came(next) {
                sent.extend(world.write(VIDEO, frame(next, ms, 1_000, false), ms).unwrap());
                next += 1;
            }
            transits.extend(
                sent.iter()
                    .map(|packet| (ms as u32 * 90).wrapping_sub(packet.timestamp) as i32),
            );
        }
        let first = transits[0];
        let from_first: Vec<f64> = transits
            .iter()
            .map(|ticks| f64::from(ticks.wrapping_sub(first)))
            .collect();
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        let (replayed, live) = from_first.split_at(frames as usize);
        let early_ms = (mean(&live[2..]) - mean(replayed)) / 90.0;
        assert!(early_ms.abs() < 4.0, "{frames} frames, {age} ms old: {early_ms} ms");
    }
}

#[test]
fn a_large_frame_is_spread_and_repairs_go_first() {
    let mut world = World::live(parameters());
    world.write(VIDEO, frame(1, 0, 1_000, true), 0).unwrap().unwrap();
    let mut left = 0;
    for number in 2..40 {
        left += usize::from(world.write(VIDEO, frame(number, 0, 1_000, false), 0).unwrap().is_some());
    }
    assert_eq!(left, 11);
    assert_eq!(world.reports(0), []);
    assert_eq!(world.half.poll_timeout(), Some(at(5)));
    assert_eq!(world.nack(&[0x7FFE], 4), []);
    let slot = world.poll(5);
    assert_eq!(slot[0].ssrc, VIDEO_RTX);
    assert_eq!(slot.len(), 12);
    assert_eq!(slot[1].number, 0x7FFE + 12);
    assert_eq!(world.poll(10).len() + world.poll(15).len(), 16);
    assert_eq!(world.half.poll_timeout(), None);
}

#[test]
fn a_viewer_that_fell_out_of_the_ring_waits_for_a_key_frame() {
    let mut world = World::live(parameters());
    world.write(VIDEO, frame(1, 0, 1_000, true), 0).unwrap().unwrap();
    for number in 2..40 {
        world.write(VIDEO, frame(number, 0, 1_000, false), 0).unwrap();
    }
    world.write(VIDEO, frame(40, 9_000, 1_000, false), 9_000).unwrap();
    assert_eq!(world.poll(9_000), []);
    assert_eq!(world.drops(), BTreeMap::from([("send_fell_behind", 1)]));
    assert_eq!(world.half.poll_key_frame_request(at(9_000)), Some(VIDEO));
    let got = world
        .write(VIDEO, frame(41, 9_100, 1_000, true), 9_100)
        .unwrap()
        .unwrap();
    assert_eq!(got.number, 0x7FFE + 12);
}

#[test]
fn every_drop_has_its_own_name() {
    let names: BTreeSet<_> = SendDrop::ALL.iter().map(|drop| drop.name()).collect();
    assert_eq!(names.len(), SendDrop::ALL.len());
}
