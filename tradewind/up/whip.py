"""WHIP and WHEP as a client: an offer out, an answer in, a resource to delete (RFC 9725).

SignallingRefused
    The edge said no; `status`, `reason` and `detail` are its problem+json.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import aioice.ice
import httpx
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

if TYPE_CHECKING:
    from types import TracebackType

# Joining a room that nobody hosts yet waits for nothing: an edge answers in milliseconds.
REQUEST_TIMEOUT_S = 10.0


class SignallingRefused(Exception):
    """An edge refused an offer."""

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(f"{status} {reason}: {detail}")
        self.status = status
        self.reason = reason
        self.detail = detail


class SignalledConnection:
    """A peer connection whose offer goes to a WHIP or WHEP address. Add tracks or transceivers, then `open`."""

    def __init__(self, url: str, *, token: str = "") -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._resource = ""
        # An edge is reached directly: no STUN server is asked, so nothing leaves the machine for a loopback edge.
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))

    async def open(self) -> None:
        """Raises SignallingRefused, or httpx.HTTPError when the edge cannot be reached."""
        _gather_for(self._url)
        await self.connection.setLocalDescription(await self.connection.createOffer())
        offer = self.connection.localDescription.sdp
        async with httpx.AsyncClient(timeout=REQUEST_TIMEOUT_S, trust_env=False) as http:
            headers = {**self._headers, "Content-Type": "application/sdp"}
            answer = await http.post(self._url, content=offer.encode(), headers=headers)
        if answer.status_code != 201:
            raise _refusal(answer)
        self._resource = urljoin(self._url, answer.headers["Location"])
        await self.connection.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))

    async def close(self) -> None:
        """Deletes the resource, so that the edge need not wait for silence, and closes the connection."""
        resource, self._resource = self._resource, ""
        try:
            if resource:
                async with httpx.AsyncClient(timeout=1.0, trust_env=False) as http:
                    await http.delete(resource, headers=self._headers)
        except httpx.HTTPError:
            pass  # the edge is gone, and the session with it
        finally:
            await self.connection.close()

    async def __aenter__(self) -> SignalledConnection:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _gather_for(url: str) -> None:
    """aioice never offers loopback; for an edge on loopback it is the one address that surely works."""
    host = urlsplit(url).hostname or ""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if loopback:
        aioice.ice.get_host_addresses = _loopback_addresses


def _loopback_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    return (["127.0.0.1"] if use_ipv4 else []) + (["::1"] if use_ipv6 and not use_ipv4 else [])


def _refusal(answer: httpx.Response) -> SignallingRefused:
    try:
        problem: dict[str, Any] = answer.json()
    except ValueError:
        problem = {}
    detail = problem.get("detail") or answer.text[:200]
    return SignallingRefused(answer.status_code, str(problem.get("reason", "")), str(detail))
