"""Whether this machine can run an edge well: each check is a finding with advice, and none needs a running edge."""

from __future__ import annotations

import ctypes
import datetime
import errno
import os
import resource
import shutil
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from cryptography import x509

from tradewind.common.process import port_owner

if TYPE_CHECKING:
    from edge.settings import EdgeSettings

# 200 ms of 100 Mbit/s; smaller kernel buffers drop packets while a thread waits for its core.
UDP_BUFFER_MIN_BYTES = 2_500_000
# A viewer holds no descriptor of its own for media, but one for its WebSocket.
DESCRIPTORS_MIN = 65_536
CERTIFICATE_WARNING = datetime.timedelta(days=30)
FREE_DISK_MIN_BYTES = 1 << 30
REACH_TIMEOUT_S = 3.0
_UDP_SEGMENT = 103  # linux/udp.h; Python's socket module does not name it


class Verdict(StrEnum):
    """How a check ended."""

    GOOD = "ok"
    POOR = "poor"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; `advice` is empty when there is nothing to do."""

    verdict: Verdict
    subject: str
    text: str
    advice: str = ""


def examine(settings: EdgeSettings | None) -> Iterator[Finding]:
    """All checks. Without settings: the machine, and the default ports."""
    yield _native_module()
    yield _udp_buffers()
    yield _segmentation_offload()
    yield _clock()
    yield _cores(settings.media.shards if settings else 1)
    yield _descriptors()
    yield from _ports(settings)
    if settings is not None:
        yield _disk(settings.data_dir)
        yield _certificate(settings.data_dir, settings.edge_id)
        for subject, address in _addresses(settings):
            yield _reachable(subject, address)
    yield _browser()


def _native_module() -> Finding:
    try:
        import edge.dataplane as dataplane

        dataplane.Dataplane  # noqa: B018 - it is absent when the build is
    except (ImportError, AttributeError) as error:
        return Finding(Verdict.BAD, "packet path", str(error), "run `make setup`")
    return Finding(Verdict.GOOD, "packet path", "built")


def _udp_buffers() -> Finding:
    limits = {name: _sysctl_number(f"net/core/{name}") for name in ("rmem_max", "wmem_max")}
    small = [name for name, value in limits.items() if value is not None and value < UDP_BUFFER_MIN_BYTES]
    text = ", ".join(f"{name} {value:,} bytes" for name, value in limits.items() if value is not None)
    if not small:
        return Finding(Verdict.GOOD, "UDP buffers", text or "unknown")
    advice = "as root: sysctl -w " + " ".join(f"net.core.{name}=8388608" for name in small)
    return Finding(Verdict.POOR, "UDP buffers", f"{text}; bursts of a key frame may be dropped", advice)


def _segmentation_offload() -> Finding:
    """A real send of two segments to ourselves."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
    ):
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(1.0)
        try:
            sender.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, 1000)
            sender.sendto(b"x" * 2000, receiver.getsockname())
            sizes = [len(receiver.recv(4096)) for _ in range(2)]
        except OSError as error:
            text = f"not available ({error.strerror or error})"
            return Finding(
                Verdict.POOR, "UDP segmentation", text, "Linux 4.18 or newer; without it sends cost 4 times more"
            )
    if sizes != [1000, 1000]:
        return Finding(Verdict.POOR, "UDP segmentation", f"segments of {sizes} bytes", "update the kernel")
    return Finding(Verdict.GOOD, "UDP segmentation", "works (GSO)")


def _clock() -> Finding:
    """adjtimex(2) knows whether anything disciplines the clock."""
    buffer = ctypes.create_string_buffer(512)  # struct timex is 208 bytes; modes = 0 only reads
    libc = ctypes.CDLL(None, use_errno=True)
    state = libc.adjtimex(buffer)
    unsynchronised = 5  # TIME_ERROR
    if state == unsynchronised:
        advice = (
            "start an NTP client (systemd-timesyncd, chrony); comments are shown by the clock, routes do not need it"
        )
        return Finding(Verdict.POOR, "clock", "nothing keeps it in time", advice)
    if state < 0:
        return Finding(Verdict.POOR, "clock", os.strerror(ctypes.get_errno()), "check that an NTP client runs")
    return Finding(Verdict.GOOD, "clock", "synchronised")


def _cores(shards: int) -> Finding:
    cores = len(os.sched_getaffinity(0))
    text = f"{cores} for {shards} shard{'s' if shards > 1 else ''}"
    if cores < shards + 1:
        return Finding(Verdict.POOR, "cores", text, "leave one core beside the shards for trunks and signalling")
    return Finding(Verdict.GOOD, "cores", text)


