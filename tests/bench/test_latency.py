"""Every presented frame has a delay, whether its picture can be read or not."""

from __future__ import annotations

from typing import Any

import pytest

from bench.report import Report, judge
from bench.scenarios import latency
from bench.scenarios.latency import frame_delays

FRAMES = 300
#: The timestamps' 32 bits end in the middle of the run.
FIRST_RTP = 2**32 - 150 * 3_000
REPORTED_AT = 10_000.0


def _sample(number: int, delay: float = 200.0, *, readable: bool = True) -> list[float | None]:
    drawn = number * 1000 / 30
    return [drawn + delay, delay if readable else None, (FIRST_RTP + number * 3_000) % 2**32]


def _samples(unreadable: range = range(0), slow_ms: float = 200.0) -> list[list[float | None]]:
    return [
        _sample(number, slow_ms if number in unreadable else 200.0, readable=number not in unreadable)
        for number in range(FRAMES)
    ]


def _judged(samples: list[list[float | None]], **changes: Any) -> Report:
    statistics = {
        "jitterBufferEmittedCount": 0,
        "jitterBufferDelay": 0.0,
        "totalFreezesDuration": 0.0,
        "framesDecoded": 0,
        "packetsLost": 0,
    }
    outcome = latency.judge(
        before={"video": statistics, "reportedAt": 0.0, "presented": 5},
        after={
            "video": statistics | {"framesDecoded": 300, "totalFreezesDuration": 0.1},
            "samples": samples,
            "presented": 5 + changes.get("presented", len(samples)),
            "reportedAt": changes.get("reported_at", REPORTED_AT + 200.0),
        },
        elapsed_s=10.0,
        rate={"unit": "frames/s", "offered": 30.0, "achieved": changes.get("encoded", 30.0)},
        generator={"chromium_host_cpu_s": 1.0},
        host={"video": {"frameHeight": changes.get("height", 360)}},
        world={"process_ids": {"sg": 1}, "emulator": {"used": False, "why": "there is no link"}},
    )
    return judge(
        scenario="latency",
        seed=1,
        quick=False,
        without=(),
        machine={},
        bars=latency.SCENARIO.bars,
        required_evidence=latency.SCENARIO.evidence,
        outcome=outcome,
    )


def test_a_picture_that_comes_in_time_holds_the_bars() -> None:
    report = _judged(_samples())
    assert (report.exit_code, report.problems) == (0, ())
    assert report.outcome.results == {
        "glass_to_glass_p95_ms": pytest.approx(200.0),
        "freeze_ratio": pytest.approx(0.01),
        "decoded_fps": 30.0,
    }
    assert report.outcome.evidence["unreadable_frames"] == 0


def test_latency_needs_a_host_that_kept_up_and_the_picture_that_was_promised() -> None:
    assert "the machine is the limit" in _judged(_samples(), encoded=27.5).problems[0]
    assert "looked at 300 of 400 presented" in _judged(_samples(), presented=400).problems[0]
    assert "had 180 lines" in _judged(_samples(), height=180).problems[0]


def test_a_slow_frame_does_not_vanish_because_it_cannot_be_read() -> None:
    found = frame_delays(_samples(range(100, 160), slow_ms=900.0))
    assert found.unreadable == 60
    assert found.delays_ms[100:160] == pytest.approx([900.0] * 60)
    assert found.delays_ms[160:] == pytest.approx([200.0] * 140)


def test_few_unreadable_frames_stand_beside_and_more_prove_nothing() -> None:
    few = _judged(_samples(range(100, 106)))
    assert few.exit_code == 0
    assert few.outcome.evidence["unreadable_frames"] == 6
    many = _judged(_samples(range(100, 107)))
    assert many.exit_code == 5
    assert many.problems == ("7 of 300 presented frames could not be read",)


def test_a_frame_of_which_nothing_is_known_is_later_than_any_other() -> None:
    samples = [
        [shown, None, None] if number % 10 == 0 else [shown, delay, rtp]
        for number, (shown, delay, rtp) in enumerate(_samples())
    ]
    report = _judged(samples)
    assert report.outcome.results["glass_to_glass_p95_ms"] is None
    assert not report.as_json()["bars"][0]["ok"]  # type: ignore[index]


def test_another_frames_clock_is_told_from_its_own() -> None:
    samples = _samples()
    assert max(frame_delays(samples).apart_ms) == pytest.approx(0.0, abs=1e-6)
    shown, delay, rtp = samples[50]
    assert delay is not None
    samples[50] = [shown, delay - 1000 / 30, rtp]
    assert max(frame_delays(samples).apart_ms) == pytest.approx(1000 / 30)


def test_a_picture_that_stopped_is_frozen_until_the_end() -> None:
    report = _judged(_samples(), reported_at=REPORTED_AT + 3_166.0)
    assert report.exit_code == 6
    assert report.outcome.results["freeze_ratio"] == pytest.approx(0.31, abs=0.001)
    gone = _judged([], reported_at=REPORTED_AT)
    assert gone.outcome.results["freeze_ratio"] == pytest.approx(1.01)
    assert gone.outcome.results["glass_to_glass_p95_ms"] is None
