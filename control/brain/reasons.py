"""Why a route was chosen, in words for the console: "direct 160 ms; via iad 320 ms". Times are round trips."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from control.brain.cost import GRAFT_LIMIT_UTILISATION
from control.brain.links import LinkTable
from control.brain.loss import residual_class
from control.brain.paths import Path

# What makes a direct link worth naming as bad: against its own ten-minute minimum, or at the edges' alarm level.
SLOW_MS = 20.0
SLOW_RATIO = 0.2
LOSSY_RATIO = 0.02


def describe(links: LinkTable, path: Path, options: Sequence[Path]) -> str:
    """One line: the choice with its round trip, and what it was chosen against."""
    if not path.measured:
        return "direct, not measured yet"
    source, leaf = path.nodes[0], path.nodes[-1]
    hops = pairwise(path.nodes)
    trouble = direct_trouble(links, source, leaf)
    if path.relays and trouble:
        text = f"{trouble}: {_name(path)}"
    else:
        others = [option for option in options if option.nodes != path.nodes and option.measured]
        # A detour is explained by the direct path, the direct path by its best detour.
        against = next((option for option in others if not option.relays), None) if path.relays else None
        against = against or next(iter(others), None)
        text = _name(path) if against is None else f"{_name(path)}; {_name(against)}"
    if residual_class(path.fresh_residual_ratio):
        text += f"; least bad, {100 * path.fresh_residual_ratio:.2g} % of packets come too late to repair"
    if any(links.utilisation[links.index[one], links.index[other]] > GRAFT_LIMIT_UTILISATION for one, other in hops):
        text += "; over a full link"
    return text


def direct_trouble(links: LinkTable, source: str, leaf: str) -> str:
    """What is wrong with the link between the ends, or an empty string."""
    hop = (links.index[source], links.index[leaf])
    pair = f"direct {source}\N{EN DASH}{leaf}"
    if not links.usable[hop]:
        return f"{pair} is down"
    if not links.measured[hop]:
        return ""
    found = []
    slower = float(links.rtt_ms[hop] - links.rtt_base_ms[hop])
    if slower > max(SLOW_MS, SLOW_RATIO * float(links.rtt_base_ms[hop])):
        found.append(f"+{slower:.0f} ms")
    loss = float(links.seen_loss_ratio[hop])
    if loss >= LOSSY_RATIO:
        found.append(f"loses {100 * loss:.1f} %")
    return f"{pair} {', '.join(found)}" if found else ""


def _name(path: Path) -> str:
    way = f"via {', '.join(path.relays)}" if path.relays else "direct"
    return f"{way} {path.rtt_ms:.0f} ms"
