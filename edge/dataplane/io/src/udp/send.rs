//! Datagrams out: one at once, or many runs to many peers in one system call, each cut by the kernel (UDP_SEGMENT).

use super::MediaSocket;
use super::control::{self, Address, ControlBuffer};
use std::io;
use std::mem::zeroed;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

/// Runs per system call. Back to back they keep a receiver's queue busy, so that it is woken once and not per run: on
/// veth that is a quarter of a shard's time.
pub const BATCH_RUNS: usize = 128;

/// Where a session's datagrams go, in the kernel's form, so that nothing is converted per packet.
#[derive(Clone, Copy)]
pub struct Destination {
    address: Address,
    address_len: libc::socklen_t,
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

/// Bytes for one peer: one datagram, or several of `segment_len` bytes each, the last possibly shorter. At most 64
/// datagrams and 65,507 bytes (the kernel's UDP_MAX_SEGMENTS and the largest UDP payload).
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// What to send.
    pub bytes: &'a [u8],
    /// `None`: one datagram.
    pub segment_len: Option<u16>,
    /// To whom.
    pub destination: &'a Destination,
}

impl Destination {
    /// `local` is the address that the peer asked; it is stated only when the socket serves several.
    pub fn new(remote: SocketAddr, local: SocketAddr, socket: &MediaSocket) -> Self {
        let (address, address_len) = Address::new(remote);
        let local = (socket.is_wildcard() && !local.ip().is_unspecified()).then(|| local.ip());
        Destination {
            address,
            address_len,
            local,
        }
    }
}

/// Sends one datagram.
pub fn send_one(socket: &MediaSocket, destination: &Destination, bytes: &[u8]) -> SendResult {
    let run = Run {
        bytes,
        segment_len: None,
        destination,
    };
    send_runs(socket, &[run]).1
}

/// Sends up to [`BATCH_RUNS`] runs in one system call. Returns how many the kernel took and, when that is not all, what
/// became of the next one; what follows it was not tried.
pub fn send_runs(socket: &MediaSocket, runs: &[Run<'_>]) -> (usize, SendResult) {
    // Headers are cleared before use, so there should not be many more than needed.
    match runs.len() {
        0 => (0, SendResult::Sent),
        1 => send_at_most::<1>(socket, runs),
        2..=32 => send_at_most::<32>(socket, runs),
        _ => send_at_most::<BATCH_RUNS>(socket, &runs[..runs.len().min(BATCH_RUNS)]),
    }
}

/// Sends `runs`, which are no more than `N`.
fn send_at_most<const N: usize>(socket: &MediaSocket, runs: &[Run<'_>]) -> (usize, SendResult) {
    // SAFETY: mmsghdr and iovec are plain pointers and integers, for which zero is valid.
    let (mut headers, mut vectors): ([libc::mmsghdr; N], [libc::iovec; N]) = unsafe { zeroed() };
    let mut controls = [ControlBuffer::new(); N];
    let parts = headers.iter_mut().zip(&mut vectors).zip(&mut controls);
    for (run, ((header, vector), control)) in runs.iter().zip(parts) {
        vector.iov_base = run.bytes.as_ptr().cast_mut().cast();
        vector.iov_len = run.bytes.len();
        let header = &mut header.msg_hdr;
        header.msg_name = std::ptr::from_ref(&run.destination.address).cast_mut().cast();
        header.msg_namelen = run.destination.address_len;
        header.msg_iov = std::ptr::from_mut(vector);
        header.msg_iovlen = 1;
        let control_len = control::write(control, run.destination.local, run.segment_len);
        if control_len > 0 {
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = control_len;
        }
    }
    let count = runs.len().min(N);
    // SAFETY: all pointers are to locals or borrowed data that outlive the call and `count` headers are filled in;
    // sendmmsg reads through them and writes only msg_len of the headers.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            count as libc::c_uint,
            libc::MSG_DONTWAIT,
        )
    };
    match usize::try_from(sent) {
        Ok(sent) if sent == count => (sent, SendResult::Sent),
        // sendmmsg tells a count or an error, never both: ask for the error of the run that stopped it.
        Ok(sent) => match send_at_most::<1>(socket, &runs[sent..=sent]) {
            (1, _) => (sent + 1, SendResult::Sent),
            (_, result) => (sent, result),
        },
        Err(_) => (
            0,
            result_of(io::Error::last_os_error().raw_os_error(), runs[0].segment_len.is_some()),
        ),
    }
}

fn result_of(error: Option<i32>, segmented: bool) -> SendResult {
    match error {
        Some(libc::EAGAIN | libc::ENOBUFS) => SendResult::Full,
        // EIO: the device cannot checksum segments; EINVAL: a segment exceeds the route's MTU.
        Some(libc::EIO | libc::EINVAL) if segmented => SendResult::SegmentationRefused,
        _ => SendResult::Failed,
    }
}
