//! One peer's session without I/O: ICE-lite, SRTP, and a receive half (host) or a send half (viewer).
//!
//! DTLS stays outside: it brings the keys with [`Session::handle_keys`] and takes nothing. Every datagram that goes no
//! further comes back with a [`SessionDrop`] that has a name.

use crate::ice::{IceDrop, IceLite, IceReply};
use crate::packet::MediaPacket;
use crate::receive::{ReceiveDrop, ReceiveHalf};
use crate::ring::StreamRing;
use crate::send::{SendDrop, SendHalf};
use crate::srtp::{OpenContext, SealContext, SrtpDrop};
use crate::time::Time;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

/// What a datagram is, by its first bytes (RFC 7983 §7, RFC 5761 §4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DatagramKind {
    /// A STUN message.
    Stun,
    /// A DTLS record.
    Dtls,
    /// An RTP packet.
    Rtp,
    /// An RTCP compound.
    Rtcp,
}

/// Tells the protocols of one port apart.
pub fn classify(datagram: &[u8]) -> Option<DatagramKind> {
    match *datagram {
        [0..=3, ..] => Some(DatagramKind::Stun),
        [20..=63, ..] => Some(DatagramKind::Dtls),
        [128..=191, 192..=223, ..] => Some(DatagramKind::Rtcp),
        [128..=191, _, ..] => Some(DatagramKind::Rtp),
        _ => None,
    }
}

/// Which way media flows.
pub enum Half {
    /// A host publishes.
    Host(Box<ReceiveHalf>),
    /// A viewer watches.
    Viewer(Box<SendHalf>),
}

/// Why a datagram of a session went no further.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SessionDrop {
    /// DTLS or media from an address that no authenticated check has named.
    AddressUnvalidated,
    /// Media before DTLS has brought keys.
    BeforeKeys,
    /// RTP from a viewer, who may only send RTCP.
    RtpFromViewer,
    /// Refused by ICE.
    Ice(IceDrop),
    /// Refused by SRTP.
    Srtp(SrtpDrop),
    /// Refused by the receive half.
    Receive(ReceiveDrop),
    /// Refused by the send half.
    Send(SendDrop),
}

impl SessionDrop {
    /// Names that only sessions give; those of ICE, SRTP and the halves stand in their own lists.
    pub const OWN_NAMES: [&'static str; 3] = ["address_unvalidated", "srtp_before_keys", "rtp_from_viewer"];

    /// Stable metric label.
    pub const fn name(self) -> &'static str {
        match self {
            SessionDrop::AddressUnvalidated => Self::OWN_NAMES[0],
            SessionDrop::BeforeKeys => Self::OWN_NAMES[1],
            SessionDrop::RtpFromViewer => Self::OWN_NAMES[2],
            SessionDrop::Ice(reason) => reason.name(),
            SessionDrop::Srtp(reason) => reason.name(),
            SessionDrop::Receive(reason) => reason.name(),
            SessionDrop::Send(reason) => reason.name(),
        }
    }
}

/// One peer.
pub struct Session {
    ice: IceLite,
    keys: Option<Keys>,
    half: Half,
}

struct Keys {
    open: OpenContext,
    seal: SealContext,
}

impl Session {
    /// A session that waits for its first check.
    pub fn new(local_ufrag: &str, local_pwd: &str, half: Half, now: Time) -> Session {
        Session {
            ice: IceLite::new(local_ufrag, local_pwd, now),
            keys: None,
            half,
        }
    }

    /// The same, ended after another silence of its peer than [`crate::ice::CONSENT_EXPIRES_AFTER`], if that is shorter.
    #[must_use]
    pub fn expiring_after(mut self, silence: Duration) -> Session {
        self.ice = self.ice.expiring_after(silence);
        self
    }

    /// Answers a check or says why not.
    pub fn handle_check(
        &mut self,
        datagram: &[u8],
        source: SocketAddr,
        destination: SocketAddr,
        now: Time,
    ) -> Result<IceReply, SessionDrop> {
        self.ice
            .handle_binding_request(datagram, source, destination, now)
            .map_err(SessionDrop::Ice)
    }

    /// Whether DTLS from this address may be looked at (known trap: DTLS only after a valid ICE pair).
    pub fn check_source(&self, source: SocketAddr) -> Result<(), SessionDrop> {
        if self.ice.is_validated(source) {
            Ok(())
        } else {
            Err(SessionDrop::AddressUnvalidated)
        }
    }

    /// DTLS is complete.
    pub fn handle_keys(&mut self, open: OpenContext, seal: SealContext) {
        self.keys = Some(Keys { open, seal });
    }

    /// Whether DTLS is complete.
    pub fn is_connected(&self) -> bool {
        self.keys.is_some()
    }

    /// Opens an SRTP packet in place and feeds the host's receive half. `Ok(None)` for what only the half needs.
    pub fn handle_rtp(
        &mut self,
        datagram: &mut [u8],
        source: SocketAddr,
        now: Time,
    ) -> Result<Option<(usize, MediaPacket)>, SessionDrop> {
        self.check_source(source)?;
        let keys = self.keys.as_mut().ok_or(SessionDrop::BeforeKeys)?;
        let Half::Host(receive) = &mut self.half else {
            return Err(SessionDrop::RtpFromViewer);
        };
        let opened = keys.open.open_rtp(datagram).map_err(SessionDrop::Srtp)?;
        self.ice.handle_authenticated_media(now);
        receive
            .handle_rtp(&datagram[..opened.len], opened.extended_sequence_number, now)
            .map_err(SessionDrop::Receive)
    }

