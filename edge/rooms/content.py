"""What may be said: rules for comments and names. Pure.

A comment that breaks a rule is rejected with the reason, never silently changed, so that its author knows why. Markup
is no rule: `<b>` is text like any other, edges pass it on untouched, and every page shows it as text (`textContent`).
Before the rules, white space at both ends goes and the text is put into Unicode normal form C, so that the same comment
has one length. Names are made fit instead of rejected: nobody should be kept out by an odd character.

| reason | rule |
|---|---|
| empty | nothing visible is left |
| too_long | more than `max_graphemes` user-perceived characters or `max_bytes` of UTF-8 |
| control_character | category Cc, line ends included: one comment is one line |
| bidi_override | embeddings, overrides and isolates (U+202A-202E, U+2066-2069): they reorder neighbours |
| invisible_run | three or more invisible characters in a row; one joiner between letters or emoji is language |
| too_many_marks | more than `MARKS_MAX` combining marks on one letter, which paint over the neighbouring lines |
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

MARKS_MAX: Final = 6
"""Tibetan and Vietnamese need up to four; stacks meant to disturb begin at about ten."""
INVISIBLE_RUN: Final = 3
NAME_MAX_GRAPHEMES: Final = 24

_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_INVISIBLE_CLASS = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u2028\u2029\u2060-\u2065\u206a-\u206f"
    "\u3164\ufeff\uffa0\ufff9-\ufffb"
)
_INVISIBLE = re.compile(f"[{_INVISIBLE_CLASS}]")
_RUN = re.compile(f"[{_INVISIBLE_CLASS}]{{{INVISIBLE_RUN},}}")
_ZERO_WIDTH_JOINER = "\u200d"
_MARKS = ("Mn", "Me", "Mc")


@dataclass(frozen=True, slots=True)
class TextLimits:
    """How long a comment may be."""

    max_graphemes: int
    max_bytes: int


class TextRefused(Exception):
    """A comment breaks a rule; `reason` is one of the table above, the text says what to do."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def check_text(text: str, limits: TextLimits) -> str:
    """The text as it will be shown. Raises TextRefused."""
    # Bytes first: everything below costs time per character.
    if len(text.encode()) > 4 * limits.max_bytes:
        raise _too_long(limits)
    text = unicodedata.normalize("NFC", text.strip())
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise TextRefused("control_character", "Write it on one line, without control characters.")
    if _BIDI.search(text):
        raise TextRefused("bidi_override", "Leave out characters that turn the writing direction around.")
    if not _visible(text):
        raise TextRefused("empty", "Write something that can be seen.")
    if _RUN.search(text):
        raise TextRefused("invisible_run", "Leave out the invisible characters.")
    if _longest_stack(text) > MARKS_MAX:
        raise TextRefused("too_many_marks", "Leave out some of the marks above and below the letters.")
    if len(text.encode()) > limits.max_bytes or count_graphemes(text) > limits.max_graphemes:
        raise _too_long(limits)
    return text


def clean_name(name: str, fallback: str) -> str:
    """A name fit to be shown: one line, nothing invisible, at most 24 user-perceived characters."""
    kept = "".join(
        character
        for character in unicodedata.normalize("NFC", name)
        if unicodedata.category(character) not in ("Cc", "Cf", "Zl", "Zp", "Me") and not _INVISIBLE.match(character)
    )
    kept = " ".join(kept.split())
    while count_graphemes(kept) > NAME_MAX_GRAPHEMES or len(kept) > 64 or _longest_stack(kept) > MARKS_MAX:
        kept = kept[:-1]
    return kept.strip() if _visible(kept) else fallback


def count_graphemes(text: str) -> int:
    """User-perceived characters, by the rules of UAX #29 that matter for length.

    Marks, variation selectors, skin tones, joined emoji, Hangul syllables in parts, tags and flag pairs count with
    what they follow.
    """
    count = 0
    previous = ""
    flags = 0
    for character in text:
        flags = flags + 1 if "\U0001f1e6" <= character <= "\U0001f1ff" else 0
        joined = previous == _ZERO_WIDTH_JOINER or (flags and flags % 2 == 0)
        if not (count and (joined or _extends(character))):
            count += 1
        previous = character
    return count


def _extends(character: str) -> bool:
    if character < "\u0300":
        return False
    return (
        unicodedata.category(character) in _MARKS
        or character in ("\u200c", _ZERO_WIDTH_JOINER)
        or "\U0001f3fb" <= character <= "\U0001f3ff"
        or "\u1160" <= character <= "\u11ff"
        or "\U000e0020" <= character <= "\U000e007f"
    )


def _visible(text: str) -> bool:
    return any(
        not character.isspace()
        and not _INVISIBLE.match(character)
        and unicodedata.category(character) not in ("Cf", "Mn", "Me", "Zs")
        for character in text
    )


def _longest_stack(text: str) -> int:
    longest = stack = 0
    for character in text:
        stack = stack + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        longest = max(longest, stack)
    return longest


def _too_long(limits: TextLimits) -> TextRefused:
    return TextRefused("too_long", f"Write at most {limits.max_graphemes} characters ({limits.max_bytes} bytes).")
