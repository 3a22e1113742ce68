"""Every command of README and docs runs as it is printed. A new one needs a line in HOW, or this fails."""

from __future__ import annotations

import functools
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import registry
from tests.docs.pages import ROOT, commands
from tests.docs.place import READY_S, SERVER_STATE, Place, ready_file, says, spare_copy
from tests.waiting import wait_for

How = Callable[[Place, str], None]
TOKEN = r"^[\w-]+\.[\w-]+\.[\w-]+$"
PAGES_LINE = r"^console http://127\.0\.0\.1:\d+/console$"

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One machine for all pages: starting processes is most of the time."""
    made = Place(tmp_path_factory.mktemp("reader"))
    try:
        yield made
    finally:
        problems = made.stop()
    assert not problems


def prints(pattern: str, *, status: tuple[int, ...] = (0,), after: str = "", folder: Path | None = None) -> How:
    """Runs to its end with this in its output; `after` names what has to be running."""

    def how(place: Place, text: str) -> None:
        for name in after.split():
            SERVERS[name](place)
        result = place.run(text, cwd=folder)
        assert result.returncode in status, result.stdout + result.stderr
        assert re.search(pattern, result.stdout, re.MULTILINE), result.stdout + result.stderr

    return how


def becomes(pattern: str, *, after: str) -> How:
    """Run again until it prints this: it asks about something that takes its time."""

    def how(place: Place, text: str) -> None:
        for name in after.split():
            SERVERS[name](place)
        printed: list[str] = []

        def has_become() -> bool:
            result = place.run(text)
            printed.append(result.stdout + result.stderr)
            return re.search(pattern, result.stdout, re.MULTILINE) is not None

        wait_for(has_become, lambda: printed[-1], READY_S)

    return how


def serves(name: str) -> How:
    """Starts it as printed, waits until it says that it is ready, and leaves it running for the commands after it."""

    def how(place: Place, _text: str) -> None:
        SERVERS[name](place)

    return how


def sets_token(place: Place, text: str) -> None:
    """`export …`: what the reader's shell knows from then on."""
    SERVERS["control"](place)
    result = place.run(f"{text}; printenv TRADEWIND_TOKEN")
    assert re.search(TOKEN, result.stdout.strip()), result.stdout + result.stderr
    place.environment["TRADEWIND_TOKEN"] = result.stdout.strip()


def publishes(place: Place, text: str) -> None:
    """Until the picture has been seen at the other edge."""
    for name in ("control", "sg", "fra"):
        SERVERS[name](place)
    if "TRADEWIND_TOKEN" not in place.environment:
        sets_token(place, next(text for text in HOW if text.startswith("export TRADEWIND_TOKEN")))
    place.start("publish", text, says(r"^frames 3$"))
    place.end("publish")


def removes(place: Place, text: str) -> None:
    """On a copy of the state: others still need it."""
    SERVERS["sg"](place)
    spare = spare_copy(place, "spare")
    assert (spare / "sg").is_dir()
    assert place.run(text.replace(SERVER_STATE, str(spare))).returncode == 0
    assert not (spare / "sg").exists()


def made(place: Place, text: str) -> None:
    """`make setup` where everything is set up already; elsewhere its recipes are read only."""
    result = place.run(text if set_up() else f"{text} -n", cwd=ROOT)
    assert result.returncode == 0, result.stderr


def dry(reason: str) -> How:
    """`make … -n`: the target is there and its recipes can be read."""

    def how(place: Place, text: str) -> None:
        result = place.run(f"{text} -n", cwd=ROOT)
        assert result.returncode == 0, result.stderr
        assert result.stdout
        pytest.skip(f"read only: {reason}")

    return how


def measures(_place: Place, text: str) -> None:
    """A scenario of this name, which can do without what is taken away."""
    words = shlex.split(text)
    chosen = registry.scenario(words[2])
    assert {words[index + 1] for index, word in enumerate(words) if word == "--without"} <= set(chosen.features)
    pytest.skip("read only: minutes of measuring; tests/bench runs the untimed part")


