//! The messages of a trunk: what `docs/wire.md` describes, in bytes.
//!
//! A message is `type (varint) · length (varint) · body`. Flow 0 carries them, in datagrams (several may stand in one) and
//! on streams. Unknown types are skipped, so that a newer neighbour does no harm.

use crate::mesh::varint::{Malformed, Reader, put_bytes, put_varint};
use crate::packet::Ssrc;
use crate::source::{Codec, SenderClock, SourceId, SourceInfo, TrackInfo};

/// Application protocol of a trunk connection.
pub const ALPN: &[u8] = b"tradewind-trunk/1";
/// The flow of control messages.
pub const CONTROL_FLOW: u64 = 0;
/// Tracks per source; the low four bits of a flow id.
pub const TRACKS_MAX: usize = 16;
/// Largest message on a stream. A danmaku batch is the largest we send, at most 100 comments of 200 characters.
pub const MESSAGE_BYTES_MAX: usize = 65_536;
/// Edges in a route or path: source, two relays, leaf, and room for a detour during a move.
pub const PATH_EDGES_MAX: usize = 8;
/// Bytes of an edge id; it is a DNS label in certificates (RFC 1035 §2.3.4).
pub const EDGE_ID_BYTES_MAX: usize = 63;
/// Bytes of a room name.
pub const ROOM_BYTES_MAX: usize = 256;
const FMTP_BYTES_MAX: usize = 2_048;
const REASON_BYTES_MAX: usize = 64;
const LAST_SEEN_MAX: usize = 64;
const NACK_PAIRS_MAX: usize = 64;

/// The flow that carries a track: the subscriber's number for the subscription, the generation of the source (it counts
/// takeovers, so that packets of two publications cannot be confused), and the track's index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flow {
    /// The subscriber's number for the subscription, from 1.
    pub subscription: u64,
    /// Which publication since the subscription began, modulo 16.
    pub generation: u8,
    /// Index into the source's tracks.
    pub track: u8,
}

impl Flow {
    /// The flow id on the wire.
    pub const fn id(self) -> u64 {
        self.subscription << 8 | ((self.generation & 15) as u64) << 4 | (self.track & 15) as u64
    }

    /// What a flow id means; `None` for flow ids below the first subscription's.
    pub const fn from_id(id: u64) -> Option<Flow> {
        if id < 256 {
            return None;
        }
        Some(Flow {
            subscription: id >> 8,
            generation: (id >> 4 & 15) as u8,
            track: (id & 15) as u8,
        })
    }
}

/// What a subscriber wants.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Wants {
    /// Media packets; without it only source heartbeats flow.
    pub media: bool,
    /// A place in the room's tree: room messages pass here.
    pub tree: bool,
    /// This is the subscriber's backup; counted apart.
    pub backup: bool,
}

impl Wants {
    const fn bits(self) -> u8 {
        self.media as u8 | (self.tree as u8) << 1 | (self.backup as u8) << 2
    }

    const fn from_bits(bits: u8) -> Wants {
        Wants {
            media: bits & 1 != 0,
            tree: bits & 2 != 0,
            backup: bits & 4 != 0,
        }
    }

    /// Media or tree: more than a warm backup.
    pub const fn is_leaf(self) -> bool {
        self.media || self.tree
    }

    /// What both want together; a backup only when both are.
    pub const fn or(self, other: Wants) -> Wants {
        Wants {
            media: self.media || other.media,
            tree: self.tree || other.tree,
            backup: self.backup && other.backup,
        }
    }
}

/// How a node stands to a stream, as it tells its subscribers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SourceState {
    /// The stream arrives, or a backup is taking over.
    #[default]
    Healthy,
    /// The parent is silent, or says this of itself and there is no backup: arm yours.
    Suspect,
    /// No way to the source is left.
    Orphan,
}

