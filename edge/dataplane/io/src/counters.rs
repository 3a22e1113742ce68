//! Named drops and counters, one set per worker so that no two threads write the same line.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use tradewind_core::ice::IceDrop;
use tradewind_core::mesh::{MeshDrop, QuicDrop};
use tradewind_core::receive::ReceiveDrop;
use tradewind_core::ring::RingDrop;
use tradewind_core::send::SendDrop;
use tradewind_core::session::SessionDrop;
use tradewind_core::srtp::SrtpDrop;

macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(usize)]
        pub enum $name { $($(#[doc = $doc])+ $variant,)* }

        impl $name {
            /// Every variant, in order.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The name in metrics and snapshots.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// What the metric's HELP line says.
            pub fn help(self) -> &'static str {
                match self { $($name::$variant => concat!($($doc),+).trim_start(),)* }
            }
        }
    };
}

named! {
    /// Why something was dropped. One counter each; every label exists from the start.
    DropReason {
        /// A datagram that is neither STUN, DTLS, RTP nor RTCP (RFC 7983 §7).
        DatagramUnknown = "datagram_unknown",
        /// Empty, or larger than the receive buffer.
        DatagramSize = "datagram_size",
        /// A foreign datagram whose owner does not know it either; never handed on.
        ForeignUnknown = "foreign_unknown",
        /// The owner's ring was full.
        ForeignRingFull = "foreign_ring_full",
        /// A check from the address of another peer that is connected: its source is forged, or the peer is not yet given up.
        AddressTaken = "address_taken",
        /// Not a DTLS record, or more of them than a handshake needs.
        DtlsMalformed = "dtls_malformed",
        /// An encrypted DTLS record that cannot be opened, or an unencrypted alert when it must be encrypted: forged.
        DtlsAuthenticationFailed = "dtls_authentication_failed",
        /// An encrypted DTLS record that came before: replayed, or doubled by the network.
        DtlsReplayed = "dtls_replayed",
        /// A ClientHello after the handshake; renegotiation is not offered.
        DtlsSecondHandshake = "dtls_second_handshake",
        /// DTLS after the handshake state was freed.
        DtlsAfterFree = "dtls_after_free",
        /// The peer's certificate is not the one its SDP promised.
        DtlsFingerprintMismatch = "dtls_fingerprint_mismatch",
        /// The handshake ended with an error.
        DtlsHandshakeFailed = "dtls_handshake_failed",
        /// The socket's buffer was full.
        SocketFull = "socket_full",
        /// The kernel refused to send.
        SocketError = "socket_error",
        /// A hand-off ring to another shard was full.
        HandoffRingFull = "handoff_ring_full",
        /// A hand-off ring to the trunk was full.
        HandoffTrunkFull = "handoff_trunk_full",
        /// A notice to another worker did not fit.
        HandoffNoticeFull = "handoff_notice_full",
        /// A packet of a source that this worker does not know (any more).
        HandoffUnknownSource = "handoff_unknown_source",
        /// A trunk handshake that failed: no certificate, or not one of this fleet.
        TrunkHandshakeFailed = "trunk_handshake_failed",
        /// A trunk stream whose framing is broken.
        TrunkStreamMalformed = "trunk_stream_malformed",
        /// To a trunk: more waited than its queue holds.
        TrunkQueueFull = "trunk_queue_full",
        /// To a trunk: media that waited too long to be of use.
        TrunkQueueStale = "trunk_queue_stale",
        /// A room message for a neighbour whose trunk went down before it was sent.
        RoomMessageUndeliverable = "room_message_undeliverable",
        /// An event that Python did not fetch in time.
        EventQueueFull = "event_queue_full",
    }
}

