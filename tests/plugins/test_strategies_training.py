"""Strategies in the real training loop: resumed bit for bit, in parts of batches, under the running average, in stacks;
and the parameter table, which says what was done."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from pydantic import ValidationError
from torch import Tensor, nn

from strategy_jobs import job
from strategy_trainer import Stages, Sum, Trainer, batches, network
from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.errors import TrainingError
from voxgraft.networks.network import SegmentationNetwork
from voxgraft.training import loop
from voxgraft.transfer.stack import Stack
from voxgraft.transfer.strategy import Context, Row, TransferStrategy
from voxgraft_plugins.teaching import STRATEGIES as TEACHING
from voxgraft_plugins.transfer import STRATEGIES
from voxgraft_plugins.transfer.options import FreezeOptions, L2SPOptions
from voxgraft_plugins.transfer.start import L2SP
from voxgraft_plugins.transfer.strategies import Freeze

CPU = {"accelerator": "cpu", "devices": 1}

STACKS: dict[str, list[dict[str, Any]]] = {
    "freeze": [{"use": "freeze"}],
    "freeze until": [{"use": "freeze", "until": "50%"}],
    "freeze cache": [{"use": "freeze", "cache": True, "crops": 2}],
    "fine-tune": [{"use": "fine-tune", "from_stage": 1}],
    "lp-ft": [{"use": "lp-ft", "probe": "50%"}],
    "gradual": [{"use": "gradual", "at": ["25%", "50%", "75%"]}],
    "layer-decay": [{"use": "layer-decay"}],
    "bn-only": [{"use": "bn-only"}],
    "l2-sp": [{"use": "l2-sp"}],
    "l2-sp decoupled": [{"use": "l2-sp", "decoupled": True}],
    "delta": [{"use": "delta", "channels": "measured", "measure": "50%"}],
    "lora": [{"use": "lora"}],
    "clip": [{"use": "clip", "c": 1e-3}],
    "prune": [{"use": "prune", "at": "25%"}],
    "init": [{"use": "init"}],
    "three": [{"use": "gradual", "at": [0, "25%", "50%"]}, {"use": "layer-decay"}, {"use": "l2-sp"}],
    "tuned and pruned": [{"use": "lp-ft", "probe": "25%"}, {"use": "delta"}, {"use": "prune", "at": "25%"}],
    "adapted late": [{"use": "lora"}, {"use": "freeze", "until": "25%"}, {"use": "l2-sp"}, {"use": "init"}],
}

pytestmark = pytest.mark.usefixtures("one_thread")


def made(catalogue: Catalogue, name: str) -> list[TransferStrategy]:
    return [choose(catalogue, "strategy", dict(one)).build() for one in STACKS[name]]


def test_every_strategy_of_the_plugin_is_tried() -> None:
    tried = {one["use"] for stack in STACKS.values() for one in stack}
    assert tried | {"channel-dropout"} == {name for name, *_ in STRATEGIES}


def test_every_strategy_has_a_sabotaged_version(catalogue: Catalogue) -> None:
    """A test that no sabotage was held against proves nothing: some class of these tests spoils each strategy."""
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    offered = {name: strategy for name, _, strategy, *_ in (*STRATEGIES, *TEACHING)}
    assert set(offered) == {spec.name for _, spec in catalogue.of("strategy")}
    assert [name for name, strategy in offered.items() if f"({strategy}):\n" not in text] == []


class Killed(BaseException):
    """Stands for a signal that nothing catches."""


def check_resume(
    folder: Path, make: Callable[[], Sequence[TransferStrategy]], monkeypatch: pytest.MonkeyPatch, parts: int = 1
) -> None:
    """Two steps, a kill in the third, and on from the checkpoint: what is kept equals four steps straight, bit for
    bit."""
    real = loop._accumulate
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(
        loop,
        "_accumulate",
        lambda job, forward, optimiser, raw, micro, fabric: real(job, forward, optimiser, raw, parts, fabric),
    )

    def kill(net: SegmentationNetwork) -> dict[str, float]:
        raise Killed

    options: dict[str, Any] = {"validate_every": 0.75, "ema": 0.9, "optimiser": {"lr": 1e-2}}
    straight, _ = loop.fit(job(folder / "straight", make(), **options), Fabric(**CPU))
    with pytest.raises(Killed):
        loop.fit(job(folder / "killed", make(), kill, **options), Fabric(**CPU))
    torch.manual_seed(999)
    again = job(folder / "killed", make(), **options)
    seen: list[int] = []
    again.stack.after_step = _noting(again.stack.after_step, seen)  # type: ignore[method-assign]
    resumed, state = loop.fit(again, Fabric(**CPU))
    assert seen == [2, 3] and state.step == 4
    one, other = straight.state_dict(), resumed.state_dict()
    assert one.keys() == other.keys() == network().state_dict().keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def _noting(after_step: Callable[[Context], None], seen: list[int]) -> Callable[[Context], None]:
    def noted(context: Context) -> None:
        seen.append(context.step)
        after_step(context)

    return noted


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("name", list(STACKS))
def test_a_killed_training_ends_as_one_that_was_not(
    name: str, parts: int, catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_resume(tmp_path, lambda: made(catalogue, name), monkeypatch, parts)


class StartsFromHere(L2SP):
    """Takes where a resumed training is for its start."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any) -> None: ...

    def before_step(self, context: Context) -> None:
        if not getattr(self, "_seen", False):
            self.prepare(context)
        self._seen = True


