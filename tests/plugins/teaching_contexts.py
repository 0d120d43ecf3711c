"""Networks, batches and contexts for tests of strategies that learn from more than the labelled batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from strategy_jobs import plan
from strategy_trainer import Stages, Sum, batches, network
from voxgraft.networks.network import SegmentationNetwork
from voxgraft.transfer.strategy import Context, TransferStrategy


def other(seed: int) -> SegmentationNetwork:
    torch.manual_seed(seed)
    return SegmentationNetwork(Stages(), Sum(), 2, 2)


def ready(strategy: TransferStrategy, net: SegmentationNetwork | None = None, progress: float = 1.0) -> Context:
    context = Context(net or network(), plan=plan(), another=other, progress=progress)
    context.criterion = lambda output, coded: functional.cross_entropy(output.logits, coded)
    context.extra = dict(strategy.prepare(context))
    strategy.before_step(context)
    context.network.train()
    strategy.train_mode(context)
    return context


def batch() -> dict[str, Tensor]:
    (image, target), (unlabelled, _) = batches(2)
    inside = torch.ones(3, 16, 16, dtype=torch.bool)
    inside[0, :4] = False
    return {"image": image, "target": target, "coded": target, "unlabelled": unlabelled * 3 - 1, "inside": inside}
