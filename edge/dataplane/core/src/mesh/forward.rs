//! Packets through a node: in from a parent or the local publisher, once each, out to children and viewers.

use crate::mesh::layer::{Inserted, Layer};
use crate::mesh::net::Net;
use crate::mesh::output::{EdgeId, Interest, MeshDrop, Output, Priority, Replay};
use crate::mesh::stream::{Child, EARLY_MAX, KeyFrameWanted, LAYERS_MAX, Source, Stream};
use crate::mesh::trunk_rtp::{TrunkRtp, encode_rtp};
use crate::mesh::varint::put_varint;
use crate::mesh::wire::{Flow, Message};
use crate::packet::{MediaPacket, Ssrc};
use crate::source::MediaKind;
use crate::time::Time;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A replay sends at most this much per tick and child: the packet path's own run length (12 KB per 5 ms).
const REPLAY_BYTES_PER_TICK: usize = 12_000;
/// A key frame is asked for again after this long at least, and so often.
const KEY_FRAME_REPEAT: Duration = Duration::from_millis(500);
const KEY_FRAME_ASKS: u8 = 3;
/// Round trip assumed before one was measured.
const RTT_UNKNOWN: Duration = Duration::from_millis(100);
/// Sequence numbers in one NACK; with gaps between them at most 64 pairs.
const NACK_NUMBERS_MAX: usize = 64;

impl Stream {
    /// RTP from a parent, its flow already told apart.
    pub fn handle_media(&mut self, peer: &EdgeId, flow: Flow, rtp: &Bytes, net: &mut Net, now: Time) {
        let Some(upstream) = self.upstreams.get_mut(peer) else {
            return net.count_drop(MeshDrop::FlowUnknown);
        };
        let Ok(parsed) = TrunkRtp::parse(rtp) else {
            return net.count_drop(MeshDrop::RtpMalformed);
        };
        upstream.media_at = Some(now);
        let incarnation = upstream.generations[usize::from(flow.generation)];
        let Some(source) = &mut self.source else {
            return self.keep_early(peer, flow, rtp, net);
        };
        match incarnation {
            None => return self.keep_early(peer, flow, rtp, net),
            Some(incarnation) if incarnation != source.id.incarnation => {
                return net.count_drop(MeshDrop::Superseded);
            }
            Some(_) => {}
        }
        let is_video = !source.is_audio(flow.track);
        let Some(layer) = source.layer(flow.track, parsed.ssrc) else {
            return net.count_drop(MeshDrop::TrackUnknown);
        };
        let number = layer.extend(parsed.sequence_number);
        let is_first = layer.highest().is_none();
        let packet = Arc::new(parsed.into_media(rtp, number, now));
        match layer.insert(&packet, now) {
            Inserted::New { .. } => {
                if is_first && is_video && !packet.key_frame_start {
                    layer.suspect_lost_start(now);
                }
                self.ask_missing(peer, flow.track, packet.ssrc, net, now);
                self.forward(Some(peer), flow.track, packet, net, now);
            }
            Inserted::Duplicate => net.count_drop(MeshDrop::Duplicate),
            Inserted::TooOld => net.count_drop(MeshDrop::TooOld),
        }
    }

    /// A packet of the local publisher.
    pub fn handle_local_packet(&mut self, track: u8, packet: Arc<MediaPacket>, net: &mut Net, now: Time) {
        let Some(source) = self.source.as_mut().filter(|source| source.local) else {
            return;
        };
        let Some(layer) = source.layer(track, packet.ssrc) else {
            return net.count_drop(MeshDrop::TrackUnknown);
        };
        if matches!(layer.insert(&packet, now), Inserted::New { .. }) {
            layer.forget_missing(); // the session asks the publisher itself
            self.forward(None, track, packet, net, now);
        }
    }

