"""Comments keep step with the picture although the publisher's clock is wrong."""

from __future__ import annotations

import time
from pathlib import Path

from websockets.sync.client import ClientConnection, connect

from edge.rooms.media_clock import MediaClocks
from tests.edge_process import edge_process
from tests.peer.client import Host, Viewer
from tradewind.v1.room_messages import Batch, Danmaku, Hello, RoomEntry, parse_server_message

HOUR_MS = 3_600_000
NTP_UNIX_OFFSET_S = 2_208_988_800
TIMEOUT_S = 10.0


def test_a_clock_goes_on_from_what_was_last_said() -> None:
    clocks = MediaClocks()
    assert clocks.media_time_ms("demo", now=1.0) is None
    clocks.handle_reading("demo", 7, 500_000, now=10.0)
    assert clocks.media_time_ms("demo", now=12.5) == 502_500
    clocks.handle_reading("demo", 7, 90_000, now=20.0)
    assert clocks.media_time_ms("demo", now=20.0) == 90_000
    assert clocks.media_time_ms("other", now=20.0) is None


def test_the_newest_publication_has_the_word() -> None:
    clocks = MediaClocks()
    clocks.handle_reading("demo", 8, 500_000, now=0.0)
    clocks.handle_reading("demo", 7, 1, now=0.0)
    clocks.handle_source_gone("demo", 7)
    assert clocks.media_time_ms("demo", now=0.0) == 500_000
    clocks.handle_source_gone("demo", 8)
    assert clocks.media_time_ms("demo", now=0.0) is None


def said(page: ClientConnection, comment: Danmaku) -> RoomEntry:
    """Says it, and waits until it comes back with its place."""
    page.send(comment.encode())
    while True:
        message = parse_server_message(str(page.recv(TIMEOUT_S)))
        if isinstance(message, Batch):
            for entry in message.messages:
                if entry.id == comment.id:
                    return entry


def test_a_publisher_whose_clock_is_an_hour_fast_keeps_its_comments(tmp_path: Path) -> None:
    with edge_process(tmp_path) as edge, Host(edge, "demo").connect() as host, Viewer(edge, "demo").connect() as viewer:
        host.send_frame(key=True)
        host.send_frame(payload=b"before the report")
        viewer.sees(b"before the report")

        def publisher_ms() -> int:
            return time.time_ns() // 1_000_000 + HOUR_MS

        seconds, millis = divmod(publisher_ms(), 1_000)
        host.send_report((seconds + NTP_UNIX_OFFSET_S) << 32 | (millis << 32) // 1_000)
        host.send_frame(payload=b"behind the report")
        viewer.sees(b"behind the report")
        url = edge.http.replace("http", "ws", 1) + "/v1/rooms/demo/socket"
        with connect(url, subprotocols=["tradewind.room.v1"], compression=None) as page:  # type: ignore[list-item]
            page.send(Hello(name="Mei").encode())
            # The page's player has seen the same report, and shows a frame that is half a second old.
            claim = publisher_ms() - 500
            assert said(page, Danmaku(id="claimed", text="now!", media_time_ms=claim)).media_time_ms == claim
            # A page without a player, and one that makes its time up, get the newest frame's.
            made_up = Danmaku(id="made-up", text="hi", media_time_ms=claim - HOUR_MS)
            for comment in (Danmaku(id="plain", text="hi"), made_up):
                entry = said(page, comment)
                assert abs(entry.media_time_ms - publisher_ms()) < 10_000
                assert abs(entry.unix_ms + HOUR_MS - publisher_ms()) < 10_000
