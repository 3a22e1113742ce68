"""Handshakes that come in pieces, twice, or from somebody else, sent to a running edge."""

from __future__ import annotations

import os
import struct
from typing import Literal

import pytest

from tests.badinput.conftest import Live
from tests.edge_process import EdgeProcess
from tests.peer.client import HTTP, Host, Rtp, Viewer
from tests.peer.dtls import Certificate, Dtls, fragment_handshake
from tests.waiting import wait_for

HANDSHAKE = 22
CLIENT_HELLO = 1


def is_client_hello(record: bytes) -> bool:
    return record[0] == HANDSHAKE and record[3:5] == bytes(2) and record[13] == CLIENT_HELLO


def fragmented(records: list[bytes]) -> list[bytes]:
    """Every ClientHello in pieces of 60 bytes. Their record numbers repeat later ones, which matters to nobody before
    encryption."""
    return [
        part for record in records for part in (fragment_handshake(record, 60) if is_client_hello(record) else [record])
    ]


def test_a_fragmented_client_hello_is_put_together(edge: EdgeProcess, room: str) -> None:
    with Host(edge, room) as host:
        host.validate()
        host.handshake(fragmented)


def test_fragments_in_reverse_order_are_put_together(edge: EdgeProcess, room: str) -> None:
    with Host(edge, room) as host:
        host.validate()
        host.handshake(lambda records: fragmented(records)[::-1] if any(map(is_client_hello, records)) else records)


def test_repeated_records_do_no_harm(edge: EdgeProcess, room: str) -> None:
    with Host(edge, room) as host:
        host.validate()
        host.handshake(lambda records: [record for record in records for _ in range(3)])


def test_a_second_client_hello_mid_session_is_ignored(live: Live) -> None:
    again = Dtls(Certificate(), is_client=True)
    with live.drops("dtls_second_handshake"):
        for record in again.start():
            live.host.send(record)
    with live.drops("dtls_second_handshake"):
        for record in fragmented(Dtls(Certificate(), is_client=True).start()):
            live.viewer.send(record)


GARBAGE = {
    "random": bytes([22]) + os.urandom(40),
    "truncated": b"\x16\xfe\xfd" + bytes(8) + b"\x00\x40" + bytes(10),
    "oversized": b"\x16\xfe\xfd" + bytes(8) + b"\x00\x0c" + b"\x01\xff\xff\xff" + bytes(8),
    "empty": b"\x16\xfe\xfd" + bytes(8) + b"\x00\x00",
    "alert": b"\x15\xfe\xfd" + bytes(8) + b"\x00\x01\x02",
    "plaintext_data": b"\x17\xfe\xfd" + bytes(8) + b"\x00\x01\x02",
    "unknown_type": b"\x3f" * 13,
    "one_byte": b"\x14",
}


@pytest.mark.parametrize("datagram", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_is_dropped_and_the_handshake_goes_on(
    edge: EdgeProcess, live: Live, room: str, datagram: bytes
) -> None:
    with Host(edge, room) as host:
        host.validate()
        with live.drops("dtls_malformed"):
            host.send(datagram)
        host.handshake()
        with live.drops("dtls_malformed"):
            host.send(datagram)
        host.send_frame(key=True)
        with Viewer(edge, room).connect() as viewer:
            host.send_frame(payload=b"still here")
            viewer.sees(b"still here")


def sealed_record(content_type: int, *, epoch: int = 1, number: int = 9) -> bytes:
    """A record as after the handshake, with a body that no key has made."""
    return struct.pack("!BHHHIH", content_type, 0xFEFD, epoch, 0, number, 40) + os.urandom(40)


@pytest.mark.parametrize("setup", ["actpass", "passive"])
def test_records_after_the_handshake_that_nobody_sealed_are_counted_by_name(
    edge: EdgeProcess, live: Live, room: str, setup: Literal["actpass", "passive"]
) -> None:
    with Host(edge, room, setup=setup).connect() as host, Viewer(edge, room).connect() as viewer:
        for peer in (host, viewer):
            with live.drops("dtls_authentication_failed", 4):
                for content_type in (21, 22, 23):
                    peer.send(sealed_record(content_type))
                peer.send(sealed_record(23, epoch=2))
            # RFC 6347 §4.1: after the handshake an alert is encrypted, or somebody else's.
            with live.drops("dtls_authentication_failed", 2):
                for alert in (b"\x01\x00", b"\x02\x28"):
                    peer.send(struct.pack("!BHHHIH", 21, 0xFEFD, 0, 0, 9, 2) + alert)
        host.send_frame(key=True)
        host.send_frame(payload=b"still here")
        viewer.sees(b"still here")


def test_records_during_the_handshake_that_nobody_sealed_are_counted_at_its_end(
    edge: EdgeProcess, live: Live, room: str
) -> None:
    with Host(edge, room) as host:
        host.validate()
        with live.drops("dtls_authentication_failed", 2):
            host.handshake(lambda records: [sealed_record(22, number=40), *records] if records else [])


def test_a_replayed_last_flight_is_counted_by_name(edge: EdgeProcess, live: Live, room: str) -> None:
    with Host(edge, room) as host:
        host.validate()
        sent: list[bytes] = []

        def note(records: list[bytes]) -> list[bytes]:
            sent.extend(records)
            return records

        host.handshake(note)
        finished = [record for record in sent if record[3:5] == b"\x00\x01"]
        with live.drops("dtls_replayed", 3):
            for _ in range(3):
                host.send(finished[-1])


def test_dtls_from_an_address_that_ice_has_not_validated_is_dropped(edge: EdgeProcess, live: Live, room: str) -> None:
    with Host(edge, room) as host, live.drops("address_unvalidated"):
        for record in host.dtls.start():
            host.send(record)
        assert host.receive(0.05) is None


@pytest.mark.parametrize("setup", ["actpass", "passive"])
def test_another_certificate_than_promised_ends_the_session(
    edge: EdgeProcess, live: Live, room: str, setup: Literal["actpass", "passive"]
) -> None:
    promised = Certificate()
    host = Host(edge, room, setup=setup, fingerprint=promised.fingerprint)
    assert host.answer.value("setup") == ("active" if setup == "passive" else "passive")
    host.validate()
    with live.drops("dtls_fingerprint_mismatch"):
        try:
            host.handshake()
        except AssertionError:
            # The edge may end before our side is done.
            assert host.keys is None
    if host.keys is not None:
        with live.drops("address_unvalidated"):
            host.send_frame(key=True)
    wait_for(lambda: HTTP.delete(host.resource).status_code == 404, "the session is still there")
    host.socket.close()


@pytest.mark.parametrize("setup", ["actpass", "passive"])
@pytest.mark.parametrize("use_rsa", [False, True], ids=["ecdsa", "rsa"])
def test_both_roles_and_both_kinds_of_certificate_connect(
    edge: EdgeProcess, room: str, setup: Literal["actpass", "passive"], use_rsa: bool
) -> None:
    with Host(edge, room, setup=setup, certificate=Certificate(use_rsa=use_rsa)).connect() as host:
        assert host.keys is not None
        assert host.keys.profile == "SRTP_AEAD_AES_128_GCM"
        assert host.dtls.is_client == (setup == "actpass")


def test_media_before_the_handshake_is_dropped(edge: EdgeProcess, live: Live, room: str) -> None:
    with Host(edge, room) as host:
        host.validate()
        with live.drops("srtp_before_keys"):
            host.send(Rtp(96, 1, 1, 1002, bytes(100)).encode())
