//! Which source has which number in this process, and who is to get its packets.

use crate::handoff::{SourceHandle, WorkerIndex};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tradewind_core::mesh::Interest;
use tradewind_core::source::SourceId;

/// A source whose publisher a shard of this process owns.
#[derive(Clone, Debug)]
pub struct LocalSource {
    /// Its identity.
    pub id: Arc<SourceId>,
    /// The shard.
    pub owner: WorkerIndex,
}

/// Sources of both kinds, and the rooms that are wanted here.
#[derive(Debug, Default)]
pub struct Sources {
    local: HashMap<SourceHandle, LocalSource>,
    remote: HashMap<Arc<SourceId>, SourceHandle>,
    wanted: BTreeMap<String, RoomInterest>,
}

#[derive(Debug, Default)]
struct RoomInterest {
    shards: Vec<WorkerIndex>,
    people: bool,
}

impl Sources {
    /// A shard has a new source.
    pub fn add_local(&mut self, handle: SourceHandle, id: SourceId, owner: WorkerIndex) {
        self.local.insert(
            handle,
            LocalSource {
                id: Arc::new(id),
                owner,
            },
        );
    }

    /// A shard's source by its number.
    pub fn local(&self, handle: SourceHandle) -> Option<&LocalSource> {
        self.local.get(&handle)
    }

    /// A shard's source by its identity.
    pub fn local_handle(&self, id: &SourceId) -> Option<(SourceHandle, WorkerIndex)> {
        let found = self.local.iter().find(|(_, source)| *source.id == *id);
        found.map(|(handle, source)| (*handle, source.owner))
    }

    /// A shard's source is gone.
    pub fn remove_local(&mut self, handle: SourceHandle) -> Option<LocalSource> {
        self.local.remove(&handle)
    }

    /// A number for a remote source.
    pub fn add_remote(&mut self, id: SourceId) -> SourceHandle {
        let handle = SourceHandle::next();
        self.remote.insert(Arc::new(id), handle);
        handle
    }

    /// A remote source's number.
    pub fn remote_handle(&self, id: &SourceId) -> Option<SourceHandle> {
        self.remote.get(id).copied()
    }

    /// A remote source by its number.
    pub fn remote(&self, handle: SourceHandle) -> Option<Arc<SourceId>> {
        self.remote
            .iter()
            .find(|(_, known)| **known == handle)
            .map(|(id, _)| Arc::clone(id))
    }

    /// A remote source is gone.
    pub fn remove_remote(&mut self, id: &SourceId) -> Option<SourceHandle> {
        self.remote.remove(id)
    }

    /// A shard begins or ceases to want a room; returns what the edge as a whole wants now.
    pub fn set_shard(&mut self, room: &str, shard: WorkerIndex, wanted: bool) -> Interest {
        let entry = self.wanted.entry(room.to_owned()).or_default();
        entry.shards.retain(|known| *known != shard);
        if wanted {
            entry.shards.push(shard);
        }
        self.interest(room)
    }

    /// People come to, or have left, a room's page; returns what the edge as a whole wants now.
    pub fn set_people(&mut self, room: &str, wanted: bool) -> Interest {
        self.wanted.entry(room.to_owned()).or_default().people = wanted;
        self.interest(room)
    }

    /// The shards that want a room's media.
    pub fn shards(&self, room: &str) -> &[WorkerIndex] {
        self.wanted.get(room).map_or(&[], |entry| &entry.shards)
    }

    fn interest(&mut self, room: &str) -> Interest {
        match self.wanted.get(room) {
            Some(entry) if !entry.shards.is_empty() => Interest::Media,
            Some(entry) if entry.people => Interest::RoomOnly,
            _ => {
                self.wanted.remove(room);
                Interest::None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_wants_what_any_part_of_it_wants() {
        let mut sources = Sources::default();
        assert_eq!(sources.set_people("demo", true), Interest::RoomOnly);
        assert_eq!(sources.set_shard("demo", 0, true), Interest::Media);
        assert_eq!(sources.set_shard("demo", 1, true), Interest::Media);
        assert_eq!(sources.shards("demo"), [0, 1]);
        assert_eq!(sources.set_shard("demo", 0, false), Interest::Media);
        assert_eq!(sources.set_shard("demo", 1, false), Interest::RoomOnly);
        assert_eq!(sources.set_people("demo", false), Interest::None);
    }
}
