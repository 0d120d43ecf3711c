"""Tests of the strategies, each shown to fail on sabotaged versions: a test that passes on those proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from strategy_trainer import Make, Trainer, batches, moved, network, state
from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.errors import TrainingError
from voxgraft.networks.network import build_network
from voxgraft.transfer.strategy import Context, Row, TransferStrategy
from voxgraft_plugins.transfer.delta import Delta
from voxgraft_plugins.transfer.lora import Lora
from voxgraft_plugins.transfer.options import (
    BnOnlyOptions,
    DeltaOptions,
    FineTuneOptions,
    FreezeOptions,
    GradualOptions,
    LayerDecayOptions,
    LoraOptions,
    LpFtOptions,
)
from voxgraft_plugins.transfer.stages import stage_of
from voxgraft_plugins.transfer.strategies import BnOnly, FineTune, Freeze, LayerDecay
from voxgraft_plugins.transfer.unfreezing import Gradual, LpFt

pytestmark = pytest.mark.usefixtures("one_thread")


# ---------------------------------------------------------------------------------------------- what freezing means


def check_frozen_values(make: Make) -> None:
    """Weights and statistics of the encoder stay bit-identical, also under weight decay; the rest learns."""
    trainer = Trainer(network(), make())
    before = state(trainer.net)
    trainer.fit(3, 3)
    names = moved(before, trainer.net)
    assert not {name for name in names if name.startswith("encoder.")}
    assert {"heads.0.weight", "decoder.norm.weight", "decoder.norm.running_mean"} <= names


def check_frozen_behaviour(make: Make) -> None:
    """The encoder gives in training what it gives in prediction."""
    trainer = Trainer(network(), make()).fit(1, 1)
    image = batches(1)[0][0]
    with torch.no_grad():
        trainer.mode()
        training = trainer.net.encoder(image)
        trainer.net.eval()
        prediction = trainer.net.encoder(image)
    assert all(torch.equal(a, b) for a, b in zip(training, prediction, strict=True))


def check_thaw(make: Make) -> None:
    """Frozen for the first half; then weights and statistics move, and batch statistics and dropout are used."""
    trainer = Trainer(network(), make())
    before = state(trainer.net, "encoder.")
    trainer.fit(2, 4)
    assert not moved(before, trainer.net)
    trainer.fit(2, 4, first=2)
    learnt = {name for name, _ in trainer.net.named_parameters() if name.startswith("encoder.")}
    shared = {"encoder.stem.bias", "encoder.middle.0.bias", "encoder.deep.conv.bias"}  # BatchNorm takes them out again
    names = moved(before, trainer.net)
    assert learnt - shared <= names
    assert {"encoder.stem_norm.running_mean", "encoder.deep.norm.running_var"} <= names
    assert all(module.training for module in trainer.net.encoder.modules())


def freeze(**options: Any) -> Make:
    return lambda: Freeze(FreezeOptions(**options))


class WithoutEvaluation(Freeze):
    def train_mode(self, context: Context) -> None: ...


class WithoutStatistics(Freeze):
    """As Lightning's freeze_module does: buffers stay, but training normalises by the batch."""

    def prepare(self, context: Context) -> Mapping[str, nn.Module]:
        for module in context.network.encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.track_running_stats = False
        return super().prepare(context)

    def train_mode(self, context: Context) -> None: ...


class OnlyNorms(Freeze):
    """BatchNorm is held, dropout is not."""

    def train_mode(self, context: Context) -> None:
        for module in context.network.encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


class TinyRate(TransferStrategy):
    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        return [row.but(lr=1e-9) if row.name.startswith("encoder.") else row for row in rows]

    def train_mode(self, context: Context) -> None:
        context.network.encoder.eval()


class Everything(Freeze):
    def _is_frozen(self, name: str, context: Context) -> bool:
        return True


class ForgetsModes(Freeze):
    """Thaws the weights, and leaves the encoder in evaluation mode."""

    def train_mode(self, context: Context) -> None:
        context.network.encoder.eval()


def test_frozen_values_do_not_move() -> None:
    check_frozen_values(freeze())
    check_frozen_values(freeze(stages=3))
    check_frozen_values(freeze(until="100%"))


@pytest.mark.parametrize("sabotage", [WithoutEvaluation, Everything])
def test_the_law_of_values_sees_sabotage(sabotage: type[Freeze]) -> None:
    with pytest.raises((AssertionError, RuntimeError)):
        check_frozen_values(lambda: sabotage(FreezeOptions()))


