"""The command line: names, arguments and examples. What a command does lives elsewhere and is imported when it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="tradewind",
    help="Live video between continents over measured routes, and the room around it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)

ConfigOption = Annotated[Path, typer.Option("--config", help="Settings file (TOML).", exists=True, dir_okay=False)]
ExitWithParent = Annotated[bool, typer.Option("--exit-with-parent", help="Stop when standard input closes.")]


def main() -> None:
    """Entry point of the `tradewind` script."""
    app()


@app.callback()
def _root() -> None:
    """Without this, typer would make a lone command the program itself."""


@app.command(epilog="Example: [bold]tradewind wan --config wan.toml[/bold]")
def wan(config: ConfigOption, exit_with_parent: ExitWithParent = False) -> None:
    """Run the WAN emulator: UDP links with delay, jitter, loss in bursts, a rate and blackouts."""
    from bench.wan import main as process
    from bench.wan import settings

    with _one_line_errors():
        process.run(settings.load(config), exit_with_parent=exit_with_parent)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """An expected failure is one line and exit code 1; bugs keep their traceback."""
    try:
        yield
    except (OSError, ValueError) as error:
        typer.secho(f"tradewind: {error}", err=True, fg=typer.colors.RED)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    main()
