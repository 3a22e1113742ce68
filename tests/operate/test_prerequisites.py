"""A machine that lacks something is told so in one line per missing thing, with the way to get it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / ".ci" / "prerequisites"
TOOLS = ("cc", "make", "perl", "cargo", "npm", "node")


def machine(directory: Path, *, without: str = "", python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """Runs the script on a machine that has nothing but what it names."""
    directory.mkdir(exist_ok=True)
    versions = {"cargo": "echo cargo 1.95.0", "node": "[ $1 = --version ] && echo v20.20.2; exit 0"}
    for tool in TOOLS:
        (directory / tool).write_text(f"#!/bin/sh\n{versions.get(tool, 'exit 0')}\n")
        (directory / tool).chmod(0o755)
    (directory / "python3").symlink_to(python)
    for tool in ("cut", "sh"):
        (directory / tool).symlink_to(shutil.which(tool) or tool)
    if without:
        (directory / without).unlink()
    return subprocess.run(
        ["/bin/sh", str(SCRIPT)], env={"PATH": str(directory)}, capture_output=True, text=True, check=False
    )


def test_a_complete_machine_hears_nothing(tmp_path: Path) -> None:
    result = machine(tmp_path / "bin")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("tool", [*TOOLS, "python3"])
def test_what_is_missing_is_one_line_with_the_way_to_get_it(tool: str, tmp_path: Path) -> None:
    result = machine(tmp_path / "bin", without=tool)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("missing: ")
    assert "Get it: " in line
    assert ("Python" if tool == "python3" else tool) in line


def test_an_old_compiler_is_named_with_its_version(tmp_path: Path) -> None:
    result = machine(tmp_path / "bin")
    assert result.returncode == 0
    (tmp_path / "bin" / "cargo").write_text("#!/bin/sh\necho cargo 1.75.0\n")
    old = subprocess.run(
        ["/bin/sh", str(SCRIPT)], env={"PATH": str(tmp_path / "bin")}, capture_output=True, text=True, check=False
    )
    assert old.returncode == 1
    assert "1.75.0" in old.stderr


@pytest.mark.parametrize(("tool", "told"), [("cc", "headers"), ("perl", "modules")])
def test_half_a_tool_is_named_too(tool: str, told: str, tmp_path: Path) -> None:
    assert machine(tmp_path / "bin").returncode == 0
    (tmp_path / "bin" / tool).write_text("#!/bin/sh\nexit 1\n")
    half = subprocess.run(
        ["/bin/sh", str(SCRIPT)], env={"PATH": str(tmp_path / "bin")}, capture_output=True, text=True, check=False
    )
    assert half.returncode == 1
    (line,) = half.stderr.splitlines()
    assert line.startswith("missing: ")
    assert told in line
    assert "Get it: " in line
