"""Conformance checks of readers: voxels at their places, headers true to the voxels, no damage that goes unnoticed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import VoxGraftError
from ..imaging.volume import Array, Item, Volume, millimetres_apart
from . import damage, geometry
from .conformance import NotApplicable, Subject, check, require

MILLIMETRES = 1e-3
"""How far off a voxel may be: formats store positions as decimal strings or single precision."""


@check("reader", "every voxel is at its place in the patient, in 48 orientations and oblique")
def _every_voxel_is_at_its_place(subject: Subject, folder: Path) -> None:
    tried, reasons = 0, set()
    ways = [*geometry.orientations(), ("oblique", geometry.oblique()), ("oblique LPS", -geometry.oblique())]
    for name, directions in ways:
        for truth in (geometry.image(directions), geometry.flat(directions)):
            try:
                path = _sample(subject, folder / f"{name}-{truth.dims}", truth)
            except NotApplicable as reason:
                reasons.add(str(reason))
                continue
            fault = misplaced(_read(subject, _only(subject, path)), truth)
            require(fault is None, f"orientation {name}, {truth.dims} axes: {fault}")
            tried += 1
    if not tried:
        raise NotApplicable("; ".join(sorted(reasons)))


@check("reader", "the header describes what is read")
def _the_header_says_what_is_read(subject: Subject, folder: Path) -> None:
    for path in _paths(subject, folder):
        for item in _scan(subject, path):
            if item.errors or item.kind != "image":
                continue
            volume = _read(subject, item)
            require(volume.shape == item.shape, f"{path.name}: described as {item.shape}, read as {volume.shape}")
            require(
                volume.channels == item.channels, f"{path.name}: described with {item.channels} channels, not so read"
            )
            apart = millimetres_apart(volume.affine, item.affine, volume.shape)
            require(apart < MILLIMETRES, f"{path.name}: read {apart:.3g} mm off where the header puts it")
            require(volume.array.dtype.kind in "iuf", f"{path.name}: its voxels are of type {volume.array.dtype}")
            require(volume.array.dtype.isnative, f"{path.name}: its voxels are not in this machine's byte order")


@check("reader", "reading changes nothing, and gives the same result twice")
def _reading_changes_nothing(subject: Subject, folder: Path) -> None:
    path, _ = _plain(subject, folder / "one")
    before = {file: (_hash(file), file.stat().st_mtime_ns) for file in _files(folder)}
    first = _read(subject, _only(subject, path)).array.copy()
    second = _read(subject, _only(subject, path)).array
    require(np.array_equal(first, second), "two readings of one file give different voxels")
    after = {file: (_hash(file), file.stat().st_mtime_ns) for file in _files(folder)}
    require(before == after, "reading changes the file, or leaves others beside it")


@check("reader", "any path works: with spaces, other scripts, relative")
def _any_path_will_do(subject: Subject, folder: Path) -> None:
    path, truth = _plain(subject, folder / "Bilder der Häuser 画像 (1)")
    relative = Path(os.path.relpath(path))
    for one in (path, relative):
        fault = misplaced(_read(subject, _only(subject, one)), truth)
        require(fault is None, f"read through the path {one.name!r}: {fault}")


@check("reader", "several threads can read at once")
def _threads_do_not_disturb_each_other(subject: Subject, folder: Path) -> None:
    samples = [
        _plain(subject, folder / str(number), way) for number, (_, way) in enumerate(geometry.right_handed()[:4])
    ]
    with ThreadPoolExecutor(4) as pool:
        volumes = list(pool.map(lambda sample: _read(subject, _only(subject, sample[0])), samples * 3))
    for volume, (_, truth) in zip(volumes, samples * 3, strict=True):
        require(misplaced(volume, truth) is None, "read by several threads at once, voxels differ")


@check("reader", "a truncated file is refused, or reads as the whole one")
def _cut_files_are_refused(subject: Subject, folder: Path) -> None:
    for path in _paths(subject, folder / "whole"):
        whole = _volumes(subject, path)
        files = _files(path)
        for file in {files[0], files[len(files) // 2], files[-1]}:
            content = file.read_bytes()
            for length, part in damage.cuts(content):
                file.write_bytes(part)
                for volume in _survive(subject, path, f"{file.name} cut to {length} of {len(content)} bytes"):
                    same = any(misplaced(volume, one) is None for one in whole)
                    require(same, f"{file.name} cut to {length} of {len(content)} bytes reads as another image")
            file.write_bytes(content)


@check("reader", "a damaged file is refused in a sentence or read, never a crash")
def _damage_is_no_crash(subject: Subject, folder: Path) -> None:
    for path in _paths(subject, folder / "whole"):
        files = _files(path)
        file = files[len(files) // 2]
        content = file.read_bytes()
        for number, spoiled in enumerate(damage.mutations(content, 60)):
            file.write_bytes(spoiled)
            for volume in _survive(subject, path, f"{file.name} with damage {number}"):
                require(np.isfinite(volume.affine).all(), f"damage {number} gives an affine that is not finite")
        file.write_bytes(content)


@check("reader", "a file of another kind is refused in a sentence")
def _other_files_are_no_crash(subject: Subject, folder: Path) -> None:
    for ending in subject.spec.suffixes:
        for name, content in damage.FOREIGN.items():
            file = folder / f"file{ending}"
            file.write_bytes(content)
            read = list(_survive(subject, file, f"{name} called {file.name}"))
            require(not read, f"{name} called {file.name} reads as an image")


def misplaced(volume: Volume, truth: Volume) -> str | None:
    """What differs between two volumes that may index their voxels in different orders; None where nothing does.

    Every voxel of the truth must be found at its place in the patient, with its value.
    """
    if sorted(volume.shape) != sorted(truth.shape) or volume.channels != truth.channels:
        return f"it has the shape {volume.shape}, not {truth.shape}"
    there = np.stack(np.meshgrid(*(np.arange(n) for n in truth.shape), indexing="ij"), -1).reshape(-1, len(truth.shape))
    places = _millimetres(truth.affine, there)
    inverse = np.linalg.inv(volume.affine)
    here = _millimetres(inverse, places)[:, : len(volume.shape)]
    nearest = np.rint(here).astype(int)
    if (nearest < 0).any() or (nearest >= volume.shape).any():
        return "some of its voxels lie outside the place they belong to"
    off = float(np.linalg.norm(_millimetres(volume.affine, nearest) - places, axis=1).max())
    if off > MILLIMETRES:
        return f"a voxel lies {off:.3g} mm off its place"
    values = volume.array.reshape(volume.channels, *volume.shape)[(slice(None), *nearest.T)]
    wanted = truth.array.reshape(truth.channels, *truth.shape)[(slice(None), *there.T)]
    wrong = int((values != wanted).any(0).sum())
    return f"{wrong} of {len(there)} voxels have another value" if wrong else None


def _millimetres(affine: Array, indices: Array) -> Array:
    full = np.zeros((len(indices), 3))
    full[:, : indices.shape[1]] = indices
    moved: Array = full @ affine[:3, :3].T + affine[:3, 3]
    return moved


def _plain(subject: Subject, folder: Path, directions: Array | None = None) -> tuple[Path, Volume]:
    """A sample of three axes or, where the format holds none, of two; and what is in it."""
    directions = np.diag([-1.0, -1.0, 1.0]) if directions is None else directions
    truth = geometry.image(directions)
    try:
        return _sample(subject, folder, truth), truth
    except NotApplicable:
        truth = geometry.flat(directions)
        return _sample(subject, folder, truth), truth


def _paths(subject: Subject, folder: Path) -> Iterator[Path]:
    """What the checks of single files are run on: a sample if one can be made, and copies of the given files."""
    found = False
    if subject.sample is not None or subject.spec.name == "dicom" or _own_writer(subject) is not None:
        found = True
        yield _plain(subject, folder / "sample")[0]
    for number, file in enumerate(subject.files):
        found = True
        place = folder / f"file-{number}"
        place.mkdir(parents=True)
        copy = place / file.name
        copy.write_bytes(file.read_bytes())
        yield copy
    if not found:
        raise NotApplicable("there is no writer that makes its files; give a sample or files")


def _sample(subject: Subject, folder: Path, truth: Volume) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if subject.sample is not None:
        return subject.sample(folder, truth)
    if subject.spec.name == "dicom":
        return _series(folder, truth)
    writer = _own_writer(subject)
    if writer is None:
        raise NotApplicable("there is no writer that makes its files; give a sample or files")
    from ..imaging.write import write

    target = folder / f"image{writer.suffixes[0]}"
    try:
        write(truth, target, subject.catalogue, writer=writer.name)
    except VoxGraftError as error:
        raise NotApplicable(f"no sample can be made: {error}") from None
    return target


def _series(folder: Path, truth: Volume) -> Path:
    """A classic DICOM series, written by pydicom."""
    from ..demo.dicom import Series, write_series

    try:
        write_series(truth, folder, Series("P1", str(folder), 1, "conformance"))
    except VoxGraftError as error:
        raise NotApplicable(f"no sample can be made: {error}") from None
    return folder


def _own_writer(subject: Subject) -> Any:
    for _, spec in subject.catalogue.of("writer"):
        one: Any = spec
        if one.needs == "any" and set(one.suffixes) & set(subject.spec.suffixes):
            return one
    return None


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _scan(subject: Subject, path: Path) -> Sequence[Item]:
    """What the reader finds; a reader of single files is given the file, one of series all files of the folder."""
    if subject.spec.structures:
        raise NotApplicable("it reads structures of other images")
    found: list[Item] = list(subject.build().scan(_files(path)))
    return found


def _only(subject: Subject, path: Path) -> Item:
    items = _scan(subject, path)
    require(len(items) == 1, f"{path.name}: holds one image, and the reader finds {len(items)}")
    for problem in items[0].errors:
        raise AssertionError(f"{path.name}: refused: {problem.message} [{problem.code}]")
    return items[0]


def _read(subject: Subject, item: Item) -> Volume:
    volume: Volume = subject.build().read(item)
    return volume


def _volumes(subject: Subject, path: Path) -> list[Volume]:
    return [_read(subject, item) for item in _scan(subject, path) if not item.errors and item.kind == "image"]


def _survive(subject: Subject, path: Path, what: str) -> Iterator[Volume]:
    """The images that a spoiled path still gives; refusals must be sentences."""
    try:
        items = _scan(subject, path)
    except VoxGraftError as error:
        _is_a_sentence(str(error), what)
        return
    except NotApplicable:
        raise
    except Exception as error:
        raise AssertionError(f"{what}: scan raises {type(error).__name__}: {error}") from error
    for item in items:
        for problem in item.problems:
            _is_a_sentence(problem.message, what)
        if item.errors or item.kind != "image":
            continue
        try:
            volume = _read(subject, item)
        except VoxGraftError as error:
            _is_a_sentence(str(error), what)
        except Exception as error:
            raise AssertionError(f"{what}: read raises {type(error).__name__}: {error}") from error
        else:
            yield volume


def _is_a_sentence(message: str, what: str) -> None:
    fine = 0 < len(message) < 600 and message.isprintable()
    require(fine, f"{what}: the message is not one plain sentence: {message[:200]!r}")


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
