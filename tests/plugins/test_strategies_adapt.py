"""Tests of lora, prune, init and channel-dropout, each shown to fail on sabotaged versions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from strategy_trainer import Make, Trainer, batches, moved, network, state
from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.errors import TrainingError
from voxgraft.networks.network import SegmentationNetwork, build_network
from voxgraft.preprocessing.plan import Plan
from voxgraft.transfer.strategy import Context, Row, TransferStrategy
from voxgraft_plugins.transfer import lora as lora_room
from voxgraft_plugins.transfer.fresh import Init
from voxgraft_plugins.transfer.lora import Lora, LowRank
from voxgraft_plugins.transfer.missing import ChannelDropout
from voxgraft_plugins.transfer.options import (
    BnOnlyOptions,
    ChannelDropoutOptions,
    FineTuneOptions,
    FreezeOptions,
    InitOptions,
    L2SPOptions,
    LoraOptions,
    PruneOptions,
)
from voxgraft_plugins.transfer.pruning import Prune
from voxgraft_plugins.transfer.start import L2SP
from voxgraft_plugins.transfer.strategies import BnOnly, FineTune, Freeze

pytestmark = pytest.mark.usefixtures("one_thread")


# ------------------------------------------------------------------------------------------------------------- lora


def lora(kind: type[Lora] = Lora, **options: Any) -> Make:
    return lambda: kind(LoraOptions(**options))


def check_lora(make: Make, r: int = 4) -> None:
    """The start is not changed; the base never moves; as many numbers learn as the formula says; merging computes the
    same bits, under the old names."""
    net = network()
    plain = deepcopy(net).eval()
    image = batches(1)[0][0]
    trainer = Trainer(net, make())
    with torch.no_grad():
        assert torch.equal(net.eval()(image).logits, plain(image).logits)
    learning = {name for name, row in trainer.rows.items() if row.train and name.startswith("encoder.")}
    parameters = dict(net.named_parameters())
    # Three dense 3x3 convolutions: 1 to 8, 8 to 8, 8 to 8 channels.
    assert sum(parameters[name].numel() for name in learning) == sum(
        r * (i * 9 + o) for i, o in ((1, 8), (8, 8), (8, 8))
    )
    before = state(net)
    trainer.fit(4, 4)
    encoder = {name for name in moved(before, net) if name.startswith("encoder.")}
    assert encoder == learning
    with torch.no_grad():
        unmerged = net.eval()(image).logits
        average = deepcopy(net)
        kept = trainer.stack.export(trainer.context, average)
        assert torch.equal(kept(image).logits, unmerged)
        assert not torch.allclose(unmerged, plain(image).logits, atol=1e-3)
    assert sorted(kept.state_dict()) == sorted(plain.state_dict())
    adapted = {"encoder.stem.weight", "encoder.middle.0.weight", "encoder.deep.conv.weight"}
    assert {name for name in moved(state(plain), kept) if name.startswith("encoder.")} == adapted


class StartsMoved(Lora):
    def prepare(self, context: Context) -> Mapping[str, nn.Module]:
        super().prepare(context)
        for module in context.network.modules():
            if isinstance(module, LowRank):
                nn.init.normal_(module.up)
        return {}


class TrainsBase(Lora):
    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        return list(rows)


class ForgetsStatistics(Lora):
    def train_mode(self, context: Context) -> None: ...


class DropsFactors(Lora):
    """Keeps the base without what was learnt."""

    def export(self, context: Context, network: SegmentationNetwork) -> SegmentationNetwork:
        for module in list(network.modules()):
            if parametrize.is_parametrized(module):
                parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
        return network


class LeavesTraces(Lora):
    def export(self, context: Context, network: SegmentationNetwork) -> SegmentationNetwork:
        return network


def test_low_rank_factors_learn_beside_a_fixed_base() -> None:
    check_lora(lora())
    check_lora(lora(r=2, alpha=3.0), r=2)
    for sabotage in (StartsMoved, TrainsBase, ForgetsStatistics, DropsFactors, LeavesTraces):
        with pytest.raises(AssertionError):
            check_lora(lora(sabotage))
    with pytest.raises(AssertionError):
        check_lora(lora(r=3))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(8, 12, 3, stride=2, padding=1), (2, 8, 17, 19)),
        (nn.Conv3d(8, 12, 3, stride=2, padding=1, dilation=2), (2, 8, 9, 11, 10)),
        (nn.Conv3d(6, 4, 1), (1, 6, 4, 5, 3)),
    ],
)
def test_the_adapted_weight_is_two_convolutions_beside_the_first(layer: nn.Module, shape: tuple[int, ...]) -> None:
    """W + s B A convolves as W and, beside it, A (of the kernel) followed by B (1x1)."""
    layer = layer.double()
    image = torch.randn(shape, dtype=torch.double)
    low = LowRank(layer.weight.detach(), 4, 8.0)
    nn.init.normal_(low.up)
    kind = type(layer)
    down = kind(
        layer.in_channels, 4, layer.kernel_size, layer.stride, layer.padding, layer.dilation, bias=False
    ).double()
    up = kind(4, layer.out_channels, 1, bias=False).double()
    with torch.no_grad():
        down.weight.copy_(low.down.view(down.weight.shape))
        up.weight.copy_(low.up.view(up.weight.shape))
        beside = layer(image) + 8 / 4 * up(down(image))
        layer.weight.copy_(low(layer.weight))
        merged = layer(image)
    assert float((merged - beside).abs().max()) < 1e-12


def test_dense_and_pointwise_layers_are_adapted_and_depthwise_ones_are_not() -> None:
    taken = {
        "dense": nn.Conv2d(4, 8, 3),
        "pointwise": nn.Conv3d(4, 8, 1),
        "grouped pointwise": nn.Conv2d(4, 8, 1, groups=2),
        "linear": nn.Linear(4, 8),
        "depthwise": nn.Conv2d(8, 8, 3, groups=8),
        "transposed": nn.ConvTranspose2d(8, 8, 3),
        "norm": nn.LayerNorm(8),
    }
    assert [name for name, module in taken.items() if lora_room._takes(module)] == list(taken)[:4]


def test_a_real_encoder_is_adapted_and_merged(catalogue: Catalogue) -> None:
    """EfficientNet's convolutions pad by themselves, and are mostly depthwise; Swin's layers are linear."""
    for options in ({"use": "efficientnet-lite0"}, {"use": "timm", "model": "swin_tiny_patch4_window7_224"}):
        net = build_network(
            choose(catalogue, "encoder", options).build(),
            choose(catalogue, "decoder", {"use": "unet"}).build(),
            dims=2,
            channels=1,
            classes=2,
            strides=[],
        )
        dense = [
            m for m in net.encoder.modules() if isinstance(m, (nn.Conv2d, nn.Linear)) and getattr(m, "groups", 1) == 1
        ]
        names = sorted(net.state_dict())
        strategy = Lora(LoraOptions(r=2))
        context = Context(net, frozenset(name for name, _ in net.named_parameters() if name.startswith("encoder.")))
        strategy.prepare(context)
        factors = [module for module in net.encoder.modules() if isinstance(module, LowRank)]
        assert len(factors) == len(dense)
        for one in factors:
            nn.init.normal_(one.up, std=0.01)
        image = torch.randn(1, 1, 64, 64)
        with torch.no_grad():
            unmerged = net.eval()(image).logits
            kept = strategy.export(context, deepcopy(net))
            assert torch.equal(kept(image).logits, unmerged)
        assert sorted(kept.state_dict()) == names


def test_an_encoder_without_dense_layers_is_refused() -> None:
    with pytest.raises(TrainingError, match="lora finds no pretrained dense layer"):
        Trainer(network(), Lora(LoraOptions()), pretrained=frozenset({"encoder.stem_norm.weight"}))


# ------------------------------------------------------------------------------------------------------------ prune


def prune(kind: type[Prune] = Prune, **options: Any) -> Make:
    return lambda: kind(PruneOptions.model_validate({"amount": 0.3, "at": 0.5, **options}))


def weights_of(net: nn.Module) -> dict[str, Tensor]:
    return {n: p.detach() for n, p in net.named_parameters() if p.ndim > 1 and not n.startswith("heads")}


def check_prune(make: Make, amount: float = 0.3) -> None:
    """From its time on exactly round(amount * n) weights are zero, the smallest of that moment, and stay it while the
    others learn; also with equal weights; the running average is as sparse once it is kept."""
    net = network()
    trainer = Trainer(net, make())
    trainer.fit(2, 4)
    assert all(bool((weight != 0).all()) for weight in weights_of(net).values())
    with torch.no_grad():
        net.encoder.middle[0].weight.fill_(0.03)  # 576 equal ones, among which the line is drawn
    now = torch.cat([weight.flatten() for weight in weights_of(net).values()])
    count = round(amount * now.numel())
    average = deepcopy(net)
    trainer.context.progress = 0.5
    trainer.stack.before_step(trainer.context)
    pruned = torch.cat([weight.flatten() for weight in weights_of(net).values()]) == 0
    assert int(pruned.sum()) == count
    assert float(now[pruned].abs().max()) <= float(now[~pruned].abs().min())
    trainer.fit(2, 4, first=2)
    after = torch.cat([weight.flatten() for weight in weights_of(net).values()])
    assert torch.equal(after == 0, pruned)
    assert not torch.equal(after[~pruned], now[~pruned])
    kept = trainer.stack.export(trainer.context, average)
    assert torch.equal(torch.cat([weight.flatten() for weight in weights_of(kept).values()]) == 0, pruned)
    assert sorted(kept.state_dict()) == sorted(network().state_dict())


class PrunesOnce(Prune):
    """Momentum and gradients bring pruned weights back."""

    def after_step(self, context: Context) -> None: ...


class ByThreshold(Prune):
    """Equal weights go together: more or fewer than asked for."""

    def _chosen(self, context: Context, network: nn.Module) -> dict[str, Tensor]:
        everything = torch.cat([weight.flatten().abs() for weight in weights_of(network).values()])
        edge = everything.kthvalue(round(self._amount * everything.numel())).values
        return {name: weight.abs() > edge for name, weight in weights_of(network).items()}


class ForgetsAverage(Prune):
    def export(self, context: Context, network: SegmentationNetwork) -> SegmentationNetwork:
        return network


def test_the_smallest_weights_are_pruned_and_stay_so() -> None:
    check_prune(prune())
    for sabotage in (PrunesOnce, ByThreshold, ForgetsAverage):
        with pytest.raises(AssertionError):
            check_prune(prune(sabotage))
    for wrong in (prune(amount=0.29), prune(at=0.9), prune(at=0.0), TransferStrategy):
        with pytest.raises(AssertionError):
            check_prune(wrong)


def test_layers_and_parts_can_be_pruned_by_themselves() -> None:
    net = network()
    trainer = Trainer(net, Prune(PruneOptions(amount=0.25, at=0.0, by="layer", part="encoder")))
    trainer.fit(1, 1)
    for name, weight in weights_of(net).items():
        assert int((weight == 0).sum()) == (round(0.25 * weight.numel()) if name.startswith("encoder.") else 0)


@pytest.mark.parametrize("first", [True, False])
def test_what_is_pruned_stays_so_whatever_else_moves_weights_after_a_step(first: bool) -> None:
    """The pull of l2-sp past the optimiser moves zeros too: no step may be made with them."""
    both = [Prune(PruneOptions(amount=0.3, at=0.25)), L2SP(L2SPOptions(alpha=1.0, decoupled=True))]
    trainer = Trainer(network(), *(both if first else both[::-1]))
    seen: list[int] = []
    forward = trainer.net.register_forward_pre_hook(
        lambda net, given: seen.append(sum(int((weight == 0).sum()) for weight in weights_of(net).values()))
    )
    trainer.fit(4, 4)
    forward.remove()
    count = sum(weight.numel() for weight in weights_of(trainer.net).values())
    assert seen == [0, *[round(0.3 * count)] * 3]


@pytest.mark.parametrize("also", [Freeze(FreezeOptions(stages=2)), FineTune(FineTuneOptions(from_stage=1))])
def test_what_is_not_trained_is_not_pruned(also: TransferStrategy) -> None:
    """The parameter table says that it stays as it was loaded."""
    net = network()
    before = weights_of(deepcopy(net))
    trainer = Trainer(net, Prune(PruneOptions(amount=0.3, at=0.25)), also).fit(4, 4)
    fixed = {name for name in before if not trainer.rows[name].train}
    assert fixed and all(torch.equal(weights_of(net)[name], before[name]) for name in fixed)
    count = sum(weight.numel() for name, weight in before.items() if name not in fixed)
    assert sum(int((weight == 0).sum()) for weight in weights_of(net).values()) == round(0.3 * count)
    early = Trainer(network(), Prune(PruneOptions(at=0.9)), Freeze(FreezeOptions(stages=2))).fit(1, 4)
    kept = early.stack.export(early.context, deepcopy(early.net))
    assert torch.equal(weights_of(kept)["encoder.stem.weight"], before["encoder.stem.weight"])


def test_where_nothing_is_trained_nothing_can_be_pruned() -> None:
    trainer = Trainer(network(), Prune(PruneOptions(part="encoder")), BnOnly(BnOnlyOptions()))
    with pytest.raises(TrainingError, match="prune finds no weights that are trained in the encoder"):
        trainer.fit(1, 4)


def test_masks_are_kept_with_the_state() -> None:
    trainer = Trainer(network(), Prune(PruneOptions(at=0.0)))
    trainer.fit(1, 2)
    other = Trainer(network(), Prune(PruneOptions(at=0.0)))
    other.stack.load_state_dict(trainer.stack.state_dict())
    other.fit(1, 2, first=1)
    for name, weight in weights_of(other.net).items():
        assert torch.equal(weight == 0, weights_of(trainer.net)[name] == 0)


def test_a_training_that_ended_early_is_pruned_when_it_is_kept() -> None:
    trainer = Trainer(network(), Prune(PruneOptions(amount=0.5, at=0.9))).fit(2, 4)
    kept = trainer.stack.export(trainer.context, trainer.net)
    everything = torch.cat([weight.flatten() for weight in weights_of(kept).values()])
    assert int((everything == 0).sum()) == round(0.5 * everything.numel())


# ------------------------------------------------------------------------------------------------------------- init


class Wide(nn.Module):
    """New layers with enough weights to measure a variance."""

    channels = (64,)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 64, 3)
        self.grouped = nn.Conv2d(64, 64, 3, groups=2)
        self.up = nn.ConvTranspose2d(64, 32, 4, stride=2)
        self.linear = nn.Linear(100, 50)


FANS = {"conv": (72, 576), "grouped": (288, 288), "up": (256, 512), "linear": (100, 50)}
"""Inputs of an output and outputs of an input; of a transposed convolution with stride 2, 16 taps over 4."""


def check_init(make: Make, scheme: str) -> None:
    """New layers have the variance of the formula and biases of zero; loaded tensors and norms are bit for bit."""
    torch.manual_seed(5)
    net = SegmentationNetwork(network().encoder, Wide(), 2, 2)
    loaded = state(net)
    pretrained = frozenset(name for name in loaded if name.startswith("encoder.") and name != "encoder.middle.0.weight")
    make().prepare(Context(net, pretrained))
    for name, value in net.state_dict().items():
        if name in pretrained or "norm" in name or "running" in name:
            assert torch.equal(value, loaded[name]), name
    assert not torch.equal(net.encoder.middle[0].weight, loaded["encoder.middle.0.weight"])
    for name, (inwards, outwards) in FANS.items():
        module = getattr(net.decoder, name)
        wanted = math.sqrt(2 / inwards if scheme == "he" else 2 / (inwards + outwards))
        assert float(module.weight.detach().std()) == pytest.approx(wanted, rel=0.05), name
        assert not bool(module.bias.any())


def init(kind: type[Init] = Init, **options: Any) -> Make:
    return lambda: kind(InitOptions(**options))


class Everywhere(Init):
    """The classic: drawn after loading, over what was loaded."""

    def prepare(self, context: Context) -> Mapping[str, nn.Module]:
        return super().prepare(Context(context.network, frozenset()))


def test_new_layers_are_drawn_and_loaded_ones_are_not() -> None:
    for scheme in ("he", "xavier"):
        for distribution in ("normal", "uniform"):
            check_init(init(scheme=scheme, distribution=distribution), scheme)
    for wrong in (init(Everywhere), init(scheme="xavier"), TransferStrategy):
        with pytest.raises(AssertionError):
            check_init(wrong, "he")


def test_drawing_leaves_low_rank_factors_alone() -> None:
    """In whatever order the two stand."""
    for order in ((0, 1), (1, 0)):
        pair = (Lora(LoraOptions()), Init(InitOptions()))
        net = network()
        plain = deepcopy(net.encoder).eval()
        Trainer(net, *(pair[place] for place in order))
        image = batches(1)[0][0]
        with torch.no_grad():
            assert all(torch.equal(a, b) for a, b in zip(net.encoder.eval()(image), plain(image), strict=True))


# -------------------------------------------------------------------------------------------------- channel-dropout


def plan(
    channels: Sequence[str] = ("t1", "t2", "flair", "t1c"), optional: Sequence[str] = ("t2", "flair", "t1c")
) -> Plan:
    return Plan(
        dims=2,
        image_dims=2,
        channels=tuple(channels),
        labels=((1, "tumour"),),
        modality="mr",
        normalisation=({},) * len(channels),
        spacing=(1.0, 1.0),
        patch=(8, 8),
        batch=2,
        strides=((1, 1),),
        optional=tuple(optional),
    )


def dropped(strategy: TransferStrategy, image: Tensor, optional: Sequence[str], seeds: int = 60) -> Tensor:
    """Which channels went, for many draws: bool (draw, sample, channel). All else must be as it was."""
    context = Context(network(), plan=plan(optional=optional))
    strategy.prepare(context)
    gone = []
    for seed in range(seeds):
        seen = strategy.inputs(context, image, seed)
        went = (seen == 0).flatten(2).all(2)
        assert torch.equal(seen[~went], image[~went])
        assert torch.equal(seen, strategy.inputs(context, image, seed)), "a step drawn again is the same"
        gone.append(went)
    return torch.stack(gone)


def check_channel_dropout(make: Make, p: float = 0.5) -> None:
    """Each optional channel goes with probability p, the others never; where all may go, one stays."""
    image = torch.randn(40, 4, 4, 4)
    went = dropped(make(), image, ("t2", "flair", "t1c")).float()
    assert not went[:, :, 0].any()
    spread = 4 * math.sqrt(p * (1 - p) / (60 * 40))
    assert all(abs(float(went[:, :, channel].mean()) - p) < spread for channel in (1, 2, 3))
    both = float((went[:, :, 1] * went[:, :, 2]).mean())
    assert abs(both - p * p) < spread, "channels go independently"
    assert len({tuple(row.flatten().tolist()) for row in went}) == 60
    went = dropped(make(), image, ("t1", "t2", "flair", "t1c"))
    assert not went.all(2).any()
    assert went.float().mean() > 0.8 * p
    image[:20, :3] = 0  # three are missing already: the fourth must stay
    assert not dropped(make(), image, ("t1", "t2", "flair", "t1c"))[:, :20, 3].any()


def channel_dropout(kind: type[ChannelDropout] = ChannelDropout, **options: Any) -> Make:
    return lambda: kind(ChannelDropoutOptions.model_validate({"p": 0.5, **options}))


class Scales(ChannelDropout):
    """As dropout does: what stays is made larger, which a missing channel never does."""

    def inputs(self, context: Context, image: Tensor, seed: int) -> Tensor:
        return super().inputs(context, image, seed) / (1 - self._p)


class All(ChannelDropout):
    def inputs(self, context: Context, image: Tensor, seed: int) -> Tensor:
        draw = torch.Generator().manual_seed(seed)
        goes = (torch.rand(image.shape[:2], generator=draw) < self._p) & self._may_go
        return image.masked_fill(goes[..., None, None], 0.0)


class WholeBatch(ChannelDropout):
    def inputs(self, context: Context, image: Tensor, seed: int) -> Tensor:
        return torch.cat([super(WholeBatch, self).inputs(context, one[None], seed) for one in image])


class Unseeded(ChannelDropout):
    def inputs(self, context: Context, image: Tensor, seed: int) -> Tensor:
        return super().inputs(context, image, int(torch.randint(1000, ())))


def test_optional_channels_are_left_out_at_random_and_never_all() -> None:
    check_channel_dropout(channel_dropout())
    for sabotage in (Scales, All, WholeBatch, Unseeded):
        with pytest.raises(AssertionError):
            check_channel_dropout(channel_dropout(sabotage))
    for wrong in (channel_dropout(p=0.4), channel_dropout(channels=("t1", "t2")), TransferStrategy):
        with pytest.raises(AssertionError):
            check_channel_dropout(wrong)


def test_channels_may_be_named_and_must_exist() -> None:
    went = dropped(ChannelDropout(ChannelDropoutOptions(channels=("t2",))), torch.randn(8, 4, 4, 4), ())
    assert went[:, :, 1].any() and not went[:, :, [0, 2, 3]].any()
    with pytest.raises(TrainingError, match=r"names 'pet'; the channels are t1, t2, flair, t1c"):
        ChannelDropout(ChannelDropoutOptions(channels=("pet",))).prepare(Context(network(), plan=plan()))
    for lacking in (plan(optional=()), plan(("t1",), ("t1",))):
        with pytest.raises(TrainingError, match=r"finds no channel that a scan may lack; mark one in data\.channels"):
            ChannelDropout(ChannelDropoutOptions()).prepare(Context(network(), plan=lacking))
