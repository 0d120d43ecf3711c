"""Labels in the scan's own grid: streaming in slabs and columns gives what doing all at once gives."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from training import tiny_plan

from voxgraft.errors import ModelError
from voxgraft.inference import array as arrays
from voxgraft.inference.around import covering
from voxgraft.inference.array import segment_array
from voxgraft.inference.sliding import sliding_window
from voxgraft.preprocessing.plan import Plan


class Blurry(nn.Module):
    """A network of smooth logits, so that the order of floating-point sums cannot turn a winner."""

    def __init__(self, classes: int, dims: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution = {2: nn.Conv2d, 3: nn.Conv3d}[dims](1, classes, 3, padding=1)
        self.dims = dims

    def forward(self, image: Tensor) -> Tensor:
        return self.convolution(image) * 4


def plan_of(classes: int, patch: tuple[int, ...], **changes: object) -> Plan:
    labels = tuple((value, f"structure {value}") for value in range(1, classes))
    return tiny_plan().model_copy(update={"labels": labels, "patch": patch, **changes})


def at_once(network: nn.Module, image: Tensor, shape: tuple[int, ...], patch: tuple[int, ...]) -> np.ndarray:
    logits = sliding_window(network, image, patch, result="logits")
    done = functional.interpolate(logits[None], shape, mode="trilinear", align_corners=False)[0]
    return done.argmax(0).numpy()


@pytest.mark.parametrize(
    "shape", [(23, 19, 17), (46, 38, 34), (11, 40, 17), (12, 10, 9), (23, 19, 40), (31, 19, 17), (5, 3, 2)]
)
def test_streaming_gives_what_doing_all_at_once_gives(shape) -> None:
    network = Blurry(4)
    image = torch.randn(1, 23, 19, 17)
    found, _ = segment_array(network, image, shape, plan_of(4, (8, 8, 8)))
    truth = at_once(network, image, shape, (8, 8, 8))
    assert found.shape == shape
    assert (found != truth).mean() < 2e-3


@pytest.mark.parametrize("shape", [(23, 19, 17), (30, 45, 17), (11, 9, 17)])
def test_columns_change_nothing(shape, monkeypatch) -> None:
    network = Blurry(3)
    image = torch.randn(1, 23, 33, 17)
    plan = plan_of(3, (8, 8, 8))
    whole, confidence = segment_array(network, image, shape, plan)
    monkeypatch.setattr(arrays, "_columns", lambda *_: iter([(0, 9), (8, 21), (20, 33)]))
    parts, again = segment_array(network, image, shape, plan)
    assert (whole != parts).mean() < 1e-3
    assert again == pytest.approx(confidence, abs=1e-3)


def test_columns_cover_the_axis_and_share_their_border(monkeypatch) -> None:
    monkeypatch.setattr(arrays, "free_memory", lambda: 40_000_000)
    shape, plan = (100, 500, 100), plan_of(3, (32, 32, 32))
    parts = list(arrays._columns(covering(shape, plan.patch, 0.5, None), shape, shape, plan))
    assert len(parts) > 1 and parts[0][0] == 0 and parts[-1][1] == 500
    assert all(one[1] - 1 == other[0] for one, other in pairwise(parts))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_an_output_that_is_not_finite_makes_no_mask(bad: float) -> None:
    """Of a NaN the first class would win, of infinity the last: an empty mask or a full one, without a word."""
    network = Blurry(3)
    with torch.no_grad():
        network.convolution.bias[1] = bad
    with pytest.raises(ModelError, match="the network's output is not finite"):
        segment_array(network, torch.randn(1, 9, 9, 9), (9, 9, 9), plan_of(3, (8, 8, 8)))


def test_a_slice_wise_network_walks_along_its_axis() -> None:
    network = Blurry(2, dims=2)
    image = torch.randn(1, 12, 6, 14)
    plan = plan_of(2, (8, 8), dims=2, image_dims=3, slice_axis=1)
    found, _ = segment_array(network, image, (12, 6, 14), plan)
    for index in range(6):
        truth = sliding_window(network, image[:, :, index], (8, 8))
        assert (found[:, index] == truth.numpy()).all()


def test_confidence_is_the_mean_probability_of_the_winner() -> None:
    class Constant(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            logits = torch.zeros(image.shape[0], 2, *image.shape[2:])
            logits[:, 1, :] = np.log(3.0)
            return logits

    found, confidence = segment_array(Constant(), torch.zeros(1, 9, 9, 9), (9, 9, 9), plan_of(2, (8, 8, 8)))
    assert (found == 1).all() and confidence == pytest.approx([0.0, 0.75])


def test_memory_does_not_grow_with_the_length_of_the_scan(repo_path) -> None:
    """40 classes on 128x128 rows: 2.6 MB of logits a row; three times the rows cost image and labels, no more."""
    script = """
import resource
import torch
from torch import nn
from voxgraft.preprocessing.plan import Plan
from voxgraft.inference.array import segment_array
torch.set_num_threads(1)
plan = Plan(dims=3, image_dims=3, channels=("a",), labels=tuple((v, str(v)) for v in range(1, 40)), modality="mr",
    normalisation=({},), spacing=(1, 1, 1), patch=(16, 128, 128), batch=1, strides=((1, 1, 1),))
network = nn.Conv3d(1, 40, 1)
image = torch.randn(1, 120, 128, 128)
segment_array(network, image[:, :40].contiguous(), (40, 128, 128), plan, overlap=0.0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
segment_array(network, image, (120, 128, 128), plan, overlap=0.0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=repo_path, timeout=240)
    assert done.returncode == 0, done.stderr[-500:]
    grown_mb, logits_mb = int(done.stdout) / 1024, 80 * 2.6
    assert grown_mb < 0.15 * logits_mb, f"{grown_mb:.0f} MB more"
