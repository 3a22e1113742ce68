"""The settings of every child of `tradewind up`, as TOML. Pure: regions and addresses in, text out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

from tradewind.up.regions import BURST_PACKETS, JITTER_MS, LOSS_RATIO, Region, rtt_ms

# With --port-base N: control takes N to N+9, the i-th edge ten ports from N+10(i+1) on.
PORTS_PER_PROCESS = 10
# http, media, trunk, probe and metrics of an edge, in the order of `edge_settings`.
EDGE_PORTS: tuple[Literal["tcp", "udp"], ...] = ("tcp", "udp", "udp", "udp", "tcp")


@dataclass(frozen=True, slots=True)
class Ports:
    """Where ports come from: the system, or a base."""

    base: int = 0

    def control(self, offset: int) -> int:
        return self.base + offset if self.base else 0

    def edge(self, index: int, offset: int) -> int:
        return self.base + PORTS_PER_PROCESS * (index + 1) + offset if self.base else 0

    def all(self, edges: int) -> list[tuple[Literal["tcp", "udp"], int]]:
        """Every port that control and so many edges will take; none when the system chooses."""
        if not self.base:
            return []
        taken: list[tuple[Literal["tcp", "udp"], int]] = [("tcp", self.control(offset)) for offset in range(4)]
        for index in range(edges):
            taken += [(kind, self.edge(index, offset)) for offset, kind in enumerate(EDGE_PORTS)]
        return taken


@dataclass(frozen=True, slots=True)
class ControlAddress:
    """What an edge needs to know of control."""

    grpc: int
    enroll: int
    join_token: str


def wan_settings(regions: Sequence[Region], data_dir: str, seed: int) -> dict[str, Any]:
    """One link between any two edges."""
    return {
        "data_dir": data_dir,
        "seed": seed,
        "links": [
            {
                "a": a.name,
                "b": b.name,
                "delay_ms": rtt_ms(a, b) / 2,
                "jitter_ms": JITTER_MS,
                "loss_ratio": LOSS_RATIO,
                "burst_packets": BURST_PACKETS,
            }
            for a, b in combinations(regions, 2)
        ],
    }


def control_settings(data_dir: str, wan_admin: str, ports: Ports) -> dict[str, Any]:
    return {
        "data_dir": data_dir,
        "http": {"port": ports.control(0)},
        "grpc": {"port": ports.control(1)},
        "enroll": {"port": ports.control(2)},
        "metrics": {"port": ports.control(3)},
        "demo": {"wan_url": f"http://{wan_admin}"},
    }


def edge_settings(
    region: Region, index: int, data_dir: str, control: ControlAddress, wan_ready: Mapping[str, Any], ports: Ports
) -> dict[str, Any]:
    """One edge, whose peers are reached through the emulator."""
    return {
        "edge_id": region.name,
        "region": region.city,
        "latitude": region.latitude,
        "longitude": region.longitude,
        "data_dir": data_dir,
        "http": {"port": ports.edge(index, 0)},
        "media": {"port": ports.edge(index, 1)},
        "trunk": {"port": ports.edge(index, 2)},
        "probe": {"port": ports.edge(index, 3)},
        "metrics": {"port": ports.edge(index, 4)},
        "control": {
            "grpc_address": f"127.0.0.1:{control.grpc}",
            "http_url": f"https://127.0.0.1:{control.enroll}",
            "join_token": control.join_token,
        },
        "mesh": {"peer_addresses": peer_addresses(region.name, wan_ready)},
        "rooms": {"open_rooms": ["*"]},
    }


def peer_addresses(edge: str, wan_ready: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Where `edge` sends to reach each of its peers: its own side of the link."""
    found: dict[str, dict[str, str]] = {}
    for link in wan_ready["links"]:
        if link["a"] == edge:
            found[link["b"]] = dict(link["a_side"])
        elif link["b"] == edge:
            found[link["a"]] = dict(link["b_side"])
    return found


def to_toml(settings: Mapping[str, Any], prefix: str = "") -> str:
    """Tables, arrays of tables and plain values, as far as settings need them."""
    lines = []
    tables = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            tables.append(f"\n[{prefix}{name}]\n{to_toml(value, f'{prefix}{name}.')}")
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            tables += [f"\n[[{prefix}{name}]]\n{to_toml(item, f'{prefix}{name}.')}" for item in value]
        else:
            # TOML writes strings, numbers, booleans and lists of them as JSON does.
            lines.append(f"{name} = {json.dumps(value, ensure_ascii=False)}\n")
    return "".join([*lines, *tables])
