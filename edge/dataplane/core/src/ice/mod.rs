//! ICE-lite (RFC 8445 §2.5): one host candidate per address family, checks are answered and never sent.
//!
//! Owns who the peer is allowed to be on the network: which addresses have proven that they know the password, which
//! one media goes to, and when the peer has gone. DTLS, media and sockets never live here.

#[cfg(test)]
mod tests;

use crate::stun::{self, Class, METHOD_BINDING, StunError, TransactionId};
use crate::time::Time;
use ring::hmac;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// RFC 7675 §5.1: consent lapses 30 s after the last sign that the peer still wants our packets.
pub const CONSENT_EXPIRES_AFTER: Duration = Duration::from_secs(30);

/// Longer than a living peer is silent: it asks for consent every 4 to 6 s (RFC 7675 §5.1).
const QUIET_AFTER: Duration = Duration::from_secs(7);

/// How many addresses of one peer are remembered. A phone has a handful of interfaces; a peer that shows more only
/// displaces its own oldest ones.
pub const PATHS_MAX: usize = 8;

/// How many transactions are remembered, to tell a check that was recorded and is repeated from elsewhere. At one check
/// every 2.5 s, as browsers send them, these are the last 80 s.
pub const TRANSACTIONS_MAX: usize = 32;

/// Why a STUN datagram got no answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IceDrop {
    /// Not a well-formed STUN message.
    Malformed(StunError),
    /// A response, an indication or another method.
    NotBindingRequest,
    /// No FINGERPRINT (RFC 8445 §7.2.2 demands it).
    NoFingerprint,
    /// No USERNAME, or one without a colon.
    NoUsername,
    /// USERNAME names a ufrag that no session here has.
    UnknownUfrag,
    /// No MESSAGE-INTEGRITY.
    NoIntegrity,
    /// MESSAGE-INTEGRITY does not match the session's password.
    BadIntegrity,
    /// A transaction that another address has used: somebody repeats what the peer has sent.
    Replayed,
}

impl IceDrop {
    /// Every metric label that `name` can give, so that counters exist from the start.
    pub const NAMES: [&'static str; 13] = [
        "stun_truncated",
        "stun_too_long",
        "stun_not_stun",
        "stun_bad_length",
        "stun_bad_attribute",
        "stun_bad_fingerprint",
        "stun_not_binding_request",
        "stun_no_fingerprint",
        "stun_no_username",
        "stun_unknown_ufrag",
        "stun_no_integrity",
        "stun_bad_integrity",
        "stun_replayed",
    ];

    /// The metric label of this reason.
    pub const fn name(self) -> &'static str {
        match self {
            IceDrop::Malformed(StunError::Truncated) => "stun_truncated",
            IceDrop::Malformed(StunError::TooLong) => "stun_too_long",
            IceDrop::Malformed(StunError::NotStun) => "stun_not_stun",
            IceDrop::Malformed(StunError::BadLength) => "stun_bad_length",
            IceDrop::Malformed(StunError::BadAttribute) => "stun_bad_attribute",
            IceDrop::Malformed(StunError::BadFingerprint) => "stun_bad_fingerprint",
            IceDrop::NotBindingRequest => "stun_not_binding_request",
            IceDrop::NoFingerprint => "stun_no_fingerprint",
            IceDrop::NoUsername => "stun_no_username",
            IceDrop::UnknownUfrag => "stun_unknown_ufrag",
            IceDrop::NoIntegrity => "stun_no_integrity",
            IceDrop::BadIntegrity => "stun_bad_integrity",
            IceDrop::Replayed => "stun_replayed",
        }
    }
}

/// What to do after a valid check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceReply {
    /// Send this to the source of the check, from the address it was sent to.
    pub response: Vec<u8>,
    /// Media goes here from now on; `None` when nothing changed.
    pub nominated_changed: Option<SocketAddr>,
}

/// An address pair that has carried an authenticated check.
#[derive(Clone, Copy, Debug)]
struct Path {
    source: SocketAddr,
    destination: SocketAddr,
    checked_at: Time,
}

/// The ICE side of one session.
#[derive(Debug)]
pub struct IceLite {
    local_ufrag: String,
    key: hmac::Key,
    paths: Vec<Path>,
    transactions: VecDeque<(TransactionId, SocketAddr)>,
    selected: Option<(SocketAddr, SocketAddr)>,
    peer_nominates: bool,
    alive_at: Time,
    expires_after: Duration,
}

/// Finds the session a check is for before anything about it has been verified.
///
/// Only the USERNAME's first half is read; `handle_binding_request` verifies the rest.
pub fn username_ufrag(datagram: &[u8]) -> Option<&str> {
    stun::parse(datagram).ok()?.receiver_ufrag()
}

/// Why a STUN datagram for which no session was found is dropped.
pub fn drop_reason_without_session(datagram: &[u8]) -> IceDrop {
    match check_form(datagram) {
        Ok(_) => IceDrop::UnknownUfrag,
        Err(reason) => reason,
    }
}

impl IceLite {
    /// A session that waits for its first check; it is given as long as a connected peer is.
    pub fn new(local_ufrag: &str, local_pwd: &str, now: Time) -> Self {
        IceLite {
            local_ufrag: local_ufrag.to_owned(),
            key: stun::integrity_key(local_pwd),
            paths: Vec::with_capacity(2),
            transactions: VecDeque::new(),
            selected: None,
            peer_nominates: false,
            alive_at: now,
            expires_after: CONSENT_EXPIRES_AFTER,
        }
    }

