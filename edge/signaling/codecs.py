"""Which codecs an answer of ours takes. Pure. It reads what the packet path wrote, never a stranger's SDP."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

KINDS: Final = {"opus": "audio", "h264": "video", "vp8": "video"}
"""Everything that is forwarded, by the names of SDP in small letters."""


def lacking_codec(answer: str, sent: Iterable[str]) -> str:
    """The first codec of `sent` that the answer does not take although it takes its kind; empty when there is none.

    A kind that is not taken at all was not asked for, or has no codec that is forwarded: that is the packet path's to
    judge.
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
        if kind in taken and codec not in taken[kind]:
            return codec
    return ""
