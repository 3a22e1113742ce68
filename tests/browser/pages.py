"""What a test does on the pages, and what it reads from them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from playwright.async_api import Browser, Page

# Generous: a shared machine decodes, encodes and routes on two cores. Each wait ends as soon as its event has come.
WAIT_MS = 30_000

# A tiny copy of the picture as numbers; two of them differ when the picture moves.
_THUMBNAIL = """() => {
  const video = document.querySelector('video');
  const canvas = document.createElement('canvas');
  canvas.width = 32; canvas.height = 18;
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0, 32, 18);
  return Array.from(context.getImageData(0, 0, 32, 18).data);
}"""


async def wait_until(page: Page, condition: str, argument: object = None) -> None:
    """Waits until the JavaScript function `condition` of one argument is true in the page.

    Playwright's own `wait_for_function` evaluates strings inside the page, which the pages' content security policy
    rightly forbids.
    """
    await page.evaluate(
        f"""argument => new Promise((resolve, reject) => {{
          const condition = {condition};
          const patience = setTimeout(() => reject(new Error('never true: ' + condition)), {WAIT_MS});
          const check = () => {{
            if (!condition(argument)) return void setTimeout(check, 100);
            clearTimeout(patience);
            resolve();
          }};
          check();
        }})""",
        argument,
    )


@asynccontextmanager
async def open_page(browser: Browser, url: str, width: int = 1280, height: int = 800) -> AsyncIterator[Page]:
    """A page in a context of its own. An exception in it, something its own policy forbids, or a request to a host off
    this machine fails the test."""
    context = await browser.new_context(viewport={"width": width, "height": height})
    page = await context.new_page()
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if _is_violation(message.text) else None)
    strangers: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: strangers.append(request.url) if _is_stranger(request.url) else None)
    page.set_default_timeout(WAIT_MS)
    try:
        await page.goto(url)
        yield page
        assert not errors, errors
        assert not strangers, strangers
    finally:
        await context.close()


async def go_live(page: Page) -> None:
    """On a studio page: the fake camera, small, on air."""
    await page.select_option("#quality", "0")
    await page.click("#source-camera")
    await page.wait_for_selector("#go:enabled")
    await page.click("#go")
    await page.wait_for_selector("body[data-state=live]")


async def wait_for_motion(page: Page) -> None:
    """On a watch page: frames are decoded, time passes, and pixels change."""
    await page.wait_for_selector("body[data-state=playing]")
    await wait_until(page, "() => document.querySelector('video').videoWidth > 0")
    before = await page.evaluate("document.querySelector('video').currentTime")
    await wait_until(page, "before => document.querySelector('video').currentTime > before + 0.5", before)
    thumbnail = await page.evaluate(_THUMBNAIL)
    moved = f"before => ({_THUMBNAIL})().some((value, index) => Math.abs(value - before[index]) > 24)"
    await wait_until(page, moved, thumbnail)


async def serving_edge(page: Page) -> str:
    """On a watch page: the edge it plays from, with the reason of its last move if there was one."""
    edge, moved = await page.evaluate("[document.body.dataset.edge, document.body.dataset.moved]")
    return edge if moved is None else f"{edge} after {moved}"


async def frames_decoded(page: Page) -> int:
    """Frames decoded in the present session, as the page shows them once a second."""
    return int(await page.evaluate("document.body.dataset.framesDecoded ?? '0'"))


def _is_violation(text: str) -> bool:
    return "Content Security Policy" in text


def _is_stranger(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "https", "ws", "wss") and parts.hostname != "127.0.0.1"
