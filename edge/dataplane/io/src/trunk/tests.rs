//! Two and three edges in one process, over real sockets on loopback.

use super::*;
use crate::clock::Clock;
use crate::counters::{WorkerCounters, drop_names};
use crate::events::{Event, EventKind, EventReceiver, event_queue};
use crate::handoff::{Handoff, Mailbox, SourceHandle, connect};
use crate::link::{PeerAddress, TrunkCommand, TrunkReport};
use bytes::Bytes;
use crossbeam_channel::{Sender, bounded};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Instant;
use tradewind_core::packet::{MediaExtensions, MediaPacket, Ssrc};
use tradewind_core::route::StreamRoute;
use tradewind_core::source::{Codec, SenderClock, SourceId, SourceInfo, TrackInfo};

mod names;

const PATIENCE: Duration = Duration::from_secs(10);

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Authority {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    fn config(&self, edge: &str) -> TrunkConfig {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![edge.to_owned()]).expect("a name");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        TrunkConfig {
            edge_id: edge.to_owned(),
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            certificate_pem: certificate.pem().into_bytes(),
            key_pem: key.serialize_pem().into_bytes(),
            ca_pem: self.pem.clone().into_bytes(),
            window_bytes: 4_000_000,
            clock_offset_ms: 0.0,
            disabled_features: Vec::new(),
        }
    }
}

/// An edge whose only shard is the test.
struct Edge {
    name: String,
    shard: Mailbox,
    commands: Sender<TrunkCommand>,
    events: EventReceiver,
    counters: Arc<WorkerCounters>,
    trunk_wake: Arc<crate::event_fd::EventFd>,
    handle: Option<TrunkHandle>,
}

impl Edge {
    fn start(authority: &Authority, name: &str) -> Edge {
        let mut mailboxes = connect(2).expect("eventfds");
        let mailbox = mailboxes.pop().expect("two");
        let shard = mailboxes.pop().expect("two");
        let (commands, received) = bounded(64);
        let (sender, events) = event_queue().expect("an eventfd");
        let counters = Arc::new(WorkerCounters::default());
        let trunk_wake = mailbox.waker();
        let link = TrunkLink {
            mailbox,
            commands: received,
            events: sender,
            counters: Arc::clone(&counters),
            report: Arc::new(Mutex::new(TrunkReport::default())),
            clock: Clock::start(),
        };
        let handle = spawn(authority.config(name), link).expect("a trunk");
        Edge {
            name: name.to_owned(),
            shard,
            commands,
            events,
            counters,
            trunk_wake,
            handle: Some(handle),
        }
    }

    fn address(&self) -> String {
        self.handle.as_ref().expect("it runs").local_address.to_string()
    }

    fn command(&self, command: TrunkCommand) {
        self.commands.send(command).expect("the trunk listens");
        self.trunk_wake.wake();
    }

    fn set_routes(&self, routes: Vec<StreamRoute>) {
        let (reply, answer) = bounded(1);
        self.command(TrunkCommand::SetRoutes(routes, reply));
        answer
            .recv_timeout(PATIENCE)
            .expect("an answer")
            .expect("the routes are good");
    }

    fn send(&mut self, handoff: Handoff) {
        self.shard.send_notice(1, handoff).expect("the ring has room");
        self.shard.flush();
    }

    fn wait_handoff<T>(&mut self, what: &str, mut wanted: impl FnMut(Handoff) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            while let Some((_, handoff)) = self.shard.receive() {
                if let Some(found) = wanted(handoff) {
                    return found;
                }
            }
            std::thread::yield_now();
        }
        panic!("{} waits for {what} in vain", self.name);
    }

    fn wait_event(&self, kind: EventKind) -> Event {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(event) = self.events.poll(1).pop().filter(|event| event.kind == kind) {
                return event;
            }
            std::thread::yield_now();
        }
        panic!("{} waits for {kind:?} in vain", self.name);
    }

    fn drops(&self, name: &str) -> u64 {
        let index = drop_names()
            .iter()
            .position(|known| *known == name)
            .expect("a known reason");
        self.counters.drops().nth(index).expect("one counter per name")
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.command(TrunkCommand::Stop);
        if let Some(handle) = self.handle.take() {
            let _ = handle.thread.join();
        }
    }
}

fn introduce(edges: &[&Edge]) {
    for edge in edges {
        let others = edges.iter().filter(|other| other.name != edge.name);
        let peers = others.map(|other| PeerAddress {
            edge_id: other.name.clone(),
            address: other.address(),
        });
        edge.command(TrunkCommand::SetPeers(peers.collect()));
    }
}

fn route(path: &[&str]) -> Vec<StreamRoute> {
    vec![StreamRoute {
        room: "demo".into(),
        incarnation: 1,
        source_edge: (*path.last().expect("a path")).to_owned(),
        primary: path.iter().map(|edge| (*edge).to_owned()).collect(),
        backup: Vec::new(),
        reason: "test".into(),
    }]
}

fn source(origin: &str) -> Arc<SourceInfo> {
    let video = TrackInfo {
        codec: Codec::Vp8,
        fmtp: String::new(),
        ssrc: Some(Ssrc(7)),
    };
    let id = SourceId {
        room: "demo".into(),
        incarnation: 1,
    };
    Arc::new(SourceInfo {
        id,
        origin_edge: origin.to_owned(),
        tracks: vec![video],
    })
}

fn packet(number: u64, bytes: usize) -> Arc<MediaPacket> {
    Arc::new(MediaPacket {
        received_at: tradewind_core::time::Time::from_millis(number),
        ssrc: Ssrc(7),
        extended_sequence_number: number,
        timestamp: 3_000 * number as u32,
        marker: true,
        payload_type: 96,
        key_frame_start: number == 100,
        extensions: MediaExtensions::default(),
        payload: Bytes::from(vec![number as u8; bytes]),
    })
}

