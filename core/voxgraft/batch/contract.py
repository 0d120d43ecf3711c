"""Which scans a model takes: the judgement of an image's header by what the model was trained on; whether a scan fits
into memory, before a voxel is read; and then whether its values are those of the model's modality.

What a radiologist expects of it:

- A study holds many series; the model takes the ones it was made for and says of each other one why not. That is
  nothing that went wrong: those series are `left-out`.
- A scan that differs a little from the training data (another scanner's spacing, a larger field of view) is
  segmented, and flagged so that it stands high in the worklist.
- A series that is not like those that the workflow's rules chose (description, modality, direction of slices) is of
  another kind, whatever its grid is.
- A scan that differs so much that a mask would only look like a result (another modality, slices more than twice as
  thick as any in training, another number of channels) is refused with the reasons; it has failed, because a patient
  is without a mask. Naming a series (`--series`) or `--ignore-contract` is a person's word and outweighs the refusal,
  as far as the network can take the image at all; the flag remains.
- A series that is of the right kind but damaged fails, and is not skipped: somebody has to send it again.

Finer spacing than in training and another size are never reasons to refuse: images are resampled, and the network
walks over any size. Coarser spacing is, beyond a factor of two: what was not recorded cannot be resampled.

Lengths are given from left to right, from back to front and from foot to head, as the plan has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError
from ..imaging.orientation import orientation_of, shape_at
from ..inference.need import TooLarge
from ..preprocessing.modality import HOUNSFIELD, like_hounsfield, not_hounsfield, unit_of
from ..support.machine import free_memory
from ..support.texts import composed

if TYPE_CHECKING:
    from ..imaging.volume import Array, Item, Volume
    from ..preprocessing.plan import Plan
    from .entry import Entry


SLACK = {"spacing_mm": 0.05, "size_mm": 0.1}
"""By how much a value may lie outside the range of training and still count as inside."""

TOO_COARSE = 2.0
"""So many times the coarsest spacing of training is refused."""


class Level(IntEnum):
    """How an image stands to the contract, best first."""

    FITS = 0
    DOUBTFUL = 1
    UNFIT = 2
    IMPOSSIBLE = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an image stands to the contract, and why it is not better."""

    level: Level = Level.FITS
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "; ".join(self.reasons) or "fits"


@dataclass(slots=True)
class Selection:
    """What is taken of the images that belong together (the series of a study, or one file).

    Attributes:
        taken: Images to segment; a verdict that is not FITS becomes a flag.
        left_out: Images not to segment, and why.
        refused: Why none is taken; then the other two are empty.
        absent: None is taken because the series that a person named is not among them.
    """

    taken: list[tuple[Item, Verdict]] = field(default_factory=list)
    left_out: list[tuple[Item, str]] = field(default_factory=list)
    refused: str = ""
    absent: bool = False


def judge(item: Item, plan: Plan, *, channels: int | None = None, grid: bool = True) -> Verdict:
    """Compare an image's header with the plan and its contract; what the header does not say is not held against it.

    Args:
        channels: What the image must have; by default what the network takes.
        grid: Judge its spacing and size too; not where it is brought onto the grid of another channel.
    """
    differences = list(_differences(item, plan, len(plan.channels) if channels is None else channels, grid))
    return Verdict(
        max((level for level, _ in differences), default=Level.FITS), tuple(reason for _, reason in differences)
    )


def select(items: Sequence[Item], plan: Plan, *, wanted: str | None = None, force: bool = False) -> Selection:
    """Choose among images that belong together.

    Args:
        wanted: The SeriesInstanceUID or description that a person named (`--series`); images without a name are not
            concerned by it.
        force: Take all that the network can take.
    """
    verdicts = [(item, judge(item, plan) if item.shape else Verdict()) for item in items]
    if wanted is not None and any(item.series is not None for item in items):
        return _named(verdicts, wanted)
    if force:
        return _best(verdicts, Level.UNFIT, everything=True)
    sound = [verdict.level for item, verdict in verdicts if not item.errors]
    best = min(sound, default=None)
    if best is not None and best <= Level.DOUBTFUL:
        return _best(verdicts, best)
    return _best(verdicts, Level.DOUBTFUL)


def _named(verdicts: Sequence[tuple[Item, Verdict]], wanted: str) -> Selection:
    chosen = [pair for pair in verdicts if is_called(pair[0], wanted)]
    if not chosen:
        names = "; ".join(_name(item) for item, _ in verdicts[:10])
        return Selection(refused=f"has no series {wanted!r} (found: {names})", absent=True)
    selection = _best(chosen, Level.UNFIT, everything=True)
    if not selection.refused:
        others = [item for item, _ in verdicts if not is_called(item, wanted)]
        selection.left_out += [(item, f"is not the series asked for ({wanted})") for item in others]
    return selection


