"""The command line: names, arguments and examples. What a command does lives elsewhere and is imported when it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

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

ConfigOption = Annotated[Path, typer.Option("--config", help="Settings file (TOML).")]
# For `tradewind up`: processes load their libraries while those before them start, and read their settings then.
WaitForConfig = Annotated[bool, typer.Option("--wait-for-config", hidden=True)]
ExitWithParent = Annotated[bool, typer.Option("--exit-with-parent", help="Stop when standard input closes.")]


def main() -> None:
    """Entry point of the `tradewind` script."""
    app()


@app.callback()
def _root() -> None:
    """Without this, typer would make a lone command the program itself."""


@app.command(epilog="Example: [bold]tradewind wan --config wan.toml[/bold]")
def wan(config: ConfigOption, exit_with_parent: ExitWithParent = False, wait_for_config: WaitForConfig = False) -> None:
    """Run the WAN emulator: UDP links with delay, jitter, loss in bursts, a rate and blackouts."""
    from bench.wan import main as process
    from bench.wan import settings

    with _one_line_errors():
        _wait_for(config if wait_for_config else None)
        process.run(settings.load(config), exit_with_parent=exit_with_parent)


SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting, over file and environment.")
]
OptionalConfig = Annotated[Path | None, typer.Option("--config", help="Settings file (TOML).")]


@app.command(epilog="Example: [bold]tradewind edge --config sg.toml --set http.port=8080[/bold]")
def edge(
    config: OptionalConfig = None,
    settings: SetOption = None,
    exit_with_parent: ExitWithParent = False,
    wait_for_config: WaitForConfig = False,
) -> None:
    """Run an edge: takes publishers and viewers near it, and trunks to other edges."""
    from edge import main as process
    from edge.settings import EdgeSettings

    with _one_line_errors():
        _wait_for(config if wait_for_config else None)
        process.run(_load(EdgeSettings, config, settings), exit_with_parent=exit_with_parent)


@app.command(epilog="Example: [bold]tradewind control --config control.toml[/bold]")
def control(
    config: OptionalConfig = None,
    settings: SetOption = None,
    exit_with_parent: ExitWithParent = False,
    wait_for_config: WaitForConfig = False,
) -> None:
    """Run the control plane: enrols edges, hears their measurements, sends them routes; serves the console."""
    from control import main as process
    from control.settings import ControlSettings

    with _one_line_errors():
        _wait_for(config if wait_for_config else None)
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


demo_app = typer.Typer(no_args_is_help=True, help="Change a running demonstration.")
app.add_typer(demo_app, name="demo")


@demo_app.callback()
def _demo() -> None:
    """Keeps `demo` a group while it has one command."""


@demo_app.command(
    "link",
    epilog="Examples: [bold]tradewind demo link sg fra --loss 10 --delay 400[/bold], "
    "[bold]tradewind demo link sg fra --clear[/bold]",
)
def demo_link(
    a: Annotated[str, typer.Argument(help="An edge.")],
    b: Annotated[str, typer.Argument(help="Another edge.")],
    loss: Annotated[float | None, typer.Option(min=0, max=100, help="Lost packets, per cent.")] = None,
    delay: Annotated[float | None, typer.Option(min=0, max=5000, help="One-way delay, ms.")] = None,
    blackout: Annotated[bool, typer.Option("--blackout", help="Nothing passes.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="The link's own conditions again.")] = False,
    data_dir: Annotated[Path, typer.Option(help="That of `tradewind up`.")] = Path(".tradewind"),
) -> None:
    """Make a link of the running `tradewind up` bad, or good again."""
    from tradewind.operate.demo import change_link

    with _one_line_errors():
        if not clear and not blackout and loss is None and delay is None:
            raise ValueError("say what to change: --loss, --delay, --blackout or --clear")
        line = change_link(data_dir, a, b, loss_percent=loss, delay_ms=delay, blackout=blackout, clear=clear)
        typer.echo(line)


@app.command(
    epilog="Examples: [bold]tradewind bench forward --quick[/bold], [bold]tradewind bench forward --without gso[/bold]"
)
def bench(
    scenario: Annotated[str, typer.Argument(help="latency, startup, sync, forward, failover, outage, offers, or all.")],
    quick: Annotated[bool, typer.Option("--quick", help="Short; shows that it works, not how well.")] = False,
    seed: Annotated[int, typer.Option(help="Decides losses and choices.")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the whole report with its evidence.")] = None,
    without: Annotated[list[str] | None, typer.Option(help="Switch a feature off; repeatable.")] = None,
) -> None:
    """Measure scenarios against their bars. Exit: 0 all hold, 6 one falls short, 5 a run proves nothing."""
    from bench import registry

    with _one_line_errors():
        if scenario != "all":
            raise typer.Exit(registry.run(scenario, seed=seed, quick=quick, without=without or (), json_file=json_file))
        codes = []
        for name in registry.NAMES:
            file = json_file.with_stem(f"{json_file.stem}-{name}") if json_file else None
            codes.append(registry.run(name, seed=seed, quick=quick, without=(), json_file=file))
        raise typer.Exit(max(codes))


@app.command(epilog="Example: [bold]tradewind doctor --config sg.toml[/bold]")
def doctor(config: OptionalConfig = None, settings: SetOption = None) -> None:
    """Say whether this machine can run an edge well, and what to do about it. Exit code 1 when it cannot."""
    from tradewind.operate.doctor import Verdict, examine

    bad = False
    with _one_line_errors():
        loaded = None
        if config is not None or settings:
            from edge.settings import EdgeSettings

            loaded = _load(EdgeSettings, config, settings).settings
        for finding in examine(loaded):
            bad = bad or finding.verdict is Verdict.BAD
            colour = {"ok": typer.colors.GREEN, "poor": typer.colors.YELLOW, "bad": typer.colors.RED}[finding.verdict]
            typer.secho(f"{finding.verdict:5}", fg=colour, nl=False)
            typer.echo(f"{finding.subject}: {finding.text}" + (f" → {finding.advice}" if finding.advice else ""))
    raise typer.Exit(1 if bad else 0)


@app.command(
    "config",
    epilog="Examples: [bold]tradewind config edge --config sg.toml[/bold], [bold]tradewind config control[/bold]",
)
def show_config(
    process: Annotated[str, typer.Argument(help="edge or control.")],
    config: OptionalConfig = None,
    settings: SetOption = None,
    describe: Annotated[bool, typer.Option("--describe", help="With what each setting means.")] = False,
) -> None:
    """Print every setting of a process with its value and where the value comes from."""
    with _one_line_errors():
        for row in _settings_of(process, config, settings).rows():
            typer.echo(f"{row.key} = {row.value}  ({row.origin})")
            if describe and row.description:
                typer.echo(f"    {' '.join(row.description.split())}")


@app.command("dev-certs", epilog="Example: [bold]tradewind dev-certs certs --edges sg,fra[/bold]")
def dev_certs(
    directory: Annotated[Path, typer.Argument(help="Gets a CA, and a data directory per edge.")],
    edges: Annotated[str, typer.Option(help="Edge ids, separated by commas.")],
) -> None:
    """Make certificates for edges that run without control (static routes)."""
    from tradewind.operate.certificates import make_certificates

    with _one_line_errors():
        for path in make_certificates(directory, [name.strip() for name in edges.split(",") if name.strip()]):
            typer.echo(f"{path}/identity  (set data_dir = {str(path)!r})")


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
    edge: Annotated[str, typer.Option(help="The edge's URL, or the ready.json it writes.")] = "http://127.0.0.1:7780",
    token: Annotated[str, typer.Option(envvar="TRADEWIND_TOKEN", help="Access token of a host.")] = "",
    check: Annotated[str, typer.Option(help="Another edge: watch there and say when frames arrive.")] = "",
    title: Annotated[str, typer.Option(help="Text in the picture.")] = "Tradewind",
    exit_with_parent: ExitWithParent = False,
) -> None:
    """Publish a moving picture with a clock and a 440 Hz tone until interrupted."""
    from tradewind.up import broadcast

    with _one_line_errors():
        urls = [_edge_url(place) if place else "" for place in (edge, check)]
        broadcast.main(
            room=room, edge=urls[0], token=token, check=urls[1], title=title, exit_with_parent=exit_with_parent
        )


def _edge_url(place: str) -> str:
    """A URL as it is; a ready.json is waited for and read."""
    import json

    if "://" in place:
        return place
    _wait_for(Path(place))
    return f"http://127.0.0.1:{json.loads(Path(place).read_text(encoding='utf-8'))['http']}"


def _wait_for(path: Path | None) -> None:
    """Until the file is there, or standard input has closed. Files that are waited for appear whole."""
    import os
    import select
    import sys
    import time

    while path is not None and not path.exists():
        if sys.stdin.isatty():
            time.sleep(0.02)
        elif select.select([sys.stdin], [], [], 0.02)[0] and not os.read(0, 1):
            raise typer.Exit(0)


def _settings_of(process: str, config: Path | None, pairs: list[str] | None) -> Loaded[Any]:
    """With an example in the place of a value that has no default, so that all settings can be shown without a file."""
    from dataclasses import replace

    examples = {"data_dir": f".tradewind/{process}"}
    model: type[ProcessSettings]
    if process == "edge":
        from edge.settings import EdgeSettings

        model = EdgeSettings
        examples["edge_id"] = "sg"
    elif process == "control":
        from control.settings import ControlSettings

        model = ControlSettings
    else:
        raise ValueError(f"there is no process {process!r}: say edge or control")
    if config is not None:
        return _load(model, config, pairs)
    given = {pair.partition("=")[0].strip() for pair in pairs or []}
    missing = {key: value for key, value in examples.items() if key not in given}
    loaded = _load(model, None, [*(f"{key}={value}" for key, value in missing.items()), *(pairs or [])])
    return replace(loaded, origins={**loaded.origins, **dict.fromkeys(missing, "example: it has no default")})


def _load(model: type[SettingsT], config: Path | None, pairs: list[str] | None) -> Loaded[SettingsT]:
    import os

    from tradewind.common.settings import load_settings, parse_flags

    return load_settings(model, toml_path=config, environ=os.environ, flags=parse_flags(pairs or []))


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """An expected failure is one line and exit code 1; bugs keep their traceback."""
    try:
        yield
    except BrokenPipeError:
        raise typer.Exit(1) from None  # whoever read our output has seen enough
    except (OSError, ValueError) as error:
        typer.secho(f"tradewind: {error}", err=True, fg=typer.colors.RED)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    main()
