"""Events of the packet path, given to the parts of the edge that want them, on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from tradewind.common.logging import get_logger

if TYPE_CHECKING:
    from edge.dataplane import Event

EVENTS_PER_TURN: Final = 256
"""So many at once; the rest waits for the loop's next turn, so that a burst does not starve sockets."""

log = get_logger(__name__)

Handler = Callable[["Event"], None]


class EventSource(Protocol):
    """The part of the packet path that has events."""

    @property
    def event_fd(self) -> int:
        """Readable while there are events."""

    def poll_events(self, limit: int = EVENTS_PER_TURN) -> list[Event]:
        """At most `limit` events, oldest first."""


class EventPump:
    """Reads events when their descriptor says so. A handler that fails is logged, counted, and stops no other."""

    def __init__(self, source: EventSource, handlers: Sequence[Handler], count_failure: Callable[[], None]) -> None:
        self._source = source
        self._handlers = tuple(handlers)
        self._count_failure = count_failure

    def start(self) -> None:
        """From now on, on the running loop."""
        asyncio.get_running_loop().add_reader(self._source.event_fd, self.pump)

    def stop(self) -> None:
        """No more."""
        asyncio.get_running_loop().remove_reader(self._source.event_fd)

    def pump(self) -> None:
        """Hands on what is there."""
        for event in self._source.poll_events(EVENTS_PER_TURN):
            for handler in self._handlers:
                try:
                    handler(event)
                except Exception:
                    self._count_failure()
                    log.exception("event_handler_failed", kind=event.kind)
