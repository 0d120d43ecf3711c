"""Strategies with a second network: distillation, mean teacher, co-training."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

import pytest
import torch
from teaching_contexts import batch, other, ready
from torch import nn
from torch.nn import functional

from strategy_jobs import plan
from strategy_trainer import network, state
from voxgraft.errors import TrainingError
from voxgraft.transfer.stack import Stack
from voxgraft.transfer.strategy import Context
from voxgraft_plugins.teaching import mutual, soft
from voxgraft_plugins.teaching.averaging import MeanTeacher
from voxgraft_plugins.teaching.distil import Distil, complain_of_difference, rescaled
from voxgraft_plugins.teaching.mutual import CoTraining
from voxgraft_plugins.teaching.options import (
    CoTrainingOptions,
    DistilOptions,
    MeanTeacherOptions,
)
from voxgraft_plugins.teaching.own import Statistics, ramp

pytestmark = pytest.mark.usefixtures("one_thread")


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
