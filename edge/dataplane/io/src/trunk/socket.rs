//! The trunk's UDP socket with a look at what arrives. QUIC gets everything; what it can make nothing of is counted here,
//! because it drops that without a word.

use crate::counters::WorkerCounters;
use crate::trunk::ids::Ids;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tradewind_core::mesh::check_datagram;

/// A socket that counts what is not for any connection here.
pub struct CountingSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    counters: Arc<WorkerCounters>,
    ids: Arc<Ids>,
}

impl CountingSocket {
    /// Watches what `inner` receives. To be polled by the thread that owns `counters`.
    pub fn new(inner: Arc<dyn AsyncUdpSocket>, counters: Arc<WorkerCounters>, ids: Arc<Ids>) -> Self {
        CountingSocket { inner, counters, ids }
    }

    fn look_at(&self, datagram: &[u8], source: SocketAddr) {
        if let Err(reason) = check_datagram(datagram, |id| self.ids.state_of(id, source)) {
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
                self.look_at(&[], meta.addr);
            }
            // With UDP_GRO one buffer holds several datagrams, all but the last of them `stride` long.
            for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                self.look_at(datagram, meta.addr);
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