/// Sent to every neighbour: proof of life, clock, echo, and what was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Heartbeat {
    /// Trunk packet number, from the same counter as the media packets' numbers, not truncated.
    pub trunk_number: u64,
    /// The sender's clock in microseconds when it sent this.
    pub clock_us: u64,
    /// `clock_us` of the last heartbeat received; 0 when none was.
    pub echo_clock_us: u64,
    /// Time between its arrival and this message.
    pub echo_delay_us: u64,
    /// Highest trunk packet number received.
    pub received_highest: u64,
    /// Trunk packets received since the connection began.
    pub received: u64,
    /// Trunk packets lost since the connection began.
    pub lost: u64,
}

/// Proof that the source is alive and how its packets come here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceHeartbeat {
    /// The receiver's number for its subscription.
    pub subscription: u64,
    /// The publication.
    pub incarnation: u64,
    /// Counted by the source's edge, every 100 ms.
    pub counter: u64,
    /// How the sender stands to the stream.
    pub state: SourceState,
    /// Edges from the source's to the sender.
    pub path: Vec<String>,
    /// Time in which a loss on the way to the sender is repaired; 0 at the source's edge.
    pub repair_ms: u64,
}

/// Asks for a stream, or changes what is asked of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscribe {
    /// The subscriber's number, from 1; its flows are derived from it.
    pub subscription: u64,
    /// Higher replaces lower.
    pub revision: u64,
    /// What is wanted.
    pub wants: Wants,
    /// Which room.
    pub room: String,
    /// Edges from the receiver to the source's.
    pub route: Vec<String>,
    /// Edges that this subscription has come through, the first subscriber first.
    pub via: Vec<String>,
    /// Last sequence number held per ssrc; packets after it are replayed. Empty: replay from the latest key frame.
    pub last_seen: Vec<(Ssrc, u16)>,
}

/// Everything that travels on flow 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Proof of life.
    Heartbeat(Heartbeat),
    /// Proof of the source's life.
    SourceHeartbeat(SourceHeartbeat),
    /// Asks for packets of a flow again.
    Nack {
        /// The flow id.
        flow: u64,
        /// Whose packets.
        ssrc: Ssrc,
        /// Which, truncated to 16 bit.
        sequence_numbers: Vec<u16>,
    },
    /// Asks for a key frame of a flow.
    KeyFrameRequest {
        /// The flow id.
        flow: u64,
    },
    /// The publisher's wallclock for a flow.
    SenderClock {
        /// The flow id.
        flow: u64,
        /// The mapping.
        clock: SenderClock,
    },
    /// Asks for a stream.
    Subscribe(Subscribe),
    /// Ends a subscription.
    Unsubscribe {
        /// The subscriber's number.
        subscription: u64,
        /// Higher replaces lower.
        revision: u64,
    },
    /// Accepts a subscription, or tells of a takeover.
    Source {
        /// The receiver's number for its subscription.
        subscription: u64,
        /// The generation in its flow ids from now on.
        generation: u8,
        /// What is published.
        info: SourceInfo,
    },
    /// The subscription cannot be served now; it is remembered unless the reason is `loop`.
    Refused {
        /// The receiver's number for its subscription.
        subscription: u64,
        /// In snake_case.
        reason: String,
    },
    /// The source has ended.
    SourceGone {
        /// The receiver's number for its subscription.
        subscription: u64,
        /// Which publication.
        incarnation: u64,
        /// In snake_case.
        reason: String,
    },
    /// To the room's people beyond this neighbour.
    RoomMessage {
        /// Which room.
        room: String,
        /// Opaque to the trunk.
        payload: Vec<u8>,
    },
}

