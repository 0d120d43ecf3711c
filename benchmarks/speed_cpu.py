"""All jobs of one processor beside their peers, with one command; benchmarks/gpu.py is the one for CUDA.

    python benchmarks/speed_cpu.py [--jobs prediction training ...] [--rounds 3] [--engines PYTHON]

Methods take turns; figures are processor seconds of one thread, medians and all rounds, since the machine may be busy.

- `prediction`: a 3D network in float32 and bfloat16, each memory format, beside MONAI's sliding window
- `masks`: 40 classes onto another grid, beside SimpleITK
- `empty`: a torso CT as it is and in the field of view of a scanner, windows of one value computed once or not; and the
  labels on real scans of every kind that is there, which must be equal
- `body`: the torso in the field of view of a scanner, all of it searched or the body alone, see body_jobs.py
- `engines`: the same network in OpenVINO and ONNX Runtime, by a Python that has them
- `training`, `small`, `steps`, `previews`: see cpu_jobs.py
- `window`: the framework around a free network, and logits onto the scan's grid, see sliding_overhead.py
- `resampling`: scans and masks to the network's spacing, see resampling.py

Peers that are not installed are left out and named; a Python that has `nnunetv2` measures it too. A
job that is run again replaces its own figures only.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from body_jobs import body
from cpu_jobs import DATA, Rows, previews, small, steps, training, turns
from gpu import Sizes, own_network
from measured import ROOT, machine
from torch import Tensor, nn

from voxgraft.components.code import version_of
from voxgraft.imaging.resample import class_by_class, resample_image, resample_labels
from voxgraft.inference.kernels import FastKernels
from voxgraft.inference.precision import applied
from voxgraft.inference.sliding import sliding_window, window_starts

CPU = torch.device("cpu")


def with_ratios(rows: Rows, own: str) -> Rows:
    """Each way beside the own one: how many times as long it takes."""
    return {name: {**row, "times_as_long": round(row["cpu_s"] / rows[own]["cpu_s"], 2)} for name, row in rows.items()}


class Shape(Sizes):
    """A network of four levels and windows as a CPU is given."""

    def __init__(self) -> None:
        super().__init__(CPU)
        self.patch, self.classes, self.strides = (48, 64, 48), 3, tuple((2**level,) * 3 for level in range(4))


def prediction(options: argparse.Namespace) -> dict[str, Any]:
    sizes = Shape()
    network = own_network(sizes).eval()  # with its weights as they are made, for the others
    image = torch.randn(1, 72, 64, 72, generator=torch.manual_seed(0))
    half, full = (applied(own_network(sizes).eval(), kind, CPU) for kind in ("bf16", "32"))
    ways: dict[str, Callable[[], object]] = {
        "VoxGraft, bfloat16": lambda: sliding_window(half, image, sizes.patch, device="cpu"),
        "VoxGraft, float32": lambda: sliding_window(full, image, sizes.patch, device="cpu"),
    }
    absent = []
    try:
        from monai.inferers import sliding_window_inference

        ways["MONAI sliding_window_inference, float32"] = lambda: sliding_window_inference(
            image[None], sizes.patch, 1, lambda x: network(x).logits, 0.5, "gaussian"
        ).argmax(1)
    except ImportError:
        absent.append("monai")
    layouts: dict[str, Callable[[], object]] = {}
    window = image[None, :, :48, :64, :48].contiguous()
    for kind, precision in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        for name, layout in (("contiguous", torch.contiguous_format), ("channels-last", torch.channels_last_3d)):
            layouts[f"{kind}, {name}"] = one_window(network, window, precision, layout)
    with torch.inference_mode():
        rows = with_ratios(turns(ways, options.rounds), "VoxGraft, bfloat16")
        one = with_ratios(turns(layouts, options.rounds), "bfloat16, channels-last")
        labels = [ways[f"VoxGraft, {kind}"]() for kind in ("bfloat16", "float32")]
    assert isinstance(labels[0], Tensor) and isinstance(labels[1], Tensor)
    return {
        "rows": rows,
        "layouts": one,
        "not_installed": absent,
        "labels_equal": round(float((labels[0] == labels[1]).float().mean()), 5),
    }


def one_window(
    network: nn.Module, window: Tensor, kind: torch.dtype, layout: torch.memory_format
) -> Callable[[], object]:
    strides = torch.empty(1, 2, *window.shape[2:]).contiguous(memory_format=layout).stride()
    laid = torch.empty_strided(
        window.shape,
        window.stride() if layout == torch.contiguous_format else (window.numel(), 1, *(n // 2 for n in strides[2:])),
    ).copy_(
        window
    )  # of one channel both formats are the same numbers in the same order; the strides say which is meant

    def call() -> object:
        with torch.autocast("cpu", kind, enabled=kind != torch.float32):
            return network(laid).logits

    return call


def as_applied(network: nn.Module, window: Tensor, precision: str) -> Callable[[], Any]:
    """One window as the sliding window has it computed."""
    ready = applied(network, precision, CPU)

    def call() -> Any:
        with FastKernels():
            return ready(window).logits

    return call


def masks(options: argparse.Namespace) -> dict[str, Any]:
    """40 classes on 256x256x128 voxels to 133x133x85."""
    labels, shape = balls((256, 256, 128), 40), (133, 133, 85)
    ways: dict[str, Callable[[], object]] = {
        "VoxGraft": lambda: resample_labels(labels, shape, 40),
        "class by class, torch": lambda: class_by_class(labels, shape, range(40)),
        "SimpleITK LabelLinear": lambda: by_itk(labels, shape),
    }
    same = np.array_equal(ways["VoxGraft"](), ways["class by class, torch"]())
    assert same
    return {"rows": with_ratios(turns(ways, options.rounds), "VoxGraft"), "labels_equal": same}


def balls(shape: tuple[int, ...], classes: int) -> np.ndarray[Any, Any]:
    rng, where = np.random.default_rng(0), np.ogrid[tuple(slice(0, n) for n in shape)]
    result = np.zeros(shape, np.uint8)
    for value in range(1, classes):
        centre, radii = rng.uniform(0.1, 0.9, 3), rng.uniform(8, 40, 3)
        parts = [((x - c * n) / r) ** 2 for x, c, n, r in zip(where, centre, shape, radii, strict=True)]
        result[sum(parts) < 1] = value
    return result


def by_itk(labels: np.ndarray[Any, Any], shape: tuple[int, ...]) -> object:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    image = sitk.GetImageFromArray(labels)
    spacing = [old / new for old, new in zip(reversed(labels.shape), reversed(shape), strict=True)]
    origin = [(step - 1) / 2 for step in spacing]
    return sitk.Resample(
        image,
        shape[::-1],
        sitk.Transform(),
        sitk.sitkLabelLinear,
        origin,
        spacing,
        image.GetDirection(),
        0,
        sitk.sitkUInt8,
    )


def empty(options: argparse.Namespace) -> dict[str, Any]:
    """The torso CT at 3 mm, clipped as a plan of abdominal organs clips it, in windows of 32 and of 48."""
    from voxgraft.discovery import discover
    from voxgraft.imaging.read import read
    from voxgraft.imaging.volume import ImageRef

    path = DATA / "ct" / "example_ct.nii.gz"
    if not path.is_file():
        return {"skipped": f"{path.name} is not here"}
    catalogue = discover()
    array = read(ImageRef(path), catalogue).array.astype(np.float32)
    wide = np.pad(array, ((25, 25), (33, 33), (0, 0)), constant_values=-1000)
    document: dict[str, Any] = {"windows": {}, "equal_on": {}}
    sizes = Shape()
    sizes.strides = sizes.strides[:3]
    network = own_network(sizes).eval()
    for name, scan in (("as it is", array), ("field of view of 516x501 mm", wide)):
        for step, edge in ((3.0, 32), (3.0, 48), (1.5, 48), (1.5, 64)):
            image = clipped(scan, 3.0 / step)
            document["windows"][f"{name}, {step:g} mm, {edge}"] = count(image, edge)
    image = clipped(wide[:, :, :64], 1.0)
    ways = {
        skip: (lambda once=skip == "once": sliding_window_of(network, image, 32, once))
        for skip in ("once", "every window")
    }
    document["rows"] = with_ratios(turns(ways, max(1, options.rounds // 3)), "once")
    document["equal_on"] = equal_on_all(catalogue, options.scans)
    return document


def clipped(scan: np.ndarray[Any, Any], finer: float) -> Tensor:
    normal = (np.clip(scan, -200, 300)[None] - 50) / 100
    return torch.from_numpy(resample_image(normal, [round(n * finer) for n in scan.shape]))


def count(image: Tensor, edge: int) -> dict[str, Any]:
    """Windows, and those that are computed."""
    computed, seen = [0], [0]

    def free(windows: Tensor) -> Tensor:
        computed[0] += len(windows)
        return windows[:, :1, :1, :1, :1].expand(-1, 1, *windows.shape[2:])

    sliding_window(free, image, (edge,) * 3, device="cpu", progress=lambda _: seen.__setitem__(0, seen[0] + 1))
    windows, done = seen[0], computed[0]
    gain = round(windows / done, 2)
    return {"windows": windows, "computed": done, "gain": gain, "over_the_box": over_box(image, edge)}


def over_box(image: Tensor, edge: int) -> int:
    """Windows if they covered only the box of what is not the value of the first corner: other windows, other sums."""
    body = image[0] != image[0, 0, 0, 0]
    inside = [body.any(tuple(a for a in range(3) if a != axis)).nonzero() for axis in range(3)]
    sizes = [int(where[-1] - where[0]) + 1 for where in inside]
    return math.prod(len(window_starts(max(edge, n), edge, 0.5)) for n in sizes)


def sliding_window_of(network: Callable[[Tensor], Any], image: Tensor, edge: int, once: bool) -> Tensor:
    from voxgraft.inference.decide import winners
    from voxgraft.inference.sliding import logits_by_slab

    slabs = logits_by_slab(network, image, (edge,) * 3, device="cpu", skip_empty=once)
    return torch.cat([winners(slab) for _, slab in slabs])


def equal_on_all(catalogue: Any, most: int) -> dict[str, Any]:
    """On real scans of every kind: labels with windows of one value computed once, and with every window computed."""
    from voxgraft.imaging.read import read
    from voxgraft.imaging.volume import ImageRef

    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(1, 4, 1), nn.GroupNorm(2, 4), nn.ReLU(), nn.Conv3d(4, 3, 1))
    result = {}
    for kind in (
        "ct",
        "la2018/images",
        "hippocampus/imagesTr",
        "brats",
        "sts_ct/images",
        "sts_mr_t1/images",
        "sts_pet/images",
    ):
        scans = [path for path in sorted((DATA / kind).rglob("*.nii.gz")) if not set(path.stem.split("_")) & {"seg"}]
        scans = [path for path in scans if "label" not in str(path.relative_to(DATA)).lower()][:most]
        equal = 0
        for path in scans:
            array = read(ImageRef(path), catalogue).array.astype(np.float32)
            image = torch.from_numpy(np.ascontiguousarray(array.reshape(-1, *array.shape[-3:])[:1]))
            image = ((image - image.mean()) / image.std().clamp_min(1e-3)).clamp(-1, 5)
            found = [sliding_window_of(network, image, 32, once) for once in (True, False)]
            equal += int(torch.equal(*found))
        result[kind] = {"scans": len(scans), "equal": equal}
    return result


def engines(options: argparse.Namespace) -> dict[str, Any]:
    """One window of the network in torch, and in engines by another Python; one after another in turns of a process."""
    if options.engines is None:
        return {"skipped": "no Python with engines was named (--engines)"}
    if find_spec("onnx") is None:
        return {"skipped": "the package onnx is not installed, which exporting the network needs"}
    network = own_network(Shape()).eval()
    window = torch.randn(1, 1, 48, 64, 48, generator=torch.manual_seed(0))

    class Logits(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return network(image).logits

    rows: Rows = {}
    ways = {
        "torch, bfloat16": as_applied(own_network(Shape()).eval(), window, "bf16"),
        "torch, float32": as_applied(own_network(Shape()).eval(), window, "32"),
    }
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        module = Logits()
        module.network = network
        torch.onnx.export(
            module.eval(), (window,), f"{folder}/net.onnx", dynamo=False, opset_version=18, input_names=["x"]
        )
        np.save(f"{folder}/x.npy", window.numpy())
        before = turns(ways, options.rounds)
        script = Path(__file__).with_name("speed_engines.py")
        call = [options.engines, str(script), folder, str(options.rounds)]
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(call, capture_output=True, text=True, env=clean)
        if done.returncode:
            return {"error": done.stderr.strip().splitlines()[-1][:300]}
        told = json.loads(done.stdout.strip().splitlines()[-1])
        after = turns(ways, options.rounds)
        for name in ways:
            both = before[name]["rounds"] + after[name]["rounds"]
            rows[name] = {"cpu_s": round(statistics.median(both), 4), "rounds": both}
        truth = ways["torch, float32"]().argmax(1).numpy()
        for name in told["rows"]:
            found = np.load(f"{folder}/{name}.npy")
            told["rows"][name]["labels_equal"] = round(float((found == truth).mean()), 5)
    return {"versions": told["versions"], "rows": with_ratios(rows | told["rows"], "torch, bfloat16")}


def window(options: argparse.Namespace) -> dict[str, Any]:
    return by_script("sliding_overhead", options.rounds)


def resampling(options: argparse.Namespace) -> dict[str, Any]:
    return by_script("resampling", options.rounds)


def by_script(name: str, rounds: int) -> dict[str, Any]:
    """What a script of its own measured, whose file of figures it writes as well."""
    script = Path(__file__).with_name(f"{name}.py")
    subprocess.run([sys.executable, str(script), "--rounds", str(rounds)], check=True, stdout=subprocess.DEVNULL)
    tables: list[Any] = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())["tables"]
    return {"tables": tables}


JOBS = (prediction, training, masks, small, empty, body, steps, previews, engines, window, resampling)


def versions() -> dict[str, str]:
    return {name: version_of(name) for name in ("nnunetv2", "dynamic-network-architectures", "monai", "SimpleITK")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [job.__name__ for job in JOBS]
    parser.add_argument("--jobs", nargs="+", choices=names, default=names)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scans", type=int, default=1, help="of each kind, for labels that must be equal")
    parser.add_argument("--steps", type=int, default=400, help="of the network that the job `body` trains")
    parser.add_argument("--engines", help="a Python that has openvino and onnxruntime")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "speed_cpu.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    document = json.loads(options.out.read_text()) if options.out.is_file() else {"jobs": {}}
    for job in JOBS:
        if job.__name__ in options.jobs:
            row = job(options)
            about = {
                "rounds": options.rounds,
                "threads": 1,
                "peers": versions(),
                "load": round(os.getloadavg()[0], 1),
                "machine": machine(),
            }
            document["jobs"][job.__name__] = {**row, "about": about}
            options.out.write_text(json.dumps(document, indent=2) + "\n")
            print(json.dumps({job.__name__: row}, indent=2), flush=True)


if __name__ == "__main__":
    main()
