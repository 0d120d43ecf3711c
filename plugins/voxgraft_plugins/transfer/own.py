"""What the strategies of this plugin share: which of them cannot stand together."""

from __future__ import annotations

from voxgraft.plugin import TransferStrategy

AGAINST: dict[frozenset[str], str] = {
    frozenset({"lora", "prune"}): "merging the low-rank factors would fill what was pruned",
    frozenset({"lora", "clip"}): "lora keeps fixed what clip would hold near its start",
    frozenset({"lora", "bn-only"}): "each says which parameters of the encoder learn, and they differ",
    frozenset({"clip", "prune"}): "prune sets weights to zero, clip would bring them back to their start",
}
"""Why two strategies cannot be in one stack."""


class OwnStrategy(TransferStrategy):
    """A strategy that knows which others of this plugin it cannot stand with."""

    needs = frozenset({"pretrained"})
    once: bool = True
    """It can be in a stack only once."""

    def conflict(self, other: TransferStrategy) -> str | None:
        if self.once and other.name == self.name:
            return "the same strategy is there twice"
        return AGAINST.get(frozenset({self.name, other.name}))
