"""One running edge for all clients, and what its log says about their handshakes."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.edge_process import EdgeProcess, edge_process
from tests.waiting import wait_for

rooms = itertools.count()
CONNECT_S = 60.0


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a session ended up with, seen from the edge."""

    dtls_role: str
    srtp_profile: str


@pytest.fixture(scope="session")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeProcess]:
    with edge_process(tmp_path_factory.mktemp("edge")) as running:
        yield running


@pytest.fixture
def reachable_edge(tmp_path: Path) -> Iterator[EdgeProcess]:
    """An edge on the machine's own address: libnice pairs its candidates with no loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Names the address that would be used; nothing is sent (RFC 5737: a documentation address).
            probe.connect(("198.51.100.1", 9))
        except OSError:
            pytest.skip("no network interface besides loopback")
        address = probe.getsockname()[0]
    with edge_process(tmp_path, f'media.host=["{address}"]') as running:
        yield running


@pytest.fixture
def room() -> str:
    """A room that no other test uses."""
    return f"room{next(rooms)}"


def handshake(edge: EdgeProcess, room: str, role: str) -> Handshake:
    """Waits until a session of the room has completed ICE and DTLS."""

    def find() -> Handshake | None:
        for line in edge.log_lines("session_connected"):
            if (line["room"], line["role"]) == (room, role):
                return Handshake(str(line["dtls_role"]), str(line["srtp_profile"]))
        return None

    drops = {reason: count for reason, count in edge.drops().items() if count}
    found = wait_for(find, f"{role} of {room} has not connected; drops so far {drops}", CONNECT_S)
    print(f"{role} in {room}: our role {found.dtls_role}, {found.srtp_profile}")
    return found
