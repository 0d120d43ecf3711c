"""Which encoders and ways of transfer come into question: those of the catalogue whose weights are at hand."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from ..discovery import Catalogue
from ..errors import VoxGraftError
from ..slot import choose
from ..workflow import Workflow

OFFLINE = ("imagenet", "bundled")
"""What encoders call weights that come with an installed package."""


def encoders_at_hand(workflow: Workflow, catalogue: Catalogue, models: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Documents of encoders with weights that load here: the workflow's own first, then the catalogue's.

    Args:
        models: References of registered models, whose encoders are tried where they fit the workflow's own encoder.
    """
    own = workflow.model.encoder.document()
    wanted = [own] if own.get("weights", "none") != "none" else []
    wanted += [{**own, "weights": reference} for reference in models]
    for _, card in catalogue.of("encoder"):
        if workflow.model.dims in getattr(card, "dims", (2, 3)):
            wanted += [{"use": card.name, "weights": word} for word in OFFLINE]
    found: list[dict[str, Any]] = []
    known: set[str] = set()
    for document in wanted:
        try:
            chosen = choose(catalogue, "encoder", copy.deepcopy(document))
            weights = chosen.build().weights()
        except (VoxGraftError, ValueError):  # no such weights for this encoder, or not installed
            continue
        if weights is not None and (weights.sha256 or weights.origin) not in known:
            known.add(weights.sha256 or weights.origin)
            found.append(chosen.document())
    return found


def strategies_for(labelled: int, workflow: Workflow) -> list[list[dict[str, Any]]]:
    """Stacks worth trying with so many labelled cases; the workflow's own first."""
    own = [one.document() for one in workflow.transfer]
    usual: list[list[dict[str, Any]]] = [[{"use": "fine-tune", "encoder_lr": 0.3}], [{"use": "freeze"}]]
    if labelled <= 4:
        usual.reverse()
    others = [stack for stack in usual if [one["use"] for one in stack] != [one["use"] for one in own]]
    return [own, *others] if own else usual


def label_of(encoder: dict[str, Any], transfer: Sequence[dict[str, Any]]) -> str:
    """How a pair is called in tables."""
    if encoder.get("weights", "none") == "none":
        return f"{encoder['use']}, scratch"
    return f"{encoder['use']} {encoder['weights']}, {' + '.join(one['use'] for one in transfer) or 'all trained'}"
