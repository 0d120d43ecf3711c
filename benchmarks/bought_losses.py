"""Our losses beside MONAI's with masks and torch's cross-entropy: values, gradients, seconds, memory.

    python benchmarks/bought_losses.py [--rounds 7]

Both ways get the same logits and targets, a fifth of the voxels left out where it says "masked". They take turns;
figures are medians of processor seconds of value and gradient together. Memory is what one call allocates at most
beyond what it was given, counted by torch's profiler of allocations, gradient included.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from measured import in_turns, machine, parser_of
from torch import Tensor
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from voxgraft.components.choice import choose
from voxgraft.discovery import discover

Way = Callable[[Tensor, Tensor, Tensor | None], Tensor]
SHAPES = {
    "3D, 4 classes": (2, 4, 64, 64, 64),
    "3D, 30 classes": (1, 30, 64, 64, 64),
    "2D, 4 classes": (16, 4, 256, 256),
}


def bought(regions: bool) -> Way:
    """Dice plus cross-entropy from MONAI and torch, called so that they give our definition."""
    from monai.losses import DiceLoss, MaskedDiceLoss

    options = {"softmax": not regions, "sigmoid": regions, "include_background": regions, "to_onehot_y": not regions}
    plain, masked = (made(**options, batch=True, smooth_nr=1.0, smooth_dr=1.0) for made in (DiceLoss, MaskedDiceLoss))

    def loss(logits: Tensor, target: Tensor, counted: Tensor | None) -> Tensor:
        truth = target.to(logits.dtype) if regions else target[:, None]
        dice = plain(logits, truth) if counted is None else masked(logits, truth, counted[:, None])
        if regions:
            each = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
            return dice + (each.mean() if counted is None else each.movedim(1, -1)[counted].mean())
        return dice + functional.cross_entropy(
            logits, target if counted is None else target.masked_fill(~counted, -100), ignore_index=-100
        )

    return loss


def once(way: Way, logits: Tensor, target: Tensor, counted: Tensor | None) -> tuple[float, Tensor]:
    """Value and gradient."""
    given = logits.detach().requires_grad_()
    value = way(given, target, counted)
    value.backward()
    assert given.grad is not None
    return float(value.detach()), given.grad


def peak(way: Way, *given: Tensor | None) -> float:
    """Megabytes that one call allocates at most."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        once(way, *given)  # type: ignore[arg-type]
    now = most = 0
    for event in found.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most / 1e6


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    warnings.filterwarnings("ignore")
    print(machine())
    ours = choose(discover(), "loss", {"use": "dice-ce"}).build()
    for name, shape in SHAPES.items():
        for regions in (False, True):
            for masked in (False, True):
                label = f"{name}, {'regions' if regions else 'classes'}{', masked' if masked else ''}"
                compare(label, {"ours": ours, "bought": bought(regions)}, *example(shape, regions, masked), rounds)
    logits, target, counted = example((2, 4, 16, 16, 16), False, True)
    assert counted is not None
    edges = {
        "absent classes": (target.clamp_max(1), counted),
        "nothing but background": (target * 0, counted),
        "no voxel counts": (target, counted & False),
    }
    for name, (truth, mask) in edges.items():
        mine, theirs = (float(way(logits, truth, mask)) for way in (ours, bought(False)))
        print(f"{name}: ours {mine:.6f}, bought {theirs:.6f}")


def example(shape: tuple[int, ...], regions: bool, masked: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Logits, a target and, where some are left out, the voxels that count."""
    torch.manual_seed(0)
    size = (shape[0], *shape[2:])
    target = (torch.rand(shape) < 0.2).byte() if regions else torch.randint(0, shape[1], size)
    return torch.randn(shape), target, torch.rand(size) < 0.8 if masked else None


def compare(
    label: str, ways: dict[str, Way], logits: Tensor, target: Tensor, counted: Tensor | None, rounds: int
) -> None:
    """Print seconds, megabytes and how far values and gradients lie apart."""
    calls = {name: partial(once, way, logits, target, counted) for name, way in ways.items()}
    (mine, slope), (theirs, other) = (call() for call in calls.values())
    seconds = {name: median(one.cpu for one in taken) for name, taken in in_turns(calls, rounds).items()}
    memory = {name: round(peak(way, logits, target, counted)) for name, way in ways.items()}
    print(
        f"{label:32} {seconds['ours']:.3f} s, {memory['ours']} MB; bought {seconds['bought']:.3f} s "
        f"({seconds['bought'] / seconds['ours']:.2f} times), {memory['bought']} MB; value apart "
        f"{abs(mine - theirs):.1e}, gradient {float((slope - other).abs().max() / slope.abs().max()):.1e}"
    )


if __name__ == "__main__":
    main()
