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
from torch import Tensor, nn

from strategy_jobs import job
from strategy_stacks import CPU, STACKS, made
from strategy_trainer import batches, network
from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.errors import TrainingError
from voxgraft.networks.network import SegmentationNetwork
from voxgraft.training import loop, step
from voxgraft.training.batches import RawBatch
from voxgraft.training.job import Live
from voxgraft.transfer.stack import Stack
from voxgraft.transfer.strategy import Context, TransferStrategy
from voxgraft_plugins.teaching import STRATEGIES as TEACHING
from voxgraft_plugins.transfer import STRATEGIES
from voxgraft_plugins.transfer.options import L2SPOptions
from voxgraft_plugins.transfer.start import L2SP

pytestmark = pytest.mark.usefixtures("one_thread")


def test_every_strategy_of_the_plugin_is_tried() -> None:
    tried = {one["use"] for stack in STACKS.values() for one in stack}
    assert tried | {"channel-dropout"} == STRATEGIES.keys()


def test_every_strategy_has_a_sabotaged_version(catalogue: Catalogue) -> None:
    """A test that no sabotage was held against proves nothing: some class of these tests spoils each strategy."""
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    offered = {name: place.partition(":")[2] for name, (place, _) in (STRATEGIES | TEACHING).items()}
    assert set(offered) == {spec.name for _, spec in catalogue.of("strategy")}
    assert [name for name, strategy in offered.items() if f"({strategy}):\n" not in text] == []


class Killed(BaseException):
    """Stands for a signal that nothing catches."""


def check_resume(
    folder: Path, make: Callable[[], Sequence[TransferStrategy]], monkeypatch: pytest.MonkeyPatch, parts: int = 1
) -> None:
    """Two steps, a kill in the third, and on from the checkpoint: what is kept equals four steps straight, bit for
    bit."""
    real = step.accumulate
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)

    def in_parts(live: Live, raw: RawBatch) -> dict[str, Tensor]:
        live.state.micro = parts
        return real(live, raw)

    monkeypatch.setattr(step, "accumulate", in_parts)

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


def test_every_registered_strategy_is_in_the_documentation(catalogue: Catalogue) -> None:
    text = (Path(__file__).parents[2] / "docs" / "strategies.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z0-9-]+)` \|(.+)\|$", text, re.M))
    assert {spec.name for _, spec in catalogue.of("strategy")} <= set(rows)
    for name in STRATEGIES:
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
