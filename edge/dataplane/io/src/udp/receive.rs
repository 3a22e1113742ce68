//! Batches of datagrams from one socket.

use super::MediaSocket;
use super::control::{self, CONTROL_LEN, ControlBuffer};
use std::mem::{size_of, zeroed};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

/// Datagrams per system call: enough to spread its cost, little enough to stay in the cache.
const BATCH: usize = 32;
/// Larger than any datagram of a peer that respects Ethernet; a longer one is cut, seen and dropped.
const DATAGRAM_MAX_BYTES: usize = 2_048;

/// One received datagram.
pub struct Received<'a> {
    /// Who sent it.
    pub source: SocketAddr,
    /// The local address that it was sent to.
    pub destination: SocketAddr,
    /// What it holds.
    pub bytes: &'a mut [u8],
}

/// Buffers for one thread's receiving.
pub struct Receiver {
    buffers: Box<[[u8; DATAGRAM_MAX_BYTES]; BATCH]>,
    addresses: Box<[libc::sockaddr_storage; BATCH]>,
    controls: Box<[ControlBuffer; BATCH]>,
}

impl Default for Receiver {
    fn default() -> Self {
        Receiver {
            buffers: Box::new([[0; DATAGRAM_MAX_BYTES]; BATCH]),
            // SAFETY: sockaddr_storage is plain bytes, for which zero is valid.
            addresses: Box::new([unsafe { zeroed() }; BATCH]),
            controls: Box::new([ControlBuffer::new(); BATCH]),
        }
    }
}

impl Receiver {
    /// Takes one batch; returns how many datagrams the kernel gave (the batch's size when more may wait) and how many
    /// of them were cut because they were too large.
    pub fn receive(&mut self, socket: &MediaSocket, mut handle: impl FnMut(Received<'_>)) -> (usize, u64) {
        // SAFETY: iovec and mmsghdr are plain pointers and integers, for which zero is valid.
        let mut vectors: [libc::iovec; BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        for index in 0..BATCH {
            vectors[index].iov_base = self.buffers[index].as_mut_ptr().cast();
            vectors[index].iov_len = DATAGRAM_MAX_BYTES;
            let header = &mut headers[index].msg_hdr;
            header.msg_iov = std::ptr::from_mut(&mut vectors[index]);
            header.msg_iovlen = 1;
            header.msg_name = std::ptr::from_mut(&mut self.addresses[index]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_control = self.controls[index].0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL_LEN;
        }
        // SAFETY: every header points to buffers of the stated lengths that outlive the call; the call does not wait.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        // An error other than "nothing there" (ICMP unreachable from a peer that is gone) is that peer's matter.
        let count = usize::try_from(count).unwrap_or(0);
        let mut cut = 0;
        for (index, header) in headers.iter().take(count).enumerate() {
            if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                cut += 1;
                continue;
            }
            let Some(source) = control::from_storage(&self.addresses[index]) else {
                continue;
            };
            let local = socket.local();
            let ip = control::destination(&header.msg_hdr).unwrap_or(local.ip());
            let len = (header.msg_len as usize).min(DATAGRAM_MAX_BYTES);
            handle(Received {
                source,
                destination: SocketAddr::new(ip, local.port()),
                bytes: &mut self.buffers[index][..len],
            });
        }
        (if count == BATCH { BATCH } else { count }, cut)
    }

    /// Whether a batch of this many datagrams may have left some waiting.
    pub const fn is_full(count: usize) -> bool {
        count == BATCH
    }
}
