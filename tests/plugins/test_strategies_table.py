"""Tests of the table of parameters: it says what the first step does, and sees sabotage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from strategy_jobs import job
from strategy_stacks import CPU, STACKS, made
from strategy_trainer import Trainer, batches, network
from voxgraft.components.catalogue import Catalogue
from voxgraft.training import loop
from voxgraft.transfer.strategy import Context, Row, TransferStrategy
from voxgraft_plugins.transfer.options import FreezeOptions
from voxgraft_plugins.transfer.strategies import Freeze


def check_table(strategies: Sequence[TransferStrategy]) -> None:
    """What plain gradient descent really does in its first step is what the table says of every parameter."""
    torch.set_default_dtype(torch.float64)
    try:
        net = network()
        trainer = Trainer(net, *strategies, lr=1e-3, weight_decay=0.0, use="sgd", momentum=0.0)
        assert set(trainer.rows) == {name for name, _ in net.named_parameters()}
        assert all(trainer.rows[name].shape == tuple(p.shape) for name, p in net.named_parameters())
        before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
        trainer.net.double()
        image, target = (one.double() if one.is_floating_point() else one for one in batches(1)[0])
        stack, context = trainer.stack, trainer.context
        stack.before_step(context)
        trainer.mode()
        output = net(image)
        terms = {"segmentation": nn.functional.cross_entropy(output.logits, target)}
        terms.update(stack.losses(context, {"image": image, "target": target}, output))
        stack.combine(context, terms).backward()
        trainer.optimiser.step()
        stack.after_step(context)
        learnt = 0
        for name, parameter in net.named_parameters():
            step = (before[name] - parameter.detach()).norm()
            row = trainer.rows[name]
            if not row.train or parameter.grad is None:
                assert float(step) == 0, name
            elif float(parameter.grad.norm()) > 1e-9:
                learnt += 1
                assert float(step / parameter.grad.norm()) == pytest.approx(row.lr, rel=2e-3), name
        assert learnt >= 2
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", [name for name in STACKS if "prune" not in name and "decoupled" not in name])
def test_the_table_says_what_the_first_step_does(name: str, catalogue: Catalogue) -> None:
    strategies = made(catalogue, name)
    for strategy in strategies:
        if strategy.name == "clip":
            strategy._c = 1.0  # type: ignore[attr-defined]  # so wide that it does not cut this step
    check_table(strategies)


class Pushes(TransferStrategy):
    """Moves what the table says is moved by the optimiser alone."""

    def after_step(self, context: Context) -> None:
        with torch.no_grad():
            context.network.heads[0].weight.mul_(1.001)


class Hides(TransferStrategy):
    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        return [row for row in rows if row.train and not row.name.startswith("heads")]


class SaysTrained(TransferStrategy):
    """Frozen, and moved by hand."""

    def edit(self, rows: Sequence[Row], context: Context) -> list[Row]:
        return [row.but(train=not row.name.startswith("encoder.stem.")) for row in rows]

    def after_step(self, context: Context) -> None:
        with torch.no_grad():
            context.network.encoder.stem.weight.mul_(0.999)


@pytest.mark.parametrize("sabotage", [Pushes, Hides, SaysTrained])
def test_the_law_of_the_table_sees_sabotage(sabotage: type[TransferStrategy]) -> None:
    with pytest.raises((AssertionError, KeyError)):
        check_table([sabotage()])


class Branch(TransferStrategy):
    """Brings a module of its own."""

    def prepare(self, context: Context) -> dict[str, nn.Module]:
        return {"branch": nn.Conv2d(8, 1, 1)}

    def losses(self, context: Context, batch: Any, output: Any) -> dict[str, Tensor]:
        return {"branch": context.extra["branch"](output.maps[0]).pow(2).mean()}


def test_the_table_holds_modules_that_strategies_bring(tmp_path: Path) -> None:
    work = job(tmp_path, [Branch(), Freeze(FreezeOptions())])
    names = [row.name for row in work.rows]
    wanted = [name for name, _ in work.network.named_parameters()] + ["branch.weight", "branch.bias"]
    assert names == wanted
    assert {row.name: row.origin for row in work.rows}["branch.weight"] == "new"
    before = work.extra["branch"].weight.detach().clone()
    loop.fit(work, Fabric(**CPU))
    assert not torch.equal(before, work.extra["branch"].weight)
