"""Resampling a scan to the network's spacing, and a mask of many classes, beside torch, SimpleITK, SciPy and MONAI.

    python benchmarks/resampling.py [--rounds 3] [--out benchmarks/results/resampling.json]

A CT of 512x512x200 voxels of 0.78x0.78x1 mm, int16, is brought to 1.5 mm, linearly and by cubic splines; a mask of
256x256x128 voxels with 40 structures likewise. Each call runs in a process of its own with one thread; processor
seconds are the least of the rounds (the machine may be busy), memory is what the call took at most beyond what was
there before: the scan, imports, and one small call. nnU-Net's code need not be installed: its resampling by torch is
torch's own interpolation of the scan as float32, of masks one class after another. The run fails where results differ:
linear by more than float32's rounding of coordinates, cubic by 0.1 HU away from the border, masks in more than 1 voxel
of 1,000. MONAI aligns the centres of outer voxels, so its result is another one and is not compared.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measured import ROOT, record
from sliding_overhead import kib, mark

SPACING, TARGET = (0.78, 0.78, 1.0), 1.5
SCAN, MASK, CLASSES = (512, 512, 200), (256, 256, 128), 41
OURS, TORCH = "VoxGraft", "torch interpolate (nnU-Net's resample_torch)"
WAYS = {
    "linear": (OURS, TORCH, "SimpleITK", "SciPy zoom", "MONAI Spacing"),
    "cubic": (OURS, "SimpleITK", "SciPy zoom"),
    "mask": (OURS, TORCH, "SimpleITK LabelLinear"),
}
APART = {"linear": 0.05, "cubic": 0.1}
"""By how much results may differ, in Hounsfield units."""

Call = Callable[[Any], Any]


def target(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(round(n * step / TARGET) for n, step in zip(shape, SPACING, strict=True))


def scan() -> Any:
    """Smooth noise between -1000 and 2000, its first axis contiguous, as readers give it."""
    from scipy.ndimage import zoom

    coarse = np.clip(np.random.default_rng(0).normal(size=(64, 64, 25)) * 600, -1000, 2000)
    fine = zoom(coarse.astype(np.float32), 8, order=1)
    return np.asfortranarray(np.rint(fine).astype(np.int16))


def mask() -> Any:
    """Forty balls."""
    generator = np.random.default_rng(0)
    labels = np.zeros(MASK, np.uint8)
    where = np.ogrid[tuple(slice(0, n) for n in MASK)]
    for value in range(1, CLASSES):
        centre = [generator.uniform(0.1, 0.9) * n for n in MASK]
        labels[sum((x - c) ** 2 for x, c in zip(where, centre, strict=True)) < generator.uniform(6, 30) ** 2] = value
    return np.asfortranarray(labels)


def own(job: str) -> Call:
    from voxgraft.imaging.resample import resample_image, resample_labels

    if job == "mask":
        return lambda voxels: resample_labels(voxels, target(voxels.shape), CLASSES)
    return lambda voxels: resample_image(voxels[None], target(voxels.shape), job)[0]  # type: ignore[arg-type]


def by_torch(job: str) -> Call:
    import torch

    def interpolated(one: Any, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.nn.functional.interpolate(one[None, None], shape, mode="trilinear", align_corners=False)[0, 0]

    def of_classes(voxels: Any) -> Any:
        labels, shape = torch.from_numpy(voxels), target(voxels.shape)
        result, best = torch.zeros(shape, dtype=torch.uint8), torch.zeros(shape)
        for value in range(CLASSES):
            share = interpolated((labels == value).float(), shape)
            wins = share > best
            result[wins], best[wins] = value, share[wins]
        return result.numpy()

    if job == "mask":
        return of_classes
    return lambda voxels: interpolated(torch.from_numpy(voxels).float(), target(voxels.shape)).numpy()


def by_simpleitk(job: str) -> Call:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    kind = {"linear": sitk.sitkLinear, "cubic": sitk.sitkBSpline, "mask": sitk.sitkLabelLinear}[job]
    pixel = sitk.sitkUInt8 if job == "mask" else sitk.sitkFloat32

    def resampled(image: Any) -> Any:
        size = target(image.GetSize())
        steps = [n / new for n, new in zip(image.GetSize(), size, strict=True)]
        origin = [0.5 * step - 0.5 for step in steps]
        plain = sitk.Transform()
        return sitk.Resample(image, size, plain, kind, origin, steps, image.GetDirection(), 0, pixel)

    return resampled


def by_scipy(job: str) -> Call:
    from scipy.ndimage import zoom

    def zoomed(voxels: Any) -> Any:
        factors = [new / n for n, new in zip(voxels.shape, target(voxels.shape), strict=True)]
        order = {"linear": 1, "cubic": 3}[job]
        return zoom(voxels, factors, order=order, output=np.float32, mode="mirror", grid_mode=True)

    return zoomed


def by_monai(job: str) -> Call:
    import torch
    from monai.data import MetaTensor
    from monai.transforms import Spacing

    # the spacing that gives the same number of voxels; MONAI aligns the outer centres, so results are not compared
    return lambda voxels: np.asarray(
        Spacing(pixdim=(TARGET,) * 3, mode="bilinear", padding_mode="border")(
            MetaTensor(torch.from_numpy(voxels)[None], affine=torch.diag(torch.tensor([*SPACING, 1.0])))
        )
    )[0]


def prepared(job: str, way: str) -> tuple[Call, Any]:
    """What is called, and with what: each peer gets the order in memory, and the object, that it likes."""
    voxels = mask() if job == "mask" else scan()
    if way == OURS:
        return own(job), voxels
    if way.startswith("SimpleITK"):
        import SimpleITK as sitk

        return by_simpleitk(job), sitk.GetImageFromArray(voxels.T)
    voxels = np.ascontiguousarray(voxels)
    make = {TORCH: by_torch, "SciPy zoom": by_scipy, "MONAI Spacing": by_monai}[way]
    return make(job), voxels


def small(voxels: Any) -> Any:
    """A part of it, for the first call, which loads what is loaded late."""
    return voxels[:24, :24, :24]


def one(job: str, way: str, out: Path) -> None:
    """Do a job once in this process; print what it took, and keep the result."""
    call, voxels = prepared(job, way)
    call(small(voxels))
    before = mark()
    start = time.process_time()
    done = call(voxels)
    taken = time.process_time() - start
    peak = kib("VmHWM") - before
    if way.startswith("SimpleITK"):
        import SimpleITK as sitk

        done = sitk.GetArrayFromImage(done).T
    np.save(out, done)
    print(json.dumps({"cpu_s": taken, "mib": peak / 1024}))


def measured(job: str, rounds: int) -> dict[str, Any]:
    """The least of the rounds, taken in turns."""
    rows: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS[job]}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    apart = {}
    with tempfile.TemporaryDirectory() as folder:
        files = {way: Path(folder) / f"{number}.npy" for number, way in enumerate(WAYS[job])}
        for _ in range(rounds):
            for way, file in files.items():
                call = [sys.executable, __file__, "--one", job, way, str(file)]
                done = subprocess.run(call, capture_output=True, text=True, check=True, env=environment)
                rows[way].append(json.loads(done.stdout.strip().splitlines()[-1]))
        ours = np.load(files[OURS])
        for way in [way for way in files if way not in (OURS, "MONAI Spacing")]:
            apart[way] = difference(job, ours, np.load(files[way]))
    ways = {way: {key: round(min(row[key] for row in taken), 3) for key in taken[0]} for way, taken in rows.items()}
    mine = ways[OURS]
    ratios = {
        way: {key: round(mine[key] / row[key], 2) if row[key] else None for key in row}
        for way, row in ways.items()
        if way != OURS
    }
    return {"job": job, "ways": ways, "ratio": ratios, "apart": apart}


def difference(job: str, ours: Any, theirs: Any) -> float:
    """The share of voxels that differ in a mask; of images the largest difference away from the border."""
    if job == "mask":
        share = float((ours != theirs).mean())
        assert share <= 1e-3, share
        return share
    inner = (slice(12, -12),) * 3 if job == "cubic" else (slice(1, -1),) * 3
    most = float(np.abs(ours[inner] - theirs[inner]).max())
    assert most <= APART[job], (job, most)
    return round(most, 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "resampling.json")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        job, way, out = options.one
        return one(job, way, Path(out))
    tables: list[dict[str, Any]] = []
    for job in options.jobs:
        tables.append(measured(job, options.rounds))
        record(options.out, {"rounds": options.rounds, "threads": 1, "load": os.getloadavg()[0], "tables": tables})


if __name__ == "__main__":
    main()
