"""What the pages say when there is nothing to show: no edge, no token, no camera, or another host in the room."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from playwright.async_api import Browser, Route

from tests.browser.fleet import Fleet
from tests.browser.pages import go_live, open_page, wait_for_motion, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]


async def test_a_viewer_without_any_edge_is_told_so_and_comes_back_by_itself(chromium: Browser, fleet: Fleet) -> None:
    async with open_page(chromium, f"{fleet.edge_url('fra')}/watch/stranded") as watch:
        await watch.wait_for_selector("body[data-state=waiting]")

        async def refuse(route: Route) -> None:
            await route.abort()

        await watch.route("**/v1/rooms/*/join", refuse)
        await watch.reload()
        await watch.wait_for_selector("body[data-state=unreachable]")
        assert await watch.inner_text("#veil-title") == "No edge can be reached"
        assert await watch.is_visible("#retry")
        await watch.unroute("**/v1/rooms/*/join")
        await watch.wait_for_selector("body[data-state=waiting]")
        assert await watch.is_hidden("#retry")


async def test_a_closed_room_asks_for_a_token_before_anything_else(chromium: Browser, fleet: Fleet) -> None:
    async with open_page(chromium, f"{fleet.edge_url('fra')}/watch/closed") as watch:

        async def closed(route: Route) -> None:
            reply = await route.fetch()
            await route.fulfill(response=reply, json={**await reply.json(), "token_required": True})

        await watch.route("**/v1/rooms/*/join", closed)
        await watch.reload()
        await watch.wait_for_selector("body[data-state=refused]")
        await watch.fill("#token", "not-a-token")
        await watch.press("#token", "Enter")
        # The edge itself refuses what is no token, in its own words.
        await wait_until(watch, "() => document.querySelector('#veil-text').textContent.length > 0")
        await watch.wait_for_selector("#token:visible")


async def test_a_second_host_is_warned_and_takes_over_and_the_first_is_told(chromium: Browser, fleet: Fleet) -> None:
    room = "relay-race"
    async with (
        open_page(chromium, f"{fleet.edge_url('sg')}/studio/{room}") as first,
        open_page(chromium, f"{fleet.edge_url('fra')}/studio/{room}") as second,
        open_page(chromium, f"{fleet.edge_url('fra')}/watch/{room}") as watch,
    ):
        await go_live(first)
        await wait_for_motion(watch)
        await second.wait_for_selector("#go:has-text('Take over')")
        assert "replaces them" in await second.inner_text("#go-note")
        await go_live(second)
        await first.wait_for_selector("body[data-state=replaced]")
        assert "Another host took over" in await first.inner_text("#go-note")
        await wait_for_motion(watch)


async def test_a_host_lets_the_camera_go_while_off_air(chromium: Browser, fleet: Fleet) -> None:
    async with open_page(chromium, f"{fleet.edge_url('sg')}/studio/privacy") as studio:
        await studio.click("#source-camera")
        await studio.wait_for_selector("#source-camera[aria-pressed=true]")
        await studio.click("#source-camera")
        await studio.wait_for_selector("#source-camera[aria-pressed=false]")
        assert await studio.is_disabled("#go")
        assert await studio.evaluate("document.querySelector('#preview').srcObject === null")


async def test_a_file_is_published_in_a_loop(chromium: Browser, fleet: Fleet, tmp_path: Path) -> None:
    clip = tmp_path / "clip.webm"
    frames = _write_clip(clip)
    async with (
        open_page(chromium, f"{fleet.edge_url('sg')}/studio/reel") as studio,
        open_page(chromium, f"{fleet.edge_url('fra')}/watch/reel") as watch,
    ):
        await studio.set_input_files("#file", clip)
        await studio.wait_for_selector("#notice:has-text('clip.webm plays in a loop')")
        await studio.click("#go")
        await studio.wait_for_selector("body[data-state=live]")
        await wait_for_motion(watch)
        # More frames than the file has, by far: it has begun again.
        await wait_until(watch, "frames => Number(document.body.dataset.framesDecoded) > 2 * frames", frames)


def _write_clip(path: Path) -> int:
    """Two seconds of a bar that moves over grey; the number of frames."""
    frames, rate = 30, 15
    with av.open(str(path), "w", format="webm") as container:
        stream = container.add_stream("libvpx", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for index in range(frames):
            picture = np.full((180, 320, 3), 96, np.uint8)
            picture[:, 10 * index : 10 * index + 30] = 255
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return frames


async def test_a_screen_is_published(chromium: Browser, fleet: Fleet) -> None:
    async with (
        open_page(chromium, f"{fleet.edge_url('sg')}/studio/desk") as studio,
        open_page(chromium, f"{fleet.edge_url('fra')}/watch/desk") as watch,
    ):
        await studio.click("#source-screen")
        await studio.wait_for_selector("#source-screen[aria-pressed=true]")
        await studio.click("#go")
        await studio.wait_for_selector("body[data-state=live]")
        await wait_for_motion(watch)