    /// Sends on what replays still owe: audio first, and beside what is live, because a gap in the sound is heard at once
    /// and its packets are small.
    pub fn pump_replays(&mut self, net: &mut Net, now: Time) {
        let Some(source) = &self.source else { return };
        for (edge, child) in self.children.iter_mut().filter(|(_, child)| !child.cursors.is_empty()) {
            let mut budget = REPLAY_BYTES_PER_TICK;
            let mut keys: Vec<(u8, Ssrc)> = child.cursors.keys().copied().collect();
            keys.sort_by_key(|(track, _)| !source.is_audio(*track));
            for key in keys {
                let priority = if source.is_audio(key.0) {
                    Priority::Audio
                } else {
                    Priority::Replay
                };
                let layer = source.layers.get(&key);
                let end = layer.and_then(Layer::highest).unwrap_or(0);
                let mut next = child.cursors[&key].max(layer.map_or(0, Layer::first));
                while next <= end && budget > 0 {
                    if let Some(packet) = layer.and_then(|layer| layer.get(next)) {
                        budget = budget.saturating_sub(packet.payload.len());
                        send_packet(edge, child, key.0, packet, priority, net, now);
                    }
                    next += 1;
                }
                if next > end {
                    child.cursors.remove(&key);
                } else {
                    child.cursors.insert(key, next);
                }
            }
        }
    }

    /// Whether replays are under way.
    pub fn is_replaying(&self) -> bool {
        self.children.values().any(|child| !child.cursors.is_empty())
    }

    /// Where a new media subscriber's replay starts, per layer: after what it has, else at the current group of pictures.
    pub fn replay_cursors(&self, child: &Child, cache: bool, now: Time) -> BTreeMap<(u8, Ssrc), u64> {
        let Some(source) = &self.source else {
            return BTreeMap::new();
        };
        let start = |key: &(u8, Ssrc), layer: &Layer| {
            let seen = child.last_seen.iter().find(|(ssrc, _)| *ssrc == key.1);
            let after = seen.map(|(_, number)| layer.extend(*number) + 1);
            match after {
                // Held in the ring, or just about to come.
                Some(after) if after >= layer.first() && Some(after) <= layer.highest().map(|highest| highest + 1) => {
                    Some(after)
                }
                _ if cache => layer.group_start(now),
                _ => None,
            }
        };
        source
            .layers
            .iter()
            .filter_map(|(key, layer)| Some((*key, start(key, layer)?)))
            .collect()
    }

    /// The current group of pictures and the audio beside it, in arrival order, for a worker whose people just came.
    pub fn replay(&self, now: Time) -> Option<Replay> {
        let source = self.source.as_ref().filter(|source| !source.local)?;
        let mut packets = Vec::new();
        let starts = source.layers.iter().filter_map(|((track, ssrc), layer)| {
            let start = layer.group_start(now)?;
            Some((*track, *ssrc, start, layer.get(start)?.received_at))
        });
        let starts: Vec<(u8, Ssrc, u64, Time)> = starts.collect();
        let since = starts.iter().map(|(.., at)| *at).min();
        for ((track, ssrc), layer) in source.layers.iter().filter(|_| since.is_some()) {
            let video = starts
                .iter()
                .find(|(at_track, at_ssrc, ..)| at_track == track && at_ssrc == ssrc);
            let from = video.map_or(layer.first(), |(_, _, start, _)| *start);
            let kept = (from..=layer.highest().unwrap_or(0)).filter_map(|number| layer.get(number));
            let kept = kept.filter(|packet| video.is_some() || Some(packet.received_at) >= since);
            packets.extend(kept.map(|packet| (*track, Arc::clone(packet))));
        }
        packets.sort_by_key(|(_, packet)| packet.received_at);
        let clocks = source.clocks.iter().map(|(track, clock)| (*track, *clock)).collect();
        Some(Replay {
            source: Arc::clone(&source.id),
            clocks,
            packets,
        })
    }

