"""The command line: names, arguments and examples. What a command does lives elsewhere and is imported when it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from tradewind.operate.shell import edge_url, load_process, one_line_errors, settings_of, wait_for

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
    """Entry point of the `tradewind` script. What was typed wrongly is one line too, never a box that wraps."""
    try:
        status = app(prog_name="tradewind", standalone_mode=False)
    except TyperException as error:
        context = getattr(error, "ctx", None)
        told = " ".join(error.format_message().split())
        if told:  # nothing was typed after a group: its help is out already
            path = context.command_path if context is not None else "tradewind"
            stop = "" if told.endswith((".", "?")) else "."
            typer.secho(f"tradewind: {told}{stop} See `{path} --help`.", err=True, fg=typer.colors.RED)
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"tradewind {version('tradewind')}")
        except PackageNotFoundError:
            typer.echo("tradewind, not installed: run `make setup`")
        raise typer.Exit(0)


@app.callback(
    epilog="Start here: [bold]tradewind up[/bold]. Each command has examples: [bold]tradewind COMMAND --help[/bold]."
)
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Without this, typer would make a lone command the program itself."""


@app.command(epilog="Example: [bold]tradewind wan --config wan.toml[/bold]")
def wan(config: ConfigOption, exit_with_parent: ExitWithParent = False, wait_for_config: WaitForConfig = False) -> None:
    """Run the WAN emulator: UDP links with delay, jitter, loss in bursts, a rate and blackouts."""
    with one_line_errors():
        from bench.wan import main as process
        from bench.wan import settings

        wait_for(config if wait_for_config else None)
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
    with one_line_errors():
        from edge import main as process
        from edge.settings import EdgeSettings

        wait_for(config if wait_for_config else None)
        process.run(load_process(EdgeSettings, config, settings), exit_with_parent=exit_with_parent)


@app.command(epilog="Example: [bold]tradewind control --config control.toml[/bold]")
def control(
    config: OptionalConfig = None,
    settings: SetOption = None,
    exit_with_parent: ExitWithParent = False,
    wait_for_config: WaitForConfig = False,
) -> None:
    """Run the control plane: enrols edges, hears their measurements, sends them routes; serves the console."""
    with one_line_errors():
        from control import main as process
        from control.settings import ControlSettings

        wait_for(config if wait_for_config else None)
        process.run(load_process(ControlSettings, config, settings), exit_with_parent=exit_with_parent)


@app.command(
    epilog="Examples: [bold]tradewind up[/bold], [bold]tradewind up --regions sg,fra,iad,bom --port-base 8000[/bold]"
)
def up(
    regions: Annotated[
        str,
        typer.Option(
            help="Metros with an edge, such as sg, fra, iad, dxb, bom, nrt, syd (a wrong name lists them all); the "
            "broadcast enters at the first."
        ),
    ] = "sg,fra,iad",
    port_base: Annotated[int, typer.Option(min=0, max=65000, help="First of the TCP and UDP ports; 0: any.")] = 0,
    data_dir: Annotated[Path, typer.Option(help="Settings, identities and logs of the children.")] = Path(".tradewind"),
    broadcast: Annotated[bool, typer.Option(help="Publish the test picture into room demo.")] = True,
) -> None:
    """Start control and edges on this machine, with emulated links between regions and a live broadcast."""
    with one_line_errors():
        from tradewind.up import main as process
        from tradewind.up.regions import parse_regions

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
    with one_line_errors():
        from tradewind.operate.demo import change_link

        if not clear and not blackout and loss is None and delay is None:
            raise ValueError("say what to change: --loss, --delay, --blackout or --clear")
        line = change_link(data_dir, a, b, loss_percent=loss, delay_ms=delay, blackout=blackout, clear=clear)
        typer.echo(line)


@app.command(
    epilog="Examples: [bold]tradewind bench forward --quick[/bold], "
    "[bold]tradewind bench failover --seed 7 --json failover.json[/bold], "
    "[bold]tradewind bench startup --without cache[/bold], [bold]tradewind bench all --json run1.json[/bold] "
    "(run1-latency.json, run1-startup.json and so on), [bold]python -m bench.table run1-*.json run2-*.json[/bold] "
    "(medians as a table)"
)
def bench(
    scenario: Annotated[str, typer.Argument(help="latency, startup, sync, forward, failover, outage, offers, or all.")],
    quick: Annotated[bool, typer.Option("--quick", help="Short; shows that it works, not how well.")] = False,
    seed: Annotated[int, typer.Option(help="Decides losses, faults and choices.")] = 1,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the whole report with its evidence; - is standard output.")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="Take a feature away by settings of the edges, to see the scenario fall short; repeatable. latency: "
            "trunk_nack; startup: cache; sync: sound_hold, sender_reports; forward: gso; failover: failover; outage: "
            "last_good; offers: offer_limits."
        ),
    ] = None,
) -> None:
    """Measure scenarios against their bars. Exit: 0 all hold, 6 one falls short, 5 a run proves nothing."""
    with one_line_errors():
        from bench import registry

        if scenario == "all" and without:
            raise ValueError("--without goes with one scenario: each can do without other features")
        if scenario != "all":
            raise typer.Exit(registry.run(scenario, seed=seed, quick=quick, without=without or (), json_file=json_file))
        raise typer.Exit(registry.run_all(seed=seed, quick=quick, json_file=json_file))


