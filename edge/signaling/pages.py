"""What a browser asks first: the pages, where a room can be joined, and whether this edge lives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from edge.signaling.access import AccessGate, check_room
from edge.signaling.http import PREFLIGHT
from tradewind.common.problem import Problem
from tradewind.v1.room_messages import EdgeAddress

STATIC: Final = Path(__file__).resolve().parents[1] / "static"
EDGES_IN_REPLY: Final = 3
"""This edge and two more: enough to survive the loss of one region and of one edge."""
# Pages load nothing from elsewhere; they speak to the other edges of the join reply, whose names are not known here.
# The studio plays a chosen file from a blob.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'self'; connect-src 'self' http: https: ws: wss:; img-src 'self' data:; media-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'"
)
# A watch page may stand inside a shop's page; the studio, which holds camera and microphone, in nobody's.
_FRAMES: Final = {"watch": "", "studio": "; frame-ancestors 'none'"}
_ASSET_TYPES: Final = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".woff2": "font/woff2",
    ".png": "image/png",
    ".webp": "image/webp",
    ".map": "application/json",
}


class Pages:
    """Watch and studio page, their assets, and the join reply."""

    def __init__(
        self,
        *,
        edge_id: str,
        gate: AccessGate,
        is_live: Callable[[str], bool],
        edges: Callable[[], tuple[EdgeAddress, ...]],
        static: Path = STATIC,
    ) -> None:
        self._edge_id = edge_id
        self._gate = gate
        self._is_live = is_live
        self._edges = edges
        self._static = static

    async def page(self, request: Request) -> Response:
        """`/watch/{room}` and `/studio/{room}`."""
        check_room(request.path_params["room"])
        name = request.url.path.split("/")[1]
        path = self._static / f"{name}.html"
        if not path.is_file():
            raise Problem(503, "pages_missing", "The pages are not built: run `make setup`.")
        headers = {
            "Content-Security-Policy": CONTENT_SECURITY_POLICY + _FRAMES[name],
            # Asked for anew each time: it names the assets of the version that runs now.
            "Cache-Control": "no-cache",
            "Referrer-Policy": "no-referrer",
        }
        return FileResponse(path, media_type="text/html; charset=utf-8", headers=headers)

    async def asset(self, request: Request) -> Response:
        """`/assets/…`: named by content hash, so kept for good."""
        root = self._static / "assets"
        missing = Problem(404, "not_found", "There is no such file.")
        try:
            path = (root / request.path_params["path"]).resolve()
            found = path.is_relative_to(root.resolve()) and path.is_file()
        except (OSError, ValueError):
            # A name that no file can have: too long, or with a null byte.
            raise missing from None
        media_type = _ASSET_TYPES.get(path.suffix)
        if media_type is None or not found:
            raise missing
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        return FileResponse(path, media_type=media_type, headers=headers)

    async def join(self, request: Request) -> Response:
        """`/v1/rooms/{room}/join`: what a player needs before its offer, and where to go when this edge dies."""
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=PREFLIGHT)
        room = check_room(request.path_params["room"])
        reply = {
            "room": room,
            "edge_id": self._edge_id,
            "live": self._is_live(room),
            "edges": [address.fields() for address in self._edges()],
            "token_required": self._gate.token_required(room),
        }
        return JSONResponse(reply, headers={"Cache-Control": "no-store"})
