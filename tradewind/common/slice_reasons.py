"""Why an edge refuses a slice of routes: the words of its NACK, and labels of both sides' counters."""

from __future__ import annotations

from typing import Final

SLICE_REASONS: Final = (
    # Found by the edge before anything of the slice is used.
    "stale_epoch",
    "stale_version",
    "missing_base",
    "bad_slice",
    "route_loop",
    "unknown_edge",
    # Found by the packet path, which checks the table again as a whole.
    "route_room",
    "route_duplicate",
    "route_too_long",
    "route_start",
    "route_end",
    "route_unknown_edge",
    "no_trunk",
    "trunk_stopped",
    # A word that this version does not know.
    "rejected",
)
