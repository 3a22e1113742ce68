//! One shard: a pinned thread with its own sockets on the media port and all of its sessions.
//!
//! Each turn of the loop waits for a datagram, a handoff, a command or a deadline, reads the clock once, feeds what came
//! in, serves what is due and flushes what is complete. Decisions are the core's; nothing here is shared with another
//! thread but counters and the rings.

mod addresses;
mod datagrams;
mod egress;
mod fan_out;
mod handoffs;
mod lifecycle;
mod peer;
mod rooms;
mod service;
mod sound;
mod timers;

use crate::clock::Clock;
use crate::counters::WorkerCounters;
use crate::directory::Directory;
use crate::dtls::{Dtls, DtlsRole};
use crate::events::EventSender;
use crate::features::Features;
use crate::handoff::{Mailbox, SourceHandle};
use crate::udp::{MediaSocket, Receiver};
use addresses::Addresses;
use crossbeam_channel::Receiver as CommandReceiver;
use egress::Egress;
use peer::Peer;
use rooms::{Room, Source};
use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use timers::Timers;
use tradewind_core::session::Half;
use tradewind_core::time::Time;

/// A frame whose marker does not come is sent after this long.
const FLUSH_AFTER: Duration = Duration::from_millis(1);
/// The report for Python is renewed this often.
const REPORT_EVERY: Duration = Duration::from_millis(250);
/// Notices that another worker's ring had no place for are offered again after this long.
const NOTICE_RETRY: Duration = Duration::from_millis(1);
/// Memory of ended handshakes goes back to the system this long after the first of them was freed.
const TRIM_AFTER: Duration = Duration::from_secs(2);
/// Batches read from one socket before others get their turn.
const BATCHES_PER_TURN: usize = 8;
/// Handoffs taken before sockets get their turn.
const HANDOFFS_PER_TURN: usize = 1_024;

/// A session that Python has answered an offer for.
pub struct OpenSession {
    /// Its number.
    pub session_id: u64,
    /// Its room.
    pub room: Arc<str>,
    /// Our ICE credentials; the ufrag names this shard.
    pub ice_ufrag: String,
    /// Our ICE password.
    pub ice_pwd: String,
    /// The handshake, not started.
    pub dtls: Dtls,
    /// Our end of it.
    pub dtls_role: DtlsRole,
    /// What it does.
    pub half: Half,
    /// For a host: which publication this is.
    pub incarnation: u64,
}

/// Commands from Python to a shard; it is woken through its mailbox's eventfd.
pub enum ShardCommand {
    /// A new session.
    Open(Box<OpenSession>),
    /// End a session.
    Close {
        /// Which one.
        session_id: u64,
        /// Why, in snake_case.
        reason: String,
    },
    /// End all sessions and the thread.
    Stop,
}

/// What a shard tells snapshots.
#[derive(Clone, Debug, Default)]
pub struct ShardReport {
    /// One entry per source that is known here and has viewers here or its host here.
    pub streams: Vec<crate::link::StreamStats>,
}

/// What a shard is made of.
pub struct ShardParts {
    /// This edge.
    pub edge_id: Arc<str>,
    /// Rings to the other workers.
    pub mailbox: Mailbox,
    /// How many of the workers are shards; a trunk, if any, comes after them.
    pub shards: usize,
    /// IPv4 and IPv6 sockets.
    pub sockets: [Option<Arc<MediaSocket>>; 2],
    /// Commands from Python.
    pub commands: CommandReceiver<ShardCommand>,
    /// Events to Python.
    pub events: EventSender,
    /// This shard's numbers.
    pub counters: Arc<WorkerCounters>,
    /// Open sessions of the process.
    pub directory: Arc<Directory>,
    /// Where the report goes.
    pub report: Arc<Mutex<ShardReport>>,
    /// What is switched on.
    pub features: Features,
    /// The process's clock.
    pub clock: Clock,
    /// A peer that is silent for so long is gone.
    pub peer_timeout: Duration,
}

/// A running shard.
pub struct Shard {
    parts: ShardParts,
    peers: Vec<Option<Box<Peer>>>,
    free: Vec<usize>,
    by_slot: HashMap<u32, usize>,
    addresses: Addresses,
    rooms: HashMap<Arc<str>, Room>,
    sources: HashMap<SourceHandle, Source>,
    /// Sources with packets that wait for their frame's marker, and since when.
    unflushed: Vec<(SourceHandle, Time)>,
    /// Sources with sound that waits for its picture, by when the first of it is due.
    held_sound: BTreeSet<(Time, SourceHandle)>,
    timers: Timers,
    /// When freed memory is given back.
    trim_at: Option<Time>,
    egress: Egress,
    reported_at: Time,
    /// Notices wait for another worker's full ring.
    notices_wait: bool,
    stopping: bool,
}