    /// A child asks for packets again.
    pub fn handle_nack(&mut self, edge: &EdgeId, flow: Flow, ssrc: Ssrc, numbers: &[u16], net: &mut Net, now: Time) {
        let Some(child) = self.children.get(edge) else {
            return net.count_drop(MeshDrop::SubscriptionUnknown);
        };
        let layer = self
            .source
            .as_ref()
            .and_then(|source| source.layers.get(&(flow.track, ssrc)));
        for number in numbers {
            let packet = layer.and_then(|layer| layer.get(layer.extend(*number)));
            match packet {
                Some(packet) if child.wants.media && flow.generation == child.generation => {
                    send_packet(edge, child, flow.track, packet, Priority::Retransmission, net, now);
                }
                _ => net.count_drop(MeshDrop::NackUnknown),
            }
        }
    }

    /// Somebody needs a key frame: asked of the publisher, or of the parent.
    pub fn request_key_frame(&mut self, track: u8, net: &mut Net, now: Time) {
        let Some(source) = &self.source else { return };
        let video = source
            .info
            .tracks
            .get(usize::from(track))
            .is_some_and(|t| t.codec.kind() == MediaKind::Video);
        if !video {
            return;
        }
        let wanted = self.key_frames_wanted.get(&track);
        // One request per half second, whoever asks (DESIGN §4).
        if wanted.is_some_and(|wanted| now - wanted.since < KEY_FRAME_REPEAT) {
            return;
        }
        let wanted = KeyFrameWanted {
            since: now,
            next_at: now,
            left: KEY_FRAME_ASKS,
        };
        self.key_frames_wanted.insert(track, wanted);
        self.repeat_key_frame_requests(net, now);
    }

    /// Says again what was asked for and has not come.
    pub fn repeat_key_frame_requests(&mut self, net: &mut Net, now: Time) {
        let Some(source) = &self.source else { return };
        let own = source.local.then(|| Arc::clone(&source.id));
        let incarnation = source.id.incarnation;
        for (track, wanted) in self.key_frames_wanted.iter_mut().filter(|(_, wanted)| wanted.left > 0) {
            if now < wanted.next_at {
                continue;
            }
            wanted.left -= 1;
            wanted.next_at = now + KEY_FRAME_REPEAT;
            if let Some(source) = &own {
                wanted.left = 0; // the receive half repeats by itself
                net.outputs.push_back(Output::KeyFrameRequest {
                    source: Arc::clone(source),
                    track: *track,
                });
                continue;
            }
            let Some((edge, upstream)) = self
                .active
                .as_ref()
                .and_then(|active| self.upstreams.get_key_value(active))
            else {
                continue;
            };
            let generation = upstream
                .generations
                .iter()
                .position(|known| *known == Some(incarnation));
            if let Some(generation) = generation {
                let flow = Flow {
                    subscription: upstream.subscription,
                    generation: generation as u8,
                    track: *track,
                };
                let (edge, message) = (edge.clone(), Message::KeyFrameRequest { flow: flow.id() });
                net.send_control(&edge, &message, false, now);
            }
        }
        self.key_frames_wanted
            .retain(|_, wanted| wanted.left > 0 || now - wanted.since < KEY_FRAME_REPEAT);
    }

    /// Asks again for what is missing in all layers.
    pub fn repeat_asks(&mut self, net: &mut Net, now: Time) {
        let Some(source) = self.source.as_ref().filter(|source| !source.local) else {
            return;
        };
        let missing: Vec<(u8, Ssrc)> = source
            .layers
            .iter()
            .filter(|(_, layer)| layer.is_missing_any())
            .map(|(key, _)| *key)
            .collect();
        let Some(active) = self.active.clone().filter(|_| !missing.is_empty()) else {
            return;
        };
        for (track, ssrc) in missing {
            self.ask_missing(&active, track, ssrc, net, now);
        }
    }

