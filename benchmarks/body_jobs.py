"""The job `body` of speed_cpu.py: a torso CT in the field of view of a scanner, all of it searched or the body alone.

A network of 41 organs learns for a few minutes from 30 slices that were cut out of that torso, so its labels there are
better than elsewhere, and everywhere worse than those of a finished model: borders that hang by a hair are many. Two
ways to search the body are beside the whole scan: the windows of the scan that it takes to cover the body, which is how
VoxGraft does it, and windows spread anew over the box of the body. MONAI's peers are its sliding window over the whole
and over what its CropForeground leaves.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu import Sizes, own_network
from measured import ROOT
from torch import Tensor, nn

from voxgraft.discovery import discover
from voxgraft.imaging.body import Box, body_box
from voxgraft.imaging.read import read
from voxgraft.imaging.volume import ImageRef
from voxgraft.inference.around import covering
from voxgraft.inference.array import segment_array
from voxgraft.preprocessing.modality import HOUNSFIELD_LEVELS

DATA = Path(os.environ.get("VOXGRAFT_DATA", ROOT.parent / "shared" / "data"))
SPACING = (3.0, 3.0, 3.0)
PAD = ((25, 25), (33, 33), (0, 0))
"""Voxels beside the torso, to the field of view of a scanner: 516 x 501 mm."""
EDGE = 48


class Organs(Sizes):
    """A network of four levels for 41 organs."""

    def __init__(self) -> None:
        super().__init__(torch.device("cpu"))
        self.patch, self.classes = (EDGE,) * 3, 42
        self.strides = tuple((2**level,) * 3 for level in range(4))


def body(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds, windows and labels of each way."""
    if not (DATA / "ct" / "example_ct.nii.gz").is_file():
        return {"skipped": "example_ct.nii.gz is not here"}
    catalogue = discover()
    torso, cut, labels = (
        read(ImageRef(DATA / "ct" / f"example_{name}.nii.gz"), catalogue).array for name in ("ct", "ct_sm", "seg")
    )
    values, indices = np.unique(labels, return_inverse=True)  # 0 and those of 41 organs
    assert len(values) == Organs().classes
    network = learnt(normal(cut), torch.from_numpy(indices.reshape(labels.shape)), options.steps)
    alone = body_box(torso, SPACING, *HOUNSFIELD_LEVELS)
    return {
        "steps": options.steps,
        "as_it_is": alone if isinstance(alone, str) else covered(torso.shape, alone),
        **compared(network, in_air(torso), options.rounds),
    }


def covered(shape: Sequence[int], box: Box | None) -> int:
    """The windows over a box."""
    return math.prod(map(len, covering(shape, (EDGE,) * 3, 0.5, box).starts))


def normal(scan: Any) -> Tensor:
    return torch.from_numpy(((np.clip(scan.astype(np.float32), -200, 300) - 50) / 100)[None])


def in_air(torso: Any) -> Any:
    """With the air of a scanner around it, and its noise."""
    wide = np.pad(torso.astype(np.float32), PAD, constant_values=-1000)
    inside = np.pad(np.ones(torso.shape, bool), PAD)
    noise = np.random.default_rng(0).normal(0, 15, wide.shape)
    wide[~inside] += noise[~inside]
    return np.round(wide)


