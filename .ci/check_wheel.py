"""Builds the wheel, installs it into an empty environment outside the checkout, starts an edge and loads its watch
page.

What this finds that tests in the checkout cannot: files that the wheel forgot, imports that only work beside the
sources.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 60.0

EDGE_SETTINGS = """
edge_id = "sg"
data_dir = "{data_dir}"
[http]
port = 0
[media]
port = 0
[trunk]
port = 0
[probe]
port = 0
[metrics]
port = 0
[rooms]
open_rooms = ["demo"]
"""


def main() -> int:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    assert uv is not None, "uv stands in the environment that runs this"
    with tempfile.TemporaryDirectory(prefix="tradewind-wheel-") as scratch:
        outside = Path(scratch)
        dist, venv = outside / "dist", outside / "venv"
        _run(
            uv, "build", "-q", "--wheel", "--no-build-isolation", "--python", sys.executable, "-o", str(dist), str(ROOT)
        )
        (wheel,) = dist.glob("*.whl")
        _run(uv, "venv", "-q", "--python", sys.executable, str(venv))
        python = str(venv / "bin" / "python")
        _run(uv, "pip", "install", "-q", "--python", python, "--require-hashes", "-r", str(ROOT / "requirements.lock"))
        _run(uv, "pip", "install", "-q", "--python", python, "--no-deps", str(wheel))
        tradewind = str(venv / "bin" / "tradewind")
        _run(tradewind, "--help", cwd=outside, quiet=True)
        _check_edge(tradewind, outside)
    print("the wheel installs, starts and serves the watch page")
    return 0


def _check_edge(tradewind: str, outside: Path) -> None:
    _run(tradewind, "dev-certs", str(outside / "certs"), "--edges", "sg", cwd=outside, quiet=True)
    data_dir = outside / "certs" / "sg"
    config = outside / "sg.toml"
    config.write_text(EDGE_SETTINGS.format(data_dir=data_dir), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    edge = subprocess.Popen([tradewind, "edge", "--config", str(config)], cwd=outside, env=environment)
    try:
        ready = _wait_for_ready(data_dir / "ready.json", edge)
        page = _get(f"http://127.0.0.1:{ready['http']}/watch/demo")
        assert "<!doctype html" in page.lower(), "the watch page is not HTML"
        assets = [part.split('"')[0] for part in page.split('="') if part.startswith("/assets/")]
        assert assets, "the watch page names no assets"
        for asset in assets:
            _get(f"http://127.0.0.1:{ready['http']}{asset}")
        edge.send_signal(signal.SIGTERM)
        assert edge.wait(10) == 0, f"the edge ended with {edge.returncode}"
    finally:
        if edge.poll() is None:
            edge.kill()
            edge.wait()


def _wait_for_ready(path: Path, process: subprocess.Popen[bytes]) -> dict[str, int]:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"the edge from the wheel ended with {process.returncode}; its reason stands above")
        if path.exists():
            ready: dict[str, int] = json.loads(path.read_text())
            return ready
        time.sleep(0.1)
    raise SystemExit(f"the edge from the wheel did not become ready within {START_TIMEOUT_S:.0f} s")


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - our own loopback URL
        body: str = response.read().decode("utf-8", "replace")
    return body


def _run(*command: str, cwd: Path | None = None, quiet: bool = False) -> None:
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL if quiet else None)


if __name__ == "__main__":
    sys.exit(main())
