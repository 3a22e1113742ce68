"""All scenarios by name, and how one is run, judged and printed."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.machine import describe_machine
from bench.report import EXIT_NO_PROOF, Report, judge
from bench.scenario import RunOptions, Scenario

NAMES: Final = ("latency", "startup", "sync", "forward", "failover", "outage", "offers")


class UnknownScenario(ValueError):
    """No such scenario, or nothing it could do without; the text lists what there is."""


def scenario(name: str) -> Scenario:
    """Look a scenario up; its module is imported only now. Raises UnknownScenario."""
    if name not in NAMES:
        raise UnknownScenario(f"no scenario {name!r}; there are: {', '.join(NAMES)}")
    found: Scenario = importlib.import_module(f"bench.scenarios.{name}").SCENARIO
    return found


def run(name: str, *, seed: int, quick: bool, without: Sequence[str], json_file: Path | None) -> int:
    """Run, print, write; returns the exit code of `bench.report`. Raises UnknownScenario."""
    chosen = scenario(name)
    for feature in without:
        if feature not in chosen.features:
            known = ", ".join(chosen.features) or "nothing"
            raise UnknownScenario(f"{name} cannot do without {feature!r}; it can do without: {known}")
    options = RunOptions(
        seed=seed,
        quick=quick,
        without=tuple(without),
        progress=lambda line: print(f"  {line}", file=sys.stderr, flush=True),
    )
    print(f"{name}: {chosen.claim}", file=sys.stderr, flush=True)
    machine = describe_machine()
    outcome = asyncio.run(chosen.run(options))
    report = judge(
        scenario=name,
        seed=seed,
        quick=quick,
        without=without,
        machine=machine,
        bars=chosen.bars,
        required_evidence=chosen.evidence,
        outcome=outcome,
    )
    if json_file is not None:
        report.write(json_file)
    _print(report)
    return report.exit_code


def _print(report: Report) -> None:
    content = report.as_json()
    content.pop("evidence")
    for bar in content.pop("bars"):  # type: ignore[attr-defined]
        value = (
            "–"
            if bar["value"] is None
            else f"{bar['value']:,.4g}"
            if abs(bar["value"]) < 1e4
            else f"{bar['value']:,.0f}"
        )
        print(f"{'ok  ' if bar['ok'] else 'MISS'} {bar['name']:32} {value:>12}  bar {bar['bar']}")
    if report.exit_code == EXIT_NO_PROOF:
        for problem in report.problems:
            print(f"no proof: {problem}")
    print(json.dumps(content["results"]))
