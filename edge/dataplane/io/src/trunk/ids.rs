//! The connection ids that this edge gives out, and what became of their connections. QUIC says neither which ids a
//! connection has nor when it forgets them; a connection's own keys see the ids of what they open, and go when it goes.

use openssl::rand::rand_bytes;
use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig};
use quinn_proto::HashedConnectionIdGenerator;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tradewind_core::mesh::{IdState, QUIC_VERSION};

/// Ids of ended connections that are remembered; what comes for older ones has no name any more.
const ENDED_MAX: usize = 1_024;
/// Ids of one connection that are noted: a neighbour uses one at a time, and takes another when its address changes.
const IDS_MAX: usize = 64;

/// The ids of one endpoint. Shared by its socket and its connections' keys, all used by the trunk thread alone: the lock
/// is there because QUIC demands that they can be shared, and never contended.
pub struct Ids {
    key: u64,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    known: HashMap<u64, Known>,
    ended: VecDeque<u64>,
}

#[derive(Clone, Copy)]
struct Known {
    state: IdState,
    dialled: Option<SocketAddr>,
}

impl Ids {
    /// Ids of a new endpoint: they carry a hash under its key.
    pub fn new() -> io::Result<Self> {
        let mut key = [0; 8];
        rand_bytes(&mut key)?;
        Ok(Ids {
            key: u64::from_be_bytes(key),
            table: Mutex::default(),
        })
    }

    /// Settings of the endpoint that gives them out.
    pub fn endpoint(&self) -> EndpointConfig {
        let mut config = EndpointConfig::default();
        let key = self.key;
        config
            .cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(key)))
            .supported_versions(vec![QUIC_VERSION])
            // With RFC 9287 a neighbour's packets could look like anything, and garbage could not be told from them.
            .grease_quic_bit(false);
        config
    }

    /// What is known of `id` in a datagram from `source`.
    pub fn state_of(&self, id: &[u8], source: SocketAddr) -> IdState {
        let Some(number) = self.own(id) else {
            return IdState::Unknown;
        };
        match self.table().known.get(&number) {
            None => IdState::Open,
            Some(known) if known.state == IdState::Ended => IdState::Ended,
            Some(known) if known.dialled.is_some_and(|dialled| !is_same(dialled, source)) => IdState::Elsewhere,
            Some(known) => known.state,
        }
    }

    /// The id as a number, if an endpoint with this key could have given it out.
    fn own(&self, id: &[u8]) -> Option<u64> {
        let number = u64::from_be_bytes(id.try_into().ok()?);
        let ids = HashedConnectionIdGenerator::from_key(self.key);
        ids.validate(&ConnectionId::new(id)).is_ok().then_some(number)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An IPv4 address is another kind of address on a socket for both families.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port() && one.ip().to_canonical() == other.ip().to_canonical()
}

/// One connection's time: begins with its TLS session, and ends when the last of its keys is gone.
pub struct Life {
    ids: Arc<Ids>,
    dialled: Option<SocketAddr>,
    own: Mutex<Own>,
}

struct Own {
    numbers: Vec<u64>,
    state: IdState,
}

impl Life {
    /// A connection that begins; `dialled` is where the neighbour is, when this edge dials.
    pub fn new(ids: Arc<Ids>, dialled: Option<SocketAddr>) -> Self {
        Life {
            ids,
            dialled,
            own: Mutex::new(Own {
                numbers: Vec::new(),
                state: IdState::Open,
            }),
        }
    }

    /// A packet with this id is for the connection.
    pub fn handle_id(&self, id: &[u8]) {
        let mut own = self.own();
        if let Some(number) = self.ids.own(id)
            && own.numbers.len() < IDS_MAX
            && !own.numbers.contains(&number)
        {
            own.numbers.push(number);
            let known = Known {
                state: own.state,
                dialled: self.dialled,
            };
            self.ids.table().known.insert(number, known);
        }
    }

    /// The keys of its handshake are gone.
    pub fn handle_handshake_over(&self) {
        let mut own = self.own();
        own.state = IdState::Established;
        let mut table = self.ids.table();
        for number in &own.numbers {
            if let Some(known) = table.known.get_mut(number) {
                known.state = IdState::Established;
            }
        }
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let own = self.own.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut table = self.ids.table();
        for number in own.numbers.drain(..) {
            if let Some(known) = table.known.get_mut(&number) {
                known.state = IdState::Ended;
                table.ended.push_back(number);
            }
        }
        while table.ended.len() > ENDED_MAX {
            if let Some(oldest) = table.ended.pop_front() {
                table.known.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7_701);

    fn fresh(ids: &Ids) -> ConnectionId {
        HashedConnectionIdGenerator::from_key(ids.key).generate_cid()
    }

    #[test]
    fn own_ids_are_known_and_others_are_not() {
        let ids = Ids::new().expect("randomness");
        let id = fresh(&ids);
        assert_eq!(ids.state_of(&id, HERE), IdState::Open);
        assert_eq!(ids.state_of(b"somebody", HERE), IdState::Unknown);
        assert_eq!(ids.state_of(&id[..2], HERE), IdState::Unknown);
        assert_eq!(Ids::new().expect("randomness").state_of(&id, HERE), IdState::Unknown);
    }

    #[test]
    fn an_id_follows_its_connection() {
        let ids = Arc::new(Ids::new().expect("randomness"));
        let (first, second) = (fresh(&ids), fresh(&ids));
        let life = Life::new(Arc::clone(&ids), None);
        life.handle_id(&first);
        assert_eq!(ids.state_of(&first, HERE), IdState::Open);
        life.handle_handshake_over();
        life.handle_id(&second);
        for id in [first, second] {
            assert_eq!(ids.state_of(&id, HERE), IdState::Established);
        }
        drop(life);
        for id in [first, second] {
            assert_eq!(ids.state_of(&id, HERE), IdState::Ended);
        }
    }

    #[test]
    fn who_was_dialled_stays_where_it_is() {
        let ids = Arc::new(Ids::new().expect("randomness"));
        let id = fresh(&ids);
        let life = Life::new(Arc::clone(&ids), Some(HERE));
        life.handle_id(&id);
        let mapped: SocketAddr = "[::ffff:127.0.0.1]:7701".parse().expect("an address");
        let elsewhere: SocketAddr = "127.0.0.1:7702".parse().expect("an address");
        assert_eq!(ids.state_of(&id, HERE), IdState::Open);
        assert_eq!(ids.state_of(&id, mapped), IdState::Open);
        assert_eq!(ids.state_of(&id, elsewhere), IdState::Elsewhere);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let ids = Arc::new(Ids::new().expect("randomness"));
        let oldest = fresh(&ids);
        for id in std::iter::once(oldest).chain((0..ENDED_MAX).map(|_| fresh(&ids))) {
            Life::new(Arc::clone(&ids), None).handle_id(&id);
        }
        assert_eq!(ids.table().known.len(), ENDED_MAX);
        assert_eq!(ids.state_of(&oldest, HERE), IdState::Open);
        let life = Life::new(Arc::clone(&ids), None);
        (0..IDS_MAX + 1).for_each(|_| life.handle_id(&fresh(&ids)));
        assert_eq!(ids.table().known.len(), ENDED_MAX + IDS_MAX);
    }
}
