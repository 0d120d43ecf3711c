"""Strategies that learn from more than the labelled batch: each is its formula, and sabotage is seen."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from strategy_jobs import plan
from strategy_trainer import Stages, Sum, batches, network, state
from voxgraft.errors import TrainingError
from voxgraft.networks.network import SegmentationNetwork
from voxgraft.transfer.stack import Stack
from voxgraft.transfer.strategy import Context, TransferStrategy
from voxgraft_plugins.teaching import domains, mutual, soft, weighing
from voxgraft_plugins.teaching.averaging import MeanTeacher
from voxgraft_plugins.teaching.distil import Distil, complain_of_difference, rescaled
from voxgraft_plugins.teaching.domains import Adversarial
from voxgraft_plugins.teaching.masking import SelfSupervised, masks
from voxgraft_plugins.teaching.mutual import CoTraining
from voxgraft_plugins.teaching.options import (
    AdversarialOptions,
    CoTrainingOptions,
    DistilOptions,
    MeanTeacherOptions,
    MultiTaskOptions,
    SelfSupervisedOptions,
)
from voxgraft_plugins.teaching.own import Statistics, ramp
from voxgraft_plugins.teaching.tasks import MultiTask, distances

pytestmark = pytest.mark.usefixtures("one_thread")


def other(seed: int) -> SegmentationNetwork:
    torch.manual_seed(seed)
    return SegmentationNetwork(Stages(), Sum(), 2, 2)


def ready(strategy: TransferStrategy, net: SegmentationNetwork | None = None, progress: float = 1.0) -> Context:
    context = Context(net or network(), plan=plan(), another=other, progress=progress)
    context.criterion = lambda output, coded: functional.cross_entropy(output.logits, coded)
    context.extra = dict(strategy.prepare(context))
    strategy.before_step(context)
    context.network.train()
    strategy.train_mode(context)
    return context


def batch() -> dict[str, Tensor]:
    (image, target), (unlabelled, _) = batches(2)
    inside = torch.ones(3, 16, 16, dtype=torch.bool)
    inside[0, :4] = False
    return {"image": image, "target": target, "coded": target, "unlabelled": unlabelled * 3 - 1, "inside": inside}


def gradients(module: nn.Module) -> dict[str, Tensor | None]:
    return {name: p.grad for name, p in module.named_parameters()}


# ------------------------------------------------------------------------------------------------------ distillation


def check_divergence(divergence: Any) -> None:
    torch.manual_seed(0)
    student = (torch.randn(2, 3, 5, 7) * 4).double().requires_grad_()
    teacher = (torch.randn(2, 3, 5, 7) * 4).double().requires_grad_()
    for heat in (1.0, 2.0, 4.0):
        p, q = (teacher / heat).softmax(1), (student / heat).softmax(1)
        wanted = heat**2 * (p * (p / q).log()).sum() / (2 * 5 * 7)
        torch.testing.assert_close(divergence(student, teacher, heat, False).double(), wanted, rtol=1e-5, atol=1e-6)
    norms = [
        torch.autograd.grad(divergence(student, teacher, heat, False), student)[0].norm().item()
        for heat in (200.0, 400.0)
    ]
    assert norms[0] == pytest.approx(norms[1], rel=0.02), "the gradient must not depend on a high temperature"
    divergence(student, teacher, 2.0, False).backward()
    assert teacher.grad is None or not teacher.grad.any()
    counted = torch.zeros(2, 5, 7, dtype=torch.bool)
    counted[0, :2] = True
    part = divergence(student[:1, :, :2], teacher[:1, :, :2], 2.0, False)
    torch.testing.assert_close(divergence(student, teacher, 2.0, False, counted), part)
    p, q = teacher.sigmoid(), student.sigmoid()
    bernoulli = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum(1).mean()
    torch.testing.assert_close(divergence(student, teacher, 1.0, True).double(), bernoulli, rtol=1e-4, atol=1e-5)


def test_the_divergence_is_that_of_the_paper_and_sabotage_is_seen() -> None:
    check_divergence(soft.divergence)

    def batchmean(student, teacher, heat, regions, counted=None):
        p = (teacher.detach() / heat).softmax(1)
        return heat**2 * functional.kl_div((student / heat).log_softmax(1), p, reduction="batchmean")

    def unscaled(student, teacher, heat, regions, counted=None):
        return soft.divergence(student, teacher, heat, regions, counted) / heat**2

    def swapped(student, teacher, heat, regions, counted=None):
        return soft.divergence(teacher, student, heat, regions, counted)

    for sabotage in (batchmean, unscaled, swapped):
        with pytest.raises(AssertionError):
            check_divergence(sabotage)


def distils(kind: type[Distil] = Distil, **options: Any) -> Distil:
    strategy = kind(DistilOptions(teacher="unused", **options))
    strategy.teacher = other(5)
    return strategy


def check_distil(kind: type[Distil]) -> None:
    strategy = distils(kind, weight=0.5, features=2.0, level=1)
    context, data = ready(strategy), batch()
    before = state(strategy.teacher)
    output = context.network(data["image"])
    terms = strategy.losses(context, data, output)
    teacher = other(5).eval()
    with torch.no_grad():
        theirs = teacher(data["image"])
    wanted = 0.5 * soft.divergence(output.logits, theirs.logits, 2.0, False)
    torch.testing.assert_close(terms["distil"], wanted)
    adapted = context.extra["distil_adapter"](output.features[1])
    torch.testing.assert_close(terms["distil_features"], 2.0 * functional.mse_loss(adapted, theirs.features[1]))
    sum(terms.values()).backward()
    assert all(p.grad is None for p in strategy.teacher.parameters())
    assert all(torch.equal(value, strategy.teacher.state_dict()[name]) for name, value in before.items())
    assert context.network.encoder.stem.weight.grad.any() and context.extra["distil_adapter"].weight.grad.any()
    assert set(context.extra) == {"distil_adapter"}


class LearningTeacher(Distil):
    """The teacher is left in training mode: its statistics follow and its outputs are others."""

    def losses(self, context: Context, batch: Any, output: Any) -> Any:
        theirs = self.teacher.train()(batch["image"])
        return {
            "distil": 0.5 * soft.divergence(output.logits, theirs.logits, 2.0, False),
            "distil_features": super().losses(context, batch, output)["distil_features"],
        }


def test_distillation_learns_outputs_and_maps_and_leaves_the_teacher_as_it_is() -> None:
    check_distil(Distil)
    with pytest.raises(AssertionError):
        check_distil(LearningTeacher)


def test_a_teacher_must_see_the_same_patches() -> None:
    mine = plan()
    complain_of_difference("t", mine, mine)
    for change, said in (
        ({"channels": ("ct",)}, "channels"),
        ({"labels": ((2, "square"),)}, "structures"),
        ({"spacing": (2.0, 2.0)}, r"set data.spacing: \[2.0, 2.0\]"),
        ({"modality": "ct"}, "modality"),
        ({"normalisation": ({"odd": 1.0},)}, "cannot be undone"),
    ):
        with pytest.raises(TrainingError, match=said):
            complain_of_difference("t", mine.model_copy(update=change), mine)


def test_a_teacher_sees_intensities_in_its_own_scale() -> None:
    scales = [
        {"low": -100.0, "high": 300.0, "mean": 80.0, "std": 50.0},
        {"low": -50.0, "high": 200.0, "mean": 60.0, "std": 20.0},
    ]
    raw = torch.linspace(-90, 290, 60).reshape(1, 1, 6, 10)
    mine, its = ((raw.clamp(s["low"], s["high"]) - s["mean"]) / s["std"] for s in scales)
    plans = [plan().model_copy(update={"normalisation": (s,)}) for s in scales]
    torch.testing.assert_close(rescaled(mine, *plans), its, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(mine, its)


# ------------------------------------------------------------------------------------------------------ mean teacher


def check_recursion(kind: type[MeanTeacher]) -> None:
    strategy = kind(MeanTeacherOptions(decay=0.8))
    context = ready(strategy)
    truth = {name: p.detach().double().clone() for name, p in context.network.named_parameters()}
    for k in range(1, 16):
        with torch.no_grad():
            for p in context.network.parameters():
                p.add_(torch.randn_like(p))
            context.network.encoder.stem_norm.running_mean.add_(1)
        strategy.after_step(context)
        a = min(1 - 1 / (k + 1), 0.8)
        truth = {n: a * truth[n] + (1 - a) * p.detach().double() for n, p in context.network.named_parameters()}
    for name, p in strategy.teacher.named_parameters():
        torch.testing.assert_close(p.double(), truth[name], rtol=1e-5, atol=1e-5)
        assert not p.requires_grad
    for its, mine in zip(strategy.teacher.buffers(), context.network.buffers(), strict=True):
        assert torch.equal(its, mine)
    again = kind(MeanTeacherOptions(decay=0.8))
    ready(again, other(9))
    again.load_state_dict(strategy.state_dict())
    assert all(
        torch.equal(a, b) for a, b in zip(again.teacher.parameters(), strategy.teacher.parameters(), strict=True)
    )


class Cold(MeanTeacher):
    """No warm start: the teacher stays near the random start."""

    def after_step(self, context: Context) -> None:
        self._updates = 1000
        super().after_step(context)


class StaleStatistics(MeanTeacher):
    def after_step(self, context: Context) -> None:
        kept = [one.clone() for one in self.teacher.buffers()]
        super().after_step(context)
        for its, old in zip(self.teacher.buffers(), kept, strict=True):
            its.copy_(old)


def test_the_teacher_is_the_recursion_in_double_precision() -> None:
    check_recursion(MeanTeacher)
    for sabotage in (Cold, StaleStatistics):
        with pytest.raises(AssertionError):
            check_recursion(sabotage)


def check_consistency(kind: type[MeanTeacher]) -> None:
    strategy = kind(MeanTeacherOptions(weight=0.3, ramp=0.5, noise=0.0))
    context, data = ready(strategy, progress=0.2), batch()
    strategy.teacher.load_state_dict(other(4).state_dict())
    context.network.encoder.middle[3].p = 0.0  # noise and dropout draw from one generator
    plain = deepcopy(context.network).train()
    torch.manual_seed(1)
    output = context.network(data["image"])
    before = state(context.network)
    torch.manual_seed(2)
    term = strategy.losses(context, data, output)["consistency"]
    torch.manual_seed(2)
    mine = plain(data["unlabelled"]).logits.softmax(1)
    theirs = other(4).eval()(data["unlabelled"]).logits.softmax(1).detach()
    each = (mine - theirs).square().mean(1)[data["inside"]].mean()
    torch.testing.assert_close(term, 0.3 * math.exp(-5 * (1 - 0.4) ** 2) * each)
    term.backward()
    assert context.network.encoder.stem.weight.grad.any()
    assert all(p.grad is None for p in strategy.teacher.parameters())
    after = state(context.network)
    assert all(torch.equal(after[name], value) for name, value in before.items()), "statistics follow labelled scans"


class Together(MeanTeacher):
    """One pass of both kinds: BatchNorm mixes them."""

    def losses(self, context: Context, batch: Any, output: Any) -> Any:
        image, inside = batch["unlabelled"], batch["inside"]
        theirs = self.teacher(image).logits.softmax(1).detach()
        mine = context.network(torch.cat([batch["image"], image])).logits[len(image) :].softmax(1)
        rise = 0.3 * ramp(context.progress, 0.5)
        return {"consistency": rise * soft.mean_over(soft.squared(mine, theirs), inside)}


class TeacherLearns(MeanTeacher):
    def losses(self, context: Context, batch: Any, output: Any) -> Any:
        self.teacher.requires_grad_(True)
        theirs = self.teacher(batch["unlabelled"]).logits.softmax(1)
        with self._statistics.unlabelled(context.network):
            mine = context.network(batch["unlabelled"]).logits.softmax(1)
        rise = 0.3 * ramp(context.progress, 0.5)
        return {"consistency": rise * soft.mean_over(soft.squared(mine, theirs), batch["inside"])}


def test_consistency_is_its_formula_and_mixes_no_statistics() -> None:
    check_consistency(MeanTeacher)
    for sabotage in (Together, TeacherLearns):
        with pytest.raises(AssertionError):
            check_consistency(sabotage)


def test_uncertain_voxels_are_left_out() -> None:
    strategy = MeanTeacher(MeanTeacherOptions(threshold=True, passes=2, noise=0.0))
    context, data = ready(strategy, progress=0.0), batch()
    with torch.no_grad():
        for head in strategy.teacher.heads:
            head.weight.zero_()
            head.bias.zero_()  # evens everywhere: nothing is certain
    assert float(strategy.losses(context, data, context.network(data["image"]))["consistency"]) == 0
    with torch.no_grad():
        strategy.teacher.heads[0].bias[0] = 9.0
    assert float(strategy.losses(context, data, context.network(data["image"]))["consistency"]) > 0


def test_what_is_kept_is_stated() -> None:
    for keep in ("teacher", "student"):
        strategy = MeanTeacher(MeanTeacherOptions(keep=keep))
        context = ready(strategy)
        strategy.teacher.load_state_dict(other(6).state_dict())
        kept = Stack([strategy]).export(context, context.network)
        wanted = strategy.teacher if keep == "teacher" else context.network
        assert all(torch.equal(a, b) for a, b in zip(kept.parameters(), wanted.parameters(), strict=True))
        assert kept is not strategy.teacher, "what is kept may be masked or merged; the teacher goes on"


@pytest.mark.parametrize("follows", ["labelled", "unlabelled"])
def test_statistics_follow_one_kind_of_scans(follows: str) -> None:
    net, data, statistics = network().train(), batch(), Statistics(follows)
    alone = deepcopy(net)
    statistics.hold(net)
    net(data["image"])
    with statistics.unlabelled(net):
        net(data["unlabelled"])
    statistics.release()
    alone(data["image" if follows == "labelled" else "unlabelled"])
    torch.testing.assert_close(net.encoder.stem_norm.running_mean, alone.encoder.stem_norm.running_mean)
    torch.testing.assert_close(net.encoder.stem_norm.running_var, alone.encoder.stem_norm.running_var)
    assert all(m.momentum == 0.1 for m in net.modules() if isinstance(m, nn.BatchNorm2d))


def test_statistics_follow_one_kind_of_scans_where_two_strategies_ask_for_it() -> None:
    """In the first step, once, and in every later one as well."""
    net, data = network().train(), batch()
    alone = deepcopy(net)
    two = Statistics("unlabelled"), Statistics("unlabelled")
    for _ in range(3):
        for one in two:
            one.hold(net)
        net(data["image"])
        for one in two:
            with one.unlabelled(net):
                net(data["unlabelled"])
        for one in two:
            one.release()
        alone(data["unlabelled"])
        assert all(m.momentum == 0.1 for m in net.modules() if isinstance(m, nn.BatchNorm2d))
    torch.testing.assert_close(net.encoder.stem_norm.running_mean, alone.encoder.stem_norm.running_mean)
    torch.testing.assert_close(net.encoder.stem_norm.running_var, alone.encoder.stem_norm.running_var)


# ------------------------------------------------------------------------------------------------------- co-training


def check_mutual(kind: type[CoTraining], form: str) -> None:
    strategy = kind(CoTrainingOptions(form=form))
    context, data = ready(strategy), batch()
    peer = context.extra["peer"]
    assert not torch.equal(peer.encoder.stem.weight, context.network.encoder.stem.weight), "different starts"
    names = {"mutual": ("from_peer", "to_peer"), "pseudo": ("pseudo_from_peer", "pseudo_to_peer")}[form]
    for name, learner, giver in ((names[0], context.network, peer), (names[1], peer, context.network)):
        learner.zero_grad()
        giver.zero_grad()
        strategy.losses(context, data, context.network(data["image"]))[name].backward()
        assert all(p.grad is None or not p.grad.any() for p in giver.parameters()), f"{name} reaches its giver"
        assert learner.encoder.stem.weight.grad.any()
    context.extra["peer"].zero_grad()
    strategy.losses(context, data, context.network(data["image"]))["peer_segmentation"].backward()
    assert peer.encoder.stem.weight.grad.any()
    assert Stack([strategy]).export(context, context.network) is context.network


class Leaks(CoTraining):
    def losses(self, context: Context, batch: Any, output: Any) -> Any:
        terms = dict(super().losses(context, batch, output))
        theirs = context.extra["peer"](batch["image"]).logits
        terms["from_peer"] = (output.logits.softmax(1) - theirs.softmax(1)).square().mean()
        terms["pseudo_from_peer"] = terms["from_peer"]
        return terms


class Twins(CoTraining):
    def prepare(self, context: Context) -> Any:
        return {"peer": deepcopy(context.network)}


def test_two_equal_networks_are_refused() -> None:
    """Where all initial weights are given, what the second draws is overwritten."""
    net = network()
    names = frozenset(name for name, _ in net.named_parameters())
    with pytest.raises(TrainingError, match="would begin with two equal networks"):
        CoTraining(CoTrainingOptions()).prepare(Context(net, names, plan=plan(), another=other))
    CoTraining(CoTrainingOptions()).prepare(Context(net, names - {"heads.0.weight"}, plan=plan(), another=other))


@pytest.mark.parametrize("form", ["mutual", "pseudo"])
def test_each_direction_leaves_its_giver_alone(form: str) -> None:
    check_mutual(CoTraining, form)
    for sabotage in (Leaks, Twins):
        with pytest.raises(AssertionError):
            check_mutual(sabotage, form)
    with pytest.raises(TrainingError, match="can make a second network"):
        CoTraining(CoTrainingOptions()).prepare(Context(network()))


def test_mutual_terms_are_their_formulas() -> None:
    strategy = CoTraining(CoTrainingOptions(temperature=2.0, weight=0.7))
    context, data = ready(strategy), batch()
    for module in (context.network, context.extra["peer"]):
        module.eval()
    output = context.network(data["image"])
    terms, theirs = strategy.losses(context, data, output), context.extra["peer"](data["image"])
    torch.testing.assert_close(terms["from_peer"], 0.7 * soft.divergence(output.logits, theirs.logits, 2.0, False))
    torch.testing.assert_close(terms["to_peer"], 0.7 * soft.divergence(theirs.logits, output.logits, 2.0, False))
    torch.testing.assert_close(terms["peer_segmentation"], functional.cross_entropy(theirs.logits, data["coded"]))
    assert mutual.PEER in context.extra


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
    check_uncertainty(weighing.Uncertainties)

    class NoPrice(weighing.Uncertainties):
        def forward(self, terms: Any) -> Tensor:
            return super().forward(terms) - 0.25 * self.log_variance.sum()

    with pytest.raises(AssertionError):
        check_uncertainty(NoPrice)


def check_rates(kind: type[weighing.Rates]) -> None:
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
    check_rates(weighing.Rates)

    class Upside(weighing.Rates):
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
    check_projection(weighing.without_conflicts)
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
