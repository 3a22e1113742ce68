"""What every server process does around its work."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tradewind.common.process import (
    DataDirectory,
    DirectoryInUse,
    PortTaken,
    StartError,
    listen_tcp,
    port_owner,
    probe_port,
)

ROOT = Path(__file__).resolve().parents[2]


def test_directory_has_one_owner_and_says_who(tmp_path: Path) -> None:
    first = DataDirectory(tmp_path / "a" / "b")
    with pytest.raises(DirectoryInUse, match=f"in use by process {os.getpid()}"):
        DataDirectory(tmp_path / "a" / "b")
    first.close()
    DataDirectory(tmp_path / "a" / "b").close()


def test_ready_file_is_of_this_run_only(tmp_path: Path) -> None:
    (tmp_path / "ready.json").write_text("of an earlier run")
    directory = DataDirectory(tmp_path)
    assert not (tmp_path / "ready.json").exists()
    directory.write_ready({"http": 1})
    assert json.loads((tmp_path / "ready.json").read_text()) == {"http": 1}
    directory.close()
    assert not (tmp_path / "ready.json").exists()


def test_taken_port_is_one_line_with_port_owner_and_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as owner:
        port = owner.getsockname()[1]
        for attempt in (lambda: probe_port("tcp", "127.0.0.1", port, "http.port"),
                        lambda: listen_tcp("127.0.0.1", port, "http.port")):  # fmt: skip
            with pytest.raises(PortTaken) as raised:
                attempt()
            text = str(raised.value)
            assert f"tcp port {port} on 127.0.0.1 is taken" in text
            assert f"process {os.getpid()}" in text
            assert "set http.port" in text
            assert "\n" not in text


def test_port_shared_by_reuseport_is_found_taken() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as owner:
        owner.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        owner.bind(("127.0.0.1", 0))
        port = owner.getsockname()[1]
        with pytest.raises(PortTaken, match=f"udp port {port}"):
            probe_port("udp", "127.0.0.1", port, "media.port")
        assert port_owner("udp", port).endswith(f"process {os.getpid()}")
    probe_port("udp", "127.0.0.1", port, "media.port")


def test_port_zero_and_free_ports_are_fine() -> None:
    probe_port("udp", "nowhere.invalid", 0, "media.port")
    with listen_tcp("127.0.0.1", 0, "http.port") as listener:
        assert listener.getsockname()[1] > 0


def test_address_of_another_machine_names_the_setting() -> None:
    with pytest.raises(StartError, match=r"http\.port"):
        listen_tcp("203.0.113.7", 0, "http.port")
    with pytest.raises(StartError, match="no address"):
        listen_tcp("nowhere.invalid", 0, "http.port")


CHILD = """
import asyncio, sys
from tradewind.common.process import watch_stop
async def main():
    stop = asyncio.Event()
    undo = watch_stop(stop, exit_with_parent="parent" in sys.argv)
    print("waiting", flush=True)
    await stop.wait()
    undo()
    print("stopped", flush=True)
asyncio.run(main())
"""


async def child(*arguments: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"waiting\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_stop_it(number: signal.Signals) -> None:
    process = await child()
    process.send_signal(number)
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert (out, process.returncode) == (b"stopped\n", 0)


async def test_closed_input_stops_it_when_asked_to() -> None:
    process = await child("parent")
    assert process.stdin is not None
    process.stdin.write(b"noise")
    process.stdin.close()
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert out == b"stopped\n"


async def test_closed_input_means_nothing_otherwise() -> None:
    process = await child()
    assert process.stdin is not None
    process.stdin.close()
    assert process.returncode is None
    process.terminate()
    await asyncio.wait_for(process.communicate(), 60)
