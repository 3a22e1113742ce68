"""What all commands share: errors of one line each, settings of a process, files that appear when somebody is ready."""

from __future__ import annotations

import json
import os
import re
import select
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

if TYPE_CHECKING:
    from tradewind.common.settings import Loaded, ProcessSettings

SettingsT = TypeVar("SettingsT", bound="ProcessSettings")
# How often a file that somebody else will write is looked for.
LOOK_EVERY_S = 0.02


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Expected failures are lines of their own and exit code 1; bugs keep their traceback."""
    try:
        yield
    except BrokenPipeError:
        raise typer.Exit(1) from None  # whoever read our output has seen enough
    except (OSError, ValueError, ImportError, ExceptionGroup) as error:
        lines = explain(error)
        if not lines:
            raise
        for line in lines:
            typer.secho(f"tradewind: {line}", err=True, fg=typer.colors.RED)
        raise typer.Exit(1) from error


def explain(error: BaseException) -> list[str]:
    """What a user is told about an error, one line per problem; nothing when the error is a bug."""
    if isinstance(error, BaseExceptionGroup):
        parts = [explain(part) for part in error.exceptions]
        # A bug beside an expected failure must not hide behind it.
        return [line for part in parts for line in part] if all(parts) else []
    if isinstance(error, ImportError):
        # Ours names no module: it says what to build. A missing module is a bug or a broken environment.
        return [str(error)] if error.name is None else []
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return [f"{error.filename}: {error.strerror}{_FILE_ADVICE.get(type(error), '')}"]
    if isinstance(error, OSError | ValueError):
        return str(error).splitlines() or [type(error).__name__]
    return []


_FILE_ADVICE = {
    PermissionError: ": change its owner or rights, or name another place",
    FileNotFoundError: ": check the name",
    NotADirectoryError: ": a file is where a directory should be; name another place",
    FileExistsError: ": a file is where a directory should be; name another place",
    IsADirectoryError: ": a directory is where a file should be; name another file",
}


def load_process(model: type[SettingsT], config: Path | None, pairs: Sequence[str] | None) -> Loaded[SettingsT]:
    """Settings from file, environment and `--set`. Raises SettingsInvalid."""
    from tradewind.common.settings import load_settings, parse_flags

    return load_settings(model, toml_path=config, environ=os.environ, flags=parse_flags(list(pairs or [])))


def process_model(process: str) -> tuple[type[ProcessSettings], dict[str, str]]:
    """The settings of a process, and examples for those that have no default. Raises ValueError."""
    if process == "edge":
        from edge.settings import EdgeSettings

        return EdgeSettings, {"data_dir": ".tradewind/edge", "edge_id": "sg"}
    if process == "control":
        from control.settings import ControlSettings

        return ControlSettings, {"data_dir": ".tradewind/control"}
    raise ValueError(f"there is no process {process!r}: say edge or control" if process else "say edge or control")


def settings_of(process: str, config: Path | None, pairs: Sequence[str] | None) -> Loaded[Any]:
    """With an example in the place of a value that has no default, so that all settings can be shown without a file."""
    model, examples = process_model(process)
    if config is not None:
        return load_process(model, config, pairs)
    given = {pair.partition("=")[0].strip() for pair in pairs or []}
    missing = {key: value for key, value in examples.items() if key not in given}
    loaded = load_process(model, None, [*(f"{key}={value}" for key, value in missing.items()), *(pairs or [])])
    return replace(loaded, origins={**loaded.origins, **dict.fromkeys(missing, "example: it has no default")})


def wait_for(path: Path | None) -> None:
    """Until the file is there, or standard input has closed. Files that are waited for appear whole."""
    while path is not None and not path.exists():
        if sys.stdin.isatty():
            time.sleep(LOOK_EVERY_S)
        elif select.select([sys.stdin], [], [], LOOK_EVERY_S)[0] and not os.read(0, 1):
            raise typer.Exit(0)


def edge_url(place: str) -> str:
    """A URL as it is; the ready.json of an edge on this machine is waited for and read. Raises ValueError."""
    if "://" in place:
        if not re.fullmatch(r"https?://[^/\s?#]+/?", place):
            raise ValueError(f"{place!r} is no edge's URL: write http://host:port or https://host, without a path")
        return place
    path = Path(place)
    if path.suffix != ".json":
        raise ValueError(
            f"{place!r} is no edge: write its URL, for example http://127.0.0.1:7780, or the path of its ready.json"
        )
    if not path.exists():
        typer.echo(f"waiting for {path}", err=True)
    wait_for(path)
    try:
        return f"http://127.0.0.1:{json.loads(path.read_text(encoding='utf-8'))['http']}"
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} is no edge's ready.json: name the one in the edge's data_dir") from None
