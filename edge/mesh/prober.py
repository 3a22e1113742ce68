"""The path prober: QUIC DATAGRAM probes to other edges, and answers to theirs. The rim around `probing`.

One UDP socket takes the peers' connections; each connection to a peer has a socket of its own. QUIC authenticates the
server by its fleet certificate; aioquic's servers cannot ask for the client's, so every datagram carries a MAC under
the pair's key.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer
from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE, QuicConfiguration
from aioquic.quic.congestion.base import QuicCongestionControl, register_congestion_control
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, DatagramFrameReceived, HandshakeCompleted, QuicEvent
from aioquic.quic.packet import QuicPacketType, pull_quic_header
from aioquic.quic.packet_builder import QuicSentPacket
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from edge.mesh.identity import EdgeIdentity
from edge.mesh.probe_wire import DATAGRAM_MAX_BYTES, ProbeDrop, read_sender
from edge.mesh.probing import Measurement, PeerProbe
from tradewind.common.logging import get_logger

log = get_logger(__name__)

ALPN = "tradewind-probe/1"
# A connection over a dead path is given up and tried anew; the estimators have told of it long before.
IDLE_TIMEOUT_S = 15.0
HANDSHAKE_TIMEOUT_S = 5.0
RECONNECT_AFTER_S = 1.0
# The agent asks four times a second. A longer pause is this process standing still, and what waits in its sockets is
# not yet read: the peers are excused for the pause and for a burst's time after it.
ASKED_AT_LEAST_EVERY_S = 0.6
EXCUSED_FOR_S = 1.5
# Each connection has a few ids; strangers who open more than this are not heard.
CONNECTION_IDS_MAX = 2048


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """Whom to probe, where, and under which key; `warm` targets get five bursts a second."""

    edge_id: str
    address: str
    key: bytes
    warm: bool


class _FixedWindow(QuicCongestionControl):
    """A few hundred bytes a second need no congestion control, and a window cut by loss would delay the very probes
    that measure it."""

    def __init__(self, *, max_datagram_size: int) -> None:
        super().__init__(max_datagram_size=max_datagram_size)
        self.congestion_window = 64 * max_datagram_size

    def on_packet_acked(self, *, now: float, packet: QuicSentPacket) -> None:
        self.bytes_in_flight -= packet.sent_bytes

    def on_packet_sent(self, *, packet: QuicSentPacket) -> None:
        self.bytes_in_flight += packet.sent_bytes

    def on_packets_expired(self, *, packets: Iterable[QuicSentPacket]) -> None:
        for packet in packets:
            self.bytes_in_flight -= packet.sent_bytes

    def on_packets_lost(self, *, now: float, packets: Iterable[QuicSentPacket]) -> None:
        self.on_packets_expired(packets=packets)

    def on_persistent_congestion(self) -> None:
        pass

    def on_rtt_measurement(self, *, now: float, rtt: float) -> None:
        pass


register_congestion_control("tradewind-probe", _FixedWindow)


class Prober:
    """Binds on construction; probes while `run` runs."""

    def __init__(
        self,
        identity: EdgeIdentity,
        *,
        host: str,
        port: int,
        clock: Callable[[], float] = time.monotonic,
        clock_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        on_drop: Callable[[ProbeDrop], None] = lambda _reason: None,
    ) -> None:
        """Raises OSError when the address is taken."""
        self._identity = identity
        self._clock = clock
        self._clock_us = clock_us
        self._on_drop = on_drop
        self._instance = clock_us() // 1000
        self._nonce_key = secrets.token_bytes(16)
        self._peers: dict[str, PeerProbe] = {}
        self._targets: dict[str, ProbeTarget] = {}
        self._changed = asyncio.Event()
        self._asked_at = clock()
        self._excuse_s = 0.0
        self._excused_until = 0.0
        self._host = host.strip("[]")
        self._socket = _bind(self._host, port)
        self.port: int = self._socket.getsockname()[1]

    def apply_targets(self, targets: Sequence[ProbeTarget]) -> None:
        """The whole list; estimators of pairs that stay are kept."""
        self._targets = {target.edge_id: target for target in targets}
        for edge_id in set(self._peers) - set(self._targets):
            del self._peers[edge_id]
        for target in targets:
            peer = self._peers.get(target.edge_id)
            if peer is None or peer.key != target.key:
                own = self._identity.edge_id
                peer = PeerProbe(
                    own,
                    target.edge_id,
                    target.key,
                    nonce_key=self._nonce_key,
                    instance=self._instance,
                    now=self._clock(),
                )
                self._peers[target.edge_id] = peer
            peer.warm = target.warm
        self._changed.set()

    def measurements(self) -> dict[str, Measurement]:
        """By peer; peers about whom nothing can be said yet are left out."""
        now = self._clock()
        pause = now - self._asked_at
        self._asked_at = now
        if pause > ASKED_AT_LEAST_EVERY_S:
            self._excuse_s, self._excused_until = pause, now + EXCUSED_FOR_S
        excuse = self._excuse_s if now < self._excused_until else 0.0
        found = {edge_id: peer.measure(now=now, excuse_s=excuse) for edge_id, peer in self._peers.items()}
        return {edge_id: measured for edge_id, measured in found.items() if measured is not None}

    async def run(self) -> None:
        """Answers and probes until cancelled."""
        loop = asyncio.get_running_loop()
        configuration = self._server_configuration()
        transport, server = await loop.create_datagram_endpoint(
            lambda: _Server(configuration=configuration, create_protocol=self._make_protocol, on_drop=self._on_drop),
            sock=self._socket,
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                running: dict[str, tuple[str, asyncio.Task[None]]] = {}
                while True:
                    await self._changed.wait()
                    self._changed.clear()
                    for edge_id, (address, task) in list(running.items()):
                        target = self._targets.get(edge_id)
                        if target is None or target.address != address:
                            task.cancel()
                            del running[edge_id]
                    for edge_id, target in self._targets.items():
                        if edge_id not in running and target.address:
                            task = tasks.create_task(self._keep_probing(edge_id, target.address))
                            running[edge_id] = (target.address, task)
        finally:
            server.close()
            transport.close()

    def handle_datagram(self, datagram: bytes) -> bytes | None:
        """What to answer to a datagram from whoever sent it."""
        answer = self._answer(datagram)
        if isinstance(answer, ProbeDrop):
            self._on_drop(answer)
            return None
        return answer

    def _answer(self, datagram: bytes) -> bytes | ProbeDrop | None:
        sender = read_sender(datagram)
        if isinstance(sender, ProbeDrop):
            return sender
        peer = self._peers.get(sender)
        if peer is None:
            return ProbeDrop.UNKNOWN_PEER
        return peer.handle_datagram(datagram, now=self._clock(), clock_us=self._clock_us())

    async def _keep_probing(self, edge_id: str, address: str) -> None:
        while True:
            try:
                await self._probe(edge_id, address)
            except (OSError, TimeoutError) as error:
                log.debug("probe_connection_failed", peer=edge_id, address=address, error=str(error))
            await asyncio.sleep(RECONNECT_AFTER_S)

    async def _probe(self, edge_id: str, address: str) -> None:
        """One connection's life: bursts until it ends."""
        loop = asyncio.get_running_loop()
        remote = await _resolve(address)
        local = socket.socket(remote[0], socket.SOCK_DGRAM)
        local.setblocking(False)
        local.bind((_any_like(self._host, remote[0]), 0))
        transport, protocol = await loop.create_datagram_endpoint(
            lambda: self._make_protocol(QuicConnection(configuration=self._client_configuration(edge_id))), sock=local
        )
        try:
            protocol.connect(remote[1])
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                await protocol.ready.wait()
            met: int | None = None
            while not protocol.ended.is_set():
                peer = self._peers.get(edge_id)
                if peer is None:
                    return
                # QUIC would go on for the idle time-out talking to a process that is gone, while the echoes that the
                # new one asks for arrive: every probe in between would count as lost.
                if met is not None and peer.peer_instance != met:
                    return
                met = peer.peer_instance
                for _ in range(peer.burst_packets):
                    protocol.send(peer.make_probe(now=self._clock(), clock_us=self._clock_us()))
                try:
                    async with asyncio.timeout(peer.burst_interval_s):
                        await protocol.ended.wait()
                except TimeoutError:
                    pass
        finally:
            protocol.close()
            transport.close()

    def _make_protocol(self, quic: QuicConnection, stream_handler: object = None) -> _ProbeProtocol:
        return _ProbeProtocol(quic, self.handle_datagram)

    def _server_configuration(self) -> QuicConfiguration:
        configuration = self._configuration(is_client=False)
        chain = x509.load_pem_x509_certificates(self._identity.certificate_pem)
        configuration.certificate, configuration.certificate_chain = chain[0], chain[1:]
        configuration.private_key = serialization.load_pem_private_key(self._identity.key_pem, None)
        return configuration

    def _client_configuration(self, edge_id: str) -> QuicConfiguration:
        configuration = self._configuration(is_client=True)
        configuration.server_name = edge_id
        configuration.load_verify_locations(cadata=self._identity.ca_pem)
        return configuration

    def _configuration(self, *, is_client: bool) -> QuicConfiguration:
        return QuicConfiguration(
            is_client=is_client,
            alpn_protocols=[ALPN],
            idle_timeout=IDLE_TIMEOUT_S,
            max_datagram_frame_size=DATAGRAM_MAX_BYTES + 16,
            congestion_control_algorithm="tradewind-probe",
        )


