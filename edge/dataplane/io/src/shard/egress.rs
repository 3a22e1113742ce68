//! One peer's packets of one moment, sealed one behind the other, sent as few system calls as their sizes allow.

use crate::counters::{Counter, DropReason, WorkerCounters};
use crate::udp::{Destination, MediaSocket, SendResult, send_one, send_segments};
use std::ops::Range;

/// The kernel's UDP_MAX_SEGMENTS before Linux 6.9; a run of the pacer (12 KB) is far smaller.
const SEGMENTS_MAX: usize = 64;
/// Largest UDP payload over IPv4.
const RUN_MAX_BYTES: usize = 65_507;
/// Room for a whole frame of one peer; beyond, the arena grows once and stays.
const ARENA_BYTES: usize = 64 * 1_024;

/// After so many refused runs one after the other the route or device cannot do it; asking again would double the calls.
const REFUSALS_MAX: u32 = 8;

/// The send arena of a shard: used for one peer at a time, so that it stays in the cache.
pub struct Egress {
    arena: Vec<u8>,
    packets: Vec<Range<usize>>,
    segmentation: bool,
    refusals: u32,
}

impl Egress {
    /// `segmentation`: runs go out as one segmented send.
    pub fn new(segmentation: bool) -> Self {
        Egress {
            arena: Vec::with_capacity(ARENA_BYTES),
            packets: Vec::with_capacity(SEGMENTS_MAX),
            segmentation,
            refusals: 0,
        }
    }

    /// Where sealed packets are appended.
    pub fn arena(&mut self) -> &mut Vec<u8> {
        &mut self.arena
    }

    /// Notes a sealed packet of the arena for the next flush.
    pub fn push(&mut self, packet: Range<usize>) {
        self.packets.push(packet);
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Sends what was pushed, in order, and empties the arena. Without a destination everything is forgotten.
    pub fn flush(&mut self, way: Option<(&MediaSocket, &Destination)>, counters: &WorkerCounters) {
        if let Some((socket, destination)) = way {
            let mut first = 0;
            while first < self.packets.len() {
                let count = if self.segmentation {
                    run_length(&self.packets[first..])
                } else {
                    1
                };
                self.send_run(first..first + count, socket, destination, counters);
                first += count;
            }
        }
        self.packets.clear();
        self.arena.clear();
    }

    fn send_run(
        &mut self,
        run: Range<usize>,
        socket: &MediaSocket,
        destination: &Destination,
        counters: &WorkerCounters,
    ) {
        let packets = &self.packets[run];
        let bytes = packets[0].start..packets[packets.len() - 1].end;
        let result = match u16::try_from(packets[0].len()) {
            Ok(segment_len) if packets.len() > 1 => {
                send_segments(socket, destination, &self.arena[bytes.clone()], segment_len)
            }
            _ => send_one(socket, destination, &self.arena[bytes.clone()]),
        };
        counters.add(Counter::SendCalls, 1);
        if result != SendResult::SegmentationRefused {
            self.refusals = if packets.len() > 1 { 0 } else { self.refusals };
            account(result, packets.len(), bytes.len(), counters);
            return;
        }
        counters.add(Counter::GsoFallbacks, 1);
        self.refusals += 1;
        self.segmentation = self.refusals < REFUSALS_MAX;
        for packet in packets {
            let result = send_one(socket, destination, &self.arena[packet.clone()]);
            counters.add(Counter::SendCalls, 1);
            account(result, 1, packet.len(), counters);
        }
    }
}

/// How many packets from the first on form one run: neighbours in the arena, equally long, the last possibly shorter.
fn run_length(packets: &[Range<usize>]) -> usize {
    let segment_len = packets[0].len();
    let mut count = 1;
    while count < packets.len() && count < SEGMENTS_MAX {
        let next = &packets[count];
        let follows = next.start == packets[count - 1].end && packets[count - 1].len() == segment_len;
        if !follows || next.len() > segment_len || next.end - packets[0].start > RUN_MAX_BYTES {
            break;
        }
        count += 1;
    }
    count
}

fn account(result: SendResult, packets: usize, bytes: usize, counters: &WorkerCounters) {
    match result {
        SendResult::Sent => {
            counters.add(Counter::PacketsSent, packets as u64);
            counters.add(Counter::BytesSent, bytes as u64);
        }
        SendResult::Full => counters.drop_many(DropReason::SocketFull, packets as u64),
        SendResult::SegmentationRefused | SendResult::Failed => {
            counters.drop_many(DropReason::SocketError, packets as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(sizes: &[usize]) -> Vec<Range<usize>> {
        let mut start = 0;
        sizes
            .iter()
            .map(|size| {
                start += size;
                start - size..start
            })
            .collect()
    }

    #[test]
    fn a_run_is_equal_sizes_and_one_shorter_tail() {
        assert_eq!(run_length(&lengths(&[100, 100, 60, 100])), 3);
        assert_eq!(run_length(&lengths(&[100, 60, 60])), 2);
        assert_eq!(run_length(&lengths(&[60, 100])), 1);
        assert_eq!(run_length(&lengths(&[100; 70])), SEGMENTS_MAX);
        assert_eq!(run_length(&lengths(&[1_200; 60])), 54);
        assert_eq!(run_length(&[0..10, 12..22]), 1, "a gap in the arena");
    }
}
