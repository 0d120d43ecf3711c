"""A thousand small scans through one machine: overhead, memory over time, killed in the middle, and in two parts.

    python benchmarks/many_scans.py [--scans 1000] [--out benchmarks/results/many_scans.json]
    python benchmarks/many_scans.py --spread [--seconds 0.1] [--out benchmarks/results/many_scans_spread.json]

A threshold stands in for the network, so that what is measured is the batch: headers, reading, the mask with its proof,
the picture, the ledger, the report. The scans are done by one process that is killed in the middle and called again,
and by two processes side by side with `--part 1/2` and `--part 2/2`; both have to leave the same masks. With `--spread`
a prediction takes a fixed time, in which the processor is idle, and the scans are done by one thread, by two processes,
and by a Ray cluster of two nodes with a worker each (where Ray is installed): what each adds to a scan, in seconds of
the processor, and how memory grows.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil
from measured import Taken, keep, load, parser_of, processes
from stand_in import Found, bright, package_of_balls

from voxgraft.batch.segment import segment
from voxgraft.batch.status import status_of
from voxgraft.discovery import discover
from voxgraft.imaging.volume import Volume

SHAPE = (24, 24, 12)
EVERY = 0.25
"""Seconds between two looks at a process's memory."""
POINTS = 40
"""Of the curve that is kept."""


@dataclass
class Threshold:
    """Stands in for a network: what is bright is the structure."""

    seconds: float = 0.0

    def __call__(self, package: Any) -> Threshold:
        return self

    def predict(self, volume: Volume, *, missing: Any = ()) -> Found:
        if self.seconds:
            time.sleep(self.seconds)
        else:
            print("scan", flush=True)
        return bright(volume)


