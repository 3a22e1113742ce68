//! What goes in: settings and commands.

use crate::numbers::{Event, Snapshot};
use crate::{CommandRejected, OfferRejected};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tradewind_core::route;
use tradewind_io::dataplane::{self as io, OfferRejection, StartError};
use tradewind_io::link::{CommandRejection, PeerAddress, TrunkConfig};

/// Where a neighbouring edge is reached and who it must prove to be.
#[pyclass(frozen, get_all, from_py_object, module = "edge.dataplane._native")]
#[derive(Clone)]
pub struct PeerConfig {
    edge_id: String,
    address: String,
}

#[pymethods]
impl PeerConfig {
    #[new]
    #[pyo3(signature = (*, edge_id, address))]
    fn new(edge_id: String, address: String) -> Self {
        PeerConfig { edge_id, address }
    }
}

/// How this edge reaches the source of one room.
#[pyclass(frozen, get_all, from_py_object, module = "edge.dataplane._native")]
#[derive(Clone)]
pub struct StreamRoute {
    room: String,
    incarnation: u64,
    source_edge: String,
    primary: Vec<String>,
    backup: Vec<String>,
    reason: String,
}

#[pymethods]
impl StreamRoute {
    #[new]
    #[pyo3(signature = (*, room, incarnation, source_edge, primary, backup, reason))]
    fn new(
        room: String,
        incarnation: u64,
        source_edge: String,
        primary: Vec<String>,
        backup: Vec<String>,
        reason: String,
    ) -> Self {
        StreamRoute {
            room,
            incarnation,
            source_edge,
            primary,
            backup,
            reason,
        }
    }
}

impl From<StreamRoute> for route::StreamRoute {
    fn from(route: StreamRoute) -> Self {
        route::StreamRoute {
            room: route.room,
            incarnation: route.incarnation,
            source_edge: route.source_edge,
            primary: route.primary,
            backup: route.backup,
            reason: route.reason,
        }
    }
}

/// Everything the packet path needs to start.
#[pyclass(frozen, module = "edge.dataplane._native")]
pub struct DataplaneConfig {
    config: io::DataplaneConfig,
}

#[pymethods]
impl DataplaneConfig {
    #[new]
    #[pyo3(signature = (*, edge_id, media_bind, announce, shards, pin_cores, trunk_bind, trunk_certificate_pem,
        trunk_key_pem, trunk_ca_pem, trunk_window_bytes, disabled_features, max_sessions, peer_timeout_s=30.0,
        clock_offset_ms=0.0))]
    #[allow(clippy::too_many_arguments)] // keyword-only in Python, where each stands beside its name
    fn new(
        edge_id: String,
        media_bind: Vec<String>,
        announce: Vec<String>,
        shards: usize,
        pin_cores: Vec<usize>,
        trunk_bind: String,
        trunk_certificate_pem: Vec<u8>,
        trunk_key_pem: Vec<u8>,
        trunk_ca_pem: Vec<u8>,
        trunk_window_bytes: u64,
        disabled_features: Vec<String>,
        max_sessions: usize,
        peer_timeout_s: f64,
        clock_offset_ms: f64,
    ) -> PyResult<Self> {
        let trunk = TrunkConfig {
            edge_id: edge_id.clone(),
            bind: parse::<SocketAddr>("trunk_bind", &trunk_bind)?,
            certificate_pem: trunk_certificate_pem,
            key_pem: trunk_key_pem,
            ca_pem: trunk_ca_pem,
            window_bytes: trunk_window_bytes,
            clock_offset_ms,
            disabled_features: disabled_features.clone(),
        };
        let config = io::DataplaneConfig {
            edge_id,
            media_bind: media_bind
                .iter()
                .map(|text| parse("media_bind", text))
                .collect::<PyResult<_>>()?,
            announce: announce
                .iter()
                .map(|text| parse::<IpAddr>("announce", text))
                .collect::<PyResult<_>>()?,
            shards,
            pin_cores,
            trunk,
            disabled_features,
            max_sessions,
            peer_timeout: Duration::try_from_secs_f64(peer_timeout_s)
                .map_err(|error| PyValueError::new_err(format!("peer_timeout_s: {error}")))?,
        };
        Ok(DataplaneConfig { config })
    }
}

fn parse<T: std::str::FromStr>(setting: &str, text: &str) -> PyResult<T> {
    text.parse()
        .map_err(|_| PyValueError::new_err(format!("{setting}: {text:?} is no IP address of the form it takes")))
}

