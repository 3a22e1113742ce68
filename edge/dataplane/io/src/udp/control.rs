//! Control messages: which local address a datagram was sent to or leaves from, and how a run is cut into datagrams.

use socket2::Socket;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;

/// Space for one address message and one segment size, with alignment.
pub const CONTROL_LEN: usize = 96;

/// A control buffer with the alignment that `cmsghdr` needs.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub struct ControlBuffer(pub [u8; CONTROL_LEN]);

impl ControlBuffer {
    pub const fn new() -> Self {
        ControlBuffer([0; CONTROL_LEN])
    }
}

/// Makes the kernel say which local address each datagram was sent to.
pub fn ask_for_destination(socket: &Socket, is_ipv6: bool) -> io::Result<()> {
    let (level, name) = if is_ipv6 {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
    } else {
        (libc::IPPROTO_IP, libc::IP_PKTINFO)
    };
    let on: libc::c_int = 1;
    // SAFETY: the option value is one local integer of the stated length.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(&on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Writes the source address (when the socket is a wildcard one) and the segment size (for a run) into `buffer`;
/// returns the length used.
pub fn write(buffer: &mut ControlBuffer, local: Option<IpAddr>, segment_len: Option<u16>) -> usize {
    let mut used = 0;
    match local {
        Some(IpAddr::V4(address)) => {
            // SAFETY: in_pktinfo is plain integers, for which zero is valid.
            let mut info: libc::in_pktinfo = unsafe { zeroed() };
            info.ipi_spec_dst.s_addr = u32::from_ne_bytes(address.octets());
            used = append(buffer, used, libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
        }
        Some(IpAddr::V6(address)) => {
            // SAFETY: in6_pktinfo is plain integers, for which zero is valid.
            let mut info: libc::in6_pktinfo = unsafe { zeroed() };
            info.ipi6_addr.s6_addr = address.octets();
            used = append(buffer, used, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
        }
        None => {}
    }
    if let Some(segment_len) = segment_len {
        used = append(buffer, used, libc::SOL_UDP, libc::UDP_SEGMENT, &segment_len);
    }
    used
}

fn append<T: Copy>(buffer: &mut ControlBuffer, used: usize, level: libc::c_int, kind: libc::c_int, value: &T) -> usize {
    let value_len = size_of::<T>() as libc::c_uint;
    // SAFETY: CMSG_SPACE and CMSG_LEN only compute.
    let (space, len) = unsafe { (libc::CMSG_SPACE(value_len) as usize, libc::CMSG_LEN(value_len) as usize) };
    assert!(
        used + space <= CONTROL_LEN,
        "an address and a segment size fit by construction"
    );
    let header = libc::cmsghdr {
        cmsg_len: len as _,
        cmsg_level: level,
        cmsg_type: kind,
    };
    // SAFETY: `used` is a multiple of the header's alignment (CMSG_SPACE rounds up) and the assertion above keeps header
    // and value within the buffer; CMSG_DATA's offset is that of CMSG_LEN(0).
    unsafe {
        let at = buffer.0.as_mut_ptr().add(used);
        at.cast::<libc::cmsghdr>().write(header);
        at.add(libc::CMSG_LEN(0) as usize).cast::<T>().write_unaligned(*value);
    }
    used + space
}

/// The local address in a received message's control data.
pub fn destination(header: &libc::msghdr) -> Option<IpAddr> {
    // SAFETY: the kernel filled msg_control up to msg_controllen; the CMSG_ macros stay within it, and each value is
    // read unaligned after its type was checked.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while let Some(current) = message.as_ref() {
            match (current.cmsg_level, current.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = libc::CMSG_DATA(current).cast::<libc::in_pktinfo>().read_unaligned();
                    return Some(IpAddr::from(info.ipi_addr.s_addr.to_ne_bytes()));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = libc::CMSG_DATA(current).cast::<libc::in6_pktinfo>().read_unaligned();
                    return Some(IpAddr::from(info.ipi6_addr.s6_addr));
                }
                _ => message = libc::CMSG_NXTHDR(header, current),
            }
        }
    }
    None
}

/// An IPv4 or IPv6 socket address in the kernel's form, with the alignment that it needs.
#[derive(Clone, Copy)]
#[repr(C, align(4))]
pub struct Address([u8; size_of::<libc::sockaddr_in6>()]);

impl Address {
    /// The address and its length.
    pub fn new(address: SocketAddr) -> (Address, libc::socklen_t) {
        let mut bytes = Address([0; size_of::<libc::sockaddr_in6>()]);
        let at = bytes.0.as_mut_ptr();
        // SAFETY: both variants are plain integers, for which zero is valid, no larger than the array and aligned as it is.
        let len = unsafe {
            match address {
                SocketAddr::V4(v4) => {
                    let mut raw: libc::sockaddr_in = zeroed();
                    raw.sin_family = libc::AF_INET as libc::sa_family_t;
                    raw.sin_port = v4.port().to_be();
                    raw.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
                    at.cast::<libc::sockaddr_in>().write(raw);
                    size_of::<libc::sockaddr_in>()
                }
                SocketAddr::V6(v6) => {
                    let mut raw: libc::sockaddr_in6 = zeroed();
                    raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                    raw.sin6_port = v6.port().to_be();
                    raw.sin6_addr.s6_addr = v6.ip().octets();
                    raw.sin6_scope_id = v6.scope_id();
                    at.cast::<libc::sockaddr_in6>().write(raw);
                    size_of::<libc::sockaddr_in6>()
                }
            }
        };
        (bytes, len as libc::socklen_t)
    }
}

/// The address that the kernel wrote; `None` for another family.
pub fn from_storage(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is a sockaddr_in, which is smaller than the storage.
            let raw = unsafe { std::ptr::from_ref(storage).cast::<libc::sockaddr_in>().read() };
            let ip = raw.sin_addr.s_addr.to_ne_bytes().into();
            Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(raw.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that this is a sockaddr_in6, which is smaller than the storage.
            let raw = unsafe { std::ptr::from_ref(storage).cast::<libc::sockaddr_in6>().read() };
            let ip = raw.sin6_addr.s6_addr.into();
            Some(SocketAddr::V6(SocketAddrV6::new(
                ip,
                u16::from_be(raw.sin6_port),
                0,
                raw.sin6_scope_id,
            )))
        }
        _ => None,
    }
}
