"""A core that its host took away, told from one that was busy."""

from __future__ import annotations

from bench.scenarios.sync import Flash, Phase
from bench.stalls import Stall, StallDetector


def _woken(detector: StallDetector, *, until_s: float, stolen_ms: float = 0.0) -> list[Stall]:
    """Wakes every 5 ms, and once at `until_s`, when the kernel's count has grown."""
    found = []
    while detector.woke_s + 0.005 < until_s - 0.2:
        now = detector.woke_s + 0.005
        found.append(detector.handle_wake(now, now, detector.stolen_ms if detector.wants_stolen(now) else None))
    total = detector.stolen_ms + stolen_ms
    found.append(detector.handle_wake(until_s, until_s, total if detector.wants_stolen(until_s) else None))
    return [stall for stall in found if stall]


def test_a_late_wake_with_stolen_time_is_a_stall() -> None:
    detector = StallDetector(1, 10.0, 5_000.0)
    (stall,) = _woken(detector, until_s=11.0, stolen_ms=180.0)
    assert (stall.core, stall.unix_s, stall.stolen_ms) == (1, 11.0, 180.0)
    assert 190 <= stall.late_ms <= 200


def test_a_core_busy_with_this_machines_own_work_is_none() -> None:
    assert _woken(StallDetector(0, 10.0, 5_000.0), until_s=11.0, stolen_ms=20.0) == []


def test_what_was_stolen_before_is_not_counted() -> None:
    detector = StallDetector(0, 10.0, 5_000.0)
    for now in (10.03, 10.06, 10.09):
        detector.handle_wake(now, now, None)
    assert detector.wants_stolen(10.12)
    assert detector.handle_wake(10.12, 10.12, 5_080.0) is None
    assert detector.handle_wake(10.2, 10.2, 5_080.0) is None


def test_a_phase_is_set_aside_when_the_machine_stood_still_and_it_missed_the_bar() -> None:
    stall = Stall(10.0, 0, 80.0, 80.0)
    good, bad = Flash(1.0, 300.0, 310.0), Flash(1.0, 300.0, 400.0)
    assert Phase(40.0, [bad], stalls=[stall]).is_spoilt
    assert not Phase(40.0, [good], stalls=[stall]).is_spoilt
    assert not Phase(40.0, [bad]).is_spoilt
    assert Phase(40.0, [], stalls=[stall]).is_spoilt
