"""A run is judged by its bars, and first of all by whether it proves anything."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from bench import registry
from bench.features import apply_without
from bench.generator_process import longest_pause_ms
from bench.report import BarSpec, Outcome, Report, judge, percentile
from bench.scenario import RunOptions, Scenario
from bench.world import WorldNotReady
from edge.settings import EdgeSettings

EVIDENCE: dict[str, object] = {
    "samples": 3,
    "attempts": 3,
    "rate": {"unit": "frames/s", "offered": 30, "achieved": 30},
    "raw_samples": {"gap_ms": [1, 2, 3]},
    "process_ids": {"sg": 1},
    "generator": {"host_cpu_s": 0.5},
    "emulator": {"used": False, "why": "there is no link"},
}
BARS = (BarSpec("gap_ms", "<=", 250), BarSpec("moves", "<", 1))


def _judged(
    results: dict[str, float | None], evidence: dict[str, object] | None = None, no_proof: tuple[str, ...] = ()
) -> Report:
    return judge(
        scenario="test",
        seed=1,
        quick=False,
        without=(),
        machine={},
        bars=BARS,
        required_evidence=(),
        outcome=Outcome(results, EVIDENCE if evidence is None else evidence, no_proof),
    )


@pytest.mark.parametrize(
    ("results", "exit_code"),
    [
        ({"gap_ms": 250.0, "moves": 0.0}, 0),
        ({"gap_ms": 250.1, "moves": 0.0}, 6),
        ({"gap_ms": 10.0, "moves": 1.0}, 6),
        ({"gap_ms": None, "moves": 0.0}, 6),
        ({"gap_ms": float("nan"), "moves": 0.0}, 6),
        ({"gap_ms": 10.0}, 5),
        ({"gap_ms": 10.0, "moves": 0.0, "unasked": 1.0}, 5),
    ],
)
def test_exit_code_says_whether_every_bar_holds(results: dict[str, float | None], exit_code: int) -> None:
    assert _judged(results).exit_code == exit_code


@pytest.mark.parametrize("missing", ["samples", "attempts", "rate", "raw_samples", "process_ids", "emulator"])
def test_a_run_without_evidence_proves_nothing(missing: str) -> None:
    evidence = {name: value for name, value in EVIDENCE.items() if name != missing}
    report = _judged({"gap_ms": 1.0, "moves": 0.0}, evidence)
    assert report.exit_code == 5
    assert report.problems == (f"evidence missing: {missing}",)


def test_a_run_limited_by_its_generator_proves_nothing() -> None:
    assert _judged({"gap_ms": 1.0, "moves": 0.0}, no_proof=("the generator is the limit",)).exit_code == 5
    slow = {**EVIDENCE, "rate": {"unit": "frames/s", "offered": 30, "achieved": 20}}
    assert _judged({"gap_ms": 1.0, "moves": 0.0}, slow).exit_code == 5


def test_report_has_each_key_once_and_its_bar_beside_it(tmp_path: Path) -> None:
    report = _judged({"gap_ms": 300.0, "moves": 0.0})
    report.write(tmp_path / "report.json")
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["results"] == {"gap_ms": 300.0, "moves": 0.0}
    assert content["bars"][0] == {"name": "gap_ms", "value": 300.0, "bar": "<= 250", "ok": False}
    assert content["evidence"] == EVIDENCE


def test_percentile_is_the_nearest_rank() -> None:
    samples = [float(value) for value in range(1, 21)]
    assert percentile(samples, 0.95) == 19.0
    assert percentile(samples, 0.5) == 10.0
    assert percentile([], 0.5) is None


def test_a_pause_at_the_open_end_counts() -> None:
    frames = [[100.0, 0, True], [133.0, 0, False], [700.0, 0, False]]
    assert longest_pause_ms(frames, since_ms=100, until_ms=750) == pytest.approx(567)
    assert longest_pause_ms(frames[:2], since_ms=100, until_ms=4100) == pytest.approx(3967)
    assert longest_pause_ms([], since_ms=0, until_ms=50) == 50


def test_every_scenario_can_be_loaded_and_has_bars() -> None:
    for name in registry.NAMES:
        chosen = registry.scenario(name)
        assert chosen.name == name
        assert chosen.bars
        assert len({bar.key for bar in chosen.bars}) == len(chosen.bars)


def _scenario_that(ends: Callable[[RunOptions], Coroutine[Any, Any, Outcome]]) -> Scenario:
    return Scenario("test", "a claim", BARS, ends)


def test_a_run_that_ends_early_proves_nothing_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(_options: RunOptions) -> Outcome:
        error = WorldNotReady("control hears only sg")
        error.add_note("the processes' logs are in /somewhere")
        raise ExceptionGroup("tasks", [error])

    monkeypatch.setattr(registry, "scenario", lambda _name: _scenario_that(fail))
    file = tmp_path / "report.json"
    assert registry.run("test", seed=1, quick=True, without=(), json_file=file) == 5
    content = json.loads(file.read_text())
    assert content["results"] == {"gap_ms": None, "moves": None}
    assert content["problems"] == [
        "ended early: WorldNotReady: control hears only sg; the processes' logs are in /somewhere"
    ]
    assert "no proof: ended early" in capsys.readouterr().out


def test_a_bug_of_the_bench_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    async def break_down(_options: RunOptions) -> Outcome:
        raise KeyError("a bug")

    monkeypatch.setattr(registry, "scenario", lambda _name: _scenario_that(break_down))
    with pytest.raises(KeyError):
        registry.run("test", seed=1, quick=True, without=(), json_file=None)


def test_the_machine_is_judged_too_and_json_goes_to_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def measure(_options: RunOptions) -> Outcome:
        return Outcome({"gap_ms": 1.0, "moves": 0.0}, EVIDENCE)

    monkeypatch.setattr(registry, "scenario", lambda _name: _scenario_that(measure))
    assert registry.run("test", seed=5, quick=True, without=(), json_file=Path("-")) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["seed"] == 5
    assert set(content["evidence"]["machine_load"]) == {"busy_ratio", "idle_ratio", "stolen_ratio"}


def test_a_report_without_a_place_is_told_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def measure(_options: RunOptions) -> Outcome:
        raise AssertionError("minutes would be lost")

    monkeypatch.setattr(registry, "scenario", lambda _name: _scenario_that(measure))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        registry.run("test", seed=1, quick=True, without=(), json_file=tmp_path / "nowhere" / "report.json")


def test_all_scenarios_run_and_the_worst_exit_code_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str]] = []

    def run(name: str, *, json_file: Path, **_options: object) -> int:
        seen.append((name, json_file.name))
        return {"sync": 6, "forward": 5}.get(name, 0)

    monkeypatch.setattr(registry, "run", run)
    assert registry.run_all(seed=1, quick=True, json_file=tmp_path / "r.json") == 6
    assert seen == [(name, f"r-{name}.json") for name in registry.NAMES]


def test_every_scenario_has_a_feature_to_take_away_by_settings_of_an_edge() -> None:
    for name in registry.NAMES:
        features = registry.scenario(name).features
        assert features, name
        settings: dict[str, Any] = {"edge_id": "sg", "data_dir": "/nowhere", "media": {"host": ["127.0.0.1"]}}
        whole = EdgeSettings.model_validate(settings)
        apply_without(settings, features)
        assert EdgeSettings.model_validate(settings) != whole


def test_a_feature_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="wings"):
        apply_without({"media": {}}, ["wings"])


def test_unknown_scenarios_and_features_say_what_there_is() -> None:
    with pytest.raises(registry.UnknownScenario, match="latency"):
        registry.scenario("latnecy")
    with pytest.raises(registry.UnknownScenario, match="gso"):
        registry.run("forward", seed=1, quick=True, without=["wings"], json_file=None)
