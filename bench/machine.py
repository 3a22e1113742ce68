"""What the figures were measured on, and CPU time read from the process."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def describe_machine() -> dict[str, object]:
    """Model, cores, memory and kernel; no names or addresses."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gib": round(pages * page_bytes / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }


@dataclass(frozen=True, slots=True)
class MachineTimes:
    """CPU time of all cores since boot, in seconds (proc(5), the first line of /proc/stat)."""

    busy_s: float
    idle_s: float
    stolen_s: float
    """A virtual machine's time that its host gave to others; no process here can see it happen."""

    @staticmethod
    def read() -> MachineTimes:
        """Now."""
        line = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
        user, nice, system, idle, waiting, irq, softirq, steal = (
            int(word) / _TICKS_PER_SECOND for word in line.split()[1:9]
        )
        return MachineTimes(user + nice + system + irq + softirq, idle + waiting, steal)

    def since(self, before: MachineTimes) -> dict[str, float]:
        """Shares of all cores' time since `before`, 0-1."""
        spans = {
            "busy_ratio": self.busy_s - before.busy_s,
            "idle_ratio": self.idle_s - before.idle_s,
            "stolen_ratio": self.stolen_s - before.stolen_s,
        }
        total = sum(spans.values())
        return {name: round(span / total, 4) if total else 0.0 for name, span in spans.items()}


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """CPU seconds and resident memory of one process, or of it and its descendants."""

    cpu_seconds: float
    rss_bytes: int


def process_usage(pid: int) -> ProcessUsage:
    """Usage of one process. Raises ProcessLookupError when it has ended."""
    try:
        # proc(5): fields 14 and 15 after the parenthesised name are user and system time in clock ticks.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        rss_pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    except FileNotFoundError as error:
        raise ProcessLookupError(pid) from error
    return ProcessUsage((int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND, rss_pages * os.sysconf("SC_PAGE_SIZE"))


def tree_usage(pid: int) -> ProcessUsage:
    """Usage of a process and all of its living descendants (a browser is many processes)."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    cpu_seconds, rss_bytes, pending = 0.0, 0, [pid]
    while pending:
        current = pending.pop()
        pending += children.get(current, [])
        try:
            usage = process_usage(current)
        except ProcessLookupError:
            continue
        cpu_seconds += usage.cpu_seconds
        rss_bytes += usage.rss_bytes
    return ProcessUsage(cpu_seconds, rss_bytes)