def skipped(reason: str) -> How:
    """Cannot run here."""

    def how(_place: Place, _text: str) -> None:
        pytest.skip(reason)

    return how


CHANGES_MACHINE = skipped("changes this machine")
IN_CHECK = skipped("`make check` builds the wheel and installs it in an empty environment")
WHOLE = dry("this test is part of it")
CERTIFICATES = r"certs/sg/identity .*\n.*certs/fra/identity"
EDGE_CONFIG = r"^edge_id = sg  \(sg\.toml:\d+\)$"

EDGES = {
    "sg": 'TRADEWIND_CONTROL__JOIN_TOKEN="$(cat join_token)" tradewind edge --config sg.toml',
    "fra": "tradewind edge --config fra.toml",
}

HOW: dict[str, How] = {
    "make up": serves("up"),
    "make setup": made,
    "make prerequisites": prints(r"", folder=ROOT),
    "make test": WHOLE,
    "make check": WHOLE,
    "make bench": dry("measures for as long as it takes"),
    "make setup bench-build": dry("compiles the load generator"),
    "make clean": dry("it would take away what runs this test"),
    'export PATH="$PWD/.venv/bin:$PATH"': prints(r"", folder=ROOT),
    "tradewind --version": prints(r"^tradewind[ ,]"),
    "tradewind doctor": prints(r"^ok +packet path: built$", status=(0, 1)),
    "tradewind demo link sg fra --loss 10 --delay 400": prints(r"^sg-fra: 400 ms one way, 10\.0% loss$", after="up"),
    "tradewind demo link sg fra --clear": prints(r"^sg-fra: 80 ms one way", after="up"),
    "tradewind config edge --config sg.toml": prints(EDGE_CONFIG),
    "tradewind config control --config control.toml --describe": prints(r"^data_dir = .*\n    CA, keys"),
    "tradewind control --config control.toml": serves("control"),
    f"cat {SERVER_STATE}/control/join_token": prints(r"^tw1\.", after="control"),
    "tradewind doctor --config sg.toml": prints(r"^ok +control \(enrolment\): \S+ answers$", after="control"),
    EDGES["sg"]: serves("sg"),
    EDGES["fra"]: serves("fra"),
    "curl -sS http://127.0.0.1:7790/readyz": becomes(r'"ready": ?true', after="control sg"),
    f"tradewind token --data-dir {SERVER_STATE}/control --room sale --role host --person anna --hours 8": prints(
        TOKEN, after="control"
    ),
    f'export TRADEWIND_TOKEN="$(tradewind token --data-dir {SERVER_STATE}/control --room sale --role host '
    '--person anna)"': sets_token,
    f'export TRADEWIND_TOKEN="$(tradewind token --data-dir {SERVER_STATE}/control --room sale --role host '
    '--person test)"': sets_token,
    "tradewind publish test --room sale --edge https://sg.example.net --check https://fra.example.net": publishes,
    "tradewind dev-certs certs --edges sg,fra": prints(CERTIFICATES),
    "tradewind wan --config wan.toml": serves("wan"),
    f"tar -C {SERVER_STATE}/control -czf control-keys.tgz keys": prints(r"", after="control"),
    f"rm -rf {SERVER_STATE}/sg": removes,
    "tradewind bench forward --quick": measures,
    "tradewind bench latency --json latency.json": measures,
    "tradewind bench failover --seed 2 --json failover-2.json": measures,
    "tradewind bench forward --without gso --quick": measures,
    "tradewind bench failover --without failover --quick": measures,
    "tradewind bench latency --without trunk_nack --quick": measures,
    "tradewind bench startup --without cache --quick": measures,
    "tradewind bench sync --without sound_hold --quick": measures,
    "tradewind bench outage --without last_good --quick": measures,
    "tradewind bench offers --without offer_limits --quick": measures,
    "python -m bench.table run1-*.json run2-*.json run3-*.json": skipped("reads reports of measurements"),
    "sudo apt-get install build-essential perl python3 python3-venv": CHANGES_MACHINE,
    "sudo apt-get install chromium": CHANGES_MACHINE,
    "sudo apt-get remove chromium": CHANGES_MACHINE,
    'PATH="$PWD/.venv/bin:$PATH" uv build --wheel --no-build-isolation --python .venv/bin/python -o dist .': IN_CHECK,
    "python3 -m venv tradewind-env": IN_CHECK,
    "tradewind-env/bin/pip install --require-hashes -r requirements.lock": IN_CHECK,
    "tradewind-env/bin/pip install --no-deps dist/tradewind-0.1.0-*.whl": IN_CHECK,
    "tradewind-env/bin/tradewind doctor": IN_CHECK,
    "git pull": skipped("asks another machine"),
    "ffmpeg -re -i film.mp4 -c:v libx264 -profile:v baseline -bf 0 -g 60 -c:a libopus -ar 48000 -ac 2 -f whip "
    '-authorization "$TRADEWIND_TOKEN" https://sg.example.net/whip/sale': skipped(
        "needs FFmpeg 8; tests/interop drives its WHIP muxer through PyAV"
    ),
}


