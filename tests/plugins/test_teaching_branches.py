"""Strategies with another task: adversarial training, branches of several tasks, masking."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from teaching_contexts import batch, ready
from torch import Tensor, nn
from torch.nn import functional

from strategy_jobs import plan
from strategy_trainer import network
from voxgraft.errors import TrainingError
from voxgraft.transfer.stack import Stack
from voxgraft.transfer.strategy import Context
from voxgraft_plugins.teaching import domains, soft, tasks
from voxgraft_plugins.teaching.averaging import MeanTeacher
from voxgraft_plugins.teaching.domains import Adversarial
from voxgraft_plugins.teaching.masking import SelfSupervised, masks
from voxgraft_plugins.teaching.options import (
    AdversarialOptions,
    MeanTeacherOptions,
    MultiTaskOptions,
    SelfSupervisedOptions,
)
from voxgraft_plugins.teaching.tasks import MultiTask, distances

pytestmark = pytest.mark.usefixtures("one_thread")


def gradients(module: nn.Module) -> dict[str, Tensor | None]:
    return {name: p.grad for name, p in module.named_parameters()}


# ------------------------------------------------------------------------------------------------------- adversarial


def domain_gradients(kind: type[Adversarial], level: str, progress: float, strength: float = 0.5) -> dict[str, Any]:
    torch.manual_seed(3)
    strategy = kind(AdversarialOptions(level=level, strength=strength, width=4))
    context, data = ready(strategy, progress=progress), batch()
    for module in context.network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    strategy.losses(context, data, context.network(data["image"]))["domain"].backward()
    return {"network": gradients(context.network), "classifier": gradients(context.extra["discriminator"])}


def check_reversal(kind: type[Adversarial], level: str) -> None:
    x = torch.randn(3, 4, requires_grad=True)
    assert torch.equal(domains.reversed_gradient(x, 0.3), x)
    early, late = (domain_gradients(kind, level, progress) for progress in (0.1, 0.6))
    factor = domains.rise(0.6) / domains.rise(0.1)
    stem = "encoder.stem.weight"
    torch.testing.assert_close(late["network"][stem], factor * early["network"][stem], rtol=1e-4, atol=1e-9)
    for name, gradient in early["classifier"].items():
        torch.testing.assert_close(gradient, late["classifier"][name], rtol=0, atol=0)
        assert gradient.any()
    straight = domain_gradients(Straight, level, 0.6)
    torch.testing.assert_close(
        late["network"][stem], -0.5 * domains.rise(0.6) * straight["network"][stem], rtol=1e-4, atol=1e-9
    )
    if level == "features":
        for name, gradient in late["network"].items():
            assert name.startswith("encoder.") or gradient is None, f"{name} is touched at feature level"


class Straight(Adversarial):
    """Without reversal: the reference for its sign and factor."""

    def losses(self, context: Context, batch: Any, output: Any) -> Any:
        kept, domains.reversed_gradient = domains.reversed_gradient, lambda value, factor: value
        try:
            return super().losses(context, batch, output)
        finally:
            domains.reversed_gradient = kept


class OnTheLoss(Adversarial):
    """The factor on the loss: the classifier learns slowly too."""

    def losses(self, context: Context, batch: Any, output: Any) -> Any:
        return {
            "domain": -0.5 * domains.rise(context.progress) * Straight.losses(self, context, batch, output)["domain"]
        }  # type: ignore[arg-type]


OnTheLoss.__bases__ = (Straight,)


@pytest.mark.parametrize("level", ["features", "entropy"])
def test_the_reversal_is_linear_in_its_factor_and_the_classifier_does_not_feel_it(level: str) -> None:
    check_reversal(Adversarial, level)
    for sabotage in (Straight, OnTheLoss):
        with pytest.raises(AssertionError):
            check_reversal(sabotage, level)


def test_the_schedule_of_the_reversal_is_that_of_the_paper() -> None:
    assert domains.rise(0.0) == 0 and domains.rise(1.0) == pytest.approx(2 / (1 + math.exp(-10)) - 1)
    net = domains.discriminator(2, 2, (4, 8, 16, 32), (2, 2, 2, 2))
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in net.modules())
    assert net(torch.zeros(1, 2, 8, 8)).shape == (1, 1, 1, 1)


def test_entropy_maps_are_zero_for_decisions_and_one_for_evens() -> None:
    sure = torch.tensor([80.0, -80.0, -80.0]).reshape(1, 3, 1, 1)
    assert float(soft.entropy_maps(sure, False).sum()) == pytest.approx(0, abs=1e-6)
    assert float(soft.entropy_maps(torch.zeros(1, 3, 1, 1), False).sum()) == pytest.approx(1, rel=1e-6)
    assert soft.entropy_maps(torch.zeros(1, 3, 1, 1), True).flatten().tolist() == pytest.approx([1, 1, 1])
    some = soft.entropy_maps(torch.randn(2, 3, 4, 4) * 3, False)
    assert (some >= 0).all() and (some.sum(1) <= 1 + 1e-6).all() and torch.isfinite(some).all()


# -------------------------------------------------------------------------------------------------------- multi-task


def check_uncertainty(kind: type[nn.Module]) -> None:
    module = kind(("a", "b"))
    fixed = {"a": torch.tensor(4.0), "b": torch.tensor(0.25)}
    optimiser = torch.optim.Adam(module.parameters(), lr=0.05)
    for _ in range(600):
        optimiser.zero_grad()
        module(fixed).backward()
        optimiser.step()
    assert module.log_variance.exp().tolist() == pytest.approx([4.0, 0.25], rel=0.01)


def test_uncertainties_come_to_rest_at_the_losses() -> None:
    check_uncertainty(tasks.Uncertainties)

    class NoPrice(tasks.Uncertainties):
        def forward(self, terms: Any) -> Tensor:
            return super().forward(terms) - 0.25 * self.log_variance.sum()

    with pytest.raises(AssertionError):
        check_uncertainty(NoPrice)


def check_rates(kind: type[tasks.Rates]) -> None:
    rates = kind(("a", "b"), 2.0, 2)
    for a, b in ((2.0, 1.0), (4.0, 3.0), (1.5, 1.8), (1.5, 1.8)):
        assert rates.weights == (1.0, 1.0)
        assert float(rates.weighed({"a": torch.tensor(a), "b": torch.tensor(b)})) == pytest.approx(a + b)
        rates.end_of_step()
    r = (1.5 / 3.0, 1.8 / 2.0)
    e = [math.exp(one / 2.0) for one in r]
    assert rates.weights == pytest.approx([2 * one / sum(e) for one in e], rel=1e-7)
    assert sum(rates.weights) == pytest.approx(2) and rates.weights[1] > rates.weights[0], "the slower task counts more"
    again = kind(("a", "b"), 2.0, 2)
    again.load_state_dict(rates.state_dict())
    assert again.weights == rates.weights


def test_dynamic_weights_are_their_formula() -> None:
    check_rates(tasks.Rates)

    class Upside(tasks.Rates):
        @property
        def weights(self) -> tuple[float, ...]:
            return super().weights[::-1]

    with pytest.raises(AssertionError):
        check_rates(Upside)


def check_projection(project: Any) -> None:
    w, own = nn.Parameter(torch.tensor([1.0, 2.0, -1.0])), nn.Parameter(torch.tensor(3.0))
    g1, g2 = torch.tensor([1.0, 0.5, 0.0]), torch.tensor([-1.0, 1.0, 0.3])

    def made() -> list[Tensor]:
        return [(g1 * w).sum(), (g2 * w).sum() + 5 * own]

    losses = made()
    total = project(losses, [w])
    assert float(total) == pytest.approx(float(sum(losses)))
    total.backward()
    p1 = g1 - (g1 @ g2) / (g2 @ g2) * g2
    p2 = g2 - (g1 @ g2) / (g1 @ g1) * g1
    torch.testing.assert_close(w.grad, p1 + p2)
    assert float(own.grad) == 5, "a branch keeps its own gradient"
    assert w.grad @ g1 >= -1e-6 and w.grad @ g2 >= -1e-6
    w.grad = own.grad = None
    project(made(), [w, own]).backward()
    torch.testing.assert_close(w.grad, p1 + p2)
    assert float(own.grad) == 5, "what one task has alone counts in no projection"
    w.grad = own.grad = None
    project([made()[0], 5 * own], [w, own]).backward()
    torch.testing.assert_close(w.grad, g1)
    assert float(own.grad) == 5
    w.grad = None
    friends = [(g1 * w).sum(), (2 * g1 * w).sum()]
    project(friends, [w]).backward()
    torch.testing.assert_close(w.grad, 3 * g1)


def test_gradients_that_point_against_each_other_are_projected() -> None:
    check_projection(tasks.without_conflicts)
    with pytest.raises(AssertionError):
        check_projection(lambda losses, shared: sum(losses))


def test_distances_are_signed_and_cut() -> None:
    mask = torch.zeros(1, 2, 9, 9, dtype=torch.bool)
    mask[0, 0, 3:6, 3:6] = True
    found = distances(mask, (1.0, 2.0), 2.0)
    assert found[0, 0, 4, 4] == pytest.approx(1.5 / 2) and found[0, 0, 3, 4] == pytest.approx(0.5 / 2)
    assert found[0, 0, 2, 4] == pytest.approx(-0.5 / 2) and found[0, 0, 4, 2] == pytest.approx(-1.5 / 2)
    assert found[0, 0, 0, 0] == -1 and (found[0, 1] == -1).all()


def check_branches(kind: type[MultiTask]) -> None:
    """Each branch against its formula, written again: distances (also of voxels that do not count), the image, what is
    there."""
    strategy = kind(MultiTaskOptions(branches=("boundary", "reconstruction", "presence"), weight=0.5, reach=3.0))
    context, data = ready(strategy), batch()
    data["target"][0] = 0
    data["target"][1:, 2:9, 3:12] = 1
    counted = data["counted"] = torch.ones_like(data["target"], dtype=torch.bool)
    counted[2, :, 8:] = False
    output = context.network(data["image"])
    terms = strategy.losses(context, data, output)
    found = context.extra["branch_boundary"](output.maps[0])[:, 0]
    inside = data["target"].bool().numpy()
    wanted = np.full(inside.shape, -1.0)
    for place in (1, 2):
        near = ndimage.distance_transform_edt(inside[place]) - ndimage.distance_transform_edt(~inside[place])
        wanted[place] = np.clip((near - 0.5 * np.sign(near)) / 3.0, -1, 1)
    error = (found - torch.from_numpy(wanted).float()).abs()[counted].mean()
    torch.testing.assert_close(terms["boundary"], 0.5 * error)
    image = context.extra["branch_reconstruction"](output.maps[0])
    torch.testing.assert_close(terms["reconstruction"], 0.5 * (image - data["image"]).square().mean())
    there = context.extra["branch_presence"](output.features[-1].mean((2, 3)))
    truth = torch.tensor([[0.0], [1.0], [1.0]])
    entropy = -(truth * functional.logsigmoid(there) + (1 - truth) * functional.logsigmoid(-there)).mean()
    torch.testing.assert_close(terms["presence"], 0.5 * entropy)


class Unsigned(MultiTask):
    """Within and without are alike: the branch cannot tell one side of a border from the other."""

    def _boundary(self, context: Context, batch: Any, output: Any) -> Tensor:
        found = context.extra["branch_boundary"](output.maps[0])
        wanted = distances((batch["target"] == 1)[:, None], (1.0, 1.0), 3.0).abs()
        counts = batch["counted"]
        return ((found - wanted).abs() * counts[:, None]).sum() / counts.sum()


class CountsEveryVoxel(MultiTask):
    def _boundary(self, context: Context, batch: Any, output: Any) -> Tensor:
        return super()._boundary(context, {**batch, "counted": torch.ones_like(batch["counted"])}, output)


class SeesTheAnswer(MultiTask):
    """What is there is read off the finest map's mean, not the encoder's coarsest."""

    def _presence(self, context: Context, batch: Any, output: Any) -> Tensor:
        return super()._presence(context, batch, output._replace(features=output.features[:1]))


def test_branches_are_their_formulas() -> None:
    check_branches(MultiTask)
    for sabotage in (Unsigned, CountsEveryVoxel, SeesTheAnswer):
        with pytest.raises(AssertionError):
            check_branches(sabotage)


@pytest.mark.parametrize("weighting", ["equal", "uncertainty", "dwa", "pcgrad"])
def test_branches_learn_and_one_alone_weighs_the_losses(weighting: str) -> None:
    options = MultiTaskOptions(branches=("boundary", "reconstruction", "presence"), weighting=weighting)
    strategy = MultiTask(options)
    context, data = ready(strategy), batch()
    stack = Stack([strategy])
    output = context.network(data["image"])
    terms = {"segmentation": functional.cross_entropy(output.logits, data["target"])}
    terms.update(stack.losses(context, data, output))
    assert set(terms) == {"segmentation", "boundary", "reconstruction", "presence"}
    found = context.extra["branch_reconstruction"](output.maps[0])
    torch.testing.assert_close(terms["reconstruction"], functional.mse_loss(found, data["image"]))
    terms["other"] = output.logits.square().mean()
    stack.combine(context, terms).backward()
    for module in (context.network, *context.extra.values()):
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in module.parameters())
    if weighting != "equal":
        with pytest.raises(TrainingError, match="both set the weights"):
            Stack([strategy, deepcopy(strategy)])


# --------------------------------------------------------------------------------------------------- self-supervised


def check_masking(kind: type[SelfSupervised]) -> None:
    strategy = kind(SelfSupervisedOptions(ratio=0.5, block=4))
    context, data = ready(strategy), batch()
    seen = strategy.inputs(context, data["image"], 11)
    hidden = masks(data["image"].shape, 4, 0.5, 11)
    assert hidden.flatten(1).float().mean(1).tolist() == [0.5] * 3
    assert (seen[:, 0][hidden] == 0).all() and torch.equal(seen[:, 0][~hidden], data["image"][:, 0][~hidden])
    output = context.network(seen)
    found = context.extra["reconstruction"](output.maps[0])[:, 0]
    wanted = (found - data["image"][:, 0]).abs()[hidden].mean()
    whole = strategy.losses(context, {"image": seen}, output)["reconstruction"]
    torch.testing.assert_close(whole, wanted)
    strategy.inputs(context, data["image"], 11)
    pieces = []
    for part in (slice(0, 1), slice(1, 3)):
        one = output._replace(maps=(output.maps[0][part],))
        pieces.append(
            float(strategy.losses(context, {"image": seen[part]}, one)["reconstruction"]) * (part.stop - part.start)
        )
    assert sum(pieces) / 3 == pytest.approx(float(whole), rel=1e-5)


class Everywhere(SelfSupervised):
    """Counts what was not masked, which can be copied."""

    def losses(self, context: Context, batch: Any, output: Any) -> Any:
        found = context.extra["reconstruction"](output.maps[0])
        return {"reconstruction": (found - self._whole[: len(found)]).abs().mean()}


class Peeks(SelfSupervised):
    def inputs(self, context: Context, image: Tensor, seed: int) -> Tensor:
        super().inputs(context, image, seed)
        return image


def test_only_masked_voxels_count_and_none_of_them_is_seen() -> None:
    check_masking(SelfSupervised)
    for sabotage in (Everywhere, Peeks):
        with pytest.raises(AssertionError):
            check_masking(sabotage)


def test_a_patch_of_one_block_is_refused() -> None:
    """All of it would be masked."""
    with pytest.raises(TrainingError, match=r"self-supervised\.block is 16, but a patch has 16x16 voxels"):
        SelfSupervised(SelfSupervisedOptions(block=16)).prepare(Context(network(), plan=plan()))
    SelfSupervised(SelfSupervisedOptions(block=15)).prepare(Context(network(), plan=plan()))


def test_learning_without_labels_stands_alone() -> None:
    assert not Stack([SelfSupervised(SelfSupervisedOptions())]).supervised
    with pytest.raises(TrainingError, match="a separate workflow"):
        Stack([MeanTeacher(MeanTeacherOptions()), SelfSupervised(SelfSupervisedOptions())])
    with pytest.raises(TrainingError, match="same option 'statistics'"):
        Stack([MeanTeacher(MeanTeacherOptions()), Adversarial(AdversarialOptions())])
