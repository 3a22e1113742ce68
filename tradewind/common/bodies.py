"""Request bodies, bounded in size and in time."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.requests import ClientDisconnect, Request

from tradewind.common.problem import Problem

REASONS: Final = ("body_too_large", "body_timeout", "client_gone")
DISCARDED_MAX_BYTES: Final = 2 << 20
"""Too large a body is read to its end and thrown away up to here, because a client whose connection breaks while it
sends never sees the answer; beyond, it is cut off."""
_CLOSE: Final = {"Connection": "close"}


async def read_body(request: Request, *, max_bytes: int, timeout_s: float) -> bytes:
    """The whole body, or Problem: 413 for one too large, of which nothing is kept; 408 when it does not come."""
    too_large = Problem(413, "body_too_large", f"Send less: a body has at most {max_bytes} bytes here.", headers=_CLOSE)
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > DISCARDED_MAX_BYTES:
        raise too_large
    body = bytearray()
    received = 0
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                received += len(chunk)
                if received <= max_bytes:
                    body += chunk
                elif received > DISCARDED_MAX_BYTES:
                    raise too_large
    except TimeoutError:
        detail = f"The body did not arrive in {timeout_s:g} s. Send it at once."
        raise Problem(408, "body_timeout", detail, headers=_CLOSE) from None
    except ClientDisconnect:
        detail = "The connection closed before the body was complete. Send it again."
        raise Problem(400, "client_gone", detail) from None
    if received > max_bytes:
        raise too_large
    return bytes(body)
