"""What must stand beside a figure before it counts, and what shows that the bench itself was the limit. Pure.

Every scenario gives the same kinds of evidence under the same names:

samples, attempts   how many measurements there are, and how many were tried
rate                {unit, offered, achieved}: what the generator was to send and what came of it
raw_samples         the measurements themselves
process_ids         every process that took part, by name; two names are never one process
generator           CPU seconds of whoever made the load, by name ("…_cpu_s")
emulator            counters and delays of the WAN emulator itself, or {used: false, why}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

#: Evidence without which a figure is only a claim. Each scenario adds its own.
COMMON: Final = ("samples", "attempts", "rate", "raw_samples", "process_ids", "generator", "emulator")

#: The emulator is a process among others: what it sends so much too late is not the network that was asked for.
LATENESS_P95_MAX_MS: Final = 25.0
#: Losses are judged from so many packets on; with bursts of three their count then varies by about an eighth.
_LOSS_JUDGED_FROM_PACKETS: Final = 20_000
_LOSS_TOLERANCE: Final = 0.5
#: Less than this share of what was offered: the generator could not do it.
_ACHIEVED_MIN_RATIO: Final = 0.9


def missing(evidence: Mapping[str, object], required: Sequence[str] = ()) -> list[str]:
    """Names that are not there, or empty. No samples of many attempts are something that was found."""
    return [
        f"evidence missing: {key}"
        for key in (*COMMON, *required)
        if not evidence.get(key) and not (key == "samples" and evidence.get(key) == 0)
    ]


def contradictions(evidence: Mapping[str, Any]) -> list[str]:
    """What in the evidence speaks against the run."""
    return [
        *_process_ids(evidence.get("process_ids") or {}),
        *_generator(evidence.get("generator") or {}),
        *_rate(evidence.get("rate") or {}),
        *_emulator(evidence.get("emulator") or {}),
    ]


def _process_ids(process_ids: Mapping[str, int]) -> list[str]:
    by_id: dict[int, str] = {}
    found = []
    for name, pid in process_ids.items():
        if pid in by_id:
            found.append(f"{name} and {by_id[pid]} are one process: no socket lies between them")
        by_id[pid] = name
    return found


def _generator(generator: Mapping[str, Any]) -> list[str]:
    used = {name: value for name, value in generator.items() if name.endswith("_cpu_s")}
    if generator and not used:
        return ["the generator's CPU was not read"]
    return [f"{name} is {value}: it cannot have made any load" for name, value in used.items() if not value > 0]


def _rate(rate: Mapping[str, Any]) -> list[str]:
    if rate and not rate["achieved"] >= _ACHIEVED_MIN_RATIO * rate["offered"]:
        return [f"the generator is the limit: {rate['achieved']:.4g} of {rate['offered']:.4g} {rate['unit']}"]
    return []


def _emulator(emulator: Mapping[str, Any]) -> list[str]:
    if not emulator or emulator.get("used") is False:
        return [] if not emulator or emulator.get("why") else ["nothing says why there is no emulator"]
    found = []
    if emulator["kernel_drops"]:
        found.append(f"the emulator lost {emulator['kernel_drops']} datagrams that no link was to lose")
    late = emulator["lateness_ms"]["p95"]
    if late > LATENESS_P95_MAX_MS:
        found.append(f"the emulator is the limit: {late:.0f} ms late at p95")
    if not any(link["delivered_bytes_by_kind"]["trunk"] for link in emulator["links"]):
        found.append("no trunk went through the emulator: its links were not what lay between the edges")
    for link in emulator["links"]:
        name = f"{link['from']}–{link['to']}"
        if link["drops"]["schedule_full"]:
            found.append(f"the emulator's schedule was full on {name}")
        if unsent := link["drops"]["send_failed"]:
            found.append(f"the emulator could not send {unsent} packets on {name} that it was not to lose")
        asked, offered = link["conditions"]["loss_ratio"], link["offered_packets"]
        lost = (link["drops"]["loss"] - link["ordered_losses"]) / offered if offered else 0.0
        if offered >= _LOSS_JUDGED_FROM_PACKETS and abs(lost - asked) > _LOSS_TOLERANCE * asked:
            found.append(f"the emulator lost {lost:.2%} on {name}, asked were {asked:.2%}")
        length, bursts = link["conditions"]["burst_packets"], link["mean_burst_packets"]
        judged = offered >= _LOSS_JUDGED_FROM_PACKETS and asked and not link["ordered_losses"]
        if judged and abs(bursts - length) > _LOSS_TOLERANCE * length:
            found.append(f"the emulator's bursts on {name} had {bursts:.1f} packets, asked were {length:.1f}")
    return found
