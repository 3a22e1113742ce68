//! Which subscriptions a stream needs now, and the messages that bring them about.

use crate::mesh::failover::{Phase, STALE_COMMIT};
use crate::mesh::hop::{ARM_SILENCE, COMMIT_SILENCE};
use crate::mesh::net::Net;
use crate::mesh::output::{EdgeId, Output};
use crate::mesh::stream::{FRESH, Stream, Upstream};
use crate::mesh::wire::{Message, PATH_EDGES_MAX, SourceState, Subscribe, Wants};
use crate::packet::Ssrc;
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A subscription that is not answered is said again.
const RESUBSCRIBE: Duration = Duration::from_secs(1);

/// What one upstream is to carry.
#[derive(Debug)]
struct Desired {
    wants: Wants,
    route: Vec<String>,
}

impl Stream {
    /// Brings subscriptions, local interest and the announced tree in line with what is needed.
    pub fn settle(&mut self, net: &mut Net, now: Time) {
        self.unsettled = false;
        let own = net.own.clone();
        if let Some(route) = &self.route
            && self.committed
            && route.primary.get(1).map(String::as_str) == self.active.as_deref()
        {
            self.committed = false;
        }
        let desired = if self.is_origin(&own) {
            self.active = None;
            self.moving = None;
            self.phase = Phase::Steady;
            for child in self.children.values_mut() {
                child.serving = None;
            }
            BTreeMap::new()
        } else {
            self.choose_active(now);
            self.desire(net, now)
        };
        self.apply_desired(desired, net, now);
        self.tell_local_interest(net);
        self.tell_repair_delay(net);
        self.tell_tree(net);
    }

    /// Says subscriptions again that were not answered or were refused.
    pub fn repeat_subscriptions(&mut self, own: &str, now: Time) {
        let incarnation = self.incarnation();
        for upstream in self.upstreams.values_mut() {
            let idle = !upstream.answered || upstream.refused;
            let stuck = upstream.beat.is_none() || !upstream.is_fresh(own, incarnation, now);
            if idle && stuck && upstream.sent.is_some() && now - upstream.sent_at >= RESUBSCRIBE {
                upstream.sent = None;
                self.unsettled = true;
            }
        }
    }

    fn choose_active(&mut self, now: Time) {
        let needed = self.own_wants().is_leaf();
        let planned = self
            .route
            .as_ref()
            .filter(|_| needed)
            .and_then(|route| route.primary.get(1))
            .cloned();
        match (&self.active, planned) {
            (None, planned) => {
                let child_route = || {
                    let leaf_first = self.children.values().filter(|child| child.wants.is_leaf());
                    leaf_first
                        .chain(self.children.values())
                        .find(|child| child.route.len() > 1 && child.detached.is_none())
                        .map(|child| child.route[1].clone())
                };
                self.active = planned.or_else(child_route).map(EdgeId::from);
                self.active_since = now;
                self.moving = None;
            }
            (Some(active), Some(planned)) if **active != *planned && !self.committed => {
                if self.moving.as_deref() != Some(&*planned) {
                    self.moving = Some(EdgeId::from(planned));
                }
            }
            (Some(_), _) => self.moving = None,
        }
    }

    fn desire(&mut self, net: &Net, now: Time) -> BTreeMap<EdgeId, Desired> {
        let mut wants: BTreeMap<EdgeId, Option<Wants>> = BTreeMap::new();
        let mut add = |edge: &EdgeId, more: Wants| {
            let entry = wants.entry(edge.clone()).or_default();
            *entry = Some(entry.map_or(more, |wants| wants.or(more)));
        };
        let own_wants = self.own_wants();
        if own_wants.is_leaf()
            && let Some(active) = &self.active
        {
            add(active, own_wants);
        }
        let standbys = self.standbys();
        let mut from_active = own_wants;
        let serving: Vec<(EdgeId, Option<EdgeId>)> = self
            .children
            .keys()
            .map(|child| (child.clone(), self.serving_upstream(child, &standbys, net, now)))
            .collect();
        for (edge, serving) in serving {
            let child = self.children.get_mut(&edge).expect("the keys were just taken");
            child.serving = serving.clone();
            if let Some(serving) = serving {
                if self.active.as_ref() == Some(&serving) {
                    from_active = from_active.or(child.wants);
                }
                add(&serving, child.wants);
            }
        }
        if self.active.is_some() && from_active.is_leaf() {
            if let Some(moving) = &self.moving {
                add(
                    moving,
                    Wants {
                        media: from_active.media,
                        tree: from_active.tree,
                        backup: false,
                    },
                );
            }
            let armed = matches!(self.phase, Phase::Armed { .. });
            let warm = net.config.features.failover && (net.config.features.backup || armed);
            for standby in standbys
                .iter()
                .filter(|edge| warm && self.moving.as_ref() != Some(edge))
            {
                add(
                    standby,
                    Wants {
                        media: armed && from_active.media,
                        tree: false,
                        backup: true,
                    },
                );
            }
        }
        if wants.is_empty() {
            self.active = None;
            self.moving = None;
            self.phase = Phase::Steady;
        }
        wants
            .into_iter()
            .filter_map(|(edge, wants)| {
                let mut wants = wants?;
                // Who finds itself in the path detaches from the media at once; heartbeats tell when the loop is gone.
                if self
                    .upstreams
                    .get(&edge)
                    .is_some_and(|upstream| upstream.is_looped(&net.own))
                {
                    wants = Wants {
                        media: false,
                        tree: false,
                        backup: true,
                    };
                }
                let route = self.route_through(&edge).or_else(|| self.said_route(&edge))?;
                Some((edge, Desired { wants, route }))
            })
            .collect()
    }

