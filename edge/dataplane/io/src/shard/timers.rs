//! When each peer wants to be served next: a heap whose outdated entries are skipped when they come up.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use tradewind_core::time::Time;

/// A peer's place in the shard's table, with the session it was meant for: places are used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PeerKey {
    /// Which session.
    pub session_id: u64,
    /// Index into the table.
    pub index: usize,
}

/// Deadlines of a shard's peers.
#[derive(Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(Time, PeerKey)>>,
}

impl Timers {
    /// Notes that `key` wants to be served at `due`. The caller remembers the earliest `due` it has noted and does not
    /// note later ones, so that a peer has one current entry.
    pub fn insert(&mut self, due: Time, key: PeerKey) {
        self.heap.push(Reverse((due, key)));
    }

    /// The next entry that is due, current or not.
    pub fn pop(&mut self, now: Time) -> Option<(Time, PeerKey)> {
        match self.heap.peek() {
            Some(Reverse((due, _))) if *due <= now => self.heap.pop().map(|Reverse(entry)| entry),
            _ => None,
        }
    }

    /// When to call [`Timers::pop`] next.
    pub fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((due, _))| *due)
    }
}
