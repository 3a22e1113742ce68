"""The command line: help that shows the way, one line for what goes wrong, examples that run."""

from __future__ import annotations

import base64
import datetime
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner

from control.fleet.authority import Authority
from tradewind.cli import app, main
from tradewind.common.tokens import Role, TokenVerifier
from tradewind.operate.shell import explain

COMMANDS = [
    name.split()
    for name in (
        *("up", "control", "edge", "wan", "demo link", "publish test"),
        *("doctor", "config", "dev-certs", "token", "bench"),
    )
]
ROOT = Path(__file__).resolve().parents[2]

runner = CliRunner()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_says_what_it_does_with_an_example(command: list[str]) -> None:
    result = runner.invoke(app, [*command, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exit_code == 0
    assert re.search(rf"Examples?: tradewind {' '.join(command)}\b", result.output), result.output


def test_help_comes_without_the_heavy_libraries() -> None:
    code = (
        "import sys, tradewind.cli;"
        "heavy = {'av', 'aiortc', 'grpc', 'numpy', 'edge.main', 'control.main'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_config_prints_each_setting_with_its_origin(tmp_path: Path) -> None:
    file = tmp_path / "sg.toml"
    file.write_text(f'edge_id = "sg"\ndata_dir = "{tmp_path}"\n[http]\nport = 0\n')
    result = runner.invoke(
        app,
        ["config", "edge", "--config", str(file), "--set", "media.port=7000"],
        env={"TRADEWIND_TRUNK__PORT": "7001"},
    )
    assert result.exit_code == 0, result.output
    assert re.search(r"http\.port = 0 .*sg\.toml:4", result.output)
    assert re.search(r"trunk\.port = 7001 .*TRADEWIND_TRUNK__PORT", result.output)
    assert re.search(r"media\.port = 7000 .*--set", result.output)
    assert "metrics.port = 7790  (default)" in result.output


def test_config_needs_no_file_to_show_what_there_is() -> None:
    for process in ("edge", "control"):
        result = runner.invoke(app, ["config", process])
        assert result.exit_code == 0, result.output
        assert "data_dir = .tradewind/" in result.output


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["config", "cloud"], "edge or control"),
        (["up", "--regions", "sg,atlantis"], "unknown region atlantis"),
        (["demo", "link", "sg", "fra", "--loss", "3"], "tradewind up"),
        (["demo", "link", "sg", "fra"], "--loss"),
        (["edge", "--set", "nonsense"], "KEY=VALUE"),
    ],
)
def test_what_goes_wrong_is_one_line_with_advice(
    arguments: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, arguments)
    assert result.exit_code == 1
    assert expected in result.output
    assert "Traceback" not in result.output


