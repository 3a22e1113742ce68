//! Sequence numbers of one viewer's track: out = in + offset, gaps kept, intentional drops closed.

/// Intentional drops remembered; a late packet from before the oldest cannot be numbered any more.
const MAX_PIECES: usize = 8;

/// From this source number on, the offset holds.
#[derive(Clone, Copy, Debug)]
struct Piece {
    from: u64,
    offset: i64,
}

/// What becomes of a number that upstream has spent on padding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Spent {
    /// Nobody has seen its place: later packets move up.
    Closed,
    /// Its place is a hole that the viewer sees, so padding must fill it.
    Visible,
}

/// Maps a source's extended numbers to a viewer's.
#[derive(Debug)]
pub(super) struct Numbering {
    /// Newest first.
    pieces: [Piece; MAX_PIECES],
    len: usize,
    /// One above the highest number used.
    next: u64,
}

impl Numbering {
    pub(super) fn new(first: u64) -> Numbering {
        Numbering {
            pieces: [Piece { from: 0, offset: 0 }; MAX_PIECES],
            len: 0,
            next: first,
        }
    }

    /// Another source begins with `source_number`; it follows what was sent without a gap.
    pub(super) fn start(&mut self, source_number: u64) {
        self.len = 1;
        self.pieces[0] = Piece {
            from: source_number,
            offset: self.next as i64 - source_number as i64,
        };
    }

    /// Takes the next number for a packet of our own making; the source's first one comes after it.
    pub(super) fn take(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// The viewer's number for this source number; `None` from before the start or the oldest drop remembered.
    pub(super) fn number_of(&self, source_number: u64) -> Option<u64> {
        let piece = self.pieces[..self.len]
            .iter()
            .find(|piece| source_number >= piece.from)?;
        Some((source_number as i64 + piece.offset) as u64)
    }

    /// One above the highest number used.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Notes that this number was used.
    pub(super) fn handle_sent(&mut self, number: u64) {
        self.next = self.next.max(number + 1);
    }

    /// Takes a source number out of the sequence, if nobody has seen its place yet.
    pub(super) fn spend(&mut self, source_number: u64) -> Option<Spent> {
        let number = self.number_of(source_number)?;
        if number < self.next {
            return Some(Spent::Visible);
        }
        let offset = self.pieces[0].offset - 1;
        self.pieces.copy_within(..MAX_PIECES - 1, 1);
        self.pieces[0] = Piece {
            from: source_number + 1,
            offset,
        };
        self.len = (self.len + 1).min(MAX_PIECES);
        Some(Spent::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(numbering: &mut Numbering, source_number: u64) -> u64 {
        let number = numbering.number_of(source_number).unwrap();
        numbering.handle_sent(number);
        number
    }

    #[test]
    fn upstream_gaps_stay_gaps_and_late_packets_fit() {
        let mut numbering = Numbering::new(100);
        numbering.start(65_530);
        assert_eq!(send(&mut numbering, 65_530), 100);
        assert_eq!(send(&mut numbering, 65_540), 110);
        assert_eq!(send(&mut numbering, 65_535), 105);
        assert_eq!(numbering.number_of(65_529), None);
        numbering.start(5);
        assert_eq!(send(&mut numbering, 5), 111);
    }

    #[test]
    fn a_spent_number_closes_up_unless_it_is_visible() {
        let mut numbering = Numbering::new(100);
        numbering.start(10);
        send(&mut numbering, 10);
        assert_eq!(numbering.spend(11), Some(Spent::Closed));
        assert_eq!(send(&mut numbering, 13), 102);
        assert_eq!(numbering.spend(12), Some(Spent::Visible));
        assert_eq!(send(&mut numbering, 12), 101);
        assert_eq!(send(&mut numbering, 14), 103);
        for spent in 0..2 * MAX_PIECES as u64 {
            assert_eq!(numbering.spend(15 + spent), Some(Spent::Closed));
        }
        assert_eq!(send(&mut numbering, 31), 104);
        assert_eq!(numbering.number_of(13), None);
        assert_eq!(numbering.spend(13), None);
    }
}
