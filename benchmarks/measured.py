"""What benchmarks share: places, the command line, timing in turns, and figures kept with the machine they belong to.

Importing it needs the standard library alone, for some of them run where nothing is installed yet.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DATA = Path(os.environ.get("VOXGRAFT_DATA", ROOT.parent / "shared" / "data"))

K = TypeVar("K")


def parser_of(doc: str, name: str = "") -> argparse.ArgumentParser:
    """The command line of a benchmark, described by its docstring.

    Args:
        doc: The docstring of the script.
        name: Of the file in benchmarks/results that `--out` is by default; without it there is no `--out`.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if name:
        parser.add_argument("--out", type=Path, default=RESULTS / f"{name}.json", help="file for the figures")
    return parser


def computer() -> dict[str, Any]:
    """The processor, the system and the Python that a figure belongs to."""
    facts = Path("/proc/cpuinfo")
    rows = facts.read_text().splitlines() if facts.exists() else []
    names = [row.split(":", 1)[1].strip() for row in rows if row.startswith("model name")]
    return {
        "processor": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def machine() -> dict[str, Any]:
    """The same with torch's threads and device, and the versions of packages."""
    import torch

    from voxgraft.components.code import version_of
    from voxgraft.runs.environment import PACKAGES

    return {
        **computer(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": {name: version_of(name) for name in PACKAGES},
    }


def load() -> float:
    """How many programs want a processor."""
    return round(os.getloadavg()[0], 1)


def command() -> str:
    """How the script was called, without places of this machine."""
    found, words = ["python", f"benchmarks/{Path(sys.argv[0]).name}"], iter(sys.argv[1:])
    for word in words:
        if word in ("--folder", "--out"):
            next(words, None)
        else:
            found.append(word)
    return " ".join(found)


def keep(out: Path, document: Mapping[str, Any]) -> None:
    """Write figures with the command, the machine and its load, unless they say these themselves."""
    about = {"command": command(), "load": load(), **({} if "machine" in document else {"machine": machine()})}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({**about, **document}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def record(out: Path, document: Mapping[str, Any]) -> None:
    """Keep figures, and show them."""
    keep(out, document)
    print(json.dumps(document, indent=1), flush=True)


@dataclass
class Taken:
    """Seconds of the clock and of the processor."""

    seconds: float = 0.0
    cpu: float = 0.0


@contextmanager
def processes() -> Iterator[Taken]:
    """What the processes take that are begun and waited for within."""
    taken, begun, before = Taken(), time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    yield taken
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    taken.seconds = round(time.monotonic() - begun, 1)
    taken.cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def cpu_of(work: Callable[[], object]) -> float:
    """Processor seconds of one call."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def in_turns(ways: Mapping[K, Callable[[], object]], rounds: int) -> dict[K, list[Taken]]:
    """Call each way once in each round, so that a busy moment falls on all of them."""
    found: dict[K, list[Taken]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            gc.collect()
            used, begun = time.process_time(), time.perf_counter()
            product = way()
            found[name].append(Taken(time.perf_counter() - begun, time.process_time() - used))
            del product
    return found


def measure(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, dict[str, Any]]:
    """Call each way once to warm up, then `rounds` times in turns.

    Returns:
        For each way the median seconds of the wall and of the processor, and every single time.
    """
    in_turns(ways, 1)
    return {
        name: {
            "median_s": round(statistics.median(one.seconds for one in taken), 4),
            "cpu_s": round(statistics.median(one.cpu for one in taken), 4),
            "seconds": [round(one.seconds, 4) for one in taken],
        }
        for name, taken in in_turns(ways, rounds).items()
    }


def ratios(times: Mapping[str, Mapping[str, Any]], own: str) -> dict[str, float]:
    """How many times as long each other way takes as the own one, by the medians of one run."""
    mine = times[own]["median_s"]
    return {name: round(row["median_s"] / mine, 2) for name, row in times.items() if name != own}
