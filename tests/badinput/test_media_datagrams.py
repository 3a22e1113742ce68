"""SRTP and SRTCP that are forged, old, cut short or about nothing, sent to a running edge."""

from __future__ import annotations

import os
import struct
from dataclasses import replace

from tests.badinput.conftest import Live
from tests.edge_process import EdgeProcess
from tests.peer.client import HTTP, INTER_FRAME, KEY_FRAME, RTX, VIDEO, Host, Rtp, Viewer

NACK = 205
RECEIVER_REPORT = 201


def nack(sender: int, media: int, packet_id: int, mask: int = 0) -> bytes:
    """RFC 4585 §6.2.1."""
    return struct.pack("!BBHIIHH", 0x81, NACK, 3, sender, media, packet_id, mask)


def test_forged_and_truncated_srtp_is_dropped(live: Live) -> None:
    sealed = live.host.seal(live.host.frame())
    with live.drops("srtp_authentication_failed"):
        live.host.send(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with live.drops("srtp_authentication_failed"):
        live.host.send(sealed[:-5])
    with live.drops("srtp_authentication_failed"):
        live.host.send(Rtp(VIDEO, live.host.sequence_number + 9, 1, 1002, os.urandom(80)).encode())
    with live.drops("srtp_too_short"):
        live.host.send(sealed[:20])
    with live.drops("rtp_truncated"):
        live.host.send(sealed[:11])


def test_replayed_srtp_is_dropped(live: Live) -> None:
    sealed = live.host.seal(live.host.frame(payload=b"once"))
    live.host.send(sealed)
    live.viewer.sees(b"once")
    with live.drops("srtp_replayed", 3):
        for _ in range(3):
            live.host.send(sealed)


def test_replays_across_a_rollover_are_dropped_and_media_goes_on(edge: EdgeProcess, live: Live, room: str) -> None:
    with Host(edge, room).connect() as host, Viewer(edge, room).connect() as viewer:
        host.sequence_number = 65_529
        sent = [host.seal(host.frame(key=True, payload=b"0"))]
        sent += [host.seal(host.frame(payload=b"roll%d" % index)) for index in range(1, 20)]
        for packet in sent:
            host.send(packet)
        numbers = [viewer.sees(b"roll%d" % index).sequence_number for index in (1, 19)]
        assert numbers[0] < 1 << 15, "the first number keeps away from the rollover"
        assert numbers[1] - numbers[0] == 18
        with live.drops("srtp_replayed", len(sent)):
            for packet in sent:
                host.send(packet)
        host.send_frame(payload=b"goes on")
        viewer.sees(b"goes on")


def test_rtp_from_an_unvalidated_address_is_dropped(live: Live) -> None:
    stranger = live.host.open_socket()
    with live.drops("address_unvalidated"):
        stranger.send(live.host.seal(live.host.frame(payload=b"stranger")))
    stranger.close()


def test_a_viewer_may_not_send_media(live: Live) -> None:
    with live.drops("rtp_from_viewer"):
        live.viewer.send(live.viewer.seal(Rtp(VIDEO, 1, 1, 1002, KEY_FRAME)))


def test_forged_truncated_and_plain_srtcp_is_dropped(live: Live) -> None:
    report = struct.pack("!BBHI", 0x80, RECEIVER_REPORT, 1, 1)
    sealed = live.viewer.seal_rtcp(report)
    with live.drops("srtp_authentication_failed"):
        live.viewer.send(sealed[:9] + bytes([sealed[9] ^ 1]) + sealed[10:])
    with live.drops("srtp_too_short"):
        live.viewer.send(sealed[:12])
    with live.drops("srtp_unencrypted"):
        live.viewer.send(report + bytes(16) + struct.pack("!I", 77))
    live.viewer.send(sealed)
    with live.drops("srtp_replayed"):
        live.viewer.send(sealed)


def test_authentic_rtcp_that_is_broken_inside_is_dropped(live: Live) -> None:
    with live.drops("rtcp_truncated"):
        live.viewer.send(live.viewer.seal_rtcp(struct.pack("!BBHI", 0x80, RECEIVER_REPORT, 40, 1)))
    with live.drops("rtcp_bad_version"):
        broken = struct.pack("!BBHI", 0x80, RECEIVER_REPORT, 1, 1) + struct.pack("!BBHI", 0x00, 206, 1, 1)
        live.host.send(live.host.seal_rtcp(broken))


def test_nacks_for_packets_never_sent_are_dropped(live: Live) -> None:
    ssrc = live.viewer.answer.ssrcs("video")[0]
    with live.drops("nack_unknown", 17):
        live.viewer.send(live.viewer.seal_rtcp(nack(1, ssrc, 40_000, 0xFFFF)))
    with live.drops("send_unknown_ssrc"):
        live.viewer.send(live.viewer.seal_rtcp(nack(1, ssrc ^ 0x55555555, 1)))


def test_a_nack_for_a_packet_that_was_sent_is_answered_with_rtx(live: Live) -> None:
    live.host.send_frame(payload=b"again")
    original = live.viewer.sees(b"again")
    live.viewer.send(live.viewer.seal_rtcp(nack(1, original.ssrc, original.sequence_number)))
    repeated = live.viewer.receive_rtp(lambda packet: packet.payload_type == RTX, "retransmission")
    assert repeated.ssrc == live.viewer.answer.ssrcs("video")[1]
    assert repeated.payload == struct.pack("!H", original.sequence_number) + original.payload


def test_rtx_for_what_is_not_known_is_dropped(edge: EdgeProcess, live: Live, room: str) -> None:
    rtx_payload = struct.pack("!H", 7) + INTER_FRAME
    with Host(edge, room).connect() as host:
        with live.drops("receive_rtx_unbound"):
            host.send(host.seal(Rtp(RTX, 1, 1, host.offer.video_rtx_ssrc, rtx_payload)))
        host.send_frame(key=True)
        with live.drops("receive_rtx_unbound"):
            host.send(host.seal(Rtp(98, 2, 1, host.offer.video_rtx_ssrc, rtx_payload)))
        with live.drops("receive_rtx_truncated"):
            host.send(host.seal(Rtp(RTX, 3, 1, host.offer.video_rtx_ssrc, b"\x00")))


def test_rtx_whose_apt_the_offer_does_not_explain_is_not_agreed_and_dropped(
    edge: EdgeProcess, live: Live, room: str
) -> None:
    with Host(edge, room, rtx_apt=99).connect() as host, Viewer(edge, room).connect() as viewer:
        assert "rtx" not in host.answer.text
        host.send_frame(key=True)
        with live.drops("receive_unknown_payload_type"):
            host.send(host.seal(Rtp(RTX, 1, 1, host.offer.video_rtx_ssrc, struct.pack("!H", 7) + INTER_FRAME)))
        host.send_frame(payload=b"without repairs")
        viewer.sees(b"without repairs")


def test_unknown_payload_types_and_broken_headers_are_dropped(live: Live) -> None:
    host = live.host
    with live.drops("receive_unknown_payload_type"):
        host.send(host.seal(replace(host.frame(), payload_type=35)))
    with live.drops("receive_unknown_ssrc"):
        host.send(host.seal(Rtp(35, 1, 1, 0xDEAD, INTER_FRAME)))
    padded = bytearray(host.frame(payload=b"\x00").encode())
    padded[0] |= 0x20
    with live.drops("rtp_bad_padding"):
        host.send(bytes(host.outbound.protect(bytes(padded))))


def test_publishers_with_the_same_ssrcs_do_not_meet(edge: EdgeProcess, live: Live, room: str) -> None:
    with (
        Host(edge, room).connect() as one,
        Host(edge, f"{room}-b").connect() as two,
        Viewer(edge, room).connect() as sees_one,
        Viewer(edge, f"{room}-b").connect() as sees_two,
    ):
        assert one.offer.video_ssrc == two.offer.video_ssrc == live.host.offer.video_ssrc
        for host in (one, two):
            host.send_frame(key=True)
        for index in range(5):
            one.send_frame(payload=b"one %d" % index)
            two.send_frame(payload=b"two %d" % index)
        assert sees_one.sees(b"4").payload.endswith(b"one 4")
        assert sees_two.sees(b"4").payload.endswith(b"two 4")
    live.survives()


def test_a_publisher_with_the_same_ssrcs_takes_over_its_room_and_the_first_is_ended(
    edge: EdgeProcess, live: Live, room: str
) -> None:
    first = Host(edge, room).connect()
    with Viewer(edge, room).connect() as viewer:
        first.send_frame(key=True)
        before = first.send_frame(payload=b"first")
        seen = viewer.sees(b"first")
        with Host(edge, room).connect() as second:
            assert second.offer.video_ssrc == before.ssrc
            second.send_frame(key=True)
            second.send_frame(payload=b"second")
            after = viewer.sees(b"second")
            assert after.ssrc == seen.ssrc, "nothing is renegotiated"
            assert 0 < (after.sequence_number - seen.sequence_number) % 65_536 < 100
            assert (after.timestamp - seen.timestamp) % 2**32 < 2**31, "timestamps go forward"
            with live.drops("address_unvalidated"):
                first.send_frame(payload=b"too late")
            assert HTTP.delete(first.resource).status_code == 404
    first.socket.close()
