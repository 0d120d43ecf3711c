"""Which encoders and ways of transfer come into question: those of the catalogue whose weights are at hand."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from ..components.choice import choose
from ..errors import VoxGraftError
from ..networks.encoder_decoder import EncoderSpec
from ..packages.references import Resolver
from ..transfer.prior import prior
from ..workflow.workflow import Workflow
from ..workflow.yaml import load

OFFLINE = ("imagenet", "bundled")
"""What encoders call weights that come with an installed package."""

FROZEN: dict[str, Any] = {"use": "freeze"}
"""The encoder as it is: quicker, and second to what the curves favour."""

Document = dict[str, Any]
"""An encoder or a strategy as a workflow writes it."""


def encoders_at_hand(
    workflow: Workflow, resolver: Resolver, models: Sequence[str] = ()
) -> tuple[list[Document], list[Document]]:
    """Encoders with weights that load here: the workflow's own first, then those of models, then the catalogue's.

    Args:
        resolver: Where models are looked up.
        models: References of registered models, each with the encoder that it was trained with.

    Returns:
        The encoders; and, of those that were asked for and are not available, `encoder`, `error` and `verdict`.
    """
    own = workflow.model.encoder.document()
    requested: list[Document] = [own] if own.get("weights", "none") != "none" else []
    requested += [{**own, "weights": reference} for reference in models]
    catalogue = resolver.catalogue
    guessed = [
        {"use": spec.name, "weights": word}
        for _, spec in catalogue.of("encoder")
        for word in OFFLINE
        if isinstance(spec, EncoderSpec) and workflow.model.dims in spec.dims
    ]
    documents: list[Document] = []
    unusable: list[Document] = []
    known: set[str] = set()
    for index, document in enumerate(requested + guessed):
        try:
            if document["weights"] in models:
                document = _as_trained(document, resolver)
            chosen = choose(catalogue, "encoder", copy.deepcopy(document))
            weights = chosen.build().weights(resolver)
        except (VoxGraftError, ValueError) as error:
            if index < len(requested):
                unusable.append({"encoder": document, "error": str(error).splitlines()[0], "verdict": "not usable"})
            continue  # a guess: no such weights for this encoder, or not installed
        if weights is not None and (weights.sha256 or weights.origin) not in known:
            known.add(weights.sha256 or weights.origin)
            documents.append(chosen.document())
    return documents, unusable


def _as_trained(document: Document, resolver: Resolver) -> Document:
    """The encoder of a registered model with the options that it was trained with; else as it is."""
    written, _ = load(resolver.resolve(document["weights"]).folder / "workflow.yaml")
    model = written.get("model") if isinstance(written, Mapping) else None
    encoder = model.get("encoder") if isinstance(model, Mapping) else None
    return {**encoder, "weights": document["weights"]} if isinstance(encoder, Mapping) else document


def strategies_for(workflow: Workflow) -> list[list[Document]]:
    """Stacks worth trying: the workflow's own, where it learns from labels, what the curves favour, and no training."""
    own = [strategy.document() for strategy in workflow.transfer] if workflow.supervised else []
    usual: list[list[Document]] = [[dict(strategy) for strategy in prior(2).transfer], [dict(FROZEN)]]
    others = [
        stack for stack in usual if [strategy["use"] for strategy in stack] != [strategy["use"] for strategy in own]
    ]
    return [own, *others] if own else usual


def label_of(encoder: Mapping[str, Any], transfer: Sequence[Mapping[str, Any]]) -> str:
    """How a pair is called in tables."""
    if encoder.get("weights", "none") == "none":
        return f"{encoder['use']}, scratch"
    strategies = " + ".join(strategy["use"] for strategy in transfer)
    return f"{encoder['use']} {encoder['weights']}, {strategies or 'all trained'}"
