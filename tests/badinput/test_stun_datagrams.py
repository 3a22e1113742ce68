"""Connectivity checks that must not be believed, sent to a running edge."""

from __future__ import annotations

import os
import struct
from dataclasses import replace

import pytest

from tests.badinput.conftest import Live
from tests.edge_process import EdgeProcess
from tests.peer.client import Host
from tests.peer.stun import COOKIE, INDICATION, SUCCESS, Check


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"\x00\x01", "stun_truncated"),
        (struct.pack("!HHI", 1, 4, COOKIE) + os.urandom(12), "stun_truncated"),
        (struct.pack("!HHI", 1, 0, COOKIE) + os.urandom(13), "stun_too_long"),
        (b"\x00\x01" + bytes(20), "stun_not_stun"),
        (struct.pack("!HHI", 1, 2, COOKIE) + os.urandom(14), "stun_bad_length"),
        (struct.pack("!HHI", 1, 4, COOKIE) + os.urandom(12) + b"\x00\x06\xff\xff", "stun_bad_length"),
        (
            struct.pack("!HHI", 1, 8, COOKIE) + os.urandom(12) + b"\x00\x24\x00\x01\x00\x00\x00\x00",
            "stun_bad_attribute",
        ),
        (b"\x00" * 1499 + b"\x01", "stun_not_stun"),
        (b"\x01" * 1600, "stun_too_long"),
        (b"\xff" * 40, "datagram_unknown"),
        (b"\x10" * 40, "datagram_unknown"),
        (b"\x80", "datagram_size"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)}_bytes",
)
def test_garbage_is_dropped_by_name(live: Live, datagram: bytes, reason: str) -> None:
    with live.drops(reason):
        live.viewer.send(datagram)


def test_truncated_and_flipped_checks_are_dropped(live: Live) -> None:
    check = live.viewer.check().encode()
    with live.drops("stun_truncated"):
        live.viewer.send(check[:-1])
    with live.drops("stun_bad_fingerprint"):
        live.viewer.send(check[:30] + bytes([check[30] ^ 1]) + check[31:])


def test_forged_checks_are_dropped_and_validate_nothing(live: Live) -> None:
    good = live.viewer.check()
    ufrag = live.viewer.answer.value("ice-ufrag")
    cases = [
        (replace(good, password="not the password"), "stun_bad_integrity"),
        (replace(good, password=None), "stun_no_integrity"),
        (replace(good, fingerprint=False), "stun_no_fingerprint"),
        (replace(good, username=None), "stun_no_username"),
        (replace(good, username=ufrag), "stun_no_username"),
        (replace(good, username=f"{ufrag[:-1]}{'a' if ufrag[-1] != 'a' else 'b'}:peer"), "stun_unknown_ufrag"),
        (replace(good, username="nobody:peer"), "stun_unknown_ufrag"),
        (replace(good, message_type=INDICATION), "stun_not_binding_request"),
        (replace(good, message_type=SUCCESS), "stun_not_binding_request"),
    ]
    stranger = live.viewer.open_socket()
    for check, reason in cases:
        with live.drops(reason):
            stranger.send(check.encode())
    with live.drops("address_unvalidated"):
        stranger.send(live.viewer.seal_rtcp(struct.pack("!BBHI", 0x80, 201, 1, 1)))
    assert live.viewer.receive(0.05, stranger) is None, "somebody without the password gets no answer at all"
    stranger.close()


def test_a_replayed_check_from_elsewhere_moves_nothing(live: Live) -> None:
    check = live.viewer.check()
    live.viewer.send(check.encode())
    stranger = live.viewer.open_socket()
    with live.drops("stun_replayed"):
        stranger.send(check.encode())
    stranger.close()


def test_a_known_ufrag_from_a_new_address_becomes_a_path_and_media_follows_a_nomination(live: Live) -> None:
    viewer = live.viewer
    other = viewer.open_socket()
    viewer.validate(other, use_candidate=False)
    live.survives()
    viewer.validate(other, use_candidate=True)
    live.host.send_frame(payload=b"by the new way")
    viewer.receive_rtp(lambda packet: packet.payload.endswith(b"by the new way"), "media by the new way", other)
    viewer.validate(use_candidate=True)
    live.survives()
    other.close()


def test_a_host_may_send_from_a_second_validated_address(live: Live) -> None:
    other = live.host.open_socket()
    packet = live.host.frame(payload=b"from elsewhere")
    with live.drops("address_unvalidated"):
        other.send(live.host.seal(packet))
    live.host.validate(other, use_candidate=False)
    other.send(live.host.seal(live.host.frame(payload=b"validated")))
    live.viewer.sees(b"validated")
    other.close()


def test_a_check_without_a_role_is_accepted(edge: EdgeProcess, room: str) -> None:
    with Host(edge, room) as host:
        check = replace(host.check(use_candidate=False), controlling=False)
        host.send(check.encode())
        host.validate(use_candidate=False)
        host.handshake()


def test_a_check_of_another_session_does_not_open_this_one(edge: EdgeProcess, live: Live, room: str) -> None:
    with Host(edge, room) as host, Host(edge, f"{room}-other") as other:
        mixed = Check(host.username, other.answer.value("ice-pwd"))
        with live.drops("stun_bad_integrity"):
            host.send(mixed.encode())
