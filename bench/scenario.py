"""What a scenario is, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bench.report import BarSpec, Outcome

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """One run. `without` names features that are switched off by product settings, to show what they are worth.

    `quick` is short and still prints figures; `untimed` is as short as shows that each part works, for tests: its
    figures mean nothing.
    """

    seed: int = 1
    quick: bool = False
    without: tuple[str, ...] = ()
    progress: Callable[[str], None] = lambda _line: None
    untimed: bool = False

    def pick(self, full: T, quick: T, untimed: T) -> T:
        """One of three, by the length of the run."""
        return untimed if self.untimed else quick if self.quick else full


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named measurement with bars. `features` are those that `--without` may take away from it."""

    name: str
    claim: str
    bars: tuple[BarSpec, ...]
    run: Callable[[RunOptions], Coroutine[Any, Any, Outcome]]
    evidence: Sequence[str] = ()
    features: tuple[str, ...] = ()