def typed(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """What the `tradewind` script does with these words: its exit code."""
    monkeypatch.setattr(sys, "argv", ["tradewind", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize(
    ("words", "told", "help_of"),
    [
        ("edge --nope", "No such option", "tradewind edge"),
        ("cloud", "No such command 'cloud'", "tradewind"),
        ("egde", "Did you mean 'edge'?", "tradewind"),
        ("demo link sg", "Missing argument", "tradewind demo link"),
        ("up --port-base x", "--port-base", "tradewind up"),
        ("up --port-base 70000", "less than or equal to 65000.", "tradewind up"),
        ("bench", "Missing argument", "tradewind bench"),
        ("token --room sale", "Missing option", "tradewind token"),
    ],
)
def test_what_was_typed_wrongly_is_one_line_that_names_the_help(
    words: str, told: str, help_of: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    assert typed(*words.split(), monkeypatch=monkeypatch) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("tradewind: ")
    assert told in line
    assert line.endswith(f"See `{help_of} --help`.")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("wan --config nowhere.toml", "nowhere.toml: cannot be read"),
        ("wan --config text.bin", "text.bin: "),
        ("wan --config link.toml", "link.toml: links[0]: a link joins two edges"),
        ("wan --config unknown.toml", "unknown.toml: links[0].speed: unknown key"),
        ("edge --config nowhere.toml", "nowhere.toml: cannot be read"),
        ("edge --config .", ".: cannot be read: Is a directory"),
        ("edge --set edge_id=sg", "data_dir is missing"),
        ("doctor --config nowhere.toml", "nowhere.toml: cannot be read"),
        ("config", "say edge or control"),
        ("dev-certs /proc/nowhere --edges sg", "/proc/nowhere: No such file or directory: check the name"),
        ("dev-certs certs --edges ,", "--edges names no edge"),
        ("dev-certs certs --edges SG!", "An edge id is 1-32"),
        ("publish test --edge nowhere", "'nowhere' is no edge: write its URL"),
        ("publish test --edge ftp://sg", "is no edge's URL"),
        ("publish test --edge http://sg/whip/demo", "is no edge's URL"),
        ("publish test --edge empty.json", "is no edge's ready.json"),
        ("token --room a/b --role host --person anna", "is no room"),
        ("token --room sale --role king --person anna", "say host, viewer, moderator"),
        ("token --room sale --role host --person anna --hours 0", "--hours lies above 0"),
        ("token --room sale --role host --person anna", "token.key is missing: run this where control runs"),
        ("bench nothing", "no scenario 'nothing'; there are: latency"),
        ("bench forward --without magic", "it can do without: gso"),
        ("bench all --without gso", "--without goes with one scenario"),
        ("up --regions ,", "give 1 to"),
        ("up --regions sg,sg", "once"),
        ("up --data-dir text.bin", "text.bin: "),
        ("demo link sg fra --clear --data-dir damaged", "up.json cannot be read: start the fleet again"),
    ],
)
def test_every_failure_is_one_line(
    words: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.bin").write_bytes(b"\xff\xfe")
    (tmp_path / "link.toml").write_text('[[links]]\na = "sg"\nb = "sg"\n')
    (tmp_path / "unknown.toml").write_text('[[links]]\na = "sg"\nb = "fra"\nspeed = 1\n')
    (tmp_path / "empty.json").write_text("{}")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "up.json").write_text("{")
    assert typed(*words.split(), monkeypatch=monkeypatch) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("tradewind: ")
    assert told in line


def test_a_taken_port_stops_the_demonstration_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = ("up", "--data-dir", str(tmp_path / "up"), "--port-base", str(port))
        assert typed(*words, monkeypatch=monkeypatch) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"tradewind: tcp port {port} on 127.0.0.1 is taken by ")
    assert line.endswith("stop it, or set --port-base to another port or 0")
    assert not (tmp_path / "up").exists()


def test_a_bug_keeps_its_traceback_and_an_expected_failure_beside_it() -> None:
    assert explain(KeyError("x")) == []
    assert explain(ExceptionGroup("", [OSError("a"), KeyError("x")])) == []
    assert explain(ExceptionGroup("", [OSError("a"), ExceptionGroup("", [ValueError("b")])])) == ["a", "b"]
    assert explain(ModuleNotFoundError("no module", name="grpc")) == []
    assert explain(ImportError("the packet path is not built yet")) == ["the packet path is not built yet"]


def test_a_token_opens_the_room_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    control = Authority(tmp_path, hosts=(), join_secrets=(), now=datetime.datetime.now(datetime.UTC))
    words = ["token", "--data-dir", str(tmp_path), "--room", "sale", "--role", "host", "--person", "anna"]
    printed = runner.invoke(app, [*words, "--name", "Anna", "--hours", "2"])
    verifier = TokenVerifier([base64.urlsafe_b64encode(raw).decode() for _, raw in control.token_public_keys()])
    claims = verifier.verify(printed.stdout.strip(), room="sale", roles=frozenset({Role.HOST}), unix_s=time.time())
    assert (claims.person, claims.name) == ("anna", "Anna")
    assert claims.expires_unix == pytest.approx(time.time() + 7200, abs=60)


def test_doctor_gives_findings_and_advice() -> None:
    result = runner.invoke(app, ["doctor"])
    assert result.exit_code in (0, 1)
    assert "UDP buffers" in result.output
    assert "UDP segmentation" in result.output
    for line in result.output.splitlines():
        if line.startswith("bad"):
            assert "→" in line, f"no advice: {line}"


def test_doctor_names_the_owner_of_a_taken_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = runner.invoke(app, ["doctor", *sets(edge_id="sg", data_dir=str(tmp_path), **{"http.port": str(port)})])
    assert result.exit_code == 1
    assert re.search(rf"tcp {port}: taken by .*process {os.getpid()}", result.output), result.output


def test_development_certificates_name_their_edges(tmp_path: Path) -> None:
    result = runner.invoke(app, ["dev-certs", str(tmp_path), "--edges", "sg,fra"])
    assert result.exit_code == 0, result.output
    authorities = set()
    for edge in ("sg", "fra"):
        folder = tmp_path / edge / "identity"
        certificate = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [edge]
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes()))
        authorities.add((folder / "ca.pem").read_bytes())
        assert (folder / "key.pem").stat().st_mode & 0o077 == 0
    assert len(authorities) == 1


def sets(**settings: str) -> list[str]:
    return [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
