"""Ways to weigh losses give the numbers of torchjd, a library of its own, in double precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from voxgraft_plugins.teaching.tasks import Rates, Uncertainties, without_conflicts

pytestmark = pytest.mark.usefixtures("one_thread", "seeded")
TASKS = ("segmentation", "boundary", "reconstruction", "presence")


@pytest.fixture
def aggregation() -> Any:
    return pytest.importorskip("torchjd.aggregation", reason="torchjd is not installed: pip install torchjd")


@pytest.fixture
def scalarization() -> Any:
    return pytest.importorskip("torchjd.scalarization", reason="torchjd is not installed: pip install torchjd")


class Tasks(nn.Module):
    """Shared layers and a branch for each task; the targets pull them apart."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4))
        self.branches = nn.ModuleList(nn.Linear(4, 2) for _ in TASKS)

    def losses(self) -> list[Tensor]:
        draw = torch.Generator().manual_seed(2)
        image = torch.randn(16, 6, generator=draw, dtype=torch.double)
        wanted = torch.randn(len(TASKS), 16, 2, generator=draw, dtype=torch.double) * 3
        seen = self.shared(image)
        return [(branch(seen) - one).square().mean() for branch, one in zip(self.branches, wanted, strict=True)]


def check_projection(aggregator: Any, project: Any, seed: int) -> None:
    """The shared gradients are those of torchjd's PCGrad, which draws the same orders; branches keep their own."""
    net = Tasks().double()
    shared = list(net.shared.parameters())
    rows = [torch.autograd.grad(loss, shared, retain_graph=True) for loss in net.losses()]
    jacobian = torch.stack([torch.cat([one.flatten() for one in row]) for row in rows])
    gramian = jacobian @ jacobian.T
    assert (gramian < 0).any() and (jacobian.sum(0) - jacobian[0]).norm() > 0, "tasks must be in conflict"
    torch.manual_seed(seed)
    wanted = aggregator(jacobian)
    torch.manual_seed(seed)
    total = project(net.losses(), shared)
    total.backward()
    torch.testing.assert_close(total.double(), sum(net.losses()).detach().double(), rtol=1e-6, atol=0)  # type: ignore[union-attr]
    mine = torch.cat([parameter.grad.flatten() for parameter in shared if parameter.grad is not None])
    torch.testing.assert_close(mine, wanted, rtol=1e-6, atol=1e-9)
    for branch, loss in zip(net.branches, net.losses(), strict=True):
        own = torch.autograd.grad(loss, list(branch.parameters()))
        for parameter, gradient in zip(branch.parameters(), own, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-6, atol=1e-9)


def in_the_order_given(losses: Sequence[Tensor], shared: Sequence[nn.Parameter]) -> Tensor:
    """Sabotage: every task meets the others in one and the same order."""
    kept = torch.randperm
    torch.randperm = lambda count: torch.arange(count)  # type: ignore[assignment]
    try:
        return without_conflicts(losses, shared)
    finally:
        torch.randperm = kept


def test_projected_gradients_are_those_of_torchjd(aggregation: Any) -> None:
    for seed in range(5):
        check_projection(aggregation.PCGrad(), without_conflicts, seed)
    with pytest.raises(AssertionError):
        for seed in range(5):
            check_projection(aggregation.PCGrad(), in_the_order_given, seed)
    with pytest.raises(AssertionError):
        check_projection(aggregation.PCGrad(), lambda losses, shared: sum(losses), 0)


def check_uncertainties(peer: Any, mine: Uncertainties) -> None:
    """Value, gradients and the way that plain gradient descent takes."""
    draw = torch.Generator().manual_seed(4)
    optimisers = [torch.optim.SGD(one.parameters(), lr=0.3) for one in (peer, mine)]
    for _ in range(40):
        values = torch.rand(len(TASKS), generator=draw, dtype=torch.double) * 4 + 0.1
        totals = [peer(values), mine(dict(zip(TASKS, values, strict=True)))]
        torch.testing.assert_close(totals[1], totals[0], rtol=1e-12, atol=1e-12)
        for optimiser, total in zip(optimisers, totals, strict=True):
            optimiser.zero_grad()
            total.backward()
            optimiser.step()
        torch.testing.assert_close(mine.log_variance, peer.log_var, rtol=1e-10, atol=1e-12)
    assert peer.log_var.abs().min() > 0.05, "they have gone somewhere"


def test_learnt_uncertainties_are_those_of_torchjd(scalarization: Any) -> None:
    check_uncertainties(scalarization.UW(len(TASKS)).double(), Uncertainties(TASKS).double())

    class WithoutHalves(Uncertainties):
        def forward(self, terms: Any) -> Tensor:
            return 2 * super().forward(terms)

    with pytest.raises(AssertionError):
        check_uncertainties(scalarization.UW(len(TASKS)).double(), WithoutHalves(TASKS).double())


def check_rates(peer: Any, mine: Rates, interval: int) -> None:
    """The weighed sum of every step over five intervals."""
    draw = torch.Generator().manual_seed(6)
    for step in range(5 * interval):
        fall = torch.tensor([0.9, 0.99, 1.0, 0.7], dtype=torch.double) ** step
        values = fall * (torch.rand(len(TASKS), generator=draw, dtype=torch.double) + 0.5)
        total = mine.weighed(dict(zip(TASKS, values, strict=True)))
        torch.testing.assert_close(total, peer(values), rtol=1e-12, atol=1e-12)
        mine.end_of_step()
        if (step + 1) % interval == 0:
            peer.step()


def test_dynamic_weights_are_those_of_torchjd(scalarization: Any) -> None:
    check_rates(scalarization.DWA(2.0), Rates(TASKS, 2.0, 3), 3)
    for sabotage in (Rates(TASKS, 1.0, 3), Rates(TASKS, 2.0, 2)):
        with pytest.raises(AssertionError):
            check_rates(scalarization.DWA(2.0), sabotage, 3)
