//! A look at datagrams on the trunk's port before QUIC sees them: QUIC drops silently what is not for it, and a drop
//! without a name cannot be told from a quiet line.
//!
//! Only what stands unprotected in a packet's header is judged (RFC 8999, RFC 9000 §17); nothing is kept from QUIC.

/// The one version that trunks speak.
pub const VERSION: u32 = 1;
/// Length of the connection ids that this edge gives out.
pub const CONNECTION_ID_LEN: usize = 8;
/// RFC 9000 §17.2: longer ones do not exist in version 1.
const CONNECTION_ID_LEN_MAX: usize = 20;
/// RFC 9000 §14.1: datagrams with a client's first packet are at least this long.
const INITIAL_LEN_MIN: usize = 1_200;
/// RFC 9001 §5.4.2: a packet without a whole sample behind the longest packet number cannot be opened.
const PROTECTED_LEN_MIN: usize = 4 + 16;

/// RFC 8999 §5.1: long header.
const LONG: u8 = 0x80;
/// RFC 9000 §17: 1 in every packet of version 1 (we do not offer RFC 9287).
const FIXED: u8 = 0x40;
/// RFC 9000 §17.2.2.
const TYPE_INITIAL: u8 = 0;

/// What this edge knows of the connection that an id belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IdState {
    /// Not given out here.
    Unknown,
    /// Given out here, and not known to be anything else.
    Open,
    /// Given to a neighbour that was dialled at another address than the datagram's.
    Elsewhere,
    /// The handshake is over and its keys are gone.
    Established,
    /// The connection has ended.
    Ended,
}

/// Why QUIC can make nothing of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QuicDrop {
    /// Not QUIC, or not the version that trunks speak.
    NotQuic,
    /// Ends before its header does, or too short to be opened.
    Truncated,
    /// A first packet in a datagram shorter than the least that opens a connection.
    InitialShort,
    /// For a connection that this edge has given no id for: forged, late from before a restart, or a neighbour's
    /// stateless reset, which names no connection on purpose (RFC 9000 §10.3).
    UnknownConnection,
    /// For a connection that has ended: late, or replayed.
    ConnectionEnded,
    /// For a connection that this edge dialled, from another address than it dialled: only who dials may move (RFC 9000 §9).
    WrongAddress,
    /// A packet of a handshake that is over: late, or forged. The rest of its datagram may still be of use.
    HandshakeOver,
    /// Encrypted with other keys than the connection's: forged, or damaged on its way.
    AuthenticationFailed,
    /// Came before: replayed, or doubled by the network.
    Replayed,
}

impl QuicDrop {
    /// Every reason, in order.
    pub const ALL: [QuicDrop; 9] = [
        QuicDrop::NotQuic,
        QuicDrop::Truncated,
        QuicDrop::InitialShort,
        QuicDrop::UnknownConnection,
        QuicDrop::ConnectionEnded,
        QuicDrop::WrongAddress,
        QuicDrop::HandshakeOver,
        QuicDrop::AuthenticationFailed,
        QuicDrop::Replayed,
    ];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            QuicDrop::NotQuic => "trunk_datagram_not_quic",
            QuicDrop::Truncated => "trunk_datagram_truncated",
            QuicDrop::InitialShort => "trunk_datagram_initial_short",
            QuicDrop::UnknownConnection => "trunk_datagram_unknown_connection",
            QuicDrop::ConnectionEnded => "trunk_datagram_connection_ended",
            QuicDrop::WrongAddress => "trunk_datagram_wrong_address",
            QuicDrop::HandshakeOver => "trunk_packet_handshake_over",
            QuicDrop::AuthenticationFailed => "trunk_packet_authentication_failed",
            QuicDrop::Replayed => "trunk_packet_replayed",
        }
    }
}

