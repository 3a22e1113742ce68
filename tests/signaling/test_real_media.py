"""A picture and a sound through a real edge process: published and watched by aiortc over WHIP and WHEP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from tests.edge_process import EdgeProcess, edge_process
from tests.peer.media import frames, host, viewer


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeProcess]:
    with edge_process(tmp_path_factory.mktemp("edge")) as edge:
        yield edge


async def metric(http: httpx.AsyncClient, edge: EdgeProcess, line: str) -> float:
    text = (await http.get(f"{edge.metrics}/metrics")).text
    return sum(float(row.rsplit(" ", 1)[1]) for row in text.splitlines() if row.startswith(line))


async def test_picture_and_sound_arrive_and_sessions_end(edge: EdgeProcess) -> None:
    async with httpx.AsyncClient(base_url=edge.http, timeout=30) as http:
        async with host(http, "demo") as published, viewer(http, "demo") as (tracks, watched):
            pictures, sounds = await asyncio.gather(frames(tracks["video"], 20), frames(tracks["audio"], 50))
            assert (pictures[-1].width, pictures[-1].height) == (320, 240)
            green = pictures[-1].to_ndarray(format="bgr24")[:, :, 1].mean()
            assert 180 < green < 220, "it is the picture that was published"
            times = [picture.pts for picture in pictures]
            assert times == sorted(set(times))
            loudness = np.abs(np.concatenate([sound.to_ndarray().ravel() for sound in sounds[-20:]])).max()
            assert loudness > 2000, "it is the tone that was published"
            assert (await http.get("/v1/rooms/demo/join")).json()["live"] is True
            assert (await http.delete(watched)).status_code == 200
            assert (await http.delete(published)).status_code == 200
            assert (await http.delete(published)).status_code == 404
        assert await metric(http, edge, 'tradewind_sessions_connected_total{role="viewer"}') >= 1
        assert await metric(http, edge, 'tradewind_session_first_media_seconds_count{role="viewer"}') >= 1


async def test_viewer_who_comes_first_waits_for_the_host(edge: EdgeProcess) -> None:
    async with (
        httpx.AsyncClient(base_url=edge.http, timeout=30) as http,
        viewer(http, "early") as (tracks, _),
        host(http, "early"),
    ):
        assert len(await frames(tracks["video"], 10)) == 10


async def test_host_who_publishes_again_takes_over_without_a_new_offer(edge: EdgeProcess) -> None:
    async with (
        httpx.AsyncClient(base_url=edge.http, timeout=30) as http,
        viewer(http, "again") as (tracks, _),
        host(http, "again"),
    ):
        before = await frames(tracks["video"], 10)
        async with host(http, "again"):
            after = await frames(tracks["video"], 60)
            times = [frame.pts for frame in before + after]
            assert times == sorted(set(times)), "the timeline goes forward"
