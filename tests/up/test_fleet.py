"""`tradewind up` as a newcomer meets it: three lines, pages behind them, a picture across regions, a clean end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.waiting import PATIENCE_S, Processes, end

ROOT = Path(__file__).resolve().parents[2]
LINE = re.compile(r"^(watch|studio|console) (http://127\.0\.0\.1:\d+/(?:watch/demo|studio/demo|console))$")


@contextmanager
def fleet(directory: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A running `up` and the addresses it printed."""
    command = [sys.executable, "-m", "tradewind.cli", "up", "--data-dir", str(directory), *options]
    with (directory / "up.err").open("w") as errors:
        # Narrower than any address: what is printed for people and scripts to copy is never wrapped.
        narrow = {**os.environ, "COLUMNS": "20"}
        process = subprocess.Popen(command, cwd=ROOT, env=narrow, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert process.stdout is not None
        addresses: dict[str, str] = {}
        while len(addresses) < 3:
            line = process.stdout.readline()
            assert line, f"`up` ended before its lines: {(directory / 'up.err').read_text()}"
            match = LINE.match(line.rstrip("\n"))
            assert match, f"not plain: {line!r}"
            addresses[match[1]] = match[2]
        yield process, addresses
    finally:
        end(process)


def children(directory: Path) -> dict[str, int]:
    """Names and process ids of what a fleet has started."""
    running = json.loads((directory / "up.json").read_text())
    found = {"wan": running["wan"]["pid"], "control": running["control"]["pid"]}
    return found | {name: edge["pid"] for name, edge in running["edges"].items()}


@pytest.mark.timeout(240)
def test_a_newcomer_gets_three_pages_a_bad_link_and_a_clean_end(tmp_path: Path) -> None:
    with fleet(tmp_path) as (process, addresses):
        assert list(addresses) == ["watch", "studio", "console"]
        # The picture crosses regions: whoever watches is at another edge than whoever hosts.
        assert addresses["watch"].split("/")[2] != addresses["studio"].split("/")[2]
        for address in addresses.values():
            page = httpx.get(address)
            assert page.status_code == 200
            assert page.headers["content-type"].startswith("text/html")

        demo = [sys.executable, "-m", "tradewind.cli", "demo", "link", "sg", "fra", "--data-dir", str(tmp_path)]
        bad = subprocess.run([*demo, "--loss", "10", "--delay", "400"], cwd=ROOT, capture_output=True, text=True)
        assert bad.stdout.strip() == "sg-fra: 400 ms one way, 10.0% loss", bad.stderr
        wan = json.loads((tmp_path / "up.json").read_text())["wan"]["admin"]
        conditions = {(row["from"], row["to"]): row for row in httpx.get(f"http://{wan}/links").json()["links"]}
        for pair in (("sg", "fra"), ("fra", "sg")):
            assert conditions[pair]["delay_ms"] == 400
            assert conditions[pair]["loss_ratio"] == pytest.approx(0.1)
        good = subprocess.run([*demo, "--clear"], cwd=ROOT, capture_output=True, text=True)
        assert good.stdout.startswith("sg-fra: 80 ms one way"), good.stderr

        pids = children(tmp_path)
        assert len(pids) == 5
        # One that hangs must not hold the others, nor outlive them.
        # In what time is for the grace to keep (`test_children`); here the machine would have a say.
        started = Processes(pids)
        os.kill(pids["iad"], signal.SIGSTOP)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
        assert started.left_after(0) == set(), "they have ended before the parent"
        assert not (tmp_path / "up.json").exists()


@pytest.mark.timeout(240)
def test_one_region_is_a_fleet_too(tmp_path: Path) -> None:
    with fleet(tmp_path, "--regions", "gru") as (process, addresses):
        assert addresses["watch"].split("/")[2] == addresses["studio"].split("/")[2]
        assert httpx.get(addresses["watch"]).status_code == 200
        assert list(children(tmp_path)) == ["wan", "control", "gru"]
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0


@pytest.mark.timeout(240)
def test_children_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    with fleet(tmp_path, "--regions", "fra,iad", "--no-broadcast") as (process, _addresses):
        pids = children(tmp_path)
        started = Processes(pids)
        os.kill(process.pid, signal.SIGKILL)
        assert started.left_after() == set()


def test_a_second_fleet_in_the_same_directory_is_refused_in_one_line(tmp_path: Path) -> None:
    from tradewind.common.process import DataDirectory

    held = DataDirectory(tmp_path)
    try:
        command = [sys.executable, "-m", "tradewind.cli", "up", "--data-dir", str(tmp_path)]
        refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    finally:
        held.close()
    assert refused.returncode == 1
    assert refused.stderr.startswith("tradewind: ")
    assert f"process {os.getpid()}" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