impl Message {
    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(64);
        let kind = self.encode_body(&mut body);
        put_varint(out, kind);
        put_bytes(out, &body);
    }

    /// The message alone.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        self.encode(&mut out);
        out
    }

    /// Takes the next message; `Ok(None)` for one of an unknown type, which is skipped.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Option<Message>, Malformed> {
        let kind = reader.varint()?;
        let mut body = Reader::new(reader.bytes(MESSAGE_BYTES_MAX)?);
        decode_body(kind, &mut body)
    }

    fn encode_body(&self, out: &mut Vec<u8>) -> u64 {
        match self {
            Message::Heartbeat(beat) => {
                for value in [
                    beat.trunk_number,
                    beat.clock_us,
                    beat.echo_clock_us,
                    beat.echo_delay_us,
                    beat.received_highest,
                    beat.received,
                    beat.lost,
                ] {
                    put_varint(out, value);
                }
                1
            }
            Message::SourceHeartbeat(beat) => {
                put_varint(out, beat.subscription);
                put_varint(out, beat.incarnation);
                put_varint(out, beat.counter);
                out.push(beat.state as u8);
                put_path(out, &beat.path);
                put_varint(out, beat.repair_ms);
                2
            }
            Message::Nack {
                flow,
                ssrc,
                sequence_numbers,
            } => {
                put_varint(out, *flow);
                out.extend_from_slice(&ssrc.0.to_be_bytes());
                put_nack_pairs(out, sequence_numbers);
                3
            }
            Message::KeyFrameRequest { flow } => {
                put_varint(out, *flow);
                4
            }
            Message::SenderClock { flow, clock } => {
                put_varint(out, *flow);
                out.extend_from_slice(&clock.ntp.to_be_bytes());
                out.extend_from_slice(&clock.rtp.to_be_bytes());
                5
            }
            Message::Subscribe(subscribe) => {
                put_varint(out, subscribe.subscription);
                put_varint(out, subscribe.revision);
                out.push(subscribe.wants.bits());
                put_bytes(out, subscribe.room.as_bytes());
                put_path(out, &subscribe.route);
                put_path(out, &subscribe.via);
                put_varint(out, subscribe.last_seen.len() as u64);
                for (ssrc, sequence_number) in &subscribe.last_seen {
                    out.extend_from_slice(&ssrc.0.to_be_bytes());
                    out.extend_from_slice(&sequence_number.to_be_bytes());
                }
                6
            }
            Message::Unsubscribe { subscription, revision } => {
                put_varint(out, *subscription);
                put_varint(out, *revision);
                7
            }
            Message::Source {
                subscription,
                generation,
                info,
            } => {
                put_varint(out, *subscription);
                out.push(*generation);
                put_source(out, info);
                8
            }
            Message::Refused { subscription, reason } => {
                put_varint(out, *subscription);
                put_bytes(out, reason.as_bytes());
                9
            }
            Message::SourceGone {
                subscription,
                incarnation,
                reason,
            } => {
                put_varint(out, *subscription);
                put_varint(out, *incarnation);
                put_bytes(out, reason.as_bytes());
                10
            }
            Message::RoomMessage { room, payload } => {
                put_bytes(out, room.as_bytes());
                out.extend_from_slice(payload);
                11
            }
        }
    }
}

fn decode_body(kind: u64, body: &mut Reader<'_>) -> Result<Option<Message>, Malformed> {
    Ok(Some(match kind {
        1 => Message::Heartbeat(Heartbeat {
            trunk_number: body.varint()?,
            clock_us: body.varint()?,
            echo_clock_us: body.varint()?,
            echo_delay_us: body.varint()?,
            received_highest: body.varint()?,
            received: body.varint()?,
            lost: body.varint()?,
        }),
        2 => Message::SourceHeartbeat(SourceHeartbeat {
            subscription: body.varint()?,
            incarnation: body.varint()?,
            counter: body.varint()?,
            state: match body.u8()? {
                0 => SourceState::Healthy,
                1 => SourceState::Suspect,
                2 => SourceState::Orphan,
                _ => return Err(Malformed),
            },
            path: take_path(body)?,
            repair_ms: body.varint()?,
        }),
        3 => Message::Nack {
            flow: body.varint()?,
            ssrc: Ssrc(body.u32()?),
            sequence_numbers: take_nack_pairs(body)?,
        },
        4 => Message::KeyFrameRequest { flow: body.varint()? },
        5 => {
            let flow = body.varint()?;
            Message::SenderClock {
                flow,
                clock: SenderClock {
                    ntp: body.u64()?,
                    rtp: body.u32()?,
                },
            }
        }
        6 => Message::Subscribe(Subscribe {
            subscription: body.varint()?,
            revision: body.varint()?,
            wants: Wants::from_bits(body.u8()?),
            room: body.text(ROOM_BYTES_MAX)?,
            route: take_path(body)?,
            via: take_path(body)?,
            last_seen: take_last_seen(body)?,
        }),
        7 => Message::Unsubscribe {
            subscription: body.varint()?,
            revision: body.varint()?,
        },
        8 => Message::Source {
            subscription: body.varint()?,
            generation: body.u8()?,
            info: take_source(body)?,
        },
        9 => Message::Refused {
            subscription: body.varint()?,
            reason: body.text(REASON_BYTES_MAX)?,
        },
        10 => Message::SourceGone {
            subscription: body.varint()?,
            incarnation: body.varint()?,
            reason: body.text(REASON_BYTES_MAX)?,
        },
        11 => Message::RoomMessage {
            room: body.text(ROOM_BYTES_MAX)?,
            payload: body.rest().to_vec(),
        },
        _ => return Ok(None),
    }))
}

