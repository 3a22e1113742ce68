"""The rim of the emulator: UDP sockets on both sides of every link, one schedule, one timer.

Each link has a socket per side and kind (trunk, probe). An edge reaches its peer by sending to the socket on its own
side. What comes from an edge's registered address leaves through the peer's side socket, so both edges see one stable
address for the other. What comes from any other port of an edge (a client with a socket of its own) gets a flow: a
socket towards the peer whose answers go back to that port.
"""

from __future__ import annotations

import socket
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from heapq import heappop, heappush
from os import fstat
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Literal

from bench.wan.model import DelayHistogram, Drop, LinkDirection
from bench.wan.timer import PreciseTimer

if TYPE_CHECKING:
    import asyncio

    from bench.wan.settings import WanSettings

Kind = Literal["trunk", "probe"]
KINDS: tuple[Kind, ...] = ("trunk", "probe")
Address = tuple[str, int]

# Client flows per side and kind; the one idle for longest gives way. A prober opens one socket per peer.
FLOWS_MAX = 64
# Datagrams read from one socket before the others have their turn.
READ_BATCH = 64
SOCKET_BUFFER_BYTES = 4 << 20


@dataclass(slots=True)
class DirectionState:
    """The model of one direction and what the rim measured on it."""

    origin: str
    destination: str
    model: LinkDirection
    delay: DelayHistogram = field(default_factory=DelayHistogram)
    """From reading a packet to sending it."""
    delivered_bytes: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    """UDP payload bytes that came out, by what the sockets are for."""


@dataclass(slots=True, eq=False)
class Side:
    """One socket of a link: the one edge `near` sends to for reaching edge `far`."""

    near: str
    far: str
    kind: Kind
    socket: socket.socket
    direction: DirectionState
    flows: OrderedDict[Address, Flow] = field(default_factory=OrderedDict)
    opposite: Side = field(init=False)

    @property
    def address(self) -> Address:
        host, port = self.socket.getsockname()[:2]
        return host, port


@dataclass(slots=True, eq=False)
class Flow:
    """A client's own path through a link."""

    client: Address
    side: Side
    socket: socket.socket


class UnknownLinkError(LookupError):
    """There is no link between these two edges; the text says which there are."""


