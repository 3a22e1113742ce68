"""Who comes to control's gRPC port without a good certificate is refused, told and counted; the others are served."""

from __future__ import annotations

import asyncio
import datetime
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from control.fleet.authority import CONTROL_NAME, Authority
from control.fleet.front import Caller, Callers, Front, carry
from edge.mesh.identity import EdgeIdentity, ensure_identity
from tests.fleet.harness import Control, edge_settings, running_control
from tests.waiting import until
from tradewind.v1 import edge_pb2, fleet_pb2_grpc, telemetry_pb2

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
# The hook that replaces the fixture below acts on all tests of a run, not on those of one file.
pytestmark = pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy:pytest.PytestDeprecationWarning")


@pytest.fixture(scope="module")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    """Control's own loop: how a handshake fails is the loop's affair."""
    return uvloop.EventLoopPolicy()


async def test_an_edge_without_a_certificate_is_told_to_enrol(tmp_path: Path) -> None:
    async with running_control(tmp_path / "control") as control:
        error = await _failure(control, grpc.ssl_channel_credentials(_ca(control)))
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        assert "enrol it with control's join token" in (error.details() or "")
        assert _reason(error) == "certificate_missing"
        assert await _refused(control, "certificate_missing") == 1
        assert (await control.snapshot())["edges"] == []


@pytest.mark.parametrize("when", [-900 * DAY, 30 * DAY], ids=["expired", "not_yet_valid"])
async def test_a_certificate_out_of_its_time_is_refused_with_advice(tmp_path: Path, when: datetime.timedelta) -> None:
    reason, advice = ("certificate_expired", "enrol again") if when < DAY else ("certificate_not_yet_valid", "clock")
    async with running_control(tmp_path / "control") as control:
        error = await _failure(control, _credentials(_enrolled(control, "sg", NOW + when)))
        assert (error.code(), _reason(error)) == (grpc.StatusCode.UNAUTHENTICATED, reason)
        assert advice in (error.details() or "")
        assert await _refused(control, reason) == 1
        assert (await control.snapshot())["edges"] == []


async def test_a_certificate_of_another_fleet_is_refused_and_counted(tmp_path: Path) -> None:
    async with running_control(tmp_path / "control") as control, running_control(tmp_path / "other") as other:
        stranger = _enrolled(other, "sg", NOW)
        credentials = grpc.ssl_channel_credentials(_ca(control), stranger.key_pem, stranger.certificate_pem)
        assert (await _failure(control, credentials)).code() is grpc.StatusCode.UNAVAILABLE
        assert await _refused(control, "certificate_foreign") >= 1
        assert (await control.snapshot())["edges"] == []


async def test_a_certificate_that_claims_our_ca_is_refused_and_counted(tmp_path: Path) -> None:
    async with running_control(tmp_path / "control") as control:
        forged = _forged(control, "sg")
        assert (await _failure(control, _credentials(forged))).code() is grpc.StatusCode.UNAVAILABLE
        assert await _refused(control, "certificate_invalid") + await _refused(control, "certificate_foreign") >= 1


async def test_no_method_answers_without_a_certificate(tmp_path: Path) -> None:
    async with running_control(tmp_path / "control") as control:
        good = _credentials(_enrolled(control, "sg", NOW))
        for credentials, served in ((grpc.ssl_channel_credentials(_ca(control)), False), (good, True)):
            async with _channel(control, credentials) as channel:
                check = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
                if served:
                    assert (await check).status == health_pb2.HealthCheckResponse.SERVING
                else:
                    with pytest.raises(grpc.aio.AioRpcError) as refusal:
                        await check
                    assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_each_of_many_connections_speaks_as_the_edge_of_its_certificate(tmp_path: Path) -> None:
    """A report with a link to the own edge is refused as such, so that each answer tells as whom it was taken."""
    async with running_control(tmp_path / "control") as control:
        names = ("sg", "fra", "iad")
        identities = [await ensure_identity(edge_settings(name, tmp_path / name, control)) for name in names]

        async def speak(identity: EdgeIdentity) -> None:
            for claimed in names:
                link = telemetry_pb2.LinkMeasurement(
                    peer_edge_id=claimed, measured_by=telemetry_pb2.MEASURED_BY_PROBE, rtt_ms=-1
                )
                report = telemetry_pb2.ReportRequest(full=True, description=edge_pb2.EdgeDescription(), links=[link])
                metadata = (("x-forwarded-for", claimed), ("peer", claimed))
                error = await _failure(control, _credentials(identity), report, metadata)
                own = "peer_edge_id" in (error.details() or "")
                assert own == (claimed == identity.edge_id), f"{identity.edge_id} names {claimed}: {error.details()}"

        async with asyncio.TaskGroup() as tasks:
            for identity in identities * 4:
                tasks.create_task(speak(identity))
        assert await control.metric('tradewind_control_report_streams_ended_total{reason="no_identity"}') == 0


