"""Jobs of speed_cpu.py that are more than one call: a training step, small scans, the first steps of a run, previews.

Each gives rows by method with processor seconds of every round; what a job lacks for a peer is named in `absent`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from gpu import Sizes, networks, own_network
from measured import ROOT
from torch import nn

from voxgraft.components.choice import choose
from voxgraft.discovery import discover
from voxgraft.imaging.read import read
from voxgraft.imaging.structures import boxes_of
from voxgraft.imaging.volume import ImageRef, Volume
from voxgraft.inference.sliding import sliding_window
from voxgraft.reports.preview import previewed

Rows = dict[str, dict[str, Any]]
CPU = torch.device("cpu")
PLUGINS = "VoxGraft: check, plan, prepare"
NNUNET = "nnU-Net: verify, plan, preprocess, each in its processes"
CASES = (12, 200)
DATA = Path(os.environ.get("VOXGRAFT_DATA", ROOT.parent / "shared" / "data"))
SHOWN = (
    ("ct", "ct/example_ct.nii.gz", "ct/example_seg.nii.gz", (122, 101, 112), 41),
    (
        "mr",
        "hippocampus/imagesTr/hippocampus_004.nii.gz",
        "hippocampus/labelsTr/hippocampus_004.nii.gz",
        (35, 51, 35),
        2,
    ),
)
"""What previews are drawn of: the modality, a scan and its mask, and what is made up in their place."""
WORKFLOW = """\
voxgraft: 1
name: boxes
data: {{layout: {{use: decathlon, path: {data}}}, modality: mr, split: {{folds: 3, fold: 0, seed: 7}}}}
model: {{dims: 3, encoder: {{use: residual, weights: none, width: 8}}, decoder: {{use: unet}}}}
training: {{budget: 12 steps, batch: 2, patch: [16, 16, 16], device: cpu}}
tracking: null
steps: [check, plan, prepare]
"""


def turns(ways: Mapping[str, Callable[[], object]], rounds: int) -> Rows:
    """Processor seconds of each way, taken in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.process_time()
            way()
            seconds[name].append(time.process_time() - start)
    return rows_of(seconds)


def rows_of(seconds: Mapping[str, list[float]]) -> Rows:
    """The median of the rounds, and how many times as long it is as that of the first way."""
    first = statistics.median(next(iter(seconds.values())))
    return {
        name: {
            "cpu_s": round(statistics.median(row), 4),
            "rounds": [round(one, 4) for one in row],
            "times_as_long": round(statistics.median(row) / first, 2),
        }
        for name, row in seconds.items()
    }


class Small(Sizes):
    """A network of four levels, windows and classes as for the hippocampus."""

    def __init__(self, patch: tuple[int, int, int]) -> None:
        super().__init__(CPU)
        self.patch, self.classes, self.batch = patch, 3, 2
        self.strides = tuple((2**level,) * 3 for level in range(4))
        self.features = (32, 64, 128, 256)


def training(options: argparse.Namespace) -> dict[str, Any]:
    """Forward, cross entropy, backward and AdamW of one batch, each network as its makers train it on a CPU."""
    sizes = Small((32, 48, 32))
    image = torch.randn(sizes.batch, 1, *sizes.patch, generator=torch.manual_seed(0))
    target = torch.randint(0, sizes.classes, (sizes.batch, *sizes.patch))
    ways: dict[str, Callable[[], object]] = {}
    for name, make in networks(sizes).items():
        own = name.startswith("VoxGraft")
        for kind in ("bfloat16", "float32") if own else ("float32",):
            ways[f"{name}, {kind}"] = step_of(make().train(), image, target, kind, own)
    for way in ways.values():
        way()
    absent = [name for name in ("monai", "dynamic_network_architectures") if find_spec(name) is None]
    return {"rows": turns(ways, options.rounds), "absent": absent}


