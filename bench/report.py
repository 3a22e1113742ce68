"""What a scenario returns, how it is judged, and the exit code.

Exit codes: 0 every bar holds · 5 the run proves nothing (it ended early, evidence is missing, or the bench itself was
the limit) · 6 a bar falls short.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.evidence import contradictions, missing

EXIT_OK: Final = 0
EXIT_NO_PROOF: Final = 5
EXIT_BELOW_BAR: Final = 6

_COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class BarSpec:
    """A promise about one key of `results`: `value comparison limit`, in the unit that the key names."""

    key: str
    comparison: str
    limit: float

    def holds(self, value: float | None) -> bool:
        """Whether `value` keeps the promise; a missing or non-finite value never does."""
        return value is not None and math.isfinite(value) and _COMPARE[self.comparison](value, self.limit)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run of a scenario found.

    `results` has each key of the scenario's bars exactly once, in the unit its name ends with; `evidence` is what a
    stranger needs to believe it. `no_proof` names why the run shows nothing, or is empty.
    """

    results: Mapping[str, float | None]
    evidence: Mapping[str, object]
    no_proof: Sequence[str] = ()
    ended_early: str = ""
    """Why it came to no result; nothing else is asked of such a run."""


@dataclass(frozen=True, slots=True)
class Report:
    """A judged run, as written to `--json`."""

    scenario: str
    seed: int
    quick: bool
    without: Sequence[str]
    machine: Mapping[str, object]
    outcome: Outcome
    bars: Sequence[BarSpec]
    problems: Sequence[str] = field(default=())

    @property
    def exit_code(self) -> int:
        """0, 5 or 6; a run that proves nothing is never counted as a bar that held."""
        if self.problems:
            return EXIT_NO_PROOF
        return EXIT_OK if all(bar.holds(self.outcome.results.get(bar.key)) for bar in self.bars) else EXIT_BELOW_BAR

    def as_json(self) -> dict[str, object]:
        """The report in the documented shape `{scenario, seed, machine, results, bars, evidence, …}`."""
        results = self.outcome.results
        return {
            "scenario": self.scenario,
            "seed": self.seed,
            "quick": self.quick,
            "without": list(self.without),
            "machine": dict(self.machine),
            "results": dict(results),
            "bars": [
                {
                    "name": bar.key,
                    "value": results.get(bar.key),
                    "bar": f"{bar.comparison} {bar.limit:g}",
                    "ok": bar.holds(results.get(bar.key)),
                }
                for bar in self.bars
            ],
            "problems": list(self.problems),
            "evidence": dict(self.outcome.evidence),
        }

    def write(self, path: Path) -> None:
        """Write the JSON report; raises OSError when the file cannot be written."""
        path.write_text(json.dumps(self.as_json(), indent=1, default=str) + "\n", encoding="utf-8")


def judge(
    *,
    scenario: str,
    seed: int,
    quick: bool,
    without: Sequence[str],
    machine: Mapping[str, object],
    bars: Sequence[BarSpec],
    required_evidence: Sequence[str],
    outcome: Outcome,
) -> Report:
    """Hold an outcome against its bars and its duty of evidence."""
    keys = [bar.key for bar in bars]
    if outcome.ended_early:
        problems = [f"ended early: {outcome.ended_early}"]
    else:
        problems = [
            *outcome.no_proof,
            *missing(outcome.evidence, required_evidence),
            *contradictions(outcome.evidence),
            *(f"result missing: {key}" for key in keys if key not in outcome.results),
            *(f"result without a bar: {key}" for key in outcome.results if key not in keys),
        ]
    return Report(scenario, seed, quick, tuple(without), machine, outcome, tuple(bars), tuple(problems))


def ended_early(bars: Sequence[BarSpec], reason: str) -> Outcome:
    """What a run that came to no result found: nothing, and why."""
    return Outcome(results=dict.fromkeys((bar.key for bar in bars), None), evidence={}, ended_early=reason)


def percentile(samples: Sequence[float], fraction: float) -> float | None:
    """Nearest-rank percentile of `samples` (`fraction` 0-1); None without samples."""
    if not samples:
        return None
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(fraction * len(ordered)) - 1)]
