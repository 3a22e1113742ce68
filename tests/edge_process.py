"""A real edge process for tests: own data directory, every port 0, stopped when the block ends."""

from __future__ import annotations

import datetime
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.waiting import PATIENCE_S, end, wait_for

ROOT: Final = Path(__file__).parent.parent
START_S: Final = 90.0


@dataclass(frozen=True, slots=True)
class EdgeProcess:
    """Where a running edge is reached, and its counters."""

    pid: int
    http: str
    metrics: str
    media: tuple[str, int]
    trunk: tuple[str, int]
    log: Path
    data_dir: Path

    def drops(self) -> dict[str, int]:
        """Drop counters by reason."""
        text = self._metrics_text()
        found = re.findall(r'^tradewind_\w*drop\w*_total\{[^}]*?reason="(\w+)"[^}]*\} (\d+)', text, re.MULTILINE)
        counts: dict[str, int] = {}
        for reason, value in found:
            counts[reason] = counts.get(reason, 0) + int(value)
        return counts

    def series(self, name: str) -> dict[str, float]:
        """Samples of one metric by their labels, as written: `{role="host"}`, or "" without."""
        text = self._metrics_text()
        rows = re.findall(rf"^{name}(\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
        return {labels: float(value) for labels, value in rows}

    def belongings(self) -> dict[str, Any]:
        """What a rejection may not add to: sessions, descriptors and files of the process."""
        return {
            "sessions": self.series("tradewind_dataplane_sessions"),
            "descriptors": len(list(Path(f"/proc/{self.pid}/fd").iterdir())),
            "files": sorted(str(path) for path in self.data_dir.rglob("*")),
        }

    def _metrics_text(self) -> str:
        # Asked hundreds of times: httpx would load the machine's certificates for each.
        with urlopen(f"{self.metrics}/metrics", timeout=PATIENCE_S) as answer:
            text: str = answer.read().decode()
        return text

    def log_lines(self, event: str) -> list[dict[str, object]]:
        """Log records of one event."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == event]


@contextmanager
def edge_process(directory: Path, *settings: str, edge_id: str = "sg") -> Iterator[EdgeProcess]:
    """Starts an edge with open rooms and waits until it serves. `settings` are further `KEY=VALUE`."""
    data_dir = directory / edge_id
    write_identity(data_dir, edge_id)
    ports = [f"{name}.port=0" for name in ("http", "media", "trunk", "probe", "metrics")]
    log = directory / f"{edge_id}.log"
    command = [sys.executable, "-c", "from tradewind.cli import main; main()", "edge", "--exit-with-parent"]
    values = [f"edge_id={edge_id}", f"data_dir={data_dir}", 'rooms.open_rooms=["*"]', *ports, *settings]
    command += [part for value in values for part in ("--set", value)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONPATH": "."},
        )
    try:
        ready = _wait_for_ready(process, data_dir / "ready.json", log)
        host, _, port = str(ready["media"][0]).rpartition(":")
        yield EdgeProcess(
            process.pid,
            _url(ready["http"]),
            _url(ready["metrics"]),
            (host.strip("[]"), int(port)),
            ("127.0.0.1", int(str(ready["trunk"]))),
            log,
            data_dir,
        )
    finally:
        end(process)


def write_identity(data_dir: Path, edge_id: str) -> None:
    """A certificate authority of its own, for an edge that meets no other; one that is there already stays."""
    folder = data_dir / "identity"
    if folder.exists():
        return
    folder.mkdir(parents=True)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = _certificate("test CA", ca_key, "test CA", ca_key, is_ca=True)
    certificate = _certificate(edge_id, key, "test CA", ca_key, is_ca=False)
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey, *, is_ca: bool
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    if not is_ca:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _wait_for_ready(process: subprocess.Popen[bytes], ready: Path, log: Path) -> dict[str, list[str]]:
    def words() -> str:
        return f"the edge does not serve:\n{log.read_text()[-4000:]}"

    def found() -> dict[str, list[str]] | None:
        assert process.poll() is None, words()
        # It is put in place whole (`DataDirectory.write_ready`).
        return json.loads(ready.read_text()) if ready.exists() else None

    content = wait_for(found, words, START_S)
    assert content is not None
    return content


def _url(value: object) -> str:
    text = str(value)
    if text.isdigit():
        return f"http://127.0.0.1:{text}"
    return text if text.startswith("http") else f"http://{text}"


def total(drops: dict[str, int], names: Sequence[str]) -> int:
    """Sum of several reasons."""
    return sum(drops[name] for name in names)
