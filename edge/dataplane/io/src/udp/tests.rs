use super::*;
use std::net::{SocketAddr, UdpSocket};

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

fn receive_one(receiver: &mut Receiver, socket: &MediaSocket) -> (SocketAddr, SocketAddr, Vec<u8>) {
    let mut seen = None;
    while seen.is_none() {
        receiver.receive(socket, |datagram| {
            seen = Some((datagram.source, datagram.destination, datagram.bytes.to_vec()));
        });
        std::thread::yield_now();
    }
    seen.expect("just seen")
}

#[test]
fn a_run_arrives_as_datagrams_and_replies_leave_from_the_address_asked() {
    for (wildcard, client, asked) in [("0.0.0.0:0", "127.0.0.1:0", "127.0.0.2"), ("[::]:0", "[::1]:0", "::1")] {
        let wildcard = wildcard.parse().expect("an address");
        let socket = bind_shards(wildcard, 1).expect("bind").remove(0);
        let client = UdpSocket::bind(client).expect("bind");
        client.send_to(b"hello", (asked, socket.local().port())).expect("send");
        let (source, destination, bytes) = receive_one(&mut Receiver::default(), &socket);
        assert_eq!(
            (source, &bytes[..]),
            (client.local_addr().expect("address"), &b"hello"[..])
        );
        assert_eq!(destination.ip().to_string(), asked);
        let to = Destination::new(source, destination, &socket);
        let bytes: Vec<u8> = (0..2_500_u32).map(|index| index as u8).collect();
        let whole = Run {
            bytes: &bytes,
            segment_len: Some(1_000),
            destination: &to,
        };
        let single = Run {
            bytes: b"end",
            segment_len: None,
            destination: &to,
        };
        assert_eq!(send_runs(&socket, &[whole, single]), (2, SendResult::Sent));
        let mut buffer = [0; 2_000];
        for expected in bytes.chunks(1_000).chain([&b"end"[..]]) {
            let (len, from) = client.recv_from(&mut buffer).expect("receive");
            assert_eq!(from, destination);
            assert_eq!(&buffer[..len], expected);
        }
    }
}

#[test]
fn a_taken_port_is_named_and_shards_share_theirs() {
    let first = bind_shards(loopback(), 2).expect("bind");
    assert_eq!(first[0].local(), first[1].local());
    let error = bind_shards(first[0].local(), 2).expect_err("taken");
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&first[0].local().to_string()), "{error}");
}

#[test]
fn too_large_a_datagram_is_counted_and_not_seen() {
    let socket = bind_shards(loopback(), 1).expect("bind").remove(0);
    let client = UdpSocket::bind(loopback()).expect("bind");
    client.send_to(&[1; 4_000], socket.local()).expect("send");
    let mut receiver = Receiver::default();
    let mut result = (0, 0);
    while result.0 == 0 {
        result = receiver.receive(&socket, |_| panic!("cut datagrams are not handed out"));
    }
    assert_eq!(result, (1, 1));
}

#[test]
fn what_stops_a_batch_is_told_and_the_rest_not_tried() {
    let socket = bind_shards(loopback(), 1).expect("bind").remove(0);
    let client = UdpSocket::bind(loopback()).expect("bind");
    let to = Destination::new(client.local_addr().expect("address"), socket.local(), &socket);
    let run = |bytes, segment_len| Run {
        bytes,
        segment_len,
        destination: &to,
    };
    let huge = vec![0; 65_508];
    let runs = [run(&b"first"[..], None), run(&huge, None), run(b"third", None)];
    assert_eq!(send_runs(&socket, &runs), (1, SendResult::Failed));
    // More segments than the kernel cuts.
    assert_eq!(
        send_runs(&socket, &[run(&huge[..2_000], Some(1))]).1,
        SendResult::SegmentationRefused
    );
}
