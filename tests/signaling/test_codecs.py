"""What an answer takes, and what it means for a room that is sent in something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.mesh.view import FleetView, Route
from edge.signaling.codecs import lacking_codec
from tests.edge_harness import client, edge_settings, running_edge

SDP = {"Content-Type": "application/sdp"}


def answer(*, audio: str = "111 opus/48000/2", video: str = "96 VP8/90000", video_port: int = 9) -> str:
    """As the packet path writes it."""
    sections = []
    for kind, port, formats in (("audio", 9, audio), ("video", video_port, video)):
        if formats:
            lines = "".join(f"a=rtpmap:{one}\r\n" for one in formats.split(", "))
            sections.append(f"m={kind} {port} UDP/TLS/RTP/SAVPF 96\r\na=mid:{kind}\r\n{lines}")
    return "v=0\r\na=ice-lite\r\n" + "".join(sections)


@pytest.mark.parametrize(
    ("text", "lacking"),
    [
        (answer(), "h264"),
        (answer(video="96 VP8/90000, 98 H264/90000, 99 rtx/90000"), ""),
        (answer(video="98 h264/90000"), ""),
        (answer(video="99 rtx/90000"), "h264"),
        (answer(audio="0 PCMU/8000", video="98 H264/90000"), "opus"),
        # Sound alone was asked for.
        (answer(video=""), ""),
        (answer(video_port=0), ""),
        ("v=0\r\n", ""),
    ],
)
def test_a_kind_that_is_taken_lacks_what_its_codecs_do_not_name(text: str, lacking: str) -> None:
    assert lacking_codec(text, (), ("h264", "opus")) == lacking


def test_a_kind_that_was_asked_for_in_no_codec_of_ours_lacks_what_is_sent() -> None:
    sound_alone = answer(video_port=0)
    assert lacking_codec(sound_alone, ("video",), ("opus", "h264")) == "h264"
    assert lacking_codec(sound_alone, ("video",), ("opus",)) == "", "the room has no picture"


def test_nothing_lacks_while_nobody_knows_what_is_sent() -> None:
    assert lacking_codec(answer(), (), ()) == ""
    assert lacking_codec(answer(), (), ("a codec of tomorrow",)) == ""


async def test_the_first_viewer_at_an_edge_is_told_of_the_rooms_codec(tmp_path: Path) -> None:
    async with running_edge(edge_settings(tmp_path)) as edge, client(edge) as http:
        route = Route("demo", 6, "fra", ("sg", "fra"), (), "direct", ("h264", "opus"))
        edge.view = FleetView(1, 1, (), (route,), ())
        edge.path.answer = answer()
        refused = await http.post("/whep/demo", content=b"offer", headers=SDP)
        assert (refused.status_code, refused.json()["reason"]) == (406, "no_common_codec")
        assert "H264" in refused.json()["detail"]
        assert "location" not in refused.headers
        assert (edge.path.open, len(edge.parts.sessions)) == (set(), 0), "it leaves nothing behind"
        assert edge.metric("tradewind_http_refused_total", surface="whep", reason="no_common_codec") == 1
        assert (await http.post("/whep/other", content=b"offer", headers=SDP)).status_code == 201
        assert (await http.post("/whip/demo", content=b"offer", headers=SDP)).status_code == 201

        edge.path.answer, edge.path.left_out = answer(video_port=0), ("video",)
        assert (await http.post("/whep/demo", content=b"offer", headers=SDP)).status_code == 406
        assert (await http.post("/whep/other", content=b"offer", headers=SDP)).status_code == 201
        edge.path.left_out = ()
        assert (await http.post("/whep/demo", content=b"offer", headers=SDP)).status_code == 201

        edge.path.answer = answer(video="96 VP8/90000, 98 H264/90000")
        assert (await http.post("/whep/demo", content=b"offer", headers=SDP)).status_code == 201

        # Where the stream flows the packet path knows better, and sooner, what a takeover brought.
        edge.event("source_seen", room="demo", incarnation=7, peer="fra")
        edge.path.answer = answer()
        assert (await http.post("/whep/demo", content=b"offer", headers=SDP)).status_code == 201
