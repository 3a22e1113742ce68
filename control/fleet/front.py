"""The TLS end of control's gRPC port: who comes without a good certificate is told so, and counted by reason.

gRPC's own server in Python either demands a client certificate inside the handshake, where a caller without one only
sees a connection that closes, or asks for none. So TLS ends here: OpenSSL checks the certificate against the CA, and
the bytes go on to one of two gRPC servers on sockets in a directory of control's own (`control/fleet/service.py`):
the fleet's, or one that refuses every call. The end towards them is bound to a name that is used once; `Callers`
knows whose certificate stands behind it, so that who calls is still what the certificate says.
"""

from __future__ import annotations

import asyncio
import datetime
import secrets
import socket
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from cryptography import x509

from control.fleet.authority import Authority
from tradewind.common.logging import get_logger

log = get_logger(__name__)

REASONS: Final = (
    "certificate_missing",
    "certificate_expired",
    "certificate_not_yet_valid",
    "certificate_foreign",
    "certificate_invalid",
    "tls_failed",
    "handshake_left",
    "handshake_timeout",
    "connections_full",
    "internal_error",
)
HANDSHAKE_TIMEOUT_S: Final = 5.0
"""A handshake is two round trips; around the world that is well below a second."""
REFUSED_S: Final = 5.0
"""How long a refused connection may stay to ask and be told; its calls are answered at once."""
STRANGERS_MAX: Final = 512
"""Connections in their handshake or refused, all together; above it new ones are closed, and edges try again."""
SILENCE_MAX_MS: Final = 20_000
"""A peer that takes nothing of what was sent is gone; gRPC's pings find the others within 15 s."""
CHUNK_BYTES: Final = 65_536
# openssl/x509_vfy.h; the ssl module has no names for these.
X509_V_FLAG_NO_CHECK_TIME: Final = 0x200000
UNKNOWN_ISSUER_CODES: Final = (18, 19, 20, 21)

Ends: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a connection gets no service; `detail` says what to do."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Caller:
    """Who stands behind a connection: its certificate's alternative names, each as ("DNS" or "other", value)."""

    names: tuple[tuple[str, str], ...] = ()
    refusal: Refusal | None = None


class Callers:
    """Who calls, by gRPC's name for the connection (`context.peer()`)."""

    def __init__(self) -> None:
        self._known: dict[str, Caller] = {}

    def find(self, peer: str) -> Caller:
        """Nobody, unless the connection is one that `socket_for` made and that lives."""
        return self._known.get(peer, Caller())

    @contextmanager
    def socket_for(self, caller: Caller) -> Iterator[socket.socket]:
        """A socket to reach the inner server for `caller`. Its name is known as long as the block runs, never again."""
        # Other processes can bind abstract names too; one that cannot be guessed is never taken before us.
        name = f"tradewind-{secrets.token_hex(16)}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as inner:
            inner.setblocking(False)
            inner.bind(f"\0{name}")
            self._known[f"unix-abstract:{name}"] = caller
            try:
                yield inner
            finally:
                del self._known[f"unix-abstract:{name}"]


