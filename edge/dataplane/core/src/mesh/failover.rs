//! When a stream's backup is armed, takes over, and is released again (DESIGN §5).
//!
//! ```text
//! Steady ── parent silent 150 ms, lossy, or cut off itself ──▶ Armed ── 500 ms silent, 1 s of loss, orphan ──▶ commit
//!    ▲                                                           │
//!    └────────────────────── 2 s clean ──────────────────────────┘
//! ```

use crate::mesh::hop::{ARM_SILENCE, COMMIT_SILENCE};
use crate::mesh::wire::SourceState;
use crate::time::Time;
use std::time::Duration;

/// An armed backup is released after this long without a reason to keep it.
pub const RELEASE_AFTER: Duration = Duration::from_secs(2);
/// The parent's hop lives and it claims to be healthy, yet the source's counter stands still: it is wrong.
pub const STALE_COMMIT: Duration = Duration::from_millis(1_500);

/// Whether the backup carries media.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Phase {
    /// Only the parent does.
    #[default]
    Steady,
    /// Both do; what comes first is played.
    Armed {
        /// When there was last a reason.
        bad_at: Time,
        /// The reason that armed it.
        cause: Cause,
    },
}

impl Phase {
    /// The phase's name in snapshots.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Steady => "steady",
            Phase::Armed { .. } => "armed",
        }
    }
}

/// What speaks against the parent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// Nothing arrives from it.
    Silence,
    /// Too many of its packets are lost.
    Loss,
    /// It has lost its own way to the source, or refuses.
    Orphan,
    /// This edge stands in the path it announces.
    Loop,
    /// It lives, but the source's counter does not advance.
    Stale,
}

impl Cause {
    /// The cause's name in events.
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Silence => "silence",
            Cause::Loss => "loss",
            Cause::Orphan => "orphan",
            Cause::Loop => "loop",
            Cause::Stale => "stale",
        }
    }
}

/// What can be seen of the parent and the backup now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Observation {
    /// Nothing, heartbeats included, has arrived from the parent for this long.
    pub silence: Duration,
    /// More than 5 % loss within 100 ms, at least 5 packets.
    pub lossy: bool,
    /// That has gone on for a second.
    pub lossy_for_long: bool,
    /// What the parent says of itself; a refusal counts as an orphan.
    pub parent_state: SourceState,
    /// The parent's path vector holds this edge.
    pub looped: bool,
    /// The source's counter has not advanced through the parent for this long.
    pub stale: Duration,
    /// The source's counter advances through the backup, whose path does not hold this edge.
    pub backup_healthy: bool,
    /// The backup's trunk is up.
    pub backup_reachable: bool,
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Nothing changes.
    Stay,
    /// Take media from the backup as well.
    Arm(Cause),
    /// Take media from the parent only again.
    Release,
    /// The backup becomes the parent.
    Commit(Cause),
}

/// Decides the next step of one stream.
pub fn decide_failover(phase: Phase, seen: &Observation, now: Time) -> Action {
    if let Some(cause) = commit_cause(seen)
        && seen.backup_healthy
    {
        return Action::Commit(cause);
    }
    match (phase, arm_cause(seen)) {
        (Phase::Steady, Some(cause)) if seen.backup_reachable => Action::Arm(cause),
        (Phase::Armed { bad_at, .. }, None) if now - bad_at >= RELEASE_AFTER => Action::Release,
        _ => Action::Stay,
    }
}

/// What speaks for arming now; also what keeps an armed backup armed.
pub fn arm_cause(seen: &Observation) -> Option<Cause> {
    if seen.silence >= ARM_SILENCE {
        Some(Cause::Silence)
    } else if seen.looped {
        Some(Cause::Loop)
    } else if seen.parent_state != SourceState::Healthy {
        Some(Cause::Orphan)
    } else if seen.lossy {
        Some(Cause::Loss)
    } else if seen.stale >= STALE_COMMIT {
        Some(Cause::Stale)
    } else {
        None
    }
}

fn commit_cause(seen: &Observation) -> Option<Cause> {
    if seen.silence >= COMMIT_SILENCE {
        Some(Cause::Silence)
    } else if seen.looped {
        Some(Cause::Loop)
    } else if seen.parent_state == SourceState::Orphan {
        Some(Cause::Orphan)
    } else if seen.lossy_for_long {
        Some(Cause::Loss)
    } else if seen.stale >= STALE_COMMIT {
        Some(Cause::Stale)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEALTHY: Observation = Observation {
        silence: Duration::from_millis(20),
        lossy: false,
        lossy_for_long: false,
        parent_state: SourceState::Healthy,
        looped: false,
        stale: Duration::from_millis(50),
        backup_healthy: true,
        backup_reachable: true,
    };

    fn armed(bad_at: u64) -> Phase {
        Phase::Armed {
            bad_at: Time::from_millis(bad_at),
            cause: Cause::Silence,
        }
    }

    #[test]
    fn each_observation_leads_to_one_step() {
        let now = Time::from_millis(10_000);
        let silent = |millis| Observation {
            silence: Duration::from_millis(millis),
            ..HEALTHY
        };
        let lossy = Observation { lossy: true, ..HEALTHY };
        for (phase, seen, action) in [
            (Phase::Steady, HEALTHY, Action::Stay),
            (Phase::Steady, silent(149), Action::Stay),
            (Phase::Steady, silent(150), Action::Arm(Cause::Silence)),
            (armed(9_990), silent(499), Action::Stay),
            (armed(9_990), silent(500), Action::Commit(Cause::Silence)),
            (Phase::Steady, lossy, Action::Arm(Cause::Loss)),
            (armed(9_990), lossy, Action::Stay),
            (
                armed(9_990),
                Observation {
                    lossy_for_long: true,
                    ..lossy
                },
                Action::Commit(Cause::Loss),
            ),
            (armed(8_001), HEALTHY, Action::Stay),
            (armed(8_000), HEALTHY, Action::Release),
            (
                Phase::Steady,
                Observation {
                    parent_state: SourceState::Suspect,
                    ..HEALTHY
                },
                Action::Arm(Cause::Orphan),
            ),
            (
                Phase::Steady,
                Observation {
                    parent_state: SourceState::Orphan,
                    ..HEALTHY
                },
                Action::Commit(Cause::Orphan),
            ),
            (
                Phase::Steady,
                Observation {
                    looped: true,
                    ..HEALTHY
                },
                Action::Commit(Cause::Loop),
            ),
            (
                Phase::Steady,
                Observation {
                    stale: Duration::from_millis(1_000),
                    ..HEALTHY
                },
                Action::Stay, // the parent's own fail-over is under way
            ),
        ] {
            assert_eq!(decide_failover(phase, &seen, now), action, "{phase:?} {seen:?}");
        }
    }

    #[test]
    fn a_backup_that_is_not_healthy_never_takes_over() {
        let seen = Observation {
            silence: Duration::from_secs(9),
            backup_healthy: false,
            ..HEALTHY
        };
        assert_eq!(decide_failover(armed(0), &seen, Time::from_millis(9_000)), Action::Stay);
        let unreachable = Observation {
            backup_reachable: false,
            ..seen
        };
        assert_eq!(decide_failover(Phase::Steady, &unreachable, Time::ZERO), Action::Stay);
    }
}