fn put_path(out: &mut Vec<u8>, path: &[String]) {
    put_varint(out, path.len() as u64);
    for edge in path {
        put_bytes(out, edge.as_bytes());
    }
}

fn take_path(reader: &mut Reader<'_>) -> Result<Vec<String>, Malformed> {
    let count = reader.bounded(PATH_EDGES_MAX)?;
    (0..count).map(|_| reader.text(EDGE_ID_BYTES_MAX)).collect()
}

/// Pairs of a sequence number and a bitmask of the 16 after it, as in a Generic NACK (RFC 4585 §6.2.1).
fn put_nack_pairs(out: &mut Vec<u8>, sequence_numbers: &[u16]) {
    let mut pairs: Vec<(u16, u16)> = Vec::new();
    for &number in sequence_numbers {
        match pairs.last_mut() {
            Some((first, mask)) if (1..=16).contains(&number.wrapping_sub(*first)) => {
                *mask |= 1 << (number.wrapping_sub(*first) - 1);
            }
            Some((first, _)) if *first == number => {}
            _ => pairs.push((number, 0)),
        }
    }
    pairs.truncate(NACK_PAIRS_MAX);
    put_varint(out, pairs.len() as u64);
    for (first, mask) in pairs {
        out.extend_from_slice(&first.to_be_bytes());
        out.extend_from_slice(&mask.to_be_bytes());
    }
}

fn take_nack_pairs(reader: &mut Reader<'_>) -> Result<Vec<u16>, Malformed> {
    let mut numbers = Vec::new();
    for _ in 0..reader.bounded(NACK_PAIRS_MAX)? {
        let first = reader.u16()?;
        let mask = reader.u16()?;
        numbers.push(first);
        numbers.extend(
            (0..16)
                .filter(|bit| mask >> bit & 1 == 1)
                .map(|bit| first.wrapping_add(bit + 1)),
        );
    }
    Ok(numbers)
}

fn take_last_seen(reader: &mut Reader<'_>) -> Result<Vec<(Ssrc, u16)>, Malformed> {
    let count = reader.bounded(LAST_SEEN_MAX)?;
    (0..count).map(|_| Ok((Ssrc(reader.u32()?), reader.u16()?))).collect()
}

fn put_source(out: &mut Vec<u8>, info: &SourceInfo) {
    put_bytes(out, info.id.room.as_bytes());
    put_varint(out, info.id.incarnation);
    put_bytes(out, info.origin_edge.as_bytes());
    put_varint(out, info.tracks.len() as u64);
    for track in &info.tracks {
        out.push(match track.codec {
            Codec::Opus => 1,
            Codec::Vp8 => 2,
            Codec::H264 => 3,
        });
        put_bytes(out, track.fmtp.as_bytes());
        out.push(u8::from(track.ssrc.is_some()));
        out.extend_from_slice(&track.ssrc.map_or(0, |ssrc| ssrc.0).to_be_bytes());
    }
}

