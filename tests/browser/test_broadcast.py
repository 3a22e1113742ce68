"""A broadcast through the pages people use: studio at one edge, watch page at another, the console above both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.browser.fleet import Fleet
from tests.browser.pages import WAIT_MS, frames_decoded, go_live, open_page, serving_edge, wait_for_motion, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

ROOM = "stage"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def studio(chromium: Browser, fleet: Fleet) -> AsyncIterator[Page]:
    """A host on air at sg."""
    async with open_page(chromium, f"{fleet.edge_url('sg')}/studio/{ROOM}") as page:
        await go_live(page)
        yield page


@asynccontextmanager
async def watched_and_overseen(chromium: Browser, fleet: Fleet) -> AsyncIterator[tuple[Page, Page]]:
    """A watch page at fra whose picture moves, and the console."""
    async with (
        open_page(chromium, f"{fleet.edge_url('fra')}/watch/{ROOM}") as watch,
        open_page(chromium, f"{fleet.control_url}/console") as console,
    ):
        await wait_for_motion(watch)
        yield watch, console


async def test_a_viewer_before_the_host_waits_and_then_sees_the_picture(chromium: Browser, fleet: Fleet) -> None:
    async with open_page(chromium, f"{fleet.edge_url('fra')}/watch/early", 390, 844) as watch:
        await watch.wait_for_selector("body[data-state=waiting]")
        assert await watch.inner_text("#veil-title") == "Waiting for the host"
        async with open_page(chromium, f"{fleet.edge_url('sg')}/studio/early") as studio:
            await go_live(studio)
            await wait_for_motion(watch)
            await studio.click("#go")
            await studio.wait_for_selector("body[data-state=off]")
            await watch.wait_for_selector("body[data-state=waiting]")


async def test_the_picture_moves_at_another_edge_and_comments_cross(
    chromium: Browser, fleet: Fleet, studio: Page
) -> None:
    async with open_page(chromium, f"{fleet.edge_url('fra')}/watch/{ROOM}") as watch:
        await wait_for_motion(watch)
        assert await serving_edge(watch) == "fra"
        assert await watch.inner_text("#live-badge") == "LIVE"
        frames = await frames_decoded(watch)
        await wait_until(watch, "before => Number(document.body.dataset.framesDecoded) > before + 20", frames)

        await watch.fill("#text", "from Frankfurt <b>with markup</b>")
        await watch.press("#text", "Enter")
        await studio.wait_for_selector("text='from Frankfurt <b>with markup</b>'")

        await studio.fill("#say-text", "from the host in Singapore")
        await studio.press("#say-text", "Enter")
        await watch.wait_for_selector(".flight-comment >> text='from the host in Singapore'", state="attached")
        assert await watch.locator(".chat-text >> text='from the host in Singapore'").count() == 1


async def test_the_studio_shows_the_health_of_its_stream(studio: Page) -> None:
    await wait_until(studio, "() => document.querySelector('#meter-bitrate').textContent.includes('bit/s')")
    await wait_until(studio, "() => parseInt(document.querySelector('#meter-frames').textContent) >= 5")
    assert await studio.inner_text("#edge") == "Entering at sg"


async def test_the_console_shows_edges_and_says_why_a_route_was_chosen(
    chromium: Browser, fleet: Fleet, studio: Page
) -> None:
    async with watched_and_overseen(chromium, fleet) as (_, console):
        for edge in ("sg", "fra", "iad"):
            await console.wait_for_selector(f".map-edge[data-edge={edge}][data-status=up]", state="attached")
        await console.wait_for_selector(".route[data-edge=fra][data-path='sg>fra']")
        await wait_until(
            console,
            "() => document.querySelector('.route[data-edge=fra] .route-reason')?.textContent.includes('direct')",
        )
        await console.wait_for_selector(".map-flow[data-hop='sg>fra']", state="attached")
        await wait_until(
            console, "() => [...document.querySelectorAll('#links tr')].some(row => row.dataset.tone === 'good')"
        )


async def test_a_link_made_bad_on_the_console_moves_the_route_and_the_picture_goes_on(
    chromium: Browser, fleet: Fleet, studio: Page
) -> None:
    async with watched_and_overseen(chromium, fleet) as (watch, console):
        await console.wait_for_selector(".route[data-edge=fra][data-path='sg>fra']")
        await console.click("tr[data-key='fra|sg'] .link-name")
        await console.click("#link-bad")
        await console.wait_for_selector(".route[data-edge=fra][data-path='sg>iad>fra']", timeout=2 * WAIT_MS)
        assert "via iad" in await console.inner_text(".route[data-edge=fra] .route-reason")
        await console.wait_for_selector("#log li:has-text('direct → via iad')")
        await wait_for_motion(watch)
        assert await serving_edge(watch) == "fra"
        await console.click("#link-restore")
        await console.wait_for_selector("#link-note:has-text('Restored')")


async def test_a_viewer_whose_edge_is_killed_goes_on_at_the_next_edge(
    chromium: Browser, fleet: Fleet, studio: Page
) -> None:
    async with open_page(chromium, f"{fleet.edge_url('iad')}/watch/{ROOM}") as watch:
        await wait_for_motion(watch)
        assert await serving_edge(watch) == "iad"
        fleet.kill_edge("iad")
        await watch.wait_for_selector("body[data-state=playing]:not([data-edge=iad])")
        await wait_for_motion(watch)
        await watch.fill("#text", "still here")
        await watch.press("#text", "Enter")
        await studio.wait_for_selector("text='still here'")
    async with open_page(chromium, f"{fleet.control_url}/console") as console:
        await console.wait_for_selector(".map-edge[data-edge=iad][data-status=down]", state="attached")
