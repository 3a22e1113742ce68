"""Media over IPv6, beside IPv4, through a running edge."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.edge_process import edge_process
from tests.peer.client import Host, Viewer


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
def test_ice_dtls_and_media_cross_ipv6_and_meet_ipv4(tmp_path: Path) -> None:
    with edge_process(tmp_path, 'media.host=["127.0.0.1","::1"]', "media.shards=2") as edge:
        with (
            Host(edge, "six", over_ipv6=True) as host,
            Viewer(edge, "six", over_ipv6=True) as six,
            Viewer(edge, "six") as four,
        ):
            assert {family for family, _ in host.answer.addresses} == {"127.0.0.1", "::1"}
            assert len({port for _, port in host.answer.addresses}) == 1, "one port for both"
            for peer in (host, six, four):
                peer.connect()
            host.send_frame(key=True)
            host.send_frame(payload=b"over six")
            assert six.sees(b"over six").payload == four.sees(b"over six").payload
        drops = edge.drops()
        assert drops["socket_error"] == drops["address_unvalidated"] == 0
