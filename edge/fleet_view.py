"""What the fleet's view means to the people at this edge: where else they can go, and whose tokens are good."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from math import asin, cos, radians, sin, sqrt

from edge.mesh.view import FleetView, Neighbour
from edge.settings import EdgeSettings
from edge.signaling.pages import EDGES_IN_REPLY
from tradewind.common.tokens import TokenVerifier
from tradewind.v1.room_messages import EdgeAddress


class EdgeDirectory:
    """This edge first, then the nearest ones that are up: distance is the best guess before a player has measured."""

    def __init__(self, settings: EdgeSettings, view: Callable[[], FleetView], http_url: Callable[[], str]) -> None:
        self._settings = settings
        self._view = view
        self._http_url = http_url

    def edges(self) -> tuple[EdgeAddress, ...]:
        """For join replies and welcomes."""
        others = [peer for peer in self._view().neighbours if peer.http_url and peer.edge_id != self._settings.edge_id]
        usable = sorted(
            others, key=lambda peer: (_STATUS_ORDER.get(peer.status, 2), self._distance(peer), peer.edge_id)
        )
        rows = [(self._settings.edge_id, self._http_url())]
        rows += [(peer.edge_id, peer.http_url) for peer in usable if peer.status != "down"]
        return tuple(EdgeAddress(edge_id, url.rstrip("/")) for edge_id, url in rows[:EDGES_IN_REPLY])

    def incarnation(self, room: str) -> int:
        """Of the room's source at another edge, seen from the route table; 0 when there is none.

        A route of the settings has the incarnation 0: it stands whether there is a source or not.
        """
        route = self._view().route(room)
        return 0 if route is None else route.incarnation

    def codecs(self, room: str) -> tuple[str, ...]:
        """What the room's source at another edge is sent in, as in `edge.signaling.codecs`; empty when unknown."""
        route = self._view().route(room)
        return () if route is None else route.codecs

    def _distance(self, peer: Neighbour) -> float:
        here, there = radians(self._settings.latitude), radians(peer.latitude_degrees)
        across = radians(peer.longitude_degrees - self._settings.longitude)
        chord = sin((there - here) / 2) ** 2 + cos(here) * cos(there) * sin(across / 2) ** 2
        return asin(sqrt(min(1.0, chord)))


class FleetTokens:
    """A verifier that follows the keys control pushes, besides those of the settings."""

    def __init__(self, settings_keys: Iterable[str], view: Callable[[], FleetView]) -> None:
        self._settings_keys = tuple(settings_keys)
        self._view = view
        self._seen: tuple[tuple[str, bytes], ...] = ()
        self._verifier = TokenVerifier(self._settings_keys)

    def verifier(self) -> TokenVerifier:
        """With the newest keys."""
        keys = self._view().token_keys
        if keys != self._seen:
            self._seen = keys
            pushed = [base64.urlsafe_b64encode(raw).decode().rstrip("=") for _, raw in keys]
            self._verifier.apply_keys([*self._settings_keys, *pushed])
        return self._verifier


_STATUS_ORDER = {"up": 0, "suspect": 1}