class Counts(TransferStrategy):
    """A ramp by a counter of its own, which no checkpoint keeps."""

    steps = 0

    def after_step(self, context: Context) -> None:
        self.steps += 1
        with torch.no_grad():
            context.network.heads[0].bias.add_(0.01 * self.steps)


def test_the_law_of_resuming_sees_sabotage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, sabotage in enumerate((lambda: [StartsFromHere(L2SPOptions(alpha=10.0))], lambda: [Counts()])):
        with monkeypatch.context() as patch, pytest.raises(AssertionError):
            check_resume(tmp_path / str(place), sabotage, patch)


# --------------------------------------------------------------------------------------------- the running average


@pytest.mark.parametrize("name", ["lora", "prune", "clip", "tuned and pruned", "adapted late"])
def test_what_is_kept_is_the_running_average_without_a_trace(name: str, catalogue: Catalogue, tmp_path: Path) -> None:
    looked: list[SegmentationNetwork] = []

    def look(net: SegmentationNetwork) -> dict[str, float]:
        looked.append(deepcopy(net))
        return {"dice": 0.5}

    start = network().state_dict()
    work = job(tmp_path, made(catalogue, name), look, ema=0.9, validate_every=1.0, optimiser={"lr": 5e-2})
    kept, _ = loop.fit(work, Fabric(**CPU))
    assert kept.state_dict().keys() == start.keys()
    assert not any("parametrizations" in one for one, _ in kept.named_modules())
    image = batches(1)[0][0]
    with torch.no_grad():
        averaged, mine = looked[-1].eval()(image).logits, kept(image).logits
        live = work.network.eval()(image).logits
    weights = {key: value for key, value in kept.state_dict().items() if value.ndim > 1 and not key.startswith("heads")}
    assert torch.equal(averaged, mine), "what was scored last is what is kept"
    if "lora" in name or "adapted" in name:
        fixed = [key for key in start if key.startswith("encoder.") and start[key].ndim < 2]
        assert all(torch.equal(kept.state_dict()[key], start[key]) for key in fixed)
    if "prune" in name:
        zeros, count = (
            sum(int((one == 0).sum()) for one in weights.values()),
            sum(one.numel() for one in weights.values()),
        )
        assert zeros == round(0.3 * count)
    if name == "clip":
        ways = [float((kept.state_dict()[key] - start[key]).abs().max()) for key in weights]
        assert 2e-4 < max(ways) <= 1e-3 * (1 + 1e-4)
    assert not torch.equal(live, mine), "the last weights were kept, not their average"


class Teacher(TransferStrategy):
    """Keeps another network, as mean teacher does."""

    name = "teacher"
    replaces_network = True

    def prepare(self, context: Context) -> dict[str, nn.Module]:
        self.other = deepcopy(context.network)
        return {}

    def export(self, context: Context, network: SegmentationNetwork) -> SegmentationNetwork:
        return self.other


@pytest.mark.parametrize("first", [True, False])
def test_a_teacher_that_is_kept_instead_is_merged_as_well(first: bool, catalogue: Catalogue) -> None:
    (lora,), teacher = made(catalogue, "lora"), Teacher()
    net = network()
    # The teacher copies what it finds: after lora that is the adapted network.
    stack, context = (
        Stack([teacher, lora] if first else [lora, teacher]),
        Context(net, frozenset({"encoder.stem.weight"})),
    )
    stack.prepare(context)
    kept = stack.export(context, net)
    assert kept is teacher.other
    assert not any("parametrizations" in name for name, _ in kept.named_modules())
    with pytest.raises(TrainingError, match="'teacher' and 'teacher' each keep a second network"):
        Stack([Teacher(), Teacher()])


