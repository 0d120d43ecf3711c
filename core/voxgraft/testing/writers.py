"""Conformance checks of writers: what is written is read back at its place, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..components.choice import choose
from ..errors import DataError, VoxGraftError
from ..imaging.formats import StructureReader
from ..imaging.read import read_item, scan
from ..imaging.structures import Label, Labels
from ..imaging.volume import Array, Volume
from ..imaging.write import write
from . import geometry
from .conformance import NotApplicable, Subject, check, require
from .readers import misplaced

LABELS = Labels((Label(1, "liver"), Label(2, "left kidney")))
FACTS = {"model": "conformance", "version": "1", "hash": "0" * 64, "software": "voxgraft"}


@check("writer", "what is written is read back at its place, in every orientation")
def _what_is_written_is_read_back(subject: Subject, folder: Path) -> None:
    tried, reasons = 0, set()
    for name, directions in [*geometry.orientations(), ("oblique", geometry.oblique())]:
        try:
            like = _source(subject, folder / name, directions)
        except NotApplicable as reason:
            reasons.add(str(reason))
            continue
        mask = geometry.mask(like)
        target = folder / f"{name}-out" / subject.spec.filename
        _write(subject, mask, target)
        _reads_as(subject, target, mask, f"orientation {name}")
        tried += 1
    if not tried:
        raise NotApplicable("; ".join(sorted(reasons)))


@check("writer", "an empty mask is a result with a file of its own")
def _nothing_found_is_a_result(subject: Subject, folder: Path) -> None:
    like = _plain(subject, folder / "scan")
    empty = geometry.mask(like, ())
    target = folder / "out" / subject.spec.filename
    _write(subject, empty, target)
    require(target.is_file() and target.stat().st_size > 0, "an empty mask leaves no file")
    _reads_as(subject, target, empty, "an empty mask")


@check("writer", "label values are kept or refused, never changed")
def _values_are_kept_or_refused(subject: Subject, folder: Path) -> None:
    like = _plain(subject, folder / "scan")
    for values in ((1, 3), (1, 255), (2, 256), (7, 65535)):
        mask = geometry.mask(like, values)
        labels = Labels(tuple(Label(value, f"structure {value}") for value in values))
        target = folder / f"out-{values[1]}" / subject.spec.filename
        try:
            _write(subject, mask, target, labels)
        except DataError:
            require(not target.exists(), f"values {values}: refused, and yet there is a file")
            continue
        _reads_as(subject, target, mask, f"values {values}", labels)


@check("writer", "a file is replaced whole or not at all")
def _it_replaces_whole_or_not_at_all(subject: Subject, folder: Path) -> None:
    like = _plain(subject, folder / "scan")
    target = folder / "out" / subject.spec.filename
    for values in ((1, 2), (2, 1)):
        mask = geometry.mask(like, values)
        _write(subject, mask, target)
        _reads_as(subject, target, mask, "written a second time")
    require(_names(target.parent) == [target.name], f"other files are left beside it: {_names(target.parent)}")
    wrong = like.with_array(np.zeros(like.shape, np.complex64))
    before = target.read_bytes()
    _refuses(subject, wrong, target, "complex numbers")
    require(target.read_bytes() == before, "a refused volume spoils the file that was there")
    blocked = folder / "file-in-the-way"
    blocked.write_text("no folder")
    _refuses(subject, geometry.mask(like), blocked / subject.spec.filename, "a file stands where the folder should be")


@check("writer", "writing does not change the volume")
def _it_leaves_the_volume_alone(subject: Subject, folder: Path) -> None:
    mask = geometry.mask(_plain(subject, folder / "scan"))
    mask.array.setflags(write=False)
    before = mask.array.copy()
    _write(subject, mask, folder / "out" / subject.spec.filename)
    require(np.array_equal(before, mask.array), "writing changes the volume")


@check("writer", "any memory order and byte order works")
def _any_memory_order_will_do(subject: Subject, folder: Path) -> None:
    mask = geometry.mask(_plain(subject, folder / "scan"))
    orders: dict[str, Callable[[], Array]] = {
        "C order": lambda: np.ascontiguousarray(mask.array),
        "Fortran order": lambda: np.asfortranarray(mask.array),
        "a view with strides": lambda: np.repeat(mask.array, 2, axis=1)[:, ::2],
        "the other byte order": lambda: mask.array.astype(">u2"),
    }
    for name, ordered in orders.items():
        target = folder / name / subject.spec.filename
        _write(subject, mask.with_array(ordered()), target)
        _reads_as(subject, target, mask, name)


def _reads_as(subject: Subject, target: Path, mask: Volume, what: str, labels: Labels = LABELS) -> None:
    """Compare the file with the mask, voxel by voxel at their places."""
    try:
        items = scan(target, subject.catalogue)
    except VoxGraftError as error:
        raise NotApplicable(f"no reader knows what it writes: {error}") from None
    require(len(items) == 1, f"{what}: {len(items)} images are read back")
    if items[0].errors:
        raise AssertionError(f"{what}: refused when read back: {items[0].errors[0].message}")
    if items[0].kind == "structures":
        reader: StructureReader = choose(subject.catalogue, "reader", {"use": items[0].reader}).build()
        found = reader.structures(items[0], mask)
        for label in labels.items:
            wanted = mask.array == label.value
            read = found.get(label.name, np.zeros(mask.shape, bool))
            wrong = int((read != wanted).sum())
            require(not wrong, f"{what}: {wrong} voxels of {label.name!r} differ when read back")
        return
    fault = misplaced(read_item(items[0], subject.catalogue), mask)
    require(fault is None, f"{what}: read back, {fault}")


def _write(subject: Subject, mask: Volume, target: Path, labels: Labels = LABELS) -> None:
    spec = subject.spec
    write(mask, target, subject.catalogue, labels if spec.labels else None, FACTS, writer=spec.name)


def _refuses(subject: Subject, volume: Volume, target: Path, what: str) -> None:
    try:
        _write(subject, volume, target)
    except VoxGraftError as error:
        require(
            str(error).isprintable() and len(str(error)) < 600, f"{what}: the message is not a plain sentence: {error}"
        )
    else:
        raise AssertionError(f"{what}: it writes anyway")
    beside = _names(target.parent) if target.parent.is_dir() else []
    require(not [name for name in beside if name != target.name], f"{what}: it leaves {beside} behind")


def _source(subject: Subject, folder: Path, directions: Array) -> Volume:
    """A scan in whose grid masks are written: a DICOM series where the writer needs one."""
    truth = geometry.image(directions) if 3 in subject.spec.dims else geometry.flat(directions)
    if subject.spec.needs == "any":
        return truth
    if subject.spec.needs != "dicom":
        raise NotApplicable(f"no scans for the reader {subject.spec.needs!r} can be made here")
    if np.linalg.det(truth.affine[:3, :3]) < 0:
        raise NotApplicable("a DICOM series has no left-handed axes")
    from ..demo.dicom import Series, write_series

    write_series(truth, folder, Series("P1", str(folder), 1, "conformance"))
    (item,) = scan(folder, subject.catalogue)
    return read_item(item, subject.catalogue)


def _plain(subject: Subject, folder: Path) -> Volume:
    return _source(subject, folder, np.diag([-1.0, -1.0, 1.0]))


def _names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())
