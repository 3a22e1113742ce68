//! Links between nodes in virtual time: delay, jitter, Gilbert–Elliott loss, blackouts. Seeded; nothing else is random.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood 2014): enough for loss and jitter, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64 <= probability && probability > 0.0
    }
}

/// One direction of a link.
#[derive(Clone, Debug)]
pub struct Direction {
    pub delay: Duration,
    pub jitter: Duration,
    pub loss_ratio: f64,
    pub burst_packets: f64,
    pub blackout: bool,
    /// Packets to lose next, whatever the ratio says.
    pub lose_next: u32,
    losing: bool,
}

impl Direction {
    pub fn new(delay: Duration) -> Self {
        Direction {
            delay,
            jitter: Duration::ZERO,
            loss_ratio: 0.0,
            burst_packets: 1.0,
            blackout: false,
            lose_next: 0,
            losing: false,
        }
    }

    /// When a packet sent now arrives; `None` when it is lost.
    pub fn carry(&mut self, random: &mut Random) -> Option<Duration> {
        if self.lose_next > 0 {
            self.lose_next -= 1;
            return None;
        }
        // Gilbert–Elliott: the bad state loses everything and lasts `burst_packets` on average.
        let leave = 1.0 / self.burst_packets.max(1.0);
        let enter = leave * self.loss_ratio / (1.0 - self.loss_ratio).max(1e-9);
        self.losing = if self.losing {
            !random.chance(leave)
        } else {
            random.chance(enter)
        };
        if self.losing || self.blackout {
            return None;
        }
        Some(self.delay + Duration::from_micros(random.below(self.jitter.as_micros() as u64 + 1)))
    }
}
