use super::*;
use crate::packet::MediaExtensions;
use crate::rtcp::{ReceptionReport, SenderReport, write_fir, write_nack, write_pli, write_receiver_report};
use crate::rtp::RtpHeader;
use crate::source::{SourceId, TrackInfo};
use crate::srtp::{OpenContext, Profile};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

mod switches;

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
fn a_repair_comes_from_the_ring_under_the_rtx_ssrc() {
    let mut world = World::live(parameters());
    let mut sent = BTreeMap::new();
    for number in 0..100u64 {
        let payload = if number == 0 {
            b"K0".to_vec()
        } else {
            format!("D{number}").into_bytes()
        };
        let got = world
            .write(VIDEO, video(65_500 + number, number, &payload), number)
            .unwrap()
            .unwrap();
        sent.insert(got.number, got);
    }
    let asked: Vec<u64> = sent.keys().copied().skip(40).take(3).collect();
    let repairs = world.nack(&asked, 100);
    assert_eq!(repairs.len(), 3);
    for (index, (repair, original)) in repairs.iter().zip(asked.iter().map(|number| &sent[number])).enumerate() {
        assert_eq!((repair.ssrc, repair.payload_type), (VIDEO_RTX, 97));
        assert_eq!(repair.number, (0x7FFE ^ 0x5555) + index as u64);
        assert_eq!(repair.timestamp, original.timestamp);
        assert_eq!(repair.payload[..2], (original.number as u16).to_be_bytes());
        assert_eq!(repair.payload[2..], original.payload);
    }
    assert_eq!(world.nack(&asked, 120), []);
    assert_eq!(world.drops(), BTreeMap::from([("nack_repeated", 3)]));
    assert_eq!(
        world.nack(&asked, 151).len(),
        3,
        "after a round trip it may have been lost again"
    );
    assert_eq!(world.nack(&[0x7FFE + 500], 160), []);
    assert_eq!(world.drops(), BTreeMap::from([("nack_unknown", 1)]));
    assert_eq!(world.half.stats().retransmissions, 6);
}

#[test]
fn a_repair_that_left_the_ring_is_named() {
    let mut world = World::live(parameters());
    world.write(VIDEO, video(1, 0, b"K"), 0).unwrap();
    world.write(VIDEO, video(2, 5_000, b"D"), 5_000).unwrap();
    assert_eq!(world.nack(&[0x7FFE], 5_000), []);
    assert_eq!(world.drops(), BTreeMap::from([("nack_too_old", 1)]));
}

#[test]
fn without_rtx_the_same_datagram_is_sent_again() {
    let mut parameters = parameters();
    parameters.tracks[1].codecs[0].rtx_payload_type = None;
    let mut world = World::live(parameters);
    let first = world.write(VIDEO, video(1, 0, b"K"), 0).unwrap().unwrap();
    let mut compound = Vec::new();
    write_nack(&mut compound, Ssrc(9), VIDEO_SSRC, [first.number as u16]);
    world.half.handle_rtcp(&compound, at(10)).unwrap();
    let range = world
        .half
        .poll_packet(&world.rings, &mut world.output, &world.seal, at(10))
        .unwrap();
    assert_eq!(world.output[range], first.datagram);
}

#[test]
fn video_carries_the_repair_delay_from_then_on_in_packets_of_equal_length() {
    let mut parameters = parameters();
    for track in &mut parameters.tracks {
        track.extensions.playout_delay = Some(6);
    }
    let mut world = World::live(parameters);
    world.half.set_repair_delay(Duration::ZERO);
    let told = |got: &Got| {
        let header = RtpHeader::parse_encrypted(&got.datagram).unwrap();
        header.extension(&got.datagram, 6).map(<[u8]>::to_vec)
    };
    let near = world.write(VIDEO, frame(1, 0, 100, true), 0).unwrap().unwrap();
    assert_eq!(told(&near), None);
    let due = world.half.poll_timeout();
    world.half.set_repair_delay(Duration::from_millis(210));
    assert_eq!(world.half.poll_timeout(), due, "a hint delays nothing here");
    let far = world.write(VIDEO, frame(2, 0, 100, false), 0).unwrap().unwrap();
    assert_eq!(told(&far), Some(vec![0x01, 0x51, 0x90]));
    let next = world.write(VIDEO, frame(3, 0, 100, false), 0).unwrap().unwrap();
    assert_eq!((told(&next), next.datagram.len()), (told(&far), far.datagram.len()));
    let sound = world.write(AUDIO, audio(5, 0), 0).unwrap().unwrap();
    assert_eq!(told(&sound), None);
}

