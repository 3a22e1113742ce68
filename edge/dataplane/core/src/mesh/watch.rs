//! What a stream does as time passes: heartbeats, fail-over, planned moves, repeats.

use crate::mesh::failover::{Action, Cause, Observation, Phase, arm_cause, decide_failover};
use crate::mesh::layer::REPAIR_DEADLINE;
use crate::mesh::net::{HEARTBEAT, Net};
use crate::mesh::output::{EdgeId, FailoverPhase, Output};
use crate::mesh::stream::{LINGER, Stream};
use crate::mesh::wire::SourceState;
use crate::time::Time;
use std::time::Duration;

/// A child that was not told of the source for this long is told that the hop lives.
const BEAT_OVERDUE: Duration = Duration::from_millis(150);
/// Clocks are repeated like sender reports.
const CLOCK_REPEAT: Duration = Duration::from_secs(1);
/// A neighbour that was idle until now sends its first full-rate heartbeat a round trip and this much later.
const SILENCE_ALLOWANCE: Duration = Duration::from_millis(300);
/// The first connection to a parent may take this long before its silence speaks for a backup.
const CONNECT_ALLOWANCE: Duration = Duration::from_secs(1);
/// A planned move does not wait longer for media of a source that is silent itself.
const MOVE_WITHOUT_MEDIA: Duration = Duration::from_secs(3);

impl Stream {
    /// A few milliseconds have passed.
    pub fn handle_tick(&mut self, net: &mut Net, now: Time) {
        if self.is_origin(&net.own) {
            self.beat_as_origin(net, now);
        } else {
            self.watch_parent(net, now);
            self.finish_move(net, now);
            self.repeat_asks(net, now);
            self.repeat_subscriptions(&net.own.clone(), now);
        }
        self.watch_state(net, now);
        self.pump_replays(net, now);
        self.repeat_key_frame_requests(net, now);
        if let Some(source) = self.source.as_mut().filter(|source| now >= source.clocks_at) {
            source.clocks_at = now + CLOCK_REPEAT;
            self.repeat_clocks(net, now);
        }
        if self.lingering.is_some_and(|(_, until)| now >= until) {
            self.lingering = None;
            self.unsettled = true;
        }
        let before = self.children.len();
        self.children
            .retain(|_, child| child.detached.is_none_or(|since| now - since < LINGER));
        self.unsettled |= before != self.children.len();
        if self.unsettled {
            self.settle(net, now);
        }
    }

    fn beat_as_origin(&mut self, net: &mut Net, now: Time) {
        if now < self.beat_at {
            return;
        }
        // In step with the clock, so that a late tick does not slow the counter down.
        self.beat_at = if now - self.beat_at > HEARTBEAT {
            now + HEARTBEAT
        } else {
            self.beat_at + HEARTBEAT
        };
        self.counter += 1;
        self.beat_children(net, now, Duration::ZERO);
    }

    fn beat_children(&mut self, net: &mut Net, now: Time, overdue: Duration) {
        let due: Vec<EdgeId> = self
            .children
            .iter()
            .filter(|(_, child)| child.detached.is_none())
            .filter(|(_, child)| child.beat_at.is_none_or(|at| now - at >= overdue))
            .map(|(edge, _)| edge.clone())
            .collect();
        for child in due {
            self.beat_child(&child, net, now);
        }
    }

    fn watch_state(&mut self, net: &mut Net, now: Time) {
        let state = self.decide_state(self.parent_silence(net, now), net, now);
        let changed = std::mem::replace(&mut self.state, state) != state;
        self.beat_children(net, now, if changed { Duration::ZERO } else { BEAT_OVERDUE });
    }

    /// How long nothing has come from the parent, less what setting up excuses.
    fn parent_silence(&self, net: &Net, now: Time) -> Duration {
        let Some(active) = &self.active else {
            return Duration::ZERO;
        };
        let hop = net.peers.get(active).map(|peer| &peer.hop);
        let rtt = hop.and_then(|hop| hop.rtt()).unwrap_or_default();
        let upstream = self
            .upstreams
            .get(active)
            .filter(|upstream| upstream.sent.is_some() || upstream.answered);
        let excused = match upstream {
            // A subscription that was answered once is judged by the hop alone.
            Some(upstream) if upstream.answered => Duration::ZERO,
            Some(upstream) => (now - upstream.since).min(rtt + SILENCE_ALLOWANCE),
            None => (now - self.active_since).min(CONNECT_ALLOWANCE),
        };
        let silence = hop.and_then(|hop| hop.silence(now)).unwrap_or(now - self.active_since);
        silence.saturating_sub(excused)
    }