def learnt(image: Tensor, labels: Tensor, steps: int) -> nn.Module:
    """A network after some steps on patches of one scan."""
    network, (generator, edges) = own_network(Organs()).train(), (np.random.default_rng(0), (EDGE, EDGE, 24))
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimiser, steps, 0.9)
    for _ in range(steps):
        corner = [int(generator.integers(0, n - edge + 1)) for n, edge in zip(labels.shape, edges, strict=True)]
        part = tuple(slice(c, c + edge) for c, edge in zip(corner, edges, strict=True))
        logits, wanted = network(image[(slice(None), *part)][None]).logits, labels[part][None]
        shares, hot = logits.softmax(1), nn.functional.one_hot(wanted, 42).movedim(-1, 1)
        both, either = ((shares * hot).sum((0, 2, 3, 4)), (shares + hot).sum((0, 2, 3, 4)))
        loss = nn.functional.cross_entropy(logits, wanted) - (2 * both[1:] / (either[1:] + 1)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


class Counted:
    """A network, and how many windows it has seen."""

    def __init__(self, network: nn.Module) -> None:
        self.network, self.windows = network, 0

    def __call__(self, windows: Tensor) -> Any:
        self.windows += len(windows)
        return self.network(windows)


def compared(network: nn.Module, scan: Any, rounds: int) -> dict[str, Any]:
    counted, image = Counted(network), normal(scan)
    shape, plan = scan.shape, Organs().plan
    find = partial(body_box, scan, SPACING, *HOUNSFIELD_LEVELS)
    ways: dict[str, Callable[[], Any]] = {
        "VoxGraft, the whole scan": lambda: segment_array(counted, image, shape, plan)[0],
        "VoxGraft, the body": lambda: segment_array(counted, image, shape, plan, box=box_or_none(find()))[0],
        "windows spread over the body's box": lambda: anew(counted, image, plan, box_or_none(find())),
    }
    try:
        from monai.inferers import sliding_window_inference

        slide = partial(sliding_window_inference, roi_size=plan.patch, sw_batch_size=1, overlap=0.5, mode="gaussian")

        def by_monai(part: Tensor) -> Any:
            with torch.inference_mode():
                return slide(part[None], predictor=lambda x: counted(x).logits).argmax(1)[0].numpy()

        ways["MONAI, the whole scan"] = lambda: by_monai(image)
        ways["MONAI CropForeground above -500 HU"] = lambda: cropped(by_monai, scan, image)
    except ImportError:
        pass
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    rows: dict[str, dict[str, Any]] = {}
    plain = None
    for _ in range(rounds):
        for name, way in ways.items():
            counted.windows, start = 0, time.process_time()
            found = way()
            seconds[name].append(round(time.process_time() - start, 3))
            plain = found if plain is None else plain
            rows[name] = {"windows": counted.windows, **agreement(plain, found)}
    box = box_or_none(find())
    own = float(np.median(seconds["VoxGraft, the body"]))
    for name, row in rows.items():
        middle = float(np.median(seconds[name]))
        row |= {"cpu_s": round(middle, 3), "rounds": seconds[name], "times_as_long": round(middle / own, 2)}
    start = time.process_time()
    find()
    return {"box": box, "finding_the_body_s": round(time.process_time() - start, 4), "rows": rows}


def box_or_none(found: Box | str) -> Box | None:
    return None if isinstance(found, str) else found


def anew(network: Any, image: Tensor, plan: Any, box: Box | None) -> Any:
    """The other way: windows spread over the box itself."""
    if box is None:
        return segment_array(network, image, tuple(image.shape[1:]), plan)[0]
    part = tuple(slice(*ends) for ends in box)
    result = np.zeros(image.shape[1:], np.uint8)
    inside = image[(slice(None), *part)]
    result[part] = segment_array(network, inside, tuple(inside.shape[1:]), plan)[0]
    return result


def cropped(by_monai: Callable[[Tensor], Any], scan: Any, image: Tensor) -> Any:
    from monai.transforms import CropForeground

    low, high = CropForeground(select_fn=lambda x: x > -500, margin=3).compute_bounding_box(
        torch.from_numpy(scan)[None]
    )
    part = tuple(slice(max(0, int(a)), int(b)) for a, b in zip(low, high, strict=True))
    result = np.zeros(scan.shape, np.uint8)
    result[part] = by_monai(image[(slice(None), *part)])
    return result


def agreement(plain: Any, found: Any) -> dict[str, Any]:
    """How far labels agree with those of the whole scan."""
    dice = [
        2 * int(((plain == value) & (found == value)).sum()) / both
        for value in range(1, 42)
        if (both := int((plain == value).sum() + (found == value).sum())) > 0
    ]
    there: Sequence[int] = [value for value in np.unique(plain) if value]
    return {
        "labels_changed": round(float((plain != found).mean()), 6),
        "structures": len(there),
        "lost": sum(not (found == value).any() for value in there),
        "least_dice": round(min(dice), 5),
        "mean_dice": round(sum(dice) / len(dice), 5),
    }
