"""A host whose encoder sends its H.264 parameter sets once, and whose offer names none."""

from __future__ import annotations

from tests.edge_process import EdgeProcess
from tests.peer.client import VIDEO, Host, Rtp, Viewer

SPS = bytes.fromhex("6742000a9653")
PPS = bytes.fromhex("68c96388")
KEY_FRAME = b"\x65\x88\x84"
STAP_A = 24


def test_who_joins_later_starts_with_the_sets_of_the_first_frame(edge: EdgeProcess, room: str) -> None:
    host, early = Host(edge, room, video="H264"), Viewer(edge, room, video="H264")
    with host.connect(), early.connect():

        def send(payload: bytes, timestamp: int, *, marker: bool = True) -> None:
            host.sequence_number += 1
            packet = Rtp(VIDEO, host.sequence_number, timestamp, host.offer.video_ssrc, payload, marker)
            host.send(host.seal(packet))

        send(SPS, 3000, marker=False)
        send(PPS, 3000, marker=False)
        send(KEY_FRAME + b"first", 3000)
        early.sees(b"first")
        send(KEY_FRAME + b"second", 6000)
        early.sees(b"second")
        late = Viewer(edge, room, video="H264")
        with late.connect():
            sets = late.receive_rtp(lambda packet: packet.payload_type == VIDEO, "picture")
            assert sets.payload[0] & 0x1F == STAP_A
            assert SPS in sets.payload
            assert PPS in sets.payload
            key_frame = late.sees(b"second")
            assert (key_frame.timestamp, key_frame.marker, sets.marker) == (sets.timestamp, True, False)
            assert key_frame.sequence_number == sets.sequence_number + 1