@pytest.mark.parametrize("sabotage", [TinyRate, TransferStrategy])
def test_the_law_of_values_sees_what_does_not_freeze(sabotage: type[TransferStrategy]) -> None:
    with pytest.raises(AssertionError):
        check_frozen_values(sabotage)


def test_what_is_frozen_behaves_as_in_prediction() -> None:
    check_frozen_behaviour(freeze())
    check_frozen_behaviour(freeze(until=1.0))


@pytest.mark.parametrize("sabotage", [WithoutEvaluation, WithoutStatistics, OnlyNorms])
def test_the_law_of_behaviour_sees_sabotage(sabotage: type[Freeze]) -> None:
    with pytest.raises(AssertionError):
        check_frozen_behaviour(lambda: sabotage(FreezeOptions()))


def test_the_law_of_values_alone_would_not_do() -> None:
    """Switching statistics off keeps every value and still trains on features that prediction never sees."""
    check_frozen_values(lambda: WithoutStatistics(FreezeOptions()))


def test_freezing_ends_when_it_should() -> None:
    check_thaw(freeze(until="50%"))
    check_thaw(freeze(until=0.5, stages=3))


@pytest.mark.parametrize(
    "sabotage", [freeze(), freeze(until="100%"), TransferStrategy, lambda: ForgetsModes(FreezeOptions(until=0.5))]
)
def test_the_law_of_thawing_sees_sabotage(sabotage: Make) -> None:
    with pytest.raises(AssertionError):
        check_thaw(sabotage)


def test_shallow_stages_alone_can_be_frozen() -> None:
    trainer = Trainer(network(), Freeze(FreezeOptions(stages=2)))
    before = state(trainer.net, "encoder.")
    trainer.fit(3, 3)
    names = moved(before, trainer.net)
    assert names
    assert all(name.startswith("encoder.deep.") for name in names)
    trainer.mode()
    assert not trainer.net.encoder.middle[3].training
    assert trainer.net.encoder.deep["norm"].training


def test_a_frozen_parameter_has_no_gradient_and_keeps_its_place_in_the_optimiser() -> None:
    trainer = Trainer(network(), Freeze(FreezeOptions(until="50%")))
    registered = {name for group in trainer.optimiser.param_groups for name in group["names"]}
    assert registered == {name for name, _ in trainer.net.named_parameters()}
    trainer.fit(1, 4)
    assert all(parameter.grad is None for parameter in trainer.net.encoder.parameters())
    assert all(trainer.rows[name].train for name in registered), "it is trained later: the table says so"
    assert not any(
        row.train
        for name, row in Trainer(network(), Freeze(FreezeOptions())).rows.items()
        if name.startswith("encoder.")
    )


@pytest.mark.parametrize("first", [1, 2, 3])
def test_a_resumed_training_freezes_and_thaws_alike(first: int) -> None:
    """The strategy keeps nothing: what it does follows from the progress."""
    straight = Trainer(network(), Freeze(FreezeOptions(until="50%")), use="sgd").fit(4, 4)
    broken = Trainer(network(), Freeze(FreezeOptions(until="50%")), use="sgd").fit(first, 4)
    torch.manual_seed(0)
    resumed = Trainer(network(), Freeze(FreezeOptions(until="50%")), use="sgd")
    resumed.net.load_state_dict(broken.net.state_dict())
    resumed.optimiser.load_state_dict(broken.optimiser.state_dict())
    resumed.stack.load_state_dict(broken.stack.state_dict())
    before = state(resumed.net, "encoder.")
    resumed.fit(1, 4, first=first)
    assert bool(moved(before, resumed.net)) == (first >= 2)
    assert bool(moved(before, straight.net))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_thawing_leaves_alone_what_another_strategy_holds(order: tuple[int, int]) -> None:
    pair = (Freeze(FreezeOptions(until="50%")), FineTune(FineTuneOptions(from_stage=2)))
    trainer = Trainer(network(), *(pair[place] for place in order))
    before = state(trainer.net, "encoder.")
    trainer.fit(2, 4)
    assert not moved(before, trainer.net)
    trainer.fit(2, 4, first=2)
    names = moved(before, trainer.net)
    assert "encoder.deep.conv.weight" in names
    assert all(name.startswith("encoder.deep.") for name in names)


# ------------------------------------------------------------------------------------------------- learning rates


