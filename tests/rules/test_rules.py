"""Rules of the house that linters do not know."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Decisions are pure: they take `now` and snapshots as arguments.
PURE = ("control/brain", "bench/wan/model.py", "tradewind/up/plan.py", "tradewind/up/regions.py")
IMPURE_MODULES = {
    *("asyncio", "datetime", "google", "grpc", "httpx", "logging", "os", "pathlib", "queue", "random", "secrets"),
    *("select", "socket", "structlog", "subprocess", "sys", "threading", "time", "uvloop"),
}

# Over 600 lines asks for a reason, over 800 for a new file. A test file that covers one module whole may be longer.
LINES_MAX = 800
TEST_LINES_MAX = 1000
GENERATED = re.compile(r"tradewind/v1/|\.lock$|package-lock\.json$")


def tracked(*suffixes: str) -> Iterator[Path]:
    """Source files below the packages, without what was built or installed."""
    for folder in ("edge", "control", "tradewind", "bench", "tests", "protos", "web/src"):
        for path in sorted((ROOT / folder).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if path.suffix in suffixes and not GENERATED.search(name) and "node_modules" not in path.parts:
                yield path


def python_files(place: str) -> list[Path]:
    path = ROOT / place
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


@pytest.mark.parametrize("place", PURE)
def test_pure_code_has_no_clock_socket_or_chance(place: str) -> None:
    files = python_files(place)
    assert files, f"{place} is gone: change the list of pure places"
    for path in files:
        for module, line in runtime_imports(path):
            name = module.split(".")[0]
            assert name not in IMPURE_MODULES, f"{path.relative_to(ROOT)}:{line} imports {module}"
            assert not module.startswith("tradewind.v1"), f"{path.relative_to(ROOT)}:{line} imports {module}"


def test_the_packet_path_core_reads_no_clock_and_opens_no_socket() -> None:
    core = ROOT / "edge/dataplane/core/src"
    forbidden = re.compile(
        r"std::(net::(UdpSocket|TcpStream)|thread|time::(Instant|SystemTime)|fs)\b|Instant::now|SystemTime::now"
    )
    for path in sorted(core.rglob("*.rs")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if not line.lstrip().startswith("//"):
                assert not forbidden.search(line), f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
    front = (core / "lib.rs").read_text(encoding="utf-8")
    assert "#![forbid(unsafe_code)]" in front
    assert "#![deny(missing_docs)]" in front


def test_files_stay_small_enough_to_read() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in tracked(".py", ".rs", ".ts")
        if (count := len(path.read_text(encoding="utf-8").splitlines()))
        > (TEST_LINES_MAX if path.stem.startswith("test") else LINES_MAX)
    }
    assert not long, f"too long to read: {long}"


def test_nothing_is_left_for_later_in_a_comment() -> None:
    words = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked(".py", ".rs", ".ts", ".proto")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if words.search(line)
    ]
    assert not found


def test_the_front_door_stays_empty() -> None:
    # Generated code lives below it, and anything here would shadow those imports.
    module = ast.parse((ROOT / "tradewind/__init__.py").read_text(encoding="utf-8"))
    assert len(module.body) == 1
    assert ast.get_docstring(module)


def runtime_imports(path: Path) -> Iterator[tuple[str, int]]:
    """Imports that run; those for type checkers alone do no harm."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                child.names = []  # type: ignore[attr-defined]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.names and node.module:
            yield node.module, node.lineno
