//! Trunks on the wire: QUIC connections to other edges on a thread of their own, around the core's `TrunkNode`.
//!
//! - `identity`: certificates and who a neighbour proves to be; `transport`: QUIC's settings and our congestion window.
//! - `socket`, `crypto`: what QUIC would drop in silence is counted by name where it arrives and where it is opened;
//!   `ids`: whose it is.
//! - `connection`: one connection's tasks; `queue`: what waits for it, by priority.
//! - `hub`: the node, the rings to the shards, and which connection a neighbour has; `dial`: getting one.
//!
//! No decision about a stream is made here, and nothing but this thread touches the node.

mod connection;
mod crypto;
mod dial;
mod hub;
mod identity;
mod ids;
mod queue;
mod socket;
mod sources;
#[cfg(test)]
mod tests;
mod transport;

use crate::link::{TrunkConfig, TrunkHandle, TrunkLink};
use hub::Hub;
use identity::Dialler;
use ids::Ids;
use quinn::{Endpoint, Runtime, TokioRuntime, VarInt};
use socket::CountingSocket;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::LocalSet;

/// Looked at the clock at least this often, whatever the node says.
const TURN_MAX: Duration = Duration::from_millis(50);
/// Time for neighbours to hear that we close.
const CLOSE_GRACE: Duration = Duration::from_millis(300);

/// Binds the trunk socket and starts the trunk thread. Errors name the address or what is wrong with the certificate.
pub fn spawn(config: TrunkConfig, link: TrunkLink) -> io::Result<TrunkHandle> {
    let identity = if config.certificate_pem.is_empty() {
        None
    } else {
        Some(identity::load(&config)?)
    };
    let socket = std::net::UdpSocket::bind(config.bind)
        .map_err(|error| io::Error::new(error.kind(), format!("trunk socket {}: {error}", config.bind)))?;
    let local_address = socket.local_addr()?;
    let (started, start) = mpsc::channel();
    let thread = std::thread::Builder::new()
        .name("tradewind-trunk".to_owned())
        .spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .enable_time()
                .build()
            {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            LocalSet::new().block_on(&runtime, async move {
                match open(&config, identity, socket, &link) {
                    Ok(dialler) => {
                        let _ = started.send(Ok(()));
                        run(Rc::new(RefCell::new(Hub::new(&config, link, dialler)))).await;
                    }
                    Err(error) => drop(started.send(Err(error))),
                }
            });
        })?;
    start
        .recv()
        .map_err(|_| io::Error::other("the trunk thread ended at its start"))??;
    Ok(TrunkHandle { local_address, thread })
}

fn open(
    config: &TrunkConfig,
    identity: Option<identity::Identity>,
    socket: std::net::UdpSocket,
    link: &TrunkLink,
) -> io::Result<Option<Dialler>> {
    let Some(identity) = identity else { return Ok(None) };
    let transport = Arc::new(transport::transport(config.window_bytes, link.clock));
    let (runtime, ids) = (Arc::new(TokioRuntime), Arc::new(Ids::new()?));
    let socket = CountingSocket::new(
        runtime.wrap_udp_socket(socket)?,
        Arc::clone(&link.counters),
        Arc::clone(&ids),
    );
    let server = identity.server(Arc::clone(&transport), &link.counters, &ids)?;
    let endpoint = Endpoint::new_with_abstract_socket(ids.endpoint(), Some(server), Arc::new(socket), runtime)?;
    Ok(Some(identity.dialler(endpoint, transport, &link.counters, &ids)?))
}

/// Everything that is not a connection's own task: rings, commands, time.
async fn run(hub: Rc<RefCell<Hub>>) {
    let endpoint = hub.borrow().dialler.as_ref().map(|dialler| dialler.endpoint.clone());
    if let Some(endpoint) = endpoint.clone() {
        tokio::task::spawn_local(dial::accept(Rc::clone(&hub), endpoint));
    }
    let waker = hub.borrow().link.mailbox.waker();
    // SAFETY: the eventfd is owned by the `Arc` that moves into the `AsyncFd`, and never closed or replaced before it.
    let wake = unsafe { AsyncFd::register_with_interest(waker, Interest::READABLE) };
    let wake = wake.ok(); // without it, rings are looked at every turn
    while let Some(deadline) = Hub::turn(&hub) {
        let wait = tokio::time::sleep(deadline.min(if wake.is_some() {
            TURN_MAX
        } else {
            Duration::from_millis(1)
        }));
        match &wake {
            Some(wake) => tokio::select! {
                ready = wake.readable() => {
                    if let Ok(mut ready) = ready {
                        ready.clear_ready();
                    }
                }
                () = wait => {}
            },
            None => wait.await,
        }
    }
    if let Some(endpoint) = endpoint {
        endpoint.close(VarInt::from_u32(connection::CLOSE_SHUTDOWN), b"shutdown");
        let _ = tokio::time::timeout(CLOSE_GRACE, endpoint.wait_idle()).await;
    }
}
