"""Why an edge closes a room's socket: one contract of reasons, close codes (RFC 6455 §7.4) and whether to come again.

| code | reason | retry | when |
|---|---|---|---|
| 1001 | shutting_down | yes | this edge is leaving: go on with the next one of `welcome.edges` |
| 1002 | bad_frame | no | a frame that RFC 6455 does not know: opcode, mask, length; no goodbye message comes first |
| 1003 | not_text | no | a binary frame |
| 1007 | not_utf8 | no | a text frame that is not UTF-8; no goodbye message comes first |
| 1009 | frame_too_large | no | a frame above `rooms.frame_max_bytes`; far above it no goodbye comes first |
| 4400 | bad_message | no | JSON that is no message of `protos/room/v1`; the id, if there is one, cannot be trusted |
| 4401 | token_… | no | token_missing, token_expired and the others of `tradewind.common.tokens` |
| 4403 | token_wrong_room, token_wrong_role | no | a good token, for something else |
| 4408 | hello_timeout | yes | no hello within `rooms.hello_timeout_s` |
| 4409 | hello_expected | no | the first message was no hello, or a later one was |
| 4428 | idle | yes | nothing came for `rooms.idle_timeout_s` |
| 4429 | flood | no | more frames than any page sends (`FRAMES_PER_S`) |
| 4430 | room_full | yes | `rooms.people_max` or `rooms.rooms_max` reached: try the next edge |
| 4431 | slow_consumer | yes | `rooms.socket_queue_frames` frames waited: come again and get what was missed |

The same words are `goodbye.reason`, the label of `tradewind_room_goodbyes_total`, and `GOODBYE_REASONS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tradewind.common.tokens import REASONS as TOKEN_REASONS

FRAMES_PER_S: Final = 20.0
"""A page sends a comment and a ping now and then; twenty a second in the long run is a program."""
FRAMES_BURST: Final = 100
"""What a page may send at once, after a reconnect with unsent comments."""


@dataclass(frozen=True, slots=True)
class Farewell:
    """One row of the table."""

    reason: str
    code: int
    retry: bool


_TABLE: Final = (
    Farewell("shutting_down", 1001, True),
    Farewell("bad_frame", 1002, False),
    Farewell("not_text", 1003, False),
    Farewell("not_utf8", 1007, False),
    Farewell("frame_too_large", 1009, False),
    Farewell("bad_message", 4400, False),
    Farewell("hello_timeout", 4408, True),
    Farewell("hello_expected", 4409, False),
    Farewell("idle", 4428, True),
    Farewell("flood", 4429, False),
    Farewell("room_full", 4430, True),
    Farewell("slow_consumer", 4431, True),
    *(Farewell(reason, 4000 + status, False) for reason, status in TOKEN_REASONS.items()),
)

FAREWELLS: Final = {farewell.reason: farewell for farewell in _TABLE}
"""By reason."""


class SocketEnded(Exception):
    """Raised inside a socket's tasks to end it with a farewell."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.farewell = FAREWELLS[reason]
