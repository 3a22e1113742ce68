"""Refusals over HTTP: `application/problem+json` (RFC 9457) with a machine-readable reason.

Problem
    Raise it anywhere below a handler; `install_problems` turns it, and Starlette's own errors, into responses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tradewind.common.logging import get_logger

log = get_logger(__name__)


class Problem(Exception):
    """A request that is refused. `reason` is snake_case and a metric label; `detail` tells the caller what to do."""

    def __init__(self, status: int, reason: str, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {reason}: {detail}")
        self.status = status
        self.reason = reason
        self.detail = detail
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """RFC 9457 §3: type, title, status, detail; `reason` is our extension member."""
        body = {
            "type": f"urn:tradewind:problem:{self.reason}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "reason": self.reason,
        }
        return Response(
            # A detail may quote what was sent, half a surrogate pair included.
            json.dumps(body, ensure_ascii=False).encode(errors="replace"),
            status_code=self.status,
            headers={**self.headers, "Cache-Control": "no-store"},
            media_type="application/problem+json",
        )


def install_problems(app: Starlette, count: Callable[[Request, Problem], None] | None = None) -> None:
    """Every refusal and every failure of `app` leaves as problem+json; `count` sees each one."""

    def answer(request: Request, problem: Problem) -> Response:
        if count is not None:
            count(request, problem)
        return problem.response()

    async def on_problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return answer(request, error)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        reason = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_").replace("-", "_")
        return answer(request, Problem(error.status_code, reason, _detail(error), headers=error.headers))

    async def on_failure(request: Request, error: Exception) -> Response:
        log.error("request_failed", path=request.url.path, method=request.method, exc_info=error)
        return answer(request, Problem(500, "internal_error", "The fault is ours; it is in the log. Try again."))

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_failure)


def _detail(error: HTTPException) -> str:
    if error.status_code == 404:
        return "There is nothing at this address."
    if error.status_code == 405:
        return "This address does not take this method; see the Allow header."
    return error.detail