#[test]
fn without_rtx_a_packet_from_before_another_header_is_not_sent_again() {
    let mut parameters = parameters();
    parameters.tracks[1].codecs[0].rtx_payload_type = None;
    parameters.tracks[1].extensions.playout_delay = Some(6);
    let mut world = World::live(parameters);
    let first = world.write(VIDEO, video(1, 0, b"K"), 0).unwrap().unwrap();
    world.half.set_repair_delay(Duration::from_millis(210));
    world.write(VIDEO, video(2, 0, b"D"), 0).unwrap();
    assert_eq!(world.nack(&[first.number], 10), [], "one nonce, two headers");
    assert_eq!(world.drops(), BTreeMap::from([("nack_too_old", 1)]));
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
            if index < 41 {
                (1..300).contains(&step)
            } else {
                step == 3_000
            },
            "{index}: {step}"
        );
    }
    assert_eq!(got[0].payload[0], b'K');
}

#[test]
fn a_packet_that_the_ring_gave_out_is_not_sent_again() {
    let mut world = World::new(parameters());
    let waiting: Vec<_> = (0..3).map(|n| frame(10 + n, 0, 100, n == 0)).collect();
    for packet in &waiting {
        world.rings[VIDEO].insert(Arc::new(packet.clone())).unwrap();
    }
    world
        .half
        .switch_source(&source(1, Codec::Vp8), &[None, None], &world.rings, at(1));
    assert_eq!(world.poll(1).len(), 3);
    for packet in waiting {
        assert_eq!(world.write(VIDEO, packet, 1), Ok(None));
    }
    assert_eq!(
        world.write(VIDEO, frame(13, 2, 100, false), 2).unwrap().unwrap().number,
        0x7FFE + 3
    );
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
fn a_takeover_goes_on_under_the_same_ssrc_with_the_codecs_payload_type() {
    let mut world = World::live(parameters());
    let last = (0..5)
        .map(|n| {
            world
                .write(VIDEO, video(10 + n, n * 33, b"K"), n * 33)
                .unwrap()
                .unwrap()
        })
        .last()
        .unwrap();
    world.rings = vec![StreamRing::new(), StreamRing::new()];
    world
        .half
        .switch_source(&source(2, Codec::H264), &[None, None], &world.rings, at(632));
    assert_eq!(world.half.poll_key_frame_request(at(632)), Some(VIDEO));
    assert_eq!(
        world.write(VIDEO, video(65_530, 640, b"D"), 640),
        Err(SendDrop::AwaitingKeyFrame)
    );
    let first = world.write(VIDEO, video(65_531, 1_132, b"K"), 1_132).unwrap().unwrap();
    assert_eq!(
        (first.ssrc, first.payload_type, first.number),
        (last.ssrc, 102, last.number + 1)
    );
    assert_eq!(first.timestamp.wrapping_sub(last.timestamp), 90_000);
    assert_eq!(world.nack(&[last.number], 1_140), []);
    assert_eq!(world.drops(), BTreeMap::from([("nack_too_old", 1)]));
    let repair = world.nack(&[first.number], 1_140);
    assert_eq!((repair[0].payload_type, repair[0].timestamp), (103, first.timestamp));
}

#[test]
fn a_source_whose_codec_the_viewer_does_not_take_is_named() {
    let mut parameters = parameters();
    parameters.tracks[1].codecs.truncate(1);
    let mut world = World::new(parameters);
    world
        .half
        .switch_source(&source(1, Codec::H264), &[None, None], &world.rings, at(0));
    assert_eq!(world.write(VIDEO, video(1, 0, b"K"), 0), Err(SendDrop::NoCodec));
    assert_eq!(world.write(5, video(1, 0, b"K"), 0), Err(SendDrop::NoTrack));
    assert_eq!(world.half.poll_key_frame_request(at(0)), None);
}

#[test]
fn vp8_picture_numbers_go_on_after_a_takeover() {
    let mut world = World::live(parameters());
    let vp8 = |id: u8| [0x90, 0x80, 0x80, id, 0x00, 9];
    let key = |number, payload: &[u8]| MediaPacket {
        key_frame_start: true,
        ..video(number, 0, payload)
    };
    world.write(VIDEO, key(1, &vp8(10)), 0).unwrap();
    world.write(VIDEO, video(2, 0, &vp8(11)), 0).unwrap();
    world.rings = vec![StreamRing::new(), StreamRing::new()];
    world
        .half
        .switch_source(&source(2, Codec::Vp8), &[None, None], &world.rings, at(100));
    let first = world.write(VIDEO, key(1, &vp8(77)), 100).unwrap().unwrap();
    assert_eq!(first.payload[3], 12);
    let second = world.write(VIDEO, video(2, 133, &vp8(78)), 133).unwrap().unwrap();
    assert_eq!(second.payload[3], 13);
    // A repair carries what was sent.
    assert_eq!(world.nack(&[first.number], 140)[0].payload[2..], first.payload);
}

/// RFC 6184 §8.2.1 (the sets are those of its example), then an IDR slice that brings none.
#[test]
fn parameter_sets_of_the_description_precede_a_bare_key_frame() {
    let mut description = source(1, Codec::H264);
    description.tracks[1].fmtp = "packetization-mode=1;sprop-parameter-sets=Z0IACpZTBYmI,aMljiA==".into();
    let bare = |number, ms| MediaPacket {
        key_frame_start: true,
        ..video(number, ms, &[0x65, 0x88, 1])
    };
    let with_sets = |number, ms| MediaPacket {
        key_frame_start: true,
        ..video(number, ms, &[0x67, 0x42, 0, 0x0A])
    };

    let mut world = World::new(parameters());
    world
        .half
        .switch_source(&description, &[None, None], &world.rings, at(0));
    assert_eq!(world.write(VIDEO, bare(10, 0), 0), Ok(None));
    let got = world.poll(0);
    assert_eq!(
        got.iter().map(|packet| packet.number).collect::<Vec<_>>(),
        [0x7FFE, 0x7FFF]
    );
    assert_eq!(
        (got[0].payload[0] & 0x1F, got[0].marker, got[0].timestamp),
        (24, false, got[1].timestamp)
    );
    assert_eq!(world.nack(&[got[0].number], 10)[0].payload[2..], got[0].payload);
    assert_eq!(
        world.write(VIDEO, with_sets(11, 33), 33).unwrap().unwrap().number,
        0x8000
    );

    // The same from the cache, and a key frame that brings its sets is left alone.
    let mut world = World::new(parameters());
    world.rings[VIDEO].insert(Arc::new(bare(10, 0))).unwrap();
    world
        .half
        .switch_source(&description, &[None, None], &world.rings, at(0));
    assert_eq!(world.poll(0).len(), 2);
    let mut world = World::new(parameters());
    world
        .half
        .switch_source(&description, &[None, None], &world.rings, at(0));
    assert_eq!(world.write(VIDEO, with_sets(10, 0), 0).unwrap().unwrap().number, 0x7FFE);
}

#[test]
fn reports_precede_the_replay_and_lie_on_the_publishers_line() {
    let mut world = World::new(parameters());
    for number in 0..10u64 {
        world.rings[VIDEO]
            .insert(Arc::new(frame(number, number * 33, 100, number == 0)))
            .unwrap();
    }
    let clock = SenderClock {
        ntp: 5_000 * SECOND,
        rtp: 27_000,
    };
    world
        .half
        .switch_source(&source(1, Codec::Vp8), &[None, Some(clock)], &world.rings, at(300));
    let first = world.reports(300);
    assert_eq!(first.len(), 1);
    assert_eq!((first[0].ssrc, first[0].packet_count), (VIDEO_SSRC, 0));
    let got = world.poll(300);
    let live = got.last().unwrap();
    // RTP 27,000 is the newest frame, number 9.
    assert_eq!((first[0].ntp, first[0].rtp), (5_000 * SECOND, live.timestamp));
    assert_eq!(world.reports(499), []);
    let second = world.reports(500);
    assert_eq!(second[0].rtp.wrapping_sub(first[0].rtp), 18_000);
    assert_eq!(second[0].ntp - first[0].ntp, SECOND / 5);
    assert_eq!((second[0].packet_count, second[0].octet_count), (10, 1_000));
    assert_eq!(world.half.poll_timeout(), Some(at(1_500)));
    // The audio track's clock comes later: both are reported at once.
    world.write(AUDIO, audio(5, 600), 600).unwrap();
    world.half.handle_sender_clock(
        AUDIO,
        SenderClock {
            ntp: 5_000 * SECOND,
            rtp: 4_800,
        },
        at(700),
    );
    let both = world.reports(700);
    assert_eq!(both.len(), 2);
    assert_eq!(both[0].rtp, 1_000, "audio number 5 was its first packet");
}

#[test]
fn a_repeated_or_late_report_moves_nothing_back() {
    let mut world = World::live(parameters());
    world.write(VIDEO, video(1, 0, b"K"), 0).unwrap();
    let clock = |second: u64| SenderClock {
        ntp: (900 + second) * SECOND,
        rtp: second as u32 * 90_000,
    };
    world.half.handle_sender_clock(VIDEO, clock(2), at(0));
    let first = world.reports(0)[0];
    for (stale, ms) in [(clock(2), 150), (clock(1), 160)] {
        world.half.handle_sender_clock(VIDEO, stale, at(ms));
    }
    let second = world.reports(200)[0];
    assert_eq!(second.ntp - first.ntp, SECOND / 5);
    // A host that sets its clock back by an hour is believed.
    world
        .half
        .handle_sender_clock(VIDEO, SenderClock { ntp: SECOND, rtp: 0 }, at(1_200));
    assert_eq!(world.reports(1_200)[0].ntp, SECOND);
}

#[test]
fn nothing_is_due_while_there_is_no_source() {
    let mut world = World::live(parameters());
    world.reports(0);
    world.half.clear_source();
    assert_eq!(
        (world.half.poll_timeout(), world.half.poll_key_frame_request(at(0))),
        (None, None)
    );
    assert_eq!(world.write(VIDEO, video(1, 0, b"K"), 0), Err(SendDrop::NoTrack));

    // A viewer that was behind when its source went.
    world.rings = vec![StreamRing::new(), StreamRing::new()];
    world
        .half
        .switch_source(&source(1, Codec::Vp8), &[None, None], &world.rings, at(0));
    for number in 2..40 {
        world.write(VIDEO, frame(number, 0, 1_000, number == 2), 0).unwrap();
    }
    world.reports(0);
    world.rings.clear();
    assert!(world.half.poll_timeout().is_some());
    assert_eq!(world.poll(5), []);
    assert_eq!(world.half.poll_timeout(), None);

    world.rings = vec![StreamRing::new(), StreamRing::new()];
    world
        .half
        .switch_source(&source(2, Codec::Vp8), &[None, None], &world.rings, at(1_000));
    let first = world.write(VIDEO, frame(7, 1_000, 100, true), 1_000).unwrap().unwrap();
    assert_eq!(first.number, 0x7FFE + 12);
    assert_eq!(first.timestamp.wrapping_sub(u32::MAX - 50), 11 * 3_000 + 90_000);
}

#[test]
fn no_report_is_invented() {
    let mut world = World::live(parameters());
    world.write(VIDEO, video(1, 0, b"K"), 0).unwrap();
    assert_eq!(world.reports(10_000), []);
    assert_eq!(world.half.poll_timeout(), None);
}

#[test]
fn the_round_trip_is_what_the_echo_says() {
    let mut world = World::live(parameters());
    world.write(VIDEO, video(1, 0, b"K"), 0).unwrap();
    world.half.handle_sender_clock(
        VIDEO,
        SenderClock {
            ntp: 77 * SECOND + 12_345_678,
            rtp: 0,
        },
        at(0),
    );
    let sent = world.reports(1_000)[0];
    let echo = |delay_ms: u32| {
        let reception = ReceptionReport {
            ssrc: VIDEO_SSRC,
            fraction_lost: 0,
            cumulative_lost: 0,
            extended_highest_sequence_number: 0,
            jitter: 0,
            last_sender_report: (sent.ntp >> 16) as u32,
            delay_since_last_sender_report: delay_ms * 65_536 / 1_000,
        };
        let mut compound = Vec::new();
        write_receiver_report(&mut compound, Ssrc(9), &[reception]);
        compound
    };
    assert_eq!(world.half.rtt(), None);
    world.half.handle_rtcp(&echo(500), at(1_680)).unwrap();
    let rtt = world.half.rtt().unwrap().as_millis();
    assert!((179..=181).contains(&rtt), "{rtt}");
    // An echo from the future changes nothing.
    world.half.handle_rtcp(&echo(5_000), at(1_690)).unwrap();
    assert_eq!(world.half.rtt().unwrap().as_millis(), rtt);
    assert_eq!(
        world.half.handle_rtcp(&[0; 3], at(1_690)),
        Err(SendDrop::Rtcp(RtcpError::Truncated))
    );
}

/// A player fits a line through many reports per track; what a change of source does to one line it must do to the other.
#[test]
fn after_a_takeover_the_tracks_stay_in_sync() {
    let mut world = World::new(parameters());
    let clocks = [
        Some(SenderClock {
            ntp: 900 * SECOND,
            rtp: 0,
        }),
        Some(SenderClock {
            ntp: 900 * SECOND,
            rtp: 0,
        }),
    ];
    world
        .half
        .switch_source(&source(1, Codec::Vp8), &clocks, &world.rings, at(0));
    for n in 0..100u64 {
        world.write(AUDIO, audio(n, n * 20), n * 20).unwrap();
        if n % 2 == 0 {
            world.write(VIDEO, frame(n / 2, n * 20, 100, n == 0), n * 20).unwrap();
        }
    }
    let before = world.reports(2_000);
    world.rings = vec![StreamRing::new(), StreamRing::new()];
    world
        .half
        .switch_source(&source(2, Codec::Vp8), &[None, None], &world.rings, at(2_500));
    // The other host's clock is elsewhere; its video comes 70 ms after its audio of the same moment.
    for n in 0..120u64 {
        let ms = 2_500 + n * 20;
        world.write(AUDIO, audio(50_000 + n, ms), ms).unwrap();
        world
            .write(VIDEO, frame(9_000 + n, ms + 70, 100, n == 0), ms + 70)
            .unwrap();
        if n == 40 {
            let ntp = 7_777 * SECOND;
            world
                .half
                .handle_sender_clock(AUDIO, SenderClock { ntp, rtp: 50_000 * 960 }, at(ms));
            world.half.handle_sender_clock(
                VIDEO,
                SenderClock {
                    ntp,
                    rtp: 9_000 * 3_000,
                },
                at(ms),
            );
        }
    }
    let after = world.reports(5_000);
    assert_eq!((before.len(), after.len()), (2, 2));
    let shift = |track: usize, rate: i128| {
        let ticks = i128::from(after[track].rtp.wrapping_sub(before[track].rtp) as i32);
        i128::from(after[track].ntp.wrapping_sub(before[track].ntp)) - (ticks << 32) / rate
    };
    let skew_us = (shift(0, 48_000) - shift(1, 90_000)) * 1_000_000 / i128::from(SECOND);
    assert!(skew_us.abs() < 100, "{skew_us} µs");
}

#[test]
fn a_goodbye_names_every_ssrc() {
    let mut world = World::live(parameters());
    let compound = world.half.goodbye(at(0));
    let Some(Rtcp::Bye(ssrcs)) = rtcp::parse(&compound).unwrap().last() else {
        panic!()
    };
    assert_eq!(
        ssrcs.collect::<Vec<_>>(),
        [Ssrc(0xA0), Ssrc(0xA1), VIDEO_SSRC, VIDEO_RTX]
    );
}

#[test]
fn every_drop_has_its_own_name() {
    let names: BTreeSet<_> = SendDrop::ALL.iter().map(|drop| drop.name()).collect();
    assert_eq!(names.len(), SendDrop::ALL.len());
}

proptest! {
    /// Whatever upstream does (loss, reordering, padding, floods), a viewer gets each packet once, under its own number, in the
    /// publisher's order; and NACK brings back what the viewer lost.
    #[test]
    fn a_viewer_gets_every_packet_once(
        start in 60_000u64..70_000,
        fates in proptest::collection::vec((0u8..12, 0u64..8, 1usize..1_100), 20..300),
    ) {
        let mut world = World::live(parameters());
        let mut ms = 0;
        let mut got: BTreeMap<u64, Got> = BTreeMap::new();
        let mut expected: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let mut lost_by_viewer = Vec::new();
        let mut held = Vec::new();
        let mut feed = |world: &mut World, packet: MediaPacket, ms: u64, lose: bool| {
            if !packet.payload.is_empty() {
                expected.insert(packet.extended_sequence_number, packet.payload.to_vec());
            }
            let written = world.write(VIDEO, packet, ms).unwrap();
            for packet in written.into_iter().chain(world.poll(ms)) {
                if packet.ssrc == VIDEO_SSRC {
                    if lose { lost_by_viewer.push(packet.number) }
                    assert!(got.insert(packet.number, packet).is_none());
                }
            }
        };
        feed(&mut world, frame(start, 0, 10, true), 0, false);
        for (number, (fate, wait, len)) in (start + 1..).zip(fates.iter().copied()) {
            ms += wait;
            let packet = |len: usize| {
                let mut packet = frame(number, ms, len.max(1), false);
                if len == 0 { packet.payload = Bytes::new() } else { packet.payload = Bytes::from(format!("D{number:0>len$}").into_bytes()); }
                packet
            };
            match fate {
                0 => {}
                1 => held.push(packet(len)),
                2 => held.push(packet(0)),
                3 => feed(&mut world, packet(0), ms, false),
                _ => {
                    feed(&mut world, packet(len), ms, fate == 4);
                    for late in held.drain(..) {
                        feed(&mut world, MediaPacket { received_at: at(ms), ..late }, ms, false);
                    }
                }
            }
        }
        while world.half.poll_timeout().is_some_and(|due| due <= at(ms + 10_000)) && ms < 200_000 {
            ms += 5;
            for packet in world.poll(ms) {
                assert!(got.insert(packet.number, packet).is_none());
            }
            world.half.poll_key_frame_request(at(ms));
            world.half.poll_rtcp(at(ms));
            if !world.half.has_backlog() { break }
        }
        let media: Vec<_> = got.values().filter(|packet| !packet.payload.is_empty()).map(|packet| packet.payload.clone()).collect();
        prop_assert_eq!(&media, &expected.values().cloned().collect::<Vec<_>>());
        let mut previous = None;
        for packet in got.values() {
            if let Some(previous) = previous {
                prop_assert!(packet.timestamp.wrapping_sub(previous) as i32 >= 0);
            }
            previous = Some(packet.timestamp);
        }
        for number in lost_by_viewer.into_iter().rev().take(50) {
            ms += 10;
            let repairs = world.nack(&[number], ms);
            if repairs.is_empty() {
                // Only what is older than history or ring keep may be refused.
                let drops = world.drops();
                prop_assert!(drops.contains_key("nack_too_old") || drops.contains_key("nack_unknown"));
                prop_assert!(ms > 1_000);
                continue;
            }
            prop_assert_eq!(&repairs[0].payload[2..], &got[&number].payload[..]);
        }
    }

    #[test]
    fn arbitrary_reports_never_panic(mut compound in proptest::collection::vec(any::<u8>(), 0..100), kind in 200u8..207, count in 0u8..32) {
        let mut world = World::live(parameters());
        world.write(VIDEO, video(1, 0, b"K"), 0).unwrap();
        if compound.len() >= 12 {
            compound.truncate(compound.len() / 4 * 4);
            compound[0] = 0x80 | count;
            compound[1] = kind;
            compound[2] = 0;
            compound[3] = (compound.len() / 4 - 1) as u8;
            compound[8..12].copy_from_slice(&VIDEO_SSRC.0.to_be_bytes());
        }
        let _ = world.half.handle_rtcp(&compound, at(1));
        world.poll(2);
    }
}
