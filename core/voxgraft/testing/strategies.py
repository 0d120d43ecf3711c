"""Conformance checks of strategies, each tried in the real training loop on a network that trains in a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ..components.choice import Options, Selected, StrategyOptions
from ..errors import VoxGraftError
from ..networks.modules import DecoderModule, EncoderModule
from ..networks.network import SegmentationNetwork
from ..preprocessing.plan import Plan
from ..training.batches import batches_of
from ..training.job import Job
from ..training.loop import fit
from ..training.loss import LossSpec
from ..training.setup import table
from ..transfer.stack import Stack
from ..transfer.strategy import Context
from ..workflow.sections import Training
from .conformance import NotApplicable, Subject, check, require

PLAN = Plan(
    dims=2,
    image_dims=2,
    channels=("t1", "flair"),
    optional=("flair",),
    labels=((1, "square"),),
    modality="mr",
    normalisation=({}, {}),
    spacing=(1.0, 1.0),
    patch=(16, 16),
    batch=4,
    strides=((1, 1), (2, 2)),
)
STRENGTHS = {"rotation": 15.0, "scale": 0.1, "noise": 0.1}

Look = Callable[[SegmentationNetwork], dict[str, float]]


class _Killed(BaseException):
    """Stands for a signal that nothing catches."""


@dataclass(frozen=True)
class _Square:
    """A prepared case in memory: a bright square on noise."""

    case: str
    image: NDArray[np.float32]
    label: NDArray[Any]
    places: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.label.shape


class _Encoder(EncoderModule):
    """Two levels, with BatchNorm and dropout: everything that a careless strategy gets wrong."""

    channels = (8, 8)
    strides = ((1, 1), (2, 2))
    stages = (("stem",), ("down",))

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1))
        self.down = nn.Sequential(nn.Conv2d(8, 8, 3, 2, padding=1), nn.BatchNorm2d(8), nn.ReLU())

    def forward(self, image: Tensor) -> list[Tensor]:
        fine = self.stem(image)
        return [fine, self.down(fine)]


class _Decoder(DecoderModule):
    channels = (8,)

    def __init__(self) -> None:
        super().__init__()
        self.join = nn.Conv2d(16, 8, 1)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        return [self.join(torch.cat([maps[0], functional.interpolate(maps[1], maps[0].shape[2:])], 1))]


@check("strategy", "a killed training ends like one that was not")
def _a_killed_training_ends_as_one_that_was_not(subject: Subject, folder: Path) -> None:
    looks = 0

    def kill(network: SegmentationNetwork) -> dict[str, float]:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise _Killed
        return {"dice": 0.5}

    straight = _fit(_job(subject, folder / "straight"))
    try:
        _fit(_job(subject, folder / "killed", kill))
    except _Killed:
        torch.manual_seed(999)
    resumed = _fit(_job(subject, folder / "killed"))
    differ = [name for name, value in straight.items() if not torch.equal(value, resumed[name])]
    require(not differ, f"gone on from a checkpoint it ends with another {', '.join(differ[:3])}")


@check("strategy", "every parameter keeps its row")
def _every_parameter_keeps_its_row(subject: Subject, folder: Path) -> None:
    job = _job(subject, folder)
    wanted = {name: tuple(parameter.shape) for name, parameter in job.network.named_parameters()}
    found = [(row.name, row.shape) for row in job.rows]
    require(len(dict(found)) == len(found), "a parameter has two rows")
    lost = [name for name, shape in wanted.items() if dict(found).get(name) != shape]
    require(not lost, f"its edit loses the rows of {', '.join(lost[:3])}")
    require(all(row.lr >= 0 and row.weight_decay >= 0 for row in job.rows), "a rate or a decay is negative")


@check("strategy", "what its rows do not train stays as it is")
def _what_is_not_trained_stays(subject: Subject, folder: Path) -> None:
    job = _job(subject, folder)
    fixed = {row.name for row in job.rows if not row.train}
    before = {name: value.clone() for name, value in job.network.named_parameters() if name in fixed}
    _fit(job)
    moved = [name for name, value in job.network.named_parameters() if name in fixed and not value.equal(before[name])]
    require(not moved, f"its rows say that {', '.join(moved[:3])} is not trained, and it changes")


@check("strategy", "what is kept shows no trace of it")
def _what_is_kept_shows_no_trace(subject: Subject, folder: Path) -> None:
    job = _job(subject, folder)
    plain = {name: tuple(value.shape) for name, value in _network(0).state_dict().items()}
    kept = _fit(job)
    require({name: tuple(value.shape) for name, value in kept.items()} == plain, "it keeps a network of other tensors")
    bad = [name for name, value in kept.items() if not bool(torch.isfinite(value).all())]
    require(not bad, f"it keeps values in {', '.join(bad[:3])} that are not finite")
    before = deepcopy(job.network.state_dict())
    job.stack.export(job.context, deepcopy(job.network))
    after = job.network.state_dict()
    require(
        all(torch.equal(before[name], after[name]) for name in before), "its export changes what training goes on with"
    )


@check("strategy", "two of it in a stack train, or are refused")
def _two_of_it_train_or_are_refused(subject: Subject, folder: Path) -> None:
    try:
        _fit(_job(subject, folder, times=2))
    except VoxGraftError as error:
        require(str(error).isprintable() and len(str(error)) < 600, f"two in a stack: no plain sentence: {error}")


@check("strategy", "what it needs is said before it is built")
def _its_needs_are_known(subject: Subject, folder: Path) -> None:
    options = subject.chosen.options
    needs = subject.spec.needs | (options.needs if isinstance(options, StrategyOptions) else frozenset())
    unknown = sorted(needs - {"pretrained", "unlabelled", "teacher", "source"})
    require(not unknown, f"no workflow can give what it needs: {', '.join(unknown)}")
    if "teacher" not in needs:
        more = sorted(subject.build().needs - needs)
        require(not more, f"it needs {', '.join(more)}, which neither its spec nor its options say")


def _fit(job: Job) -> dict[str, Tensor]:
    """The tensors of the network that is kept."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums are then taken in one order
    try:
        return fit(job, Fabric(accelerator="cpu", devices=1))[0].state_dict()
    finally:
        torch.set_num_threads(threads)


