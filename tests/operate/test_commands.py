"""The command line: help that shows the way, one line for what goes wrong, examples that run."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner

from tradewind.cli import app

COMMANDS = [
    name.split()
    for name in ("up", "control", "edge", "wan", "demo link", "publish test", "doctor", "config", "dev-certs", "bench")
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
