"""What may be said."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.rooms.content import TextLimits, TextRefused, check_text, clean_name, count_graphemes

LIMITS = TextLimits(max_graphemes=100, max_bytes=800)
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def refused(text: str) -> str:
    with pytest.raises(TextRefused) as raised:
        check_text(text, LIMITS)
    assert raised.value.detail.endswith(".")
    return raised.value.reason


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "<script>alert(1)</script> & <b>bold</b>",
        "弾幕が飛ぶ 🎉",
        "สวัสดีครับ ยินดีต้อนรับ",
        "می‌خواهم",
        "مرحبا بالعالم",
        "שלום",
        "क्‍ष",
        "👩‍👩‍👧‍👦 ❤️‍🔥 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🇸🇬 👍🏽",
        "Tiếng Việt ệ",
        "z͋a",
        "a" * 100,
        "👨‍👩‍👧" * 40,
    ],
)
def test_language_and_markup_pass_unchanged(text: str) -> None:
    assert check_text(text, LIMITS) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("   \u3000 ", "empty"),
        ("\u200b", "empty"),
        ("\u2800\u200b"[1:], "empty"),
        ("\ufe0f", "empty"),
        ("a" * 101, "too_long"),
        ("é" * 1000, "too_long"),
        ("👨‍👩‍👧" * 45, "too_long"),
        ("a\nb", "control_character"),
        ("a\x00b", "control_character"),
        ("a\x1b[31mb", "control_character"),
        ("a\x85b", "control_character"),
        ("abc\u202edef", "bidi_override"),
        ("abc\u2066def\u2069", "bidi_override"),
        ("a\u200b\u200b\u200bb", "invisible_run"),
        ("a\ufeff\u2060\u00adb", "invisible_run"),
        ("Z" + "\u0300" * 20, "too_many_marks"),
        ("a" + "\u20dd" * 7, "too_many_marks"),
    ],
)
def test_what_disturbs_others_is_refused_by_name(text: str, reason: str) -> None:
    assert refused(text) == reason


def test_ends_are_trimmed_and_the_form_is_composed() -> None:
    assert check_text("  cafe\u0301  ", LIMITS) == "café"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("abc", 3),
        ("e\u0301", 1),
        ("👩‍👩‍👧‍👦", 1),
        ("👍🏽👍", 2),
        ("🇸🇬🇩🇪", 2),
        ("🇸🇬x🇩🇪", 3),
        ("🏴󠁧󠁢󠁥󠁮󠁧󠁿", 1),
        ("한국", 2),
        ("\u1112\u1161\u11ab", 1),
        ("❤️", 1),
        ("ก็ได้", 3),
    ],
)
def test_graphemes_are_counted_as_people_count(text: str, count: int) -> None:
    assert count_graphemes(text) == count


@given(ANY_TEXT)
def test_any_text_is_accepted_within_the_limits_or_refused(text: str) -> None:
    try:
        accepted = check_text(text, LIMITS)
    except TextRefused:
        return
    assert 0 < len(accepted.encode()) <= LIMITS.max_bytes
    assert count_graphemes(accepted) <= LIMITS.max_graphemes
    assert check_text(accepted, LIMITS) == accepted, "what was accepted is accepted again, unchanged"


@given(ANY_TEXT)
def test_any_name_becomes_one_that_can_be_shown(text: str) -> None:
    name = clean_name(text, "guest")
    assert 1 <= len(name) <= 64
    assert count_graphemes(name) <= 24
    assert name == name.strip()
    assert not {unicodedata.category(character) for character in name} & {"Cc", "Cf", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Mei", "Mei"),
        ("  Mei \n Ling ", "Mei Ling"),
        ("\u202eadmin", "admin"),
        ("", "guest"),
        ("\u200b\u200b", "guest"),
        ("a" * 60, "a" * 24),
        ("<b>x</b>", "<b>x</b>"),
    ],
)
def test_names_are_made_fit(name: str, shown: str) -> None:
    assert clean_name(name, "guest") == shown
