//! What happens in the world, one event after the other.

use super::*;

#[derive(Debug)]
pub(super) enum Input {
    Datagram {
        from: String,
        to: String,
        bytes: Bytes,
        connection: u64,
    },
    Message {
        from: String,
        to: String,
        bytes: Vec<u8>,
        connection: u64,
    },
    PeerUp {
        a: String,
        b: String,
        connection: u64,
    },
    PeerDown {
        at: String,
        peer: String,
        connection: u64,
    },
    Dial {
        from: String,
        to: String,
    },
    Frame {
        origin: String,
        incarnation: u64,
    },
    Audio {
        origin: String,
        incarnation: u64,
    },
    Tick {
        node: String,
        life: u64,
    },
}

pub(super) struct Event {
    pub(super) at: Time,
    order: u64,
    pub(super) input: Input,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Event {}
impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl World {
    pub(super) fn push(&mut self, at: Time, input: Input) {
        self.order += 1;
        self.events.push(Reverse(Event {
            at,
            order: self.order,
            input,
        }));
    }

    pub(super) fn alive(&self, name: &str) -> bool {
        self.nodes[name].node.is_some()
    }

    pub(super) fn handle(&mut self, input: Input) {
        match input {
            Input::Datagram {
                from,
                to,
                bytes,
                connection,
            } => {
                if self.is_current(&from, &to, connection) && self.alive(&to) {
                    self.with(&to, |node, now| node.handle_datagram(&from, &bytes, now));
                }
            }
            Input::Message {
                from,
                to,
                bytes,
                connection,
            } => {
                if self.is_current(&from, &to, connection) && self.alive(&to) {
                    self.with(&to, |node, now| node.handle_stream_message(&from, &bytes, now));
                }
            }
            Input::PeerUp { a, b, connection } => self.connected(a, b, connection),
            Input::PeerDown { at, peer, connection } => {
                let pair = pair(&at, &peer);
                if self.connections.get(&pair).is_some_and(|known| *known != connection) {
                    return; // a newer connection took its place
                }
                self.connections.remove(&pair);
                if self.alive(&at) {
                    self.with(&at, |node, now| node.handle_peer_down(&peer, now));
                    if self.nodes[&at].dials.contains(&peer) {
                        self.push(self.now + REDIAL, Input::Dial { from: at, to: peer });
                    }
                }
            }
            Input::Dial { from, to } => self.dial(from, to),
            Input::Frame { origin, incarnation } => self.frame(origin, incarnation),
            Input::Audio { origin, incarnation } => self.audio(origin, incarnation),
            Input::Tick { node, life } => {
                let entry = self.nodes.get_mut(&node).expect("a known edge");
                if entry.life == life && entry.node.is_some() {
                    entry.tick_at = None;
                    self.with(&node, |node, now| node.handle_timeout(now));
                }
            }
        }
    }

    fn is_current(&self, from: &str, to: &str, connection: u64) -> bool {
        self.connections.get(&pair(from, to)) == Some(&connection)
    }

    fn dial(&mut self, from: String, to: String) {
        if !self.alive(&from)
            || !self.nodes[&from].dials.contains(&to)
            || self.connections.contains_key(&pair(&from, &to))
        {
            return;
        }
        let there = self
            .links
            .get(&(from.clone(), to.clone()))
            .map(|link| (link.delay, link.blackout));
        match there {
            Some((delay, false)) if self.alive(&to) => {
                // A handshake is one and a half round trips until both may send.
                let connection = self.next_connection;
                self.next_connection += 1;
                self.push(
                    self.now + delay * 3,
                    Input::PeerUp {
                        a: from,
                        b: to,
                        connection,
                    },
                );
            }
            Some(_) => self.push(self.now + REDIAL, Input::Dial { from, to }),
            None => {}
        }
    }

    fn connected(&mut self, a: String, b: String, connection: u64) {
        if self.connections.contains_key(&pair(&a, &b)) || !self.alive(&a) || !self.alive(&b) {
            return;
        }
        self.connections.insert(pair(&a, &b), connection);
        self.with(&a, |node, now| node.handle_peer_up(&b, None, now));
        self.with(&b, |node, now| node.handle_peer_up(&a, None, now));
    }

    fn frame(&mut self, origin: String, incarnation: u64) {
        let host = self.hosts.get_mut(&(origin.clone(), incarnation)).expect("a host");
        if host.stopped || self.nodes[&origin].node.is_none() {
            return;
        }
        let key = host.frames.is_multiple_of(GROUP_FRAMES);
        let count = if key { KEY_FRAME_PACKETS } else { FRAME_PACKETS };
        let timestamp = (host.frames * 3_000) as u32;
        host.frames += 1;
        if key {
            host.kept.clear();
        }
        for index in 0..count {
            self.emit(
                &origin,
                incarnation,
                VIDEO,
                timestamp,
                index + 1 == count,
                key && index == 0,
                1_100,
            );
        }
        self.push(self.now + FRAME, Input::Frame { origin, incarnation });
    }

    fn audio(&mut self, origin: String, incarnation: u64) {
        let host = &self.hosts[&(origin.clone(), incarnation)];
        if host.stopped || self.nodes[&origin].node.is_none() {
            return;
        }
        let timestamp = (host.number[usize::from(AUDIO)] * 960) as u32;
        self.emit(&origin, incarnation, AUDIO, timestamp, false, false, 120);
        self.push(self.now + AUDIO_INTERVAL, Input::Audio { origin, incarnation });
    }

    #[allow(clippy::too_many_arguments)] // a packet has that many fields
    fn emit(
        &mut self,
        origin: &str,
        incarnation: u64,
        track: u8,
        timestamp: u32,
        marker: bool,
        key: bool,
        bytes: usize,
    ) {
        let host = self.hosts.get_mut(&(origin.to_owned(), incarnation)).expect("a host");
        let number = host.number[usize::from(track)];
        host.number[usize::from(track)] += 1;
        host.sent_at.insert((track, number as u16), self.now);
        let packet = Arc::new(MediaPacket {
            received_at: self.now,
            ssrc: host.info.tracks[usize::from(track)].ssrc.expect("announced"),
            extended_sequence_number: number,
            timestamp,
            marker,
            payload_type: 96 + track,
            key_frame_start: key,
            extensions: MediaExtensions::default(),
            payload: Bytes::from(vec![number as u8; bytes]),
        });
        host.kept.push((track, Arc::clone(&packet)));
        let id = host.info.id.clone();
        if host.wanted {
            self.with(origin, |node, now| node.handle_local_packet(&id, track, packet, now));
        }
    }

    pub(super) fn drain(&mut self, name: &str) {
        while let Some(output) = self
            .nodes
            .get_mut(name)
            .and_then(|node| node.node.as_mut()?.poll_output())
        {
            self.carry_out(name, output);
        }
        let entry = self.nodes.get_mut(name).expect("a known edge");
        let Some(at) = entry.node.as_ref().and_then(TrunkNode::poll_timeout) else {
            return;
        };
        let at = at.max(self.now);
        if entry.tick_at.is_none_or(|pending| at < pending) {
            entry.tick_at = Some(at);
            let life = entry.life;
            self.push(
                at,
                Input::Tick {
                    node: name.to_owned(),
                    life,
                },
            );
        }
    }

    fn carry_out(&mut self, name: &str, output: Output) {
        let now = self.now;
        match output {
            Output::Datagram { peer, bytes, .. } => self.send_datagram(name, &peer, bytes),
            Output::StreamMessage { peer, bytes, .. } => self.send_message(name, &peer, bytes),
            Output::Connect { peer } => {
                self.entry(name).dials.insert(peer.to_string());
                self.push(
                    now,
                    Input::Dial {
                        from: name.to_owned(),
                        to: peer.to_string(),
                    },
                );
            }
            Output::Disconnect { peer } => {
                self.entry(name).dials.remove(&*peer);
            }
            Output::Packet { source, track, packet } => self.entry(name).arrivals.push(Arrival {
                at: now,
                incarnation: source.incarnation,
                track,
                number: packet.extended_sequence_number as u16,
                timestamp: packet.timestamp,
                key_frame_start: packet.key_frame_start,
            }),
            Output::SourceSeen { info, .. } => self.entry(name).sources.push(info.id.incarnation),
            Output::SourceLost { reason, .. } => self.entry(name).lost.push(reason),
            Output::KeyFrameRequest { .. } => self.entry(name).key_frames_asked += 1,
            Output::RoomMessage { peer, payload, .. } => {
                self.entry(name).room_messages.push((peer.to_string(), payload));
            }
            Output::TreeChanged {
                incarnation,
                parent,
                children,
                ..
            } => {
                let children = children.iter().map(ToString::to_string).collect();
                self.entry(name).tree = (incarnation, parent.map(|edge| edge.to_string()), children);
            }
            Output::Failover {
                phase, parent, reason, ..
            } => {
                self.entry(name)
                    .failovers
                    .push((now, phase, parent.to_string(), reason));
            }
            Output::LocalInterest { wanted, .. } => self.local_interest(name, wanted),
            Output::RepairDelay { repair_ms, .. } => self.entry(name).repair_delays.push((now, repair_ms)),
            Output::SenderClock { .. } => {}
        }
    }

    /// As a shard does: the packets from the latest key frame on, then live.
    fn local_interest(&mut self, origin: &str, wanted: bool) {
        let hosts = self
            .hosts
            .iter_mut()
            .filter(|((edge, _), host)| edge == origin && !host.stopped);
        let Some((_, host)) = hosts.max_by_key(|((_, incarnation), _)| *incarnation) else {
            return;
        };
        host.wanted = wanted;
        let (id, kept) = (host.info.id.clone(), host.kept.clone());
        if wanted {
            let now = self.now;
            let node = self
                .nodes
                .get_mut(origin)
                .and_then(|node| node.node.as_mut())
                .expect("it just spoke");
            kept.into_iter()
                .for_each(|(track, packet)| node.handle_local_packet(&id, track, packet, now));
        }
    }

    fn send_datagram(&mut self, from: &str, to: &str, bytes: Vec<u8>) {
        let Some(&connection) = self.connections.get(&pair(from, to)) else {
            return;
        };
        let Some(link) = self.links.get_mut(&(from.to_owned(), to.to_owned())) else {
            return;
        };
        if let Some(delay) = link.carry(&mut self.random) {
            let (from, to) = (from.to_owned(), to.to_owned());
            self.push(
                self.now + delay,
                Input::Datagram {
                    from,
                    to,
                    bytes: Bytes::from(bytes),
                    connection,
                },
            );
        }
    }

    /// Reliable and in order: each loss costs a round trip and an acknowledgement delay, a blackout the time it lasts.
    fn send_message(&mut self, from: &str, to: &str, bytes: Vec<u8>) {
        let Some(&connection) = self.connections.get(&pair(from, to)) else {
            return;
        };
        let key = (from.to_owned(), to.to_owned());
        let Some(link) = self.links.get_mut(&key) else { return };
        if link.blackout {
            // Tried again by whoever wants it; the blackout's end is not known here.
            let delay = link.delay * 6;
            let at = self.now + delay;
            return self.push(
                at,
                Input::Message {
                    from: key.0,
                    to: key.1,
                    bytes,
                    connection,
                },
            );
        }
        let mut wait = Duration::ZERO;
        let delay = loop {
            match link.carry(&mut self.random) {
                Some(delay) => break delay,
                None => wait += link.delay * 2 + Duration::from_millis(25),
            }
        };
        let clear = self.stream_clear_at.get(&key).copied().unwrap_or(self.now);
        let at = (self.now + wait + delay).max(clear);
        self.stream_clear_at.insert(key.clone(), at);
        self.push(
            at,
            Input::Message {
                from: key.0,
                to: key.1,
                bytes,
                connection,
            },
        );
    }

    pub(super) fn entry(&mut self, name: &str) -> &mut Node {
        self.nodes.get_mut(name).expect("a known edge")
    }
}
