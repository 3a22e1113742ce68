//! Datagrams out: one, or a run that the kernel cuts into datagrams (UDP_SEGMENT).

use super::MediaSocket;
use super::control::{self, ControlBuffer};
use std::io;
use std::mem::zeroed;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

/// Where a session's datagrams go, in the kernel's form, so that nothing is converted per packet.
#[derive(Clone)]
pub struct Destination {
    storage: libc::sockaddr_storage,
    storage_len: libc::socklen_t,
    local: Option<IpAddr>,
}

/// How a send ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendResult {
    /// The kernel took it.
    Sent,
    /// The socket's buffer is full.
    Full,
    /// The kernel cannot cut this run on this route; single sends may pass.
    SegmentationRefused,
    /// Any other error.
    Failed,
}

impl Destination {
    /// `local` is the address that the peer asked; it is stated only when the socket serves several.
    pub fn new(remote: SocketAddr, local: SocketAddr, socket: &MediaSocket) -> Self {
        let (storage, storage_len) = control::to_storage(remote);
        let local = (socket.is_wildcard() && !local.ip().is_unspecified()).then(|| local.ip());
        Destination {
            storage,
            storage_len,
            local,
        }
    }
}

/// Sends one datagram.
pub fn send_one(socket: &MediaSocket, destination: &Destination, bytes: &[u8]) -> SendResult {
    send(socket, destination, bytes, None)
}

/// Sends `run` as datagrams of `segment_len` bytes each; the last may be shorter. At most 64 datagrams and 65,507
/// bytes (the kernel's UDP_MAX_SEGMENTS and the largest UDP payload).
pub fn send_segments(socket: &MediaSocket, destination: &Destination, run: &[u8], segment_len: u16) -> SendResult {
    send(socket, destination, run, Some(segment_len))
}

fn send(socket: &MediaSocket, destination: &Destination, bytes: &[u8], segment_len: Option<u16>) -> SendResult {
    let mut control = ControlBuffer::new();
    let control_len = control::write(&mut control, destination.local, segment_len);
    let mut vector = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: msghdr is plain pointers and integers, for which zero is valid.
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_name = std::ptr::from_ref(&destination.storage).cast_mut().cast();
    header.msg_namelen = destination.storage_len;
    header.msg_iov = std::ptr::from_mut(&mut vector);
    header.msg_iovlen = 1;
    if control_len > 0 {
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = control_len;
    }
    // SAFETY: all pointers are to locals or borrowed data that outlive the call; sendmsg only reads through them.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT) };
    if sent >= 0 {
        return SendResult::Sent;
    }
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN | libc::ENOBUFS) => SendResult::Full,
        // EIO: the device cannot checksum segments; EINVAL: a segment exceeds the route's MTU.
        Some(libc::EIO | libc::EINVAL) if segment_len.is_some() => SendResult::SegmentationRefused,
        _ => SendResult::Failed,
    }
}
