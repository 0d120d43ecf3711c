"""Ways of transferring that act on one network's parameters: freeze, tune, hold near the start, adapt, prune."""

from __future__ import annotations

from typing import Any

from voxgraft.plugin import StrategySpec, hookimpl, late, late_call

STRATEGIES = {
    "freeze": ("strategies:Freeze", "Keep the encoder as it is, for good or for the first part of the budget"),
    "fine-tune": ("strategies:FineTune", "Train the pretrained encoder with a smaller learning rate, from a stage on"),
    "lp-ft": ("unfreezing:LpFt", "Train the new part first and then everything, each with its own schedule"),
    "gradual": ("unfreezing:Gradual", "Unfreeze the encoder stage by stage, the deepest first"),
    "layer-decay": (
        "strategies:LayerDecay",
        "Give shallow stages of the encoder smaller learning rates than deep ones",
    ),
    "bn-only": ("strategies:BnOnly", "Train only the normalisation layers of the encoder"),
    "l2-sp": ("start:L2SP", "Pull pretrained weights towards their initial values, new ones towards zero"),
    "delta": ("delta:Delta", "Pull the encoder's maps towards those it started with"),
    "lora": ("lora:Lora", "Add trained low-rank factors to the fixed weights of the encoder"),
    "clip": ("start:Clip", "Limit how far each pretrained weight may move from its initial value"),
    "prune": ("pruning:Prune", "Set the smallest weights to zero and continue to train the others"),
    "init": ("fresh:Init", "Initialise new layers by He or Xavier"),
    "channel-dropout": ("missing:ChannelDropout", "Leave optional channels out at random in training"),
}
"""The place and the summary of each."""
ALONE = ("prune", "init", "channel-dropout")
"""Those that need no pretrained weights."""


@hookimpl
def voxgraft_strategies() -> list[StrategySpec[Any]]:
    return [
        StrategySpec(
            name=name,
            summary=summary,
            needs=frozenset() if name in ALONE else frozenset({"pretrained"}),
            options=late(__name__, f".options:{place.partition(':')[2]}Options"),
            build=late_call(__name__, f".{place}"),
        )
        for name, (place, summary) in STRATEGIES.items()
    ]
