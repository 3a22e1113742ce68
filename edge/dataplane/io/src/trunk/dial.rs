//! Getting a connection to a neighbour: dialling until one is there, and accepting what neighbours dial.

use crate::counters::DropReason;
use crate::trunk::connection::CLOSE_UNKNOWN_PEER;
use crate::trunk::hub::Hub;
use crate::trunk::identity::{Dialler, peer_names};
use quinn::{Connection, Endpoint, Incoming, VarInt};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tradewind_core::mesh::{EdgeId, MeshDrop};

/// A handshake that takes longer is begun anew: the first packets may have been lost.
const HANDSHAKE: Duration = Duration::from_secs(3);
/// First pause after a failed attempt; doubled up to the longest.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_LONGEST: Duration = Duration::from_secs(2);
/// A connection that lived this long was a good one; the next is dialled without a pause.
const STEADY: Duration = Duration::from_secs(2);
/// Handshakes under way at once, so that strangers cannot fill memory.
const HANDSHAKES_MAX: usize = 64;

/// Keeps a connection to `peer` until the hub aborts the task.
pub async fn keep_connected(hub: Rc<RefCell<Hub>>, dialler: Dialler, peer: EdgeId) {
    let mut backoff = BACKOFF_FIRST;
    loop {
        let current = hub.borrow().connection_of(&peer);
        if let Some(connection) = current {
            let since = tokio::time::Instant::now();
            connection.closed().await;
            if since.elapsed() >= STEADY {
                backoff = BACKOFF_FIRST;
                // The reader task tells the hub; one turn later the table is up to date.
                tokio::task::yield_now().await;
            } else {
                // A neighbour that closes at once, because it was not told of us yet, is not asked in a tight loop.
                tokio::time::sleep(backoff).await;
                backoff = (backoff * 2).min(BACKOFF_LONGEST);
            }
            continue;
        }
        let address = hub.borrow().address_of(&peer);
        let connected = match address {
            Some(address) => dial(&dialler, &address, &peer).await,
            None => None,
        };
        if let Some(connection) = connected
            && Hub::adopt(&hub, &peer, connection, true)
        {
            continue;
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF_LONGEST);
    }
}

async fn dial(dialler: &Dialler, address: &str, peer: &str) -> Option<Connection> {
    let address = resolve(address).await?;
    let connecting = dialler.dial(address, peer).ok()?;
    tokio::time::timeout(HANDSHAKE, connecting).await.ok()?.ok()
}

async fn resolve(address: &str) -> Option<SocketAddr> {
    if let Ok(address) = address.parse() {
        return Some(address);
    }
    // Names are looked up at each attempt: a restarted neighbour may have moved.
    let address = address.to_owned();
    let lookup = tokio::task::spawn_blocking(move || std::net::ToSocketAddrs::to_socket_addrs(&address).ok()?.next());
    lookup.await.ok().flatten()
}

/// Takes connections that neighbours dial.
pub async fn accept(hub: Rc<RefCell<Hub>>, endpoint: Endpoint) {
    let slots = std::sync::Arc::new(tokio::sync::Semaphore::new(HANDSHAKES_MAX));
    while let Some(incoming) = endpoint.accept().await {
        let Ok(slot) = std::sync::Arc::clone(&slots).try_acquire_owned() else {
            incoming.ignore();
            hub.borrow()
                .link
                .counters
                .drop_many(DropReason::TrunkHandshakeFailed, 1);
            continue;
        };
        let hub = Rc::clone(&hub);
        tokio::task::spawn_local(async move {
            welcome(&hub, incoming).await;
            drop(slot);
        });
    }
}

async fn welcome(hub: &Rc<RefCell<Hub>>, incoming: Incoming) {
    let Ok(Ok(connection)) = tokio::time::timeout(HANDSHAKE, incoming.into_future()).await else {
        hub.borrow()
            .link
            .counters
            .drop_many(DropReason::TrunkHandshakeFailed, 1);
        return;
    };
    let names = peer_names(&connection);
    let peer = hub.borrow().known_peer(&names);
    match peer {
        Some(peer) => {
            Hub::adopt(hub, &peer, connection, false);
        }
        None => {
            hub.borrow().link.counters.drop_named(MeshDrop::PeerUnknown.name());
            connection.close(VarInt::from_u32(CLOSE_UNKNOWN_PEER), b"unknown_peer");
        }
    }
}
