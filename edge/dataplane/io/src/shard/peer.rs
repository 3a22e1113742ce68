//! One peer of a shard: its session, its DTLS, and where its datagrams go.

use crate::dtls::{Dtls, DtlsRole};
use crate::handoff::SourceHandle;
use crate::shard::timers::PeerKey;
use crate::udp::Destination;
use std::sync::Arc;
use std::time::Duration;
use tradewind_core::receive::ReceiveStats;
use tradewind_core::send::SendStats;
use tradewind_core::session::Session;
use tradewind_core::time::Time;

/// OpenSSL's state (77 KiB) is kept this long after the handshake, in case the peer did not get our last flight.
pub const DTLS_LINGER: Duration = Duration::from_secs(10);

/// A peer that has not completed DTLS by then will not; its checks alone may not keep a place taken.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// Where DTLS stands.
pub enum DtlsState {
    /// ICE has no valid pair yet: not started.
    Waiting(Dtls),
    /// Flights are exchanged.
    Running(Dtls),
    /// Keys are in use; the state lingers until the given time.
    Lingering(Dtls, Time),
    /// The state was freed.
    Freed,
}

/// A host's or a viewer's own part.
pub enum Part {
    /// Publishes.
    Host {
        /// Given by the rim when the offer was accepted.
        incarnation: u64,
        /// Set when the first packet has arrived.
        source: Option<SourceHandle>,
        /// Bit i: track i has said goodbye.
        byes: u64,
        /// The half's counters when they were last added to the shard's.
        counted: ReceiveStats,
    },
    /// Watches.
    Viewer {
        /// The half's counters when they were last added to the shard's.
        counted: SendStats,
    },
}

/// One peer.
pub struct Peer {
    /// Which session, at which place.
    pub key: PeerKey,
    /// Its room.
    pub room: Arc<str>,
    /// ICE, SRTP and a half.
    pub session: Session,
    /// The handshake.
    pub dtls: DtlsState,
    /// When the handshake is given up.
    pub handshake_until: Time,
    /// Our end of the handshake.
    pub dtls_role: DtlsRole,
    /// When the handshake's timer fires.
    pub dtls_due: Option<Time>,
    /// Where datagrams go: index of the socket and the kernel's form of the address.
    pub way: Option<(usize, Destination)>,
    /// Host or viewer.
    pub part: Part,
    /// The earliest deadline that the shard's timers hold.
    pub scheduled: Option<Time>,
    /// The first media packet was seen.
    pub media_seen: bool,
}

impl Peer {
    /// The role as Python sees it.
    pub fn role(&self) -> &'static str {
        match self.part {
            Part::Host { .. } => "host",
            Part::Viewer { .. } => "viewer",
        }
    }

    /// When this peer wants to be served next.
    pub fn due(&self) -> Time {
        let mut due = self.session.poll_timeout();
        if !self.session.is_connected() {
            due = due.min(self.handshake_until);
        }
        if let Some(dtls_due) = self.dtls_due {
            due = due.min(dtls_due);
        }
        if let DtlsState::Lingering(_, until) = &self.dtls {
            due = due.min(*until);
        }
        due
    }

    /// The handshake while there is one.
    pub fn dtls(&mut self) -> Option<&mut Dtls> {
        match &mut self.dtls {
            DtlsState::Waiting(dtls) | DtlsState::Running(dtls) | DtlsState::Lingering(dtls, _) => Some(dtls),
            DtlsState::Freed => None,
        }
    }
}
