//! What a stream does with messages about subscriptions, from above and from below.

use crate::mesh::net::Net;
use crate::mesh::output::{EdgeId, MeshDrop, Output};
use crate::mesh::stream::{Child, Source, Stream};
use crate::mesh::wire::{Flow, Message, SourceHeartbeat, SourceState, Subscribe};
use crate::source::{SenderClock, SourceInfo};
use crate::time::Time;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Stream {
    /// A neighbour asks for the stream, or for something else of it. The caller has recorded the number.
    pub fn handle_subscribe(&mut self, peer: &EdgeId, message: Subscribe, net: &mut Net, now: Time) {
        let own = net.own.clone();
        if let Some(reason) = self.refuse_reason(peer, &message, net, now) {
            let refused = Message::Refused {
                subscription: message.subscription,
                reason: reason.to_owned(),
            };
            net.send_message(peer, &refused, now);
            if reason == "loop" || reason == "not_on_route" {
                self.remove_child(peer, message.subscription);
                return;
            }
        }
        let before = self
            .children
            .remove(peer)
            .filter(|child| child.subscription == message.subscription && child.detached.is_none());
        if before.as_ref().is_some_and(|child| child.revision >= message.revision) {
            self.children.extend(before.map(|child| (peer.clone(), child)));
            return;
        }
        let had_media = before.as_ref().is_some_and(|child| child.wants.media);
        let mut child = Child {
            subscription: message.subscription,
            revision: message.revision,
            wants: message.wants,
            route: message.route,
            via: message.via,
            last_seen: message.last_seen,
            generation: before.as_ref().map_or(0, |child| child.generation),
            announced: before.as_ref().and_then(|child| child.announced),
            cursors: before.map(|child| child.cursors).unwrap_or_default(),
            serving: None,
            beat_at: None,
            detached: None,
        };
        if !child.wants.media {
            child.cursors.clear();
        } else if !had_media {
            child.cursors = self.replay_cursors(&child, net.config.features.cache, now);
        }
        self.children.insert(peer.clone(), child);
        self.unsettled = true;
        self.settle(net, now);
        self.announce_source(peer, net, now);
        if self.is_origin(&own) || self.children[peer].serving.is_some() {
            self.beat_child(peer, net, now);
        }
    }

    /// A neighbour no longer wants the stream.
    pub fn handle_unsubscribe(&mut self, peer: &EdgeId, subscription: u64, revision: u64) {
        if self
            .children
            .get(peer)
            .is_some_and(|child| child.subscription == subscription && child.revision < revision)
        {
            self.remove_child(peer, subscription);
        }
    }

    /// The parent says what is published.
    pub fn handle_source(&mut self, peer: &EdgeId, generation: u8, info: SourceInfo, net: &mut Net, now: Time) {
        let incarnation = info.id.incarnation;
        let Some(upstream) = self.upstreams.get_mut(peer) else {
            return;
        };
        if info.id.room != self.room {
            return net.count_drop(MeshDrop::MessageMalformed);
        }
        upstream.answered = true;
        upstream.generations[usize::from(generation & 15)] = Some(incarnation);
        let early = std::mem::take(&mut upstream.early);
        if incarnation < self.incarnation() {
            return; // an announcement that a takeover has overtaken
        }
        if incarnation > self.incarnation() || self.source.is_none() {
            self.replace_source(Source::new(info, false, now), Some(peer), net, now);
        }
        self.unsettled = true;
        for (flow, bytes) in early {
            if let Some(flow) = Flow::from_id(flow) {
                self.handle_media(peer, flow, &bytes, net, now);
            }
        }
        self.settle(net, now);
    }

    /// A new publication takes the old one's place, here and at the children.
    pub fn replace_source(&mut self, source: Source, via: Option<&EdgeId>, net: &mut Net, now: Time) {
        let before = self.source.replace(source);
        let source = self.source.as_ref().expect("it was just put there");
        if let Some(via) = via {
            net.outputs.push_back(Output::SourceSeen {
                info: Arc::clone(&source.info),
                via: via.clone(),
            });
        }
        if let Some(before) = before.filter(|before| !before.local) {
            net.outputs.push_back(Output::SourceLost {
                source: before.id,
                reason: "superseded",
            });
        }
        // The hop's own part is known before the first heartbeat: a player's buffer shall not begin with a jump.
        if let Some((via, upstream)) = via.and_then(|via| Some((via, self.upstreams.get_mut(via)?))) {
            let rtt = net.peers.get(via).and_then(|peer| peer.hop.recent_rtt());
            if rtt.is_some() && net.config.features.trunk_nack && upstream.repair.said_ms().is_none() {
                upstream.repair.handle_sample(0, rtt, now);
            }
        }
        self.tell_repair_delay(net);
        self.key_frames_wanted.clear();
        self.counter = 0;
        self.local_wanted = false; // a new publication has to be asked for anew
        let children: Vec<EdgeId> = self.children.keys().cloned().collect();
        for child in children {
            self.announce_source(&child, net, now);
        }
        self.unsettled = true;
    }

    /// The publication has ended, by its edge's own word.
    pub fn handle_source_gone(&mut self, incarnation: u64, reason: &'static str, net: &mut Net, now: Time) {
        if self.incarnation() != incarnation {
            return;
        }
        let Some(source) = self.source.take() else { return };
        for (edge, child) in &mut self.children {
            child.cursors.clear();
            let message = Message::SourceGone {
                subscription: child.subscription,
                incarnation,
                reason: reason.to_owned(),
            };
            net.send_message(edge, &message, now);
        }
        if !source.local {
            net.outputs.push_back(Output::SourceLost {
                source: source.id,
                reason,
            });
        }
        for upstream in self.upstreams.values_mut() {
            upstream.beat = None;
            upstream.since = now;
        }
        self.key_frames_wanted.clear();
        self.unsettled = true;
    }

    /// The parent cannot serve us now.
    pub fn handle_refused(&mut self, peer: &EdgeId, now: Time) {
        if let Some(upstream) = self.upstreams.get_mut(peer) {
            upstream.refused = true;
            upstream.sent_at = now;
        }
    }

    /// The source's heartbeat, through one parent.
    pub fn handle_source_heartbeat(&mut self, peer: &EdgeId, beat: SourceHeartbeat, net: &mut Net, now: Time) {
        let Some(upstream) = self.upstreams.get_mut(peer) else {
            return;
        };
        let answered = upstream.answered;
        let upstream_ms = beat.repair_ms;
        let (advanced, changed) = upstream.handle_beat(beat, now);
        if advanced && !upstream.is_looped(&net.own) {
            let rtt = net.peers.get(peer).and_then(|peer| peer.hop.recent_rtt());
            match (net.config.features.trunk_nack, rtt) {
                (false, _) => upstream.repair.handle_sample(upstream_ms, None, now),
                (true, Some(_)) => upstream.repair.handle_sample(upstream_ms, rtt, now),
                (true, None) => {} // the hop's own part is known a round trip after it came up
            }
            self.tell_repair_delay(net);
        }
        if changed || !answered {
            self.settle(net, now);
        }
        if !advanced && !changed {
            return;
        }
        let children: Vec<EdgeId> = self
            .children
            .iter()
            .filter(|(_, child)| child.serving.as_ref() == Some(peer))
            .map(|(edge, _)| edge.clone())
            .collect();
        for child in children {
            self.beat_child(&child, net, now);
        }
    }

    /// The publisher's wallclock, from the parent or from the local session.
    pub fn handle_sender_clock(&mut self, track: u8, clock: SenderClock, net: &mut Net, now: Time) {
        let Some(source) = &mut self.source else { return };
        if usize::from(track) >= source.info.tracks.len() || source.clocks.insert(track, clock) == Some(clock) {
            return;
        }
        if !source.local {
            let id = Arc::clone(&source.id);
            net.outputs.push_back(Output::SenderClock {
                source: id,
                track,
                clock,
            });
        }
        let incarnation = source.id.incarnation;
        for (edge, child) in self
            .children
            .iter()
            .filter(|(_, child)| child.announced == Some(incarnation))
        {
            send_clock(edge, child, track, clock, net, now);
        }
    }

    /// Says all clocks again; datagrams get lost.
    pub fn repeat_clocks(&mut self, net: &mut Net, now: Time) {
        let Some(source) = &self.source else { return };
        for (edge, child) in self.children.iter().filter(|(_, child)| child.wants.media) {
            for (track, clock) in &source.clocks {
                send_clock(edge, child, *track, *clock, net, now);
            }
        }
    }

    /// Says how long a repair takes on the way through the parent when that has changed.
    pub fn tell_repair_delay(&mut self, net: &mut Net) {
        let Some(source) = self.source.as_ref().filter(|source| !source.local) else {
            return;
        };
        let parent = self.active.as_ref().and_then(|active| self.upstreams.get(active));
        let Some(repair_ms) = parent.and_then(|parent| parent.repair.said_ms()) else {
            return;
        };
        let news = Some((source.id.incarnation, repair_ms));
        if self.repair_told != news {
            self.repair_told = news;
            net.outputs.push_back(Output::RepairDelay {
                source: Arc::clone(&source.id),
                repair_ms,
            });
        }
    }

    /// Tells a child that the source lives, and by which way.
    pub fn beat_child(&mut self, edge: &EdgeId, net: &mut Net, now: Time) {
        let origin = self.is_origin(&net.own);
        let incarnation = self.incarnation();
        let Some(child) = self.children.get(edge) else { return };
        let (incarnation, counter, repair_ms) = if origin {
            (incarnation, self.counter, 0)
        } else {
            let upstream = child.serving.as_ref().and_then(|serving| self.upstreams.get(serving));
            let repair_ms = upstream.map_or(0, |upstream| upstream.repair.needed_ms());
            match upstream.and_then(|upstream| upstream.beat.as_ref()) {
                Some(beat) => (beat.incarnation, beat.counter, repair_ms),
                None if self.state == SourceState::Healthy => return,
                None => (incarnation, 0, repair_ms),
            }
        };
        let message = Message::SourceHeartbeat(SourceHeartbeat {
            subscription: child.subscription,
            incarnation,
            counter,
            state: self.state,
            path: self.path_through(child.serving.as_deref(), &net.own),
            repair_ms: repair_ms.into(),
        });
        net.send_control(edge, &message, child.wants.backup && !child.wants.media, now);
        if let Some(child) = self.children.get_mut(edge) {
            child.beat_at = Some(now);
        }
    }

    /// Tells a child what is published; once by stream, and once by datagram so that a lost packet costs nothing.
    fn announce_source(&mut self, edge: &EdgeId, net: &mut Net, now: Time) {
        let Some(source) = &self.source else { return };
        let Some(child) = self.children.get_mut(edge).filter(|child| child.detached.is_none()) else {
            return;
        };
        if child.announced == Some(source.id.incarnation) {
            return;
        }
        if child.announced.is_some() {
            child.generation = (child.generation + 1) & 15;
            child.cursors = BTreeMap::new();
        }
        child.announced = Some(source.id.incarnation);
        let message = Message::Source {
            subscription: child.subscription,
            generation: child.generation,
            info: (*source.info).clone(),
        };
        net.send_message(edge, &message, now);
        net.send_control(edge, &message, false, now);
        for (track, clock) in &source.clocks {
            send_clock(edge, child, *track, *clock, net, now);
        }
    }

    fn refuse_reason(&self, peer: &EdgeId, message: &Subscribe, net: &Net, now: Time) -> Option<&'static str> {
        let own = &net.own;
        if message.route.first().map(String::as_str) != Some(own) || message.room != self.room {
            return Some("not_on_route");
        }
        if self.is_origin(own) {
            return None;
        }
        let fresh_past_peer = self.upstreams.iter().any(|(edge, upstream)| {
            edge != peer
                && upstream.is_fresh(own, self.incarnation(), now)
                && upstream
                    .beat
                    .as_ref()
                    .is_some_and(|beat| !beat.path.iter().any(|hop| **hop == **peer))
        });
        if fresh_past_peer {
            return None;
        }
        if message.via.iter().any(|edge| **edge == **own) || message.route[1..].iter().any(|edge| **edge == **peer) {
            return Some("loop");
        }
        if message.route.len() == 1 {
            return Some("no_source");
        }
        (self.state == SourceState::Orphan && self.source.is_some() && self.active.is_some()).then_some("orphan")
    }

    fn remove_child(&mut self, peer: &EdgeId, subscription: u64) {
        if self
            .children
            .get(peer)
            .is_some_and(|child| child.subscription == subscription)
        {
            self.children.remove(peer);
            self.unsettled = true;
        }
    }
}

fn send_clock(edge: &EdgeId, child: &Child, track: u8, clock: SenderClock, net: &mut Net, now: Time) {
    let flow = Flow {
        subscription: child.subscription,
        generation: child.generation,
        track,
    }
    .id();
    net.send_control(edge, &Message::SenderClock { flow, clock }, false, now);
}