@app.command(epilog="Example: [bold]tradewind doctor --config sg.toml[/bold]")
def doctor(config: OptionalConfig = None, settings: SetOption = None) -> None:
    """Say whether this machine can run an edge well, and what to do about it. Exit code 1 when it cannot."""
    bad = False
    with one_line_errors():
        from tradewind.operate.doctor import Verdict, examine

        loaded = None
        if config is not None or settings:
            from edge.settings import EdgeSettings

            loaded = load_process(EdgeSettings, config, settings).settings
        for finding in examine(loaded):
            bad = bad or finding.verdict is Verdict.BAD
            colour = {"ok": typer.colors.GREEN, "poor": typer.colors.YELLOW, "bad": typer.colors.RED}[finding.verdict]
            typer.secho(f"{finding.verdict:5}", fg=colour, nl=False)
            typer.echo(f"{finding.subject}: {finding.text}" + (f" → {finding.advice}" if finding.advice else ""))
    raise typer.Exit(1 if bad else 0)


@app.command(
    "config",
    epilog="Examples: [bold]tradewind config edge --config sg.toml[/bold], "
    "[bold]tradewind config control --describe[/bold]",
)
def show_config(
    process: Annotated[str, typer.Argument(help="edge or control.")] = "",
    config: OptionalConfig = None,
    settings: SetOption = None,
    describe: Annotated[bool, typer.Option("--describe", help="With what each setting means.")] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="The reference of both processes, as in docs/configuration.md.")
    ] = False,
) -> None:
    """Print every setting of a process with its value and where the value comes from."""
    with one_line_errors():
        if markdown:
            from tradewind.operate.reference import settings_reference

            typer.echo(settings_reference(), nl=False)
            return
        for row in settings_of(process, config, settings).rows():
            typer.echo(f"{row.key} = {row.value}  ({row.origin})")
            if describe and row.description:
                typer.echo(f"    {row.description}")


@app.command("dev-certs", epilog="Example: [bold]tradewind dev-certs certs --edges sg,fra[/bold]")
def dev_certs(
    directory: Annotated[Path, typer.Argument(help="Gets a CA, and a data directory per edge.")],
    edges: Annotated[str, typer.Option(help="Edge ids, separated by commas.")],
) -> None:
    """Make certificates for edges that run without control (static routes)."""
    with one_line_errors():
        from tradewind.operate.certificates import make_certificates

        names = [name.strip() for name in edges.split(",") if name.strip()]
        if not names:
            raise ValueError("--edges names no edge: write their ids, for example --edges sg,fra")
        for path in make_certificates(directory, names):
            typer.echo(f"{path}/identity  (set data_dir = {str(path)!r})")


@app.command(
    epilog="Examples: [bold]tradewind token --data-dir /var/lib/tradewind/control --room sale --role host --person anna"
    "[/bold], [bold]tradewind token --room sale --role viewer --person guest-17 --hours 2[/bold]"
)
def token(
    room: Annotated[str, typer.Option(help="The one room it opens.")],
    role: Annotated[str, typer.Option(help="host, viewer or moderator.")],
    person: Annotated[str, typer.Option(help="Who it is for: the id that your own system knows them by.")],
    name: Annotated[str, typer.Option(help="Name shown beside their comments.")] = "",
    hours: Annotated[float, typer.Option(help="How long it is good for.")] = 12.0,
    data_dir: Annotated[Path, typer.Option(help="That of control, where the signing key is.")] = Path(
        ".tradewind/control"
    ),
) -> None:
    """Print an access token for one person in one room. Run it where control runs."""
    import time

    with one_line_errors():
        from tradewind.operate.access import issue_token

        typer.echo(
            issue_token(data_dir, room=room, role=role, person=person, name=name, valid_hours=hours, unix_s=time.time())
        )


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
    with one_line_errors():
        urls = [edge_url(place) if place else "" for place in (edge, check)]
        from tradewind.up import broadcast

        broadcast.main(
            room=room, edge=urls[0], token=token, check=urls[1], title=title, exit_with_parent=exit_with_parent
        )


if __name__ == "__main__":
    main()
