"""An edge process: what it says when it cannot start, and how it leaves."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from edge.main import run
from edge.settings import EdgeSettings
from tests.edge_process import ROOT, edge_process, write_identity
from tests.waiting import PATIENCE_S, Processes
from tradewind.common.process import DataDirectory, PortTaken
from tradewind.common.settings import Loaded
from tradewind.v1.room_messages import Goodbye, Hello, parse_server_message

START_S = 60.0


def start_refused(data_dir: Path, *settings: str) -> str:
    """The one line of an edge that does not start."""
    write_identity(data_dir, "sg")
    ports = [f"{name}.port=0" for name in ("http", "media", "trunk", "probe", "metrics")]
    command = [sys.executable, "-c", "from tradewind.cli import main; main()", "edge"]
    for value in (f"data_dir={data_dir}", "edge_id=sg", *ports, *settings):
        command += ["--set", value]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.strip().splitlines()
    return line


@pytest.mark.parametrize(
    ("setting", "kind"),
    [("http.port", socket.SOCK_STREAM), ("media.port", socket.SOCK_DGRAM)],
)
def test_taken_port_is_one_line_with_port_owner_and_setting(
    tmp_path: Path, setting: str, kind: socket.SocketKind
) -> None:
    with socket.socket(socket.AF_INET, kind) as owner:
        # A socket of an earlier run that lets others share its port: binding beside it would succeed and serve nothing.
        owner.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        owner.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            owner.listen()
        port = owner.getsockname()[1]
        line = start_refused(tmp_path / "sg", f"{setting}={port}")
    assert f"port {port} on 127.0.0.1 is taken" in line
    assert f"process {os.getpid()}" in line
    assert f"set {setting}" in line
    assert not (tmp_path / "sg" / "ready.json").exists()


@pytest.mark.parametrize("name", ["http", "media", "trunk", "probe", "metrics"])
def test_every_port_is_looked_at_before_anything_starts(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.main.configure_logging", lambda **_: None)
    kind = socket.SOCK_STREAM if name in ("http", "metrics") else socket.SOCK_DGRAM
    settings = {section: {"port": 0} for section in ("http", "media", "trunk", "probe", "metrics")}
    with socket.socket(socket.AF_INET, kind) as owner:
        owner.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        owner.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            owner.listen()
        settings[name]["port"] = port = owner.getsockname()[1]
        edge = EdgeSettings.model_validate({"edge_id": "sg", "data_dir": tmp_path / "sg", **settings})
        with pytest.raises(PortTaken) as taken:
            run(Loaded(edge, {}, ()))
    assert f"port {port} on 127.0.0.1 is taken" in str(taken.value)
    assert f"process {os.getpid()}" in str(taken.value)
    assert f"set {name}.port" in str(taken.value)
    assert [path.name for path in (tmp_path / "sg").iterdir()] == ["lock"]
    DataDirectory(tmp_path / "sg").close()


def test_leaves_with_a_word_to_everybody_and_keeps_its_directory_to_itself(tmp_path: Path) -> None:
    with edge_process(tmp_path) as edge:
        assert f"in use by process {edge.pid}" in start_refused(tmp_path / "sg")
        ready = json.loads((tmp_path / "sg" / "ready.json").read_text())
        assert set(ready) == {"edge_id", "pid", "http", "media", "trunk", "probe", "metrics"}
        for surface in (edge.http, edge.metrics):
            assert httpx.get(f"{surface}/livez").text == "alive\n"
            assert httpx.get(f"{surface}/readyz").json() == {"ready": True, "missing": {}}
        with connect(edge.http.replace("http", "ws", 1) + "/v1/rooms/demo/socket", compression=None) as page:
            page.send(Hello(name="Mei").encode())
            page.recv(timeout=PATIENCE_S)
            running = Processes({"sg": edge.pid})
            os.kill(edge.pid, signal.SIGTERM)
            messages = [parse_server_message(str(message)) for message in page]
            assert messages[-1] == Goodbye(reason="shutting_down", retry=True)
            assert page.protocol.close_code == 1001
        assert running.left_after() == set()
        assert not (tmp_path / "sg" / "ready.json").exists()