async def test_megabytes_of_telemetry_pass(tmp_path: Path) -> None:
    async with running_control(tmp_path / "control") as control:
        credentials = _credentials(_enrolled(control, "sg", NOW))
        room = "r" * 200
        gone = [telemetry_pb2.StreamKey(room=f"{room}{number}", incarnation=1) for number in range(10_000)]
        large = telemetry_pb2.ReportRequest(gone_streams=gone)
        assert large.ByteSize() > 2_000_000

        async def reports() -> AsyncIterator[telemetry_pb2.ReportRequest]:
            yield telemetry_pb2.ReportRequest(full=True, description=edge_pb2.EdgeDescription())
            for _ in range(8):
                yield large
            await asyncio.Event().wait()

        async def taken() -> bool:
            return await control.metric("tradewind_control_reports_total") == 9

        async with _channel(control, credentials) as channel:
            call = fleet_pb2_grpc.FleetServiceStub(channel).Report(reports())
            assert (await call.read()).leader_epoch > 0  # type: ignore[union-attr]
            await until(taken)
            assert not call.done()
            call.cancel()


async def test_sockets_of_the_inner_servers_are_their_owners_alone_and_survive_a_crash(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 30) / "control"
    (folder / "grpc").mkdir(parents=True, mode=0o755)
    for name in ("fleet", "refusals"):
        with socket.socket(socket.AF_UNIX) as left:
            here = os.open(folder / "grpc", os.O_PATH)
            left.bind(f"/proc/self/fd/{here}/{name}")
            os.close(here)
    async with running_control(folder) as control:
        assert (folder / "grpc").stat().st_mode & 0o777 == 0o700
        error = await _failure(control, grpc.ssl_channel_credentials(_ca(control)))
        assert _reason(error) == "certificate_missing"
    assert list((folder / "grpc").iterdir()) == []


def test_a_name_of_a_connection_is_known_while_it_lives_and_never_comes_again() -> None:
    callers = Callers()
    sg, fra = Caller((("DNS", "sg"),)), Caller((("DNS", "fra"),))
    with callers.socket_for(sg) as first, callers.socket_for(fra) as second:
        peers = [f"unix-abstract:{end.getsockname()[1:].decode()}" for end in (first, second)]
        assert [callers.find(peer) for peer in peers] == [sg, fra]
    with callers.socket_for(fra) as third:
        assert f"unix-abstract:{third.getsockname()[1:].decode()}" not in peers
        assert [callers.find(peer) for peer in (*peers, "unix:", "")] == [Caller()] * 4


async def test_who_never_ends_the_handshake_goes_and_their_number_is_bounded(tmp_path: Path) -> None:
    async with _front(tmp_path, handshake_timeout_s=1.0, strangers_max=3) as (address, authority, counts):
        idle = [await asyncio.open_connection(*address) for _ in range(3)]
        hello = b"\x16\x03\x01\x02\x00\x01"
        idle[1][1].write(hello)  # a ClientHello that ends here
        await until(lambda: counts.places == 3)
        above, writer = await asyncio.open_connection(*address)
        assert await above.read() == b""
        assert counts.reasons == {"connections_full": 1}
        writer.close()
        for reader, _ in idle:
            async with asyncio.timeout(10):
                assert await reader.read() == b""
        assert counts.reasons == {"connections_full": 1, "handshake_timeout": 3}
        for _, writer in idle:
            writer.close()
        await until(lambda: counts.places == 0)
        assert await _echo(address, authority, tmp_path) == b"hello"


async def test_no_tls_old_tls_and_those_who_leave_are_counted(tmp_path: Path) -> None:
    async with _front(tmp_path) as (address, authority, counts):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        await reader.read()
        writer.close()
        old = _client_tls(authority)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await asyncio.open_connection(*address, ssl=old, server_hostname=CONTROL_NAME)
        _, writer = await asyncio.open_connection(*address)
        writer.transport.abort()
        await until(lambda: counts.reasons == {"tls_failed": 2, "handshake_left": 1}, 10, lambda: counts.reasons)
        await until(lambda: counts.places == 0)


async def test_what_comes_for_an_end_that_has_gone_is_left_behind() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        _, writer = await asyncio.open_unix_connection(sock=ours)
        writer.transport.abort()
        await writer.wait_closed()
        with pytest.raises(RuntimeError):
            writer.write(b"uvloop calls this a mistake")
        late = asyncio.StreamReader()
        late.feed_data(b"late")
        late.feed_eof()
        await carry(late, writer)


