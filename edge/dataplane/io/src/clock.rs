//! The process's monotonic clock, read at the rim only.

use std::time::Instant;
use tradewind_core::time::Time;

/// Reads the monotonic clock as [`Time`]; every worker holds a copy with the same start.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that begins now. One is made per process, or times of two threads could not be compared.
    pub fn start() -> Self {
        Clock { start: Instant::now() }
    }

    /// Now, in microseconds since the clock's start.
    pub fn now(&self) -> Time {
        Time::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The [`Time`] of an `Instant`; the clock's start when it lies before.
    pub fn at(&self, instant: Instant) -> Time {
        let since = instant.saturating_duration_since(self.start);
        Time::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// The `Instant` of a [`Time`], for APIs that want one (quinn, tokio).
    pub fn instant(&self, time: Time) -> Instant {
        self.start + std::time::Duration::from_micros(time.as_micros())
    }
}
