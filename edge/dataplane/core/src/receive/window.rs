//! Which numbers of a track have arrived, directly or repaired.

/// Numbers remembered below the highest; a repair is given up long before.
const SPAN: u64 = 2_048;
const WORDS: usize = (SPAN / 64) as usize;

/// What a number means for its track.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrival {
    /// The first number, or one above all before; the numbers between were not seen.
    Newest {
        /// The highest number before, `None` for the first packet.
        after: Option<u64>,
    },
    /// Fills a hole.
    Late,
    /// Seen before.
    Duplicate,
    /// Below the window.
    TooOld,
}

/// A circular bit map below the highest number.
#[derive(Debug, Default)]
pub(super) struct ReceiveWindow {
    highest: Option<u64>,
    seen: Box<[u64; WORDS]>,
}

impl ReceiveWindow {
    pub(super) fn highest(&self) -> Option<u64> {
        self.highest
    }

    pub(super) fn handle_arrival(&mut self, number: u64) -> Arrival {
        let (word, bit) = ((number / 64) as usize % WORDS, 1u64 << (number % 64));
        let Some(highest) = self.highest else {
            self.highest = Some(number);
            self.seen[word] |= bit;
            return Arrival::Newest { after: None };
        };
        if number > highest {
            if number - highest >= SPAN {
                *self.seen = [0; WORDS];
            } else {
                for passed in highest + 1..number {
                    self.seen[(passed / 64) as usize % WORDS] &= !(1u64 << (passed % 64));
                }
            }
            self.seen[word] |= bit;
            self.highest = Some(number);
            return Arrival::Newest { after: Some(highest) };
        }
        if highest - number >= SPAN {
            return Arrival::TooOld;
        }
        if self.seen[word] & bit != 0 {
            return Arrival::Duplicate;
        }
        self.seen[word] |= bit;
        Arrival::Late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_told_once() {
        let mut window = ReceiveWindow::default();
        assert_eq!(window.handle_arrival(65_530), Arrival::Newest { after: None });
        assert_eq!(window.handle_arrival(65_540), Arrival::Newest { after: Some(65_530) });
        assert_eq!(window.handle_arrival(65_535), Arrival::Late);
        assert_eq!(window.handle_arrival(65_535), Arrival::Duplicate);
        assert_eq!(window.handle_arrival(65_520), Arrival::Late);
        assert_eq!(
            window.handle_arrival(65_540 + SPAN),
            Arrival::Newest { after: Some(65_540) }
        );
        assert_eq!(window.handle_arrival(65_540), Arrival::TooOld);
        assert_eq!(window.handle_arrival(65_541), Arrival::Late);
    }
}
