//! Replay windows and rollover state by ssrc (RFC 3711 §3.3.1, §3.3.2).

use super::SrtpDrop;
use crate::packet::Ssrc;

/// Indices remembered below the highest one. A retransmission 300 ms late at 2,000 packets/s still lies inside; the RFC's minimum
/// is 64.
pub(super) const WINDOW: u64 = 1_024;

/// Ssrcs per peer: a host sends two tracks with their RTX and probes, simulcast and restarts multiply them by a few.
pub(super) const MAX_SSRCS: usize = 32;

const WORDS: usize = (WINDOW / 64) as usize;

/// A circular bit map: bit `index % WINDOW` tells whether `index` was received, for the WINDOW indices up to the highest.
struct Window {
    ssrc: Ssrc,
    highest: u64,
    seen: [u64; WORDS],
}

impl Window {
    const fn bit(index: u64) -> (usize, u64) {
        ((index / 64) as usize % WORDS, 1 << (index % 64))
    }

    fn check(&self, index: u64) -> Result<(), SrtpDrop> {
        if index > self.highest {
            return Ok(());
        }
        if self.highest - index >= WINDOW {
            return Err(SrtpDrop::TooOld);
        }
        let (word, bit) = Window::bit(index);
        if self.seen[word] & bit != 0 {
            Err(SrtpDrop::Replayed)
        } else {
            Ok(())
        }
    }

    fn commit(&mut self, index: u64) {
        if index > self.highest {
            if index - self.highest >= WINDOW {
                self.seen = [0; WORDS];
            } else {
                for passed in self.highest + 1..index {
                    let (word, bit) = Window::bit(passed);
                    self.seen[word] &= !bit;
                }
            }
            self.highest = index;
        }
        let (word, bit) = Window::bit(index);
        self.seen[word] |= bit;
    }
}

/// The windows of one peer, one per ssrc. Only authenticated packets make entries; at the bound new ssrcs are refused.
#[derive(Default)]
pub(super) struct ReplayTable {
    windows: Vec<Window>,
}

impl ReplayTable {
    fn find(&self, ssrc: Ssrc) -> Option<&Window> {
        self.windows.iter().find(|window| window.ssrc == ssrc)
    }

    /// The highest authenticated index of this ssrc.
    pub(super) fn highest(&self, ssrc: Ssrc) -> Option<u64> {
        self.find(ssrc).map(|window| window.highest)
    }

    /// Whether a packet with this index may be opened.
    pub(super) fn check(&self, ssrc: Ssrc, index: u64) -> Result<(), SrtpDrop> {
        match self.find(ssrc) {
            Some(window) => window.check(index),
            None if self.windows.len() < MAX_SSRCS => Ok(()),
            None => Err(SrtpDrop::TooManySsrcs),
        }
    }

    /// Remembers an authenticated packet.
    pub(super) fn commit(&mut self, ssrc: Ssrc, index: u64) {
        if let Some(window) = self.windows.iter_mut().find(|window| window.ssrc == ssrc) {
            window.commit(index);
        } else if self.windows.len() < MAX_SSRCS {
            let mut window = Window {
                ssrc,
                highest: index,
                seen: [0; WORDS],
            };
            window.commit(index);
            self.windows.push(window);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    const SSRC: Ssrc = Ssrc(7);

    #[test]
    fn ssrcs_beyond_the_bound_are_refused_and_known_ones_go_on() {
        let mut table = ReplayTable::default();
        for ssrc in 0..MAX_SSRCS as u32 {
            assert_eq!(table.check(Ssrc(ssrc), 1), Ok(()));
            table.commit(Ssrc(ssrc), 1);
        }
        assert_eq!(table.check(Ssrc(999), 1), Err(SrtpDrop::TooManySsrcs));
        assert_eq!(table.check(Ssrc(0), 2), Ok(()));
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_a_set(start in 0u64..70_000, steps in proptest::collection::vec(-1_100i64..1_100, 1..400)) {
            let mut table = ReplayTable::default();
            let mut seen = HashSet::new();
            let mut highest = start;
            for step in steps {
                let Some(index) = highest.checked_add_signed(step) else { continue };
                let expected = if seen.is_empty() || index > highest {
                    Ok(())
                } else if highest - index >= WINDOW {
                    Err(SrtpDrop::TooOld)
                } else if seen.contains(&index) {
                    Err(SrtpDrop::Replayed)
                } else {
                    Ok(())
                };
                prop_assert_eq!(table.check(SSRC, index), expected);
                if expected.is_ok() {
                    highest = if seen.is_empty() { index } else { highest.max(index) };
                    seen.insert(index);
                    table.commit(SSRC, index);
                }
            }
        }
    }
}
