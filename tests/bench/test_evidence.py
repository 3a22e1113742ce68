"""Evidence that is missing, or that speaks against its run, is found."""

from __future__ import annotations

from typing import Any

import pytest

from bench.evidence import COMMON, contradictions, missing

LINK: dict[str, Any] = {
    "from": "sg",
    "to": "fra",
    "offered_packets": 40_000,
    # 80 of them a scenario has ordered by the burst.
    "drops": {"loss": 490, "schedule_full": 0, "send_failed": 0},
    "ordered_losses": 80,
    "delivered_bytes_by_kind": {"trunk": 40_000_000, "probe": 5_000},
    "mean_burst_packets": 3.2,
    "conditions": {"loss_ratio": 0.01, "burst_packets": 3.0},
}
EVIDENCE: dict[str, Any] = {
    "samples": 3,
    "attempts": 3,
    "rate": {"unit": "frames/s", "offered": 30.0, "achieved": 29.9},
    "raw_samples": {"gap_ms": [1, 2, 3]},
    "process_ids": {"sg": 10, "host": 11},
    "generator": {"host_cpu_s": 0.5},
    "emulator": {"kernel_drops": 0, "lateness_ms": {"p95": 1.0}, "links": [LINK]},
}


def test_whole_evidence_speaks_for_its_run() -> None:
    assert missing(EVIDENCE) == []
    assert contradictions(EVIDENCE) == []


@pytest.mark.parametrize("key", COMMON)
def test_each_kind_of_evidence_is_missed(key: str) -> None:
    assert missing({name: value for name, value in EVIDENCE.items() if name != key}) == [f"evidence missing: {key}"]
    assert missing({**EVIDENCE, key: None}, ["extra"]) == [f"evidence missing: {key}", "evidence missing: extra"]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("process_ids", {"sg": 10, "host": 10}, "one process"),
        ("generator", {"cores": 0.5}, "CPU was not read"),
        ("generator", {"host_cpu_s": 0.0}, "cannot have made any load"),
        ("rate", {"unit": "frames/s", "offered": 30.0, "achieved": 26.0}, "generator is the limit"),
        ("rate", {"unit": "frames/s", "offered": 30.0, "achieved": float("nan")}, "generator is the limit"),
        ("emulator", {**EVIDENCE["emulator"], "kernel_drops": 3}, "no link was to lose"),
        ("emulator", {**EVIDENCE["emulator"], "lateness_ms": {"p95": 40.0}}, "emulator is the limit"),
        ("emulator", {"used": False}, "why there is no emulator"),
        (
            "emulator",
            {**EVIDENCE["emulator"], "links": [{**LINK, "drops": {"loss": 0, "schedule_full": 0, "send_failed": 0}}]},
            "asked",
        ),
        (
            "emulator",
            {**EVIDENCE["emulator"], "links": [{**LINK, "drops": {"loss": 400, "schedule_full": 1, "send_failed": 0}}]},
            "schedule was full",
        ),
        (
            "emulator",
            {
                **EVIDENCE["emulator"],
                "links": [{**LINK, "drops": {"loss": 490, "schedule_full": 0, "send_failed": 7}}],
            },
            "could not send 7 packets",
        ),
        (
            "emulator",
            {**EVIDENCE["emulator"], "links": [{**LINK, "delivered_bytes_by_kind": {"trunk": 0, "probe": 5_000}}]},
            "no trunk went through",
        ),
        (
            "emulator",
            {**EVIDENCE["emulator"], "links": [{**LINK, "ordered_losses": 0, "mean_burst_packets": 1.0}]},
            "bursts on sg–fra had 1.0 packets",
        ),
    ],
)
def test_what_speaks_against_a_run_is_found(key: str, value: object, words: str) -> None:
    (found,) = contradictions({**EVIDENCE, key: value})
    assert words in found


def test_nothing_of_many_attempts_is_something_that_was_found() -> None:
    assert missing({**EVIDENCE, "samples": 0}) == []
    assert missing({**EVIDENCE, "samples": 0, "attempts": 0}) == ["evidence missing: attempts"]


def test_few_packets_are_no_sample_of_a_loss_ratio() -> None:
    link = {**LINK, "offered_packets": 500, "drops": {"loss": 0, "schedule_full": 0, "send_failed": 0}}
    assert contradictions({**EVIDENCE, "emulator": {**EVIDENCE["emulator"], "links": [link]}}) == []
