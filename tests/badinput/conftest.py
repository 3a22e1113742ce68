"""One running edge for all cases, and a live session that every one of them must leave alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.edge_process import EdgeProcess, edge_process
from tests.peer.client import Host, Viewer
from tests.waiting import wait_for

rooms = itertools.count()


class Live:
    """A host and a viewer of one room."""

    def __init__(self, edge: EdgeProcess) -> None:
        self.edge = edge
        self.room = f"live{next(rooms)}"
        self.host = Host(edge, self.room)
        self.viewer = Viewer(edge, self.room)
        self._numbers = itertools.count()

    def start(self) -> Live:
        self.host.connect()
        self.viewer.connect()
        self.host.send_frame(key=True)
        self.survives()
        return self

    def survives(self) -> None:
        """A packet still goes all the way."""
        payload = f"live {next(self._numbers)}".encode()
        self.host.send_frame(payload=payload)
        self.viewer.sees(payload)

    def close(self) -> None:
        for peer in (self.host, self.viewer):
            peer.__exit__()

    @contextmanager
    def drops(self, reason: str, count: int = 1) -> Iterator[None]:
        """The block makes at least `count` datagrams fall with this name, and the session goes on."""
        before = self.edge.drops()
        assert reason in before, f"no counter {reason}; there are {sorted(before)}"
        yield
        wait_for(lambda: self.edge.drops()[reason] >= before[reason] + count, f"{reason} is not counted")
        self.survives()


def leaves_nothing(edge: EdgeProcess, before: dict[str, Any]) -> None:
    """No session, socket or file more than before; connections end a moment after their answers."""

    def is_clean() -> bool:
        now = edge.belongings()
        # Less than before: what an earlier test has left was still on its way out.
        return (
            now["descriptors"] <= before["descriptors"]
            and all(count <= before["sessions"][role] for role, count in now["sessions"].items())
            and set(now["files"]) <= set(before["files"])
        )

    wait_for(is_clean, f"something was left behind: there was {before}")


@pytest.fixture(scope="session")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeProcess]:
    directory: Path = tmp_path_factory.mktemp("edge")
    with edge_process(directory) as running:
        httpx.get(f"{running.http}/livez")
        before = running.belongings()
        yield running
        leaves_nothing(running, before)


@pytest.fixture(scope="module")
def live(edge: EdgeProcess) -> Iterator[Live]:
    session = Live(edge).start()
    try:
        yield session
    finally:
        session.close()


@pytest.fixture
def room() -> str:
    """A room that no other test uses."""
    return f"room{next(rooms)}"