    fn watch_parent(&mut self, net: &mut Net, now: Time) {
        let Some(active) = self.active.clone().filter(|_| net.config.features.failover) else {
            return;
        };
        let standbys = self.standbys();
        if standbys.is_empty() {
            self.phase = Phase::Steady;
            return;
        }
        let healthy = standbys.iter().find(|edge| self.is_fresh(edge, &net.own, now)).cloned();
        let seen = self.observe(&active, healthy.is_some(), &standbys, net, now);
        if let (Phase::Armed { bad_at, .. }, true) = (&mut self.phase, arm_cause(&seen).is_some()) {
            *bad_at = now;
        }
        match decide_failover(self.phase, &seen, now) {
            Action::Stay => {}
            Action::Arm(cause) => {
                self.phase = Phase::Armed { bad_at: now, cause };
                self.tell_failover(FailoverPhase::Armed, &active, &standbys[0], cause, net);
                self.settle(net, now);
            }
            Action::Release => {
                let cause = match self.phase {
                    Phase::Armed { cause, .. } => cause,
                    Phase::Steady => Cause::Silence,
                };
                self.phase = Phase::Steady;
                self.tell_failover(FailoverPhase::Released, &active, &standbys[0], cause, net);
                self.settle(net, now);
            }
            Action::Commit(cause) => {
                let to = healthy.expect("a commit needs a healthy backup");
                self.adopt(to.clone(), now);
                self.committed = true;
                self.tell_failover(FailoverPhase::Committed, &to, &active, cause, net);
                self.settle(net, now);
            }
        }
    }

    fn observe(&self, active: &EdgeId, backup_healthy: bool, standbys: &[EdgeId], net: &Net, now: Time) -> Observation {
        let hop = net.peers.get(active).map(|peer| &peer.hop);
        let upstream = self.upstreams.get(active);
        let beat = upstream.and_then(|upstream| upstream.beat.as_ref());
        let refused = upstream.is_some_and(|upstream| upstream.refused);
        let since = upstream.map_or(self.active_since, |upstream| upstream.since.max(self.active_since));
        let advanced_at = beat.map_or(since, |beat| beat.advanced_at.max(since));
        Observation {
            silence: self.parent_silence(net, now),
            lossy: hop.is_some_and(|hop| hop.is_lossy(now)),
            lossy_for_long: hop.is_some_and(|hop| hop.is_lossy_for_long(now)),
            parent_state: if refused {
                SourceState::Orphan
            } else {
                beat.map_or(SourceState::Healthy, |beat| beat.state)
            },
            looped: upstream.is_some_and(|upstream| upstream.is_looped(&net.own)),
            stale: now - advanced_at,
            backup_healthy,
            backup_reachable: !net.config.features.backup || standbys.iter().any(|edge| net.is_up(edge)),
        }
    }

    /// Leaves the old parent once the planned one delivers.
    fn finish_move(&mut self, net: &mut Net, now: Time) {
        let Some(to) = self.moving.clone() else { return };
        if !self.is_fresh(&to, &net.own, now) {
            return;
        }
        let Some(upstream) = self.upstreams.get(&to) else {
            return;
        };
        let wants_media = upstream.sent.as_ref().is_some_and(|(wants, _)| wants.media);
        // A packet that was asked of the old parent has come by now, or never will.
        let settled = now - upstream.sent_at >= REPAIR_DEADLINE;
        let delivers = upstream
            .media_at
            .is_some_and(|at| at > upstream.sent_at && now - at < REPAIR_DEADLINE);
        if upstream.sent.is_some()
            && settled
            && (!wants_media || delivers || now - upstream.sent_at >= MOVE_WITHOUT_MEDIA)
        {
            self.adopt(to, now);
            self.committed = false;
            self.settle(net, now);
        }
    }

    fn adopt(&mut self, parent: EdgeId, now: Time) {
        self.active = Some(parent);
        self.active_since = now;
        self.moving = None;
        self.phase = Phase::Steady;
    }

    fn tell_failover(&self, phase: FailoverPhase, parent: &EdgeId, peer: &EdgeId, cause: Cause, net: &mut Net) {
        net.outputs.push_back(Output::Failover {
            room: self.room.clone(),
            incarnation: self.incarnation(),
            phase,
            parent: parent.clone(),
            peer: peer.clone(),
            reason: cause.name(),
        });
    }
}
