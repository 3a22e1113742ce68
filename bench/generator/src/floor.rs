//! The floor under any relay's cost: the same bytes, only sealed and sent, one GSO run per viewer and frame.

use crate::media::{PacketShape, append_payload};
use crate::srtp::{Keys, TAG_BYTES};
use crate::{cpu_seconds, say};
use serde::Deserialize;
use serde_json::json;
use std::io::{Error, Result};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// What to do; one JSON object on the command line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FloorPlan {
    /// Where the sinks listen.
    destinations: Vec<SocketAddr>,
    seconds: f64,
    packets_per_frame: usize,
    payload_bytes: usize,
    seed: u64,
}

/// Seals and sends at full speed; prints packets and the CPU they took.
pub fn run(plan: &FloorPlan) -> Result<()> {
    let bind = if plan.destinations.iter().any(SocketAddr::is_ipv6) {
        "[::]:0"
    } else {
        "0.0.0.0:0"
    };
    let socket = UdpSocket::bind(bind)?;
    set_send_buffer(&socket)?;
    let keys = Keys::new(&[1; 16], &[2; 12]);
    let templates: Vec<Vec<u8>> = (0..plan.packets_per_frame)
        .map(|index| {
            let mut packet = vec![0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
            let shape = PacketShape {
                number: index as u64,
                first: index == 0,
                key_frame: false,
                picture: 0,
            };
            append_payload(&mut packet, &shape, plan.seed, plan.payload_bytes);
            packet
        })
        .collect();
    let segment = templates[0].len() + TAG_BYTES;
    socket_gso(&socket, segment)?;
    let mut run = Vec::with_capacity(segment * plan.packets_per_frame);
    let mut packet = Vec::with_capacity(segment);
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let (mut sent, mut refused, mut sequence_number) = (0u64, 0u64, 0u64);
    while started.elapsed() < Duration::from_secs_f64(plan.seconds) {
        for destination in &plan.destinations {
            run.clear();
            for (index, template) in templates.iter().enumerate() {
                packet.clear();
                packet.extend_from_slice(template);
                let number = sequence_number + index as u64;
                packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
                keys.seal_rtp(&mut packet, 12, 1, number);
                run.extend_from_slice(&packet);
            }
            match socket.send_to(&run, destination) {
                Ok(_) => sent += plan.packets_per_frame as u64,
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::ConnectionRefused
                    ) =>
                {
                    refused += 1
                }
                Err(error) => return Err(error),
            }
        }
        sequence_number += plan.packets_per_frame as u64;
    }
    let busy = cpu_seconds() - cpu;
    say(&json!({
        "event": "floor",
        "packets": sent,
        "refused_runs": refused,
        "seconds": started.elapsed().as_secs_f64(),
        "cpu_seconds": busy,
        "pps_per_busy_core": sent as f64 / busy,
        "datagram_bytes": segment,
    }));
    Ok(())
}

/// As much room as an edge's sockets have. With the kernel's 208 KiB, 18 runs, the loop slept until the receiving core had
/// caught up, and paid for each wake-up: 270,000 to 460,000 packets/s where it reaches 600,000 and more.
fn set_send_buffer(socket: &UdpSocket) -> Result<()> {
    const BYTES: libc::c_int = 4 << 20;
    // SAFETY: the option's value is an int that lives through the call.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_SNDBUF,
            std::ptr::from_ref(&BYTES).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if outcome == 0 {
        Ok(())
    } else {
        Err(Error::last_os_error())
    }
}

fn socket_gso(socket: &UdpSocket, segment_bytes: usize) -> Result<()> {
    let size = segment_bytes as libc::c_int;
    // SAFETY: the option's value is an int that lives through the call.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            std::ptr::from_ref(&size).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if outcome == 0 {
        Ok(())
    } else {
        Err(Error::last_os_error())
    }
}

/// Opens `count` sockets on `ip`, prints their addresses, and counts what reaches them until standard input ends.
///
/// Nothing is read. At the loop's full speed a reader never keeps up: it takes the receiving core whole, and its cache lines from
/// the sender, so that the floor came out 10 to 60 % lower from one round to the next. Packets still cross the kernel to a socket.
pub fn sink(ip: &str, count: usize) -> Result<()> {
    let sockets: Vec<UdpSocket> = (0..count).map(|_| UdpSocket::bind((ip, 0))).collect::<Result<_>>()?;
    let addresses: Vec<String> = sockets
        .iter()
        .map(|socket| socket.local_addr().map(|address| address.to_string()))
        .collect::<Result<_>>()?;
    let before = arrived_datagrams()?;
    say(&json!({"event": "sink", "destinations": addresses}));
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    say(&json!({"event": "sunk", "received": arrived_datagrams()? - before}));
    Ok(())
}

/// UDP datagrams that have reached a socket of this network namespace, taken or dropped because it was full (RFC 4113's
/// counters, as Linux shows them).
fn arrived_datagrams() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/net/snmp")?;
    let mut lines = text
        .lines()
        .filter(|line| line.starts_with("Udp:"))
        .map(str::split_whitespace);
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
        return Err(Error::other("/proc/self/net/snmp has no UDP counters"));
    };
    Ok(names
        .zip(values)
        .filter(|(name, _)| matches!(*name, "InDatagrams" | "RcvbufErrors"))
        .filter_map(|(_, value)| value.parse::<u64>().ok())
        .sum())
}
