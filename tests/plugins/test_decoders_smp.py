"""The separate plugin for segmentation_models_pytorch: what it can do, and what is refused in a sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.discovery import discover
from voxgraft.errors import ModelError
from voxgraft.testing.networks import check_pair

if find_spec("segmentation_models_pytorch") is None:
    pytest.skip("segmentation_models_pytorch is not installed", allow_module_level=True)

MODELS = ("unet", "unetplusplus", "manet", "linknet", "fpn", "upernet", "segformer")

pytestmark = pytest.mark.usefixtures("one_thread", "seeded")


@pytest.fixture(scope="module")
def offered(builtin_entries: list[EntryPoint]) -> Iterator[Catalogue]:
    folder = str(Path(__file__).parents[2] / "plugins" / "voxgraft-smp")
    sys.path.insert(0, folder)
    yield discover([*builtin_entries, EntryPoint("smp", "voxgraft_smp", "voxgraft")])
    sys.path.remove(folder)


def make(offered: Catalogue, dims: int, channels: Any, steps: Any, **options: Any) -> Any:
    return (
        choose(offered, "decoder", {"use": "smp", **options}).build().make(dims, channels, [(n,) * dims for n in steps])
    )


@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_a_decoder_over_resnet(offered: Catalogue, model: str) -> None:
    encoder = choose(offered, "encoder", {"use": "timm", "model": "resnet18"})
    assert check_pair(encoder, choose(offered, "decoder", {"use": "smp", "model": model}), 2, (64, 96)) > 10_000


def test_what_it_cannot_do_is_refused_in_a_sentence(offered: Catalogue) -> None:
    with pytest.raises(ModelError, match=r"two axes only; set model\.dims to 2"):
        make(offered, 3, (8, 16), (1, 2))
    for steps in ((1, 4, 8), (2, 4, 8), (1, 2, 2)):
        with pytest.raises(ModelError, match=r"wants maps at strides 1, 2, 4 and so on"):
            make(offered, 2, (1, 16, 32), steps)
    with pytest.raises(ModelError, match=r"its fpn cannot be built over 2 maps"):
        make(offered, 2, (1, 16), (1, 2), model="fpn")
    net = make(offered, 2, (1, 16, 32, 64), (1, 2, 4, 8), model="linknet")
    odd = [torch.zeros(2, width, -(-37 // step), 40 // step) for width, step in ((1, 1), (16, 2), (32, 4), (64, 8))]
    with pytest.raises(ModelError, match=r"its linknet takes no maps of 37x40, 19x20.*multiples of 8"):
        net(odd)
    assert make(offered, 2, (1, 16, 32, 64), (1, 2, 4, 8))(odd)[0].shape[2:] == (37, 40)
