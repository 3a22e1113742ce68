"""The command line: names, arguments and examples. What a command does lives elsewhere and is imported when it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from tradewind.common.settings import Loaded, ProcessSettings

SettingsT = TypeVar("SettingsT", bound="ProcessSettings")

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


SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, over file and environment.")
]
OptionalConfig = Annotated[
    Path | None, typer.Option("--config", help="Settings file (TOML).", exists=True, dir_okay=False)
]


@app.command(epilog="Example: [bold]tradewind edge --config sg.toml --set http.port=8080[/bold]")
def edge(config: OptionalConfig = None, settings: SetOption = None, exit_with_parent: ExitWithParent = False) -> None:
    """Run an edge: takes publishers and viewers near it, and trunks to other edges."""
    from edge import main as process
    from edge.settings import EdgeSettings

    with _one_line_errors():
        process.run(_load(EdgeSettings, config, settings), exit_with_parent=exit_with_parent)


@app.command(epilog="Example: [bold]tradewind control --config control.toml[/bold]")
def control(
    config: OptionalConfig = None, settings: SetOption = None, exit_with_parent: ExitWithParent = False
) -> None:
    """Run the control plane: enrols edges, hears their measurements, sends them routes; serves the console."""
    from control import main as process
    from control.settings import ControlSettings

    with _one_line_errors():
        process.run(_load(ControlSettings, config, settings), exit_with_parent=exit_with_parent)


@app.command(
    epilog="Examples: [bold]tradewind up[/bold], [bold]tradewind up --regions sg,fra,iad,bom --port-base 8000[/bold]"
)
def up(
    regions: Annotated[
        str, typer.Option(help="Metros with an edge; the broadcast enters at the first.")
    ] = "sg,fra,iad",
    port_base: Annotated[int, typer.Option(min=0, max=65000, help="First of the TCP and UDP ports; 0: any.")] = 0,
    data_dir: Annotated[Path, typer.Option(help="Settings, identities and logs of the children.")] = Path(".tradewind"),
    broadcast: Annotated[bool, typer.Option(help="Publish the test picture into room demo.")] = True,
) -> None:
    """Start control and edges on this machine, with emulated links between regions and a live broadcast."""
    from tradewind.up import main as process
    from tradewind.up.regions import parse_regions

    with _one_line_errors():
        plan = process.UpPlan(
            regions=parse_regions(regions), port_base=port_base, data_dir=data_dir, broadcast=broadcast
        )
        raise typer.Exit(process.run(plan))


publish_app = typer.Typer(no_args_is_help=True, help="Publish into a room.")
app.add_typer(publish_app, name="publish")


@publish_app.callback()
def _publish() -> None:
    """Keeps `publish` a group while it has one command."""


@publish_app.command(
    "test", epilog="Example: [bold]tradewind publish test --room demo --edge http://127.0.0.1:7780[/bold]"
)
def publish_test(
    room: Annotated[str, typer.Option(help="Room to publish into.")] = "demo",
    edge: Annotated[str, typer.Option(help="The edge's URL.")] = "http://127.0.0.1:7780",
    token: Annotated[str, typer.Option(envvar="TRADEWIND_TOKEN", help="Access token of a host.")] = "",
    check: Annotated[str, typer.Option(help="Another edge's URL: watch there and say when frames arrive.")] = "",
    title: Annotated[str, typer.Option(help="Text in the picture.")] = "Tradewind",
    exit_with_parent: ExitWithParent = False,
) -> None:
    """Publish a moving picture with a clock and a 440 Hz tone until interrupted."""
    from tradewind.up import broadcast

    with _one_line_errors():
        broadcast.main(room=room, edge=edge, token=token, check=check, title=title, exit_with_parent=exit_with_parent)


def _load(model: type[SettingsT], config: Path | None, pairs: list[str] | None) -> Loaded[SettingsT]:
    import os

    from tradewind.common.settings import load_settings, parse_flags

    return load_settings(model, toml_path=config, environ=os.environ, flags=parse_flags(pairs or []))


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
