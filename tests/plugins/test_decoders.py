"""Tests of the U-Net decoder: it takes maps of any size, uses all of its weights, and keeps within its widths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.errors import ModelError

pytestmark = pytest.mark.usefixtures("one_thread", "seeded")


def decoder(
    catalogue: Catalogue, dims: int, channels: Sequence[int], strides: Sequence[Sequence[int]], **options: Any
) -> nn.Module:
    made: nn.Module = choose(catalogue, "decoder", {"use": "unet", **options}).build().make(dims, channels, strides)
    return made


def maps(channels: Sequence[int], sizes: Sequence[Sequence[int]], batch: int = 2) -> list[Tensor]:
    return [torch.randn(batch, width, *size) for width, size in zip(channels, sizes, strict=True)]


SHAPES = {
    "halved, odd": ((16, 32, 64), [(1, 1, 1), (2, 2, 2), (4, 4, 4)], [(9, 7, 5), (5, 4, 3), (3, 2, 2)]),
    "thick slices": ((16, 32, 64), [(1, 1, 1), (2, 2, 1), (4, 4, 2)], [(8, 8, 3), (4, 4, 3), (2, 2, 2)]),
    "unpadded convolutions": ((64, 192, 288), [(2, 2), (4, 4), (8, 8)], [(37, 48), (16, 21), (7, 10)]),
    "a first stride of four": ((1, 96, 192), [(1, 1), (4, 4), (8, 8)], [(31, 33), (8, 9), (4, 5)]),
    "maps of equal size": ((8, 8), [(2, 2), (2, 2)], [(6, 6), (6, 6)]),
    "one voxel": ((1, 16, 32), [(1, 1), (2, 2), (4, 4)], [(2, 1), (1, 1), (1, 1)]),
    "a single map": ((24,), [(1, 1)], [(6, 5)]),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_decoded_map_has_the_size_of_the_map_beside_it(catalogue: Catalogue, shape: str) -> None:
    channels, strides, sizes = SHAPES[shape]
    net = decoder(catalogue, len(sizes[0]), channels, strides)
    decoded = net(maps(channels, sizes))
    assert len(decoded) == max(1, len(channels) - 1)
    assert [tuple(one.shape[2:]) for one in decoded] == list(sizes[: len(decoded)])
    assert [one.shape[1] for one in decoded] == list(net.channels)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("norm", ["group", "instance", "batch"])
def test_the_finest_map_depends_on_every_map_and_every_weight(catalogue: Catalogue, shape: str, norm: str) -> None:
    channels, strides, sizes = SHAPES[shape]
    net = decoder(catalogue, len(sizes[0]), channels, strides, norm=norm, convs=2)
    given = [one.requires_grad_() for one in maps(channels, sizes)]
    net(given)[0].square().sum().backward()
    assert [name for name, parameter in net.named_parameters() if parameter.grad is None] == []
    assert all(one.grad is not None for one in given)
    if shape != "one voxel":
        assert all(float(one.grad.abs().sum()) > 0 for one in given)


def test_a_voxel_stays_in_its_place_when_sizes_are_odd(catalogue: Catalogue) -> None:
    """A coarse voxel covers the fine voxels it was made of, from the near end on."""
    up = decoder(catalogue, 2, (8, 8), [(1, 1), (2, 2)]).ups[0]
    with torch.no_grad():
        up.convolution.weight.fill_(1 / 8)
        up.convolution.bias.zero_()
        coarse = torch.arange(12.0).reshape(1, 1, 3, 4).expand(-1, 8, -1, -1)
        fine = up(coarse, (5, 7))
    assert torch.allclose(fine[0, 0], coarse[0, 0].repeat_interleave(2, 0).repeat_interleave(2, 1)[:5, :7])


def test_batches_of_one_with_maps_of_one_voxel_can_be_trained_on(catalogue: Catalogue) -> None:
    channels, strides, sizes = SHAPES["one voxel"]
    for norm in ("group", "instance"):
        net = decoder(catalogue, 2, channels, strides, norm=norm).train()
        assert all(bool(torch.isfinite(one).all()) for one in net(maps(channels, sizes, batch=1)))


def test_widths_stay_within_their_limits_and_fit_the_norm(catalogue: Catalogue) -> None:
    channels, strides = (1, 30, 300, 900), [(1, 1), (2, 2), (4, 4), (8, 8)]
    assert decoder(catalogue, 2, channels, strides).channels == (16, 32, 256)
    assert decoder(catalogue, 2, channels, strides, width=24, max_width=64).channels == (24, 32, 64)
    assert decoder(catalogue, 3, channels, [(s, s, s) for s in (1, 2, 4, 8)]).channels == (16, 32, 128)
    assert decoder(catalogue, 3, (16, 32), [(1,) * 3, (2,) * 3], width=256).channels == (256,)


def test_more_convolutions_are_more_weights(catalogue: Catalogue) -> None:
    channels, strides, _ = SHAPES["halved, odd"]
    few, many = (
        sum(p.numel() for p in decoder(catalogue, 3, channels, strides, convs=convs).parameters()) for convs in (1, 3)
    )
    assert many - few == sum(2 * (27 * width * width + 2 * width) for width in (16, 32))


def test_channels_last_memory_is_kept(catalogue: Catalogue) -> None:
    """Otherwise every convolution converts its input, which costs more than the layout gains."""
    channels, strides, _ = SHAPES["halved, odd"]
    last = torch.channels_last_3d
    for sizes in ([(8, 8, 8), (4, 4, 4), (2, 2, 2)], [(9, 7, 5), (5, 4, 3), (3, 2, 2)]):
        net = decoder(catalogue, 3, channels, strides).to(memory_format=last)
        decoded = net([one.contiguous(memory_format=last) for one in maps(channels, sizes)])
        assert all(one.is_contiguous(memory_format=last) for one in decoded)


def test_another_number_of_maps_is_refused(catalogue: Catalogue) -> None:
    channels, strides, sizes = SHAPES["halved, odd"]
    with pytest.raises(ModelError, match="made for 3 maps of an encoder, got 2"):
        decoder(catalogue, 3, channels, strides)(maps(channels, sizes)[:2])


@pytest.mark.parametrize(
    ("options", "said"),
    [({"width": 64, "max_width": 32}, "smaller than width"), ({"convs": 0}, "greater"), ({"norm": "layer"}, "group")],
)
def test_options_that_do_not_fit_are_refused(catalogue: Catalogue, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        choose(catalogue, "decoder", {"use": "unet", **options})
