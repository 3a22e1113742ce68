"""All scenarios by name, and how one is run, judged and printed."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import httpx
from playwright.async_api import Error as BrowserError

from bench.browser import BrowserMissing
from bench.generator_process import GeneratorMissing
from bench.machine import MachineTimes, describe_machine
from bench.report import Report, ended_early, judge
from bench.scenario import RunOptions, Scenario
from bench.table import format_report

NAMES: Final = ("latency", "startup", "sync", "forward", "failover", "outage", "offers")
#: What can end a run early without being a bug of the bench: a process, a browser or a socket that failed.
_EARLY_ENDS: Final = (OSError, RuntimeError, ExceptionGroup, httpx.HTTPError, BrowserError)


class UnknownScenario(ValueError):
    """No such scenario, or nothing it could do without; the text lists what there is."""


def scenario(name: str) -> Scenario:
    """Look a scenario up; its module is imported only now. Raises UnknownScenario."""
    if name not in NAMES:
        raise UnknownScenario(f"no scenario {name!r}; there are: {', '.join(NAMES)}")
    found: Scenario = importlib.import_module(f"bench.scenarios.{name}").SCENARIO
    return found


def run(name: str, *, seed: int, quick: bool, without: Sequence[str], json_file: Path | None) -> int:
    """Run, print, write; returns the exit code of `bench.report`. Raises UnknownScenario, BrowserMissing and
    GeneratorMissing, and OSError when there is no place for the file."""
    chosen = scenario(name)
    for feature in without:
        if feature not in chosen.features:
            known = ", ".join(chosen.features)
            raise UnknownScenario(f"{name} cannot do without {feature!r}; it can do without: {known}")
    to_stdout = str(json_file) == "-"
    if json_file is not None and not to_stdout:
        # Now, and not after minutes of measuring.
        with os.scandir(json_file.parent):
            pass
    options = RunOptions(
        seed=seed,
        quick=quick,
        without=tuple(without),
        progress=lambda line: print(f"  {line}", file=sys.stderr, flush=True),
    )
    taken_away = f" (without {', '.join(without)})" if without else ""
    print(f"{name}: {chosen.claim}{taken_away}", file=sys.stderr, flush=True)
    report = _measure(chosen, options)
    if to_stdout:
        print(json.dumps(report.as_json(), indent=1, default=str))
        return report.exit_code
    # First what can be read here: the disk may be full.
    print(format_report(report.as_json()), flush=True)
    if json_file is not None:
        report.write(json_file)
    return report.exit_code


def run_all(*, seed: int, quick: bool, json_file: Path | None) -> int:
    """Every scenario in turn, each with a file of its own (`report.json` becomes `report-latency.json`); the worst exit
    code."""
    if json_file is not None and str(json_file) == "-":
        raise ValueError("all scenarios write a file each: name one for --json")
    codes = []
    for name in NAMES:
        file = json_file.with_stem(f"{json_file.stem}-{name}") if json_file else None
        codes.append(run(name, seed=seed, quick=quick, without=(), json_file=file))
    return max(codes)


def _measure(chosen: Scenario, options: RunOptions) -> Report:
    machine, before = describe_machine(), MachineTimes.read()
    try:
        outcome = asyncio.run(chosen.run(options))
        load = {"machine_load": MachineTimes.read().since(before)}
        outcome = replace(outcome, evidence={**outcome.evidence, **load})
    except (BrowserMissing, GeneratorMissing):
        raise  # nothing was measured, and the text says how to get it
    except _EARLY_ENDS as error:
        outcome = ended_early(chosen.bars, _last_words(error))
    return judge(
        scenario=chosen.name,
        seed=options.seed,
        quick=options.quick,
        without=options.without,
        machine=machine,
        bars=chosen.bars,
        required_evidence=chosen.evidence,
        outcome=outcome,
    )


def _last_words(error: BaseException) -> str:
    """One line with the notes that were added on the way; of a group the words of its first member."""
    notes: list[str] = []
    while isinstance(error, BaseExceptionGroup):
        notes += getattr(error, "__notes__", ())
        error = error.exceptions[0]
    lines = [*str(error).strip().splitlines()[:1], *getattr(error, "__notes__", ()), *notes]
    return f"{type(error).__name__}: {'; '.join(lines)}" if lines else type(error).__name__
