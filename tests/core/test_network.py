"""Tests of the whole network: every encoder with every decoder gives logits at the image's own resolution."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.errors import ModelError
from voxgraft.networks.network import SegmentationNetwork, build_network

STRIDES = [(1, 1, 1), (2, 2, 2), (4, 4, 2)]

pytestmark = pytest.mark.usefixtures("one_thread", "seeded")


def pairs() -> list[tuple[str, str, int]]:
    """Encoders under the U-Net; `tests/plugins/test_decoders_pairs.py` goes through whatever is offered."""
    encoders = {"residual": (2, 3), "timm": (2,), "efficientnet-lite0": (2,), "deepbet": (3,)}
    return [(encoder, "unet", dims) for encoder, both in encoders.items() for dims in both]


def network(catalogue: Catalogue, encoder: str, decoder: str, dims: int, **options: Any) -> SegmentationNetwork:
    return build_network(
        choose(catalogue, "encoder", {"use": encoder}).build(),
        choose(catalogue, "decoder", {"use": decoder}).build(),
        dims=dims,
        channels=options.pop("channels", 1),
        classes=3,
        strides=[level[:dims] for level in STRIDES],
        **options,
    )


@pytest.mark.parametrize(("encoder", "decoder", "dims"), pairs())
def test_logits_have_the_size_of_the_image(catalogue: Catalogue, encoder: str, decoder: str, dims: int) -> None:
    net = network(catalogue, encoder, decoder, dims, channels=2).eval()
    for size in ((32, 32, 32), (33, 21, 27), (3, 5, 2)):
        with torch.no_grad():
            output = net(torch.randn(1, 2, *size[:dims]))
        assert tuple(output.logits.shape) == (1, 3, *size[:dims])
        assert output.deep == ()
        assert bool(torch.isfinite(output.logits).all())


@pytest.mark.parametrize(("encoder", "decoder", "dims"), pairs())
def test_training_reaches_the_stem_and_leaves_no_weight_unused(
    catalogue: Catalogue, encoder: str, decoder: str, dims: int
) -> None:
    net = network(catalogue, encoder, decoder, dims).train()
    output = net(torch.randn(2, 1, *(64, 64, 64)[:dims]))
    assert len(output.deep) == len(output.maps) - 1 == len(net.heads) - 1
    sum(one.square().mean() for one in (output.logits, *output.deep)).backward()
    assert [name for name, parameter in net.named_parameters() if parameter.grad is None] == []
    stem = next(parameter for parameter in net.encoder.parameters() if parameter.ndim > 2)
    assert float(stem.grad.abs().max()) > 0


def test_without_deep_supervision_there_is_one_head(catalogue: Catalogue) -> None:
    net = network(catalogue, "residual", "unet", 3, deep_supervision=False).train()
    output = net(torch.randn(1, 1, 16, 16, 16))
    assert len(net.heads) == 1
    assert output.deep == ()
    output.logits.sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_a_norm_over_a_single_value_is_refused_in_a_sentence(catalogue: Catalogue) -> None:
    net = network(catalogue, "timm", "unet", 2)
    image = torch.randn(1, 1, 32, 20)
    with pytest.raises(ModelError, match=r"a batch of 1 with 32x20 voxels .* training\.patch, or training\.batch to 2"):
        net.train()(image)
    assert net.eval()(image).logits.shape == (1, 3, 32, 20)
    assert net.train()(image.expand(2, -1, -1, -1)).logits.shape == (2, 3, 32, 20)


def test_other_errors_of_a_network_are_not_renamed(catalogue: Catalogue) -> None:
    with pytest.raises(RuntimeError, match="channels"):
        network(catalogue, "residual", "unet", 2)(torch.randn(1, 3, 8, 8))


def test_the_same_seed_gives_the_same_network(catalogue: Catalogue) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(network(catalogue, "residual", "unet", 3).state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_a_shift_by_the_coarsest_stride_shifts_the_logits(catalogue: Catalogue) -> None:
    """Maps of all levels lie upon each other: a misplaced skip would break this in the middle of a large image."""
    torch.manual_seed(1)
    net = network(catalogue, "residual", "unet", 2).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.forward = lambda x: x  # type: ignore[method-assign]  # its statistics see the image's border
    spot = torch.zeros(1, 1, 96, 96)
    spot[..., 40:48, 40:48] = torch.randn(8, 8)
    moved = torch.roll(spot, (4, 8), (2, 3))
    with torch.no_grad():
        a, b = net(spot).logits, net(moved).logits
    assert torch.allclose(torch.roll(a, (4, 8), (2, 3))[..., 24:72, 24:72], b[..., 24:72, 24:72], atol=1e-5)
    assert not torch.allclose(a, b, atol=1e-3)