    fn ask_missing(&mut self, peer: &EdgeId, track: u8, ssrc: Ssrc, net: &mut Net, now: Time) {
        let Some(source) = &mut self.source else { return };
        let Some(layer) = source
            .layers
            .get_mut(&(track, ssrc))
            .filter(|layer| layer.is_missing_any())
        else {
            return;
        };
        let rtt = net
            .peers
            .get(peer)
            .and_then(|peer| peer.hop.rtt())
            .unwrap_or(RTT_UNKNOWN);
        let due = layer.poll_asks(rtt, now);
        let Some(upstream) = self.upstreams.get(peer).filter(|_| net.config.features.trunk_nack) else {
            return;
        };
        let incarnation = Some(source.id.incarnation);
        let Some(generation) = upstream.generations.iter().position(|known| *known == incarnation) else {
            return;
        };
        let flow = Flow {
            subscription: upstream.subscription,
            generation: generation as u8,
            track,
        }
        .id();
        for part in due.chunks(NACK_NUMBERS_MAX) {
            let sequence_numbers = part.iter().map(|number| *number as u16).collect();
            net.send_control(
                peer,
                &Message::Nack {
                    flow,
                    ssrc,
                    sequence_numbers,
                },
                false,
                now,
            );
        }
    }

    fn forward(&mut self, from: Option<&EdgeId>, track: u8, packet: Arc<MediaPacket>, net: &mut Net, now: Time) {
        let Some(source) = &mut self.source else { return };
        source.packets += 1;
        source.bytes += packet.payload.len() as u64;
        if packet.key_frame_start {
            source.count_key_frame(track, packet.timestamp);
            self.key_frames_wanted.remove(&track);
        }
        let priority = if source.is_audio(track) {
            Priority::Audio
        } else {
            Priority::Video
        };
        let incarnation = source.id.incarnation;
        for (edge, child) in &self.children {
            let live = child.wants.media && child.detached.is_none() && child.announced == Some(incarnation);
            let later = child
                .cursors
                .get(&(track, packet.ssrc))
                .is_some_and(|next| packet.extended_sequence_number >= *next);
            if live && !later && Some(edge) != from {
                send_packet(edge, child, track, &packet, priority, net, now);
            }
        }
        let listening = self.interest == Interest::Media || self.lingering.is_some();
        if from.is_some() && listening {
            net.outputs.push_back(Output::Packet {
                source: Arc::clone(&source.id),
                track,
                packet,
            });
        }
    }

    fn keep_early(&mut self, peer: &EdgeId, flow: Flow, rtp: &Bytes, net: &mut Net) {
        let Some(upstream) = self.upstreams.get_mut(peer) else {
            return;
        };
        if upstream.early.len() >= EARLY_MAX {
            return net.count_drop(MeshDrop::EarlyOverflow);
        }
        upstream.early.push_back((flow.id(), rtp.clone()));
    }
}

impl Source {
    /// Whether a track carries sound.
    fn is_audio(&self, track: u8) -> bool {
        let track = self.info.tracks.get(usize::from(track));
        track.is_some_and(|track| track.codec.kind() == MediaKind::Audio)
    }

    /// The layer of a track's ssrc, made when it is new; `None` for a track that was not announced.
    fn layer(&mut self, track: u8, ssrc: Ssrc) -> Option<&mut Layer> {
        let known = self.layers.contains_key(&(track, ssrc));
        if usize::from(track) >= self.info.tracks.len() || (!known && self.layers.len() >= LAYERS_MAX) {
            return None;
        }
        Some(self.layers.entry((track, ssrc)).or_default())
    }
}

fn send_packet(
    edge: &EdgeId,
    child: &Child,
    track: u8,
    packet: &MediaPacket,
    priority: Priority,
    net: &mut Net,
    now: Time,
) {
    let Some(peer) = net.peers.get_mut(edge).filter(|peer| peer.up) else {
        return;
    };
    let number = peer.hop.take_number() as u16;
    let flow = Flow {
        subscription: child.subscription,
        generation: child.generation,
        track,
    };
    let mut bytes = Vec::with_capacity(packet.payload.len() + 64);
    put_varint(&mut bytes, flow.id());
    encode_rtp(&mut bytes, packet, number);
    let length = bytes.len() as u64;
    if let Some(hop) = net.send_datagram(edge, priority, bytes, now) {
        hop.media_bytes_sent += length;
    }
}
