"""Tests of l2-sp, clip and delta, each shown to fail on sabotaged versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from strategy_trainer import Make, Trainer, batches, network
from voxgraft.networks.network import SegmentationNetwork
from voxgraft.transfer.strategy import Context, Row, TransferStrategy
from voxgraft_plugins.transfer.delta import Delta
from voxgraft_plugins.transfer.options import ClipOptions, DeltaOptions, FreezeOptions, L2SPOptions
from voxgraft_plugins.transfer.start import L2SP, Clip
from voxgraft_plugins.transfer.strategies import Freeze

pytestmark = pytest.mark.usefixtures("one_thread")


def perturb(net: nn.Module, size: float = 0.01) -> dict[str, Tensor]:
    """Move every parameter; what they were before."""
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw) * size)
    return before


# ------------------------------------------------------------------------------------------------------------ l2-sp


def l2_sp(kind: type[L2SP] = L2SP, **options: Any) -> Make:
    return lambda: kind(L2SPOptions.model_validate({"alpha": 0.3, "beta": 0.07, **options}))


def check_l2_sp(make: Make) -> None:
    """The gradient is 2 alpha (w - w0) and 2 beta w exactly, nothing at the start, and no other decay on those rows."""
    trainer = Trainer(network(), make())
    net, context = trainer.net, trainer.context
    output = net(batches(1)[0][0])
    assert trainer.stack.losses(context, {}, output)["l2_sp"].item() == 0.0
    start = perturb(net)
    for buffer in net.buffers():
        if buffer.is_floating_point():
            buffer.add_(5.0)  # statistics are not parameters: they must not count
    terms = trainer.stack.losses(context, {}, output)
    ways = sum(
        float((p.detach().double() - start[n].double()).pow(2).sum())
        for n, p in net.named_parameters()
        if n in context.pretrained
    )
    assert terms["l2_sp"].item() == pytest.approx(0.3 * ways, rel=1e-5)
    sum(terms.values()).backward()
    for name, parameter in net.named_parameters():
        now = parameter.detach()
        if name in context.pretrained:
            torch.testing.assert_close(parameter.grad, 2 * 0.3 * (now - start[name]), rtol=1e-5, atol=1e-7)
        elif parameter.ndim > 1:
            torch.testing.assert_close(parameter.grad, 2 * 0.07 * now, rtol=1e-5, atol=1e-7)
        else:
            assert parameter.grad is None
    assert all(row.weight_decay == 0 for row in trainer.rows.values())


class Aliased(L2SP):
    """The start is the live parameter: the penalty is nothing, for ever."""

    def prepare(self, context: Context) -> Mapping[str, nn.Module]:
        super().prepare(context)
        self._start = {name: p.detach() for name, p in context.network.named_parameters() if name in self._start}
        return {}


class KeepsDecay(L2SP):
    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        return list(rows)


class WithStatistics(L2SP):
    def losses(self, context: Context, batch: Any, output: Any) -> Mapping[str, Tensor]:
        terms = dict(super().losses(context, batch, output))
        terms["l2_sp"] = terms["l2_sp"] + 0.3 * context.network.encoder.stem_norm.running_mean.pow(2).sum()
        return terms


def test_the_penalty_pulls_to_the_start_and_new_weights_to_zero() -> None:
    check_l2_sp(l2_sp())
    for sabotage in (Aliased, KeepsDecay, WithStatistics):
        with pytest.raises(AssertionError):
            check_l2_sp(l2_sp(sabotage))
    with pytest.raises(AssertionError):
        check_l2_sp(l2_sp(alpha=0.15))


def test_what_does_not_learn_is_not_pulled() -> None:
    trainer = Trainer(network(), L2SP(L2SPOptions()))
    for name, parameter in trainer.net.named_parameters():
        parameter.requires_grad_(not name.startswith("encoder."))
    assert set(trainer.stack.losses(trainer.context, {}, trainer.net(batches(1)[0][0]))) == {"l2_new"}


def check_decoupled(make: Make) -> None:
    """A step takes lr * factor * 2 alpha (w - w0) away, after the optimiser's own."""
    trainer = Trainer(network(), make(), lr=1e-2)
    assert not trainer.stack.losses(trainer.context, {}, trainer.net(batches(1)[0][0]))
    start = perturb(trainer.net)
    before = {name: parameter.detach().clone() for name, parameter in trainer.net.named_parameters()}
    trainer.context.factor = 0.5
    trainer.stack.after_step(trainer.context)
    for name, parameter in trainer.net.named_parameters():
        wanted = before[name]
        if name in trainer.context.pretrained:
            wanted = wanted - 1e-2 * 0.5 * 2 * 0.3 * (wanted - start[name])
        elif parameter.ndim > 1:
            wanted = wanted - 1e-2 * 0.5 * 2 * 0.07 * wanted
        torch.testing.assert_close(parameter.detach(), wanted, rtol=1e-6, atol=1e-8)


