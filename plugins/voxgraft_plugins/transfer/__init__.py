"""Ways of transferring that act on one network's parameters: freeze, tune, hold near the start, adapt, prune."""

from __future__ import annotations

from typing import Any

from voxgraft.plugin import StrategySpec, hookimpl, late, late_call

PRETRAINED = frozenset({"pretrained"})

STRATEGIES = (
    (
        "freeze",
        "strategies",
        "Freeze",
        PRETRAINED,
        "Keep the encoder as it is, for good or for the first part of the budget",
    ),
    (
        "fine-tune",
        "strategies",
        "FineTune",
        PRETRAINED,
        "Train the pretrained encoder with a smaller learning rate, from a stage on",
    ),
    (
        "lp-ft",
        "unfreezing",
        "LpFt",
        PRETRAINED,
        "Train the new part first and then everything, each with its own schedule",
    ),
    ("gradual", "unfreezing", "Gradual", PRETRAINED, "Unfreeze the encoder stage by stage, the deepest first"),
    (
        "layer-decay",
        "strategies",
        "LayerDecay",
        PRETRAINED,
        "Give shallow stages of the encoder smaller learning rates than deep ones",
    ),
    ("bn-only", "strategies", "BnOnly", PRETRAINED, "Train only the normalisation layers of the encoder"),
    (
        "l2-sp",
        "start",
        "L2SP",
        PRETRAINED,
        "Pull pretrained weights towards their initial values, new ones towards zero",
    ),
    ("delta", "delta", "Delta", PRETRAINED, "Pull the encoder's maps towards those it started with"),
    ("lora", "lora", "Lora", PRETRAINED, "Add trained low-rank factors to the fixed weights of the encoder"),
    ("clip", "start", "Clip", PRETRAINED, "Limit how far each pretrained weight may move from its initial value"),
    (
        "prune",
        "pruning",
        "Prune",
        frozenset[str](),
        "Set the smallest weights to zero and continue to train the others",
    ),
    ("init", "fresh", "Init", frozenset[str](), "Initialise new layers by He or Xavier"),
    (
        "channel-dropout",
        "missing",
        "ChannelDropout",
        frozenset[str](),
        "Leave optional channels out at random in training",
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
