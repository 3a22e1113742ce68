"""What the mesh needs to know, taken by `edge/main.py` from the edge's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """Where one peer is reached instead of at the addresses it registered; empty fields keep the registered one."""

    trunk: str = ""
    probe: str = ""


@dataclass(frozen=True, slots=True)
class StaticRoute:
    """A route from the settings, for an edge that runs without control. Paths begin here and end at the source's
    edge."""

    room: str
    source_edge: str
    primary: tuple[str, ...]
    backup: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshSettings:
    """One edge's place in the fleet. Addresses are `host:port`; ports may be 0 where this edge binds."""

    edge_id: str
    data_dir: Path
    region: str = ""
    latitude_degrees: float = 0.0
    longitude_degrees: float = 0.0
    http_url: str = ""
    # What neighbours dial to reach this edge's trunk socket.
    trunk_address: str = ""
    probe_host: str = "127.0.0.1"
    probe_port: int = 0
    # What neighbours dial to reach the prober; empty: the bound address.
    probe_public_address: str = ""
    # Empty: no control, static routes only.
    control_http_url: str = ""
    # Empty: what enrolment answered.
    control_grpc_address: str = ""
    join_token: str = ""
    # sha256 of control's certificate in hex; empty: the join token carries it.
    certificate_sha256: str = ""
    peer_addresses: Mapping[str, PeerAddress] = field(default_factory=lambda: MappingProxyType({}))
    static_routes: tuple[StaticRoute, ...] = ()
    # Whether the last slice outlives the connection to control.
    keep_last_good: bool = True
    # What the machine's uplink carries; 0: unknown, so that only CPU and trunks count.
    egress_mbit_per_s: float = 0.0
    # Test only: this edge's probe clock runs ahead by so much.
    clock_offset_ms: float = 0.0
    software_version: str = ""

    @property
    def uses_control(self) -> bool:
        """Whether routes come from control or from the settings."""
        return bool(self.control_http_url or self.control_grpc_address)
