"""`startup` and `offers`: what the product did not answer is a sample that misses a bar, not a run without proof."""

from __future__ import annotations

from typing import Any

import pytest

from bench.report import Outcome, Report, judge
from bench.scenario import Scenario
from bench.scenarios import offers, startup

EVIDENCE: dict[str, Any] = {
    "process_ids": {"sg": 1},
    "generator": {"chromium_host_cpu_s": 1.0},
    "emulator": {"used": False, "why": "there is no link"},
}
RATE = {"rate": {"unit": "frames/s", "offered": 30.0, "achieved": 30.0}}


def _report(scenario: Scenario, outcome: Outcome) -> Report:
    return judge(
        scenario=scenario.name,
        seed=1,
        quick=False,
        without=(),
        machine={},
        bars=scenario.bars,
        required_evidence=scenario.evidence,
        outcome=outcome,
    )


def _join(*, warm: bool, **changes: Any) -> dict[str, Any]:
    row = {"room": "a", "path_before": ["sg", "fra"] if warm else [], "first_frame_ms": 300.0, "settled_ms": 250.0}
    return row | {"error": ""} | changes


def _startup(warm: list[dict[str, Any]], cold: list[dict[str, Any]], steady: float | None = 240.0) -> Report:
    return _report(startup.SCENARIO, startup.judge(warm, cold, {"a": steady}, {**EVIDENCE, **RATE}))


def test_joins_that_have_their_picture_in_time_hold_the_bars() -> None:
    report = _startup([_join(warm=True)] * 15, [_join(warm=False)] * 15)
    assert (report.exit_code, report.problems) == (0, ())
    assert report.outcome.results["delay_excess_ms"] == 10.0


def test_joins_without_any_picture_miss_the_bars() -> None:
    # Nobody has a subscription when nobody was let in.
    none: dict[str, Any] = {"first_frame_ms": 20_000.0, "settled_ms": None, "error": "403", "path_before": []}
    report = _startup([_join(warm=True, **none)] * 15, [_join(warm=False, **none)] * 15, None)
    assert (report.exit_code, report.problems) == (6, ())
    assert report.outcome.evidence["without_a_picture"] == 30


def test_a_join_of_the_wrong_kind_proves_nothing() -> None:
    warm, cold = [_join(warm=True)] * 15, [_join(warm=False)] * 15
    assert _startup(warm, [*cold[:14], _join(warm=True)]).exit_code == 5
    assert _startup([*warm[:14], _join(warm=False)], cold).exit_code == 5


def _offers(statuses: dict[int, int]) -> Report:
    names = ["good", *(["one_megabyte"] * 20), "good"]
    rows = [
        {"offer": name, "status": statuses.get(number, 201 if name == "good" else 413), "took_ms": 4.0}
        for number, name in enumerate(names)
    ]
    return _report(offers.SCENARIO, offers.judge(rows, due=len(rows), client_cpu_s=0.1, evidence=EVIDENCE))


def test_refused_hostile_offers_hold_the_bars() -> None:
    report = _offers({})
    assert (report.exit_code, report.problems) == (0, ())


@pytest.mark.parametrize(
    "statuses",
    [{5: 201}, {5: 500}, {5: 0}, {21: 500}, dict.fromkeys(range(5, 22), 0)],
    ids=["let in", "crashed", "not answered", "a good one harmed", "the edge is gone"],
)
def test_an_edge_that_a_hostile_offer_harms_misses_the_bar(statuses: dict[int, int]) -> None:
    report = _offers(statuses)
    assert (report.exit_code, report.problems) == (6, ())


def test_an_edge_that_takes_no_good_offer_to_begin_with_proves_nothing() -> None:
    assert _offers({0: 401}).problems == ("a good offer got 401 before any hostile one",)