# ------------------------------------------------------------------------------------------------- kept features


def check_cache(folder: Path, kind: type[Freeze] = Freeze) -> list[int]:
    """Training on kept maps ends at the weights of training on the same patches without keeping any; the encoder is
    run once for each patch. How many patches the encoder was given in each call."""
    results, calls = [], []
    for memory in (2.0, 0.0):
        seen: list[int] = []
        work = job(
            folder / str(memory),
            [kind(FreezeOptions(cache=True, crops=2, memory=memory))],
            budget="12 steps",
            optimiser={"use": "sgd", "lr": 1e-2, "momentum": 0.9},
        )
        work.network.encoder.register_forward_pre_hook(lambda module, args, seen=seen: seen.append(len(args[0])))
        kept, _ = loop.fit(work, Fabric(**CPU))
        results.append(kept.state_dict())
        calls.append(seen)
    start = network().state_dict()
    for name, value in results[0].items():
        torch.testing.assert_close(value, results[1][name], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(results[0]["heads.0.weight"], start["heads.0.weight"], atol=1e-3)
    assert sum(calls[1]) == 12 * 4
    assert sum(calls[0]) <= 3 * 2 + 4, "a patch met twice before it is kept is computed twice, no more"
    return calls[0]


class Mixes(Freeze):
    """Gives back the maps of another patch."""

    def features(self, context: Context, image: Tensor, crops: Sequence[tuple[int, int]]) -> Any:
        return super().features(context, image, [(0, crop[1]) for crop in crops])


class Forgets(Freeze):
    def features(self, context: Context, image: Tensor, crops: Sequence[tuple[int, int]]) -> Any:
        self._known.clear()
        return super().features(context, image, crops)


class InTrainingMode(Freeze):
    """Statistics of the batch, which depend on what else is in it."""

    def train_mode(self, context: Context) -> None: ...


def test_kept_features_change_nothing_but_the_time(tmp_path: Path) -> None:
    check_cache(tmp_path)
    for sabotage in (Mixes, Forgets, InTrainingMode):
        with pytest.raises(AssertionError):
            check_cache(tmp_path / sabotage.__name__, sabotage)


class Alone(Stages):
    """Sums that depend on how many images there are, as convolutions of a CPU have them in their last bits."""

    def forward(self, image: Tensor) -> list[Tensor]:
        return [one + 1e-3 * len(image) for one in super().forward(image)]


def test_kept_features_do_not_depend_on_what_else_was_new() -> None:
    """After a resume all are new together: nothing may differ, not even in the last bits."""
    image = torch.randn(3, 1, 16, 16)
    crops = [(0, 0), (0, 1), (1, 0)]
    found = []
    for known in ([], [1], [0, 2]):
        torch.manual_seed(0)
        context = Context(SegmentationNetwork(Alone(), Sum(), 2, 2).eval())
        strategy = Freeze(FreezeOptions(cache=True))
        if known:
            strategy.features(context, image[known], [crops[place] for place in known])
        found.append(strategy.features(context, image, crops))
    for one in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], one, strict=True))


def test_fixed_patches_come_again_and_are_augmented_once(tmp_path: Path) -> None:
    drawn = job(tmp_path, [Freeze(FreezeOptions(cache=True, crops=2))]).batches
    first: dict[tuple[int, int], Any] = {}
    for step in range(6):
        raw = drawn.draw(step)
        assert raw.image.shape == (4, 1, 16, 16) and raw.label.shape == (4, 16, 16) and len(raw.crops) == 4
        for key, image, label in zip(raw.crops, raw.image, raw.label, strict=True):
            known = first.setdefault(key, (image, label))
            assert (known[0] == image).all() and (known[1] == label).all()
    assert set(first) == {(case, crop) for case in range(3) for crop in range(2)}
    images = [image.tobytes() for image, _ in first.values()]
    assert len(set(images)) == 6
    other = job(tmp_path, [Freeze(FreezeOptions(cache=True, crops=2))]).batches.draw(5)
    assert (other.image == drawn.draw(5).image).all(), "another process draws the same"