def _best(verdicts: Sequence[tuple[Item, Verdict]], worst: Level, *, everything: bool = False) -> Selection:
    """Take the images up to a level. A damaged image is taken, to fail by itself, where it fits as well as the rest."""
    selection = Selection()
    for item, verdict in verdicts:
        alone = len(verdicts) == 1
        known_to_fit = verdict.level == Level.FITS and _has_geometry(item)
        if item.errors and not alone and not (everything or known_to_fit):
            selection.left_out.append((item, "; ".join(problem.message for problem in item.errors)))
        elif verdict.level <= worst or (item.errors and alone and not item.shape):
            selection.taken.append((item, verdict))
        else:
            selection.left_out.append((item, str(verdict) if verdict.reasons else "another series fits better"))
    if not selection.taken:
        forceable = any(worst < verdict.level < Level.IMPOSSIBLE for _, verdict in verdicts)
        return Selection(refused=_refusal(selection.left_out, forceable))
    return selection


def _has_geometry(item: Item) -> bool:
    """Whether a damaged image still says where it lies; readers give the identity where it does not."""
    return bool(item.shape) and not np.array_equal(item.affine, np.eye(4))


def is_called(item: Item, wanted: str) -> bool:
    """Whether a person who says `wanted` means this image; how accents are encoded does not matter."""
    return composed(wanted) in (composed(item.series or ""), composed(item.description or ""))


def _refusal(left_out: Sequence[tuple[Item, str]], forceable: bool) -> str:
    if len(left_out) == 1:
        hint = " (--ignore-contract segments it anyway)" if forceable else ""
        return f"does not fit the model: {left_out[0][1]}{hint}"
    reasons = "; ".join(f"{_name(item)}: {reason}" for item, reason in left_out[:10])
    hint = ". --series NAME or --ignore-contract segments them anyway" if forceable else ""
    return f"none of its {len(left_out)} series fits the model ({reasons}){hint}"


def _name(item: Item) -> str:
    return item.description or item.series or item.path.name


def _differences(item: Item, plan: Plan, channels: int, grid: bool) -> Iterator[tuple[Level, str]]:
    if len(item.shape) != plan.image_dims:
        yield Level.IMPOSSIBLE, f"it has {len(item.shape)} axes, the model takes {plan.image_dims}D images"
        return
    if item.channels != channels:
        yield Level.IMPOSSIBLE, _other_channels(item.channels, plan, channels)
    codes = plan.contract.get("modality") or []
    if codes and item.modality and item.modality not in codes:
        yield Level.UNFIT, f"it is {item.modality}, the model was trained on {' and '.join(codes)}"
    elif item.series is not None:
        yield from _unlike_chosen(item, plan.contract.get("series") or {})
    if not grid:
        return
    units, said = plan.contract.get("units") or [], unit_of(item)
    if units and said not in ("", HOUNSFIELD, *units):
        yield Level.UNFIT, f"its values are in {said}, the model was trained on {' and '.join(units)}"
    order = orientation_of(item.affine, len(item.shape)).order
    spacing = [item.spacing[axis] for axis in order]
    size = [item.spacing[axis] * item.shape[axis] for axis in order]
    coarsest = [high for _, high in plan.contract.get("spacing_mm") or []]
    if seen := _outside("spacing_mm", spacing, plan.contract):
        coarse = any(step > TOO_COARSE * most for step, most in zip(spacing, coarsest, strict=True))
        yield Level.UNFIT if coarse else Level.DOUBTFUL, f"its voxels are {_times(spacing)} mm, in training {seen} mm"
    if seen := _outside("size_mm", size, plan.contract):
        yield Level.DOUBTFUL, f"it is {_times(size)} mm large, in training {seen} mm"


def _other_channels(number: int, plan: Plan, wanted: int) -> str:
    """What to say of an image with so many channels, and what to do."""
    names = f" ({', '.join(plan.channels)})" if wanted == len(plan.channels) else ""
    text = f"it has {number} channel{'' if number == 1 else 's'}, the model takes {wanted}{names}"
    if number == 1 and plan.image_dims == 2:
        return f"{text}: it is grey; save it in colour, or put all channels into one file"
    if wanted == 1:
        return f"{text}: save the right channel as a separate image, or the picture as grey"
    return f"{text}: put all channels into one file, or name a file for each in a CSV worklist"


def _unlike_chosen(item: Item, series: Mapping[str, Any]) -> Iterator[tuple[Level, str]]:
    """In what a series is not like those that training chose."""
    from ..datasets.cases import Described

    rule = Described.of(series)
    for reason in rule.misfits(item):
        yield Level.UNFIT, reason
    if rule.takes and not item.description:
        yield Level.DOUBTFUL, f"it has no description, and training took {', '.join(rule.takes)}"