    /// Opens an SRTCP compound in place and feeds the half.
    pub fn handle_rtcp(&mut self, datagram: &mut [u8], source: SocketAddr, now: Time) -> Result<(), SessionDrop> {
        self.check_source(source)?;
        let keys = self.keys.as_mut().ok_or(SessionDrop::BeforeKeys)?;
        let len = keys.open.open_rtcp(datagram).map_err(SessionDrop::Srtp)?;
        self.ice.handle_authenticated_media(now);
        match &mut self.half {
            Half::Host(receive) => receive.handle_rtcp(&datagram[..len], now).map_err(SessionDrop::Receive),
            Half::Viewer(send) => send.handle_rtcp(&datagram[..len], now).map_err(SessionDrop::Send),
        }
    }

    /// Whether a track begins for this viewer with this live packet; see [`SendHalf::begin`].
    pub fn begin(&mut self, track: usize, packet: &MediaPacket, now: Time) -> bool {
        match (&mut self.half, &self.keys) {
            (Half::Viewer(send), Some(_)) => send.begin(track, packet, now),
            _ => false,
        }
    }

    /// Writes one live packet for this viewer; see [`SendHalf::write`]. Nothing before the keys or for a host.
    pub fn write(
        &mut self,
        track: usize,
        packet: &MediaPacket,
        output: &mut Vec<u8>,
        now: Time,
    ) -> Result<Option<Range<usize>>, SendDrop> {
        match (&mut self.half, &self.keys) {
            (Half::Viewer(send), Some(keys)) => send.write(track, packet, output, &keys.seal, now),
            _ => Ok(None),
        }
    }

    /// The next packet due to this viewer; see [`SendHalf::poll_packet`].
    pub fn poll_packet(&mut self, rings: &[StreamRing], output: &mut Vec<u8>, now: Time) -> Option<Range<usize>> {
        match (&mut self.half, &self.keys) {
            (Half::Viewer(send), Some(keys)) => send.poll_packet(rings, output, &keys.seal, now),
            _ => None,
        }
    }

    /// The next RTCP compound that is due, sealed and appended to `output`.
    pub fn poll_rtcp(&mut self, output: &mut Vec<u8>, now: Time) -> Option<Range<usize>> {
        let keys = self.keys.as_mut()?;
        let compound = match &mut self.half {
            Half::Host(receive) => receive.poll_rtcp(now),
            Half::Viewer(send) => send.poll_rtcp(now),
        }?;
        Some(keys.seal_compound(&compound, output))
    }

    /// The compound that ends the session from our side, sealed and appended to `output`; `None` before the keys.
    pub fn goodbye(&mut self, output: &mut Vec<u8>, now: Time) -> Option<Range<usize>> {
        let keys = self.keys.as_mut()?;
        let compound = match &mut self.half {
            Half::Host(receive) => receive.goodbye(now),
            Half::Viewer(send) => send.goodbye(now),
        };
        Some(keys.seal_compound(&compound, output))
    }

    /// When something will next be due: RTCP, paced packets, or the peer's death. Never later than the latter.
    pub fn poll_timeout(&self) -> Time {
        let half = match &self.half {
            _ if self.keys.is_none() => None,
            Half::Host(receive) => receive.poll_timeout(),
            Half::Viewer(send) => send.poll_timeout(),
        };
        half.map_or(self.ice.poll_timeout(), |due| due.min(self.ice.poll_timeout()))
    }

    /// The peer has been silent too long.
    pub fn is_dead(&self, now: Time) -> bool {
        self.ice.is_dead(now)
    }

    /// The peer has been silent for longer than a living one is.
    pub fn is_quiet(&self, now: Time) -> bool {
        self.ice.is_quiet(now)
    }

    /// Where this session's datagrams go.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.ice.remote()
    }

    /// The local address they leave from: the one that the peer asked.
    pub fn local(&self) -> Option<SocketAddr> {
        self.ice.local()
    }

    /// The ufrag that names this session.
    pub fn local_ufrag(&self) -> &str {
        self.ice.local_ufrag()
    }

    /// The half that does this session's work.
    pub fn half(&mut self) -> &mut Half {
        &mut self.half
    }

    /// The receive half of a host.
    pub fn receive(&mut self) -> Option<&mut ReceiveHalf> {
        match &mut self.half {
            Half::Host(receive) => Some(receive),
            Half::Viewer(_) => None,
        }
    }

    /// The send half of a viewer.
    pub fn send(&mut self) -> Option<&mut SendHalf> {
        match &mut self.half {
            Half::Viewer(send) => Some(send),
            Half::Host(_) => None,
        }
    }
}

impl Keys {
    fn seal_compound(&mut self, compound: &[u8], output: &mut Vec<u8>) -> Range<usize> {
        let start = output.len();
        output.extend_from_slice(compound);
        self.seal.seal_rtcp(output, start);
        start..output.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_protocols_apart() {
        assert_eq!(classify(&[0, 1]), Some(DatagramKind::Stun));
        assert_eq!(classify(&[22, 254]), Some(DatagramKind::Dtls));
        assert_eq!(classify(&[0x80, 96]), Some(DatagramKind::Rtp));
        assert_eq!(classify(&[0x80, 0x80 | 96]), Some(DatagramKind::Rtp), "marker bit");
        assert_eq!(classify(&[0x81, 200]), Some(DatagramKind::Rtcp));
        assert_eq!(classify(&[64, 0]), None, "TURN channel data");
        assert_eq!(classify(&[0x80]), None, "too short to tell");
        assert_eq!(classify(&[]), None);
    }
}
