"""Ways of transferring that learn from more than the labelled batch: teachers, unlabelled scans, branches."""

from __future__ import annotations

from typing import Any

from voxgraft.plugin import StrategySpec, hookimpl, late, late_call

UNLABELLED = frozenset({"unlabelled"})

STRATEGIES = (
    ("distil", "distil", "Distil", frozenset({"teacher"}), "Learn the outputs and maps of a larger or older model"),
    (
        "mean-teacher",
        "averaging",
        "MeanTeacher",
        UNLABELLED,
        "Mean teacher: agree with its own running average on unlabelled scans",
    ),
    (
        "co-training",
        "mutual",
        "CoTraining",
        frozenset[str](),
        "Train two networks; each learns from the other",
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
        "Also predict distances to borders, the image, or which organs it shows",
    ),
    (
        "self-supervised",
        "masking",
        "SelfSupervised",
        frozenset[str](),
        "Learn without labels to fill in masked parts of the scans",
    ),
)
"""Name, module, class, needs and summary of each."""


@hookimpl
def voxgraft_strategies() -> list[StrategySpec[Any]]:
    return [
        StrategySpec(
            name=name,
            summary=summary,
            needs=needs,
            options=late(__name__, f".options:{strategy}Options"),
            build=late_call(__name__, f".{module}:{strategy}"),
        )
        for name, module, strategy, needs, summary in STRATEGIES
    ]
