"""What the sliding window and the way onto the scan's grid cost with many classes, beside MONAI and nnU-Net's method.

    python benchmarks/sliding_overhead.py [--rounds 3] [--out benchmarks/results/sliding_overhead.json]

The network costs nothing: its logits are the image times one number a class, so what is measured is the framework. Each
call runs in a process of its own with one thread; processor seconds are the least of the rounds (the machine may be
busy), memory is what the call took at most beyond what was there before (image or logits, and imports). Where nnU-Net's
own code is installed, its sliding window is a third way; what it does with logits is repeated with torch's functions,
which are all that it calls for that: the logits of all classes interpolated linearly onto the scan's grid, then argmax.
Ours gives the confidence of each class besides. The run fails where labels differ in more than 1 voxel of 10,000: the
peers round their sums in another order. nnU-Net sums logits in half precision, so what it finds is only told.
That ours are voxel by voxel those of its own plain path is what tests/core/test_borders.py shows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from measured import ROOT, record

SHAPE = (192, 192, 128)
ROI = (64, 64, 64)
GRID = (96, 160, 128)
FINER = 1.6
OURS = "VoxGraft"
NNUNET = "nnU-Net predict_sliding_window_return_logits, argmax"
JOBS = {
    "window": (OURS, "MONAI sliding_window_inference, argmax", *([NNUNET] if find_spec("nnunetv2") else [])),
    "same grid": (OURS, "torch: all logits interpolated, argmax (nnU-Net's method)"),
    "finer grid": (OURS, "torch: all logits interpolated, argmax (nnU-Net's method)"),
    "finer grid, blobs": (OURS, "torch: all logits interpolated, argmax (nnU-Net's method)"),
    "finer grid, noise": (OURS, "torch: all logits interpolated, argmax (nnU-Net's method)"),
}


class Free(torch.nn.Module):
    """A network that only writes its logits."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.factors = torch.nn.Parameter(torch.linspace(0.5, 1.5, classes).view(1, classes, 1, 1, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image[:, :1] * self.factors