def _outside(key: str, values: Sequence[float], contract: dict[str, Any]) -> str:
    """The ranges seen in training, where a value lies outside them; empty where all lie inside or none are known."""
    ranges = contract.get(key) or []
    inside = all(
        low * (1 - SLACK[key]) <= value <= high * (1 + SLACK[key])
        for value, (low, high) in zip(values, ranges, strict=False)
    )
    return "" if inside or len(ranges) != len(values) else " x ".join(_range(low, high) for low, high in ranges)


def _times(values: Sequence[float]) -> str:
    return " x ".join(f"{value:.3g}" for value in values)


def _range(low: float, high: float) -> str:
    return f"{low:.3g}" if low == high else f"{low:.3g}-{high:.3g}"


DRAWN = 100_000
"""Voxels that stand for the distribution of a channel's intensities."""

SEEN_AIR = -500.0
"""In training a channel with values below this held Hounsfield units, or something like them, itself."""


class Unfit(DataError):
    """The values of a scan do not fit the model."""


def judge_values(scan: Volume, known: bool, plan: Plan, missing: tuple[int, ...] = ()) -> Verdict:
    """Compare the values of a scan with those that the model was trained on.

    Values that look like Hounsfield units are refused by a model of another modality that saw none in training; values
    that do not are doubted by a model of CT alone that did.

    Args:
        scan: Shape (i, j[, k]) or (channel, i, j[, k]).
        known: The headers say the modality, which then counts.
        missing: The channels that are not there.
    """
    codes = plan.contract.get("modality") or []
    seen = plan.contract.get("values") or []
    if known or not codes:
        return Verdict()
    differences: list[tuple[Level, str]] = []
    for number, channel in enumerate(scan.array.reshape(scan.channels, *scan.shape)):
        if number not in missing:
            lowest = seen[number][0] if number < len(seen) else None
            differences += _differing_values(channel, codes, lowest)
    return Verdict(
        max((level for level, _ in differences), default=Level.FITS),
        tuple(dict.fromkeys(text for _, text in differences)),
    )


def refuse_unfit(verdict: Verdict, forced: bool) -> None:
    """Refuse what the contract refuses, unless a person's word outweighs it.

    Raises:
        Unfit: It does not fit the model.
    """
    if verdict.level == Level.UNFIT and not forced:
        raise Unfit(f"does not fit the model: {verdict} (--ignore-contract segments it anyway)")


def _differing_values(channel: Array, codes: list[str], lowest: float | None) -> Iterator[tuple[Level, str]]:
    flat = channel.ravel(order="K")
    drawn = flat[:: max(1, flat.size // DRAWN) | 1].astype(np.float64)
    drawn = drawn[np.isfinite(drawn)]
    if not drawn.size:
        return
    low, high = (float(value) for value in np.percentile(drawn, [0.5, 99.5]))
    if "CT" not in codes:
        strange = lowest is None or lowest > SEEN_AIR
        if strange and like_hounsfield(low, high, bool((drawn == np.rint(drawn)).all())):
            of = " and ".join(codes)
            yield Level.UNFIT, f"its values look like Hounsfield units, and the model was trained on {of}"
    elif codes == ["CT"] and lowest is not None and lowest < 0 and (why := not_hounsfield(drawn.min(), drawn.max())):
        yield Level.DOUBTFUL, f"it is not a CT in Hounsfield units: {why}"


STORED, SEEN, MASK = 2, 4, 1
"""The least bytes of a voxel: as it is stored, as the network sees it (float32, at the plan's spacing), in a mask."""


def check_memory(entry: Entry, plan: Plan, free: int | None = None) -> None:
    """Refuse a scan that cannot fit; one that passes may still not.

    Args:
        entry: The scan, of which only headers have been read.
        plan: Gives the spacing and the channels that the network sees.
        free: Bytes; by default what this machine has left.

    Raises:
        TooLarge: The message gives its size, what it needs at least and what is free.
    """
    need = least_bytes(entry, plan)
    free = free_memory() if free is None else free
    if need > free:
        size = "x".join(map(str, entry.items[0].shape))
        raise TooLarge(
            f"its {size} voxels need at least {need / 1e9:.1f} GB of memory, and {max(free, 0) / 1e9:.1f} GB are free"
        )


def least_bytes(entry: Entry, plan: Plan) -> int:
    """Bytes that no way of segmenting a scan can do without: its voxels, and what predicting takes beside them."""
    stored = sum(prod(item.shape) * item.channels * STORED for item in entry.items)
    return stored + (bytes_beside(entry.items[0], plan) if entry.items else 0)


def bytes_beside(scan: Item | Volume, plan: Plan) -> int:
    """Bytes that no way of predicting can do without beside the scan itself: what the network sees of it, the mask."""
    mask = prod(scan.shape) * MASK
    if len(scan.shape) != len(plan.spacing):
        return mask
    order = orientation_of(scan.affine, len(scan.shape)).order
    seen = shape_at([scan.shape[axis] for axis in order], [scan.spacing[axis] for axis in order], plan.spacing)
    return mask + prod(seen) * max(len(plan.channels), scan.channels) * SEEN
