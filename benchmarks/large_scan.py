"""A scan of 512x512x800 voxels with 100 classes in 4 GiB: what was promised, and what was taken.

    python benchmarks/large_scan.py [--gib 4] [--out benchmarks/results/large_scan.json]

The network costs nothing (its logits are the image times one number a class), so the time is that of the framework. The
whole way of a scan is walked in a process of its own: int16 voxels, normalised, windows of 64, labels in the scan's own
order. What the process took at most (VmHWM, with Python and torch) must stay below the limit, and the promise above it
is what was worked out before the first window.
"""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import stand_in
import torch
from measured import keep, parser_of, record
from sliding_overhead import Free, kib

from voxgraft.components.choice import choose
from voxgraft.discovery import discover
from voxgraft.imaging.volume import Volume
from voxgraft.inference import predictor as engine
from voxgraft.inference.need import columns_that_fit, need_of
from voxgraft.inference.predictor import Predictor
from voxgraft.preprocessing.plan import Plan


def plan_of(classes: int) -> Plan:
    normalisation = {"low": -1000.0, "high": 1000.0, "mean": 0.0, "std": 400.0}
    ct: dict[str, Any] = {"channels": ("ct",), "modality": "ct", "normalisation": (normalisation,)}
    return stand_in.plan_of(classes, (64, 64, 64), spacing=(0.8, 0.8, 0.8), **ct)


def ready(plan: Plan, overlap: float) -> Predictor:
    """A predictor around the free network, without a package."""
    predictor = Predictor.__new__(Predictor)
    facts: dict[str, Any] = {
        "package": SimpleNamespace(labels=SimpleNamespace(items=()), plan=plan),
        "plan": plan,
        "overlap": overlap,
        "mirror": False,
        "batch": 1,
        "skip_empty": True,
        "body": False,
        "device": torch.device("cpu"),
        "modality": choose(discover(), "modality", {"use": "ct"}).build(),
        "applied": Free(plan.classes).eval(),
        "_taken": {(plan.patch, plan.strides): 0},
    }
    vars(predictor).update(facts)
    return predictor


def scan_of(shape: tuple[int, ...]) -> Volume:
    """Smooth noise of int16, made a slab at a time."""
    array = np.empty(shape, np.int16, order="F")
    generator = np.random.default_rng(0)
    for start in range(0, shape[2], 16):
        part = array[:, :, start : start + 16]
        part[...] = np.kron(generator.integers(-1000, 1000, (shape[0] // 16, shape[1] // 16, 1)), np.ones((16, 16, 1)))
    return Volume(array, np.diag([0.8, 0.8, 0.8, 1.0]))


def main() -> None:
    parser = parser_of(__doc__, "large_scan")
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 800))
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--overlap", type=float, default=0.0)
    parser.add_argument("--gib", type=float, default=4.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    shape, plan = tuple(options.shape), plan_of(options.classes)
    predictor, scan = ready(plan, options.overlap), scan_of(shape)
    limit = int(options.gib * 2**30)
    engine.free_memory = lambda: limit - 1024 * kib("VmRSS")  # type: ignore[attr-defined]  # as in a container of so much
    need = need_of(plan, shape, shape, 0)
    before, free = kib("VmRSS"), engine.free_memory()
    columns = columns_that_fit(plan, shape, shape, free - need.fixed - need.window - (100 << 20))
    Path("/proc/self/clear_refs").write_text("5")
    used, start = time.process_time(), time.monotonic()
    document: dict[str, Any] = {
        "shape": list(shape),
        "classes": options.classes,
        "overlap": options.overlap,
        "limit_gib": options.gib,
        "columns": columns,
        "promised_gib": round((before * 1024 + need.host(columns)) / 2**30, 3),
    }

    def note(share: float) -> None:
        """Keep what is known so far: a run that is stopped leaves the share that it did."""
        taken = {"peak_gib": round(kib("VmHWM") / 2**20, 3), "cpu_s": round(time.process_time() - used, 1)}
        if share * 100 >= document.get("percent_of_first_columns", -1) + 1 or share == 1:
            document.update(taken, percent_of_first_columns=int(share * 100), wall_s=round(time.monotonic() - start, 1))
            keep(options.out, document)

    found = predictor.predict(scan, note)
    del document["percent_of_first_columns"]
    document.update(labels=int(found.labels.array.max()), peak_gib=round(kib("VmHWM") / 2**20, 3))
    document.update(cpu_s=round(time.process_time() - used, 1), wall_s=round(time.monotonic() - start, 1))
    assert document["peak_gib"] <= document["promised_gib"] <= options.gib, document
    record(options.out, document)


if __name__ == "__main__":
    main()