async def test_megabytes_pass_both_ways_unchanged_and_nothing_stays_open(tmp_path: Path) -> None:
    async with _front(tmp_path) as (address, authority, counts):
        data = os.urandom(1 << 20) * 8
        before = _descriptors()
        assert await _echo(address, authority, tmp_path, data) == data
        await until(lambda: _descriptors() == before)
        assert counts.reasons == {}


class _Counts:
    def __init__(self) -> None:
        self.reasons: dict[str, int] = {}
        self.front: Front | None = None

    def count(self, reason: str) -> None:
        self.reasons[reason] = self.reasons.get(reason, 0) + 1

    @property
    def places(self) -> int:
        assert self.front is not None
        return self.front.strangers


@asynccontextmanager
async def _front(
    tmp_path: Path, *, handshake_timeout_s: float = 10.0, strangers_max: int = 8
) -> AsyncIterator[tuple[tuple[str, int], Authority, _Counts]]:
    """A front before a server that sends everything back."""
    authority = Authority(tmp_path, hosts=[], join_secrets=[], now=NOW)
    counts = _Counts()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async with AsyncExitStack() as stack:
        path = str(tmp_path / "echo")
        await stack.enter_async_context(await asyncio.start_unix_server(echo, path))
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.setblocking(False)
        counts.front = Front(
            authority,
            Callers(),
            listener,
            serving=path,
            refusing=str(tmp_path / "nobody"),
            count=counts.count,
            handshake_timeout_s=handshake_timeout_s,
            strangers_max=strangers_max,
        )
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(counts.front.serve())
            try:
                yield listener.getsockname(), authority, counts
            finally:
                serving.cancel()


async def _echo(address: tuple[str, int], authority: Authority, folder: Path, data: bytes = b"hello") -> bytes:
    """What comes back to an edge with a good certificate."""
    key, request = _request("sg")
    chain = folder / "sg.pem"
    chain.write_bytes(authority.enrol("sg", authority.join_token, request, NOW) + key)
    tls = _client_tls(authority)
    tls.load_cert_chain(chain)
    reader, writer = await asyncio.open_connection(*address, ssl=tls, server_hostname=CONTROL_NAME)

    async def send() -> None:
        writer.write(data)
        await writer.drain()

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(send())
        back = await reader.readexactly(len(data))
    writer.close()
    return back


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _client_tls(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.ca_pem.decode())


def _request(edge_id: str) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, edge_id)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return _key_pem(key), request.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _enrolled(control: Control, edge_id: str, now: datetime.datetime) -> EdgeIdentity:
    """A certificate of control's own CA as it would have been given at `now`."""
    key, request = _request(edge_id)
    authority = Authority(control.data_dir, hosts=[], join_secrets=[], now=now)
    return EdgeIdentity(edge_id, key, authority.enrol(edge_id, control.join_token, request, now), authority.ca_pem)


def _forged(control: Control, edge_id: str) -> EdgeIdentity:
    """Names control's CA as its issuer and is signed by another key."""
    ca = x509.load_pem_x509_certificate(_ca(control))
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, edge_id)]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(edge_id)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return EdgeIdentity(edge_id, _key_pem(key), certificate.public_bytes(serialization.Encoding.PEM), _ca(control))


def _ca(control: Control) -> bytes:
    return (control.data_dir / "keys" / "ca.pem").read_bytes()


def _credentials(identity: EdgeIdentity) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(identity.ca_pem, identity.key_pem, identity.certificate_pem)


def _channel(control: Control, credentials: grpc.ChannelCredentials) -> grpc.aio.Channel:
    # Channels of one address and one certificate would share a connection.
    options = [
        ("grpc.ssl_target_name_override", CONTROL_NAME),
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_send_message_length", 8 << 20),
    ]
    return grpc.aio.secure_channel(control.grpc_address, credentials, options)


async def _failure(
    control: Control,
    credentials: grpc.ChannelCredentials,
    report: telemetry_pb2.ReportRequest | None = None,
    metadata: tuple[tuple[str, str], ...] = (),
) -> grpc.aio.AioRpcError:
    """What a report comes to."""

    async def once() -> AsyncIterator[telemetry_pb2.ReportRequest]:
        yield report or telemetry_pb2.ReportRequest(full=True, description=edge_pb2.EdgeDescription())
        await asyncio.Event().wait()

    async with _channel(control, credentials) as channel:
        call = fleet_pb2_grpc.FleetServiceStub(channel).Report(once(), metadata=metadata)
        try:
            async with asyncio.timeout(20):
                async for _ in call:
                    pass
        except grpc.aio.AioRpcError as error:
            return error
    raise AssertionError("control took it")


def _reason(error: grpc.aio.AioRpcError) -> str:
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    details = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(details)
    return str(details.reason)


async def _refused(control: Control, reason: str) -> float:
    return await control.metric(f'tradewind_control_grpc_connections_refused_total{{reason="{reason}"}}')
