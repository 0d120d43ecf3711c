"""What tests of strategies share: a network with all that behaves differently in training, and the order of calls of
the training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from voxgraft.networks.network import SegmentationNetwork
from voxgraft.training.optimiser import make_optimiser
from voxgraft.transfer.stack import Stack
from voxgraft.transfer.strategy import Context, TransferStrategy, parameter_table
from voxgraft.workflow.sections import Optimiser

Make = Callable[[], TransferStrategy]


class Stages(nn.Module):
    """Three stages with all that behaves differently in training: BatchNorm and dropout."""

    channels = (8, 8, 8)
    strides = ((1, 1), (2, 2), (4, 4))

    def __init__(self) -> None:
        super().__init__()
        self.stages = [["stem", "stem_norm"], ["middle"], ["deep.conv.weight", "deep.conv.bias", "deep.norm"]]
        self.stem = nn.Conv2d(1, 8, 3, 1, 1)
        self.stem_norm = nn.BatchNorm2d(8)
        self.middle = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5))
        self.deep = nn.ModuleDict({"conv": nn.Conv2d(8, 8, 3, 2, 1), "norm": nn.BatchNorm2d(8)})

    def forward(self, image: Tensor) -> list[Tensor]:
        a = self.stem_norm(self.stem(image))
        b = self.middle(a)
        return [a, b, self.deep["norm"](self.deep["conv"](b))]


class Sum(nn.Module):
    """A decoder with a BatchNorm of its own."""

    channels = (8,)

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(8)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        return [self.norm(sum(functional.interpolate(one, maps[0].shape[2:]) for one in maps))]


def network() -> SegmentationNetwork:
    torch.manual_seed(0)
    return SegmentationNetwork(Stages(), Sum(), 2, 2)


def batches(count: int) -> list[tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(1)
    return [
        (torch.randn(3, 1, 16, 16, generator=draw) * 2 + 1, torch.randint(0, 2, (3, 16, 16), generator=draw))
        for _ in range(count)
    ]


class Trainer:
    """The order of calls that `voxgraft.training` keeps, and nothing else."""

    def __init__(
        self, net: SegmentationNetwork, *strategies: TransferStrategy, lr: float = 1e-2, **options: Any
    ) -> None:
        pretrained = frozenset(name for name in net.state_dict() if name.startswith("encoder."))
        self.net, self.stack = net, Stack(strategies)
        self.context = Context(net, options.pop("pretrained", pretrained), plan=options.pop("plan", None))
        self.stack.prepare(self.context)
        rows = parameter_table(net, lr, options.pop("weight_decay", 0.1), self.context.pretrained)
        self.rows = {row.name: row for row in self.stack.edit(rows, self.context)}
        parameters = dict(net.named_parameters())
        for row in self.rows.values():
            parameters[row.name].requires_grad_(row.train)
        self.optimiser = make_optimiser(list(self.rows.values()), parameters, Optimiser(**options))

    def mode(self) -> None:
        self.net.train()
        self.stack.train_mode(self.context)

    def fit(self, steps: int, total: int, first: int = 0) -> Trainer:
        for step, (image, target) in enumerate(batches(total)[first : first + steps], start=first):
            self.context.step, self.context.progress = step, step / total
            self.stack.before_step(self.context)
            self.mode()
            self.optimiser.zero_grad()
            image = self.stack.inputs(self.context, image, step)
            output = self.net(image)
            terms = {"segmentation": functional.cross_entropy(output.logits, target)}
            terms.update(self.stack.losses(self.context, {"image": image, "target": target}, output))
            self.stack.combine(self.context, terms).backward()
            self.optimiser.step()
            self.stack.after_step(self.context)
        return self


def state(net: nn.Module, start: str = "") -> dict[str, Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items() if name.startswith(start)}


def moved(before: Mapping[str, Tensor], net: nn.Module) -> set[str]:
    after = net.state_dict()
    return {name for name, value in before.items() if not torch.equal(value, after[name])}
