"""An edge's HTTP surface over real sockets, around a packet path that only remembers what it was asked."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.assembly import Assembly, Clocks, assemble
from edge.mesh.view import EMPTY_VIEW, FleetView
from edge.rooms.port import NeighbourUnreachable
from edge.settings import EdgeSettings
from edge.signaling.http import EdgeHeaders
from edge.signaling.port import Answer, OfferRefused
from tradewind.common.serving import embedded_server
from tradewind.common.tokens import Role, TokenIssuer

UNIX_S = 1_800_000_000.0


@dataclass
class FakeEvent:
    """As `edge.dataplane.Event`."""

    kind: str
    room: str = ""
    session_id: int | None = None
    role: str = ""
    reason: str = ""
    incarnation: int = 0
    media_time_ms: int = 0
    srtp_profile: str = ""
    dtls_role: str = ""
    peer: str | None = None
    parent: str | None = None
    children: list[str] = field(default_factory=list)
    payload: bytes = b""


class FakePacketPath:
    """SessionPort and RoomPort in memory. `refuse` is raised by the next offer or fragment; `answer` answers others."""

    def __init__(self) -> None:
        self.ids = itertools.count(1)
        self.open: set[int] = set()
        self.offers: list[tuple[str, str, bytes, int]] = []
        self.fragments: list[tuple[int, bytes]] = []
        self.closed: list[tuple[int, str]] = []
        self.interest: list[tuple[str, bool]] = []
        self.sent: list[tuple[str, str, bytes]] = []
        self.unreachable: set[str] = set()
        self.refuse: OfferRefused | None = None
        self.answer = "v=0\r\n"
        self.left_out: tuple[str, ...] = ()
        self.on_send: Callable[[str, str, bytes], None] = lambda room, peer, payload: None

    def publish(self, room: str, offer: bytes, incarnation: int) -> Answer:
        return self._answer("host", room, offer, incarnation)

    def view(self, room: str, offer: bytes) -> Answer:
        return self._answer("viewer", room, offer, 0)

    def check_candidates(self, session_id: int, fragment: bytes) -> None:
        self._maybe_refuse()
        self.fragments.append((session_id, fragment))

    def close_session(self, session_id: int, reason: str) -> bool:
        self.closed.append((session_id, reason))
        was_open = session_id in self.open
        self.open.discard(session_id)
        return was_open

    def set_interest(self, room: str, interested: bool) -> None:
        self.interest.append((room, interested))

    def send(self, room: str, peer: str, payload: bytes) -> None:
        if peer in self.unreachable:
            raise NeighbourUnreachable("trunk_down")
        self.sent.append((room, peer, payload))
        self.on_send(room, peer, payload)

    def _answer(self, role: str, room: str, offer: bytes, incarnation: int) -> Answer:
        self._maybe_refuse()
        self.offers.append((role, room, offer, incarnation))
        session_id = next(self.ids)
        self.open.add(session_id)
        return Answer(session_id, self.answer, self.left_out)

    def _maybe_refuse(self) -> None:
        refusal, self.refuse = self.refuse, None
        if refusal is not None:
            raise refusal


@dataclass
class RunningEdge:
    """An edge that serves on loopback. `unix_s` and `view` can be moved while it runs."""

    parts: Assembly
    path: FakePacketPath
    issuer: TokenIssuer
    settings: EdgeSettings
    url: str
    unix_s: float = UNIX_S
    view: FleetView = EMPTY_VIEW

    @property
    def socket_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/v1/rooms/demo/socket"

    def token(self, role: Role = Role.VIEWER, *, room: str = "demo", person: str = "mei", valid_s: float = 60) -> str:
        return self.issuer.issue(room=room, role=role, person=person, unix_s=self.unix_s, valid_s=valid_s)

    def bearer(self, role: Role = Role.VIEWER, **claims: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(role, **claims)}"}

    def event(self, kind: str, **fields: Any) -> None:
        """As if the packet path had told it."""
        for handler in self.parts.handlers:
            handler(FakeEvent(kind, **fields))  # type: ignore[arg-type]

    def metric(self, name: str, **labels: str) -> float:
        value = self.parts.metrics.registry.get_sample_value(name, labels)
        assert value is not None, f"{name}{labels} does not exist"
        return value


def edge_settings(data_dir: Path, **sections: Any) -> EdgeSettings:
    """Settings of an edge for tests; open rooms unless said otherwise."""
    values: dict[str, Any] = {"edge_id": "sg", "data_dir": data_dir, "rooms": {"open_rooms": ["*"]}}
    return EdgeSettings.model_validate({**values, **sections})


@asynccontextmanager
async def running_edge(settings: EdgeSettings) -> AsyncIterator[RunningEdge]:
    """Serves until the block ends."""
    issuer = TokenIssuer(Ed25519PrivateKey.generate())
    tokens = settings.tokens.model_copy(update={"public_keys": (*settings.tokens.public_keys, issuer.public_key)})
    settings = settings.model_copy(update={"tokens": tokens})
    path = FakePacketPath()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    edge: RunningEdge
    parts = assemble(
        settings,
        session_port=path,
        room_port=path,
        render_dataplane=lambda: "# packet path\n",
        fleet=lambda: edge.view,
        http_url=lambda: url,
        clocks=replace(Clocks(), unix_s=lambda: edge.unix_s),
    )
    edge = RunningEdge(parts, path, issuer, settings, url)
    server = embedded_server(
        parts.public_app,
        ws_max_bytes=4 * settings.rooms.frame_max_bytes,
        connections_max=settings.http.connections_max,
        head_timeout_s=settings.http.head_timeout_s,
        count_refusal=lambda reason: parts.metrics.count_refusal("connection", reason),
        wrap=EdgeHeaders,
    )
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve_on(listener))
        try:
            yield edge
        finally:
            server.should_exit = True
            await serving
            parts.hub.close()


def client(edge: RunningEdge, **headers: str) -> httpx.AsyncClient:
    """An HTTP client at the edge."""
    return httpx.AsyncClient(base_url=edge.url, headers=headers, timeout=30.0)
