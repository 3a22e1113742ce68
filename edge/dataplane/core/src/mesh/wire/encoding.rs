//! Messages to bytes and back.

use super::{
    EDGE_ID_BYTES_MAX, Heartbeat, INCARNATION_MAX, MESSAGE_BYTES_MAX, Message, PATH_EDGES_MAX, ROOM_BYTES_MAX,
    SourceHeartbeat, SourceState, Subscribe, TRACKS_MAX, Wants,
};
use crate::mesh::varint::{Malformed, Reader, put_bytes, put_varint};
use crate::packet::Ssrc;
use crate::source::{Codec, SenderClock, SourceId, SourceInfo, TrackInfo};

const FMTP_BYTES_MAX: usize = 2_048;
const REASON_BYTES_MAX: usize = 64;
const LAST_SEEN_MAX: usize = 64;
const NACK_PAIRS_MAX: usize = 64;

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
            incarnation: take_incarnation(body)?,
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
            incarnation: take_incarnation(body)?,
            reason: body.text(REASON_BYTES_MAX)?,
        },
        11 => Message::RoomMessage {
            room: body.text(ROOM_BYTES_MAX)?,
            payload: body.rest().to_vec(),
        },
        _ => return Ok(None),
    }))
}

fn take_incarnation(reader: &mut Reader<'_>) -> Result<u64, Malformed> {
    let incarnation = reader.varint()?;
    if incarnation > INCARNATION_MAX {
        Err(Malformed)
    } else {
        Ok(incarnation)
    }
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
        incarnation: take_incarnation(reader)?,
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
