"""Who was let in while control was away, and whose fault it is when somebody was not."""

from __future__ import annotations

from typing import Any

import pytest

from bench.report import Report, judge
from bench.scenario import RunOptions
from bench.scenarios import outage
from bench.scenarios.outage import _Load, _Watch

DUE = outage.joins_due(60.0)


def _join(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "name": f"join-{number}",
        "edge": "fra",
        "cold": number % 2 == 0,
        "error": "",
        "first_frame_ms": 400.0 if number % 2 == 0 else 8.0,
        "took_ms": 60.0,
        "own_s": 0.004,
    } | changes


def _judged(joins: list[dict[str, Any]], *, interruptions: int = 0, dark_s: float = 61.0, **generator: float) -> Report:
    used = {
        "joiners_cpu_s": 2.0,
        "host_fps": 30.0,
        "hosts_gone": 0,
        "host_late_max_ms": 3.0,
        "stayers_turn_max_ms": 4.0,
    }
    outcome = outage.judge(
        joins,
        due=DUE,
        interruptions=[{"viewer": "steady-fra-outage-0", "at_ms": 1.0, "pause_ms": 700.0}] * interruptions,
        generator=used | generator,
        dark_s=dark_s,
        wanted_s=60.0,
        evidence={
            "watching": 5,
            "longest_pause_ms": {"steady-fra-outage-0": 40.0},
            "process_ids": {"sg": 1},
            "emulator": {"used": False, "why": "there is no link"},
        },
    )
    return judge(
        scenario="outage",
        seed=1,
        quick=False,
        without=(),
        machine={},
        bars=outage.SCENARIO.bars,
        required_evidence=outage.SCENARIO.evidence,
        outcome=outcome,
    )


def test_all_who_came_got_in() -> None:
    report = _judged([_join(number) for number in range(DUE)])
    assert (report.exit_code, report.problems) == (0, ())
    assert DUE >= 200
    rate: Any = report.outcome.evidence["rate"]
    assert rate["achieved"] == pytest.approx(rate["offered"])


def test_a_fleet_that_lets_people_wait_misses_the_bar_and_is_not_the_generators_limit() -> None:
    # Each join takes two seconds: at the end of the outage and of the time after it, most were never let in.
    report = _judged([_join(number, took_ms=2_000.0) for number in range(35)])
    assert (report.exit_code, report.problems) == (6, ())
    assert report.outcome.results["joins_refused"] == DUE - 35
    assert report.outcome.evidence["still_outside"] == DUE - 35


def test_a_slow_generator_proves_nothing() -> None:
    report = _judged([_join(number, own_s=2.0) for number in range(35)])
    assert report.exit_code == 5
    assert "the generator is the limit" in report.problems[0]


@pytest.mark.parametrize("changes", [{"error": "POST …: 503"}, {"first_frame_ms": None}])
def test_a_join_that_was_refused_or_saw_nothing_misses_the_bar(changes: dict[str, Any]) -> None:
    report = _judged([_join(number, **(changes if number == 7 else {})) for number in range(DUE)])
    assert (report.exit_code, report.outcome.results["joins_refused"]) == (6, 1.0)


@pytest.mark.parametrize(
    ("generator", "words"),
    [
        ({"host_fps": 20.0}, "a host sent 20.0 frames/s"),
        ({"stayers_turn_max_ms": 600.0}, "the generator was 600 ms late"),
        ({"host_late_max_ms": 600.0}, "the generator was 600 ms late"),
        ({"dark_s": 58.0}, "control was away for 58.0 s"),
    ],
)
def test_an_outage_that_was_the_benchs_own_proves_nothing(generator: dict[str, float], words: str) -> None:
    report = _judged([_join(number) for number in range(DUE)], interruptions=1, **generator)
    assert report.exit_code == 5
    assert words in report.problems[0]


def test_an_interruption_misses_the_bar_also_when_a_host_lost_its_edge() -> None:
    joins = [_join(number) for number in range(DUE)]
    assert _judged(joins, interruptions=1).exit_code == 6
    assert _judged(joins, interruptions=1, host_fps=0.0, hosts_gone=40).exit_code == 6


def test_a_stream_that_never_comes_back_is_an_interruption() -> None:
    watch = _Watch([0.0, 33.0, 66.0], until_ms=5_000.0)
    assert max(pause for _, pause in watch.pauses()) == 4934.0
    assert _Watch([], until_ms=5_000.0).pauses() == []


def test_who_lost_the_session_is_interrupted_though_no_report_names_it_any_more() -> None:
    nobody: Any = None
    load = _Load(nobody, nobody, nobody, ["fra"], ["a"], {}, {("fra", "a")}, RunOptions())
    seen = {"frames": [[0.0, 0, True], [33.0, 0, False]], "first_frame_ms": 0.0}
    load._take({"watchers": {"steady-fra-a": seen}, "now_ms": 40.0}, {"steady-fra-a"})
    assert load.interruptions() == []
    load._take({"watchers": {}, "now_ms": 3_033.0}, {"steady-fra-a"})
    assert [row["pause_ms"] for row in load.interruptions()] == [3_000.0]


def test_cold_joins_are_cold_by_what_light_allows() -> None:
    assert outage._rtt_ms("fra") == 160
    assert outage._rtt_ms("iad") == 230
    assert outage._had_the_stream({"edge": "fra", "first_frame_ms": 6.0})
    assert not outage._had_the_stream({"edge": "fra", "first_frame_ms": 165.0})
    assert not outage._had_the_stream({"edge": "fra", "first_frame_ms": None})
