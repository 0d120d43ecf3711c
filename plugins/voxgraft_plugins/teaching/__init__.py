"""Ways of transferring that learn from more than the labelled batch: teachers, unlabelled scans, branches."""

from __future__ import annotations

from typing import Any

from voxgraft.plugin import StrategySpec, hookimpl, late, late_call

STRATEGIES = {
    "distil": ("distil:Distil", "Learn the outputs and maps of a larger or older model"),
    "mean-teacher": ("averaging:MeanTeacher", "Mean teacher: agree with its own running average on unlabelled scans"),
    "co-training": ("mutual:CoTraining", "Train two networks; each learns from the other"),
    "adversarial": ("domains:Adversarial", "Make maps or outputs of two data sets indistinguishable to a classifier"),
    "multi-task": ("tasks:MultiTask", "Also predict distances to borders, the image, or which organs it shows"),
    "self-supervised": ("masking:SelfSupervised", "Learn without labels to fill in masked parts of the scans"),
}
"""The place and the summary of each."""
NEEDS = {"distil": {"teacher"}, "mean-teacher": {"unlabelled"}, "adversarial": {"unlabelled", "source"}}


@hookimpl
def voxgraft_strategies() -> list[StrategySpec[Any]]:
    return [
        StrategySpec(
            name=name,
            summary=summary,
            needs=frozenset(NEEDS.get(name, ())),
            options=late(__name__, f".options:{place.partition(':')[2]}Options"),
            build=late_call(__name__, f".{place}"),
        )
        for name, (place, summary) in STRATEGIES.items()
    ]