    /// The route that `edge` was subscribed with, for a parent whose route was taken out of the table.
    fn said_route(&self, edge: &str) -> Option<Vec<String>> {
        self.upstreams.get(edge)?.sent.as_ref().map(|(_, route)| route.clone())
    }

    /// The upstream a child's packets come from: the parent or a backup, never by a way through the child; else the
    /// next edge of the child's own route.
    fn serving_upstream(&self, child: &EdgeId, standbys: &[EdgeId], net: &Net, now: Time) -> Option<EdgeId> {
        let entry = &self.children[child];
        if entry.detached.is_some() && !entry.wants.is_leaf() {
            return None;
        }
        let passes_child = |edge: &EdgeId| {
            edge == child
                || self
                    .upstreams
                    .get(edge)
                    .and_then(|upstream| upstream.beat.as_ref())
                    .is_some_and(|beat| {
                        // A path that is no longer alive proves nothing.
                        now - beat.advanced_at <= FRESH * 4 && beat.path.iter().any(|hop| **hop == **child)
                    })
        };
        let candidates = self.active.iter().chain(standbys);
        if let Some(edge) = candidates.clone().find(|edge| !passes_child(edge)) {
            return Some(edge.clone());
        }
        let next = entry.route.get(1)?;
        let usable = **child != **next && !entry.via.contains(next) && net.known.contains(next);
        usable.then(|| EdgeId::from(next.as_str()))
    }

    fn apply_desired(&mut self, desired: BTreeMap<EdgeId, Desired>, net: &mut Net, now: Time) {
        let gone: Vec<EdgeId> = self
            .upstreams
            .keys()
            .filter(|edge| !desired.contains_key(*edge))
            .cloned()
            .collect();
        for edge in gone {
            let upstream = self.upstreams.remove(&edge).expect("the keys were just taken");
            let message = Message::Unsubscribe {
                subscription: upstream.subscription,
                revision: upstream.revision + 1,
            };
            net.send_message(&edge, &message, now);
            net.close_subscription(&edge, upstream.subscription);
        }
        for (edge, Desired { wants, route }) in desired {
            net.want(&edge, now);
            if !self.upstreams.contains_key(&edge) {
                let Some(subscription) = net.open_subscription(&edge, &self.room, now) else {
                    continue;
                };
                self.upstreams.insert(edge.clone(), Upstream::new(subscription, now));
                net.hurry_heartbeat(&edge, now);
            }
            let upstream = &self.upstreams[&edge];
            let news = upstream
                .sent
                .as_ref()
                .is_none_or(|(said, by)| *said != wants || *by != route);
            if news && net.is_up(&edge) {
                self.subscribe(&edge, wants, route, net, now);
            }
        }
    }