class _ProbeProtocol(QuicConnectionProtocol):
    def __init__(self, quic: QuicConnection, handle_datagram: Callable[[bytes], bytes | None]) -> None:
        super().__init__(quic)
        self._handle_datagram = handle_datagram
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()

    def quic_event_received(self, event: QuicEvent) -> None:
        """Answers go out with the transmission that follows every received datagram."""
        if isinstance(event, DatagramFrameReceived):
            answer = self._handle_datagram(event.data)
            if answer is not None:
                self._quic.send_datagram_frame(answer)
        elif isinstance(event, HandshakeCompleted):
            self.ready.set()
        elif isinstance(event, ConnectionTerminated):
            self.ended.set()

    def send(self, datagram: bytes) -> None:
        """At once: the probe already carries its time."""
        self._quic.send_datagram_frame(datagram)
        self.transmit()


class _Server(QuicServer):
    """What belongs to no connection and opens none falls with a name, where aioquic drops it without a word or, in
    another version, answers it."""

    def __init__(
        self,
        *,
        configuration: QuicConfiguration,
        create_protocol: Callable[..., QuicConnectionProtocol],
        on_drop: Callable[[ProbeDrop], None],
    ) -> None:
        super().__init__(configuration=configuration, create_protocol=create_protocol)
        self._on_drop = on_drop

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        """One datagram of the port."""
        reason = self._reason_against(data) if isinstance(data, bytes) else ProbeDrop.NOT_QUIC
        if reason is None:
            super().datagram_received(data, addr)
        else:
            self._on_drop(reason)

    def _reason_against(self, data: bytes) -> ProbeDrop | None:
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=self._configuration.connection_id_length)
        except ValueError:
            return ProbeDrop.NOT_QUIC
        if header.destination_cid in self._protocols:
            return None
        # RFC 9000 §14.1: a first packet fills its datagram.
        if header.packet_type != QuicPacketType.INITIAL or len(data) < SMALLEST_MAX_DATAGRAM_SIZE:
            return ProbeDrop.UNKNOWN_CONNECTION
        if header.version not in self._configuration.supported_versions:
            return ProbeDrop.NOT_QUIC
        return ProbeDrop.CONNECTIONS_FULL if len(self._protocols) > CONNECTION_IDS_MAX else None


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_DGRAM)
    bound.setblocking(False)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise OSError(error.errno, f"udp {host}:{port} (probe.port) cannot be bound: {error.strerror}") from error
    return bound


async def _resolve(address: str) -> tuple[socket.AddressFamily, Any]:
    host, _, port = address.rpartition(":")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)
    except ValueError as error:
        raise OSError(f"{address!r} is not host:port") from error
    return found[0][0], found[0][4]


def _any_like(host: str, family: socket.AddressFamily) -> str:
    """The prober's own address when it speaks the peer's family, so that a firewall sees one address."""
    if (":" in host) == (family == socket.AF_INET6):
        return host
    return "::" if family == socket.AF_INET6 else "0.0.0.0"