def smooth(channels: int, shape: tuple[int, ...], coarse: int) -> torch.Tensor:
    """Random numbers (channel, *shape) without detail below `coarse` voxels."""
    torch.manual_seed(0)
    small = torch.randn(1, channels, *(n // coarse for n in shape))
    if coarse == 1:
        return small[0]
    return torch.nn.functional.interpolate(small, shape, mode="trilinear")[0].contiguous()


def organs(classes: int) -> torch.Tensor:
    """Logits of ellipsoids of many sizes with soft borders, and of the background around them."""
    from scipy.ndimage import gaussian_filter

    generator = np.random.default_rng(1)
    labels = np.zeros(GRID, np.uint8)
    where = np.ogrid[tuple(slice(0, n) for n in GRID)]
    for value in range(1, classes):
        centre, radii = (generator.uniform(*ends, 3) for ends in ((0.1, 0.9), (6, 24)))
        parts = [((x - c * n) / r) ** 2 for x, c, n, r in zip(where, centre, GRID, radii, strict=True)]
        labels[sum(parts) < 1] = value
    return torch.stack(
        [torch.from_numpy(gaussian_filter((labels == value).astype(np.float32), 1.0) * 8) for value in range(classes)]
    )


def window(way: str, classes: int) -> Callable[[], torch.Tensor]:
    image, network = smooth(1, SHAPE, 8), Free(classes).eval()
    if way == OURS:
        from voxgraft.inference.sliding import sliding_window

        return lambda: sliding_window(network, image, ROI, overlap=0.5, device="cpu")
    if way == NNUNET:
        return by_nnunet(network, image, classes)
    from monai.inferers import sliding_window_inference

    return lambda: sliding_window_inference(image[None], ROI, 1, network, overlap=0.5, mode="gaussian").argmax(1)[0]


def by_nnunet(network: torch.nn.Module, image: torch.Tensor, classes: int) -> Callable[[], torch.Tensor]:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    options = {"use_mirroring": False, "perform_everything_on_device": False, "allow_tqdm": False}
    predictor = nnUNetPredictor(0.5, True, device=torch.device("cpu"), **options)
    predictor.configuration_manager = SimpleNamespace(patch_size=list(ROI), spacing=[1, 1, 1])
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=classes)
    predictor.network, predictor.list_of_parameters, predictor.allowed_mirroring_axes = network, [None], None
    return lambda: predictor.predict_sliding_window_return_logits(image).argmax(0)


def grid(way: str, classes: int, coarse: int, finer: float) -> Callable[[], torch.Tensor]:
    logits = smooth(classes, GRID, coarse) * 8 if coarse else organs(classes)
    shape = tuple(round(n * finer) for n in GRID)
    if way == OURS:
        from voxgraft.inference.array import _decided, _largest
        from voxgraft.inference.decide import Tally
        from voxgraft.inference.grid import Interpolation, Place

        plan: Any = SimpleNamespace(regions=(), classes=classes, ignored=None)

        def ours() -> torch.Tensor:
            places = [Place(Interpolation(old, new), 0, new) for old, new in zip(GRID, shape, strict=True)]
            return torch.from_numpy(_decided(logits, _largest(logits), places, plan, Tally(classes), None))

        return ours

    def theirs() -> torch.Tensor:
        done = torch.nn.functional.interpolate(logits[None], shape, mode="trilinear", align_corners=False)
        return done[0].argmax(0)

    return theirs


def prepared(job: str, way: str, classes: int) -> Callable[[], torch.Tensor]:
    if job == "window":
        return window(way, classes)
    coarse = {"finer grid, noise": 1, "finer grid, blobs": 16}.get(job, 0)
    return grid(way, classes, coarse, 1.0 if job == "same grid" else FINER)


def one(job: str, way: str, classes: int, out: Path) -> None:
    """Do a job once in this process; print what it took, and keep the labels."""
    torch.set_num_threads(1)
    with torch.inference_mode():
        call = prepared(job, way, classes)
        torch.nn.functional.interpolate(torch.zeros(1, 1, 8, 8, 8), (9, 9, 9), mode="trilinear")
        before = mark()
        start = time.process_time()
        labels = call()
        taken = time.process_time() - start
    np.save(out, labels.numpy().astype(np.int16))
    print(json.dumps({"cpu_s": taken, "gib": (kib("VmHWM") - before) / 2**20}))


def mark() -> int:
    """Forget what this process took at most so far; KiB that it takes now."""
    Path("/proc/self/clear_refs").write_text("5")
    return kib("VmRSS")


def kib(field: str) -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in status if row.startswith(field))


def measured(job: str, classes: int, rounds: int) -> dict[str, Any]:
    """The least of the rounds, taken in turns."""
    rows: dict[str, list[dict[str, float]]] = {way: [] for way in JOBS[job]}
    found: dict[str, np.ndarray[Any, Any]] = {}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for way in JOBS[job]:
                out = Path(folder) / f"{hashlib.sha256(way.encode()).hexdigest()[:8]}.npy"
                call = [sys.executable, __file__, "--one", job, way, str(classes), str(out)]
                done = subprocess.run(call, capture_output=True, text=True, check=True, env=environment)
                rows[way].append(json.loads(done.stdout.strip().splitlines()[-1]))
                found[way] = np.load(out)
    apart = {way: float((found[OURS] != labels).mean()) for way, labels in found.items() if way != OURS}
    assert all(share <= 1e-4 for way, share in apart.items() if way != NNUNET), (job, classes, apart)
    ways = {
        way: {key: round(min(row[key] for row in taken), 3) for key in ("cpu_s", "gib")} for way, taken in rows.items()
    }
    ratios = {
        way: {key: round(ways[OURS][key] / row[key], 2) if row[key] else None for key in row}
        for way, row in ways.items()
        if way != OURS
    }
    return {"job": job, "classes": classes, "ways": ways, "ratio": ratios, "share_of_other_labels": apart}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "sliding_overhead.json")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        job, way, classes, out = options.one
        return one(job, way, int(classes), Path(out))
    number = {"window": (2, 30, 100)}
    tables = [measured(job, classes, options.rounds) for job in options.jobs for classes in number.get(job, (30,))]
    known = json.loads(options.out.read_text())["tables"] if options.out.is_file() else []
    tables += [row for row in known if row["job"] not in options.jobs]  # what is not measured again is kept
    tables.sort(key=lambda row: (list(JOBS).index(row["job"]), row["classes"]))
    record(options.out, {"rounds": options.rounds, "threads": 1, "tables": tables})


if __name__ == "__main__":
    main()