@functools.cache
def set_up() -> bool:
    """Whether `make setup` has nothing left to do in this checkout."""
    return subprocess.run(["make", "-q", "setup"], cwd=ROOT, capture_output=True, check=False).returncode == 0


def start_up(place: Place) -> None:
    """Two regions, to be short. Where the checkout is not set up, the command that `make up` ends in."""
    options = f"--regions sg,fra --data-dir {place.work / '.tradewind'}"
    command = f"make up ARGS='{options}'" if set_up() else f"tradewind up {options}"
    place.start("up", command, says(PAGES_LINE), cwd=ROOT if set_up() else None)


def start_control(place: Place) -> None:
    """And the join token is on the edges' machine: as a file for one; in the environment of the other, which is started
    as if it had enrolled long ago."""
    ready = place.state / "control" / "ready.json"
    place.start("control", "tradewind control --config control.toml", lambda _process: ready.exists())
    shutil.copy(place.state / "control" / "join_token", place.work / "join_token")
    place.environment["TRADEWIND_CONTROL__JOIN_TOKEN"] = (place.work / "join_token").read_text().strip()
    place.environment["TRADEWIND_CONTROL__HTTP_URL"] = f"https://127.0.0.1:{ready_file(ready)['enroll']}"


def start_edge(place: Place, edge: str) -> None:
    """Its addresses are known from then on."""
    start_control(place)
    ready = place.state / edge / "ready.json"
    place.start(edge, EDGES[edge], lambda _process: ready.exists())
    ports = ready_file(ready)
    place.names[f"https://{edge}.example.net"] = f"http://127.0.0.1:{ports['http']}"
    if edge == "sg":
        place.names["http://127.0.0.1:7790"] = f"http://127.0.0.1:{ports['metrics']}"


def start_wan(place: Place) -> None:
    """The emulator alone."""
    ready = place.work / "wan" / "ready.json"
    place.start("wan", "tradewind wan --config wan.toml", lambda _process: ready.exists())


SERVERS: dict[str, Callable[[Place], None]] = {
    "up": start_up,
    "control": start_control,
    "sg": functools.partial(start_edge, edge="sg"),
    "fra": functools.partial(start_edge, edge="fra"),
    "wan": start_wan,
}


@pytest.mark.parametrize("text", list(dict.fromkeys(command.text for command in commands())))
def test_the_command_runs(text: str, place: Place) -> None:
    how = HOW.get(text)
    assert how is not None, f"say in HOW how this command of the pages is run: {text}"
    how(place, text)


def test_the_table_has_no_command_that_no_page_gives() -> None:
    assert set(HOW) <= {command.text for command in commands()}
