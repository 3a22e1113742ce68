//! A node's neighbours and what waits to be sent to them.

use crate::mesh::hop::Hop;
use crate::mesh::output::{EdgeId, MeshDrop, NodeConfig, Output, Priority};
use crate::mesh::varint::put_varint;
use crate::mesh::wire::{CONTROL_FLOW, Message};
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Heartbeats to a neighbour with which streams are shared; silence is judged against this.
pub const HEARTBEAT: Duration = Duration::from_millis(100);
/// Heartbeats to a neighbour that is only kept connected.
pub const HEARTBEAT_IDLE: Duration = Duration::from_millis(500);
/// A connection nobody needs is kept this long, or every second viewer would pay for a handshake.
const KEEP_CONNECTED: Duration = Duration::from_secs(30);

/// One neighbour.
#[derive(Debug)]
pub struct Peer {
    /// Whether its trunk is up.
    pub up: bool,
    /// The hop to it.
    pub hop: Hop,
    /// Our subscriptions there, by our number: the room.
    pub subscribed: BTreeMap<u64, String>,
    /// Its subscriptions here, by its number: the room.
    pub subscribers: BTreeMap<u64, String>,
    next_subscription: u64,
    heartbeat_at: Time,
    wanted: bool,
    unwanted_since: Option<Time>,
}

/// All neighbours, the outputs, and the counters.
#[derive(Debug)]
pub struct Net {
    /// How the node started.
    pub config: NodeConfig,
    /// This edge.
    pub own: EdgeId,
    /// Who may be a neighbour.
    pub known: BTreeSet<String>,
    /// Who has been wanted or connected.
    pub peers: BTreeMap<EdgeId, Peer>,
    /// What the rim has to do.
    pub outputs: VecDeque<Output>,
    drops: [u64; MeshDrop::ALL.len()],
}

impl Net {
    pub fn new(config: NodeConfig) -> Self {
        Net {
            own: EdgeId::from(config.edge_id.as_str()),
            config,
            known: BTreeSet::new(),
            peers: BTreeMap::new(),
            outputs: VecDeque::new(),
            drops: [0; MeshDrop::ALL.len()],
        }
    }

    pub fn count_drop(&mut self, reason: MeshDrop) {
        self.drops[reason as usize] += 1;
    }

    pub fn drops(&self) -> impl Iterator<Item = (MeshDrop, u64)> + '_ {
        MeshDrop::ALL
            .into_iter()
            .map(|reason| (reason, self.drops[reason as usize]))
    }

    /// The clock that neighbours see.
    pub fn clock_us(&self, now: Time) -> u64 {
        self.config.clock_base_us + now.as_micros()
    }

    pub fn is_up(&self, peer: &str) -> bool {
        self.peers.get(peer).is_some_and(|peer| peer.up)
    }

    /// The neighbour's entry, made when it is a known edge.
    pub fn entry(&mut self, peer: &str, now: Time) -> Option<&mut Peer> {
        if !self.known.contains(peer) {
            return None;
        }
        Some(self.peers.entry(EdgeId::from(peer)).or_insert_with(|| Peer {
            up: false,
            hop: Hop::new(now),
            subscribed: BTreeMap::new(),
            subscribers: BTreeMap::new(),
            next_subscription: 1,
            heartbeat_at: now,
            wanted: false,
            unwanted_since: None,
        }))
    }

    /// Has a connection made when there is none.
    pub fn want(&mut self, peer: &str, now: Time) {
        let Some(entry) = self.entry(peer, now) else { return };
        entry.unwanted_since = None;
        if !std::mem::replace(&mut entry.wanted, true) {
            self.outputs.push_back(Output::Connect {
                peer: EdgeId::from(peer),
            });
        }
    }

    /// Lets go of connections that neither `wanted` nor any subscription needs.
    pub fn release_unwanted(&mut self, wanted: &BTreeSet<&str>, now: Time) {
        for (edge, peer) in &mut self.peers {
            let needed = wanted.contains(&**edge) || !peer.subscribed.is_empty() || !peer.subscribers.is_empty();
            if needed || !peer.wanted {
                peer.unwanted_since = None;
                continue;
            }
            if now - *peer.unwanted_since.get_or_insert(now) >= KEEP_CONNECTED {
                peer.wanted = false;
                peer.unwanted_since = None;
                self.outputs.push_back(Output::Disconnect { peer: edge.clone() });
            }
        }
    }

    /// A number for a new subscription at `peer`.
    pub fn open_subscription(&mut self, peer: &str, room: &str, now: Time) -> Option<u64> {
        let entry = self.entry(peer, now)?;
        let subscription = entry.next_subscription;
        entry.next_subscription += 1;
        entry.subscribed.insert(subscription, room.to_owned());
        Some(subscription)
    }

    pub fn close_subscription(&mut self, peer: &str, subscription: u64) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.subscribed.remove(&subscription);
        }
    }

    /// Sends a message on the reliable stream; nothing when the trunk is down, as the rest is said anew when it is up.
    pub fn send_message(&mut self, peer: &str, message: &Message, now: Time) {
        let bytes = message.to_bytes();
        let room_message = matches!(message, Message::RoomMessage { .. });
        let Some((edge, entry)) = self.peers.get_key_value(peer).filter(|(_, entry)| entry.up) else {
            return;
        };
        let edge = edge.clone();
        let _ = entry;
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.hop.handle_sent(bytes.len(), now);
        }
        self.outputs.push_back(Output::StreamMessage {
            peer: edge,
            bytes,
            room_message,
        });
    }

    /// Sends a message in a datagram. `backup` counts it as what keeps a backup warm.
    pub fn send_control(&mut self, peer: &str, message: &Message, backup: bool, now: Time) {
        let mut bytes = Vec::with_capacity(64);
        put_varint(&mut bytes, CONTROL_FLOW);
        message.encode(&mut bytes);
        let length = bytes.len() as u64;
        if let Some(hop) = self.send_datagram(peer, Priority::Control, bytes, now)
            && backup
        {
            hop.backup_bytes_sent += length;
        }
    }

    /// Sends a datagram; `None` when the trunk is down.
    pub fn send_datagram(&mut self, peer: &str, priority: Priority, bytes: Vec<u8>, now: Time) -> Option<&mut Hop> {
        let edge = self.peers.get_key_value(peer).filter(|(_, entry)| entry.up)?.0.clone();
        self.peers.get_mut(peer)?.hop.handle_sent(bytes.len(), now);
        self.outputs.push_back(Output::Datagram {
            peer: edge,
            priority,
            bytes,
        });
        self.peers.get_mut(peer).map(|entry| &mut entry.hop)
    }

    /// Judges every hop and sends the heartbeats that are due.
    pub fn handle_tick(&mut self, now: Time) {
        let clock_us = self.clock_us(now);
        let mut due = Vec::new();
        for (edge, peer) in &mut self.peers {
            peer.hop.handle_tick(now);
            if peer.up && now >= peer.heartbeat_at {
                let idle = peer.subscribed.is_empty() && peer.subscribers.is_empty();
                peer.heartbeat_at = now + if idle { HEARTBEAT_IDLE } else { HEARTBEAT };
                due.push((edge.clone(), peer.hop.make_heartbeat(clock_us, now)));
            }
        }
        for (edge, beat) in due {
            self.send_control(&edge, &Message::Heartbeat(beat), false, now);
        }
    }

    /// Has the next heartbeat sent at once: a first echo, or a trunk that is no longer idle.
    pub fn hurry_heartbeat(&mut self, peer: &str, now: Time) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.heartbeat_at = now;
        }
    }
}