    fn subscribe(&mut self, edge: &EdgeId, wants: Wants, route: Vec<String>, net: &mut Net, now: Time) {
        let via: BTreeSet<String> = self
            .children
            .values()
            .filter(|child| child.serving.as_ref() == Some(edge))
            .flat_map(|child| child.via.iter().cloned())
            .filter(|hop| **hop != *net.own)
            .collect();
        let mut via: Vec<String> = via.into_iter().take(PATH_EDGES_MAX - 1).collect();
        via.push(net.own.to_string());
        let last_seen = if wants.media {
            self.last_seen(edge, now)
        } else {
            Vec::new()
        };
        let upstream = self.upstreams.get_mut(edge).expect("the caller has made it");
        if upstream.sent.is_none() {
            upstream.since = now;
        }
        upstream.revision += 1;
        upstream.sent = Some((wants, route.clone()));
        upstream.sent_at = now;
        let message = Message::Subscribe(Subscribe {
            subscription: upstream.subscription,
            revision: upstream.revision,
            wants,
            room: self.room.clone(),
            route,
            via,
            last_seen,
        });
        net.send_message(edge, &message, now);
    }

    /// Where the parent is to go on: after what this node has; or, when it only serves one child, after what that has.
    fn last_seen(&mut self, edge: &EdgeId, now: Time) -> Vec<(Ssrc, u16)> {
        let mut children = self
            .children
            .values()
            .filter(|child| child.serving.as_ref() == Some(edge) && child.wants.media);
        let only = match (children.next(), children.next()) {
            (Some(only), None) if !self.own_wants().media => only.last_seen.clone(),
            _ => Vec::new(),
        };
        let Some(source) = &mut self.source else { return only };
        for (ssrc, number) in &only {
            let layers = source.layers.iter_mut().filter(|((_, known), _)| known == ssrc);
            // What was kept here ends before: not a gap to repair.
            for (_, layer) in layers.filter(|(_, layer)| layer.highest() < Some(layer.extend(*number))) {
                layer.restart();
            }
        }
        if only.is_empty() { source.last_seen(now) } else { only }
    }

    fn tell_local_interest(&mut self, net: &mut Net) {
        let local = self.source.as_ref().is_some_and(|source| source.local);
        // Warm backups included: the ring must be full when one is armed.
        let wanted = local && !self.children.is_empty();
        if wanted != self.local_wanted {
            self.local_wanted = wanted;
            net.outputs.push_back(Output::LocalInterest {
                room: self.room.clone(),
                wanted,
            });
        }
    }

    /// Announces this edge's place in the room's tree when it has changed.
    pub fn tell_tree(&mut self, net: &mut Net) {
        let parent = self.active.as_ref().filter(|active| {
            let upstream = self.upstreams.get(*active);
            upstream.is_some_and(|up| up.answered && up.sent.as_ref().is_some_and(|(wants, _)| wants.tree))
        });
        let children: Vec<EdgeId> = self
            .children
            .iter()
            .filter(|(_, child)| child.wants.tree && child.detached.is_none())
            .map(|(edge, _)| edge.clone())
            .collect();
        let tree = (self.incarnation(), parent.cloned(), children);
        let nothing = (0, None, Vec::new());
        if self.tree.as_ref().unwrap_or(&nothing) != &tree {
            self.tree = Some(tree.clone());
            let (incarnation, parent, children) = tree;
            net.outputs.push_back(Output::TreeChanged {
                room: self.room.clone(),
                incarnation,
                parent,
                children,
            });
        }
    }

    /// Whether children must be told that this node's own way is in danger or lost.
    pub fn decide_state(&self, silence: Duration, net: &Net, now: Time) -> SourceState {
        if self.is_origin(&net.own) {
            return SourceState::Healthy;
        }
        let standby_ready = net.config.features.failover
            && self
                .standbys()
                .iter()
                .any(|standby| self.is_fresh(standby, &net.own, now));
        if standby_ready {
            // Until the backup has taken over. Its way may be longer than the children's own: they shall have both.
            return if (ARM_SILENCE..COMMIT_SILENCE).contains(&silence) {
                SourceState::Suspect
            } else {
                SourceState::Healthy
            };
        }
        let Some(upstream) = self.active.as_ref().and_then(|active| self.upstreams.get(active)) else {
            return SourceState::Orphan;
        };
        let stale = now - upstream.beat.as_ref().map_or(upstream.since, |beat| beat.advanced_at);
        let beat_state = upstream.beat.as_ref().map_or(SourceState::Healthy, |beat| beat.state);
        if upstream.refused
            || upstream.is_looped(&net.own)
            || silence >= COMMIT_SILENCE
            || stale >= STALE_COMMIT
            || beat_state == SourceState::Orphan
        {
            SourceState::Orphan
        } else if silence >= ARM_SILENCE || beat_state == SourceState::Suspect {
            SourceState::Suspect
        } else {
            SourceState::Healthy
        }
    }
}
