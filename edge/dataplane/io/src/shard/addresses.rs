//! Which peer an address leads to: one of this shard, or another shard's.
//!
//! An address has one owner in the process, who is told to all shards, since the kernel gives a client's datagrams to whichever
//! shard its hash says. Whoever knows a password of its own can send checks with somebody else's address as the source: so a
//! living peer keeps the address that its media goes by.

use crate::handoff::WorkerIndex;
use std::collections::HashMap;
use std::net::SocketAddr;
use tradewind_core::ice;

/// Addresses per session; as many as ICE remembers.
const ADDRESSES_MAX: usize = ice::PATHS_MAX;

/// Who has an address that somebody else asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder {
    /// A peer of this shard, by its index.
    Peer(usize),
    /// A peer of another shard.
    Shard(WorkerIndex),
}

/// The addresses one shard knows.
#[derive(Default)]
pub struct Addresses {
    peers: HashMap<SocketAddr, usize>,
    /// The same by peer, oldest first.
    lists: HashMap<usize, Vec<SocketAddr>>,
    /// Addresses whose sessions live in other shards.
    foreign: HashMap<SocketAddr, WorkerIndex>,
}

impl Addresses {
    /// The peer of this shard whose address it is.
    pub fn peer(&self, address: SocketAddr) -> Option<usize> {
        self.peers.get(&address).copied()
    }

    /// The other shard whose address it is.
    pub fn shard(&self, address: SocketAddr) -> Option<WorkerIndex> {
        self.foreign.get(&address).copied()
    }

    /// Who has the address, when it is not `index`.
    pub fn holder(&self, address: SocketAddr, index: usize) -> Option<Holder> {
        match self.peer(address) {
            Some(peer) if peer == index => None,
            Some(peer) => Some(Holder::Peer(peer)),
            None => self.shard(address).map(Holder::Shard),
        }
    }

    /// Gives the address to a peer, and takes the oldest from it when it has too many, though not the one `in_use`. Returns
    /// whether it is new to the peer, and the one that was taken.
    pub fn give(
        &mut self,
        address: SocketAddr,
        index: usize,
        in_use: Option<SocketAddr>,
    ) -> (bool, Option<SocketAddr>) {
        match self.peers.insert(address, index) {
            Some(before) if before == index => return (false, None),
            Some(before) => self.unlist(address, before),
            None => {}
        }
        self.foreign.remove(&address);
        let list = self.lists.entry(index).or_default();
        let mut left = None;
        if list.len() >= ADDRESSES_MAX {
            let oldest = list.iter().position(|known| Some(*known) != in_use).unwrap_or(0);
            left = Some(list.remove(oldest));
        }
        list.push(address);
        if let Some(left) = left {
            self.peers.remove(&left);
        }
        (true, left)
    }

    /// Takes one address from whichever peer of this shard has it.
    pub fn release(&mut self, address: SocketAddr) {
        if let Some(index) = self.peers.remove(&address) {
            self.unlist(address, index);
        }
    }

    /// A peer is gone: its addresses are nobody's.
    pub fn forget(&mut self, index: usize) -> Vec<SocketAddr> {
        let list = self.lists.remove(&index).unwrap_or_default();
        for address in &list {
            self.peers.remove(address);
        }
        list
    }

    /// Another shard says that the address is its own.
    pub fn handle_owned(&mut self, address: SocketAddr, from: WorkerIndex) {
        self.foreign.insert(address, from);
    }

    /// Another shard says that the address is not its own any more.
    pub fn handle_released(&mut self, address: SocketAddr, from: WorkerIndex) {
        if self.foreign.get(&address) == Some(&from) {
            self.foreign.remove(&address);
        }
    }

    fn unlist(&mut self, address: SocketAddr, index: usize) {
        if let Some(list) = self.lists.get_mut(&index) {
            list.retain(|known| *known != address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: usize) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port as u16))
    }

    #[test]
    fn a_peer_leaves_its_oldest_address_and_not_the_one_in_use() {
        let mut addresses = Addresses::default();
        for port in 0..ADDRESSES_MAX {
            assert_eq!(addresses.give(address(port), 7, Some(address(0))), (true, None));
        }
        assert_eq!(addresses.give(address(3), 7, None), (false, None), "known");
        let more = addresses.give(address(100), 7, Some(address(0)));
        assert_eq!(more, (true, Some(address(1))));
        assert_eq!(
            (addresses.peer(address(0)), addresses.peer(address(1))),
            (Some(7), None)
        );
        assert_eq!(addresses.forget(7).len(), ADDRESSES_MAX);
        assert_eq!(addresses.peer(address(0)), None);
    }

    #[test]
    fn who_has_an_address_is_known_to_whoever_asks_for_it() {
        let mut addresses = Addresses::default();
        assert_eq!(addresses.holder(address(1), 7), None);
        addresses.give(address(1), 7, None);
        addresses.handle_owned(address(2), 3);
        assert_eq!(addresses.holder(address(1), 7), None);
        assert_eq!(addresses.holder(address(1), 8), Some(Holder::Peer(7)));
        assert_eq!(addresses.holder(address(2), 8), Some(Holder::Shard(3)));
        addresses.handle_released(address(2), 4);
        assert_eq!(
            addresses.holder(address(2), 8),
            Some(Holder::Shard(3)),
            "not shard 4's to release"
        );
        addresses.handle_released(address(2), 3);
        assert_eq!(addresses.holder(address(2), 8), None);
    }

    #[test]
    fn an_address_has_one_peer_and_the_one_before_does_not_take_it_away() {
        let mut addresses = Addresses::default();
        addresses.give(address(1), 7, None);
        addresses.give(address(1), 8, None);
        assert_eq!(addresses.forget(7), []);
        assert_eq!(addresses.peer(address(1)), Some(8));
        addresses.release(address(1));
        assert_eq!((addresses.peer(address(1)), addresses.forget(8)), (None, vec![]));
    }
}
