"""Cases unlike the others: spacing, extent, intensities, and structures that are tiny, huge or in pieces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..datasets.cases import Dataset
from ..imaging.volume import NO_SPACING
from ..support.texts import counted, listed
from .problem import CaseProblem, Severity, millimetres

if TYPE_CHECKING:
    from .record import Look, Mask, Structure

ODD_SPACING = 3.0
"""By how many times the spacing of a case may differ from the median."""

ODD_SIZE = 3.0
"""By how many times the extent in millimetres may differ."""

ENOUGH = 10
"""Cases from which on the spread of a figure means something."""

TINY = 10
"""Voxels of a structure below which it may be a slip, where the usual ones are ten times as large."""

RARE = 1e-4
"""The share of voxels below which patches seldom meet a structure."""


def robust_z(values: ArrayLike, floor: float) -> NDArray[np.float64]:
    """How many deviations each value lies from the median, the deviation taken from the median distance (MAD).

    Args:
        floor: The least deviation, so that nearly equal values do not make any other one an outlier.
    """
    numbers = np.asarray(values, np.float64)
    away = numbers - np.median(numbers)
    result: NDArray[np.float64] = away / max(floor, 1.4826 * float(np.median(np.abs(away))))
    return result


def judge_grids(looks: Sequence[Look]) -> Iterator[CaseProblem]:
    """Spacings and extents far from those of the other images."""
    read = [look for look in looks if look.shape]
    axes = Counter(len(look.shape) for look in read)
    if len(axes) > 1:
        message = f"{axes[2]} images are 2D and {axes[3]} are 3D; train on one kind at a time"
        severity: Severity = "error" if any(look.case.label is not None for look in looks) else "warning"
        yield CaseProblem("mixed-dimensions", severity, None, message)
        return
    if len(read) < 3:
        return
    spacing = np.median([look.spacing for look in read], axis=0)
    size = np.median([look.size for look in read], axis=0)
    for look in read:
        ratio = np.asarray(look.spacing) / spacing
        if max(ratio.max(), 1 / ratio.min()) > ODD_SPACING:
            far = f"{millimetres(look.spacing)} mm is far from the median {millimetres(spacing)} mm"
            yield CaseProblem("odd-spacing", "warning", look.case.id, f"the spacing {far}; is it right?")
            continue
        ratio = np.asarray(look.size) / size
        if len(read) > 4 and max(ratio.max(), 1 / ratio.min()) > ODD_SIZE:
            far = f"{millimetres(look.size)} mm; the median over all images is {millimetres(size)} mm"
            yield CaseProblem("odd-size", "note", look.case.id, f"the image covers {far}")


def judge_intensities(looks: Sequence[Look]) -> Iterator[CaseProblem]:
    """Images whose range of intensities is far from that of the others."""
    read = [look for look in looks if look.channels and None not in look.case.images]
    for channel in range(min((len(look.channels) for look in read), default=0)):
        some = [look for look in read if look.channels[channel].high > look.channels[channel].low]
        if len(some) < ENOUGH:
            continue
        widths = np.log10([look.channels[channel].high - look.channels[channel].low for look in some])
        usual = 10 ** float(np.median(widths))
        for look, z in zip(some, robust_z(widths, 0.1), strict=True):
            width = look.channels[channel].high - look.channels[channel].low
            if abs(z) > 6 and max(width / usual, usual / width) > 5:
                which = f" of channel {channel + 1}" if len(look.channels) > 1 else ""
                message = f"intensity range {_rounded(width)}{which}; the median over all images is {_rounded(usual)}"
                yield CaseProblem("odd-intensity", "note", look.case.id, message)


def _rounded(number: float) -> str:
    """Three digits that count, with commas for thousands: 297,000."""
    return f"{float(f'{number:.3g}'):,g}" if number < 1e6 else f"{number:.3g}"


def judge_structures(dataset: Dataset, looks: Sequence[Look]) -> Iterator[CaseProblem]:
    """Structures that are tiny, of odd volume, in pieces, cut off or rare; masks that cover everything."""
    masks = [(look, look.mask) for look in looks if look.mask is not None]
    names = {label.value: repr(label.name) for label in dataset.labels.items} if dataset.labels else {}
    cut: list[str] = []
    for value in sorted({value for _, mask in masks for value in mask.structures}):
        name = names.get(value, f"value {value}")
        with_it = [(look, mask.structures[value]) for look, mask in masks if value in mask.structures]
        yield from _volumes(name, with_it)
        yield from _pieces(name, with_it)
        reaching = [(look.case.id, structure.faces) for look, structure in with_it if structure.faces]
        if reaching:
            faces = Counter(face for _, reached in reaching for face in reached)
            ends = ", ".join(face for face, _ in faces.most_common(3))
            cases = listed((case for case, _ in reaching), 3)
            cut.append(f"{name} in {len(reaching)} of {len(with_it)} ({ends}: {cases})")
    if cut:
        message = f"structures reach the edge of the scan and may be cut off there: {'; '.join(cut[:5])}"
        message += f"; and {len(cut) - 5} more structures" if len(cut) > 5 else ""
        yield CaseProblem("at-border", "note", None, message)
    yield from _coverage(masks)
    yield from _rare(names, masks)


def _volumes(name: str, found: Sequence[tuple[Look, Structure]]) -> Iterator[CaseProblem]:
    looks, voxels = [look for look, _ in found], np.array([structure.voxels for _, structure in found], float)
    usual = float(np.median(voxels))
    millilitres = voxels * [float(np.prod(look.spacing)) / 1000 if look.spacing else np.nan for look in looks]
    odd = robust_z(np.log(millilitres), 0.2) if len(looks) >= ENOUGH and np.isfinite(millilitres).all() else voxels * 0
    middle = float(np.median(millilitres))
    for look, count, volume, z in zip(looks, voxels, millilitres, odd, strict=True):
        if count < TINY <= usual / 10 and len(looks) > 2:
            message = f"{name} has {counted(int(count), 'voxel')}, and {usual:.0f} in the median mask"
            yield CaseProblem("tiny-label", "warning", look.case.id, message)
        elif abs(z) > 6 and max(volume / middle, middle / volume) > 3:
            sized = all(problem.code != NO_SPACING for problem in look.problems)
            unit = ("mL" if len(look.shape) == 3 else "mm²/1000") if sized else "thousand voxels"
            message = f"{name} measures {volume:.3g} {unit}, and {middle:.3g} in the median mask"
            yield CaseProblem("odd-volume", "warning", look.case.id, message)


def _pieces(name: str, found: Sequence[tuple[Look, Structure]]) -> Iterator[CaseProblem]:
    parts = np.array([structure.parts for _, structure in found])
    if len(parts) < ENOUGH:
        return
    usual = float(np.median(parts))
    single = float((parts == usual).mean()) >= 0.8
    for (look, structure), z in zip(found, robust_z(np.log(parts), 0.3), strict=True):
        count, smallest = structure.parts, counted(structure.smallest, "voxel")
        message = f"{name} lies in {count} pieces, the smallest of {smallest}, and the median mask's in {usual:g}"
        if count >= max(10, 5 * usual) and z > 4:
            yield CaseProblem("fragmented-label", "warning", look.case.id, message)
        elif single and count > usual:
            yield CaseProblem("fragmented-label", "note", look.case.id, message)


def _coverage(masks: Sequence[tuple[Look, Mask]]) -> Iterator[CaseProblem]:
    for look, mask in masks:
        if not mask.structures:
            continue
        share = mask.covered / max(1, mask.size - mask.ignored)
        if share > 0.99:
            message = f"the label covers {share:.1%} of the scan"
            yield CaseProblem("full-label", "warning", look.case.id, message)
        elif share > 0.5 and mask.rim > 0.95 and len(mask.structures) == 1:
            message = f"the label covers the scan's edges and {share:.0%} of it"
            message += ", as if structure and background were swapped"
            yield CaseProblem("inverted-label", "warning", look.case.id, message)


def _rare(names: dict[int, str], masks: Sequence[tuple[Look, Mask]]) -> Iterator[CaseProblem]:
    for value, name in names.items():
        rows = [mask for _, mask in masks if value in mask.structures]
        share = sum(mask.structures[value].voxels for mask in rows) / max(1, sum(mask.size for mask in rows))
        if rows and share < RARE:
            message = f"{name} is {share:.2g} of the voxels of the masks that hold it"
            yield CaseProblem("rare-structure", "note", None, message)
