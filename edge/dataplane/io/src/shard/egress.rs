//! Sealed packets on their way out: each peer's packets of one moment as few runs as their sizes allow, the runs of
//! many peers in few system calls.

use crate::counters::{Counter, DropReason, WorkerCounters};
use crate::udp::{BATCH_RUNS, Destination, MediaSocket, Run, SendResult, send_one, send_runs};
use std::ops::Range;
use std::sync::Arc;

/// The kernel's UDP_MAX_SEGMENTS before Linux 6.9; a run of the pacer (12 KB) is far smaller.
const SEGMENTS_MAX: usize = 64;
/// Largest UDP payload over IPv4.
const RUN_MAX_BYTES: usize = 65_507;
/// Sealed bytes that wait for a system call: half of a common second-level cache. Beyond, the arena grows once and
/// stays.
const ARENA_BYTES: usize = 24 * 10 * 1_024;
/// After so many refused runs one after the other the route or device cannot do it; asking again would double the calls.
const REFUSALS_MAX: u32 = 8;

/// IPv4 and IPv6.
pub type Sockets = [Option<Arc<MediaSocket>>; 2];

/// The send arena of a shard, used over and over again, so that it stays in the cache.
pub struct Egress {
    arena: Vec<u8>,
    packets: Vec<Range<usize>>,
    runs: Vec<WaitingRun>,
    segmentation: bool,
    refusals: u32,
}

/// A run in the arena, and its way.
#[derive(Clone)]
struct WaitingRun {
    bytes: Range<usize>,
    packets: usize,
    segment_len: usize,
    family: usize,
    destination: Destination,
}

impl Egress {
    /// `segmentation`: runs go out as one segmented send.
    pub fn new(segmentation: bool) -> Self {
        Egress {
            arena: Vec::with_capacity(ARENA_BYTES),
            packets: Vec::with_capacity(SEGMENTS_MAX),
            runs: Vec::with_capacity(2 * BATCH_RUNS),
            segmentation,
            refusals: 0,
        }
    }

    /// Where sealed packets are appended.
    pub fn arena(&mut self) -> &mut Vec<u8> {
        &mut self.arena
    }

    /// Notes a sealed packet of the arena for the peer at hand.
    pub fn push(&mut self, packet: Range<usize>) {
        self.packets.push(packet);
    }

    /// Whether the peer at hand gets nothing.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Whether enough waits for a system call.
    pub fn is_full(&self) -> bool {
        self.runs.len() >= BATCH_RUNS || self.arena.len() >= ARENA_BYTES
    }

    /// The peer at hand has all its packets; without a way they are forgotten.
    pub fn finish_peer(&mut self, way: Option<&(usize, Destination)>) {
        if let Some((family, destination)) = way {
            let mut first = 0;
            while first < self.packets.len() {
                let rest = &self.packets[first..];
                let count = if self.segmentation { run_length(rest) } else { 1 };
                self.runs.push(WaitingRun {
                    bytes: rest[0].start..rest[count - 1].end,
                    packets: count,
                    segment_len: rest[0].len(),
                    family: *family,
                    destination: *destination,
                });
                first += count;
            }
        }
        self.packets.clear();
    }

    /// Sends all that waits, in order, and empties the arena.
    pub fn send(&mut self, sockets: &Sockets, counters: &WorkerCounters) {
        let runs = std::mem::take(&mut self.runs);
        let mut rest = &runs[..];
        while let Some(first) = rest.first() {
            let same = rest
                .iter()
                .take(BATCH_RUNS)
                .take_while(|run| run.family == first.family)
                .count();
            let done = match &sockets[first.family] {
                Some(socket) => self.send_batch(socket, &rest[..same], counters),
                None => same,
            };
            rest = &rest[done..];
        }
        self.runs = runs;
        self.runs.clear();
        self.arena.clear();
    }

    /// Sends one batch; returns how many runs are dealt with, one way or the other.
    fn send_batch(&mut self, socket: &MediaSocket, runs: &[WaitingRun], counters: &WorkerCounters) -> usize {
        let nothing = Run {
            bytes: &[],
            segment_len: None,
            destination: &runs[0].destination,
        };
        let mut batch = [nothing; BATCH_RUNS];
        for (slot, run) in batch.iter_mut().zip(runs) {
            *slot = Run {
                bytes: &self.arena[run.bytes.clone()],
                segment_len: u16::try_from(run.segment_len).ok().filter(|_| run.packets > 1),
                destination: &run.destination,
            };
        }
        let (sent, result) = send_runs(socket, &batch[..runs.len()]);
        counters.add(Counter::SendCalls, sent as u64);
        for run in &runs[..sent] {
            account(SendResult::Sent, run.packets, run.bytes.len(), counters);
            self.refusals = if run.packets > 1 { 0 } else { self.refusals };
        }
        match result {
            SendResult::Sent => sent,
            SendResult::Full => {
                // Nobody else will find room either until the kernel has sent something.
                let refused = runs[sent..].iter().map(|run| run.packets as u64).sum();
                counters.drop_many(DropReason::SocketFull, refused);
                runs.len()
            }
            SendResult::SegmentationRefused => {
                self.send_singly(socket, &runs[sent], counters);
                sent + 1
            }
            SendResult::Failed => {
                account(SendResult::Failed, runs[sent].packets, 0, counters);
                sent + 1
            }
        }
    }

    fn send_singly(&mut self, socket: &MediaSocket, run: &WaitingRun, counters: &WorkerCounters) {
        counters.add(Counter::GsoFallbacks, 1);
        self.refusals += 1;
        self.segmentation = self.refusals < REFUSALS_MAX;
        for packet in self.arena[run.bytes.clone()].chunks(run.segment_len) {
            let result = send_one(socket, &run.destination, packet);
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