/// What a WHIP or WHEP POST returns.
#[pyclass(frozen, get_all, module = "edge.dataplane._native")]
pub struct SessionAnswer {
    session_id: u64,
    sdp: String,
    ice_ufrag: String,
    ice_pwd: String,
    left_out: Vec<&'static str>,
}

impl From<io::SessionAnswer> for SessionAnswer {
    fn from(answer: io::SessionAnswer) -> Self {
        SessionAnswer {
            session_id: answer.session_id,
            sdp: answer.sdp,
            ice_ufrag: answer.ice_ufrag,
            ice_pwd: answer.ice_pwd,
            left_out: answer.left_out,
        }
    }
}

/// A running packet path.
#[pyclass(frozen, module = "edge.dataplane._native")]
pub struct Dataplane {
    inner: io::Dataplane,
}

#[pymethods]
impl Dataplane {
    #[new]
    fn new(py: Python<'_>, config: &DataplaneConfig) -> PyResult<Self> {
        let config = config.config.clone();
        let inner = py
            .detach(|| io::Dataplane::start(config))
            .map_err(|error| match error {
                StartError::Setting(text) => PyValueError::new_err(text),
                StartError::System { code: 0, text } => PyOSError::new_err(text),
                StartError::System { code, text } => PyOSError::new_err((code, text)),
            })?;
        Ok(Dataplane { inner })
    }

    #[getter]
    fn media_addresses(&self) -> Vec<String> {
        self.inner.media_addresses().iter().map(ToString::to_string).collect()
    }

    #[getter]
    fn trunk_address(&self) -> String {
        self.inner
            .trunk_address()
            .map(|address| address.to_string())
            .unwrap_or_default()
    }

    #[getter]
    fn event_fd(&self) -> i32 {
        self.inner.event_fd()
    }

    #[pyo3(signature = (limit = 256))]
    fn poll_events(&self, py: Python<'_>, limit: usize) -> Vec<Event> {
        self.inner
            .poll_events(limit)
            .into_iter()
            .map(|event| Event::new(py, event))
            .collect()
    }

    fn publish(&self, py: Python<'_>, room: &str, offer: &[u8], incarnation: u64) -> PyResult<SessionAnswer> {
        let answer = py.detach(|| self.inner.publish(room, offer, incarnation));
        answer.map(Into::into).map_err(offer_rejected)
    }

    fn view(&self, py: Python<'_>, room: &str, offer: &[u8]) -> PyResult<SessionAnswer> {
        let answer = py.detach(|| self.inner.view(room, offer));
        answer.map(Into::into).map_err(offer_rejected)
    }

    fn check_candidates(&self, session_id: u64, fragment: &[u8]) -> PyResult<()> {
        self.inner
            .check_candidates(session_id, fragment)
            .map_err(offer_rejected)
    }

    fn close_session(&self, session_id: u64, reason: &str) -> bool {
        self.inner.close_session(session_id, reason)
    }

    fn set_peers(&self, peers: Vec<PeerConfig>) {
        let peers = peers.into_iter().map(|peer| PeerAddress {
            edge_id: peer.edge_id,
            address: peer.address,
        });
        self.inner.set_peers(peers.collect());
    }

    fn set_routes(&self, py: Python<'_>, routes: Vec<StreamRoute>) -> PyResult<()> {
        let routes = routes.into_iter().map(Into::into).collect();
        py.detach(|| self.inner.set_routes(routes)).map_err(command_rejected)
    }

    fn set_room_interest(&self, room: &str, interested: bool) {
        self.inner.set_room_interest(room, interested);
    }

    fn send_room_message(&self, room: &str, peer: &str, payload: &[u8]) -> PyResult<()> {
        let queued = self.inner.send_room_message(room, peer, payload);
        queued.map_err(command_rejected)
    }

    fn drain(&self) {
        self.inner.drain();
    }

    fn snapshot(&self, py: Python<'_>) -> Snapshot {
        py.detach(|| self.inner.snapshot()).into()
    }

    fn render_metrics(&self, py: Python<'_>) -> String {
        py.detach(|| self.inner.render_metrics())
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.inner.close());
    }
}

fn offer_rejected(rejection: OfferRejection) -> PyErr {
    OfferRejected::new_err((rejection.status, rejection.reason, rejection.detail))
}

fn command_rejected(rejection: CommandRejection) -> PyErr {
    CommandRejected::new_err((rejection.reason, rejection.detail))
}