class ForgetsSchedule(L2SP):
    def after_step(self, context: Context) -> None:
        context.factor = 1.0
        super().after_step(context)


def test_the_decoupled_pull_follows_the_rate() -> None:
    check_decoupled(l2_sp(decoupled=True))
    for wrong in (l2_sp(), l2_sp(ForgetsSchedule, decoupled=True), l2_sp(Aliased, decoupled=True)):
        with pytest.raises(AssertionError):
            check_decoupled(wrong)


# ------------------------------------------------------------------------------------------------------------- clip


def clip(kind: type[Clip] = Clip, c: float = 1e-3) -> Make:
    return lambda: kind(ClipOptions(c=c))


def check_clip(make: Make, c: float = 1e-3) -> None:
    """After large steps no pretrained parameter is further than c from its start, and some are that far; new ones go
    where they like; what is kept is within the bound whatever comes in."""
    trainer = Trainer(network(), make(), lr=1.0)
    start = {name: parameter.detach().clone() for name, parameter in trainer.net.named_parameters()}
    trainer.fit(2, 2)
    ways = {name: float((p.detach() - start[name]).abs().max()) for name, p in trainer.net.named_parameters()}
    old = [way for name, way in ways.items() if name in trainer.context.pretrained]
    assert c / 2 <= max(old) <= c * (1 + 1e-4)
    assert ways["heads.0.weight"] > 10 * c
    far = network()
    perturb(far, 0.5)
    kept = trainer.stack.export(trainer.context, far)
    far_most = max(float((p.detach() - start[n]).abs().max()) for n, p in kept.encoder.named_parameters("encoder"))
    assert far_most <= c * (1 + 1e-4)


class OnZero(Clip):
    """The bound is on the weight itself: scales of BatchNorm die."""

    def prepare(self, context: Context) -> Mapping[str, nn.Module]:
        super().prepare(context)
        self._start = {name: torch.zeros_like(value) for name, value in self._start.items()}
        return {}


class LivingStart(Clip):
    def before_step(self, context: Context) -> None:
        self.prepare(context)


class ExportsAll(Clip):
    def export(self, context: Context, network: SegmentationNetwork) -> SegmentationNetwork:
        return network


def test_pretrained_parameters_stay_within_the_bound() -> None:
    check_clip(clip())
    for sabotage in (OnZero, LivingStart, ExportsAll):
        with pytest.raises(AssertionError):
            check_clip(clip(sabotage))
    for wrong in (TransferStrategy, clip(c=1e-6)):
        with pytest.raises(AssertionError):
            check_clip(wrong)


# ------------------------------------------------------------------------------------------------------------ delta


def delta(kind: type[Delta] = Delta, **options: Any) -> Make:
    return lambda: kind(DeltaOptions.model_validate({"weight": 0.5, **options}))


def check_delta(make: Make) -> None:
    """Nothing at the start in training mode; then the formula; its gradient reaches the encoder, all of it, alone."""
    trainer = Trainer(network(), make())
    net, (image, target) = trainer.net, batches(1)[0]
    trainer.mode()
    batch = {"image": image, "target": target}
    assert trainer.stack.losses(trainer.context, batch, net(image))["delta"].item() == 0.0
    with torch.no_grad():
        start = [one.clone() for one in net.encoder(image)]
    perturb(net, 0.05)
    trainer.mode()
    output = net(image)
    term = trainer.stack.losses(trainer.context, batch, output)["delta"]
    each = [(a - b).pow(2).sum(1).mean() for a, b in zip(output.features, start, strict=True)]
    assert float(term.detach()) == pytest.approx(0.5 * float(sum(each).detach()), rel=1e-5)
    assert float(term.detach()) > 1e-3
    net.zero_grad()
    term.backward()
    reached = {name for name, parameter in net.named_parameters() if parameter.grad is not None}
    assert reached == {name for name, _ in net.named_parameters() if name.startswith("encoder.")}


