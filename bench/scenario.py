"""What a scenario is, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from bench.report import BarSpec, Outcome


@dataclass(frozen=True, slots=True)
class RunOptions:
    """One run. `without` names features that are switched off by product settings, to show what they are worth."""

    seed: int = 1
    quick: bool = False
    without: tuple[str, ...] = ()
    progress: Callable[[str], None] = lambda _line: None


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named measurement with bars. `features` are those that `--without` may take away from it."""

    name: str
    claim: str
    bars: tuple[BarSpec, ...]
    run: Callable[[RunOptions], Coroutine[Any, Any, Outcome]]
    evidence: Sequence[str] = ()
    features: tuple[str, ...] = ()