def check_rates(make: Make, decay: float = 0.75) -> None:
    """lr * decay ** (3 - stage) in the table; lr for the decoder and the head."""
    trainer = Trainer(network(), make(), lr=1e-3)
    assert set(trainer.rows) == {name for name, _ in trainer.net.named_parameters()}
    stage = {"stem": 0, "stem_norm": 0, "middle": 1, "deep": 2}
    for name, row in trainer.rows.items():
        part = name.split(".")
        wanted = 1e-3 * decay ** (3 - stage[part[1]]) if part[0] == "encoder" else 1e-3
        assert abs(row.lr - wanted) < 1e-12, name
    groups = {name: group["lr"] for group in trainer.optimiser.param_groups for name in group["names"]}
    assert groups == {name: row.lr for name, row in trainer.rows.items()}


def check_realised_rates(make: Make, decay: float = 0.75) -> None:
    """What plain gradient descent really does in its first step."""
    net = network()
    trainer = Trainer(net, make(), lr=1e-3, weight_decay=0.0, use="sgd", momentum=0.0)
    before = state(net)
    trainer.fit(1, 1)
    parameters = dict(net.named_parameters())
    for name, steps in {"encoder.stem.weight": 3, "encoder.middle.0.weight": 2, "encoder.deep.conv.weight": 1}.items():
        parameter = parameters[name]
        rate = float((before[name] - parameter.detach()).norm() / parameter.grad.norm())
        assert rate == pytest.approx(1e-3 * decay**steps, rel=2e-3), name


def decays(decay: float) -> Make:
    return lambda: LayerDecay(LayerDecayOptions(decay=decay))


class ScalesNobodyReads(LayerDecay):
    """As timm's groups: the scale of each layer is written down, and plain optimisers do not look at it."""

    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        self.scales = {row.name: row.lr for row in super().edit(rows, context)}
        return list(rows)


class OneLayer(LayerDecay):
    """All of the encoder counts as one layer, as where nobody says what its layers are."""

    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        return [row.but(lr=row.lr * 0.75) if row.name.startswith("encoder.") else row for row in rows]


@pytest.mark.parametrize("check", [check_rates, check_realised_rates])
def test_rates_fall_with_the_distance_from_the_decoder(check: Callable[[Make], None]) -> None:
    check(decays(0.75))
    sabotaged = [lambda kind=kind: kind(LayerDecayOptions(decay=0.75)) for kind in (ScalesNobodyReads, OneLayer)]
    for wrong in (*sabotaged, TransferStrategy, decays(1.0), decays(0.5), lambda: FineTune(FineTuneOptions())):
        with pytest.raises(AssertionError):
            check(wrong)


def test_parameters_that_were_not_pretrained_learn_at_the_full_rate() -> None:
    for strategy in (LayerDecay(LayerDecayOptions()), FineTune(FineTuneOptions())):
        trainer = Trainer(network(), strategy, lr=1e-3, pretrained=frozenset({"encoder.stem.weight"}))
        slow = {name for name, row in trainer.rows.items() if row.lr < 1e-3}
        assert slow == {"encoder.stem.weight"}


def fine_tune(kind: type[FineTune] = FineTune, **options: Any) -> Make:
    return lambda: kind(FineTuneOptions(**options))


def check_fine_tune(make: Make) -> None:
    """A tenth of the rate for the encoder, whose first stage neither learns nor behaves as in training; the table says
    so, and plain gradient descent does it."""
    trainer = Trainer(network(), make(), lr=1e-3, weight_decay=0.0, use="sgd", momentum=0.0)
    held = {"encoder.stem.weight", "encoder.stem.bias", "encoder.stem_norm.weight", "encoder.stem_norm.bias"}
    assert {name for name, row in trainer.rows.items() if not row.train} == held
    for name, row in trainer.rows.items():
        if name not in held:
            assert row.lr == pytest.approx(1e-4 if name.startswith("encoder.") else 1e-3)
    before = state(trainer.net)
    trainer.fit(1, 1)
    names = moved(before, trainer.net)
    assert {"encoder.middle.0.weight", "encoder.middle.1.running_mean"} <= names
    assert not {name for name in names if name.startswith("encoder.stem")}
    parameters = dict(trainer.net.named_parameters())
    for name, rate in {"encoder.deep.conv.weight": 1e-4, "heads.0.weight": 1e-3}.items():
        step = (before[name] - parameters[name].detach()).norm() / parameters[name].grad.norm()
        assert float(step) == pytest.approx(rate, rel=2e-3), name


