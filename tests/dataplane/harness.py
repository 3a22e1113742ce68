"""A packet path in this process, and what waits for its events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from edge.dataplane import Dataplane, DataplaneConfig, Event, Snapshot
from edge.mesh.identity import EdgeIdentity, load_identity
from tests.waiting import PATIENCE_S, until
from tradewind.operate.certificates import make_certificates


class PacketPath:
    """A running packet path whose events can be waited for."""

    def __init__(self, dataplane: Dataplane) -> None:
        self.dataplane = dataplane
        self.events: list[Event] = []
        self._changed = asyncio.Condition()

    async def pump(self) -> None:
        """Fetches events as an edge does: when the descriptor is readable."""
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self.dataplane.event_fd, readable.set)
        try:
            while True:
                await readable.wait()
                readable.clear()
                self.events.extend(self.dataplane.poll_events())
                async with self._changed:
                    self._changed.notify_all()
        finally:
            loop.remove_reader(self.dataplane.event_fd)

    async def event(self, kind: str, match: Callable[[Event], bool] = lambda _: True) -> Event:
        """The first event of this kind that matches, past or coming."""

        def found() -> Event | None:
            return next((event for event in self.events if event.kind == kind and match(event)), None)

        try:
            async with asyncio.timeout(PATIENCE_S), self._changed:
                await self._changed.wait_for(found)
        except TimeoutError:
            drops = {name: count for name, count in self.dataplane.snapshot().drops.items() if count}
            raise AssertionError(f"no {kind}; events {self.events}; drops {drops}") from None
        event = found()
        assert event is not None
        return event

    async def until(self, holds: Callable[[Snapshot], bool], what: str) -> Snapshot:
        """The first snapshot for which `holds` is true."""

        def found() -> Snapshot | None:
            snapshot = self.dataplane.snapshot()
            return snapshot if holds(snapshot) else None

        snapshot = await until(found, why=lambda: f"{what}; {self.dataplane.snapshot()}; events {self.events}")
        assert snapshot is not None
        return snapshot


@asynccontextmanager
async def packet_path(
    *,
    edge_id: str = "sg",
    shards: int = 1,
    disabled_features: list[str] | None = None,
    max_sessions: int = 100,
    identity: EdgeIdentity | None = None,
) -> AsyncIterator[PacketPath]:
    """One packet path on loopback; with trunks when it has an identity."""
    dataplane = Dataplane(
        DataplaneConfig(
            edge_id=edge_id,
            media_bind=["127.0.0.1:0"],
            announce=["127.0.0.1"],
            shards=shards,
            pin_cores=[],
            trunk_bind="127.0.0.1:0",
            trunk_certificate_pem=identity.certificate_pem if identity else b"",
            trunk_key_pem=identity.key_pem if identity else b"",
            trunk_ca_pem=identity.ca_pem if identity else b"",
            trunk_window_bytes=1_000_000,
            disabled_features=disabled_features or [],
            max_sessions=max_sessions,
        )
    )
    path = PacketPath(dataplane)
    async with asyncio.TaskGroup() as tasks:
        pump = tasks.create_task(path.pump())
        try:
            yield path
        finally:
            pump.cancel()
            dataplane.close()


def identities(directory: Path, edges: list[str]) -> dict[str, EdgeIdentity]:
    """Development certificates for these edges, all of one authority."""
    loaded = {}
    for edge, at in zip(edges, make_certificates(directory, edges), strict=True):
        identity = load_identity(edge, at)
        assert identity is not None
        loaded[edge] = identity
    return loaded
