"""The pages on a phone and on a desk: nothing sticks out, everything has a name, and keys do what they say."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, Page

from tests.browser.fleet import Fleet
from tests.browser.pages import open_page, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

SIZES = ((390, 844), (844, 390), (1280, 800))


def _urls(fleet: Fleet) -> dict[str, str]:
    return {
        "watch": f"{fleet.edge_url('fra')}/watch/layout",
        "studio": f"{fleet.edge_url('fra')}/studio/layout",
        "console": f"{fleet.control_url}/console",
    }


@pytest.mark.parametrize("name", ["watch", "studio", "console"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_a_page_fits_and_names_its_controls(
    chromium: Browser, fleet: Fleet, name: str, size: tuple[int, int]
) -> None:
    async with open_page(chromium, _urls(fleet)[name], *size) as page:
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert await _nameless_controls(page) == []


async def test_keys_reach_the_composer_and_the_comments(chromium: Browser, fleet: Fleet) -> None:
    async with open_page(chromium, _urls(fleet)["watch"]) as page:
        await page.wait_for_selector("body[data-state=waiting]")
        await page.keyboard.press("d")
        assert await page.get_attribute("#fly", "aria-pressed") == "false"
        await page.keyboard.press("d")
        assert await page.get_attribute("#fly", "aria-pressed") == "true"
        await page.keyboard.press("/")
        assert await page.evaluate("document.activeElement.id") == "text"
        await page.keyboard.type("mdf/")
        assert await page.input_value("#text") == "mdf/"
        assert await page.get_attribute("#fly", "aria-pressed") == "true"


async def test_a_refused_comment_is_struck_out_and_explained(chromium: Browser, fleet: Fleet) -> None:
    async with open_page(chromium, _urls(fleet)["watch"]) as page:
        await page.wait_for_selector("body[data-state=waiting]")
        for number in range(30):
            await page.fill("#text", f"flood {number}")
            await page.press("#text", "Enter")
        await page.wait_for_selector(".chat-list li[data-refused=true]")
        await wait_until(page, "() => document.querySelector('#note').textContent !== ''")


async def _nameless_controls(page: Page) -> list[str]:
    names: list[str] = await page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, a, [role=button]')]
          .filter(element => element.checkVisibility())
          .filter(element => !(element.getAttribute('aria-label') || element.textContent.trim() ||
            element.labels?.[0]?.textContent.trim() || element.title))
          .map(element => element.outerHTML)"""
    )
    return names
