"""The contract once voxels are read: whether the values of a scan tell of another modality than the model's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..errors import DataError
from ..imaging.hounsfield import like_hounsfield, not_hounsfield
from ..imaging.volume import Array, Volume
from ..preprocessing.plan import Plan
from .contract import Level, Verdict

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
            differences += _differences(channel, codes, lowest)
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
        raise Unfit(f"does not fit the model: {verdict} (--ignore-contract segments it all the same)")


def _differences(channel: Array, codes: list[str], lowest: float | None) -> Iterator[tuple[Level, str]]:
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
        yield Level.DOUBTFUL, f"it is no CT in Hounsfield units: {why}"