/// Judges a datagram by its first packet's header; `state_of` tells what is known of a connection id.
pub fn check_datagram(datagram: &[u8], state_of: impl Fn(&[u8]) -> IdState) -> Result<(), QuicDrop> {
    let (first, rest) = datagram.split_first().ok_or(QuicDrop::Truncated)?;
    if first & LONG == 0 {
        if first & FIXED == 0 {
            return Err(QuicDrop::NotQuic);
        }
        let (destination, protected) = rest.split_at_checked(CONNECTION_ID_LEN).ok_or(QuicDrop::Truncated)?;
        return match state_of(destination) {
            IdState::Unknown => Err(QuicDrop::UnknownConnection),
            _ if protected.len() < PROTECTED_LEN_MIN => Err(QuicDrop::Truncated),
            IdState::Ended => Err(QuicDrop::ConnectionEnded),
            IdState::Elsewhere => Err(QuicDrop::WrongAddress),
            IdState::Open | IdState::Established => Ok(()),
        };
    }
    let (version, rest) = rest.split_first_chunk::<4>().ok_or(QuicDrop::Truncated)?;
    let version = u32::from_be_bytes(*version);
    // RFC 9000 §17.2.1: version 0 is an answer to a version we do not offer; its other bits are arbitrary.
    if version != 0 && (version != VERSION || first & FIXED == 0) {
        return Err(QuicDrop::NotQuic);
    }
    let (destination, rest) = connection_id(rest)?;
    connection_id(rest)?;
    let is_initial = version == VERSION && (first >> 4) & 3 == TYPE_INITIAL;
    match state_of(destination) {
        IdState::Open => Ok(()),
        IdState::Elsewhere => Err(QuicDrop::WrongAddress),
        IdState::Established => Err(QuicDrop::HandshakeOver),
        IdState::Unknown | IdState::Ended if is_initial => {
            if datagram.len() < INITIAL_LEN_MIN {
                Err(QuicDrop::InitialShort)
            } else {
                Ok(()) // somebody dials; certificates decide
            }
        }
        IdState::Unknown => Err(QuicDrop::UnknownConnection),
        IdState::Ended => Err(QuicDrop::ConnectionEnded),
    }
}

/// The connection id that a packet of ours is for, where it has the length of the ids that this edge gives out.
pub fn destination(packet: &[u8]) -> Option<&[u8; CONNECTION_ID_LEN]> {
    let (first, rest) = packet.split_first()?;
    if first & LONG == 0 {
        return rest.first_chunk();
    }
    let (destination, _) = connection_id(rest.get(4..)?).ok()?;
    destination.try_into().ok()
}

/// A connection id with its length in front, and the rest.
fn connection_id(bytes: &[u8]) -> Result<(&[u8], &[u8]), QuicDrop> {
    let (len, rest) = bytes.split_first().ok_or(QuicDrop::Truncated)?;
    if usize::from(*len) > CONNECTION_ID_LEN_MAX {
        return Err(QuicDrop::NotQuic);
    }
    rest.split_at_checked(usize::from(*len)).ok_or(QuicDrop::Truncated)
}

/// Packet numbers that one key has opened, as far back as QUIC itself remembers them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PacketNumbers {
    /// One above the highest.
    next: u64,
    /// Bit i: `next - 1 - i` was seen.
    seen: u128,
}