class SlowsEverything(FineTune):
    """The new part learns slowly as well."""

    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        return [row.but(lr=1e-4) if row.train else row for row in super().edit(rows, context)]


class HoldsWeightsOnly(FineTune):
    """Statistics of the stages that are held follow the new images."""

    def train_mode(self, context: Context) -> None: ...


class SaysOnly(FineTune):
    """The table is right, and what is done is not."""

    def after_step(self, context: Context) -> None:
        with torch.no_grad():
            for name, parameter in context.network.named_parameters():
                if name.startswith("encoder.") and parameter.grad is not None:
                    parameter.sub_(parameter.grad, alpha=9e-4)


def test_fine_tuning_slows_the_encoder_and_holds_shallow_stages() -> None:
    options = {"encoder_lr": 0.1, "from_stage": 1}
    check_fine_tune(fine_tune(**options))
    for sabotage in (SlowsEverything, HoldsWeightsOnly, SaysOnly):
        with pytest.raises(AssertionError):
            check_fine_tune(fine_tune(sabotage, **options))
    for wrong in (fine_tune(encoder_lr=0.1), fine_tune(encoder_lr=0.2, from_stage=1), TransferStrategy):
        with pytest.raises(AssertionError):
            check_fine_tune(wrong)


def test_keep_norm_holds_statistics_and_lets_weights_learn() -> None:
    for keep in (True, False):
        trainer = Trainer(network(), FineTune(FineTuneOptions(keep_norm=keep)))
        before = state(trainer.net)
        trainer.fit(2, 2)
        names = moved(before, trainer.net)
        statistics = {name for name in before if name.startswith("encoder.") and "running" in name}
        assert names & statistics == (set() if keep else statistics)
        assert {"encoder.stem.weight", "encoder.stem_norm.weight", "decoder.norm.running_mean"} <= names


def test_strategies_stack() -> None:
    stack = (
        Freeze(FreezeOptions(until="50%")),
        LayerDecay(LayerDecayOptions()),
        FineTune(FineTuneOptions(encoder_lr=0.5)),
    )
    trainer = Trainer(network(), *stack, lr=1e-3)
    assert trainer.rows["encoder.stem.weight"].lr == pytest.approx(1e-3 * 0.75**3 * 0.5)
    assert trainer.rows["heads.0.weight"].lr == 1e-3
    assert trainer.stack.needs == {"pretrained"}
    trainer.fit(4, 4)


# --------------------------------------------------------------------------------------- with the real components


def test_real_pretrained_encoders_obey_the_laws(catalogue: Catalogue) -> None:
    for use, dims in (("efficientnet-lite0", 2), ("deepbet", 3)):
        net = build_network(
            choose(catalogue, "encoder", {"use": use}).build(),
            choose(catalogue, "decoder", {"use": "unet"}).build(),
            dims=dims,
            channels=1,
            classes=2,
            strides=[],
        )
        freezing = choose(catalogue, "strategy", {"use": "freeze", "until": "20%"}).build()
        decay = choose(catalogue, "strategy", {"use": "layer-decay", "decay": 0.75}).build()
        trainer = Trainer(net, freezing, decay, lr=1e-3)
        for name, row in trainer.rows.items():
            assert (row.lr < 1e-3) == name.startswith("encoder."), name
        assert min(row.lr for row in trainer.rows.values()) == pytest.approx(1e-3 * 0.75**5)
        image = torch.randn(2, 1, *(32, 32, 32)[:dims])
        trainer.stack.before_step(trainer.context)
        trainer.mode()
        assert not any(parameter.requires_grad for parameter in net.encoder.parameters())
        with torch.no_grad():
            training = net.encoder(image)
            prediction = net.eval().encoder(image)
        assert all(torch.equal(a, b) for a, b in zip(training, prediction, strict=True))