impl Shard {
    /// A shard without sessions.
    pub fn new(parts: ShardParts) -> Shard {
        let egress = Egress::new(parts.features.gso);
        Shard {
            parts,
            peers: Vec::new(),
            free: Vec::new(),
            by_slot: HashMap::new(),
            addresses: Addresses::default(),
            rooms: HashMap::new(),
            sources: HashMap::new(),
            unflushed: Vec::new(),
            held_sound: BTreeSet::new(),
            timers: Timers::default(),
            trim_at: None,
            egress,
            reported_at: Time::ZERO,
            notices_wait: false,
            stopping: false,
        }
    }

    /// Serves until [`ShardCommand::Stop`].
    pub fn run(mut self) {
        let mut receiver = Receiver::default();
        let mut more = false;
        while !self.stopping {
            let wait = if more { Duration::ZERO } else { self.wait(self.now()) };
            let wake = self.parts.mailbox.wake_fd();
            if wait_for(&self.parts.sockets, wake, wait) {
                self.parts.mailbox.clear_wake();
            }
            more = self.turn(&mut receiver);
        }
        let now = self.now();
        self.close_all("shutdown", now);
    }

    /// One turn; returns whether input was left behind.
    fn turn(&mut self, receiver: &mut Receiver) -> bool {
        let now = self.now();
        self.handle_commands(now);
        let mut more = self.handle_handoffs(now);
        for family in 0..self.parts.sockets.len() {
            if let Some(socket) = self.parts.sockets[family].clone() {
                more |= self.receive_from(&socket, receiver);
            }
        }
        let now = self.now();
        self.flush_overdue(now);
        self.release_due_sound(now);
        self.serve_due(now);
        if now - self.reported_at >= REPORT_EVERY {
            self.reported_at = now;
            self.report();
        }
        if self.trim_at.is_some_and(|due| due <= now) {
            self.trim_at = None;
            give_back_freed_memory();
        }
        self.notices_wait = self.parts.mailbox.flush();
        more
    }

    fn handle_commands(&mut self, now: Time) {
        while let Ok(command) = self.parts.commands.try_recv() {
            match command {
                ShardCommand::Open(open) => self.open(*open, now),
                ShardCommand::Close { session_id, reason } => {
                    let index = self.by_slot.get(&(session_id as u32)).copied();
                    if let Some(index) = index {
                        self.close(index, &reason, now);
                    }
                }
                ShardCommand::Stop => self.stopping = true,
            }
        }
    }

    fn wait(&self, now: Time) -> Duration {
        let mut due = self.reported_at + REPORT_EVERY;
        if self.notices_wait {
            due = due.min(now + NOTICE_RETRY);
        }
        if let Some((_, since)) = self.unflushed.first() {
            due = due.min(*since + FLUSH_AFTER);
        }
        if let Some(held) = self.next_held_sound() {
            due = due.min(held);
        }
        if let Some(timer) = self.timers.next() {
            due = due.min(timer);
        }
        if let Some(trim) = self.trim_at {
            due = due.min(trim);
        }
        due - now
    }

    fn now(&self) -> Time {
        self.parts.clock.now()
    }
}

/// A handshake takes 77 KiB for ten seconds, between allocations that stay: without this the process keeps its pages.
fn give_back_freed_memory() {
    // SAFETY: glibc's malloc_trim has no precondition; it locks each arena while it looks for whole free pages.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Waits for a readable socket, a wake-up or the time-out; returns whether the wake-up came.
fn wait_for(sockets: &[Option<Arc<MediaSocket>>; 2], wake: RawFd, timeout: Duration) -> bool {
    let mut descriptors = [libc::pollfd {
        fd: -1,
        events: libc::POLLIN,
        revents: 0,
    }; 3];
    descriptors[0].fd = wake;
    for (descriptor, socket) in descriptors[1..].iter_mut().zip(sockets) {
        // A negative descriptor is skipped by the kernel.
        descriptor.fd = socket.as_deref().map_or(-1, AsRawFd::as_raw_fd);
    }
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(timeout.subsec_nanos() as i32),
    };
    // SAFETY: three local descriptors and a local time-out; no signal mask. An interrupted wait is an early turn.
    unsafe { libc::ppoll(descriptors.as_mut_ptr(), 3, &raw const timeout, std::ptr::null()) };
    descriptors[0].revents != 0
}
