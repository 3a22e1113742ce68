"""All settings of the control plane; `tradewind config` prints them with their origin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from tradewind.common.settings import ProcessSettings, Section

Port = Annotated[int, Field(ge=0, le=65535)]


class Http(Section):
    """The console and its API. It has no login: leave it on a loopback address or put a proxy in front."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 7781
    """TCP port; 0 takes a free one."""


class Enroll(Section):
    """HTTPS for edges that have no certificate yet."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 7711
    """TCP port; 0 takes a free one."""


class Grpc(Section):
    """Telemetry in, routes out; mutual TLS."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 7710
    """TCP port; 0 takes a free one."""
    public_address: str = ""
    """host:port that enrolled edges are told; empty: the bound address."""

    @model_validator(mode="after")
    def _edges_can_dial(self) -> Self:
        if self.host.strip("[]") in ("0.0.0.0", "::") and not self.public_address:
            raise ValueError(f"host {self.host} is no address that edges can dial: set public_address")
        return self


class Metrics(Section):
    """Prometheus text, /livez and /readyz on a port of their own."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 7791
    """TCP port; 0 takes a free one."""


class Demo(Section):
    """For demonstrations on emulated links."""

    wan_url: str = ""
    """Admin URL of the WAN emulator (http://host:port); empty: the console offers no bad links."""


class Brain(Section):
    """How routes are judged."""

    decide_interval_s: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Time between decisions when nothing urgent happens."""
    tariffs_csv: Path | None = None
    """Egress prices: columns `from_edge,to_edge,usd_per_gb`. Without it money plays no part."""
    edges_csv: Path | None = None
    """What the operator knows about edges: columns `edge_id,latitude_degrees,longitude_degrees,provider,continent`, any
    but the first may be empty. These coordinates count instead of those an edge gives itself, so that no edge can claim
    to be nearer than light allows; provider and continent serve to guess a missing price."""


class ControlSettings(ProcessSettings):
    """All settings of control."""

    data_dir: Path
    """CA, keys, leader epoch, known edges, ready.json. One process per directory."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log lines written."""
    join_secrets: tuple[SecretStr, ...] = ()
    """Secrets that let edges enrol, besides the one in data_dir/join_token."""
    http: Http = Http()
    enroll: Enroll = Enroll()
    grpc: Grpc = Grpc()
    metrics: Metrics = Metrics()
    demo: Demo = Demo()
    brain: Brain = Brain()
