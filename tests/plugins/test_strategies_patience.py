"""What patience goes back to is what was scored, whatever strategies make of the network when it is kept; looking at it
disturbs no training; and patience waits for what strategies do at set times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor

from strategy_jobs import job, plan, squares
from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.networks.network import SegmentationNetwork
from voxgraft.training import loop
from voxgraft.training.batches import Unlabelled
from voxgraft.training.job import Job
from voxgraft.transfer.strategy import Context, TransferStrategy
from voxgraft_plugins.teaching.averaging import MeanTeacher
from voxgraft_plugins.teaching.options import MeanTeacherOptions
from voxgraft_plugins.transfer.options import PruneOptions
from voxgraft_plugins.transfer.pruning import Prune

CPU: dict[str, Any] = {"accelerator": "cpu", "devices": 1}
STACKS: dict[str, list[dict[str, Any]]] = {
    "prune": [{"use": "prune", "at": "25%"}],
    "prune late": [{"use": "prune", "at": "80%", "by": "layer"}],
    "lora": [{"use": "lora"}],
    "clip": [{"use": "clip", "c": 1e-3}],
    "teacher": [{"use": "mean-teacher", "keep": "teacher", "decay": 0.5}],
    "student": [{"use": "mean-teacher", "keep": "student"}],
    "teacher and prune": [{"use": "mean-teacher", "keep": "teacher"}, {"use": "prune", "at": "50%"}],
    "prune and teacher": [{"use": "prune", "at": "50%"}, {"use": "mean-teacher", "keep": "teacher"}],
    "teacher and lora": [{"use": "mean-teacher", "keep": "teacher"}, {"use": "lora"}],
}
Make = Callable[[], Sequence[TransferStrategy]]

pytestmark = pytest.mark.usefixtures("one_thread")


def made(catalogue: Catalogue, name: str) -> list[TransferStrategy]:
    return [choose(catalogue, "strategy", dict(one)).build() for one in STACKS[name]]


def work(folder: Path, strategies: Sequence[TransferStrategy], look: Any, **options: Any) -> Job:
    """Eight steps, beside them patches of unlabelled scans."""
    done = job(folder, strategies, look, **{"budget": "8 steps", "optimiser": {"lr": 5e-2}, **options})
    done.batches.unlabelled = Unlabelled(squares(2), plan(), seed=3)
    return done


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def check_best(folder: Path, make: Make, best: int) -> None:
    """Of four looks the one with the best score is what is kept, bit for bit."""
    looked: list[dict[str, Tensor]] = []

    def look(network: SegmentationNetwork) -> dict[str, float]:
        looked.append({name: value.clone() for name, value in network.state_dict().items()})
        return {"dice": 0.9 if len(looked) == best else 0.5 - 0.1 * len(looked)}

    kept, state = loop.fit(work(folder, make(), look, validate_every=0.25, patience=3), Fabric(**CPU))
    assert state.best == 0.9 and len(looked) == 4
    assert same(kept.state_dict(), looked[best - 1])
    assert not same(looked[best - 1], looked[-1])


@pytest.mark.parametrize("best", [1, 3])
@pytest.mark.parametrize("name", list(STACKS))
def test_what_is_kept_is_what_was_scored_best(name: str, best: int, catalogue: Catalogue, tmp_path: Path) -> None:
    check_best(tmp_path, lambda: made(catalogue, name), best)


def test_a_pruned_network_is_scored_pruned(catalogue: Catalogue, tmp_path: Path) -> None:
    """Also before its time, when patience may go back to it."""

    def look(network: SegmentationNetwork) -> dict[str, float]:
        weights = [p for name, p in network.named_parameters() if p.ndim > 1 and not name.startswith("heads")]
        zeros, count = sum(int((p == 0).sum()) for p in weights), sum(p.numel() for p in weights)
        assert zeros == round(0.3 * count)
        return {"dice": 0.5}

    make = [choose(catalogue, "strategy", {"use": "prune", "at": "60%"}).build()]
    loop.fit(work(tmp_path, make, look, validate_every=0.25), Fabric(**CPU))


def check_undisturbed(folder: Path, make: Make) -> None:
    """Training that is looked at four times ends as one that is looked at once."""
    ends = []
    for share in (0.25, 1.0):
        kept, _ = loop.fit(work(folder / str(share), make(), lambda net: {}, validate_every=share), Fabric(**CPU))
        ends.append(kept.state_dict())
    assert same(*ends)


@pytest.mark.parametrize("name", list(STACKS))
def test_looking_disturbs_no_training(name: str, catalogue: Catalogue, tmp_path: Path) -> None:
    check_undisturbed(tmp_path, lambda: made(catalogue, name))


class ChoosesWhenLookedAt(Prune):
    """The first look decides what is pruned, long before its time."""

    def export(self, context: Context, network: SegmentationNetwork) -> SegmentationNetwork:
        self._masks = self._masks or self._chosen(context, network)
        return super().export(context, network)


class GivesItselfAway(MeanTeacher):
    """What another strategy masks is the teacher that training goes on with."""

    def export(self, context: Context, network: SegmentationNetwork) -> SegmentationNetwork:
        assert self.teacher is not None
        return self.teacher


class KeepsTheStudent(MeanTeacher):
    """At looks the student is scored; what is kept in the end is the teacher."""

    _looks = 0

    def export(self, context: Context, network: SegmentationNetwork) -> SegmentationNetwork:
        self._looks += 1
        return network if self._looks <= 4 else super().export(context, network)


class LastTeacher(TransferStrategy):
    """Scored is a copy; what is kept in the end is another network than was handed in, and loads nothing."""

    name = "last"
    replaces_network = True

    def export(self, context: Context, network: SegmentationNetwork) -> SegmentationNetwork:
        other = deepcopy(context.network)
        other.load_state_dict = lambda state: None  # type: ignore[method-assign, assignment]
        return other


def test_the_laws_see_sabotage(tmp_path: Path) -> None:
    late = PruneOptions.model_validate({"at": 0.6})
    teacher = MeanTeacherOptions(keep="teacher")
    disturbed: list[Make] = [
        lambda: [ChoosesWhenLookedAt(late)],
        lambda: [GivesItselfAway(teacher), Prune(late)],
        lambda: [KeepsTheStudent(teacher)],
    ]
    for place, make in enumerate(disturbed):
        with pytest.raises(AssertionError):
            check_undisturbed(tmp_path / f"looks{place}", make)
    with pytest.raises(AssertionError):
        check_best(tmp_path / "best", lambda: [LastTeacher()], 1)


# ------------------------------------------------------------------------------------------------- set times


def steps_until_out_of_patience(folder: Path, catalogue: Catalogue, stack: Sequence[dict[str, Any]]) -> int:
    strategies = [choose(catalogue, "strategy", dict(one)).build() for one in stack]
    options = {"budget": "16 steps", "validate_every": 0.125, "patience": 2}
    _, state = loop.fit(work(folder, strategies, lambda net: {"dice": 0.5}, **options), Fabric(**CPU))
    return state.step


@pytest.mark.parametrize(
    ("stack", "steps"),
    [
        ([], 6),  # the first look is the best, two more are not better
        ([{"use": "freeze"}], 6),
        ([{"use": "freeze", "until": "50%"}], 12),
        ([{"use": "lp-ft", "probe": "50%"}], 12),
        ([{"use": "gradual", "at": ["10%", "50%"]}], 12),
        ([{"use": "prune", "at": "50%"}], 12),
        ([{"use": "prune", "at": "50%"}, {"use": "lp-ft", "probe": "25%"}], 12),
    ],
)
def test_patience_waits_for_what_is_done_at_a_set_time(
    stack: list[dict[str, Any]], steps: int, catalogue: Catalogue, tmp_path: Path
) -> None:
    assert steps_until_out_of_patience(tmp_path, catalogue, stack) == steps


def test_without_a_score_there_is_no_patience_to_lose(catalogue: Catalogue, tmp_path: Path) -> None:
    """Learning without labels scores nothing: it goes on to its end, and keeps its end."""
    strategy = choose(catalogue, "strategy", {"use": "self-supervised", "block": 4}).build()
    options = {"validate_every": 0.25, "patience": 1}
    _, state = loop.fit(work(tmp_path, [strategy], lambda network: {}, **options), Fabric(**CPU))
    assert state.step == 8 and state.looks == 4 and not (tmp_path / "best.pt").exists()
