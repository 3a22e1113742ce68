"""One precise timer for an event loop.

uvloop and asyncio both round timers to whole milliseconds, which would be the emulator's largest error; Linux's timerfd
wakes the loop through epoll within some tens of microseconds.
"""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_CLOCK_MONOTONIC = 1
_TFD_NONBLOCK = os.O_NONBLOCK
_TFD_CLOEXEC = os.O_CLOEXEC
_TFD_TIMER_ABSTIME = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


class PreciseTimer:
    """Calls back once at a time of the monotonic clock; arming again replaces the earlier time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed: the emulator needs Linux")
        self._loop = loop
        self._callback = callback
        self._armed_for: float | None = None
        self._spec = _Itimerspec()
        loop.add_reader(self._descriptor, self._handle_readable)

    @property
    def armed_for(self) -> float | None:
        return self._armed_for

    def arm(self, when: float) -> None:
        """`when` is in monotonic seconds; a time in the past fires at once."""
        self._armed_for = when
        seconds = int(when)
        self._spec.it_value.tv_sec = seconds
        # All zeros would disarm the timer.
        self._spec.it_value.tv_nsec = max(1, int((when - seconds) * 1e9))
        spec = ctypes.byref(self._spec)
        if self._libc.timerfd_settime(self._descriptor, _TFD_TIMER_ABSTIME, spec, None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def close(self) -> None:
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _handle_readable(self) -> None:
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:
            return  # armed again since it became readable
        self._armed_for = None
        self._callback()