named! {
    /// What is counted that is not a drop.
    Counter {
        /// Datagrams received.
        PacketsReceived = "packets_received",
        /// Bytes received in UDP payloads.
        BytesReceived = "bytes_received",
        /// Media packets sent to viewers, retransmissions included.
        PacketsSent = "packets_sent",
        /// Bytes sent in UDP payloads.
        BytesSent = "bytes_sent",
        /// Messages given to the kernel to send, each one datagram or one run.
        SendCalls = "send_calls",
        /// Segmented sends (UDP_SEGMENT) that the kernel refused; single sends took their place.
        GsoFallbacks = "gso_fallbacks",
        /// Packets sent again because a viewer asked.
        RetransmissionsSent = "retransmissions_sent",
        /// Sequence numbers viewers asked for.
        NacksReceived = "nacks_received",
        /// Sequence numbers asked of publishers.
        NacksSent = "nacks_sent",
        /// Key frames asked of publishers.
        KeyFrameRequestsSent = "key_frame_requests_sent",
        /// Sessions that completed ICE and DTLS.
        SessionsConnected = "sessions_connected",
        /// Sessions closed.
        SessionsClosed = "sessions_closed",
        /// Viewers started from a kept key frame.
        ReplaysStarted = "replays_started",
        /// Datagrams handed to the shard that owns their session.
        ForeignHanded = "foreign_datagrams_handed",
        /// Packets too large for a trunk's datagrams, sent on a stream.
        TrunkOversize = "trunk_oversize",
        /// Streams whose backup was asked for media too, because the parent fell silent or lost packets.
        FailoversArmed = "failovers_armed",
        /// Backups let go again, because the parent came back.
        FailoversReleased = "failovers_released",
        /// Streams that moved to their backup for good.
        FailoversCommitted = "failovers_committed",
    }
}

/// Every reason's label: this crate's enum first, then the names that the core's own enums give.
pub fn drop_names() -> &'static [&'static str] {
    static NAMES: OnceLock<Vec<&'static str>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let mut names: Vec<&'static str> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        for name in core_drop_names() {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    })
}

fn core_drop_names() -> impl Iterator<Item = &'static str> {
    let sessions = SessionDrop::OWN_NAMES.into_iter().chain(IceDrop::NAMES);
    let srtp = SrtpDrop::ALL.iter().map(|reason| reason.name());
    let halves = ReceiveDrop::ALL
        .iter()
        .map(|reason| reason.name())
        .chain(SendDrop::ALL.iter().map(|d| d.name()));
    let rings = RingDrop::ALL.iter().map(|reason| reason.name());
    sessions
        .chain(srtp)
        .chain(halves)
        .chain(rings)
        .chain(MeshDrop::ALL.iter().map(|reason| reason.name()))
        .chain(QuicDrop::ALL.iter().map(|reason| reason.name()))
}

/// One worker's numbers. Written by that worker only, read by anyone.
#[derive(Debug)]
pub struct WorkerCounters {
    drops: Box<[AtomicU64]>,
    counters: [AtomicU64; Counter::ALL.len()],
}

impl Default for WorkerCounters {
    fn default() -> Self {
        WorkerCounters {
            drops: drop_names().iter().map(|_| AtomicU64::new(0)).collect(),
            counters: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl WorkerCounters {
    /// Counts one drop.
    pub fn drop_one(&self, reason: DropReason) {
        self.drop_many(reason, 1);
    }

    /// Counts several drops for one reason.
    pub fn drop_many(&self, reason: DropReason, count: u64) {
        bump(&self.drops[reason as usize], count);
    }

    /// Counts one drop by the name that a core enum gave. Names outside [`drop_names`] are our own mistake.
    pub fn drop_named(&self, name: &'static str) {
        self.drop_named_many(name, 1);
    }

    /// Counts several drops by the name that a core enum gave.
    pub fn drop_named_many(&self, name: &'static str, count: u64) {
        let index = drop_names().iter().position(|known| *known == name);
        debug_assert!(index.is_some(), "{name} is missing from core_drop_names");
        if let Some(index) = index {
            bump(&self.drops[index], count);
        }
    }

    /// Adds to a counter.
    pub fn add(&self, counter: Counter, count: u64) {
        bump(&self.counters[counter as usize], count);
    }

    /// The drop counters, in the order of [`drop_names`].
    pub fn drops(&self) -> impl Iterator<Item = u64> {
        self.drops.iter().map(|cell| cell.load(Ordering::Relaxed))
    }

    /// A counter's value.
    pub fn get(&self, counter: Counter) -> u64 {
        self.counters[counter as usize].load(Ordering::Relaxed)
    }
}

fn bump(cell: &AtomicU64, count: u64) {
    // One writer per cell, so a plain load and store do what a locked addition would, at a fifth of its cost.
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}
