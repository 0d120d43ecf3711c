"""Ways of transferring that learn from more than the labelled batch: teachers, unlabelled scans, branches."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from voxgraft.plugin import StrategySpec, hookimpl

if TYPE_CHECKING:
    from voxgraft.plugin import TransferStrategy

UNLABELLED = frozenset({"unlabelled"})

STRATEGIES = (
    ("distil", "distil", "Distil", frozenset({"teacher"}), "Learn the outputs and maps of a larger or older model"),
    ("mean-teacher", "averaging", "MeanTeacher", UNLABELLED, "Agree with the average of itself on unlabelled scans"),
    (
        "co-training",
        "mutual",
        "CoTraining",
        frozenset[str](),
        "Train a second network beside the first; each learns from the other",
    ),
    (
        "adversarial",
        "domains",
        "Adversarial",
        frozenset({"unlabelled", "source"}),
        "Make maps or outputs of two data sets indistinguishable to a classifier",
    ),
    (
        "multi-task",
        "tasks",
        "MultiTask",
        frozenset[str](),
        "Predict distances to borders, the image or which organs are there as well",
    ),
    (
        "self-supervised",
        "masking",
        "SelfSupervised",
        frozenset[str](),
        "Learn without labels to fill in masked parts of the scans",
    ),
)
"""Name, room, class, needs and summary of each."""


@hookimpl
def voxgraft_strategies() -> list[StrategySpec[Any]]:
    return [_spec(*row) for row in STRATEGIES]


def _spec(name: str, room: str, strategy: str, needs: frozenset[str], summary: str) -> StrategySpec[Any]:
    """A spec whose options and class are imported when they are asked for."""

    def options() -> Any:
        return getattr(import_module(f"{__name__}.options"), f"{strategy}Options")

    def build(options: Any) -> TransferStrategy:
        made: TransferStrategy = getattr(import_module(f"{__name__}.{room}"), strategy)(options)
        return made

    return StrategySpec(name=name, summary=summary, needs=needs, options=options, build=build)
