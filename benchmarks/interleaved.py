"""Timing of several ways to do one job: in turns, so that a busy moment falls on all of them; medians and ratios."""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hippocampus import machine


def measure(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, dict[str, Any]]:
    """Call each way once to warm up, then `rounds` times in turns.

    Returns:
        For each way the median seconds of the wall and of the processor, and every single time.
    """
    for way in ways.values():
        way()
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            gc.collect()
            used, start = time.process_time(), time.perf_counter()
            product = way()
            wall[name].append(time.perf_counter() - start)
            cpu[name].append(time.process_time() - used)
            del product
    return {
        name: {
            "median_s": round(statistics.median(wall[name]), 4),
            "cpu_s": round(statistics.median(cpu[name]), 4),
            "seconds": [round(one, 4) for one in wall[name]],
        }
        for name in ways
    }


def ratios(times: Mapping[str, Mapping[str, Any]], own: str) -> dict[str, float]:
    """How many times as long each other way takes as the own one, by the medians of one run."""
    mine = times[own]["median_s"]
    return {name: round(row["median_s"] / mine, 2) for name, row in times.items() if name != own}


def record(out: Path, document: Mapping[str, Any]) -> None:
    """Write the figures with the machine and the call they belong to, and show them."""
    command = f"python benchmarks/{Path(sys.argv[0]).name} {' '.join(sys.argv[1:])}".strip()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"command": command, "machine": machine(), **document}, indent=2) + "\n")
    print(json.dumps(document, indent=2), flush=True)
