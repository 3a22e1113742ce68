//! The trunk's UDP socket with a look at what arrives. QUIC gets everything; what it can make nothing of is counted here,
//! because it drops that without a word.

use crate::counters::WorkerCounters;
use openssl::rand::rand_bytes;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, ConnectionId, ConnectionIdGenerator, EndpointConfig, UdpPoller};
use quinn_proto::HashedConnectionIdGenerator;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tradewind_core::mesh::{QUIC_VERSION, check_datagram};

/// Recognises the connection ids that this process gives out: they carry a hash under its key.
#[derive(Clone, Copy)]
pub struct OwnIds {
    key: u64,
}

impl OwnIds {
    /// Ids of a new endpoint.
    pub fn new() -> io::Result<Self> {
        let mut key = [0; 8];
        rand_bytes(&mut key)?;
        Ok(OwnIds {
            key: u64::from_be_bytes(key),
        })
    }

    /// Whether an endpoint with this key could have given out `id`.
    fn includes(self, id: &[u8]) -> bool {
        let ids = HashedConnectionIdGenerator::from_key(self.key);
        id.len() == ids.cid_len() && ids.validate(&ConnectionId::new(id)).is_ok()
    }

    /// Settings of the endpoint that gives them out.
    pub fn endpoint(self) -> EndpointConfig {
        let mut config = EndpointConfig::default();
        config
            .cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(self.key)))
            .supported_versions(vec![QUIC_VERSION])
            // With RFC 9287 a neighbour's packets could look like anything, and garbage could not be told from them.
            .grease_quic_bit(false);
        config
    }
}

/// A socket that counts what is not for any connection here.
pub struct CountingSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    counters: Arc<WorkerCounters>,
    own: OwnIds,
}

impl CountingSocket {
    /// Watches what `inner` receives. To be polled by the thread that owns `counters`.
    pub fn new(inner: Arc<dyn AsyncUdpSocket>, counters: Arc<WorkerCounters>, own: OwnIds) -> Self {
        CountingSocket { inner, counters, own }
    }

    fn look_at(&self, datagram: &[u8]) {
        if let Err(reason) = check_datagram(datagram, |id| self.own.includes(id)) {
            self.counters.drop_named(reason.name());
        }
    }
}

impl std::fmt::Debug for CountingSocket {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("CountingSocket")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for CountingSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.inner.poll_recv(context, buffers, meta))?;
        for (buffer, meta) in buffers.iter().zip(meta.iter()).take(count) {
            if meta.len == 0 {
                self.look_at(&[]);
            }
            // With UDP_GRO one buffer holds several datagrams, all but the last of them `stride` long.
            for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                self.look_at(datagram);
            }
        }
        Poll::Ready(Ok(count))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_ids_are_known_and_others_are_not() {
        let own = OwnIds::new().expect("randomness");
        let id = HashedConnectionIdGenerator::from_key(own.key).generate_cid();
        assert!(own.includes(&id));
        assert!(!own.includes(b"somebody"));
        assert!(!own.includes(&id[..2]));
        assert!(!OwnIds::new().expect("randomness").includes(&id));
    }
}
