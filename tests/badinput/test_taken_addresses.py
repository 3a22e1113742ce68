"""Checks of one session from the address of another's peer, at an edge whose sessions live in two shards."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial

import httpx
import pytest

from tests.badinput.conftest import Live
from tests.edge_process import edge_process
from tests.peer.client import Host, Peer
from tests.peer.stun import is_success
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with edge_process(tmp_path_factory.mktemp("shards"), "media.shards=2") as edge:
        session = Live(edge).start()
        try:
            yield session
        finally:
            session.close()


def in_both_shards(one: Peer, two: Peer) -> tuple[Peer, Peer]:
    """The same two; an ICE ufrag begins with its shard."""
    assert {peer.username[:2] for peer in (one, two)} == {"00", "01"}
    return one, two


def test_nobody_gets_the_address_of_a_connected_peer(live: Live) -> None:
    with Host(live.edge, "one") as one, Host(live.edge, "two") as two:
        for stranger in in_both_shards(one, two):
            with live.drops("address_taken"):
                live.host.send(stranger.check().encode())
            with live.drops("address_taken"):
                live.viewer.send(stranger.check().encode())


def test_an_address_is_free_when_its_peer_has_gone_or_goes_by_another(live: Live) -> None:
    with Host(live.edge, "first") as first, Host(live.edge, "one") as one, Host(live.edge, "two") as two:
        first.connect()
        left = first.open_socket()
        first.validate(left, use_candidate=False)
        for stranger in in_both_shards(one, two):
            wait_for(partial(is_answered, stranger, left), "an unused address is not given away")
        assert httpx.delete(first.resource).is_success
        for stranger in in_both_shards(one, two):
            wait_for(partial(is_answered, stranger, first.socket), "an address outlives its peer")
        left.close()


def is_answered(peer: Peer, on: socket.socket) -> bool:
    """Whether a check of this peer from that address is answered at once; what else waits there is skipped."""
    check = peer.check()
    on.send(check.encode())
    while (datagram := peer.receive(0.2, on)) is not None:
        if is_success(datagram, check.transaction_id):
            return True
    return False
