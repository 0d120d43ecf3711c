"""Exactness of the decoders: each computes what its paper's formula says, worked out here by other means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.errors import ModelError

CHANNELS, STRIDES = (8, 16, 24, 32), (1, 2, 4, 8)
NAMES = (
    "unet",
    "attention-unet",
    "unetplusplus",
    "fpn",
    "fcn",
    "deeplabv3",
    "deeplabv3plus",
    "segresnet",
    "linknet",
    "unetr",
    "monai-unet",
)
MODE = {2: "bilinear", 3: "trilinear"}

pytestmark = pytest.mark.usefixtures("one_thread", "seeded")


def decoder(
    catalogue: Catalogue,
    name: str,
    dims: int = 2,
    channels: Sequence[int] = CHANNELS,
    strides: Sequence[Any] = STRIDES,
    **options: Any,
) -> Any:
    steps = [step if isinstance(step, tuple) else (step,) * dims for step in strides]
    return choose(catalogue, "decoder", {"use": name, **options}).build().make(dims, channels, steps)


def maps(dims: int = 2, size: int = 32, channels: Sequence[int] = CHANNELS, strides: Sequence[int] = STRIDES) -> Any:
    return [torch.randn(2, width, *(-(-size // step),) * dims) for width, step in zip(channels, strides, strict=True)]


def grown(x: Tensor, times: int) -> Tensor:
    """Linear interpolation as torch does it for sizes that are multiples."""
    return functional.interpolate(x, scale_factor=times, mode=MODE[x.ndim - 2], align_corners=False)


def test_these_are_the_decoders(catalogue: Catalogue) -> None:
    assert {spec.name for _, spec in catalogue.of("decoder")} == set(NAMES)


# Attention U-Net.


@pytest.mark.parametrize("dims", [2, 3])
def test_the_gate_is_the_formula_of_the_paper(catalogue: Catalogue, dims: int) -> None:
    gate = decoder(catalogue, "attention-unet", dims).gates[0].double()
    x = torch.randn(1, 16, *(6,) * dims, dtype=torch.double)
    g = torch.randn(1, gate.phi.in_channels, *(3,) * dims, dtype=torch.double)
    alpha = gate.weights(x, g)
    # Voxel by voxel of the coarse grid, with matrices: sigmoid(psi . relu(theta . x + phi . g + b) + b)
    theta = gate.theta.weight.flatten(1)
    phi, psi = gate.phi.weight.flatten(1), gate.psi.weight.flatten(1)
    q = torch.empty(1, 1, *(3,) * dims, dtype=torch.double)
    for place in torch.cartesian_prod(*[torch.arange(3)] * dims):
        patch = x[(0, slice(None), *(slice(2 * int(n), 2 * int(n) + 2) for n in place))].flatten()
        seen = g[(0, slice(None), *map(int, place))]
        q[(0, 0, *map(int, place))] = (psi @ torch.relu(theta @ patch + phi @ seen + gate.phi.bias) + gate.psi.bias)[0]
    assert torch.allclose(alpha, grown(torch.sigmoid(q), 2), atol=1e-12)
    assert torch.allclose(gate(x, g), x * alpha, atol=0)


def test_a_closed_gate_takes_the_skip_away_and_an_open_one_leaves_the_unet(catalogue: Catalogue) -> None:
    net, plain = (decoder(catalogue, name, norm="instance").eval() for name in ("attention-unet", "unet"))
    plain.load_state_dict({name: value for name, value in net.state_dict().items() if "gates" not in name})
    given = maps()
    without = [given[0], torch.zeros_like(given[1]), torch.zeros_like(given[2]), given[3]]
    for bias, same in ((60.0, given), (-120.0, without)):
        for gate in net.gates:
            nn.init.zeros_(gate.psi.weight)
            nn.init.constant_(gate.psi.bias, bias)
        assert torch.allclose(net(given)[0], plain(same)[0], atol=1e-5)


def test_every_skip_but_the_finest_has_a_gate(catalogue: Catalogue) -> None:
    assert len(decoder(catalogue, "attention-unet").gates) == 2
    assert len(decoder(catalogue, "attention-unet", channels=(8, 16), strides=(1, 2)).gates) == 1


# U-Net++.


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_the_graph_of_unetplusplus_is_that_of_the_paper(catalogue: Catalogue, count: int) -> None:
    channels, strides = (8, 16, 24, 32, 40)[:count], (1, 2, 4, 8, 16)[:count]
    net = decoder(catalogue, "unetplusplus", channels=channels, strides=strides)
    assert len(net.nodes) == count * (count - 1) // 2
    given = maps(channels=channels, strides=strides)
    results: dict[str, Tensor] = {f"{level}_0": one for level, one in enumerate(given)}
    seen: dict[str, Tensor] = {}
    for name, node in net.nodes.items():
        node.register_forward_hook(
            lambda _, given, out, name=name: (seen.update({name: given[0]}), results.update({name: out}))[0]
        )
    decoded = net(given)
    for name, inputs in seen.items():
        level, column = map(int, name.split("_"))
        above = net.ups[name](results[f"{level + 1}_{column - 1}"], given[level].shape[2:])
        wanted = [*(results[f"{level}_{k}"] for k in range(column)), above]
        assert inputs.shape[1] == channels[level] + column * net.nodes[name][0][0].out_channels
        assert torch.equal(inputs, torch.cat(wanted, 1))
    assert len(decoded) == count - 1
    assert all(torch.equal(one, results[f"0_{count - 1 - k}"]) for k, one in enumerate(decoded))


# Feature pyramid.


def _identity(convolution: Any) -> None:
    nn.init.zeros_(convolution.weight)
    nn.init.zeros_(convolution.bias)
    for channel in range(convolution.weight.shape[0]):
        middle = [n // 2 for n in convolution.kernel_size]
        convolution.weight.data[(channel, channel, *middle)] = 1


@pytest.mark.parametrize("dims", [2, 3])
def test_the_pyramid_with_identities_is_the_sum_of_the_maps_above(catalogue: Catalogue, dims: int) -> None:
    net = decoder(catalogue, "fpn", dims, channels=(16,) * 4, width=16)
    for convolution in (*net.laterals, *net.smooth):
        _identity(convolution)
    given = maps(dims, 16, channels=(16,) * 4)
    for level, found in enumerate(net.pyramid(given)):
        wanted = torch.zeros_like(found)
        for above in range(level, 4):
            one = given[above]
            for axis in range(2, dims + 2):
                one = one.repeat_interleave(2 ** (above - level), axis)
            wanted = wanted + one
        assert torch.allclose(found, wanted, atol=1e-5)


def test_the_branches_of_the_pyramid_are_enlarged_step_by_step_and_added(catalogue: Catalogue) -> None:
    net = decoder(catalogue, "fpn", finest=2).eval()
    given = maps()
    levels = net.pyramid(given)
    assert len(levels) == 3 and [len(branch.blocks) for branch in net.branches] == [1, 1, 2]
    first, second, third = net.branches
    wanted = first.blocks[0](levels[0]) + grown(second.blocks[0](levels[1]), 2)
    wanted = wanted + grown(third.blocks[1](grown(third.blocks[0](levels[2]), 2)), 2)
    assert torch.allclose(net(given)[0], grown(wanted, 2), atol=1e-5)


# FCN.


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_fcn_is_the_sum_of_enlarged_scores(catalogue: Catalogue, dims: int, levels: int) -> None:
    net = decoder(catalogue, "fcn", dims, levels=levels)
    given = maps(dims, 16 if dims == 3 else 32)
    assert len(net.scores) == levels

    def score(level: int) -> Tensor:
        weight, bias = (getattr(net.scores[level - 4], part) for part in ("weight", "bias"))
        by_voxel = torch.einsum("oi,bi...->bo...", weight.flatten(1), given[level])
        return by_voxel + bias.reshape(1, -1, *[1] * dims)

    total = score(3)
    for level in range(2, 3 - levels, -1):
        total = grown(total, 2) + score(level)
    wanted = grown(total, 2 ** (4 - levels)) if levels < 4 else total
    assert torch.allclose(net(given)[0], wanted, atol=1e-5)


# DeepLab.


@pytest.mark.parametrize(("dims", "size"), [(2, 96), (3, 40)])
def test_a_dilated_branch_reaches_as_far_as_its_rate_says(catalogue: Catalogue, dims: int, size: int) -> None:
    """The response to one voxel lies on the 3^dims places that are a rate apart, and nowhere else."""
    from voxgraft_plugins.decoders.deeplab import fitted

    net = decoder(catalogue, "deeplabv3", dims, channels=(4,), strides=(16,), output_stride=16).pooling
    rates = fitted(net.rates, (size,) * dims)
    assert rates == [(rate,) * dims for rate in (6, 12, 18)]
    x = torch.zeros(1, 4, *(size,) * dims)
    x[(0, slice(None), *(size // 2,) * dims)] = 1
    seen: list[Tensor] = []
    for norm in net.norms:
        norm.register_forward_hook(lambda _, given, out: seen.append(given[0].abs().sum(1)[0]))
    net(x)
    for response, (rate, *_) in zip(seen, rates, strict=True):
        places = {tuple(place) for place in response.nonzero().tolist()}
        steps = torch.cartesian_prod(*[torch.tensor([-rate, 0, rate])] * dims) + size // 2
        assert places == {tuple(place) for place in steps.tolist() if max(place) < size}


@pytest.mark.parametrize(
    ("stride", "size", "wanted"),
    [
        ((16, 16), (65, 65), [(6, 6), (12, 12), (18, 18)]),
        ((8, 8), (128, 128), [(12, 12), (24, 24), (36, 36)]),
        ((32, 32), (40, 40), [(3, 3), (6, 6), (9, 9)]),
        ((8, 8), (32, 9), [(5, 1), (10, 3), (15, 4)]),
        ((8, 8, 4), (8, 8, 1), [(1, 1, 1), (2, 2, 1), (3, 3, 1)]),
    ],
)
def test_rates_follow_the_stride_and_the_size_of_the_map(
    catalogue: Catalogue, stride: tuple[int, ...], size: tuple[int, ...], wanted: list[tuple[int, ...]]
) -> None:
    from voxgraft_plugins.decoders.deeplab import fitted

    limit = max(stride)
    net = decoder(catalogue, "deeplabv3", len(stride), channels=(4,), strides=(stride,), output_stride=limit)
    assert fitted(net.pooling.rates, size) == wanted


def test_the_pooled_mean_is_the_same_everywhere_and_depends_on_every_voxel(catalogue: Catalogue) -> None:
    pooling = decoder(catalogue, "deeplabv3", channels=(8,), strides=(8,), norm="instance").pooling
    seen: list[Tensor] = []
    pooling.mean.register_forward_hook(lambda _, given, out: seen.append(out))
    pooling.mix.register_forward_hook(lambda _, given, out: seen.append(given[0]))
    x = torch.randn(2, 8, 7, 5, requires_grad=True)
    pooling(x)
    mean, joined = seen
    assert joined.shape[1] == 5 * 64
    assert torch.equal(joined[:, -64:], mean.expand(-1, -1, 7, 5))
    (gradient,) = torch.autograd.grad(mean.square().sum(), x)
    assert float(gradient.abs().min()) > 0
    assert torch.allclose(gradient, gradient[..., :1, :1].expand_as(gradient))


def test_deeplab_takes_the_maps_that_its_strides_say(catalogue: Catalogue) -> None:
    channels, strides = (1, 8, 16, 24, 32, 40), (1, 2, 4, 8, 16, 32)
    third = decoder(catalogue, "deeplabv3", channels=channels, strides=strides)
    assert third.pooling.point[0].in_channels == 24 + 32 + 40
    plus = decoder(catalogue, "deeplabv3plus", channels=channels, strides=strides)
    assert plus.pooling.point[0].in_channels == 32 + 40 and plus.detail[0].in_channels == 16
    plus = decoder(catalogue, "deeplabv3plus", channels=channels, strides=strides, low_stride=2, output_stride=32)
    assert plus.pooling.point[0].in_channels == 40 and plus.detail[0].in_channels == 8
    dilated = decoder(catalogue, "deeplabv3", channels=(8, 16, 24, 32), strides=(2, 4, 8, 8))
    assert dilated.pooling.point[0].in_channels == 32  # an encoder that is dilated itself has nothing coarser


# Added skips.


@pytest.mark.parametrize("dims", [2, 3])
def test_segresnet_adds_what_is_enlarged_to_the_skip_and_then_its_block(catalogue: Catalogue, dims: int) -> None:
    net = decoder(catalogue, "segresnet", dims, channels=(16, 16, 24), strides=(1, 2, 4))
    given = maps(dims, 8, channels=(16, 16, 24), strides=(1, 2, 4))
    assert [type(skip) for skip in net.skips] == [nn.Identity, nn.Identity]
    decoded = net(given)
    weight = net.ups[1].convolution.weight.flatten(1)
    summed = given[1] + grown(torch.einsum("oi,bi...->bo...", weight, given[2]), 2)
    first, second = net.levels[1][0].body[2], net.levels[1][0].body[5]
    apply = functional.conv2d if dims == 2 else functional.conv3d
    inner = apply(functional.leaky_relu(functional.group_norm(summed, 8), 0.01), first.weight, padding=1)
    wanted = summed + apply(functional.leaky_relu(functional.group_norm(inner, 8), 0.01), second.weight, padding=1)
    assert torch.allclose(decoded[1], wanted, atol=1e-5)


def test_linknet_without_its_blocks_is_the_encoders_map(catalogue: Catalogue) -> None:
    net = decoder(catalogue, "linknet", channels=(16, 16, 32), strides=(1, 2, 4))
    for block in net.ups[1].restore[-1]:
        if isinstance(block, nn.GroupNorm):
            nn.init.zeros_(block.weight)
    given = maps(channels=(16, 16, 32), strides=(1, 2, 4))
    assert torch.equal(net(given)[1], given[1])


# UNETR.


@pytest.mark.parametrize(
    ("strides", "wanted"),
    [
        ((1, 16, 16, 16, 16), [1, 2, 4, 8, 16]),
        ((16, 16, 16), [16, 16, 16]),
        ((1, 4, 8, 16, 32), [1, 4, 8, 16, 32]),
        ((2, 4, 8), [2, 4, 8]),
        ((1, 16, 16), [1, 8, 16]),
    ],
)
def test_tokens_are_spread_over_resolutions_and_pyramids_stay(strides: tuple[int, ...], wanted: list[int]) -> None:
    from voxgraft_plugins.decoders.unetr import spread

    assert spread([(step, step, step) for step in strides]) == [(step, step, step) for step in wanted]


def test_unetr_over_tokens_has_the_sizes_and_enlargements_of_the_paper(catalogue: Catalogue) -> None:
    """Four layers of tokens at stride 16 and the image: decoded at 1, 2, 4 and 8 with 0, 3, 2 and 1 enlargements."""
    channels, strides = (1, 24, 24, 24, 24), (1, 16, 16, 16, 16)
    net = decoder(catalogue, "unetr", 3, channels=channels, strides=strides)
    given = [
        torch.randn(1, width, *(-(-size // step) for size in (32, 47, 32)))
        for width, step in zip(channels, strides, strict=True)
    ]
    decoded = net(given)
    assert [len(skip.ups) for skip in net.skips] == [0, 3, 2, 1]
    assert [tuple(one.shape[2:]) for one in decoded] == [(32, 47, 32), (16, 24, 16), (8, 12, 8), (4, 6, 4)]


# MONAI.


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("upsample", ["deconv", "nontrainable", "pixelshuffle"])
def test_monais_decoder_is_computed_as_monai_does(catalogue: Catalogue, dims: int, upsample: str) -> None:
    net = decoder(catalogue, "monai-unet", dims, upsample=upsample).eval()
    from monai.networks.nets.flexible_unet import UNetDecoder

    own = UNetDecoder(
        dims, [1, *CHANNELS], [24, 16, 16, 8], ("relu", {}), ("group", {"num_groups": 8}), 0.0, False, upsample,
        "default", "nearest", None, True,
    ).eval()  # fmt: skip
    own.blocks = nn.ModuleList([*net.blocks])
    given = maps(dims, 16)
    with torch.no_grad():
        assert torch.equal(net(given)[0], own(given, skip_connect=3))


# All of them.


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dims", [2, 3])
def test_sizes_of_unpadded_networks_single_maps_and_thick_slices_are_taken(
    catalogue: Catalogue, name: str, dims: int
) -> None:
    cases: list[tuple[Any, Any, Any]] = [
        ((8, 16, 24), [(1,) * dims, (2,) * dims, (4,) * dims], [(37, 48, 11), (16, 21, 4), (7, 10, 1)]),
        ((8,), [(1,) * dims], [(6, 5, 4)]),
        ((8, 16, 24), [(1, 1, 1)[:dims], (4, 2, 1)[:dims], (4, 8, 2)[:dims]], [(9, 11, 3), (3, 6, 3), (3, 2, 2)]),
        ((8, 16), [(1,) * dims, (2,) * dims], [(1, 1, 1), (1, 1, 1)]),
    ]
    for channels, strides, sizes in cases:
        net = decoder(catalogue, name, dims, channels, strides).train()
        given = [torch.randn(1, width, *size[:dims]) for width, size in zip(channels, sizes, strict=True)]
        decoded = net(given)
        assert tuple(decoded[0].shape[2:]) == sizes[0][:dims]
        assert all(bool(torch.isfinite(one).all()) for one in decoded)
        with pytest.raises(ModelError, match=rf"{name}: made for {len(channels)} maps of an encoder, got 4"):
            net([*given, *given, *given, *given][:4])


@pytest.mark.parametrize("name", NAMES)
def test_every_norm_trains_with_a_batch_of_one(catalogue: Catalogue, name: str) -> None:
    for norm in ("group", "instance", "batch") if name != "fcn" else (None,):
        net = decoder(catalogue, name, 2, **({"norm": norm} if norm else {})).train()
        given = [one[:1] for one in maps()]
        sum(one.square().mean() for one in net(given)).backward()
        assert all(bool(torch.isfinite(one.grad).all()) for one in net.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_a_voxel_stays_in_its_place_when_sizes_are_odd(catalogue: Catalogue, name: str) -> None:
    """Cutting a fine image at its far end changes nothing at the near end, once norms and means are out of the way."""
    net = decoder(catalogue, name, 2, rates=[1, 2, 3]) if "deeplab" in name else decoder(catalogue, name, 2)
    for module in net.modules():
        if isinstance(module, nn.GroupNorm):
            module.forward = lambda x: x  # type: ignore[method-assign]
    if "deeplab" in name:
        net.pooling.mean.register_forward_hook(lambda _, given, out: torch.zeros_like(out))
    whole = maps(size=256)
    cut = [one[..., : -(-251 // step), : -(-253 // step)] for one, step in zip(whole, STRIDES, strict=True)]
    with torch.no_grad():
        a, b = net(whole)[0], net(cut)[0]
    assert tuple(b.shape[2:]) == (251, 253)
    assert torch.allclose(a[..., :64, :64], b[..., :64, :64], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("segresnet", {"width": 64, "max_width": 32}, "smaller than width"),
        ("fcn", {"norm": "group"}, "there is no key"),
        ("deeplabv3", {"rates": [6, 12]}, "Field required"),
        ("fpn", {"finest": 0}, "greater"),
        ("monai-unet", {"upsample": "bilinear"}, "deconv"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    catalogue: Catalogue, name: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        choose(catalogue, "decoder", {"use": name, **options})