def step_of(network: nn.Module, image: torch.Tensor, target: torch.Tensor, kind: str, own: bool) -> Callable[[], None]:
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3)
    if own and kind == "float32":
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        image = image.contiguous(memory_format=torch.channels_last_3d)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=kind == "bfloat16"):
            output = network(image)
            loss = nn.functional.cross_entropy(getattr(output, "logits", output).float(), target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return step


def small(options: argparse.Namespace) -> dict[str, Any]:
    """A scan of 35x51x35 voxels: the patch of the median, and the one that covers such scans, as plans choose now."""
    image = torch.randn(1, 35, 51, 35, generator=torch.manual_seed(0))
    network = own_network(Small((32, 48, 32))).eval()
    ways: dict[str, Callable[[], object]] = {
        "VoxGraft, patch 40x56x40 as planned": lambda: sliding_window(network, image, (40, 56, 40), device="cpu"),
        "VoxGraft, patch 32x48x32": lambda: sliding_window(network, image, (32, 48, 32), device="cpu"),
    }
    absent = []
    if find_spec("monai"):
        from monai.inferers import sliding_window_inference

        ways["MONAI sliding_window_inference, patch 32x48x32"] = lambda: sliding_window_inference(
            image[None], (32, 48, 32), 1, lambda x: network(x).logits, 0.5, "gaussian"
        ).argmax(1)
    else:
        absent.append("monai")
    with torch.inference_mode():
        return {"rows": turns(ways, options.rounds), "absent": absent}


def previews(options: argparse.Namespace) -> dict[str, Any]:
    """Of a CT and of a small MR scan, boxes as they were measured: real ones where they are there, else made up."""
    ways: dict[str, Callable[[], object]] = {}
    catalogue = discover()
    for kind, image, reference, shape, number in SHOWN:
        modality: Any = choose(catalogue, "modality", {"use": kind}).build()
        if (DATA / image).is_file():
            scan, mask = (read(ImageRef(DATA / name), catalogue) for name in (image, reference))
            name = f"{kind.upper()} of {'x'.join(map(str, scan.shape))} voxels"
        else:
            labels = np.asfortranarray(balls(shape, number))
            scan = Volume(np.asfortranarray((noise(shape) * 150 + 40 * (labels > 0)).astype(np.int16)), np.eye(4))
            mask, name = scan.with_array(labels), f"noise of {'x'.join(map(str, shape))} voxels"
        boxes = {value: box for value, box in enumerate(boxes_of(mask.array), 1) if box is not None}
        names = {value: f"structure {value}" for value in boxes}
        ways[f"{name}, {len(boxes)} structures"] = partial(previewed, scan, mask, modality, names, boxes)
    for way in ways.values():
        way()
    return {"rows": turns(ways, 5 * options.rounds), "absent": ["MONAI and nnU-Net draw none"]}


def noise(shape: tuple[int, ...]) -> Any:
    small = torch.randn(1, 1, *(max(2, n // 4) for n in shape), generator=torch.manual_seed(0))
    return nn.functional.interpolate(small, shape, mode="trilinear")[0, 0].numpy()


def balls(shape: tuple[int, ...], number: int) -> Any:
    generator, where = np.random.default_rng(0), np.ogrid[tuple(slice(0, n) for n in shape)]
    labels = np.zeros(shape, np.uint8)
    for value in range(1, number + 1):
        centre, radius = generator.uniform(0.2, 0.8, 3) * shape, generator.uniform(0.04, 0.12) * max(shape)
        labels[sum((x - c) ** 2 for x, c in zip(where, centre, strict=True)) < radius**2] = value
    return labels


def steps(options: argparse.Namespace) -> dict[str, Any]:
    """Whole processes on 12 and 200 tiny cases, children counted; nnU-Net's command does the same three things."""
    seconds: dict[str, list[float]] = {}
    absent = []
    for cases in CASES:
        with tempfile.TemporaryDirectory() as folder:
            data = written(Path(folder), cases)
            workflow = Path(folder) / "workflow.yaml"
            workflow.write_text(WORKFLOW.format(data=data))
            for number in range(options.rounds):
                call = [sys.executable, "-m", "voxgraft", "run", str(workflow), "--out", f"{folder}/run{number}"]
                seconds.setdefault(f"{PLUGINS}, {cases} cases", []).append(spent(call, {}))
            if find_spec("nnunetv2") is None:
                absent = ["nnunetv2"]
                continue
            places = {f"nnUNet_{name}": f"{folder}/{name}" for name in ("raw", "preprocessed", "results")}
            try:
                seconds[f"{NNUNET}, {cases} cases"] = [spent(nnunet_call(Path(folder)), places)]
            except RuntimeError as error:
                absent = [f"nnunetv2, whose command failed: {str(error).splitlines()[-1][:200]}"]
    return {"rows": rows_of(seconds), "absent": absent}


def nnunet_call(folder: Path) -> list[str]:
    module = "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints"
    words = ["-d", "1", "--verify_dataset_integrity", "-c", "3d_fullres", "-np", "1", "-npfp", "1"]
    return [sys.executable, "-c", f"import sys; from {module} import *; plan_and_preprocess_entry()", *words]


def written(folder: Path, cases: int) -> Path:
    """The same cases as a Decathlon data set and as nnU-Net keeps them."""
    generator = np.random.default_rng(3)
    raw = folder / "raw" / "Dataset001_Boxes"
    for part in ("imagesTr", "labelsTr"):
        (raw / part).mkdir(parents=True)
    rows = []
    for index in range(cases):
        label = np.zeros((20, 18, 16), np.uint8)
        label[tuple(slice(int(s), int(s) + 6) for s in generator.integers(3, 7, 3))] = 1
        image = (generator.normal(100, 20, label.shape) + 150 * label).astype(np.int16)
        name = f"box_{index:03d}"
        nib.save(nib.Nifti1Image(image, np.eye(4)), raw / "imagesTr" / f"{name}_0000.nii.gz")
        nib.save(nib.Nifti1Image(label, np.eye(4)), raw / "labelsTr" / f"{name}.nii.gz")
        rows.append({"image": f"./imagesTr/{name}_0000.nii.gz", "label": f"./labelsTr/{name}.nii.gz"})
    document: dict[str, Any] = {"name": "boxes", "modality": {"0": "MRI"}, "labels": {"0": "background", "1": "box"}}
    nnunet = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "box": 1}}
    nnunet |= {"numTraining": cases, "file_ending": ".nii.gz"}
    (raw / "dataset.json").write_text(json.dumps(nnunet))
    own = folder / "own"
    own.mkdir()
    for part in ("imagesTr", "labelsTr"):
        (own / part).symlink_to(raw / part)
    (own / "dataset.json").write_text(json.dumps({**document, "training": rows}))
    return own


def spent(call: list[str], more: Mapping[str, str]) -> float:
    """Processor seconds of a process and of its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(call, capture_output=True, text=True, env={**os.environ, **more, "OMP_NUM_THREADS": "1"})
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-400:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