#[test]
fn a_stream_a_clock_a_key_frame_request_and_a_room_message_cross_two_edges() {
    let authority = Authority::new();
    let (mut sg, mut fra) = (Edge::start(&authority, "sg"), Edge::start(&authority, "fra"));
    introduce(&[&sg, &fra]);
    fra.set_routes(route(&["fra", "sg"]));
    let handle = SourceHandle::next();
    sg.send(Handoff::SourceUp {
        handle,
        info: source("sg"),
    });
    fra.send(Handoff::Interest {
        room: "demo".into(),
        wanted: true,
    });
    sg.wait_handoff("interest", |handoff| {
        matches!(handoff, Handoff::Interest { wanted: true, .. }).then_some(())
    });
    let remote = fra.wait_handoff("the source", |handoff| match handoff {
        Handoff::SourceUp { handle, info } => Some((handle, info)),
        _ => None,
    });
    assert_eq!(remote.1, source("sg"));
    fra.wait_handoff("the repair delay", |handoff| match handoff {
        Handoff::RepairDelay { source, repair_ms } => (source == remote.0 && repair_ms >= 50).then_some(()),
        _ => None,
    });
    // 1,188 bytes is what a publisher's packet of 1,200 holds; 1,400 is too much for a datagram.
    for (number, bytes) in [(100, 1_188), (101, 1_188), (102, 1_400), (103, 10)] {
        sg.send(Handoff::Packet {
            source: handle,
            track: 0,
            packet: packet(number, bytes),
        });
    }
    let clock = SenderClock { ntp: 5 << 32, rtp: 9 };
    sg.send(Handoff::SenderClock {
        source: handle,
        track: 0,
        clock,
    });
    let (mut seen, mut clocks) = (Vec::new(), 0);
    fra.wait_handoff("four packets and a clock", |handoff| {
        match handoff {
            Handoff::Packet { source, packet, .. } if source == remote.0 => {
                seen.push((
                    packet.extended_sequence_number as u16,
                    packet.payload.len(),
                    packet.key_frame_start,
                ));
            }
            Handoff::SenderClock { clock: heard, .. } if heard == clock => clocks += 1,
            _ => {}
        }
        (seen.len() == 4 && clocks > 0).then_some(())
    });
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            (100, 1_188, true),
            (101, 1_188, false),
            (102, 1_400, false),
            (103, 10, false)
        ]
    );
    fra.send(Handoff::KeyFrameRequest {
        source: remote.0,
        track: 0,
    });
    sg.wait_handoff("a key frame request", |handoff| match handoff {
        Handoff::KeyFrameRequest { source, track: 0 } => (source == handle).then_some(()),
        _ => None,
    });
    let (room, peer, payload) = ("demo".to_owned(), "sg".to_owned(), b"hello".to_vec());
    fra.command(TrunkCommand::SendRoomMessage { room, peer, payload });
    let message = sg.wait_event(EventKind::RoomMessage);
    assert_eq!(
        (message.room.as_str(), message.peer.as_deref(), &*message.payload),
        ("demo", Some("fra"), &b"hello"[..])
    );
}

#[test]
fn both_sides_dial_and_one_trunk_is_left() {
    let authority = Authority::new();
    let (mut sg, mut fra) = (Edge::start(&authority, "sg"), Edge::start(&authority, "fra"));
    introduce(&[&sg, &fra]);
    // Each has a route through the other, so both dial at once.
    fra.set_routes(route(&["fra", "sg"]));
    sg.set_routes(route(&["sg", "fra"]));
    let handle = SourceHandle::next();
    fra.send(Handoff::SourceUp {
        handle,
        info: source("fra"),
    });
    sg.send(Handoff::Interest {
        room: "demo".into(),
        wanted: true,
    });
    sg.wait_handoff("the source", |handoff| {
        matches!(handoff, Handoff::SourceUp { .. }).then_some(())
    });
    for number in 100..150 {
        fra.send(Handoff::Packet {
            source: handle,
            track: 0,
            packet: packet(number, 100),
        });
    }
    let mut seen = Vec::new();
    sg.wait_handoff("fifty packets", |handoff| {
        if let Handoff::Packet { packet, .. } = handoff {
            seen.push(packet.extended_sequence_number as u16);
        }
        (seen.len() == 50).then_some(())
    });
    assert_eq!(fra.drops("trunk_duplicate") + sg.drops("trunk_duplicate"), 0);
}

#[test]
fn strangers_are_refused_and_counted() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (sg, stranger) = (Edge::start(&authority, "sg"), Edge::start(&other, "fra"));
    introduce(&[&sg, &stranger]);
    stranger.set_routes(route(&["fra", "sg"]));
    let deadline = Instant::now() + PATIENCE;
    while sg.drops("trunk_handshake_failed") == 0 {
        assert!(Instant::now() < deadline, "the handshake should fail");
        std::thread::yield_now();
    }
    // A certificate of the fleet, but of nobody this edge was told of.
    let unknown = Edge::start(&authority, "iad");
    let address = sg.address();
    unknown.command(TrunkCommand::SetPeers(vec![PeerAddress {
        edge_id: "sg".into(),
        address,
    }]));
    unknown.set_routes(route(&["iad", "sg"]));
    while sg.drops("trunk_peer_unknown") == 0 {
        assert!(Instant::now() < deadline, "the neighbour should be unknown");
        std::thread::yield_now();
    }
}
