"""What does not fit into memory is refused before it is taken, with a value that fits; nothing of it is computed."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import boxes, workflow
from torch import nn
from training import tiny_network, tiny_plan

from voxgraft.errors import TrainingError
from voxgraft.runs.dryrun import dry_run
from voxgraft.runs.engine import run_workflow
from voxgraft.support.progress import Progress
from voxgraft.training import memory
from voxgraft.training.memory import Need, check_memory, need_of
from voxgraft.workflow.workflow import read

pytestmark = pytest.mark.usefixtures("one_thread")
GB = 2**30


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return boxes(tmp_path_factory.mktemp("data") / "boxes")


def plan_of(patch: tuple[int, ...], batch: int = 2) -> Any:
    return tiny_plan().model_copy(update={"patch": patch, "batch": batch})


def test_what_autograd_saves_is_counted_without_computing_it() -> None:
    """A convolution of 4 channels: its input and output (which ReLU saves as well) are kept, each once."""

    class Plain(nn.Sequential):
        pass

    net = Plain(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 4, 1))
    image = torch.empty(2, 1, 8, 8, 8, device="meta")
    voxels = 2 * 8**3
    saved = memory._saved(net.to("meta"), image)
    kept = [4 * voxels, 4 * 4 * voxels]  # the image, and what ReLU gives: float32
    assert saved == sum(kept) + 2 * max(kept)


def test_need_grows_with_voxels_and_is_the_same_where_the_network_must_be_run() -> None:
    net = tiny_network()
    small, large = need_of(net, plan_of((16, 16, 16))), need_of(net, plan_of((32, 32, 32)))
    assert large.sample == pytest.approx(8 * small.sample, rel=0.05) and large.fixed == small.fixed

    class Stubborn(type(net)):  # type: ignore[misc]
        """Works on values alone."""

        def forward(self, image: Any, features: Any = None) -> Any:
            assert float(image.sum()) == 0.0
            return super().forward(image, features)

    before = torch.random.get_rng_state()
    net.__class__ = Stubborn
    run = need_of(net, plan_of((64, 64, 64)))
    assert run.sample == pytest.approx(64 * small.sample, rel=0.05)
    assert torch.equal(before, torch.random.get_rng_state()), "no draw of the training is taken away"


def test_an_absurd_patch_costs_no_time() -> None:
    start = time.monotonic()
    need = need_of(tiny_network(), plan_of((10**6, 10**6, 10**6)))
    assert need.sample > 1e18 and time.monotonic() - start < 20


@pytest.mark.parametrize(
    ("need", "batch", "said"),
    [
        (
            Need(0, 1 * GB, 0),
            100,
            r"a batch of 100 patches of 64x64x64 takes about 100 GiB .* 20 GiB of memory are free; "
            r"set training.batch to 18 or less",
        ),
        (
            Need(0, 40 * GB, 0),
            1,
            r"a patch of 64x64x64 takes about 40 GiB.*set training.patch to \[\d+, \d+, \d+\] or less",
        ),
        (Need(0, 40 * GB, 0), 4000, r"set training.patch to \[\d+, \d+, \d+\] or less, and training.batch to 2"),
        (Need(21 * GB, 1, 0), 1, r"choose a smaller encoder or decoder"),
    ],
)
def test_the_sentence_names_a_value_that_fits(need: Need, batch: int, said: str) -> None:
    plan = plan_of((64, 64, 64), batch)
    with pytest.raises(TrainingError, match=said) as caught:
        check_memory(need, plan, "cpu", 20.0 * GB)
    if found := re.search(r"training\.batch to (\d+) or less", str(caught.value)):
        check_memory(need, plan_of(plan.patch, int(found[1])), "cpu", 20.0 * GB)
    if found := re.search(r"\[(\d+), (\d+), (\d+)\]", str(caught.value)):
        patch = tuple(map(int, found.groups()))
        ratio = patch[0] * patch[1] * patch[2] / 64**3
        smaller = Need(need.fixed, need.sample * ratio, need.host * ratio)
        check_memory(smaller, plan_of(patch, min(batch, 2)), "cpu", 20.0 * GB)
        assert all(size % step == 0 for size, step in zip(patch, plan.strides[-1], strict=True))


@pytest.mark.parametrize(
    ("change", "free", "said"),
    [
        ("training.patch=[3200, 4800, 3200]", None, "training.patch to"),
        ("training.batch=4000", GB, "training.batch to"),
    ],
)
def test_run_and_dry_run_refuse_before_they_begin(
    tmp_path: Path, data_set: Path, catalogue: Any, monkeypatch: pytest.MonkeyPatch, change: str, free: int, said: str
) -> None:
    if free is not None:
        monkeypatch.setattr(memory, "free_memory", lambda: free)
    checked = read(workflow(tmp_path, data_set), catalogue, ["tracking=null", "registry=null", change])
    with pytest.raises(TrainingError, match=said):
        dry_run(checked, catalogue)
    with pytest.raises(TrainingError, match=said):
        run_workflow(checked, catalogue, tmp_path / "run", progress=Progress(quiet=True))
    assert not (tmp_path / "run" / "cache").exists() and not (tmp_path / "run" / "train").exists()
