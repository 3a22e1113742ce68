//! What QUIC drops without a word, under its name: two edges with a line between them that loses packets, and on which
//! somebody repeats and forges.

use super::*;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use tradewind_core::mesh::QuicDrop;

const LOSES_EVERY: usize = 9;

/// A line that one edge dials to reach another; what went each way is kept.
struct Line {
    near: UdpSocket,
    heard: Arc<Mutex<[Vec<Vec<u8>>; 2]>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Line {
    fn between(dialling: SocketAddr, dialled: SocketAddr) -> Line {
        let near = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let far = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        for socket in [&near, &far] {
            socket
                .set_read_timeout(Some(Duration::from_millis(1)))
                .expect("a time-out");
        }
        let mut line = Line {
            near: near.try_clone().expect("a socket"),
            heard: Arc::default(),
            ended: Arc::default(),
            thread: None,
        };
        let (heard, ended) = (Arc::clone(&line.heard), Arc::clone(&line.ended));
        line.thread = Some(std::thread::spawn(move || {
            let mut buffer = [0; 2_048];
            while !ended.load(Ordering::Relaxed) {
                for (way, from, to, target) in [(0, &near, &far, dialled), (1, &far, &near, dialling)] {
                    while let Ok((len, _)) = from.recv_from(&mut buffer) {
                        let mut heard = heard.lock().expect("no panic");
                        heard[way].push(buffer[..len].to_vec());
                        if heard[way].len() % LOSES_EVERY != 0 {
                            let _ = to.send_to(&buffer[..len], target);
                        }
                    }
                }
            }
        }));
        line
    }

    fn address(&self) -> String {
        self.near.local_addr().expect("bound").to_string()
    }

    /// The newest packet on that way that came through and has a short header.
    fn genuine(&self, way: usize) -> Vec<u8> {
        let heard = self.heard.lock().expect("no panic");
        let mut passed = heard[way]
            .iter()
            .enumerate()
            .filter(|(index, datagram)| (index + 1) % LOSES_EVERY != 0 && datagram[0] & 0xC0 == 0x40);
        passed.next_back().expect("a packet").1.clone()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn assert_counts(edge: &Edge, reason: QuicDrop, mut send: impl FnMut()) {
    let (before, deadline) = (edge.drops(reason.name()), Instant::now() + PATIENCE);
    while edge.drops(reason.name()) == before {
        assert!(Instant::now() < deadline, "{} counts no {}", edge.name, reason.name());
        send();
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn ordinary_loss_has_no_such_name_and_forged_and_late_packets_have() {
    let authority = Authority::new();
    let (mut sg, mut fra) = (Edge::start(&authority, "sg"), Edge::start(&authority, "fra"));
    let (sg_address, fra_address) = (sg.address().parse().expect("one"), fra.address().parse().expect("one"));
    let line = Line::between(fra_address, sg_address);
    for (edge, other, address) in [(&sg, "fra", fra.address()), (&fra, "sg", line.address())] {
        edge.command(TrunkCommand::SetPeers(vec![PeerAddress {
            edge_id: other.into(),
            address,
        }]));
    }
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
    for number in 100..200 {
        sg.send(Handoff::Packet {
            source: handle,
            track: 0,
            packet: packet(number, 1_000),
        });
    }
    let mut seen = 0;
    fra.wait_handoff("a hundred packets", |handoff| {
        seen += usize::from(matches!(handoff, Handoff::Packet { .. }));
        (seen == 100).then_some(())
    });
    for edge in [&sg, &fra] {
        for reason in QuicDrop::ALL {
            // Where packets are lost, a handshake's last ones may come again after its end.
            if reason != QuicDrop::HandshakeOver {
                assert_eq!(edge.drops(reason.name()), 0, "{}: {}", edge.name, reason.name());
            }
        }
    }

    let stranger = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let (to_sg, to_fra) = (line.genuine(0), line.genuine(1));
    let forged = |genuine: &[u8]| {
        let mut forged = genuine.to_vec();
        *forged.last_mut().expect("a tag") ^= 1;
        forged
    };
    let handshake = |genuine: &[u8]| [&[0xE0, 0, 0, 0, 1, 8], &genuine[1..9], &[0; 60]].concat();
    let send = |from: &UdpSocket, datagram: &[u8], to: SocketAddr| {
        from.send_to(datagram, to).expect("sent");
    };
    for datagram in [to_fra.clone(), forged(&to_fra), handshake(&to_fra)] {
        assert_counts(&fra, QuicDrop::WrongAddress, || send(&stranger, &datagram, fra_address));
    }
    for (edge, from, to, genuine) in [
        (&fra, &line.near, fra_address, &to_fra),
        (&sg, &stranger, sg_address, &to_sg),
    ] {
        assert_counts(edge, QuicDrop::Replayed, || send(from, genuine, to));
        assert_counts(edge, QuicDrop::AuthenticationFailed, || {
            send(from, &forged(genuine), to)
        });
        assert_counts(edge, QuicDrop::HandshakeOver, || send(from, &handshake(genuine), to));
        assert_eq!(edge.drops(QuicDrop::ConnectionEnded.name()), 0);
    }
    drop(fra);
    assert_counts(&sg, QuicDrop::ConnectionEnded, || send(&stranger, &to_sg, sg_address));
}