    /// The same, given up after another silence than [`CONSENT_EXPIRES_AFTER`], which is the longest that RFC 7675 allows.
    #[must_use]
    pub fn expiring_after(mut self, silence: Duration) -> Self {
        self.expires_after = silence.min(CONSENT_EXPIRES_AFTER);
        self
    }

    /// Verifies a check and answers it.
    ///
    /// An address seen for the first time becomes a validated path. It carries media once the peer nominates it
    /// (USE-CANDIDATE); as long as the peer has nominated nothing at all, the latest validated path does, because
    /// simple clients never nominate.
    pub fn handle_binding_request(
        &mut self,
        datagram: &[u8],
        source: SocketAddr,
        destination: SocketAddr,
        now: Time,
    ) -> Result<IceReply, IceDrop> {
        let message = check_form(datagram)?;
        if message.receiver_ufrag() != Some(self.local_ufrag.as_str()) {
            return Err(IceDrop::UnknownUfrag);
        }
        if !message.has_integrity() {
            return Err(IceDrop::NoIntegrity);
        }
        if !message.has_valid_integrity(&self.key) {
            return Err(IceDrop::BadIntegrity);
        }
        self.check_transaction(message.transaction_id, source)?;
        if let Some(unknown) = message.unknown_required {
            // RFC 8489 §6.3.1: refused, but whoever sent it knows the password.
            let response = stun::binding_error(message.transaction_id, 420, "Unknown Attribute", &[unknown], &self.key);
            return Ok(IceReply {
                response,
                nominated_changed: None,
            });
        }
        self.alive_at = self.alive_at.max(now);
        self.remember(Path {
            source,
            destination,
            checked_at: now,
        });
        let response = stun::binding_success(message.transaction_id, source, &self.key);
        // RFC 8445 §7.3.1.1 resolves role conflicts; a lite agent can only be controlled, so what the peer calls itself
        // changes nothing here and a check without ICE-CONTROLLING is as good as one with it.
        self.peer_nominates |= message.use_candidate;
        let nominated_changed = if message.use_candidate || !self.peer_nominates {
            let previous = self.selected.replace((source, destination));
            (previous.map(|(remote, _)| remote) != Some(source)).then_some(source)
        } else {
            None
        };
        Ok(IceReply {
            response,
            nominated_changed,
        })
    }

    /// Where media goes.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.selected.map(|(remote, _)| remote)
    }

    /// The local address media leaves from: the one the nominated check was sent to.
    pub fn local(&self) -> Option<SocketAddr> {
        self.selected.map(|(_, local)| local)
    }

    /// Whether `source` has proven that it knows the password; DTLS and media from elsewhere are dropped.
    pub fn is_validated(&self, source: SocketAddr) -> bool {
        self.paths.iter().any(|path| path.source == source)
    }

    /// Media that decrypted proves the peer's presence as a check does (RFC 7675 §5.1 allows any authenticated sign).
    pub fn handle_authenticated_media(&mut self, now: Time) {
        self.alive_at = self.alive_at.max(now);
    }

    /// The ufrag that checks for this session carry first.
    pub fn local_ufrag(&self) -> &str {
        &self.local_ufrag
    }

    /// When `is_dead` will be true unless the peer shows itself.
    pub fn poll_timeout(&self) -> Time {
        self.alive_at + self.expires_after
    }

    /// The peer has been silent for too long; nothing more may be sent to it.
    pub fn is_dead(&self, now: Time) -> bool {
        now >= self.poll_timeout()
    }

    /// The peer has missed a check and sent no media: it may come back, as itself or started anew on the same port.
    pub fn is_quiet(&self, now: Time) -> bool {
        now - self.alive_at >= QUIET_AFTER
    }

    /// RFC 8445 §7.2.2 gives every check its own transaction; a repetition comes from where the first came from.
    fn check_transaction(&mut self, transaction_id: TransactionId, source: SocketAddr) -> Result<(), IceDrop> {
        match self.transactions.iter().find(|(known, _)| *known == transaction_id) {
            Some((_, known)) if *known != source => return Err(IceDrop::Replayed),
            Some(_) => return Ok(()),
            None => {}
        }
        if self.transactions.len() >= TRANSACTIONS_MAX {
            self.transactions.pop_front();
        }
        self.transactions.push_back((transaction_id, source));
        Ok(())
    }

    fn remember(&mut self, path: Path) {
        let known = |known: &&mut Path| known.source == path.source && known.destination == path.destination;
        if let Some(known) = self.paths.iter_mut().find(known) {
            known.checked_at = path.checked_at;
            return;
        }
        if self.paths.len() >= PATHS_MAX {
            let oldest = (0..self.paths.len())
                .filter(|&index| Some((self.paths[index].source, self.paths[index].destination)) != self.selected)
                .min_by_key(|&index| self.paths[index].checked_at);
            if let Some(oldest) = oldest {
                self.paths.swap_remove(oldest);
            }
        }
        self.paths.push(path);
    }
}

/// What can be told about a check without a password.
fn check_form(datagram: &[u8]) -> Result<stun::Message<'_>, IceDrop> {
    let message = stun::parse(datagram).map_err(IceDrop::Malformed)?;
    if message.class != Class::Request || message.method != METHOD_BINDING {
        return Err(IceDrop::NotBindingRequest);
    }
    if !message.has_fingerprint {
        return Err(IceDrop::NoFingerprint);
    }
    if message.receiver_ufrag().is_none() {
        return Err(IceDrop::NoUsername);
    }
    Ok(message)
}
