//! What comes out: events and the snapshot.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::collections::BTreeMap;
use tradewind_io::{dataplane, events, link};

/// Something the packet path wants Python to know.
#[pyclass(frozen, get_all, module = "edge.dataplane._native")]
pub struct Event {
    kind: &'static str,
    session_id: Option<u64>,
    room: String,
    role: &'static str,
    reason: String,
    incarnation: u64,
    srtp_profile: &'static str,
    dtls_role: &'static str,
    remote_address: String,
    codecs: Vec<&'static str>,
    peer: Option<String>,
    parent: Option<String>,
    children: Vec<String>,
    phase: &'static str,
    media_time_ms: u64,
    payload: Py<PyBytes>,
}

impl Event {
    pub fn new(py: Python<'_>, event: events::Event) -> Event {
        Event {
            kind: event.kind.name(),
            session_id: event.session_id,
            room: event.room,
            role: event.role,
            reason: event.reason,
            incarnation: event.incarnation,
            srtp_profile: event.srtp_profile,
            dtls_role: event.dtls_role,
            remote_address: event.remote_address,
            codecs: event.codecs,
            peer: event.peer,
            parent: event.parent,
            children: event.children,
            phase: event.phase,
            media_time_ms: event.media_time_ms,
            payload: PyBytes::new(py, &event.payload).unbind(),
        }
    }
}

#[pymethods]
impl Event {
    fn __repr__(&self) -> String {
        format!(
            "Event(kind={:?}, session_id={:?}, room={:?}, role={:?}, reason={:?}, incarnation={}, peer={:?})",
            self.kind, self.session_id, self.room, self.role, self.reason, self.incarnation, self.peer
        )
    }
}

macro_rules! stats {
    ($(#[$meta:meta])* $name:ident from $source:ty { $($field:ident: $kind:ty,)* }) => {
        $(#[$meta])*
        #[pyclass(frozen, get_all, module = "edge.dataplane._native")]
        #[derive(Clone)]
        pub struct $name { $($field: $kind,)* }

        impl From<$source> for $name {
            fn from(source: $source) -> Self {
                $name { $($field: source.$field,)* }
            }
        }
    };
}

stats! {
    /// One trunk as this edge sees it.
    TrunkStats from link::TrunkStats {
        peer: String,
        connected: bool,
        rtt_ms: f64,
        rtt_min_ms: f64,
        one_way_delay_raw_ms: f64,
        one_way_delay_p95_raw_ms: f64,
        jitter_ms: f64,
        loss_ratio: f64,
        loss_ratio_30s: f64,
        mean_burst_packets: f64,
        packets_received: u64,
        packets_lost: u64,
        bytes_sent: u64,
        bytes_received: u64,
        utilisation: f64,
        media_bytes_sent: u64,
        backup_bytes_sent: u64,
    }
}

stats! {
    /// One source as this edge sees it.
    StreamStats from link::StreamStats {
        room: String,
        incarnation: u64,
        local: bool,
        parent: Option<String>,
        backup: Option<String>,
        path: Vec<String>,
        phase: &'static str,
        viewers: u64,
        packets: u64,
        bytes: u64,
        packets_lost: u64,
        packets_recovered: u64,
        key_frames: u64,
        codecs: Vec<&'static str>,
    }
}

/// Counters since start.
#[pyclass(frozen, module = "edge.dataplane._native")]
pub struct Snapshot {
    trunks: Vec<TrunkStats>,
    streams: Vec<StreamStats>,
    numbers: dataplane::Snapshot,
}

impl From<dataplane::Snapshot> for Snapshot {
    fn from(mut numbers: dataplane::Snapshot) -> Self {
        let trunks = std::mem::take(&mut numbers.trunks)
            .into_iter()
            .map(Into::into)
            .collect();
        let streams = std::mem::take(&mut numbers.streams)
            .into_iter()
            .map(Into::into)
            .collect();
        Snapshot {
            trunks,
            streams,
            numbers,
        }
    }
}

#[pymethods]
impl Snapshot {
    #[getter]
    fn trunks(&self) -> Vec<TrunkStats> {
        self.trunks.clone()
    }

    #[getter]
    fn streams(&self) -> Vec<StreamStats> {
        self.streams.clone()
    }

    #[getter]
    fn sessions(&self) -> u64 {
        self.numbers.sessions
    }

    #[getter]
    fn hosts(&self) -> u64 {
        self.numbers.hosts
    }

    #[getter]
    fn viewers(&self) -> u64 {
        self.numbers.viewers
    }

    #[getter]
    fn drops(&self) -> BTreeMap<&'static str, u64> {
        self.numbers.drops.clone()
    }

    #[getter]
    fn cpu_seconds(&self) -> BTreeMap<String, f64> {
        self.numbers.cpu_seconds.clone()
    }

    #[getter]
    fn packets_sent(&self) -> u64 {
        self.numbers.packets_sent
    }

    #[getter]
    fn packets_received(&self) -> u64 {
        self.numbers.packets_received
    }

    #[getter]
    fn retransmissions_sent(&self) -> u64 {
        self.numbers.retransmissions_sent
    }

    #[getter]
    fn nacks_received(&self) -> u64 {
        self.numbers.nacks_received
    }

    #[getter]
    fn gso_fallbacks(&self) -> u64 {
        self.numbers.gso_fallbacks
    }
}
