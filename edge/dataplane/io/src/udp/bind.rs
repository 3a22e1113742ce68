//! Binding one UDP port for all shards.

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

/// Room for a burst that arrives while the shard is busy (200 viewers' reports, a host's key frame).
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// Room for a frame to every viewer of a shard; what does not fit is dropped and named.
const SEND_BUFFER_BYTES: usize = 8 << 20;

/// One shard's socket of one address family.
#[derive(Debug)]
pub struct MediaSocket {
    socket: Socket,
    local: SocketAddr,
}

impl MediaSocket {
    /// The bound address; unspecified when it serves all of the machine's addresses.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Whether datagrams must say which address they leave from.
    pub fn is_wildcard(&self) -> bool {
        self.local.ip().is_unspecified()
    }
}

impl AsRawFd for MediaSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Binds `address` once per shard. Element i belongs to shard i; the port is the same for all.
///
/// A plain bind comes first: with SO_REUSEPORT alone a second process would join the first one's group and steal half
/// of its packets.
pub fn bind_shards(address: SocketAddr, shards: usize) -> io::Result<Vec<MediaSocket>> {
    let probe = open(address, false).map_err(|error| explain(&error, address))?;
    if shards == 1 {
        return Ok(vec![probe]);
    }
    let bound = probe.local;
    drop(probe);
    (0..shards)
        .map(|_| open(bound, true).map_err(|error| explain(&error, bound)))
        .collect()
}

fn open(address: SocketAddr, reuse_port: bool) -> io::Result<MediaSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM.nonblocking().cloexec(),
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(reuse_port)?;
    socket.bind(&SockAddr::from(address))?;
    // Privileged variants would pass rmem_max; the plain ones are cut to it, which is what an operator expects.
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
    super::control::ask_for_destination(&socket, address.is_ipv6())?;
    Ok(MediaSocket { socket, local })
}

fn explain(error: &io::Error, address: SocketAddr) -> io::Error {
    match error.raw_os_error() {
        // The code survives inside the text only; the kind lets Python raise the right OSError.
        Some(code) => io::Error::new(
            error.kind(),
            BindError {
                address,
                code,
                text: error.to_string(),
            },
        ),
        None => io::Error::new(error.kind(), format!("media socket {address}: {error}")),
    }
}

/// A media address that cannot be bound.
#[derive(Debug)]
pub struct BindError {
    address: SocketAddr,
    /// The operating system's error number.
    pub code: i32,
    text: String,
}

impl std::fmt::Display for BindError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "media socket {}: {}", self.address, self.text)
    }
}

impl std::error::Error for BindError {}