@dataclass
class Call:
    """One process, watched.

    Attributes:
        curve: Scans that it has predicted, and its memory (RSS) in MB, over time.
    """

    process: subprocess.Popen[str]
    scans: int = 0
    curve: list[tuple[int, float]] = field(default_factory=list)
    start: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    @classmethod
    def of(cls, folder: Path, out: str, part: str = "") -> Call:
        code = [sys.executable, __file__, "--call", str(folder), out, part]
        call = cls(subprocess.Popen(code, stdout=subprocess.PIPE, text=True))
        for work in (call._count, call._watch):
            threading.Thread(target=work, daemon=True).start()
        return call

    def _count(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.scans += line == "scan\n"

    def _watch(self) -> None:
        with suppress(psutil.Error):
            process = psutil.Process(self.process.pid)
            while self.process.poll() is None:
                self.curve.append((self.scans, round(process.memory_info().rss / 1e6, 1)))
                time.sleep(EVERY)

    def ended(self) -> Call:
        code = self.process.wait()
        self.seconds = round(time.monotonic() - self.start, 1)
        if code not in (0, -9):
            raise SystemExit(f"a call ended with {code}")
        return self

    def document(self) -> dict[str, Any]:
        busy = [point for point in self.curve if point[0]]
        half = [mb for scans, mb in busy if scans >= self.scans / 2] or [0.0]
        early = [mb for scans, mb in busy if self.scans / 10 <= scans < self.scans / 2] or [0.0]
        return {
            "scans": self.scans,
            "seconds": self.seconds,
            "max_rss_mb": max(mb for _, mb in self.curve),
            "max_rss_mb_from_tenth_to_half": max(early),
            "max_rss_mb_second_half": max(half),
            "rss_mb_by_scans": self.curve[:: max(1, len(self.curve) // POINTS)],
        }


def make(folder: Path, scans: int) -> None:
    """Balls in noise, each at another place."""
    (folder / "model").mkdir(parents=True)
    (folder / "in").mkdir()
    place = np.stack(np.meshgrid(*(np.arange(n) - n / 2 for n in SHAPE), indexing="ij"))
    for number in range(scans):
        rng = np.random.default_rng(number)
        centre = rng.uniform(-3, 3, (3, 1, 1, 1))
        array = (rng.integers(0, 50, SHAPE) + 150 * (np.linalg.norm(place - centre, axis=0) < 4)).astype(np.int16)
        nib.save(nib.Nifti1Image(array, np.eye(4)), folder / "in" / f"s{number:04}.nii.gz")


def call(folder: Path, out: str, part: str) -> None:
    """In a process of its own: segment all scans, or a part of them."""
    segment(
        package_of_balls(folder / "model"),
        [folder / "in"],
        folder / out,
        discover(),
        part=part or None,
        predictor=Threshold(),
    )


@dataclass
class Watch:
    """What the processes that this one has begun, and theirs, take until it is closed.

    Attributes:
        cpu: Process -> seconds on all cores, since it began.
        before: The same when this was begun.
        memory: RSS of the largest of them in MB, over time.
    """

    cpu: dict[int, float] = field(default_factory=dict)
    before: dict[int, float] = field(default_factory=dict)
    memory: list[float] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def cpu_seconds(self) -> float:
        return sum(seconds - self.before.get(process, 0.0) for process, seconds in self.cpu.items())

    def begin(self) -> Watch:
        self._look()
        self.before = dict(self.cpu)
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def _watch(self) -> None:
        while not self.over.wait(EVERY):
            self.memory.append(self._look())

    def _look(self) -> float:
        largest = 0.0
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                times = process.cpu_times()
                self.cpu[process.pid] = times.user + times.system
                largest = max(largest, process.memory_info().rss / 1e6)
        return round(largest, 1)


def spread(folder: Path, name: str, scans: int, seconds: float, **options: Any) -> dict[str, Any]:
    """All scans by an executor."""
    watch, start = Watch().begin(), time.monotonic()
    code = [sys.executable, __file__, "--spread-call", str(folder), name, str(seconds), json.dumps(options)]
    subprocess.run(code, check=True)
    took = time.monotonic() - start
    watch.over.set()
    half = len(watch.memory) // 2
    return {
        **options,
        "done": status_of(folder / name).sums["done"],
        "seconds": round(took, 1),
        "seconds_a_scan": round(took / scans, 3),
        "scans_a_second": round(scans / took, 2),
        "cpu_seconds": round(watch.cpu_seconds, 1),
        "cpu_ms_a_scan": round(1000 * watch.cpu_seconds / scans, 1),
        "largest_process_mb_first_half": max(watch.memory[:half]),
        "largest_process_mb_second_half": max(watch.memory[half:]),
        "masks": hash_of_masks(folder / name),
    }


def spread_call(folder: Path, name: str, seconds: str, options: str) -> None:
    """In a process of its own: the batch."""
    wanted = {"predictor": Threshold(float(seconds)), **json.loads(options)}
    segment(package_of_balls(folder / "model"), [folder / "in"], folder / name, discover(), **wanted)


def hash_of_masks(out: Path) -> str:
    return hashlib.sha256(b"".join(case.encode() + data for case, data in sorted(masks(out).items()))).hexdigest()


def measure_spread(folder: Path, scans: int, seconds: float) -> dict[str, Any]:
    """One thread, two processes and two nodes, one after the other."""
    make(folder, scans)
    before = load()
    found = {
        "one_thread": spread(folder, "threads", scans, seconds, executor="threads"),
        "two_processes": spread(folder, "processes", scans, seconds, executor="processes", workers=2),
    }
    with suppress(ImportError):
        from ray.cluster_utils import Cluster

        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        nodes.add_node(num_cpus=1)
        os.environ["RAY_ADDRESS"] = nodes.address
        found["two_nodes"] = spread(folder, "ray", scans, seconds, executor="ray", workers=2)
        nodes.shutdown()
    equal = {each.pop("masks") for each in found.values()}
    return {
        "scans": scans,
        "shape": SHAPE,
        "seconds_of_a_prediction": seconds,
        **found,
        "masks_equal": len(equal) == 1,
        "load_before_and_after": [before, load()],
    }


def masks(out: Path) -> dict[str, bytes]:
    """CASE -> the voxels of its mask."""
    return {path.parent.name: np.asanyarray(nib.load(path).dataobj).tobytes() for path in out.glob("*/mask.nii.gz")}


def measure(folder: Path, scans: int) -> dict[str, Any]:
    """All of it, in a folder."""
    make(folder, scans)
    with processes() as whole:
        first = Call.of(folder, "whole")
        while first.scans < scans // 2 and first.process.poll() is None:
            time.sleep(0.01)
        first.process.kill()
        first.ended()
        done = status_of(folder / "whole").sums["done"]
        second = Call.of(folder, "whole").ended()
    with processes() as nothing:
        idle = Call.of(folder, "whole").ended()
    with processes() as apart:
        parts = [each.ended() for each in [Call.of(folder, "parts", part) for part in ("1/2", "2/2")]]
    whole.seconds = round(first.seconds + second.seconds, 1)
    one, two = masks(folder / "whole"), masks(folder / "parts")
    page = (folder / "parts" / "report.html").read_text()
    return {
        "scans": scans,
        "shape": SHAPE,
        "killed": {**first.document(), "done_then": done},
        "resumed": {**second.document(), "done_twice": first.scans + second.scans - scans},
        "called_again": {"seconds": idle.seconds, "cpu_seconds": round(nothing.cpu, 1), "predicted": idle.scans},
        "whole": by_scan(whole, scans),
        "parts": {**by_scan(apart, scans), "each": [part.document() for part in parts]},
        "masks_equal": one == two and len(one) == scans,
        "states": [status_of(folder / out).sums["done"] for out in ("whole", "parts")],
        "in_one_report": sum(f"s{number:04}" in page for number in range(scans)),
    }


def by_scan(taken: Taken, scans: int) -> dict[str, float]:
    """What so many scans took."""
    return {
        "seconds": taken.seconds,
        "cpu_seconds": round(taken.cpu, 1),
        "cpu_ms_a_scan": round(1000 * taken.cpu / scans, 1),
        "scans_a_second": round(scans / taken.seconds, 2),
    }


def main() -> None:
    if sys.argv[1:2] == ["--call"]:
        call(Path(sys.argv[2]), *sys.argv[3:])
        return
    if sys.argv[1:2] == ["--spread-call"]:
        spread_call(Path(sys.argv[2]), *sys.argv[3:])
        return
    parser = parser_of(__doc__)
    parser.add_argument("--scans", type=int, default=1000)
    parser.add_argument("--spread", action="store_true", help="Compare executors.")
    parser.add_argument("--seconds", type=float, default=0.1, help="Time of a prediction, with --spread.")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="voxgraft-many-") as folder:
        root = Path(folder)
        figures = (
            measure_spread(root, options.scans, options.seconds) if options.spread else measure(root, options.scans)
        )
    print(json.dumps(figures, indent=1))
    if options.out:
        keep(options.out, figures)


if __name__ == "__main__":
    from many_scans import main as begin  # workers import the stand-in by this name

    begin()
