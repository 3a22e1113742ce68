"""What the viewer makes of each flash and beep that a host has sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from bench.report import Report, judge
from bench.scenarios import sync
from bench.scenarios.sync import Phase, match, playout_delay_ms, sent_by_page
from bench.stalls import Stall

SECONDS = 40
SENT = [(1000.0 * second, 1000.0 * second) for second in range(1, SECONDS + 1)]
FLASHES = [flash + 300.0 for flash, _ in SENT]
EVIDENCE: dict[str, Any] = {
    "process_ids": {"sg": 1},
    "generator": {"host_cpu_s": 1.0},
    "emulator": {"used": False, "why": "there is no link"},
}


def _beeps(*, skew_ms: float = 10.0, lost: Sequence[int] = ()) -> list[tuple[float, float]]:
    return [(flash + skew_ms, 0.0) for number, flash in enumerate(FLASHES) if number not in lost]


def _phase(*, sent: sync.Sent = SENT, beeps: Sequence[Sequence[float]] | None = None, **changes: Any) -> Phase:
    found = match(sent, changes.get("flashes", FLASHES), _beeps() if beeps is None else beeps, started_ms=0.0)
    return Phase(float(SECONDS), found, encoded_fps=changes.get("encoded_fps"))


def _judged(**phases: Phase) -> Report:
    return judge(
        scenario="sync",
        seed=1,
        quick=False,
        without=(),
        machine={},
        bars=sync.SCENARIO.bars,
        required_evidence=sync.SCENARIO.evidence,
        outcome=sync.judge(phases, EVIDENCE),
    )


def test_sound_and_picture_together_hold_the_bar() -> None:
    report = _judged(ffmpeg=_phase(), chromium=_phase(encoded_fps=30.0))
    assert (report.exit_code, report.problems) == (0, ())
    assert report.outcome.results == {"av_skew_p95_ms": 10.0}


@pytest.mark.parametrize("kind", ["beeps", "flashes", "every sound", "everything"])
def test_what_was_sent_and_never_came_out_misses_the_bar(kind: str) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "beeps": {"beeps": _beeps(lost=(3, 9, 30))},
        "flashes": {"flashes": [flash for number, flash in enumerate(FLASHES) if number not in (3, 9, 30)]},
        "every sound": {"beeps": []},
        "everything": {"beeps": [], "flashes": []},
    }
    report = _judged(ffmpeg=_phase(**kinds[kind]))
    assert (report.exit_code, report.problems) == (6, ())
    assert report.outcome.results == {"av_skew_p95_ms": 500.0}


def test_what_was_not_sent_is_the_hosts() -> None:
    report = _judged(ffmpeg=_phase(sent=SENT[:30]), chromium=_phase())
    assert report.exit_code == 5
    assert "ffmpeg: only 30 flashes of 40 were sent" in report.problems
    slow = _judged(chromium=_phase(encoded_fps=20.0))
    assert slow.exit_code == 5
    assert "the machine is the limit" in slow.problems[0]
    assert _judged(ffmpeg=_phase(sent=[])).exit_code == 5


def test_a_machine_that_stood_still_in_every_attempt_proves_nothing_unless_the_bar_was_held() -> None:
    late, good = _phase(beeps=_beeps(skew_ms=90.0)), _phase()
    late.stalls = good.stalls = [Stall(10.0, 0, 80.0, 80.0)]
    report = _judged(ffmpeg=late)
    assert report.exit_code == 5
    assert "took cores away 1 times, for 80 ms" in report.problems[0]
    assert _judged(ffmpeg=good).exit_code == 0


def test_one_bad_phase_does_not_hide_among_good_ones() -> None:
    late = [(at + (140.0 if number < 8 else 0.0), behind) for number, (at, behind) in enumerate(_beeps())]
    report = _judged(ffmpeg=_phase(), takeover=_phase(beeps=late), chromium=_phase())
    assert report.exit_code == 6
    assert report.outcome.results == {"av_skew_p95_ms": 150.0}
    phases: Any = report.outcome.evidence["phases"]
    assert [row["p95_ms"] for row in phases.values()] == [10.0, 150.0, 10.0]
    assert phases["takeover"]["skew_min_ms"] == 10.0
    assert phases["takeover"]["skew_median_ms"] == 10.0
    assert phases["takeover"]["skew_max_ms"] == 150.0


def test_what_is_still_settling_stands_beside_and_does_not_count() -> None:
    phase = _phase()
    phase.settling = match([(-1_000.0, -1_000.0)], [-700.0], [(-400.0, 0.0)], started_ms=0.0)
    report = _judged(takeover=phase)
    assert report.outcome.results == {"av_skew_p95_ms": 10.0}
    phases: Any = report.outcome.evidence["phases"]
    assert phases["takeover"]["settling_p95_ms"] == 300.0
    samples: Any = report.outcome.evidence["raw_samples"]
    assert [row["at_s"] for row in samples["takeover"][:2]] == [-1.0, 1.0]


def test_raw_samples_say_when_and_which_was_late() -> None:
    report = _judged(ffmpeg=_phase(beeps=_beeps(skew_ms=-40.0, lost=(1,))))
    samples: Any = report.outcome.evidence["raw_samples"]
    assert samples["ffmpeg"][0] == {
        "at_s": 1.0,
        "picture_ms": 300.0,
        "sound_ms": 260.0,
        "skew_ms": -40.0,
        "reader_behind_ms": 0.0,
    }
    assert samples["ffmpeg"][1]["skew_ms"] is None
    assert samples["ffmpeg"][1]["picture_ms"] == 300.0


def test_a_flash_drawn_after_its_beep_is_no_skew() -> None:
    (flash,) = match([(1030.0, 1000.0)], [1330.0], [(1300.0, 0.0)], started_ms=0.0)
    assert flash.skew_ms == 0.0


def test_a_host_has_sent_what_it_drew_and_wrote() -> None:
    report = {"flashes": [1030.0, 2020.0, 3400.0], "beeps": [1000.0, 2000.0, 3000.0]}
    assert sent_by_page(report) == [(1030.0, 1000.0), (2020.0, 2000.0)]
    assert sent_by_page({"flashes": [1030.0], "beeps": []}) == []


def test_a_player_that_never_had_sound_has_no_way_to_a_loudspeaker() -> None:
    assert playout_delay_ms(None, None) == 0.0
    assert playout_delay_ms(
        {"totalSamplesCount": 0, "totalPlayoutDelay": 0}, {"totalSamplesCount": 480, "totalPlayoutDelay": 9.6}
    ) == pytest.approx(20.0)
