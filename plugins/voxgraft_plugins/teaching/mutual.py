"""Co-training: two networks of one shape with different new parts, each learning from the other."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from voxgraft.plugin import Context, Output, TrainingError

from .options import CoTrainingOptions
from .own import Statistics, Teaching, has_regions, ramp, unlabelled_of
from .soft import decisions, divergence, hard_entropy

PEER = "peer"


class CoTraining(Teaching):
    """Deep mutual learning (Zhang et al. 2018): both networks learn from the labels, and each makes
    `T^2 KL(other || itself)` small. Cross pseudo supervision (Chen et al. 2021): on unlabelled patches each takes the
    other's decision for the label. No gradient reaches the one that is learnt from. The first network is kept.

    The second has the same pretrained tensors; its new parts, or all of it from scratch, are drawn from another seed.
    """

    name = "co-training"

    def __init__(self, options: CoTrainingOptions) -> None:
        self._options = options
        self.needs = options.needs
        self._mutual, self._pseudo = options.form != "pseudo", options.form != "mutual"
        self.follows = options.statistics if self._pseudo else None
        self._statistics = [Statistics(options.statistics), Statistics(options.statistics)]

    def prepare(self, context: Context) -> Mapping[str, nn.Module]:
        if context.another is None:
            raise TrainingError("transfer: 'co-training' only works in a training that can make a second network")
        if all(name in context.pretrained for name, _ in context.network.named_parameters()):
            raise TrainingError(
                "transfer: 'co-training' would begin with two equal networks, which learn nothing from each other: "
                "model.start gives every parameter; name model.encoder.weights instead"
            )
        return {PEER: context.another(self._options.seed)}

    def train_mode(self, context: Context) -> None:
        context.extra[PEER].train()
        if self._pseudo:
            for statistics, network in zip(self._statistics, (context.network, context.extra[PEER]), strict=True):
                statistics.hold(network)

    def losses(self, context: Context, batch: Mapping[str, Tensor], output: Output) -> Mapping[str, Tensor]:
        if context.criterion is None:
            raise TrainingError("transfer: 'co-training' needs a training with a loss")
        peer, regions = context.extra[PEER], has_regions(context)
        weight = self._options.weight * ramp(context.progress, self._options.ramp)
        peer_output: Output = peer(batch["image"])
        terms = {"peer_segmentation": context.criterion(peer_output, batch["coded"])}
        if self._mutual:
            own, other, heat, counts = (
                output.logits,
                peer_output.logits,
                self._options.temperature,
                batch.get("counted"),
            )
            terms["from_peer"] = weight * divergence(own, other, heat, regions, counts)
            terms["to_peer"] = weight * divergence(other, own, heat, regions, counts)
        if self._pseudo:
            image, inside = unlabelled_of(batch)
            with self._statistics[0].unlabelled(context.network):
                own = context.network(image).logits
            with self._statistics[1].unlabelled(peer):
                other = peer(image).logits
            terms["pseudo_from_peer"] = weight * hard_entropy(own, decisions(other, regions), regions, inside)
            terms["pseudo_to_peer"] = weight * hard_entropy(other, decisions(own, regions), regions, inside)
        return terms

    def after_step(self, context: Context) -> None:
        for statistics in self._statistics:
            statistics.release()
