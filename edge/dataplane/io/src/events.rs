//! What the packet path tells Python: a bounded queue and a descriptor that is readable while it holds something.

use crate::event_fd::EventFd;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Events that may wait for Python; above, new ones are dropped and counted. A busy edge makes tens per second.
pub const EVENT_QUEUE_MAX: usize = 16_384;

/// The kinds of [`Event`]; the name is what Python sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum EventKind {
    /// ICE and DTLS are complete: session_id, room, role, srtp_profile, dtls_role, remote_address.
    #[default]
    SessionConnected,
    /// The first media packet was received from a host or sent to a viewer: session_id, room, role.
    SessionFirstMedia,
    /// The session is gone: session_id, room, role, reason.
    SessionClosed,
    /// A local publisher has sent its first packet: room, incarnation, codecs.
    SourceStarted,
    /// A local publisher is gone: room, incarnation, reason.
    SourceStopped,
    /// A local publisher does something that hurts its viewers: room, incarnation, reason.
    SourceWarning,
    /// A local publisher's sender report says what its clock shows: room, incarnation, media_time_ms.
    SourceClock,
    /// A remote source became available here: room, incarnation, peer.
    SourceSeen,
    /// A remote source is no longer available here: room, incarnation, reason.
    SourceLost,
    /// A trunk is up: peer, remote_address.
    TrunkUp,
    /// A trunk is down: peer, reason.
    TrunkDown,
    /// This edge's place in a stream's tree changed: room, incarnation, parent, children.
    TreeChanged,
    /// A fail-over step: room, incarnation, phase, parent, peer, reason.
    Failover,
    /// A room message from a neighbour: room, peer, payload.
    RoomMessage,
}

impl EventKind {
    /// The kind's name as Python sees it.
    pub const fn name(self) -> &'static str {
        match self {
            EventKind::SessionConnected => "session_connected",
            EventKind::SessionFirstMedia => "session_first_media",
            EventKind::SessionClosed => "session_closed",
            EventKind::SourceStarted => "source_started",
            EventKind::SourceStopped => "source_stopped",
            EventKind::SourceWarning => "source_warning",
            EventKind::SourceClock => "source_clock",
            EventKind::SourceSeen => "source_seen",
            EventKind::SourceLost => "source_lost",
            EventKind::TrunkUp => "trunk_up",
            EventKind::TrunkDown => "trunk_down",
            EventKind::TreeChanged => "tree_changed",
            EventKind::Failover => "failover",
            EventKind::RoomMessage => "room_message",
        }
    }
}

/// One event. Fields that a kind does not use are empty; [`EventKind`] says which are used.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)] // the fields' meaning stands beside each kind
pub struct Event {
    pub kind: EventKind,
    pub session_id: Option<u64>,
    pub room: String,
    pub role: &'static str,
    pub reason: String,
    pub incarnation: u64,
    pub srtp_profile: &'static str,
    pub dtls_role: &'static str,
    pub remote_address: String,
    pub codecs: Vec<&'static str>,
    pub peer: Option<String>,
    pub parent: Option<String>,
    pub children: Vec<String>,
    pub phase: &'static str,
    pub media_time_ms: u64,
    pub payload: Vec<u8>,
}

/// The workers' end of the queue.
#[derive(Clone, Debug)]
pub struct EventSender {
    queue: Sender<Event>,
    wake: Arc<EventFd>,
    dropped: Arc<AtomicU64>,
}

impl EventSender {
    /// Queues an event and wakes Python. At the bound the new event is dropped and counted.
    pub fn send(&self, event: Event) {
        match self.queue.try_send(event) {
            Ok(()) => self.wake.wake(),
            Err(TrySendError::Full(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
            Err(TrySendError::Disconnected(_)) => {} // Python has closed the packet path; nobody is left to tell
        }
    }
}

/// Python's end of the queue.
#[derive(Debug)]
pub struct EventReceiver {
    queue: Receiver<Event>,
    wake: Arc<EventFd>,
    dropped: Arc<AtomicU64>,
}

impl EventReceiver {
    /// Readable while the queue holds something.
    pub fn wake_fd(&self) -> RawFd {
        self.wake.as_raw_fd()
    }

    /// Takes up to `limit` events; the descriptor stays readable when more are left.
    pub fn poll(&self, limit: usize) -> Vec<Event> {
        // Cleared first: an event that arrives while we drain sets it again and is seen by the next poll.
        self.wake.clear();
        let events: Vec<Event> = self.queue.try_iter().take(limit).collect();
        if !self.queue.is_empty() {
            self.wake.wake();
        }
        events
    }

    /// Events dropped because the queue was full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// A queue of at most [`EVENT_QUEUE_MAX`] events.
pub fn event_queue() -> io::Result<(EventSender, EventReceiver)> {
    let (sender, receiver) = bounded(EVENT_QUEUE_MAX);
    let wake = Arc::new(EventFd::new()?);
    let dropped = Arc::new(AtomicU64::new(0));
    Ok((
        EventSender {
            queue: sender,
            wake: Arc::clone(&wake),
            dropped: Arc::clone(&dropped),
        },
        EventReceiver {
            queue: receiver,
            wake,
            dropped,
        },
    ))
}
