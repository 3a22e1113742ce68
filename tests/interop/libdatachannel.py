"""libdatachannel's C interface, as OBS uses it; the Python package wraps only its data channels."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, byref, c_bool, c_char_p, c_int, c_uint16, create_string_buffer
from pathlib import Path
from types import TracebackType

import pylibdatachannel


class _Configuration(Structure):
    _fields_ = (
        ("ice_servers", POINTER(c_char_p)),
        ("ice_servers_count", c_int),
        ("proxy_server", c_char_p),
        ("bind_address", c_char_p),
        ("certificate_type", c_int),
        ("ice_transport_policy", c_int),
        ("enable_ice_tcp", c_bool),
        ("enable_ice_udp_mux", c_bool),
        ("disable_auto_negotiation", c_bool),
        ("force_media_transport", c_bool),
        ("port_range_begin", c_uint16),
        ("port_range_end", c_uint16),
        ("mtu", c_int),
        ("max_message_size", c_int),
    )


def _load() -> ctypes.CDLL:
    libraries = Path(pylibdatachannel.__file__).parent.parent / "pylibdatachannel.libs"
    return ctypes.CDLL(str(next(libraries.glob("libdatachannel*"))))


class Connection:
    """A peer connection with tracks."""

    def __init__(self) -> None:
        self._library = _load()
        configuration = _Configuration(bind_address=b"127.0.0.1", disable_auto_negotiation=True)
        self._id = self._check(self._library.rtcCreatePeerConnection(byref(configuration)))
        self._tracks: list[int] = []

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._library.rtcDeletePeerConnection(self._id)

    def add_track(self, section: str) -> int:
        """`section` is the m= section that the track stands for."""
        track = self._check(self._library.rtcAddTrack(self._id, section.encode()))
        self._tracks.append(track)
        return track

    def offer(self) -> str:
        self._check(self._library.rtcSetLocalDescription(self._id, b"offer"))
        buffer = create_string_buffer(16_384)
        self._check(self._library.rtcGetLocalDescription(self._id, buffer, len(buffer)))
        return buffer.value.decode()

    def apply_answer(self, answer: str) -> None:
        self._check(self._library.rtcSetRemoteDescription(self._id, answer.encode(), b"answer"))

    def is_open(self, track: int) -> bool:
        return bool(self._library.rtcIsOpen(track))

    def send(self, track: int, packet: bytes) -> None:
        self._check(self._library.rtcSendMessage(track, packet, len(packet)))

    @staticmethod
    def _check(result: int) -> int:
        if result < 0:
            raise RuntimeError(f"libdatachannel says {result}")
        return result
