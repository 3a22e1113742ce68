"""What can be said about the pages without running anything: complete, current, and linking to what is there."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from bench.wan.settings import WanSettings
from control.settings import ControlSettings
from edge.settings import EdgeSettings
from tests.docs.errors import error_texts
from tests.docs.pages import PAGES, ROOT, inline_commands, toml_files
from tradewind.cli import app
from tradewind.operate.reference import settings_reference


def test_every_error_that_can_be_printed_has_its_line() -> None:
    told = _plain((ROOT / "docs/trouble.md").read_text(encoding="utf-8"))
    texts = list(error_texts())
    assert len(texts) > 60, "the errors were not found"
    missing = [f"{place}: {text}" for place, text in texts if _plain(text).strip(" :;()") not in told]
    assert not missing, "docs/trouble.md lacks:\n" + "\n".join(missing)


def test_the_page_of_settings_is_current() -> None:
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    assert page == settings_reference(), "run: .venv/bin/tradewind config --markdown > docs/configuration.md"


def test_the_page_of_settings_has_every_setting() -> None:
    page = settings_reference()
    for model in (EdgeSettings, ControlSettings):
        for section, field in model.model_fields.items():
            assert f"`{section}`" in page or f"[{section}]" in page
            for name in getattr(field.annotation, "model_fields", {}):
                assert f"| `{name}` |" in page, f"{section}.{name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize(("page", "name", "text"), list(toml_files()), ids=lambda value: str(value)[:30])
def test_settings_in_pages_are_taken(page: str, name: str, text: str) -> None:
    table = tomllib.loads(text)
    if name == "wan.toml":
        WanSettings.model_validate(table)
    elif name == "control.toml":
        ControlSettings.model_validate(table)
    else:
        EdgeSettings.model_validate({"edge_id": "sg", "data_dir": "sg", **table})


@pytest.mark.parametrize("text", inline_commands())
def test_commands_in_sentences_have_their_options(text: str) -> None:
    command: Any = get_command(app)
    words = shlex.split(text)[1:]
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        assert words[0] in command.commands, f"no such command: {text}"
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} - {"--help"} <= known, text


def _plain(text: str) -> str:
    return " ".join(text.replace("`", "").split())
