"""Where the pages' commands run: a directory with the pages' own settings files, and what the pages start.

Addresses of the pages become loopback, ports become free ones, by the environment and by a table of names; the commands
and files stay as they are printed.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from tests.docs.pages import ROOT, toml_files
from tests.waiting import wait_for

READY_S = 90.0
STOP_S = 30.0
RUN_S = 60.0
# make ends itself by the signal, after what it runs has ended.
ENDED_WELL = (0, -signal.SIGINT, 128 + signal.SIGINT)
SERVER_STATE = "/var/lib/tradewind"

_ANY_PORTS = {
    f"TRADEWIND_{name}__PORT": "0" for name in ("HTTP", "MEDIA", "TRUNK", "PROBE", "METRICS", "GRPC", "ENROLL")
}
_LOOPBACK = {f"TRADEWIND_{name}__HOST": "127.0.0.1" for name in ("MEDIA", "TRUNK", "PROBE", "GRPC", "ENROLL")}
_BOUND = {f"TRADEWIND_{name}__PUBLIC_ADDRESS": "" for name in ("TRUNK", "PROBE", "GRPC")}


class Place:
    """The reader's machine. Processes are started once, by the command that the page gives for it."""

    def __init__(self, directory: Path) -> None:
        self.work = directory / "work"
        self.state = directory / "state"
        self.names = {SERVER_STATE: str(self.state)}
        self.environment = {**_ANY_PORTS, **_LOOPBACK, **_BOUND, "TRADEWIND_MEDIA__ANNOUNCE": "", "NO_COLOR": "1"}
        self._running: dict[str, Process] = {}
        for folder in (self.work, self.state, directory / "bin"):
            folder.mkdir()
        shim = directory / "bin" / "tradewind"
        shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m tradewind.cli "$@"\n')
        shim.chmod(0o755)
        self._path = f"{shim.parent}{os.pathsep}{os.environ['PATH']}"
        for _page, name, text in toml_files():
            assert not (self.work / name).exists(), f"{name} is on two pages: which one is meant?"
            (self.work / name).write_text(self.here(text))

    def here(self, text: str) -> str:
        """A page's text with the names and addresses of this place."""
        for name, mine in self.names.items():
            text = text.replace(name, mine)
        return text

    def run(self, text: str, *, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        """A command to its end."""
        return subprocess.run(
            ["bash", "-c", self.here(text)],
            cwd=cwd or self.work,
            env=self._variables(variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RUN_S,
            check=False,
        )

    def start(self, name: str, text: str, ready: Callable[[Process], bool], *, cwd: Path | None = None) -> Process:
        """A command that stays, once it says that it is ready; the same one for who asks again."""
        if name not in self._running:
            out = self.work / f"{name}.out"
            process = Process(self.here(text), self._variables({}), cwd or self.work, out)
            self._running[name] = process
            process.wait(lambda: ready(process), READY_S)
        return self._running[name]

    def stop(self) -> list[str]:
        """Ends everything as Ctrl-C does, the last started first; what did not end well."""
        return [
            f"{name}: {problem}" for name, process in reversed(self._running.items()) if (problem := process.stop())
        ]

    def end(self, name: str) -> None:
        """One of them now, which must end well."""
        assert self._running.pop(name).stop() == ""

    def _variables(self, more: Mapping[str, str]) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("TRADEWIND_")}
        return {**kept, "PYTHONPATH": str(ROOT), "PATH": self._path, **self.environment, **more}


class Process:
    """A running command and what it has printed."""

    def __init__(self, text: str, environment: Mapping[str, str], cwd: Path, out: Path) -> None:
        self.text = text
        self._out = out
        with out.open("w") as file:
            self._process = self._start(environment, cwd, file)

    def _start(self, environment: Mapping[str, str], cwd: Path, file: IO[str]) -> subprocess.Popen[bytes]:
        # A session of its own is to Ctrl-C what a terminal is: it reaches all of them.
        return subprocess.Popen(
            ["bash", "-c", self.text],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )

    @property
    def printed(self) -> str:
        """Both outputs so far."""
        return self._out.read_text(encoding="utf-8", errors="replace")

    def wait(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Until it is ready; fails with what it printed when it ends first or takes too long."""

        def is_ready() -> bool:
            if ready():
                return True
            assert self._process.poll() is None, f"{self.text!r} ended:\n{self.printed[-3000:]}"
            return False

        wait_for(is_ready, lambda: f"{self.text!r} is not ready:\n{self.printed[-3000:]}", timeout_s)

    def stop(self) -> str:
        """Empty when it ended well and in time."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
        try:
            status = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            return f"did not end within {STOP_S:.0f} s"
        return "" if status in ENDED_WELL else f"ended with status {status}:\n{self.printed[-1000:]}"


def _end_with_parent() -> None:
    """A test run that is killed leaves no fleet behind: prctl(2), PR_SET_PDEATHSIG."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def ready_file(path: Path) -> dict[str, Any]:
    """What a server has written when it serves."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def spare_copy(place: Place, name: str) -> Path:
    """A copy of the servers' state, without locks and sockets, for a command that removes it."""
    folder = place.work / name
    shutil.copytree(place.state, folder, ignore=shutil.ignore_patterns("lock", "grpc"))
    return folder


def says(pattern: str) -> Callable[[Process], bool]:
    """Readiness by a printed line."""
    return lambda process: re.search(pattern, process.printed, re.MULTILINE) is not None
