//! TLS for trunks with a look at what cannot be opened. quinn drops packets that fail authentication, and those it has
//! seen before, without a counter; the keys are the one place where both show.

use crate::counters::WorkerCounters;
use crate::trunk::ids::{Ids, Life};
use bytes::BytesMut;
use quinn::crypto::{
    ClientConfig, CryptoError, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig, Session,
    UnsupportedVersion,
};
use quinn::{ConnectError, ConnectionId, Side};
use quinn_proto::TransportError;
use quinn_proto::transport_parameters::TransportParameters;
use std::any::Any;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tradewind_core::mesh::{PacketNumbers, QuicDrop, destination};

/// Settings for either end whose sessions count.
pub struct Counting<T> {
    inner: Arc<T>,
    counters: Arc<WorkerCounters>,
    ids: Arc<Ids>,
    dialled: Option<SocketAddr>,
}

impl<T> Counting<T> {
    /// For connections that neighbours dial. Counts in `counters`, which the thread of the endpoint owns.
    pub fn accepted(inner: Arc<T>, counters: &Arc<WorkerCounters>, ids: &Arc<Ids>) -> Self {
        Counting {
            inner,
            counters: Arc::clone(counters),
            ids: Arc::clone(ids),
            dialled: None,
        }
    }

    /// For a connection to a neighbour at `address`.
    pub fn dialled(inner: Arc<T>, counters: &Arc<WorkerCounters>, ids: &Arc<Ids>, address: SocketAddr) -> Self {
        Counting {
            dialled: Some(address),
            ..Counting::accepted(inner, counters, ids)
        }
    }

    fn session(&self, inner: Box<dyn Session>) -> Box<dyn Session> {
        Box::new(CountingSession {
            inner,
            counters: Arc::clone(&self.counters),
            life: Arc::new(Life::new(Arc::clone(&self.ids), self.dialled)),
            has_handshake_keys: false,
        })
    }
}

impl<T: ServerConfig> ServerConfig for Counting<T> {
    fn initial_keys(&self, version: u32, destination: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        let keys = self.inner.initial_keys(version, destination)?;
        Ok(count_keys(keys, &self.counters))
    }

    fn retry_tag(&self, version: u32, original: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.inner.retry_tag(version, original, packet)
    }

    fn start_session(self: Arc<Self>, version: u32, parameters: &TransportParameters) -> Box<dyn Session> {
        self.session(Arc::clone(&self.inner).start_session(version, parameters))
    }
}

impl<T: ClientConfig> ClientConfig for Counting<T> {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        parameters: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        Ok(self.session(Arc::clone(&self.inner).start_session(version, server_name, parameters)?))
    }
}

struct CountingSession {
    inner: Box<dyn Session>,
    counters: Arc<WorkerCounters>,
    life: Arc<Life>,
    /// The first keys that the handshake gives are its own, the next those of everything after it.
    has_handshake_keys: bool,
}

impl Session for CountingSession {
    fn initial_keys(&self, destination: &ConnectionId, side: Side) -> Keys {
        count_keys(self.inner.initial_keys(destination, side), &self.counters)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.inner.handshake_data()
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.inner.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.inner.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.inner.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.inner.is_handshaking()
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        self.inner.read_handshake(bytes)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.inner.transport_parameters()
    }

    fn write_handshake(&mut self, bytes: &mut Vec<u8>) -> Option<Keys> {
        let keys = self.inner.write_handshake(bytes)?;
        let Keys { header, packet } = count_keys(keys, &self.counters);
        let remote = WitnessKey {
            inner: header.remote,
            life: Arc::clone(&self.life),
            last: AtomicU64::new(0),
            is_handshake: !std::mem::replace(&mut self.has_handshake_keys, true),
        };
        let header = KeyPair {
            local: header.local,
            remote: Box::new(remote) as Box<dyn HeaderKey>,
        };
        Some(Keys { header, packet })
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let keys = self.inner.next_1rtt_keys()?;
        Some(count_packets(keys, &self.counters))
    }

    fn is_valid_retry(&self, original: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.inner.is_valid_retry(original, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.inner.export_keying_material(output, label, context)
    }
}

fn count_keys(keys: Keys, counters: &Arc<WorkerCounters>) -> Keys {
    Keys {
        header: keys.header,
        packet: count_packets(keys.packet, counters),
    }
}

fn count_packets(keys: KeyPair<Box<dyn PacketKey>>, counters: &Arc<WorkerCounters>) -> KeyPair<Box<dyn PacketKey>> {
    let remote = CountingKey {
        inner: keys.remote,
        opened: Mutex::new(PacketNumbers::default()),
        counters: Arc::clone(counters),
    };
    KeyPair {
        local: keys.local,
        remote: Box::new(remote),
    }
}

/// The key for the headers of what a neighbour sends: it sees the connection's ids.
struct WitnessKey {
    inner: Box<dyn HeaderKey>,
    life: Arc<Life>,
    /// The id of the packet before: nearly always the same.
    last: AtomicU64,
    is_handshake: bool,
}

impl HeaderKey for WitnessKey {
    fn decrypt(&self, number_offset: usize, packet: &mut [u8]) {
        if let Some(id) = destination(packet)
            && self.last.swap(u64::from_be_bytes(*id), Ordering::Relaxed) != u64::from_be_bytes(*id)
        {
            self.life.handle_id(id);
        }
        self.inner.decrypt(number_offset, packet);
    }

    fn encrypt(&self, number_offset: usize, packet: &mut [u8]) {
        self.inner.encrypt(number_offset, packet);
    }

    fn sample_size(&self) -> usize {
        self.inner.sample_size()
    }
}

impl Drop for WitnessKey {
    fn drop(&mut self) {
        if self.is_handshake {
            self.life.handle_handshake_over();
        }
    }
}

/// The key that opens what a neighbour sends.
struct CountingKey {
    inner: Box<dyn PacketKey>,
    /// quinn asks for a key that can be shared, and uses it from one thread: never contended.
    opened: Mutex<PacketNumbers>,
    counters: Arc<WorkerCounters>,
}

impl PacketKey for CountingKey {
    fn encrypt(&self, packet: u64, bytes: &mut [u8], header_len: usize) {
        self.inner.encrypt(packet, bytes, header_len);
    }

    fn decrypt(&self, packet: u64, header: &[u8], payload: &mut BytesMut) -> Result<(), CryptoError> {
        let opened = self.inner.decrypt(packet, header, payload);
        if opened.is_err() {
            self.counters.drop_named(QuicDrop::AuthenticationFailed.name());
        } else if !self
            .opened
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(packet)
        {
            // quinn finds this out for itself a moment later, and drops the packet.
            self.counters.drop_named(QuicDrop::Replayed.name());
        }
        opened
    }

    fn tag_len(&self) -> usize {
        self.inner.tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.inner.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.inner.integrity_limit()
    }
}
