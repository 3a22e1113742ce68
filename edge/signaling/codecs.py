"""Which codecs an answer of ours takes. Pure. It reads what the packet path wrote, never a stranger's SDP."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

KINDS: Final = {"opus": "audio", "h264": "video", "vp8": "video"}
"""Everything that is forwarded, by the names of SDP in small letters."""


def lacking_codec(answer: str, left_out: Collection[str], sent: Iterable[str]) -> str:
    """The first codec of `sent` that the answer does not take although its kind was asked for; empty when none lacks.

    A kind that the answer does not take was not asked for, unless it is among `left_out`: then none of the codecs that
    were offered is forwarded.
    """
    taken: dict[str, set[str]] = {}
    kind = ""
    for line in answer.splitlines():
        if line.startswith("m="):
            kind, _, rest = line.removeprefix("m=").partition(" ")
            if rest.startswith("0 "):  # RFC 3264 §6: port 0 refuses the section
                kind = ""
            else:
                taken.setdefault(kind, set())
        elif kind and line.startswith("a=rtpmap:"):
            taken[kind].add(line.partition(" ")[2].partition("/")[0].lower())
    for codec in sent:
        kind = KINDS.get(codec, "")
        if kind in left_out or (kind in taken and codec not in taken[kind]):
            return codec
    return ""