class Relay:
    """Opens the sockets on construction; raises OSError when an address cannot be bound."""

    def __init__(self, settings: WanSettings, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._host = str(settings.host)
        self._schedule_max = settings.schedule_max_packets
        self._schedule: list[tuple[float, int, socket.socket, bytes, Address, DirectionState, Kind, float]] = []
        self._sequence = 0
        self._targets: dict[tuple[str, Kind], Address] = {}
        self._sockets: list[socket.socket] = []
        self._closed = False
        self.lateness = DelayHistogram()
        self.directions: dict[tuple[str, str], DirectionState] = {}
        self.sides: dict[tuple[str, str, Kind], Side] = {}
        self._timer = PreciseTimer(loop, self._send_due)
        for link in settings.links:
            for origin, destination in ((link.a, link.b), (link.b, link.a)):
                # A seed of its own per direction, so that one link's traffic does not change another's losses.
                random = Random(f"{settings.seed}/{origin}/{destination}")
                model = LinkDirection(link.conditions(), random)
                self.directions[origin, destination] = DirectionState(origin, destination, model)
            for kind in KINDS:
                self._open_sides(link.a, link.b, kind)

    def direction(self, origin: str, destination: str) -> DirectionState:
        try:
            return self.directions[origin, destination]
        except KeyError:
            known = ", ".join(sorted(f"{a}-{b}" for a, b in self.directions if a < b)) or "none"
            raise UnknownLinkError(f"no link {origin}-{destination}; links: {known}") from None

    def apply_target(self, edge: str, kind: Kind, address: Address) -> None:
        """Where edge `edge` listens. Raises UnknownLinkError when no link ends there."""
        if not any(near == edge for near, _far in self.directions):
            known = ", ".join(sorted({near for near, _far in self.directions})) or "none"
            raise UnknownLinkError(f"no link ends at {edge}; edges: {known}")
        self._targets[edge, kind] = address

    @property
    def targets(self) -> dict[tuple[str, Kind], Address]:
        return dict(self._targets)

    @property
    def scheduled_packets(self) -> int:
        return len(self._schedule)

    def kernel_drops(self) -> int:
        """Datagrams that the kernel dropped because the emulator was too slow: loss that no link was asked for."""
        inodes = {str(_inode(sock)) for sock in self._sockets}
        drops = 0
        for table in (Path("/proc/net/udp"), Path("/proc/net/udp6")):
            for line in table.read_text(encoding="ascii").splitlines()[1:] if table.exists() else ():
                columns = line.split()
                if columns[9] in inodes:
                    drops += int(columns[12])
        return drops

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._timer.close()
        for sock in self._sockets:
            self._loop.remove_reader(sock.fileno())
            sock.close()
        self._schedule.clear()

    def _open_sides(self, a: str, b: str, kind: Kind) -> None:
        pair = []
        for near, far in ((a, b), (b, a)):
            side = Side(near, far, kind, self._open_socket(), self.directions[near, far])
            self.sides[near, far, kind] = side
            self._loop.add_reader(side.socket.fileno(), self._read_side, side)
            pair.append(side)
        pair[0].opposite, pair[1].opposite = pair[1], pair[0]

    def _open_socket(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
        sock.bind((self._host, 0))
        self._sockets.append(sock)
        return sock

    def _read_side(self, side: Side) -> None:
        targets = self._targets
        near, far = (side.near, side.kind), (side.far, side.kind)
        for _ in range(READ_BATCH):
            try:
                data, source = side.socket.recvfrom(65535)
            except BlockingIOError:
                return
            flow = side.flows.get(source)
            if flow is not None:
                side.flows.move_to_end(source)
                out = flow.socket
            elif source == targets.get(near):
                out = side.opposite.socket
            else:
                out = self._open_flow(side, source).socket
            self._forward(side.direction, side.kind, data, out, targets.get(far))

    def _read_flow(self, flow: Flow) -> None:
        direction = flow.side.opposite.direction
        for _ in range(READ_BATCH):
            try:
                data, _source = flow.socket.recvfrom(65535)
            except BlockingIOError:
                return
            self._forward(direction, flow.side.kind, data, flow.side.socket, flow.client)

    def _open_flow(self, side: Side, client: Address) -> Flow:
        if len(side.flows) >= FLOWS_MAX:
            _client, oldest = side.flows.popitem(last=False)
            self._loop.remove_reader(oldest.socket.fileno())
            self._sockets.remove(oldest.socket)
            oldest.socket.close()
        flow = Flow(client, side, self._open_socket())
        side.flows[client] = flow
        self._loop.add_reader(flow.socket.fileno(), self._read_flow, flow)
        return flow

    def _forward(
        self, direction: DirectionState, kind: Kind, data: bytes, out: socket.socket, to: Address | None
    ) -> None:
        now = time.monotonic()
        # A burst that a test asks for is one of the stream's packets, not of the probes between them.
        for delivery in direction.model.handle_packet(len(data), now=now, burst_hits=kind == "trunk"):
            if to is None:
                direction.model.handle_drop(Drop.NO_TARGET)
                continue
            if len(self._schedule) >= self._schedule_max:
                direction.model.handle_drop(Drop.SCHEDULE_FULL)
                continue
            payload = data
            if delivery.corrupt_at is not None:
                changed = bytearray(data)
                changed[delivery.corrupt_at] ^= 0xFF
                payload = bytes(changed)
            self._sequence += 1
            heappush(self._schedule, (delivery.due, self._sequence, out, payload, to, direction, kind, now))
        if self._schedule:
            due = self._schedule[0][0]
            if due <= now:
                self._send_due()
            elif self._timer.armed_for is None or due < self._timer.armed_for:
                self._timer.arm(due)

    def _send_due(self) -> None:
        schedule = self._schedule
        now = time.monotonic()
        while schedule and schedule[0][0] <= now:
            due, _sequence, out, data, to, direction, kind, received_at = heappop(schedule)
            try:
                out.sendto(data, to)
            except OSError:
                direction.model.handle_drop(Drop.SEND_FAILED)
                continue
            now = time.monotonic()
            direction.model.handle_delivered(len(data))
            direction.delivered_bytes[kind] += len(data)
            direction.delay.handle_value((now - received_at) * 1000.0)
            self.lateness.handle_value((now - due) * 1000.0)
        if schedule:
            self._timer.arm(schedule[0][0])


def _inode(sock: socket.socket) -> int:
    return fstat(sock.fileno()).st_ino
