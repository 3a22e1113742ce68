//! What was sent to one viewer on one track: 16 bytes per packet, enough to make it again from the ring.

/// An entry younger than this is not overwritten while the table may grow; players ask for older packets rarely and in vain.
const KEEP_MS: u16 = 1_000;

/// Entries at first: a second of audio.
const FIRST_LEN: usize = 64;

/// Entries at most, 32 KiB per viewer: a second at 20 Mbit/s. Beyond, older packets cannot be repaired.
const MAX_LEN: usize = 2_048;

/// How a sent packet was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sent {
    /// Not a packet that was sent.
    Nothing,
    /// From a packet of the ring.
    Media,
    /// A number that upstream had spent on padding after a hole was already visible.
    Padding,
    /// Parameter sets of the source's description, before a key frame that brought none.
    ParameterSets,
}

/// One packet as it was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    /// Low 32 bits of the source's extended sequence number.
    pub(super) source_number_low: u32,
    /// The viewer's RTP timestamp.
    pub(super) timestamp: u32,
    /// The viewer's sequence number.
    pub(super) sequence_number: u16,
    /// When it was sent, low 16 bits in ms.
    pub(super) sent_ms: u16,
    /// When it was last sent again; 0 for never.
    pub(super) resent_ms: u16,
    /// Which source it came from, counted.
    pub(super) generation: u8,
    /// How it was made.
    pub(super) sent: Sent,
}

const _: () = assert!(size_of::<Entry>() == 16, "the budget per viewer counts on it");

const EMPTY: Entry = Entry {
    source_number_low: 0,
    timestamp: 0,
    sequence_number: 0,
    sent_ms: 0,
    resent_ms: 0,
    generation: 0,
    sent: Sent::Nothing,
};

/// A table by the viewer's sequence number, a power of two long; it grows until it holds a second.
#[derive(Debug, Default)]
pub(super) struct History {
    entries: Vec<Entry>,
}

impl History {
    fn slot(&self, sequence_number: u16) -> usize {
        usize::from(sequence_number) & self.entries.len().wrapping_sub(1)
    }

    pub(super) fn record(&mut self, entry: Entry) {
        if self.entries.is_empty() {
            self.entries = vec![EMPTY; FIRST_LEN];
        }
        let mut slot = self.slot(entry.sequence_number);
        let overwritten = self.entries[slot];
        if overwritten.sent != Sent::Nothing
            && overwritten.sequence_number != entry.sequence_number
            && entry.sent_ms.wrapping_sub(overwritten.sent_ms) < KEEP_MS
            && self.entries.len() < MAX_LEN
        {
            self.grow();
            slot = self.slot(entry.sequence_number);
        }
        self.entries[slot] = entry;
    }

    pub(super) fn find(&mut self, sequence_number: u16) -> Option<&mut Entry> {
        let slot = self.slot(sequence_number);
        self.entries
            .get_mut(slot)
            .filter(|entry| entry.sent != Sent::Nothing && entry.sequence_number == sequence_number)
    }

    fn grow(&mut self) {
        let entries = vec![EMPTY; self.entries.len() * 2];
        for entry in std::mem::replace(&mut self.entries, entries) {
            if entry.sent != Sent::Nothing {
                let slot = self.slot(entry.sequence_number);
                self.entries[slot] = entry;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u32, ms: u32) -> Entry {
        Entry {
            source_number_low: number,
            timestamp: number,
            sequence_number: number as u16,
            sent_ms: ms as u16,
            resent_ms: 0,
            generation: 0,
            sent: Sent::Media,
        }
    }

    #[test]
    fn a_second_is_kept_and_no_more() {
        let mut history = History::default();
        for number in 0..100_000u32 {
            history.record(entry(number, number * 4));
        }
        assert_eq!(history.entries.len(), 256);
        assert_eq!(
            history.find(99_999u32 as u16).map(|entry| entry.source_number_low),
            Some(99_999)
        );
        assert_eq!(
            history
                .find((99_999u32 - 250) as u16)
                .map(|entry| entry.source_number_low),
            Some(99_749)
        );
        assert_eq!(history.find((99_999u32 - 256) as u16), None);
        assert_eq!(history.find(100_000u32 as u16), None);
    }

    #[test]
    fn a_flood_stops_at_the_bound() {
        let mut history = History::default();
        for number in 0..10_000u32 {
            history.record(entry(number, 0));
        }
        assert_eq!(history.entries.len(), MAX_LEN);
        assert!(history.find(9_000).is_some() && history.find(7_000).is_none());
    }
}