class Front:
    """Accepts on the public port. `serving` and `refusing` are the paths of the inner servers' sockets."""

    def __init__(
        self,
        authority: Authority,
        callers: Callers,
        listener: socket.socket,
        *,
        serving: str,
        refusing: str,
        count: Callable[[str], None],
        utc_now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
        handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
        strangers_max: int = STRANGERS_MAX,
    ) -> None:
        self._tls = _edges_tls(authority)
        self._ca_ends = x509.load_pem_x509_certificate(authority.ca_pem).not_valid_after_utc
        self._callers = callers
        self._listener = listener
        self._serving, self._refusing = serving, refusing
        self._count = count
        self._utc_now = utc_now
        self._handshake_timeout_s = handshake_timeout_s
        self._strangers_max = strangers_max
        # Connections in their handshake or refused.
        self.strangers = 0

    async def serve(self) -> None:
        """Until cancelled. Nothing that a connection does ends it."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as connections:
            while True:
                try:
                    connection, _ = await loop.sock_accept(self._listener)
                except OSError as error:
                    # No descriptor is free, or the peer has gone already: the next one may fare better.
                    log.error("accept_failed", error=str(error))
                    await asyncio.sleep(0.1)
                    continue
                if self.strangers >= self._strangers_max:
                    self._count("connections_full")
                    connection.close()
                else:
                    # Counted here, because many may be accepted before the first of their tasks runs.
                    self.strangers += 1
                    connections.create_task(self._serve_one(connection))

    async def _serve_one(self, connection: socket.socket) -> None:
        try:
            admitted = await self._admit(connection)
            if admitted is not None:
                await self._pipe(*admitted, self._serving)
        except Exception:
            self._count("internal_error")
            log.exception("grpc_connection_failed")
            connection.close()

    async def _admit(self, connection: socket.socket) -> tuple[Ends, Caller] | None:
        """Who may be served; the others are gone when this returns."""
        try:
            outer = await self._shake_hands(connection)
            if outer is None:
                return None
            try:
                caller = self._look_at(outer[1])
            except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
                self._refuse("certificate_invalid", str(error))
                outer[1].transport.abort()
                return None
            if caller.refusal is None:
                return outer, caller
            self._refuse(caller.refusal.reason, caller.refusal.detail, caller.names)
            with suppress(TimeoutError):
                async with asyncio.timeout(REFUSED_S):
                    await self._pipe(outer, caller, self._refusing)
            return None
        finally:
            self.strangers -= 1

    async def _shake_hands(self, connection: socket.socket) -> Ends | None:
        """The two ends of the connection, or None when TLS refused it."""
        loop = asyncio.get_running_loop()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_MAX_MS)
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=self._handshake_timeout_s,
                ssl_shutdown_timeout=1.0,
            )
        except ssl.SSLCertVerificationError as error:
            foreign = error.verify_code in UNKNOWN_ISSUER_CODES
            self._refuse("certificate_foreign" if foreign else "certificate_invalid", error.verify_message)
        except ssl.SSLError as error:
            self._refuse("tls_failed", str(error.reason))
        except ConnectionAbortedError:
            self._refuse("handshake_timeout", f"not done in {self._handshake_timeout_s:g} s")
        except OSError as error:
            self._refuse("handshake_left", str(error))
        else:
            return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
        return None

    def _look_at(self, outer: asyncio.StreamWriter) -> Caller:
        """Who the certificate names. OpenSSL has checked all of it but the time, which is checked here, because a
        handshake that fails cannot tell the edge why."""
        tls: ssl.SSLObject = outer.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True)
        if der is None:
            detail = "this edge shows no certificate: enrol it with control's join token (control.join_token)"
            return Caller(refusal=Refusal("certificate_missing", detail))
        certificate = x509.load_der_x509_certificate(der)
        names = _alternative_names(certificate)
        begins, ends = certificate.not_valid_before_utc, min(certificate.not_valid_after_utc, self._ca_ends)
        now = self._utc_now()
        if now > ends:
            detail = f"the certificate ended at {ends:%Y-%m-%d %H:%M} UTC: enrol again (remove data_dir/identity)"
            return Caller(names, Refusal("certificate_expired", detail))
        if now < begins:
            detail = f"the certificate begins at {begins:%Y-%m-%d %H:%M} UTC, in control's future: set control's clock"
            return Caller(names, Refusal("certificate_not_yet_valid", detail))
        return Caller(names)

    async def _pipe(self, outer: Ends, caller: Caller, path: str) -> None:
        """Carries bytes both ways until one end has gone."""
        with self._callers.socket_for(caller) as connection:
            try:
                await asyncio.get_running_loop().sock_connect(connection, path)
                inner = await asyncio.open_unix_connection(sock=connection)
            except OSError:
                # The servers stop before the front does.
                outer[1].close()
                return
            try:
                async with asyncio.TaskGroup() as ways:
                    ways.create_task(carry(outer[0], inner[1]))
                    ways.create_task(carry(inner[0], outer[1]))
            finally:
                inner[1].transport.abort()
                outer[1].transport.abort()

    def _refuse(self, reason: str, detail: str, names: tuple[tuple[str, str], ...] = ()) -> None:
        self._count(reason)
        log.warning("grpc_connection_refused", reason=reason, detail=detail, names=[value for _, value in names])


def server_tls(authority: Authority) -> ssl.SSLContext:
    """TLS with the certificate that join tokens name, as enrolment serves it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The ssl module reads certificates from files only.
    with tempfile.TemporaryDirectory() as scratch:
        chain = Path(scratch) / "control.pem"
        chain.touch(mode=0o600)
        chain.write_bytes(authority.control.certificate_pem + authority.control.key_pem)
        context.load_cert_chain(chain)
    return context


def _edges_tls(authority: Authority) -> ssl.SSLContext:
    context = server_tls(authority)
    # TLS 1.3 has no renegotiation, and without tickets no session outlives its certificate.
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    # A certificate may be missing; one that is shown must be the CA's.
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=authority.ca_pem.decode())
    context.verify_flags |= X509_V_FLAG_NO_CHECK_TIME
    context.set_alpn_protocols(["h2"])
    return context


def _alternative_names(certificate: x509.Certificate) -> tuple[tuple[str, str], ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(("DNS" if isinstance(name, x509.DNSName) else "other", str(name.value)) for name in names)


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One way of a connection, until either end has gone."""
    try:
        # To uvloop, writing to an end that has gone is a mistake and no OSError.
        while (data := await reader.read(CHUNK_BYTES)) and not writer.is_closing():
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # One end has gone, which ends the other.
    finally:
        writer.close()