class ComparesWithItself(Delta):
    def prepare(self, context: Context) -> Mapping[str, nn.Module]:
        self._copy = context.network.encoder
        return {}


class InTrainingMode(Delta):
    def train_mode(self, context: Context) -> None: ...


def test_the_distance_of_maps_is_what_is_said() -> None:
    check_delta(delta())
    for sabotage in (ComparesWithItself, InTrainingMode):
        with pytest.raises(AssertionError):
            check_delta(delta(sabotage))
    with pytest.raises(AssertionError):
        check_delta(delta(weight=1.0))


def test_measured_channels_weigh_by_what_putting_them_out_costs() -> None:
    """To first order: what the gradient of the cross-entropy says; 1 on average; kept with the state."""
    trainer = Trainer(network(), Delta(DeltaOptions(channels="measured", measure=0.5)))
    net, (image, target) = trainer.net, batches(1)[0]
    trainer.mode()
    output = net(image)
    assert trainer.stack.losses(trainer.context, {"image": image, "target": target}, output)["delta"].item() == 0.0
    strategy = trainer.stack.strategies[0]
    loss = functional.cross_entropy(output.logits, target)
    slopes = torch.autograd.grad(loss, output.features)
    for gain, slope, one in zip(strategy._gains, slopes, output.features, strict=True):
        wanted = (-slope * one).flatten(2).sum(2).clamp_min(0).sum(0)
        torch.testing.assert_close(gain.float(), wanted, rtol=1e-4, atol=1e-6)
    trainer.context.progress = 0.5
    trainer.stack.before_step(trainer.context)
    assert all(float(one.mean()) == pytest.approx(1.0) for one in strategy._attention)
    again = Delta(DeltaOptions(channels="measured", measure=0.5))
    other = network()
    again.prepare(Context(other, frozenset(other.state_dict())))
    again.load_state_dict(strategy.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(again._attention, strategy._attention, strict=True))


@pytest.mark.parametrize("first", [True, False])
def test_channels_are_measured_once_the_encoder_learns(first: bool) -> None:
    """Not while it is frozen, nor for less long than without freezing; a map that never learns counts as it did."""
    measured = Delta(DeltaOptions(channels="measured", measure=0.25))
    late = Freeze(FreezeOptions(until=0.5))
    trainer = Trainer(network(), *([measured, late] if first else [late, measured]))
    trainer.fit(4, 8)
    assert not measured._gains and not measured._attention
    trainer.fit(2, 8, first=4)
    assert measured._gains and not measured._attention
    trainer.fit(1, 8, first=6)
    assert all(bool(one.any()) and float(one.mean()) == pytest.approx(1.0) for one in measured._attention)
    shallow = Delta(DeltaOptions(channels="measured", measure=0.25))
    Trainer(network(), shallow, Freeze(FreezeOptions(stages=1))).fit(3, 4)
    assert torch.equal(shallow._attention[0], torch.ones(8, dtype=torch.float64))
    assert not torch.equal(shallow._attention[1], torch.ones(8, dtype=torch.float64))


def test_voxels_that_are_left_out_do_not_measure_channels() -> None:
    """Whatever stands in them, indices or regions."""
    for regions in (False, True):
        gains = []
        for other in (0, 1):
            trainer = Trainer(network(), Delta(DeltaOptions(channels="measured")))
            image, target = batches(1)[0]
            counted = torch.ones_like(target, dtype=torch.bool)
            counted[:, :8] = False
            target[:, :8] = other
            trainer.mode()
            truth = torch.stack([target, 1 - target], 1).float() if regions else target
            batch = {"image": image, "target": truth, "counted": counted}
            trainer.stack.losses(trainer.context, batch, trainer.net(image))
            gains.append(trainer.stack.strategies[0]._gains)
        assert all(torch.equal(a, b) for a, b in zip(*gains, strict=True))
        assert any(bool(gain.any()) for gain in gains[0])
