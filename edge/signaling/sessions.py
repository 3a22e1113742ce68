"""Sessions by their resource id: what a Location header leads to. Pure; bounded by the packet path's own limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SessionRole = Literal["host", "viewer"]


@dataclass(frozen=True, slots=True)
class SessionResource:
    """One WHIP or WHEP session. `person` is empty for a guest; `etag` names its ICE session (RFC 9725 §4.3.1)."""

    resource_id: str
    session_id: int
    room: str
    role: SessionRole
    person: str
    etag: str
    posted_at: float


class SessionTable:
    """Finds sessions by resource id for requests, and by session id for events of the packet path."""

    def __init__(self) -> None:
        self._by_resource: dict[str, SessionResource] = {}
        self._by_session: dict[int, SessionResource] = {}

    def __len__(self) -> int:
        return len(self._by_resource)

    def add(self, resource: SessionResource) -> None:
        """Remembers a new session."""
        self._by_resource[resource.resource_id] = resource
        self._by_session[resource.session_id] = resource

    def find(self, room: str, role: SessionRole, resource_id: str) -> SessionResource | None:
        """The session at this URL; a wrong room or the other protocol's path finds nothing."""
        resource = self._by_resource.get(resource_id)
        if resource is None or resource.room != room or resource.role != role:
            return None
        return resource

    def of_session(self, session_id: int) -> SessionResource | None:
        """The resource of a session of the packet path."""
        return self._by_session.get(session_id)

    def remove(self, session_id: int) -> SessionResource | None:
        """Forgets a session that has ended."""
        resource = self._by_session.pop(session_id, None)
        if resource is not None:
            del self._by_resource[resource.resource_id]
        return resource