def test_a_built_strategy_is_made_anew_for_each_training(catalogue: Catalogue) -> None:
    for use in ("freeze", "fine-tune", "layer-decay"):
        chosen = choose(catalogue, "strategy", {"use": use})
        assert chosen.component.needs == {"pretrained"} == chosen.build().needs
        built = chosen.build()
        assert chosen.build() is not built


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        (Freeze(FreezeOptions(stages=4)), "freeze.stages is 4, but the encoder has 3 stages"),
        (FineTune(FineTuneOptions(from_stage=9)), "fine-tune.from_stage is 9, but the encoder has 3 stages"),
    ],
)
def test_stages_that_are_not_there_are_refused(strategy: TransferStrategy, said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        Trainer(network(), strategy)


def test_a_stage_is_no_other_whose_name_begins_alike() -> None:
    stages = [["encoder.layer1"], ["encoder.layer10", "encoder.token"]]
    assert stage_of("encoder.layer1.weight", stages) == 0
    assert stage_of("encoder.layer10.weight", stages) == 1
    assert stage_of("encoder.token", stages) == 1
    assert stage_of("encoder.forgotten.weight", stages) == 1
    assert stage_of("decoder.layer1.weight", stages) is None
    assert stage_of("encoders.weight", stages) is None


def test_an_encoder_without_stages_is_refused() -> None:
    net = network()
    net.encoder.stages = []
    with pytest.raises(TrainingError, match="the encoder Stages does not name its stages"):
        Trainer(net, LayerDecay(LayerDecayOptions()))


@pytest.mark.parametrize("value", ["20", "0%", "150%", "half", "nan%", 0, 20, -0.1, True, [0.2]])
def test_a_share_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError, match=r"not a share of the budget: write it as '20%' or 0\.2"):
        FreezeOptions(until=value)


def test_a_share_may_be_written_either_way() -> None:
    assert FreezeOptions(until=" 20% ").until == pytest.approx(0.2) == FreezeOptions(until=0.2).until
    written = FreezeOptions(until="12.5%", stages=2)
    assert FreezeOptions.model_validate(written.model_dump(mode="json")) == written


@pytest.mark.parametrize(
    "strategy",
    [
        Freeze(FreezeOptions()),
        Freeze(FreezeOptions(stages=2)),
        FineTune(FineTuneOptions(from_stage=2)),
        LpFt(LpFtOptions(probe=0.9)),
        Gradual(GradualOptions(at=(0.9,))),
    ],
    ids=lambda one: one.name,
)
def test_what_was_not_loaded_is_not_held_at_random_values(strategy: TransferStrategy) -> None:
    """Such as the pyramid of a plain ViT, which stands in the encoder and is in no file of weights."""
    net = network()
    before = state(net)
    new = {f"encoder.middle.{name}" for name, _ in net.encoder.middle.named_parameters()}
    loaded = frozenset(name for name in before if name.startswith("encoder.")) - new
    trainer = Trainer(net, strategy, pretrained=loaded).fit(2, 4)
    gone = moved(before, net)
    assert new <= gone and "encoder.middle.1.running_mean" in gone, "its norm follows what it is given"
    assert not {name for name in gone if name.startswith(("encoder.stem.", "encoder.stem_norm."))}
    assert all(trainer.rows[name].train for name in new)


@pytest.mark.parametrize(
    "strategy",
    [
        Freeze(FreezeOptions()),
        Freeze(FreezeOptions(stages=2)),
        FineTune(FineTuneOptions(from_stage=2)),
        FineTune(FineTuneOptions(keep_norm=True)),
        LpFt(LpFtOptions(probe=0.9)),
        Gradual(GradualOptions(at=(0.9,))),
        BnOnly(BnOnlyOptions(statistics="keep")),
        Lora(LoraOptions()),
    ],
    ids=lambda one: f"{one.name}",
)
def test_statistics_that_were_not_loaded_follow_the_images(strategy: TransferStrategy) -> None:
    """Held at mean 0 and variance 1 they would spoil all maps; of weights that hold them they stay."""
    for held in (False, True):
        net = network()
        before = state(net)
        loaded = frozenset(n for n in before if n.startswith("encoder.") and (held or "running" not in n))
        Trainer(net, strategy, pretrained=loaded).fit(2, 4)
        after = net.state_dict()
        names = ("encoder.stem_norm.running_mean", "encoder.stem_norm.running_var")
        assert [torch.equal(before[name], after[name]) for name in names] == [held, held]


def test_strategies_that_need_statistics_refuse_weights_without_them() -> None:
    net = network()
    bare = frozenset(name for name, _ in net.named_parameters() if name.startswith("encoder."))
    for strategy in (Freeze(FreezeOptions(cache=True)), Delta(DeltaOptions())):
        with pytest.raises(TrainingError, match="statistics"):
            strategy.prepare(Context(net, bare))


def test_maps_that_learn_are_not_kept() -> None:
    net = network()
    with pytest.raises(TrainingError, match="10 of its parameters are not in the weights and learn"):
        Freeze(FreezeOptions(cache=True)).prepare(Context(net, frozenset({"encoder.stem.weight", "encoder.stem.bias"})))
