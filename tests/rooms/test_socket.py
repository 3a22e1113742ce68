"""A person's WebSocket, over a real one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from edge.rooms.goodbye import FAREWELLS
from edge.rooms.socket import guest_person
from tests.edge_harness import UNIX_S, RunningEdge, edge_settings, running_edge
from tradewind.common.tokens import Role
from tradewind.v1.room_messages import (
    GOODBYE_REASONS,
    Accepted,
    Batch,
    Comment,
    Danmaku,
    Down,
    Fill,
    Goodbye,
    Hello,
    Live,
    Ping,
    Pong,
    Presence,
    Rejected,
    RoomEntry,
    ServerMessage,
    Submit,
    Welcome,
    parse_relay_message,
    parse_server_message,
)

EPOCH = int(UNIX_S * 1000)
# For what takes milliseconds on an idle machine.
TIMEOUT_S = 30.0
_M = TypeVar("_M")


class Person:
    """One page."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.seen: list[ServerMessage] = []

    async def send(self, message: Hello | Danmaku | Ping) -> None:
        await self.socket.send(message.encode())

    async def next(self, kind: type[_M]) -> _M:
        """The next message of a kind; others are kept in `seen`."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                frame = await self.socket.recv()
                assert isinstance(frame, str)
                message = parse_server_message(frame)
                self.seen.append(message)
                if isinstance(message, kind):
                    return message

    async def close_code(self) -> int:
        async with asyncio.timeout(TIMEOUT_S):
            try:
                while True:
                    frame = await self.socket.recv()
                    self.seen.append(parse_server_message(str(frame)))
            except ConnectionClosed:
                assert self.socket.close_code is not None
                return self.socket.close_code


@asynccontextmanager
async def connected(edge: RunningEdge, room: str = "demo", **options: Any) -> AsyncIterator[Person]:
    url = edge.socket_url.replace("demo", room)
    async with connect(url, subprotocols=["tradewind.room.v1"], compression=None, **options) as socket:  # type: ignore[list-item]
        yield Person(socket)


@asynccontextmanager
async def person(edge: RunningEdge, name: str = "Mei", **hello: Any) -> AsyncIterator[Person]:
    async with connected(edge) as page:
        await page.send(Hello(name=name, **hello))
        await page.next(Welcome)
        yield page


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[RunningEdge]:
    async with running_edge(edge_settings(tmp_path)) as edge:
        yield edge


async def goodbye(edge: RunningEdge, page: Person, reason: str) -> None:
    """The page is told why, and the close code says the same."""
    assert await page.close_code() == FAREWELLS[reason].code
    assert page.seen[-1] == Goodbye(reason=reason, retry=FAREWELLS[reason].retry)
    assert edge.metric("tradewind_room_goodbyes_total", reason=reason) == 1


async def test_guest_is_welcomed(edge: RunningEdge) -> None:
    edge.event("source_started", room="demo", incarnation=EPOCH)
    async with connected(edge) as page:
        assert page.socket.subprotocol == "tradewind.room.v1"
        await page.send(Hello(name="  Mei\u202e ", person="secret-of-this-page"))
        welcome = await page.next(Welcome)
    assert (welcome.room, welcome.edge_id, welcome.name, welcome.live) == ("demo", "sg", "Mei", True)
    assert welcome.person == guest_person("secret-of-this-page")
    assert "secret" not in welcome.person
    assert [address.url for address in welcome.edges] == [edge.url]
    assert (welcome.epoch, welcome.offset) == (0, 0)


async def test_comment_reaches_everybody_and_its_author_is_answered(edge: RunningEdge) -> None:
    async with person(edge, "Mei") as mei, person(edge, "Jo") as jo:
        await mei.send(Danmaku(id="c1", text=" <b>hi</b> ", color="#ff0000", media_time_ms=EPOCH - 500))
        accepted = await mei.next(Accepted)
        assert (accepted.id, accepted.epoch, accepted.offset) == ("c1", 0, 1)
        for page in (mei, jo):
            (entry,) = (await page.next(Batch)).messages
            assert (entry.text, entry.name, entry.color) == ("<b>hi</b>", "Mei", "#ff0000")
            assert entry.media_time_ms == EPOCH - 500
            assert entry.unix_ms == EPOCH
    assert edge.metric("tradewind_room_comments_total", outcome="accepted") == 1


async def test_who_joins_later_gets_the_history_and_who_returns_gets_what_was_missed(edge: RunningEdge) -> None:
    edge.event("source_started", room="demo", incarnation=EPOCH)
    async with person(edge, "Mei") as mei:
        for number in range(5):
            await mei.send(Danmaku(id=f"c{number}", text=f"text {number}"))
            await mei.next(Accepted)
        async with person(edge, "Jo") as jo:
            assert [entry.id for entry in (await jo.next(Batch)).messages] == [f"c{n}" for n in range(5)]
        async with person(edge, "Jo", last_epoch=EPOCH, last_offset=3) as jo:
            assert [entry.id for entry in (await jo.next(Batch)).messages] == ["c3", "c4"]
        async with person(edge, "Jo", last_epoch=EPOCH, last_offset=5) as jo:
            await jo.send(Ping(id="p"))
            await jo.next(Pong)
            assert not any(isinstance(message, Batch) for message in jo.seen)


async def test_retry_of_an_accepted_comment_is_answered_and_not_shown_again(edge: RunningEdge) -> None:
    async with person(edge, "Mei", person="the same page") as mei:
        await mei.send(Danmaku(id="c1", text="hi"))
        first = await mei.next(Accepted)
    async with person(edge, "Mei", person="the same page") as mei:
        await mei.send(Danmaku(id="c1", text="hi"))
        assert await mei.next(Accepted) == first
    async with person(edge, "Jo", person="another page") as jo:
        assert len((await jo.next(Batch)).messages) == 1
        await jo.send(Danmaku(id="c1", text="mine"))
        assert (await jo.next(Accepted)).offset == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a" * 101, "too_long"),
        ("   ", "empty"),
        ("a\u0000b", "control_character"),
        ("a\u202eb", "bidi_override"),
        ("a\u200b\u200b\u200bb", "invisible_run"),
    ],
)
async def test_comment_that_breaks_a_rule_is_rejected_and_the_socket_stays(
    edge: RunningEdge, text: str, reason: str
) -> None:
    async with person(edge) as mei:
        await mei.send(Danmaku(id="c1", text=text))
        rejected = await mei.next(Rejected)
        assert (rejected.id, rejected.reason) == ("c1", reason)
        await mei.send(Danmaku(id="c1", text="fine"))
        assert (await mei.next(Accepted)).id == "c1"
    assert edge.metric("tradewind_room_comments_total", outcome=reason) == 1


async def test_who_writes_too_fast_is_told_how_long_to_wait(tmp_path: Path) -> None:
    # So slow that no machine needs as long for five comments as one more takes to be allowed.
    settings = edge_settings(tmp_path, rooms={"open_rooms": ["*"], "rate_per_s": 0.01})
    async with (
        running_edge(settings) as edge,
        person(edge, person="the same page") as mei,
        person(edge, person="the same page") as again,
    ):
        for number in range(5):
            await (mei if number % 2 else again).send(Danmaku(id=f"c{number}", text="hi"))
            await (mei if number % 2 else again).next(Accepted)
        for page in (mei, again):
            await page.send(Danmaku(id="more", text="hi"))
            rejected = await page.next(Rejected)
            assert (rejected.id, rejected.reason) == ("more", "too_fast")
            assert 0 < (rejected.retry_after_ms or 0) <= 100_001
        async with person(edge, person="somebody else") as jo:
            await jo.send(Danmaku(id="more", text="hi"))
            await jo.next(Accepted)


async def test_room_where_everybody_writes_says_so(tmp_path: Path) -> None:
    settings = edge_settings(tmp_path, rooms={"open_rooms": ["*"], "room_rate_per_s": 0.01})
    async with running_edge(settings) as edge, person(edge) as mei:
        reasons = []
        for number in range(4):
            await mei.send(Danmaku(id=f"c{number}", text="hi"))
        for _ in range(3):
            reasons.append((await mei.next(Rejected)).reason)
        assert reasons == ["room_busy"] * 3, "the first is always taken"


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([b"binary"], "not_text"),
        (["{"], "bad_message"),
        (['{"type":"danmaku","id":"a"}'], "bad_message"),
        (['{"type":"nothing"}'], "bad_message"),
        (["[" * 5000], "bad_message"),
        (["x" * 9000], "frame_too_large"),
        (["é" * 5000], "frame_too_large"),
        ([Hello(name="again").encode()], "hello_expected"),
    ],
)
async def test_bad_frame_ends_the_socket_with_its_reason(
    edge: RunningEdge, frames: list[str | bytes], reason: str
) -> None:
    async with person(edge, "Jo") as jo, person(edge) as mei:
        for frame in frames:
            await mei.socket.send(frame)
        await goodbye(edge, mei, reason)
        await jo.send(Danmaku(id="c", text="still here"))
        await jo.next(Accepted)
    assert edge.parts.hub.sockets == 0 or await _emptied(edge)


async def test_text_that_is_not_utf8_ends_the_socket(edge: RunningEdge) -> None:
    async with person(edge) as mei:
        # The client library refuses to send such a thing, so the frame is made by hand.
        mei.socket.transport.write(Frame(Opcode.TEXT, b"\xff\xfe{").serialize(mask=True))
        assert await mei.close_code() == 1007
        await _metric_becomes(edge, "not_utf8")


@pytest.mark.parametrize(
    "frame",
    [b"\x83\x80" + bytes(4), b"\x81\x01x", b"\xf1\x80" + bytes(4), b"\x09\x80" + bytes(4)],
    ids=["opcode", "mask", "reserved_bits", "control_in_pieces"],
)
async def test_a_frame_that_no_client_may_send_ends_the_socket(edge: RunningEdge, frame: bytes) -> None:
    async with person(edge) as mei:
        mei.socket.transport.write(frame)
        assert await mei.close_code() == 1002
        await _metric_becomes(edge, "bad_frame")


async def test_enormous_frame_is_cut_off_by_the_protocol(edge: RunningEdge) -> None:
    async with person(edge) as mei:
        await mei.socket.send("x" * 1_000_000)
        assert await mei.close_code() == 1009
        await _metric_becomes(edge, "frame_too_large")


async def test_flood_of_frames_ends_the_socket(tmp_path: Path) -> None:
    # Room for all the answers: who floods is not to be ended for not reading them.
    settings = edge_settings(tmp_path, rooms={"open_rooms": ["*"], "socket_queue_frames": 1_000})
    async with running_edge(settings) as edge, person(edge) as mei:
        try:
            for number in range(300):
                await mei.send(Ping(id=f"p{number}"))
        except ConnectionClosed:
            pass
        await goodbye(edge, mei, "flood")


async def test_first_message_is_hello_or_nothing(edge: RunningEdge) -> None:
    async with connected(edge) as page:
        await page.send(Ping(id="p"))
        await goodbye(edge, page, "hello_expected")


async def test_who_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    for setting, enter, reason in (
        ("hello_timeout_s", connected, "hello_timeout"),
        ("idle_timeout_s", person, "idle"),
    ):
        settings = edge_settings(tmp_path, rooms={"open_rooms": ["*"], setting: 0.05})
        async with running_edge(settings) as edge, enter(edge) as page:
            await goodbye(edge, page, reason)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        (None, "token_missing"),
        ({"valid_s": -60}, "token_expired"),
        ({"room": "other"}, "token_wrong_room"),
    ],
)
async def test_closed_room_wants_a_good_token(tmp_path: Path, claims: dict[str, Any] | None, reason: str) -> None:
    async with running_edge(edge_settings(tmp_path, rooms={})) as edge:
        async with connected(edge) as page:
            await page.send(Hello(name="Mei", token=edge.token(**claims) if claims is not None else None))
            await goodbye(edge, page, reason)
        async with connected(edge) as page:
            await page.send(Hello(name="Somebody", token=edge.token(Role.VIEWER, person="mei")))
            welcome = await page.next(Welcome)
            assert (welcome.person, welcome.name) == ("mei", "Somebody")


async def test_socket_ends_when_its_token_does(tmp_path: Path) -> None:
    async with running_edge(edge_settings(tmp_path, rooms={})) as edge, connected(edge) as page:
        # Expired nine whole seconds before the second that runs, with ten of leeway: 0.2 s are left.
        edge.unix_s += 0.8
        await page.send(Hello(name="Mei", token=edge.token(valid_s=-9.7)))
        await page.next(Welcome)
        await goodbye(edge, page, "token_expired")


async def test_handshake_is_refused_by_name(edge: RunningEdge) -> None:
    cases: list[tuple[str, dict[str, Any], int, str]] = [
        ("bad%20room", {}, 400, "room_name"),
        ("demo", {"subprotocols": ["chat"]}, 400, "subprotocol"),
    ]
    for room, options, status, reason in cases:
        with pytest.raises(InvalidStatus) as raised:
            async with connect(edge.socket_url.replace("demo", room), **options):
                pass
        assert raised.value.response.status_code == status
        assert json.loads(raised.value.response.body)["reason"] == reason
    edge.parts.draining.set()
    with pytest.raises(InvalidStatus) as raised:
        async with connect(edge.socket_url):
            pass
    assert raised.value.response.status_code == 503


async def test_full_room_sends_people_to_the_next_edge(tmp_path: Path) -> None:
    rooms = {"open_rooms": ["*"], "people_max": 1}
    async with running_edge(edge_settings(tmp_path, rooms=rooms)) as edge, person(edge), connected(edge) as page:
        await page.send(Hello(name="Jo"))
        await goodbye(edge, page, "room_full")


async def test_slow_reader_is_ended_and_holds_up_nobody(tmp_path: Path) -> None:
    rooms = {"open_rooms": ["*"], "socket_queue_frames": 4, "rate_per_s": 100, "rate_burst": 100, "batch_ms": 10}
    async with running_edge(edge_settings(tmp_path, rooms={**rooms, "room_rate_per_s": 1e6})) as edge:
        async with person(edge) as mei, connected(edge, max_queue=1) as slow:
            await slow.send(Hello(name="Slow"))
            await slow.next(Welcome)
            slow.socket.transport.pause_reading()
            number = 0
            async with asyncio.timeout(60):
                while edge.metric("tradewind_room_goodbyes_total", reason="slow_consumer") == 0:
                    async with person(edge, "Other") as other:
                        for _ in range(90):
                            number += 1
                            await other.send(Danmaku(id=f"c{number}", text="长" * 100))
                        await other.next(Accepted)
                    if number % 900 == 0:
                        await mei.send(Ping(id="alive"))
                        await mei.next(Pong)
            slow.socket.transport.abort()
        assert await _emptied(edge)


async def test_leaving_edge_says_goodbye_to_everybody(edge: RunningEdge) -> None:
    async with person(edge) as mei:
        empty = asyncio.Event()
        edge.parts.hub.end_all("shutting_down", empty.set)
        await goodbye(edge, mei, "shutting_down")
        async with asyncio.timeout(TIMEOUT_S):
            await empty.wait()


async def test_room_is_joined_on_the_trunks_while_people_are_in_it(edge: RunningEdge) -> None:
    async with person(edge):
        assert edge.path.interest == [("demo", True)]
        async with person(edge):
            assert edge.path.interest == [("demo", True)]


async def test_comment_travels_over_the_tree(edge: RunningEdge) -> None:
    async with person(edge) as mei:
        edge.event("source_seen", room="demo", incarnation=EPOCH, peer="fra")
        assert await mei.next(Live) == Live(live=True, incarnation=EPOCH)
        edge.event("tree_changed", room="demo", incarnation=EPOCH, parent="fra", children=["iad"])
        fill = Fill(epoch=EPOCH, first_offset=1, entries=())
        edge.event("room_message", room="demo", peer="fra", payload=fill.encode().encode())
        edge.path.sent.clear()
        await mei.send(Danmaku(id="c1", text="hi"))
        await mei.send(Ping(id="p"))
        await mei.next(Pong)
        submits = [(peer, parse_relay_message(payload)) for _, peer, payload in edge.path.sent]
        (said,) = [message for peer, message in submits if peer == "fra" and isinstance(message, Submit)]
        assert [comment.text for comment in said.comments] == ["hi"]
        who = said.comments[0]
        entry = RoomEntry(EPOCH, 1, "c1", who.person, who.name, "hi", EPOCH, EPOCH)
        edge.path.sent.clear()
        edge.event("room_message", room="demo", peer="fra", payload=Down(entries=(entry,)).encode().encode())
        assert (await mei.next(Accepted)).offset == 1
        assert (await mei.next(Batch)).messages == (entry,)
        assert ("demo", "iad") in [(room, peer) for room, peer, _ in edge.path.sent]
        edge.event("source_lost", room="demo", incarnation=EPOCH, reason="heartbeat")
        assert await mei.next(Live) == Live(live=False, incarnation=0)


async def test_bad_message_of_a_neighbour_is_dropped_by_name(edge: RunningEdge) -> None:
    edge.event("room_message", room="nobody-here", peer="fra", payload=b"{}")
    assert edge.metric("tradewind_room_relay_dropped_total", reason="room_unknown") == 1
    async with person(edge):
        for payload in (b"\xff", b"{}", b'{"type":"down","entries":[{}]}', b"[" * 10_000):
            edge.event("room_message", room="demo", peer="fra", payload=payload)
        assert edge.metric("tradewind_room_relay_dropped_total", reason="message_invalid") == 4
        edge.event("tree_changed", room="demo", incarnation=EPOCH, parent="fra", children=[])
        edge.path.unreachable.add("fra")
        comment = Comment("a", "jo", "Jo", "hi", None, None)
        edge.event("tree_changed", room="demo", incarnation=EPOCH, parent="fra", children=["iad"])
        edge.event("room_message", room="demo", peer="iad", payload=Submit(comments=(comment,)).encode().encode())
        assert edge.metric("tradewind_room_relay_dropped_total", reason="neighbour_unreachable") >= 1


async def test_people_are_counted(edge: RunningEdge) -> None:
    async with person(edge) as mei:
        assert (await mei.next(Presence)).count == 1
        async with person(edge) as jo:
            assert (await mei.next(Presence)).count == 2
            assert (await jo.next(Presence)).count in (1, 2)
        assert (await mei.next(Presence)).count == 1


def test_contract_of_goodbyes_is_one() -> None:
    assert set(FAREWELLS) == set(GOODBYE_REASONS)
    text = (Path(__file__).resolve().parents[2] / "edge/rooms/goodbye.py").read_text()
    for reason, farewell in FAREWELLS.items():
        if not reason.startswith("token_"):
            retry = "yes" if farewell.retry else "no"
            assert f"| {farewell.code} | {reason} | {retry} |" in text


async def _emptied(edge: RunningEdge) -> bool:
    """Waits for the server side of closed sockets."""
    empty = asyncio.Event()
    edge.parts.hub.end_all("shutting_down", empty.set)
    async with asyncio.timeout(TIMEOUT_S):
        await empty.wait()
    return edge.parts.hub.sockets == 0


async def _metric_becomes(edge: RunningEdge, reason: str) -> None:
    assert await _emptied(edge)
    assert edge.metric("tradewind_room_goodbyes_total", reason=reason) == 1
