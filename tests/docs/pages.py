"""README and the pages of docs/: their fenced blocks, and the commands in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
SHELL = ("sh", "bash", "shell", "console")
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Command:
    """One line that a reader would type."""

    page: str
    text: str


def commands() -> list[Command]:
    """In the order of the pages; each once a page."""
    found: dict[Command, None] = {}
    for page in PAGES:
        for language, body in blocks(page):
            if language in SHELL:
                found.update((Command(page.name, line), None) for line in _lines(body))
    return list(found)


def toml_files() -> Iterator[tuple[str, str, str]]:
    """(page, file name, text) of each settings block; one without a name is part of some edge's file."""
    for page in PAGES:
        for number, (language, body) in enumerate(blocks(page)):
            if language == "toml":
                name = re.match(r"# (\S+\.toml)\n", body)
                yield page.name, name[1] if name else f"part-{page.stem}-{number}", body


def inline_commands() -> list[str]:
    """`tradewind …` within sentences and tables."""
    found: dict[str, None] = {}
    for page in PAGES:
        text = _FENCE.sub("", page.read_text(encoding="utf-8"))
        for span in re.findall(r"`(?:\.venv/bin/)?(tradewind [a-z][^`]*)`", text):
            # A span that leaves something out is no command.
            if "…" not in span:
                found[" ".join(span.split())] = None
    return list(found)


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """(language, text) of each fenced block."""
    for fence in _FENCE.finditer(page.read_text(encoding="utf-8")):
        indent = len(fence["indent"])
        body = "".join(f"{line[indent:]}\n" for line in fence["body"].splitlines())
        yield fence["language"], body


def _lines(body: str) -> Iterator[str]:
    for line in body.replace("\\\n", " ").splitlines():
        text = line.strip().removeprefix("$ ")
        if text and not text.startswith("#"):
            yield text
