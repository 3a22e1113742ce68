"""Reports are read by people, and pasted into a README."""

from __future__ import annotations

from typing import Any

from bench.table import format_report, format_value, summarise


def _report(value: float | None, *, problems: list[str] | None = None, ok: bool = True) -> dict[str, Any]:
    return {
        "scenario": "failover",
        "seed": 3,
        "quick": False,
        "without": [],
        "machine": {"cpu": "AMD EPYC", "cores": 2, "kernel": "6.18"},
        "bars": [{"name": "media_gap_max_ms", "value": value, "bar": "<= 1000", "ok": ok}],
        "problems": problems or [],
        "evidence": {
            "samples": 40,
            "attempts": 60,
            "rate": {"unit": "frames/s", "offered": 30.0, "achieved": 29.98},
            "generator": {"hosts_cpu_s": 1.234, "client": "httpx"},
            "emulator": {
                "lateness_ms": {"p95": 2.71, "maximum": 53.1},
                "links": [{"offered_packets": 1000, "drops": {"loss": 8}}],
            },
            "machine_load": {"busy_ratio": 0.4, "idle_ratio": 0.5, "stolen_ratio": 0.1},
        },
    }


def test_one_run_shows_value_bar_and_what_stands_beside_them() -> None:
    text = format_report(_report(584.21))
    assert "| media_gap_max_ms |    584.2 | ≤ 1,000 | ok |" in text
    assert "40 samples, 60 attempts; offered 30 and achieved 29.98 frames/s" in text
    assert "generator: hosts_cpu_s 1.23, client httpx" in text
    assert "emulator: 8 of 1,000 packets lost on purpose, late by 2.7 ms at p95, 53 at most" in text
    assert "AMD EPYC, 2 cores, Linux 6.18; busy 40%, stolen by its host 10%; seed 3" in text


def test_a_missed_bar_and_a_run_without_proof_cannot_be_overlooked() -> None:
    text = format_report(_report(1200.0, ok=False, problems=["the generator is the limit"]))
    assert "**missed**" in text
    assert text.endswith("no proof: the generator is the limit")
    assert "| media_gap_max_ms |        – |" in format_report(_report(None, ok=False))


def test_several_runs_show_their_median_and_how_many_held() -> None:
    runs = [_report(500.0), _report(700.0), _report(1200.0, ok=False), _report(400.0, problems=["no proof"])]
    row = summarise(runs).splitlines()[2]
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "media_gap_max_ms",
        "700 (500 to 1,200)",
        "≤ 1,000",
        "2 of 4",
        "failover",
    ]


def test_each_phase_has_a_row() -> None:
    report = _report(1.0)
    report["evidence"]["phases"] = {"ffmpeg": {"p95_ms": 41.25, "lost": 0}, "takeover": {"p95_ms": None, "lost": 40}}
    lines = format_report(report).splitlines()
    assert "ffmpeg: p95_ms 41.25, lost 0" in lines
    assert "takeover: p95_ms –, lost 40" in lines


def test_short_runs_and_those_without_a_feature_have_rows_of_their_own() -> None:
    runs = [_report(500.0), {**_report(900.0), "quick": True}, {**_report(3_000.0, ok=False), "without": ["failover"]}]
    names = [row.strip("|").split("|")[4].strip() for row in summarise(runs).splitlines()[2:]]
    assert names == ["failover", "failover --quick", "failover --without failover"]


def test_numbers_keep_four_digits_that_count() -> None:
    assert [format_value(value) for value in (0.000672512, 29.926, 312.04, 330158.7)] == [
        "0.0006725",
        "29.93",
        "312",
        "330,159",
    ]
