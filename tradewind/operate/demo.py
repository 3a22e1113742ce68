"""Making an emulated link bad, by way of the control that a running `tradewind up` started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx

TIMEOUT_S = 5.0


class DemoError(OSError):
    """There is no demonstration to change, or it refused; the text says what to do."""


def change_link(
    data_dir: Path, a: str, b: str, *, loss_percent: float | None, delay_ms: float | None, blackout: bool, clear: bool
) -> str:
    """Changes both directions of a link; a line that says how it is now. Raises DemoError."""
    a, b = a.lower(), b.lower()  # as `--regions` reads them
    change: dict[str, Any] = {"a": a, "b": b}
    if clear:
        change["clear"] = True
    else:
        if loss_percent is not None:
            change["loss_ratio"] = loss_percent / 100
        if delay_ms is not None:
            change["delay_ms"] = delay_ms
        if blackout:
            change["blackout"] = True
    answer = _post(f"{_control_url(data_dir)}/v1/demo/links", change)
    for link in answer["links"]:
        if {link["a"], link["b"]} == {a, b}:
            state = (
                "blackout" if link["blackout"] else f"{link['delay_ms']:g} ms one way, {link['loss_ratio']:.1%} loss"
            )
            return f"{a}-{b}: {state}"
    return f"{a}-{b}: changed"


def _control_url(data_dir: Path) -> str:
    path = data_dir / "up.json"
    try:
        running: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DemoError(f"no fleet is running here ({path} is missing): start one with `tradewind up`") from None
    except ValueError:
        raise DemoError(f"{path} cannot be read: start the fleet again with `tradewind up`") from None
    return f"http://127.0.0.1:{running['control']['http']}"


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        response = httpx.post(url, json=body, timeout=TIMEOUT_S, trust_env=False)
    except httpx.HTTPError as error:
        raise DemoError(f"{url} does not answer ({error}): is `tradewind up` still running?") from None
    if response.status_code >= 400:
        try:
            detail = response.json()["detail"]
        except (ValueError, KeyError):
            detail = response.text[:200]
        raise DemoError(f"control refused: {detail}")
    content: dict[str, Any] = response.json() if response.content else {"links": []}
    return content