def test_features_are_kept_only_where_the_encoder_is_frozen_for_good() -> None:
    for options in ({"until": 0.5}, {"stages": 2}):
        with pytest.raises(ValidationError, match="cache: needs the whole encoder frozen for good"):
            FreezeOptions.model_validate({"cache": True, **options})


# ----------------------------------------------------------------------------------------------------- the table


def check_table(strategies: Sequence[TransferStrategy]) -> None:
    """What plain gradient descent really does in its first step is what the table says of every parameter."""
    torch.set_default_dtype(torch.float64)
    try:
        net = network()
        trainer = Trainer(net, *strategies, lr=1e-3, weight_decay=0.0, use="sgd", momentum=0.0)
        assert set(trainer.rows) == {name for name, _ in net.named_parameters()}
        assert all(trainer.rows[name].shape == tuple(p.shape) for name, p in net.named_parameters())
        before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
        trainer.net.double()
        image, target = (one.double() if one.is_floating_point() else one for one in batches(1)[0])
        stack, context = trainer.stack, trainer.context
        stack.before_step(context)
        trainer.mode()
        output = net(image)
        terms = {"segmentation": nn.functional.cross_entropy(output.logits, target)}
        terms.update(stack.losses(context, {"image": image, "target": target}, output))
        stack.combine(context, terms).backward()
        trainer.optimiser.step()
        stack.after_step(context)
        learnt = 0
        for name, parameter in net.named_parameters():
            step = (before[name] - parameter.detach()).norm()
            row = trainer.rows[name]
            if not row.train or parameter.grad is None:
                assert float(step) == 0, name
            elif float(parameter.grad.norm()) > 1e-9:
                learnt += 1
                assert float(step / parameter.grad.norm()) == pytest.approx(row.lr, rel=2e-3), name
        assert learnt >= 2
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", [name for name in STACKS if "prune" not in name and "decoupled" not in name])
def test_the_table_says_what_the_first_step_does(name: str, catalogue: Catalogue) -> None:
    strategies = made(catalogue, name)
    for strategy in strategies:
        if strategy.name == "clip":
            strategy._c = 1.0  # type: ignore[attr-defined]  # so wide that it does not cut this step
    check_table(strategies)


class Pushes(TransferStrategy):
    """Moves what the table says is moved by the optimiser alone."""

    def after_step(self, context: Context) -> None:
        with torch.no_grad():
            context.network.heads[0].weight.mul_(1.001)


class Hides(TransferStrategy):
    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        return [row for row in rows if row.train and not row.name.startswith("heads")]


class SaysTrained(TransferStrategy):
    """Frozen, and moved by hand."""

    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        return [row.but(train=not row.name.startswith("encoder.stem.")) for row in rows]

    def after_step(self, context: Context) -> None:
        with torch.no_grad():
            context.network.encoder.stem.weight.mul_(0.999)


@pytest.mark.parametrize("sabotage", [Pushes, Hides, SaysTrained])
def test_the_law_of_the_table_sees_sabotage(sabotage: type[TransferStrategy]) -> None:
    with pytest.raises((AssertionError, KeyError)):
        check_table([sabotage()])


class Branch(TransferStrategy):
    """Brings a module of its own."""

    def prepare(self, context: Context) -> dict[str, nn.Module]:
        return {"branch": nn.Conv2d(8, 1, 1)}

    def losses(self, context: Context, batch: Any, output: Any) -> dict[str, Tensor]:
        return {"branch": context.extra["branch"](output.maps[0]).pow(2).mean()}


def test_the_table_holds_modules_that_strategies_bring(tmp_path: Path) -> None:
    work = job(tmp_path, [Branch(), Freeze(FreezeOptions())])
    names = [row.name for row in work.rows]
    wanted = [name for name, _ in work.network.named_parameters()] + ["branch.weight", "branch.bias"]
    assert names == wanted
    assert {row.name: row.origin for row in work.rows}["branch.weight"] == "new"
    before = work.extra["branch"].weight.detach().clone()
    loop.fit(work, Fabric(**CPU))
    assert not torch.equal(before, work.extra["branch"].weight)


# ----------------------------------------------------------------------------------------------------- conflicts


