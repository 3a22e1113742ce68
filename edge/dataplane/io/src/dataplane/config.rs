//! What starts the packet path, and what it answers to commands.

use crate::link::TrunkConfig;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tradewind_core::sdp::SdpError;

/// Everything the packet path needs to start. Ports may be 0.
#[derive(Clone, Debug)]
pub struct DataplaneConfig {
    /// This edge.
    pub edge_id: String,
    /// At most one IPv4 and one IPv6 address.
    pub media_bind: Vec<SocketAddr>,
    /// Addresses for ICE candidates; the port is the bound one. Empty: the bound addresses, when they are specific.
    pub announce: Vec<IpAddr>,
    /// Number of shard threads.
    pub shards: usize,
    /// Shard i is pinned to `pin_cores[i % len]`; empty: not pinned.
    pub pin_cores: Vec<usize>,
    /// The trunk thread; it is started when there is a certificate.
    pub trunk: TrunkConfig,
    /// Names out of [`crate::features::FEATURE_NAMES`].
    pub disabled_features: Vec<String>,
    /// Sessions at most; offers above it are refused with 503.
    pub max_sessions: usize,
    /// A session whose peer is silent for so long is ended; at most [`tradewind_core::ice::CONSENT_EXPIRES_AFTER`].
    pub peer_timeout: Duration,
}

/// Why the packet path did not start.
#[derive(Debug)]
pub enum StartError {
    /// A setting makes no sense; the text says which and what to do.
    Setting(String),
    /// The system refused; the text names the address.
    System {
        /// The system's error number, 0 when there is none.
        code: i32,
        /// The whole sentence.
        text: String,
    },
}

impl From<std::io::Error> for StartError {
    fn from(error: std::io::Error) -> Self {
        let bind = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<crate::udp::BindError>());
        let code = bind.map(|bind| bind.code).or(error.raw_os_error()).unwrap_or(0);
        StartError::System {
            code,
            text: error.to_string(),
        }
    }
}

/// What a WHIP or WHEP POST returns.
#[derive(Clone, Debug)]
pub struct SessionAnswer {
    /// The session's number in this process.
    pub session_id: u64,
    /// The answer.
    pub sdp: String,
    /// Our ICE user fragment.
    pub ice_ufrag: String,
    /// Our ICE password.
    pub ice_pwd: String,
    /// Kinds that a viewer asks for in none of the codecs that are forwarded: audio, video.
    pub left_out: Vec<&'static str>,
}

/// An offer that cannot be answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfferRejection {
    /// HTTP status.
    pub status: u16,
    /// In snake_case; also a metric label.
    pub reason: &'static str,
    /// A sentence that says what to do.
    pub detail: String,
}

/// What the packet path itself has against an offer or a fragment, besides the grammar's [`SdpError::REASONS`].
const OWN_REASONS: [&str; 5] = ["draining", "out_of_memory", "full", "overloaded", "session_unknown"];

/// Every reason of an [`OfferRejection`], so that each has a counter from the start.
pub fn offer_reasons() -> impl Iterator<Item = &'static str> {
    SdpError::REASONS.into_iter().chain(OWN_REASONS)
}

impl From<SdpError> for OfferRejection {
    fn from(error: SdpError) -> Self {
        OfferRejection {
            status: error.status,
            reason: error.reason,
            detail: error.detail,
        }
    }
}
