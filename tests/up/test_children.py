"""Children that hang, die or speak: what the parent makes of it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tradewind.up.children import STOP_GRACE_S, Child, ChildFailedError, Children

PROMISED_S = 5.0


def script(text: str) -> tuple[str, ...]:
    return (sys.executable, "-c", text)


DEAF = script(
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
)


async def line(child: Child) -> str:
    assert child.process.stdout is not None
    return (await asyncio.wait_for(child.process.stdout.readline(), 60)).decode().strip()


@pytest.mark.parametrize("hang", [signal.SIGCONT, signal.SIGSTOP], ids=["deaf", "stopped"])
async def test_a_child_that_hangs_is_ended_all_the_same(hang: signal.Signals, tmp_path: Path) -> None:
    children = Children(tmp_path, command=DEAF, grace_s=0.1)
    child = await children.start("edge", capture=True)
    assert await line(child) == "deaf"
    os.kill(child.pid, hang)
    # By itself it would go on for a minute.
    async with asyncio.timeout(30):
        await children.stop()
    assert child.process.returncode == -signal.SIGKILL


def test_the_grace_leaves_time_for_the_rest_of_the_promise() -> None:
    assert STOP_GRACE_S <= PROMISED_S - 0.5


async def test_a_child_that_says_why_it_ends_is_quoted_alone(tmp_path: Path) -> None:
    text = "import sys; print('{}', file=sys.stderr); sys.exit('tradewind: tcp port 1 is taken')"
    child = await Children(tmp_path, command=script(text)).start("control")
    with pytest.raises(ChildFailedError) as failed:
        await child.wait_ready(tmp_path / "ready.json", 60)
    assert str(failed.value) == "control: tcp port 1 is taken"


async def test_a_child_that_breaks_is_shown_with_the_end_of_its_log(tmp_path: Path) -> None:
    child = await Children(tmp_path, command=script("1 / 0")).start("control")
    with pytest.raises(ChildFailedError, match="control ended with status 1") as failed:
        await child.wait_ready(tmp_path / "ready.json", 60)
    assert "ZeroDivisionError" in str(failed.value)
    assert str(tmp_path / "control.log") in str(failed.value)


async def test_settings_meant_for_servers_do_not_reach_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWIND_HTTP__PORT", "8080")
    text = "import os; print([name for name in os.environ if name.startswith('TRADEWIND_')], flush=True)"
    child = await Children(tmp_path, command=script(text)).start("edge", capture=True)
    assert await line(child) == "[]"
    await child.process.wait()