def _job(subject: Subject, folder: Path, look: Look = lambda network: {"dice": 0.5}, times: int = 1) -> Job:
    """A training of four steps with a look and a checkpoint after each."""
    if isinstance(subject.chosen.options, StrategyOptions) and subject.chosen.options.teachers:
        raise NotApplicable("it learns from a model that is not here")
    loss = Selected(LossSpec(name="cross-entropy", summary="", build=lambda options: _cross_entropy), Options())
    options = {
        "budget": "4 steps",
        "validate_every": 0.25,
        "ema": 0.9,
        "loss": loss,
        "device": "cpu",
        "foreground": 0.5,
    }
    training = Training.model_validate({**options, "optimiser": {"lr": 1e-2}})
    network, stack = _network(0), Stack([subject.build() for _ in range(times)])
    loaded = frozenset(name for name in network.state_dict() if name.startswith("encoder."))
    context = Context(network, loaded, plan=PLAN, another=_network)
    context.extra = stack.prepare(context)
    squares = [_square(number) for number in range(3)]
    return Job(
        network=network,
        stack=stack,
        rows=table(stack, context, training.optimiser),
        context=context,
        extra=context.extra,
        batches=batches_of(squares, squares, PLAN, stack, STRENGTHS, training),
        plan=PLAN,
        spacing=PLAN.spacing,
        loss=_cross_entropy,
        strengths=STRENGTHS,
        options=training,
        folder=folder,
        identity="conformance",
        look=look,
        report=lambda numbers, step: None,
        show=lambda share, note: None,
    )


def _network(seed: int) -> SegmentationNetwork:
    torch.manual_seed(seed)
    return SegmentationNetwork(_Encoder(), _Decoder(), 2, 2)


def _square(number: int) -> _Square:
    image = np.random.default_rng(number).normal(0, 0.3, (2, 24, 26)).astype(np.float32)
    label = np.zeros((24, 26), np.uint8)
    label[4 + number : 12 + number, 5:14] = 1
    image[:, label == 1] += 2
    places = np.argwhere(label == 1)
    return _Square(f"case{number}", image, label, np.concatenate([np.ones((len(places), 1), int), places], 1))


def _cross_entropy(logits: Tensor, target: Tensor, counted: Tensor | None = None) -> Tensor:
    return functional.cross_entropy(logits, target)