@pytest.mark.parametrize(
    ("stack", "said"),
    [
        (["freeze", "bn-only"], "the encoder is frozen for good"),
        (["lora", "freeze"], "the encoder is frozen for good"),
        (["freeze", "lp-ft"], "the encoder is frozen for good"),
        (["freeze", "prune"], "set prune.part to decoder"),
        ([{"use": "freeze", "until": "60%"}, "prune"], "set prune.at to 0.6 or later"),
        ([{"use": "prune", "at": "20%"}, "gradual"], "set prune.at to 0.5 or later"),
        ([{"use": "prune", "at": "20%"}, {"use": "gradual", "at": ["10%", "30%"]}], "set prune.at to 0.3 or later"),
        (["freeze", "adversarial"], "set adversarial.level to entropy"),
        (["lora", "prune"], "merging the low-rank factors would fill what was pruned"),
        (["prune", "lora"], "merging the low-rank factors would fill what was pruned"),
        (["clip", "lora"], "lora keeps fixed what clip would hold near its start"),
        (["bn-only", "lora"], "each says which parameters of the encoder learn"),
        (["clip", "prune"], "clip would bring them back"),
        (["delta", "bn-only"], "set bn-only.statistics to keep"),
        (["l2-sp", "l2-sp"], "the same strategy is there twice"),
        (["fine-tune", "fine-tune"], "the same strategy is there twice"),
        (["multi-task", "multi-task"], "the same strategy is there twice"),
        ([{"use": "freeze", "cache": True}, "channel-dropout"], "set freeze.cache to false"),
    ],
)
def test_strategies_that_contradict_each_other_are_refused(stack: list[Any], said: str, catalogue: Catalogue) -> None:
    named = [one if isinstance(one, dict) else {"use": one} for one in stack]
    with pytest.raises(TrainingError, match=f"cannot be combined: .*{re.escape(said)}") as caught:
        Stack([choose(catalogue, "strategy", one).build() for one in named])
    assert all(repr(one["use"]) in str(caught.value) for one in named)


def test_a_network_that_is_no_numbers_in_the_end_is_not_kept(tmp_path: Path) -> None:
    """The last step can spoil what every loss before it was finite with."""

    class Spoils(TransferStrategy):
        def after_step(self, context: Context) -> None:
            if context.step == 3:
                with torch.no_grad():
                    context.network.heads[0].bias.fill_(torch.inf)

    with pytest.raises(TrainingError, match="after 4 steps the network contains NaN or infinite values"):
        loop.fit(job(tmp_path, [Spoils()]), Fabric(**CPU))


def test_terms_of_one_name_are_refused() -> None:
    class Term(TransferStrategy):
        def losses(self, context: Context, batch: Any, output: Any) -> dict[str, Tensor]:
            return {"term": torch.zeros(())}

    with pytest.raises(TrainingError, match="two strategies give a term of the loss the name 'term'"):
        Stack([Term(), Term()]).losses(Context(network()), {}, None)  # type: ignore[arg-type]


def test_two_that_weigh_the_losses_are_refused() -> None:
    class Weighs(TransferStrategy):
        combine = staticmethod(lambda context, terms: sum(terms.values()))

    with pytest.raises(TrainingError, match="both set the weights of the losses"):
        Stack([Weighs(), Weighs()])


# ------------------------------------------------------------------------------------------------- documentation


def test_every_registered_strategy_is_in_the_documentation(catalogue: Catalogue) -> None:
    text = (Path(__file__).parents[2] / "docs" / "strategies.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z0-9-]+)` \|(.+)\|$", text, re.M))
    assert {spec.name for _, spec in catalogue.of("strategy")} <= set(rows)
    for name, *_ in STRATEGIES:
        options = set(catalogue.get("strategy", name).options().model_fields)
        assert options <= set(re.findall(r"`([a-z_]+)`", rows[name])), f"docs/strategies.md lacks options of {name}"


def test_the_loop_follows_the_schedule_that_strategies_bend(catalogue: Catalogue, tmp_path: Path) -> None:
    """Each parameter's own rate times the schedule, which lp-ft goes through twice."""
    (strategy,) = made(catalogue, "lp-ft")
    work = job(tmp_path, [strategy], budget="8 steps", schedule={"use": "cosine", "warmup": 0.5}, ema=0.0)
    seen: list[float] = []
    after = work.stack.after_step

    def note(context: Context) -> None:
        seen.append(context.factor)
        after(context)

    work.stack.after_step = note  # type: ignore[method-assign]
    loop.fit(work, Fabric(**CPU))
    once = [1e-3, 0.5, 1.0, 0.5]
    assert seen == pytest.approx(once + once, abs=1e-9)