fn take_source(reader: &mut Reader<'_>) -> Result<SourceInfo, Malformed> {
    let id = SourceId {
        room: reader.text(ROOM_BYTES_MAX)?,
        incarnation: reader.varint()?,
    };
    let origin_edge = reader.text(EDGE_ID_BYTES_MAX)?;
    let count = reader.bounded(TRACKS_MAX)?;
    let tracks = (0..count)
        .map(|_| {
            let codec = match reader.u8()? {
                1 => Codec::Opus,
                2 => Codec::Vp8,
                3 => Codec::H264,
                _ => return Err(Malformed),
            };
            let fmtp = reader.text(FMTP_BYTES_MAX)?;
            let known = reader.u8()? != 0;
            let ssrc = Ssrc(reader.u32()?);
            Ok(TrackInfo {
                codec,
                fmtp,
                ssrc: known.then_some(ssrc),
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(SourceInfo {
        id,
        origin_edge,
        tracks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(message: &Message) {
        let bytes = message.to_bytes();
        let mut reader = Reader::new(&bytes);
        assert_eq!(Message::decode(&mut reader).as_ref(), Ok(&Some(message.clone())));
        assert!(reader.is_empty());
        for cut in 0..bytes.len() {
            assert!(
                Message::decode(&mut Reader::new(&bytes[..cut])).is_err(),
                "cut at {cut} of {message:?}"
            );
        }
    }

    #[test]
    fn every_message_survives_the_wire_and_no_prefix_of_it_does() {
        let path = vec!["sg".to_owned(), "bom".to_owned()];
        let info = SourceInfo {
            id: SourceId {
                room: "demo".into(),
                incarnation: 1_764_000_000_123,
            },
            origin_edge: "sg".into(),
            tracks: vec![
                TrackInfo {
                    codec: Codec::Opus,
                    fmtp: "minptime=10".into(),
                    ssrc: None,
                },
                TrackInfo {
                    codec: Codec::H264,
                    fmtp: "packetization-mode=1".into(),
                    ssrc: Some(Ssrc(7)),
                },
            ],
        };
        for message in [
            Message::Heartbeat(Heartbeat {
                trunk_number: 70_000,
                clock_us: 5,
                lost: 3,
                ..Heartbeat::default()
            }),
            Message::SourceHeartbeat(SourceHeartbeat {
                subscription: 3,
                incarnation: 1_764_000_000_123,
                counter: 99,
                state: SourceState::Orphan,
                path: path.clone(),
                repair_ms: 210,
            }),
            Message::Nack {
                flow: 768,
                ssrc: Ssrc(9),
                sequence_numbers: vec![65_534, 65_535, 0, 14, 15, 40],
            },
            Message::KeyFrameRequest { flow: 769 },
            Message::SenderClock {
                flow: 769,
                clock: SenderClock { ntp: u64::MAX, rtp: 1 },
            },
            Message::Subscribe(Subscribe {
                subscription: 3,
                revision: 2,
                wants: Wants {
                    media: true,
                    tree: false,
                    backup: true,
                },
                room: "demo".into(),
                route: path.clone(),
                via: vec!["fra".into()],
                last_seen: vec![(Ssrc(7), 65_535)],
            }),
            Message::Unsubscribe {
                subscription: 3,
                revision: 4,
            },
            Message::Source {
                subscription: 3,
                generation: 1,
                info,
            },
            Message::Refused {
                subscription: 3,
                reason: "orphan".into(),
            },
            Message::SourceGone {
                subscription: 3,
                incarnation: 8,
                reason: "ended".into(),
            },
        ] {
            round_trip(&message);
        }
    }

    #[test]
    fn an_unknown_type_is_skipped() {
        let mut bytes = vec![0x3f, 2, 0, 0];
        Message::KeyFrameRequest { flow: 256 }.encode(&mut bytes);
        let mut reader = Reader::new(&bytes);
        assert_eq!(Message::decode(&mut reader), Ok(None));
        assert_eq!(
            Message::decode(&mut reader),
            Ok(Some(Message::KeyFrameRequest { flow: 256 }))
        );
    }

    #[test]
    fn flow_ids_are_unique_per_subscription_generation_and_track() {
        let flow = Flow {
            subscription: 5,
            generation: 15,
            track: 3,
        };
        assert_eq!(Flow::from_id(flow.id()), Some(flow));
        assert_eq!(Flow::from_id(255), None);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let mut reader = Reader::new(&bytes);
            while let Ok(_message) = Message::decode(&mut reader) {
                if reader.is_empty() { break; }
            }
        }
    }
}
