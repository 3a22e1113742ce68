//! The route table control hands out, checked as a whole before any of it is used.

use crate::mesh::wire::{EDGE_ID_BYTES_MAX, PATH_EDGES_MAX, ROOM_BYTES_MAX};
use crate::route::StreamRoute;
use std::collections::{BTreeMap, BTreeSet};

/// Why a table was refused; the last good one stays.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteRejected {
    /// In snake_case; also a metric label.
    pub reason: &'static str,
    /// Names the room, the path and what to do.
    pub detail: String,
}

/// Checks a table for the edge `own` whose neighbours are `known`, and indexes it by room.
pub fn check_routes(
    own: &str,
    known: &BTreeSet<String>,
    routes: &[StreamRoute],
) -> Result<BTreeMap<String, StreamRoute>, RouteRejected> {
    let mut table = BTreeMap::new();
    for route in routes {
        if route.room.is_empty() || route.room.len() > ROOM_BYTES_MAX {
            return Err(reject(
                "route_room",
                route,
                &route.primary,
                "a room name has 1 to 256 bytes",
            ));
        }
        check_path(own, known, route, &route.primary)?;
        if !route.backup.is_empty() {
            check_path(own, known, route, &route.backup)?;
        }
        if table.insert(route.room.clone(), route.clone()).is_some() {
            return Err(reject(
                "route_duplicate",
                route,
                &route.primary,
                "send one route per room",
            ));
        }
    }
    Ok(table)
}

fn check_path(own: &str, known: &BTreeSet<String>, route: &StreamRoute, path: &[String]) -> Result<(), RouteRejected> {
    if path.len() > PATH_EDGES_MAX {
        return Err(reject("route_too_long", route, path, "a path has at most 8 edges"));
    }
    if path.first().map(String::as_str) != Some(own) {
        return Err(reject(
            "route_start",
            route,
            path,
            "a path begins with the edge it is sent to",
        ));
    }
    if path.last() != Some(&route.source_edge) {
        return Err(reject("route_end", route, path, "a path ends with the source's edge"));
    }
    if path.iter().collect::<BTreeSet<_>>().len() != path.len() {
        return Err(reject("route_loop", route, path, "an edge stands in a path once"));
    }
    let unknown = path
        .iter()
        .find(|edge| *edge != own && (!known.contains(*edge) || edge.len() > EDGE_ID_BYTES_MAX));
    match unknown {
        Some(edge) => Err(reject(
            "route_unknown_edge",
            route,
            path,
            &format!("make {edge} a peer first"),
        )),
        None => Ok(()),
    }
}

fn reject(reason: &'static str, route: &StreamRoute, path: &[String], advice: &str) -> RouteRejected {
    RouteRejected {
        reason,
        detail: format!("route of room {:?} by {:?}: {advice}", route.room, path.join(" > ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(primary: &[&str], backup: &[&str]) -> StreamRoute {
        let own = |path: &[&str]| path.iter().map(|edge| (*edge).to_owned()).collect::<Vec<_>>();
        StreamRoute {
            room: "demo".into(),
            incarnation: 1,
            source_edge: "sg".into(),
            primary: own(primary),
            backup: own(backup),
            reason: String::new(),
        }
    }

    #[test]
    fn a_table_with_a_loop_an_unknown_edge_or_a_wrong_end_is_refused_by_name() {
        let known: BTreeSet<String> = ["sg", "iad", "bom"].map(str::to_owned).into();
        for (primary, backup, reason) in [
            (&["fra", "iad", "fra", "sg"][..], &[][..], "route_loop"),
            (&["fra", "sg"], &["fra", "nowhere", "sg"], "route_unknown_edge"),
            (&["iad", "sg"], &[], "route_start"),
            (&["fra", "iad"], &[], "route_end"),
            (&[], &[], "route_start"),
            (&["fra", "a", "b", "c", "d", "e", "f", "g", "sg"], &[], "route_too_long"),
        ] {
            let rejected = check_routes("fra", &known, &[route(primary, backup)]).expect_err(reason);
            assert_eq!(rejected.reason, reason);
            assert!(rejected.detail.contains("demo"));
        }
        let twice = [route(&["fra", "sg"], &[]), route(&["fra", "iad", "sg"], &[])];
        assert_eq!(
            check_routes("fra", &known, &twice).expect_err("twice").reason,
            "route_duplicate"
        );
        assert_eq!(
            check_routes("fra", &known, &[route(&["fra", "sg"], &["fra", "iad", "sg"])]).map(|t| t.len()),
            Ok(1)
        );
    }
}
