//! Which sessions are open, for commands from Python. Touched when a session opens or closes, never per packet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tradewind_core::ice;
use tradewind_core::sdp::Remote;
use tradewind_core::source::{SourceInfo, TrackInfo};

/// What commands need to know of a session.
#[derive(Clone, Debug)]
pub struct DirectoryEntry {
    /// The shard that owns it.
    pub shard: usize,
    /// Our ICE credentials for it.
    pub ice_ufrag: String,
    /// Our ICE password for it.
    pub ice_pwd: String,
    /// The peer's transport, as in its offer; a trickle PATCH must repeat its credentials.
    pub remote: Remote,
    /// Whether it publishes.
    pub is_host: bool,
}

/// All open sessions of the process.
#[derive(Debug, Default)]
pub struct Directory {
    entries: Mutex<HashMap<u64, DirectoryEntry>>,
    sources: Mutex<HashMap<String, Arc<SourceInfo>>>,
}

impl Directory {
    /// Enters a session unless `max` are there already.
    pub fn insert(&self, session_id: u64, entry: DirectoryEntry, max: usize) -> bool {
        let mut entries = self.lock();
        if entries.len() >= max {
            return false;
        }
        entries.insert(session_id, entry);
        true
    }

    /// Takes a session out; `None` when it is not there (any more).
    pub fn remove(&self, session_id: u64) -> Option<DirectoryEntry> {
        self.lock().remove(&session_id)
    }

    /// A session's entry.
    pub fn get(&self, session_id: u64) -> Option<DirectoryEntry> {
        self.lock().get(&session_id).cloned()
    }

    /// Open sessions: hosts and viewers.
    pub fn count(&self) -> (u64, u64) {
        let entries = self.lock();
        let hosts = entries.values().filter(|entry| entry.is_host).count() as u64;
        (hosts, entries.len() as u64 - hosts)
    }

    /// The shard with the fewest sessions.
    pub fn least_loaded(&self, shards: usize) -> usize {
        let mut load = vec![0_usize; shards];
        for entry in self.lock().values() {
            load[entry.shard] += 1;
        }
        (0..shards).min_by_key(|shard| load[*shard]).unwrap_or(0)
    }

    /// The tracks of a room's current source; empty when none is known here.
    pub fn tracks(&self, room: &str) -> Vec<TrackInfo> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.get(room).map(|info| info.tracks.clone()).unwrap_or_default()
    }

    /// A room has another source now, or none.
    pub fn set_source(&self, room: &str, info: Option<Arc<SourceInfo>>) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        match info {
            Some(info) => sources.insert(room.to_owned(), info),
            None => sources.remove(room),
        };
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, DirectoryEntry>> {
        // No code panics while it holds the map; if it did, the map would still be whole.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ufrag of a session: shard and session in clear, so that any shard can tell whose check it is, then `noise`
/// (RFC 8445 §5.3 asks for 24 random bits).
pub fn encode_ufrag(shard: usize, session_id: u64, noise: u32) -> String {
    format!("{shard:02x}{:08x}{:06x}", session_id as u32, noise & 0x00FF_FFFF)
}

/// Shard and slot of the session that a check is for.
pub fn decode_ufrag(ufrag: &str) -> Option<(usize, u32)> {
    if ufrag.len() != 16 || !ufrag.is_ascii() {
        return None;
    }
    let shard = usize::from_str_radix(&ufrag[..2], 16).ok()?;
    let slot = u32::from_str_radix(&ufrag[2..10], 16).ok()?;
    Some((shard, slot))
}

/// Shard and slot of the session that a STUN datagram is for.
pub fn check_owner(datagram: &[u8]) -> Option<(usize, u32)> {
    decode_ufrag(ice::username_ufrag(datagram)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ufrag_names_shard_and_session() {
        let ufrag = encode_ufrag(3, 0x1_0000_0042, 0xABCD_EF01);
        assert_eq!(ufrag.len(), 16);
        assert_eq!(decode_ufrag(&ufrag), Some((3, 0x42)));
        assert_eq!(decode_ufrag("zz"), None);
        assert_eq!(decode_ufrag("zz00000042abcdef"), None);
        assert_eq!(decode_ufrag("0000000042abcdé"), None);
    }
}
