"""Scans in memory segmented, without a folder, a ledger and files."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadImage
from ..imaging.volume import Item, Volume, as_volume
from .contract import Level, Unfit, Verdict, judge, judge_values
from .segment import resolve_package

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
    from ..inference.predictor import Applied, How
    from ..packages.package import Package
    from ..preprocessing.plan import Plan


def segment_volumes(
    model: str | Path | Package,
    scans: Sequence[Any],
    catalogue: Catalogue,
    *,
    spacing: Sequence[float] | None = None,
    ignore_contract: bool = False,
    device: str = "auto",
    overlap: float | None = None,
    mirror: bool | None = None,
    precision: str | None = None,
    body: str | None = None,
    predictor: Callable[[Package], Applied] | None = None,
) -> list[Volume]:
    """The mask of each scan, in its own grid; what the options mean is said in the help of `voxgraft segment`.

    A scan that differs a little from what the model was trained on is segmented, with a warning.

    Args:
        model: A package, its folder or file, or a reference that a store answers to.
        scans: Volumes, or arrays (i, j[, k]) or (channel, i, j[, k]) whose axes run to right, front and head.
        catalogue: Offers what the package is made of.
        spacing: Millimetres between the voxels of arrays along i, j[, k].
        ignore_contract: Segment scans that the model is not for, as far as it can take them at all.
        predictor: Makes the model ready, once.

    Raises:
        UsageError: An array comes without its spacing, or something is not a scan.
        ModelError: There is no such model, or it cannot be used here.
        BadImage: A scan has another number of channels or axes than the model needs.
        DataError: A scan does not fit the model.
    """
    from ..packages.package import Package

    package = model if isinstance(model, Package) else resolve_package(str(model), catalogue)
    volumes = [as_volume(scan, spacing, dims=package.plan.image_dims) for scan in scans]
    for number, volume in enumerate(volumes, 1):
        name = volume.item.path.name if volume.item else f"scan {number}"
        _check(name, volume, package.plan, ignore_contract)
    if predictor is not None:
        ready = predictor(package)
    else:
        from ..inference.predictor import predictor_of

        how: How = {"device": device, "overlap": overlap, "mirror": mirror, "precision": precision, "body": body}
        ready = predictor_of(package, catalogue, **how)
    return [ready.predict(volume).labels for volume in volumes]


def _check(name: str, volume: Volume, plan: Plan, forced: bool) -> None:
    """Refuse a scan that the model is not for, and warn of one that lies outside what it was trained on."""
    item = volume.item or Item(Path(name), "", volume.shape, volume.affine, channels=volume.channels)
    header = judge(item, plan, channels=len(plan.channels)) if volume.channels == item.channels else Verdict()
    if header.level == Level.IMPOSSIBLE:
        raise BadImage(name, f"cannot be taken by the model: {header}")
    verdicts = (header, judge_values(volume, bool(item.modality), plan))
    reasons = "; ".join(dict.fromkeys(reason for verdict in verdicts for reason in verdict.reasons))
    if max(verdict.level for verdict in verdicts) == Level.UNFIT and not forced:
        raise Unfit(f"{name}: does not fit the model: {reasons} (ignore_contract=True segments it anyway)")
    if reasons:
        warnings.warn(f"{name}: {reasons}", UserWarning, stacklevel=4)
