//! What workers (shards and the trunk) hand to each other, and the rings it travels on.
//!
//! Between every ordered pair of workers runs one bounded single-producer ring; each worker has one eventfd that others
//! write after a batch. Media packets are refused when a ring is nearly full (the caller counts the drop and, for
//! video, asks for a key frame); notices use the reserve behind that mark and, beyond it, wait in a short list, so that
//! a flood of media never loses a source or an interest.

use crate::event_fd::EventFd;
use rtrb::{Consumer, Producer, PushError, RingBuffer};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tradewind_core::packet::MediaPacket;
use tradewind_core::source::{SenderClock, SourceInfo};

/// Entries of one ring: a replayed group of pictures (≤ 4,096 packets) and what arrives meanwhile.
pub const RING_SLOTS: usize = 8_192;
/// Slots that media may not use.
const NOTICE_RESERVE: usize = 64;
/// Notices that wait for a full ring; beyond, they are dropped and the caller told.
const WAITING_NOTICES_MAX: usize = 1_024;

/// A source's number in this process: what packets carry instead of a room name. Never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SourceHandle(pub u32);

impl SourceHandle {
    /// The next unused handle.
    pub fn next() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        SourceHandle(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Who a worker is: its place in every ring table. The trunk comes after the shards.
pub type WorkerIndex = usize;

/// One thing handed from one worker to another.
#[derive(Debug)]
pub enum Handoff {
    /// The sender owns a source (its publisher's session, or its trunk subscription) that others may use. Sent to
    /// every other worker when the first packet arrives, interest or not.
    SourceUp {
        /// The number its packets will carry.
        handle: SourceHandle,
        /// What it is.
        info: Arc<SourceInfo>,
    },
    /// The source is gone; its handle will not come back.
    SourceDown {
        /// Which source.
        handle: SourceHandle,
        /// Why, in snake_case.
        reason: &'static str,
    },
    /// One packet of a source, in arrival order, to workers whose interest stands.
    Packet {
        /// Whose packet.
        source: SourceHandle,
        /// Index into the source's tracks.
        track: u8,
        /// The packet; one allocation for all readers.
        packet: Arc<MediaPacket>,
    },
    /// The publisher's latest wallclock to RTP mapping, to workers whose interest stands.
    SenderClock {
        /// Whose clock.
        source: SourceHandle,
        /// Index into the source's tracks.
        track: u8,
        /// The mapping.
        clock: SenderClock,
    },
    /// A loss on a source's way to this edge is repaired in this time; said to every shard, only when it changes.
    RepairDelay {
        /// Whose way.
        source: SourceHandle,
        /// How long.
        repair_ms: u16,
    },
    /// The sender wants (or no longer wants) the media of a room, whichever source it has, now or later. The source's
    /// owner answers with the packets from the latest key frame on and goes on from there.
    Interest {
        /// Which room.
        room: Arc<str>,
        /// Whether media is wanted.
        wanted: bool,
    },
    /// The sender needs a key frame from a source that the receiver owns. The owner coalesces.
    KeyFrameRequest {
        /// Whose key frame.
        source: SourceHandle,
        /// Index into the source's tracks.
        track: u8,
    },
    /// A datagram that reached the wrong shard of the port; the receiver owns its session and never hands it on.
    ForeignDatagram(Box<ForeignDatagram>),
    /// Datagrams from this address belong to a session of the sender (said after an authenticated ICE check only).
    AddressOwned {
        /// The client's address.
        address: SocketAddr,
    },
    /// The address's session is gone, or has left the address.
    AddressReleased {
        /// The client's address.
        address: SocketAddr,
    },
    /// A session of the sender was asked from an address of the receiver's: is that still in use?
    AddressClaimed {
        /// The client's address.
        address: SocketAddr,
    },
}

/// A datagram on its way to the shard that owns its session.
#[derive(Debug)]
pub struct ForeignDatagram {
    /// Who sent it.
    pub source: SocketAddr,
    /// The local address it was sent to.
    pub destination: SocketAddr,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// Why a handoff was not accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandoffDrop {
    /// The ring is full.
    Full,
}

struct Outgoing {
    ring: Producer<Handoff>,
    waiting: VecDeque<Handoff>,
    wake: Arc<EventFd>,
    dirty: bool,
}

/// One worker's ends of all rings.
pub struct Mailbox {
    index: WorkerIndex,
    outgoing: Vec<Option<Outgoing>>,
    incoming: Vec<Option<Consumer<Handoff>>>,
    next_incoming: usize,
    wake: Arc<EventFd>,
}

impl Mailbox {
    /// This worker's index.
    pub fn index(&self) -> WorkerIndex {
        self.index
    }

    /// Number of workers, this one included.
    pub fn workers(&self) -> usize {
        self.outgoing.len()
    }

    /// The other workers.
    pub fn others(&self) -> impl Iterator<Item = WorkerIndex> + use<> {
        let own = self.index;
        (0..self.outgoing.len()).filter(move |index| *index != own)
    }

    /// Readable when something was handed over since [`Mailbox::clear_wake`].
    pub fn wake_fd(&self) -> RawFd {
        self.wake.as_raw_fd()
    }

    /// The same descriptor, for whoever else must wake this worker (commands from Python).
    pub fn waker(&self) -> Arc<EventFd> {
        Arc::clone(&self.wake)
    }

    /// To be called before draining with [`Mailbox::receive`].
    pub fn clear_wake(&self) {
        self.wake.clear();
    }

    /// Hands a media packet or a datagram to another worker; refused when only the notices' reserve is left.
    pub fn send_media(&mut self, to: WorkerIndex, handoff: Handoff) -> Result<(), HandoffDrop> {
        let Some(outgoing) = self.outgoing.get_mut(to).and_then(Option::as_mut) else {
            return Ok(());
        };
        let free = outgoing.ring.cached_slots();
        if free <= NOTICE_RESERVE && outgoing.ring.slots() <= NOTICE_RESERVE {
            return Err(HandoffDrop::Full);
        }
        if !outgoing.waiting.is_empty() {
            return Err(HandoffDrop::Full);
        }
        outgoing.dirty = true;
        outgoing.ring.push(handoff).map_err(|_| HandoffDrop::Full)
    }

    /// Hands over anything that is not media; order among notices and media is kept.
    pub fn send_notice(&mut self, to: WorkerIndex, handoff: Handoff) -> Result<(), HandoffDrop> {
        let Some(outgoing) = self.outgoing.get_mut(to).and_then(Option::as_mut) else {
            return Ok(());
        };
        outgoing.dirty = true;
        outgoing.flush_waiting();
        if outgoing.waiting.is_empty() {
            match outgoing.ring.push(handoff) {
                Ok(()) => return Ok(()),
                Err(PushError::Full(handoff)) => outgoing.waiting.push_back(handoff),
            }
            return Ok(());
        }
        if outgoing.waiting.len() >= WAITING_NOTICES_MAX {
            return Err(HandoffDrop::Full);
        }
        outgoing.waiting.push_back(handoff);
        Ok(())
    }

    /// Wakes every worker that was handed something since the last flush: one system call per receiver and batch.
    /// Returns whether notices still wait for a full ring; call again within milliseconds then.
    pub fn flush(&mut self) -> bool {
        let mut waiting = false;
        for outgoing in self.outgoing.iter_mut().flatten() {
            outgoing.flush_waiting();
            waiting |= !outgoing.waiting.is_empty();
            if std::mem::take(&mut outgoing.dirty) {
                outgoing.wake.wake();
            }
        }
        waiting
    }

    /// Takes the next handoff and who sent it, fair between senders.
    pub fn receive(&mut self) -> Option<(WorkerIndex, Handoff)> {
        let count = self.incoming.len();
        for step in 0..count {
            let from = (self.next_incoming + step) % count;
            if let Some(handoff) = self.incoming[from].as_mut().and_then(|ring| ring.pop().ok()) {
                self.next_incoming = (from + 1) % count;
                return Some((from, handoff));
            }
        }
        None
    }
}

impl Outgoing {
    fn flush_waiting(&mut self) {
        while let Some(handoff) = self.waiting.pop_front() {
            if let Err(PushError::Full(handoff)) = self.ring.push(handoff) {
                self.waiting.push_front(handoff);
                return;
            }
            self.dirty = true;
        }
    }
}

/// Connects `workers` workers with each other: element i of the result belongs to worker i.
pub fn connect(workers: usize) -> io::Result<Vec<Mailbox>> {
    let wakes = (0..workers)
        .map(|_| EventFd::new().map(Arc::new))
        .collect::<io::Result<Vec<_>>>()?;
    let mut mailboxes: Vec<Mailbox> = wakes
        .iter()
        .enumerate()
        .map(|(index, wake)| Mailbox {
            index,
            outgoing: (0..workers).map(|_| None).collect(),
            incoming: (0..workers).map(|_| None).collect(),
            next_incoming: 0,
            wake: Arc::clone(wake),
        })
        .collect();
    for from in 0..workers {
        for to in (0..workers).filter(|to| *to != from) {
            let (producer, consumer) = RingBuffer::new(RING_SLOTS);
            mailboxes[from].outgoing[to] = Some(Outgoing {
                ring: producer,
                waiting: VecDeque::new(),
                wake: Arc::clone(&wakes[to]),
                dirty: false,
            });
            mailboxes[to].incoming[from] = Some(consumer);
        }
    }
    Ok(mailboxes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(track: u8) -> Handoff {
        Handoff::KeyFrameRequest {
            source: SourceHandle(1),
            track,
        }
    }

    #[test]
    fn notices_pass_when_media_is_refused_and_keep_their_order() {
        let mut mailboxes = connect(2).expect("eventfds");
        let mut receiver = mailboxes.pop().expect("two");
        let mut sender = mailboxes.pop().expect("two");
        while sender.send_media(1, request(0)).is_ok() {}
        for track in 1..=100 {
            sender.send_notice(1, request(track)).expect("waits behind the ring");
        }
        assert!(sender.flush(), "36 notices wait");
        assert_eq!(sender.send_media(1, request(0)), Err(HandoffDrop::Full));
        let mut seen = Vec::new();
        loop {
            while let Some((from, handoff)) = receiver.receive() {
                assert_eq!(from, 0);
                let Handoff::KeyFrameRequest { track, .. } = handoff else {
                    panic!("only requests were sent")
                };
                seen.push(track);
            }
            if !sender.flush() && receiver.incoming[0].as_ref().is_some_and(|ring| ring.is_empty()) {
                break;
            }
        }
        assert_eq!(seen.len(), RING_SLOTS - NOTICE_RESERVE + 100);
        assert_eq!(seen[seen.len() - 100..], (1..=100).collect::<Vec<u8>>());
    }

    #[test]
    fn a_handoff_stays_small() {
        // A ring between each pair of workers is touched all over; 32 bytes keep it at 256 KiB.
        assert!(
            std::mem::size_of::<Handoff>() <= 40,
            "{}",
            std::mem::size_of::<Handoff>()
        );
    }
}