def _descriptors() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = f"{soft:,} (at most {hard:,})"
    if soft < DESCRIPTORS_MIN:
        enough = hard >= DESCRIPTORS_MIN
        advice = f"ulimit -n {DESCRIPTORS_MIN}" if enough else f"as root: ulimit -Hn {DESCRIPTORS_MIN}, or LimitNOFILE="
        return Finding(Verdict.POOR, "open files", text, f"{advice}, before thousands of viewers come")
    return Finding(Verdict.GOOD, "open files", text)


def _ports(settings: EdgeSettings | None) -> Iterator[Finding]:
    from edge.settings import Http, Media, Metrics, Probe, Trunk

    http, metrics, media, trunk, probe = (
        (settings.http, settings.metrics, settings.media, settings.trunk, settings.probe)
        if settings is not None
        else (Http(), Metrics(), Media(), Trunk(), Probe())
    )
    yield _port("http.port", http.host, http.port, socket.SOCK_STREAM)
    yield _port("metrics.port", metrics.host, metrics.port, socket.SOCK_STREAM)
    for host in media.host:
        yield _port("media.port", host, media.port, socket.SOCK_DGRAM)
    yield _port("trunk.port", trunk.host, trunk.port, socket.SOCK_DGRAM)
    yield _port("probe.port", probe.host, probe.port, socket.SOCK_DGRAM)


def _port(setting: str, host: str, port: int, kind: int) -> Finding:
    name: Literal["tcp", "udp"] = "tcp" if kind == socket.SOCK_STREAM else "udp"
    subject = f"{name} {port}"
    host = host.strip("[]")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                owner = port_owner(name, port) or "another process"
                return Finding(Verdict.BAD, subject, f"taken by {owner}", f"stop it, or set {setting}")
            return Finding(Verdict.BAD, subject, error.strerror or str(error), f"set {setting} or its host")
    return Finding(Verdict.GOOD, subject, f"free ({setting})" if port else f"any free one ({setting})")


def _disk(data_dir: Path) -> Finding:
    existing = next((folder for folder in (data_dir, *data_dir.resolve().parents) if folder.exists()), Path("/"))
    free = shutil.disk_usage(existing).free
    if not os.access(existing, os.W_OK):
        return Finding(Verdict.BAD, "data directory", f"{existing} cannot be written", "change its owner, or data_dir")
    if free < FREE_DISK_MIN_BYTES:
        return Finding(
            Verdict.POOR, "data directory", f"{free / 1e6:,.0f} MB free at {existing}", "make room: logs grow"
        )
    return Finding(Verdict.GOOD, "data directory", f"{data_dir}, {free / 1e9:,.0f} GB free")


def _certificate(data_dir: Path, edge_id: str) -> Finding:
    path = data_dir / "identity" / "cert.pem"
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except FileNotFoundError:
        text = "none yet: the edge enrols at its first start"
        return Finding(Verdict.GOOD, "certificate", text, "it needs control.http_url and control.join_token then")
    except (OSError, ValueError) as error:
        return Finding(Verdict.BAD, "certificate", f"{path}: {error}", f"remove {path.parent} and enrol again")
    left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    names: list[str] = []
    with suppress(x509.ExtensionNotFound):
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = extension.value.get_values_for_type(x509.DNSName)
    if edge_id not in names:
        owner = ", ".join(names) or "nobody"
        return Finding(Verdict.BAD, "certificate", f"belongs to {owner}, not {edge_id}", "set edge_id, or enrol again")
    if left < CERTIFICATE_WARNING:
        verdict = Verdict.BAD if left <= datetime.timedelta() else Verdict.POOR
        return Finding(verdict, "certificate", f"{left.days} days left", f"remove {path.parent} and enrol again")
    return Finding(Verdict.GOOD, "certificate", f"{edge_id}, {left.days} days left")


def _addresses(settings: EdgeSettings) -> Iterator[tuple[str, str]]:
    if settings.control.http_url:
        yield "control (enrolment)", settings.control.http_url
    if settings.control.grpc_address:
        yield "control (gRPC)", f"tcp://{settings.control.grpc_address}"


def _reachable(subject: str, url: str) -> Finding:
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or 443)
    try:
        with socket.create_connection(address, timeout=REACH_TIMEOUT_S) as connection:
            if parts.scheme == "https":
                # Who it is, is checked at enrolment against the join token; here only whether it speaks.
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
                context.wrap_socket(connection).close()
    except OSError as error:
        text = f"{parts.netloc} does not answer ({error.strerror or error})"
        return Finding(Verdict.BAD, subject, text, "start control, or check the address and firewalls")
    return Finding(Verdict.GOOD, subject, f"{parts.netloc} answers")


def _browser() -> Finding:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return Finding(Verdict.GOOD, "browser", found)
    return Finding(Verdict.GOOD, "browser", "none", "only tests and bench need one: apt-get install chromium")


def _sysctl_number(name: str) -> int | None:
    try:
        return int((Path("/proc/sys") / name).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
