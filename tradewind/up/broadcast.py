"""The built-in host: publishes the test picture and tone into a room by WHIP, and comes back when its edge does.

It stands aside for people: when its session ends while the room is live, somebody else hosts now, and it waits until
the room is silent again.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import uvloop
from aiortc import RTCRtpSender

from tradewind.common.process import watch_stop
from tradewind.up.encoding import TestAudio, TestVideo
from tradewind.up.watcher import count_frames
from tradewind.up.whip import SignalledConnection, SignallingRefused

if TYPE_CHECKING:
    from collections.abc import Callable

# Between attempts, and between looks at a room that somebody else hosts.
RETRY_S = 1.0
# From the answer to the first packet leaving; on loopback it takes some tens of milliseconds.
CONNECT_TIMEOUT_S = 15.0


# What no waiting helps against: a wrong room name, a token that is missing, expired or another's, no such address.
FINAL_STATUSES = frozenset({400, 401, 403, 404, 405})
# An edge that has just started gets the keys of tokens a moment later.
PASSING_REASONS = frozenset({"token_unknown_key", "token_not_yet_valid"})


class BroadcastRefused(OSError):
    """The edge will not have this host, now or later; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BroadcastPlan:
    """Where to publish, and whether to prove that it arrives."""

    whip_url: str
    title: str
    token: str = ""
    check_url: str = ""
    """WHEP address at another edge; empty: no check."""
    check_frames: int = 3
    check_timeout_s: float = 20.0


def main(*, room: str, edge: str, token: str, check: str, title: str, exit_with_parent: bool) -> None:
    """The process behind `tradewind publish test`: publishes until a signal, one line per event on stdout."""
    plan = BroadcastPlan(
        whip_url=f"{edge.rstrip('/')}/whip/{room}",
        title=title,
        token=token,
        check_url=f"{check.rstrip('/')}/whep/{room}" if check else "",
    )

    async def until_stopped() -> None:
        stop = asyncio.Event()
        undo = watch_stop(stop, exit_with_parent=exit_with_parent)
        try:
            await run(plan, stop, lambda line: print(line, flush=True))
        finally:
            undo()

    uvloop.run(until_stopped())


async def run(plan: BroadcastPlan, stop: asyncio.Event, say: Callable[[str], None]) -> None:
    """Publishes until `stop`. `say` gets one line per event: connected, frames arriving, trouble.

    Raises BroadcastRefused when the edge says no for good.
    """
    checked = not plan.check_url
    trouble = ""
    while not stop.is_set():
        try:
            checked = await _publish(plan, stop, say, checked=checked)
            trouble = ""
        except SignallingRefused as error:
            if error.status in FINAL_STATUSES and error.reason not in PASSING_REASONS:
                raise BroadcastRefused(f"{plan.whip_url} refused: {error.detail}") from None
            trouble = _tell(say, trouble, str(error))
        except (httpx.HTTPError, TimeoutError) as error:
            trouble = _tell(say, trouble, f"{plan.whip_url}: {str(error) or type(error).__name__}")
        await _wait(stop, RETRY_S)
        while not stop.is_set() and await _somebody_hosts(plan):
            await _wait(stop, RETRY_S)


def _tell(say: Callable[[str], None], told: str, trouble: str) -> str:
    """The same trouble is said once, however often it is met."""
    if trouble != told:
        say(f"waiting: {trouble}")
    return trouble


async def _publish(plan: BroadcastPlan, stop: asyncio.Event, say: Callable[[str], None], *, checked: bool) -> bool:
    ended = asyncio.Event()
    connected = asyncio.Event()
    started = time.monotonic()
    video = TestVideo(plan.title, started, lambda: time.time_ns() // 1_000_000)
    async with SignalledConnection(plan.whip_url, token=plan.token) as session:
        connection = session.connection

        @connection.on("connectionstatechange")
        def _changed() -> None:
            if connection.connectionState == "connected":
                connected.set()
            elif connection.connectionState in ("failed", "closed"):
                ended.set()

        sender = _add_video(connection, video)
        connection.addTrack(TestAudio(started))
        await session.open()
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await connected.wait()
        say("publishing")
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(_forward_key_frame_requests(sender, video))
            proving = tasks.create_task(_prove(plan, say) if not checked else asyncio.sleep(0))
            waiting = [tasks.create_task(stop.wait()), tasks.create_task(ended.wait())]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            checked = proving.done()
            for task in (watching, proving, *waiting):
                task.cancel()
    if not stop.is_set():
        say("the session ended")
    return checked


async def _prove(plan: BroadcastPlan, say: Callable[[str], None]) -> None:
    """Until frames have been seen at the other edge."""
    trouble = ""
    while True:
        try:
            frames = await count_frames(
                plan.check_url, wanted=plan.check_frames, timeout_s=plan.check_timeout_s, token=plan.token
            )
            if frames >= plan.check_frames:
                say(f"frames {frames}")
                return
            found = f"{frames} frames in {plan.check_timeout_s:.0f} s"
        except (SignallingRefused, httpx.HTTPError) as error:
            found = str(error) or type(error).__name__
        trouble = _tell(say, trouble, f"{plan.check_url}: {found}")
        await asyncio.sleep(RETRY_S)


def _add_video(connection: Any, video: TestVideo) -> RTCRtpSender:
    transceiver = connection.addTransceiver(video, direction="sendonly")
    codecs = RTCRtpSender.getCapabilities("video").codecs
    # The track gives H.264 packets; nothing else may be negotiated.
    transceiver.setCodecPreferences([c for c in codecs if c.mimeType in ("video/H264", "video/rtx")])
    sender: RTCRtpSender = transceiver.sender
    return sender


async def _forward_key_frame_requests(sender: RTCRtpSender, video: TestVideo) -> None:
    # aiortc keeps PLI and FIR for its own encoders; a finished packet passes them by. 20 looks a second are soon
    # enough.
    flag = "_RTCRtpSender__force_keyframe"
    while True:
        if getattr(sender, flag, False):
            setattr(sender, flag, False)
            video.request_key_frame()
        await asyncio.sleep(0.05)


async def _somebody_hosts(plan: BroadcastPlan) -> bool:
    parts = urlsplit(plan.whip_url)
    room = parts.path.rsplit("/", 1)[-1]
    url = urlunsplit((parts.scheme, parts.netloc, f"/v1/rooms/{room}/join", "", ""))
    try:
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as http:
            return bool((await http.get(url)).json().get("live"))
    except (httpx.HTTPError, ValueError):
        return False


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
