"""Bad links on demand: a thin client of the WAN emulator's admin surface.

The conditions a link had when control first saw it are what `clear` brings back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import httpx

from tradewind.common.logging import get_logger
from tradewind.common.problem import Problem

log = get_logger(__name__)

# The emulator runs on this machine; a slow answer means that it is gone.
TIMEOUT_S = 2.0
DELAY_MAX_MS = 5_000.0
# In the answer to a wrong name; a fleet of seven edges has 21.
KNOWN_SHOWN = 24


@dataclass(frozen=True, slots=True)
class LinkChange:
    """What an operator asks for, in both directions. `delay_ms` is one-way; None leaves a value as it is."""

    a: str
    b: str
    clear: bool = False
    loss_ratio: float | None = None
    burst_packets: float | None = None
    delay_ms: float | None = None
    blackout: bool | None = None


class DemoLinks:
    """The emulator behind `demo.wan_url`."""

    def __init__(self, url: str, client: httpx.AsyncClient | None = None) -> None:
        self._client = client or httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S, trust_env=False)
        self._own: dict[tuple[str, str], dict[str, Any]] = {}

    async def close(self) -> None:
        """Gives back the connections."""
        await self._client.aclose()

    async def links(self) -> list[dict[str, Any]]:
        """One row per pair: how bad it has been made. Empty while the emulator does not answer."""
        try:
            rows = await self._conditions()
        except httpx.HTTPError as error:
            log.warning("wan_unreachable", error=str(error) or type(error).__name__)
            return []
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for row in rows:
            a, b = str(row["from"]), str(row["to"])
            own = self._own.setdefault((a, b), row)
            if (b, a) not in found:
                found[a, b] = {
                    "a": a,
                    "b": b,
                    "loss_ratio": row["loss_ratio"],
                    "delay_ms": row["delay_ms"],
                    "blackout": row["blackout"],
                    "own_loss_ratio": own["loss_ratio"],
                    "own_delay_ms": own["delay_ms"],
                }
        return list(found.values())

    async def apply(self, change: LinkChange) -> list[dict[str, Any]]:
        """Changes both directions; returns all links. Raises Problem."""
        try:
            await self.links()
            if (change.a, change.b) not in self._own or (change.b, change.a) not in self._own:
                known = sorted(f"{a}–{b}" for a, b in self._own if a < b)
                listed = ", ".join(known[:KNOWN_SHOWN]) + (" …" if len(known) > KNOWN_SHOWN else "")
                detail = f"The emulator has no link {change.a}–{change.b}; there are {listed or 'none'}."
                raise Problem(404, "unknown_link", detail)
            for pair in ((change.a, change.b), (change.b, change.a)):
                await self._put(pair, change)
        except httpx.HTTPError as error:
            raise Problem(
                502, "wan_unreachable", f"The WAN emulator does not answer ({error}). Is it running?"
            ) from error
        return await self.links()

    async def _conditions(self) -> list[dict[str, Any]]:
        response = await self._client.get("/links")
        response.raise_for_status()
        rows = response.json()["links"]
        return [dict(row) for row in rows]

    async def _put(self, pair: tuple[str, str], change: LinkChange) -> None:
        own = self._own[pair]
        if change.clear:
            body = {name: own[name] for name in ("loss_ratio", "burst_packets", "delay_ms", "blackout")}
        else:
            body = {
                name: value
                for name, value in (
                    ("loss_ratio", change.loss_ratio),
                    ("burst_packets", change.burst_packets),
                    ("delay_ms", change.delay_ms),
                    ("blackout", change.blackout),
                )
                if value is not None
            }
        response = await self._client.put(f"/links/{pair[0]}/{pair[1]}", json=body)
        response.raise_for_status()


def parse_change(body: object) -> LinkChange:
    """Checks a request's JSON. Raises Problem."""
    if not isinstance(body, dict):
        raise Problem(400, "bad_request", "Send a JSON object with a, b and what to change.")
    unknown = set(body) - {"a", "b", "clear", "loss_ratio", "burst_packets", "delay_ms", "blackout"}
    if unknown:
        raise Problem(400, "bad_request", f"Unknown fields: {', '.join(sorted(unknown))}.")
    a, b = body.get("a"), body.get("b")
    if not isinstance(a, str) or not isinstance(b, str) or not a or not b or a == b:
        raise Problem(400, "bad_request", "a and b name two different edges.")
    blackout, clear = body.get("blackout"), body.get("clear", False)
    if not isinstance(blackout, bool | None) or not isinstance(clear, bool):
        raise Problem(400, "bad_request", "blackout and clear are true or false.")
    return LinkChange(
        a,
        b,
        clear,
        _number(body, "loss_ratio", 0.0, 1.0),
        _number(body, "burst_packets", 1.0, 1000.0),
        _number(body, "delay_ms", 0.0, DELAY_MAX_MS),
        blackout,
    )


def _number(body: dict[str, object], name: str, low: float, high: float) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Problem(400, "bad_request", f"{name} is a number.")
    if not low <= value <= high:
        raise Problem(400, "bad_request", f"{name} lies between {low:g} and {high:g}.")
    return float(value)
