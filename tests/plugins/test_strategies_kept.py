"""Tests of kept features: they change nothing but the time, and are kept only where they hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from pydantic import ValidationError
from torch import Tensor

from strategy_jobs import job
from strategy_stacks import CPU
from strategy_trainer import Stages, Sum, network
from voxgraft.networks.network import SegmentationNetwork
from voxgraft.training import loop
from voxgraft.transfer.strategy import Context
from voxgraft_plugins.transfer.options import FreezeOptions
from voxgraft_plugins.transfer.strategies import Freeze


def check_cache(folder: Path, kind: type[Freeze] = Freeze) -> list[int]:
    """Training on kept maps ends at the weights of training on the same patches without keeping any; the encoder is
    run once for each patch. How many patches the encoder was given in each call."""
    results, calls = [], []
    for memory in (2.0, 0.0):
        seen: list[int] = []
        work = job(
            folder / str(memory),
            [kind(FreezeOptions(cache=True, crops=2, memory=memory))],
            budget="12 steps",
            optimiser={"use": "sgd", "lr": 1e-2, "momentum": 0.9},
        )
        work.network.encoder.register_forward_pre_hook(lambda module, args, seen=seen: seen.append(len(args[0])))
        kept, _ = loop.fit(work, Fabric(**CPU))
        results.append(kept.state_dict())
        calls.append(seen)
    start = network().state_dict()
    for name, value in results[0].items():
        torch.testing.assert_close(value, results[1][name], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(results[0]["heads.0.weight"], start["heads.0.weight"], atol=1e-3)
    assert sum(calls[1]) == 12 * 4
    assert sum(calls[0]) <= 3 * 2 + 4, "a patch met twice before it is kept is computed twice, no more"
    return calls[0]


class Mixes(Freeze):
    """Gives back the maps of another patch."""

    def features(self, context: Context, image: Tensor, crops: Sequence[tuple[int, int]]) -> Any:
        return super().features(context, image, [(0, crop[1]) for crop in crops])


class Forgets(Freeze):
    def features(self, context: Context, image: Tensor, crops: Sequence[tuple[int, int]]) -> Any:
        self._known.clear()
        return super().features(context, image, crops)


class InTrainingMode(Freeze):
    """Statistics of the batch, which depend on what else is in it."""

    def train_mode(self, context: Context) -> None: ...


def test_kept_features_change_nothing_but_the_time(tmp_path: Path) -> None:
    check_cache(tmp_path)
    for sabotage in (Mixes, Forgets, InTrainingMode):
        with pytest.raises(AssertionError):
            check_cache(tmp_path / sabotage.__name__, sabotage)


class Alone(Stages):
    """Sums that depend on how many images there are, as convolutions of a CPU have them in their last bits."""

    def forward(self, image: Tensor) -> list[Tensor]:
        return [one + 1e-3 * len(image) for one in super().forward(image)]


def test_kept_features_do_not_depend_on_what_else_was_new() -> None:
    """After a resume all are new together: nothing may differ, not even in the last bits."""
    image = torch.randn(3, 1, 16, 16)
    crops = [(0, 0), (0, 1), (1, 0)]
    found = []
    for known in ([], [1], [0, 2]):
        torch.manual_seed(0)
        context = Context(SegmentationNetwork(Alone(), Sum(), 2, 2).eval())
        strategy = Freeze(FreezeOptions(cache=True))
        if known:
            strategy.features(context, image[known], [crops[place] for place in known])
        found.append(strategy.features(context, image, crops))
    for one in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], one, strict=True))


def test_fixed_patches_come_again_and_are_augmented_once(tmp_path: Path) -> None:
    drawn = job(tmp_path, [Freeze(FreezeOptions(cache=True, crops=2))]).batches
    first: dict[tuple[int, int], Any] = {}
    for step in range(6):
        raw = drawn.draw(step)
        assert raw.image.shape == (4, 1, 16, 16) and raw.label.shape == (4, 16, 16) and len(raw.crops) == 4
        for key, image, label in zip(raw.crops, raw.image, raw.label, strict=True):
            known = first.setdefault(key, (image, label))
            assert (known[0] == image).all() and (known[1] == label).all()
    assert set(first) == {(case, crop) for case in range(3) for crop in range(2)}
    images = [image.tobytes() for image, _ in first.values()]
    assert len(set(images)) == 6
    other = job(tmp_path, [Freeze(FreezeOptions(cache=True, crops=2))]).batches.draw(5)
    assert (other.image == drawn.draw(5).image).all(), "another process draws the same"


def test_features_are_kept_only_where_the_encoder_is_frozen_for_good() -> None:
    for options in ({"until": 0.5}, {"stages": 2}):
        with pytest.raises(ValidationError, match="cache: needs the whole encoder frozen for good"):
            FreezeOptions.model_validate({"cache": True, **options})
