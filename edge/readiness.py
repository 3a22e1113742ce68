"""Whether this edge lives and whether it is ready: two questions with two answers.

`/livez` looks at the process only: that it answers is the answer. A store or a peer that is away must not get a healthy
edge killed. `/readyz` says what is still missing for new viewers to be sent here.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

Check = Callable[[], str]
"""An empty string when fulfilled, else what is missing, as a sentence."""


class Readiness:
    """Named checks, asked at each request."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}

    def add(self, name: str, check: Check) -> None:
        """Readiness needs this too."""
        self._checks[name] = check

    def missing(self) -> dict[str, str]:
        """What is missing, by name."""
        return {name: text for name, check in self._checks.items() if (text := check())}

    async def livez(self, _request: Request) -> Response:
        """200 while the process answers."""
        return PlainTextResponse("alive\n", headers={"Cache-Control": "no-store"})

    async def readyz(self, _request: Request) -> Response:
        """200, or 503 with what is missing."""
        missing = self.missing()
        status = 503 if missing else 200
        body = {"ready": not missing, "missing": missing}
        return JSONResponse(body, status_code=status, headers={"Cache-Control": "no-store"})
