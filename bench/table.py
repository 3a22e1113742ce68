"""Reports as tables that can be read in a terminal and pasted into a README. Pure, but for `main`.

`python -m bench.table r1/*.json r2/*.json` prints the median of several runs, with the least and the greatest.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

_SIGNS: Final = {"<=": "≤", ">=": "≥", "<": "<"}


def format_report(report: Mapping[str, Any]) -> str:
    """One run: its bars, what stands beside them, and why it proves nothing when it does not."""
    rows = [
        (bar["name"], format_value(bar["value"]), format_bar(bar["bar"]), "ok" if bar["ok"] else "**missed**")
        for bar in report["bars"]
    ]
    lines = ["", *format_rows(("key", "measured", "bar", ""), rows), "", *_beside(report)]
    lines += [f"no proof: {problem}" for problem in report["problems"]]
    return "\n".join(lines)


def format_value(value: float | None) -> str:
    """Four digits that count, or all before the point."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def format_bar(bar: str) -> str:
    """`<= 60` as people write it."""
    sign, _, limit = bar.partition(" ")
    return f"{_SIGNS.get(sign, sign)} {format_value(float(limit))}"


def format_rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table whose columns stand in line; the second is a column of numbers."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        parts = [
            cell.rjust(width) if column == 1 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(parts)} |"

    rule = ["-" * (width - (column == 1)) + ":" * (column == 1) for column, width in enumerate(widths)]
    return [line(head), line(rule), *(line(row) for row in rows)]


def _beside(report: Mapping[str, Any]) -> list[str]:
    evidence, machine = report["evidence"], report["machine"]
    lines = []
    if rate := evidence.get("rate"):
        lines.append(
            f"{evidence['samples']} samples, {evidence['attempts']} attempts; offered {format_value(rate['offered'])} "
            f"and achieved {format_value(rate['achieved'])} {rate['unit']}"
        )
    if "unreadable_frames" in evidence:
        lines.append(f"{evidence['unreadable_frames']} of {evidence['attempts']} frames could not be read")
    for name, row in (evidence.get("phases") or {}).items():
        shown = [f"{key} {format_value(value)}" for key, value in row.items()]
        lines.append(f"{name}: {', '.join(shown)}")
    if used := evidence.get("generator"):
        shown = [
            f"{name} {value:.3g}" if isinstance(value, int | float) else f"{name} {value}"
            for name, value in used.items()
            if not isinstance(value, Mapping | list)
        ]
        lines.append(f"generator: {', '.join(shown)}")
    emulator = evidence.get("emulator") or {}
    if emulator.get("links"):
        late = emulator["lateness_ms"]
        lost = sum(link["drops"]["loss"] for link in emulator["links"])
        offered = sum(link["offered_packets"] for link in emulator["links"])
        lines.append(
            f"emulator: {lost:,} of {offered:,} packets lost on purpose, late by {late['p95']:.1f} ms at p95, "
            f"{late['maximum']:.0f} at most"
        )
    load = evidence.get("machine_load") or {}
    spent = f"; busy {load['busy_ratio']:.0%}, stolen by its host {load['stolen_ratio']:.0%}" if load else ""
    lines.append(
        f"machine: {machine.get('cpu')}, {machine.get('cores')} cores, Linux {machine.get('kernel')}{spent}; "
        f"seed {report['seed']}{', quick' if report['quick'] else ''}"
    )
    return lines


def summarise(reports: Sequence[Mapping[str, Any]]) -> str:
    """Several runs of each scenario as one table: median and range of those that prove anything, and how many held."""
    found: dict[tuple[str, str, str], list[tuple[float | None, bool]]] = {}
    for report in reports:
        how = "".join(f" --without {feature}" for feature in report["without"]) + " --quick" * bool(report["quick"])
        for bar in report["bars"]:
            place = (report["scenario"] + how, bar["name"], bar["bar"])
            # A figure that proves nothing is no figure.
            value, ok = (None, False) if report["problems"] else (bar["value"], bool(bar["ok"]))
            found.setdefault(place, []).append((value, ok))
    rows = []
    for (scenario, key, bar), runs in found.items():
        values = [value for value, _ in runs if value is not None]
        middle = format_value(median(values)) if values else "–"
        spread = f" ({format_value(min(values))} to {format_value(max(values))})" if len(values) > 1 else ""
        rows.append((key, middle + spread, format_bar(bar), f"{sum(ok for _, ok in runs)} of {len(runs)}", scenario))
    return "\n".join(format_rows(("key", "median", "bar", "runs that held", "tradewind bench"), rows))


def main() -> None:
    """Prints the table of the files on the command line."""
    parser = argparse.ArgumentParser(description="Reports of `tradewind bench … --json FILE` as one table.")
    parser.add_argument("files", nargs="+", type=Path)
    print(summarise([json.loads(file.read_text(encoding="utf-8")) for file in parser.parse_args().files]))


if __name__ == "__main__":
    main()