impl PacketNumbers {
    /// Notes a number; false when it was seen, or lies too far back to tell.
    pub fn insert(&mut self, number: u64) -> bool {
        if number >= self.next {
            let ahead = u32::try_from(number - self.next).map_or(u32::MAX, |ahead| ahead.saturating_add(1));
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.next = number.saturating_add(1);
            return true;
        }
        let Some(bit) = u32::try_from(self.next - 1 - number)
            .ok()
            .and_then(|back| 1u128.checked_shl(back))
        else {
            return false;
        };
        let is_new = self.seen & bit == 0;
        self.seen |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: [u8; 8] = *b"our conn";
    const DIALLED: [u8; 8] = *b"elsewhr.";
    const RUNNING: [u8; 8] = *b"running.";
    const ENDED: [u8; 8] = *b"is ended";

    fn check(datagram: &[u8]) -> Result<(), QuicDrop> {
        check_datagram(datagram, |id| match <[u8; 8]>::try_from(id) {
            Ok(OURS) => IdState::Open,
            Ok(DIALLED) => IdState::Elsewhere,
            Ok(RUNNING) => IdState::Established,
            Ok(ENDED) => IdState::Ended,
            _ => IdState::Unknown,
        })
    }

    fn long(first: u8, version: u32, destination: &[u8], len: usize) -> Vec<u8> {
        let mut datagram = vec![first];
        datagram.extend(version.to_be_bytes());
        datagram.push(destination.len() as u8);
        datagram.extend(destination);
        datagram.extend([0, 0, 0]);
        datagram.resize(len.max(datagram.len()), 0);
        datagram
    }

    fn short(first: u8, destination: &[u8], rest: usize) -> Vec<u8> {
        [&[first][..], destination, &vec![0; rest]].concat()
    }

    #[test]
    fn every_header_has_its_name() {
        for (datagram, expected) in [
            (Vec::new(), Err(QuicDrop::Truncated)),
            (vec![0; 40], Err(QuicDrop::NotQuic)),
            (vec![0x40], Err(QuicDrop::Truncated)),
            (short(0x40, &OURS, 20), Ok(())),
            (short(0x40, &OURS, 19), Err(QuicDrop::Truncated)),
            (short(0x40, b"somebody", 500), Err(QuicDrop::UnknownConnection)),
            (vec![0xc0, 0, 0], Err(QuicDrop::Truncated)),
            (long(0xc0, VERSION, b"anything", 1_200), Ok(())),
            (long(0xc0, VERSION, b"anything", 1_199), Err(QuicDrop::InitialShort)),
            (long(0xc0, VERSION, &OURS, 60), Ok(())),
            (long(0xe0, VERSION, &OURS, 60), Ok(())),
            (
                long(0xe0, VERSION, b"anything", 1_200),
                Err(QuicDrop::UnknownConnection),
            ),
            (long(0x80, VERSION, &OURS, 60), Err(QuicDrop::NotQuic)),
            (long(0xc0, 2, &OURS, 1_200), Err(QuicDrop::NotQuic)),
            (long(0x80, 0, &OURS, 60), Ok(())),
            (long(0xc0, VERSION, &[7; 21], 1_200), Err(QuicDrop::NotQuic)),
            (long(0xc0, VERSION, &OURS, 0)[..12].to_vec(), Err(QuicDrop::Truncated)),
            (short(0x40, &RUNNING, 20), Ok(())),
            (long(0xe0, VERSION, &RUNNING, 60), Err(QuicDrop::HandshakeOver)),
            (long(0xc0, VERSION, &RUNNING, 1_200), Err(QuicDrop::HandshakeOver)),
            (short(0x40, &DIALLED, 20), Err(QuicDrop::WrongAddress)),
            (short(0x40, &DIALLED, 19), Err(QuicDrop::Truncated)),
            (long(0xe0, VERSION, &DIALLED, 60), Err(QuicDrop::WrongAddress)),
            (short(0x40, &ENDED, 20), Err(QuicDrop::ConnectionEnded)),
            (long(0xe0, VERSION, &ENDED, 60), Err(QuicDrop::ConnectionEnded)),
            (long(0xc0, VERSION, &ENDED, 1_200), Ok(())),
            // RTP, STUN and DTLS that lost their way.
            ([&[0x80, 96, 1, 2][..], &[0; 60]].concat(), Err(QuicDrop::NotQuic)),
            ([&[0, 1, 0, 0][..], &[0; 16]].concat(), Err(QuicDrop::NotQuic)),
            ([&[22, 254, 253][..], &[0; 60]].concat(), Err(QuicDrop::NotQuic)),
        ] {
            assert_eq!(check(&datagram), expected, "{datagram:02x?}");
        }
    }

    #[test]
    fn the_destination_is_found_in_both_headers() {
        assert_eq!(destination(&short(0x40, &OURS, 20)), Some(&OURS));
        assert_eq!(destination(&long(0xe0, VERSION, &OURS, 60)), Some(&OURS));
        assert_eq!(destination(&long(0xe0, VERSION, b"another", 60)), None);
        for cut in [&[][..], &[0x40; 8], &[0xe0; 5]] {
            assert_eq!(destination(cut), None);
        }
    }

    #[test]
    fn a_number_is_new_once() {
        let mut numbers = PacketNumbers::default();
        for (number, is_new) in [
            (0, true),
            (0, false),
            (2, true),
            (1, true),
            (1, false),
            (200, true),
            (73, true),
            (73, false),
            (72, false),
            (2, false),
            (1 << 40, true),
            (200, false),
            ((1 << 40) - 1, true),
        ] {
            assert_eq!(numbers.insert(number), is_new, "{number}");
        }
    }
}
