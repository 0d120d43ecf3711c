"""Tests of lp-ft, gradual and bn-only, each shown to fail on sabotaged versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from strategy_trainer import Make, Trainer, batches, moved, network, state
from voxgraft.errors import TrainingError
from voxgraft.transfer.strategy import Context, Row, TransferStrategy
from voxgraft_plugins.transfer.options import BnOnlyOptions, FreezeOptions, GradualOptions, LpFtOptions
from voxgraft_plugins.transfer.stages import modules_in
from voxgraft_plugins.transfer.strategies import BnOnly, Freeze
from voxgraft_plugins.transfer.unfreezing import Gradual, LpFt

AFTER_NORM = {"encoder.stem.bias", "encoder.middle.0.bias", "encoder.deep.conv.bias"}
"""BatchNorm takes these out again: they have no gradient to speak of."""

pytestmark = pytest.mark.usefixtures("one_thread")


# ------------------------------------------------------------------------------------------------------------ lp-ft


def lp_ft(**options: Any) -> Make:
    return lambda: LpFt(LpFtOptions(**options))


def check_lp_ft(make: Make) -> None:
    """Frozen for the first half, all of it learns in the second; the schedule is gone through once in each."""
    trainer = Trainer(network(), make())
    for progress, wanted in {0.0: 0.0, 0.25: 0.5, 0.499999: 1.0, 0.5: 0.0, 0.75: 0.5, 1.0: 1.0}.items():
        assert trainer.stack.schedule(progress) == pytest.approx(wanted, abs=1e-5)
    before = state(trainer.net, "encoder.")
    trainer.fit(2, 4)
    assert not moved(before, trainer.net)
    assert not any(module.training for module in trainer.net.encoder.modules() if not isinstance(module, nn.ModuleDict))
    trainer.fit(2, 4, first=2)
    assert before.keys() - AFTER_NORM <= moved(before, trainer.net) | AFTER_NORM
    assert {"encoder.stem.weight", "encoder.stem_norm.running_mean"} <= moved(before, trainer.net)


class OneSchedule(LpFt):
    """The rate goes on falling after the probe, so that the encoder is tuned with what is left of it."""

    def schedule(self, progress: float) -> float:
        return progress


class RestartsOnly(LpFt):
    def before_step(self, context: Context) -> None: ...


def test_a_linear_probe_is_followed_by_tuning_with_a_schedule_of_its_own() -> None:
    check_lp_ft(lp_ft(probe="50%"))
    for sabotage in (lambda: OneSchedule(LpFtOptions(probe=0.5)), lambda: RestartsOnly(LpFtOptions(probe=0.5))):
        with pytest.raises(AssertionError):
            check_lp_ft(sabotage)
    with pytest.raises(AssertionError):
        check_lp_ft(lambda: Freeze(FreezeOptions(until=0.5)))


def test_after_the_probe_pretrained_parameters_learn_at_their_share_of_the_rate() -> None:
    rows = Trainer(network(), LpFt(LpFtOptions(encoder_lr=0.1)), lr=1e-2).rows
    assert all(row.lr == pytest.approx(1e-3) for name, row in rows.items() if name.startswith("encoder."))
    assert {row.lr for name, row in rows.items() if not name.startswith("encoder.")} == {1e-2}


def test_a_probe_for_the_whole_budget_is_refused() -> None:
    with pytest.raises(ValidationError, match="less than 1"):
        LpFtOptions(probe="100%")


# ---------------------------------------------------------------------------------------------------------- gradual


def gradual(**options: Any) -> Make:
    return lambda: Gradual(GradualOptions(**options))


STAGES = (("encoder.stem",), ("encoder.middle",), ("encoder.deep",))


def check_gradual(make: Make) -> None:
    """In each step exactly the stages whose time has come move, weights and statistics, the deepest first; the others
    compute as in prediction; each parameter is registered once, and the optimiser counts the steps it really did."""
    trainer = Trainer(network(), make())
    names = [name for group in trainer.optimiser.param_groups for name in group["names"]]
    assert len(names) == len(set(names)) == len(list(trainer.net.named_parameters()))
    for step, learning in enumerate((0, 1, 2, 3)):
        before = state(trainer.net, "encoder.")
        trainer.fit(1, 4, first=step)
        changed = moved(before, trainer.net) - AFTER_NORM
        due = tuple(prefix for stage in STAGES[3 - learning :] for prefix in stage)
        wanted = {name for name in before if name.startswith(due)} - AFTER_NORM
        assert changed == wanted, step
        assert trainer.net.encoder.middle[3].training == (learning >= 2), "dropout of a waiting stage is off"
    counted = {
        name: int(trainer.optimiser.state[parameter]["step"]) for name, parameter in trainer.net.named_parameters()
    }
    assert counted["heads.0.weight"] == 4
    assert [counted[f"encoder.{name}.weight"] for name in ("stem", "middle.0", "deep.conv")] == [1, 2, 3]


class ShallowFirst(Gradual):
    def prepare(self, context: Context) -> Mapping[str, nn.Module]:
        super().prepare(context)
        self._due.reverse()
        return {}


class OnlyGradients(Gradual):
    """Statistics and dropout of waiting stages are forgotten."""

    def train_mode(self, context: Context) -> None: ...


class ByRate(Gradual):
    """Weights that wait get a rate of nearly nothing."""

    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        return [row.but(lr=1e-12) if row.name.startswith("encoder.stem") else row for row in rows]

    def before_step(self, context: Context) -> None: ...


def test_stages_are_unfrozen_one_after_another_from_the_deepest() -> None:
    check_gradual(gradual(at=("25%", "50%", "75%")))
    check_gradual(gradual(start=0.25, end=0.75))
    options = GradualOptions(start=0.25, end=0.75)
    for sabotage in (ShallowFirst, OnlyGradients, ByRate):
        with pytest.raises(AssertionError):
            check_gradual(lambda sabotage=sabotage: sabotage(options))
    with pytest.raises(AssertionError):
        check_gradual(gradual(start=0.25, end=0.25))


def test_stages_without_a_moment_stay_frozen() -> None:
    trainer = Trainer(network(), Gradual(GradualOptions(at=(0.0,))))
    frozen = {name for name, row in trainer.rows.items() if not row.train}
    assert frozen == {name for name in trainer.rows if name.startswith(("encoder.stem", "encoder.middle"))}
    before = state(trainer.net)
    trainer.fit(3, 3)
    assert {"encoder.deep.conv.weight", "encoder.deep.norm.running_mean"} <= moved(before, trainer.net)
    assert not frozen & moved(before, trainer.net)


def test_moments_that_make_no_sense_are_refused() -> None:
    for options in ({"at": (0.5, 0.2)}, {"at": ()}, {"start": 0.6, "end": 0.5}):
        with pytest.raises(ValidationError, match="rising order"):
            GradualOptions.model_validate(options)
    with pytest.raises(ValidationError, match="not a moment of the budget"):
        GradualOptions(at=("100%",))
    with pytest.raises(TrainingError, match=r"gradual\.at has 4 shares, the encoder has 3 stages"):
        Trainer(network(), Gradual(GradualOptions(at=(0.1, 0.2, 0.3, 0.4))))


# ---------------------------------------------------------------------------------------------------------- bn-only


def bn_only(**options: Any) -> Make:
    return lambda: BnOnly(BnOnlyOptions(**options))


NORM_PARTS = ("encoder.stem_norm.", "encoder.middle.1.", "encoder.deep.norm.")


def check_bn_only(make: Make, adapt: bool = True) -> None:
    """Of the encoder exactly scales and shifts of BatchNorm move, and its statistics where they are to follow; nothing
    in it is drawn at random; the table says so, and counts two numbers for each channel."""
    trainer = Trainer(network(), make())
    trained = {name for name, row in trainer.rows.items() if row.train and name.startswith("encoder.")}
    assert sum(dict(trainer.net.named_parameters())[name].numel() for name in trained) == 3 * 2 * 8
    before = state(trainer.net)
    trainer.fit(3, 3)
    encoder = {name for name in moved(before, trainer.net) if name.startswith("encoder.")}
    wanted = {name for name in before if name.startswith(NORM_PARTS)}
    assert encoder == (wanted if adapt else {name for name in wanted if name in trained})
    assert {"decoder.norm.running_mean", "heads.0.weight"} <= moved(before, trainer.net)
    trainer.mode()
    image = batches(1)[0][0]
    with torch.no_grad():
        one, other = trainer.net.encoder(image), trainer.net.encoder(image)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


class AlsoBiases(BnOnly):
    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        return [row.but(train=len(row.shape) == 1 or not row.name.startswith("encoder.")) for row in rows]


class KeepsDropout(BnOnly):
    def train_mode(self, context: Context) -> None: ...


def test_of_the_encoder_only_norms_learn() -> None:
    check_bn_only(bn_only())
    check_bn_only(bn_only(statistics="keep"), adapt=False)
    for sabotage in (AlsoBiases, KeepsDropout):
        with pytest.raises(AssertionError):
            check_bn_only(lambda sabotage=sabotage: sabotage(BnOnlyOptions()))
    for wrong in (TransferStrategy, lambda: Freeze(FreezeOptions()), bn_only(statistics="keep")):
        with pytest.raises(AssertionError):
            check_bn_only(wrong)


def test_an_encoder_without_norms_to_tune_is_refused() -> None:
    net = network()
    net.encoder.stem_norm = net.encoder.middle[1] = net.encoder.deep["norm"] = nn.InstanceNorm2d(8)
    with pytest.raises(TrainingError, match="bn-only finds no parameters of BatchNorm in the encoder Stages"):
        Trainer(net, BnOnly(BnOnlyOptions()))
    net.encoder.stem_norm = nn.GroupNorm(2, 8)
    with pytest.raises(TrainingError, match="bn-only"):
        Trainer(net, BnOnly(BnOnlyOptions()))
    rows = Trainer(net, BnOnly(BnOnlyOptions(norms="all"))).rows
    trained = {name for name, row in rows.items() if row.train and name.startswith("encoder.")}
    assert trained == {"encoder.stem_norm.weight", "encoder.stem_norm.bias"}


# ----------------------------------------------------------------------------------------------------------- stages


def test_a_module_is_in_a_stage_that_names_its_parameters_one_by_one() -> None:
    """A block with dropout whose parameters are named, not the block: its dropout is switched off with it."""
    net = network()
    prefixes = [f"encoder.middle.{name}" for name, _ in net.encoder.middle.named_parameters()]
    found = set(modules_in(net, prefixes))
    assert {net.encoder.middle, net.encoder.middle[1], net.encoder.middle[3]} <= found
    assert net.encoder.stem not in found and net.encoder not in found
    assert set(modules_in(net, ["encoder.middle."])) == found
