"""From a path to images: which reader knows a file, what lies in a folder, and the voxels of one image."""

from __future__ import annotations

import errno
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..components.choice import Selected, choose
from ..errors import BadImage, BrokenPlugin, DataError, ModelError, PluginError, VoxGraftError
from ..support.files import check_regular
from ..support.texts import composed
from .formats import (
    PaletteReader,
    ReaderSpec,
    choose_reader,
    claiming,
    is_archive,
    known_kinds,
    packed_name,
    specs,
    unopened_in,
    unopened_problems,
    walk,
)
from .volume import Array, ImageRef, Item, Problem, Volume, times

if TYPE_CHECKING:
    from ..components.catalogue import AnySpec, Catalogue

USUAL = "int16"
"""The type of voxels whose item does not say it."""
SMALL = 1 << 28
"""Bytes that are there without a look."""


def scan(path: Path | str, catalogue: Catalogue, series: str | None = None) -> list[Item]:
    """Describe the images in a file, a folder or a tree from their headers alone.

    Files that no reader knows and hidden files are left out; links are followed, but no folder is entered twice.

    Args:
        series: Only the images of this name: a SeriesInstanceUID, the name a reader gave, or a description.

    Raises:
        DataError: There is no such path, nothing in it can be read, or it has no such series.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder")
    if path.is_dir():
        items = _scan_folder(path, catalogue)
        if not items:
            text = f"{path}: no file in this folder has a format that a reader knows ({known_kinds(catalogue)})"
            problems = unopened_problems(unopened_in(path, catalogue))
            raise DataError("; ".join([text, *(problem.message for problem in problems)]))
    else:
        _check_regular(path)
        spec = choose_reader(path, catalogue)
        if spec is None and (name := packed_name(path, catalogue)):
            raise BadImage(path, f"it is compressed with gzip and its name does not say so; rename it to {name}")
        if spec is None and is_archive(path):
            raise BadImage(path, "it is an archive or a packed file; unpack it and name what was in it")
        if spec is None:
            raise BadImage(path, f"no reader knows this file format (known: {known_kinds(catalogue)})")
        items = _scan_files(spec, [path], catalogue)
        if not items:
            raise BadImage(path, f"the reader {spec.name!r} found no image in it")
    return items if series is None else _of_series(path, items, series)


def find(reference: ImageRef, catalogue: Catalogue) -> list[Item]:
    """The images that a reference may mean: of its files alone, where it names them."""
    kept = catalogue.kept
    single = kept is not None and not reference.files and reference.path.is_file()
    before = kept.states([reference.path] if single else reference.files) if kept is not None else ()
    found: list[Item] | None = kept.get(reference) if kept is not None and before else None
    if found is None:
        found = _found(reference, catalogue)
        if kept is not None and before and not any(item.errors for item in found):
            known = [file for file, _ in before]
            beside = kept.states({file for item in found for file in item.files} - set(known))
            kept.put(reference, (*before, *beside), found)
    return list(found)


def _found(reference: ImageRef, catalogue: Catalogue) -> list[Item]:
    if not reference.files:
        return scan(reference.path, catalogue, reference.series)
    items = scan_files(reference.files, catalogue)
    if not items:
        raise BadImage(reference.path, "its files have changed since they were looked at")
    return [item for item in items if item.series == reference.series] or items


def scan_files(files: Iterable[Path], catalogue: Catalogue, *, series_only: bool = False) -> list[Item]:
    """Describe the images in these files; those that no reader knows are left out.

    Args:
        series_only: Leave out what is read by readers of single files, too.

    Raises:
        DataError: Two readers claim a file.
        BadImage: A file cannot be opened.
    """
    groups: dict[str, tuple[AnySpec, list[Path]]] = {}
    readers = specs(catalogue)
    for file in files:
        _check_regular(file)
        spec = claiming(file, readers)
        if spec is not None and (not series_only or _is_series(spec)):
            groups.setdefault(spec.name, (spec, []))[1].append(file)
    items = []
    for spec, group in groups.values():
        for part in [group] if _is_series(spec) else [[file] for file in group]:
            items += _scan_files(spec, part, catalogue)
    return sorted(items, key=lambda item: (str(item.path), item.series or ""))


def read(source: Path | str | ImageRef, catalogue: Catalogue, series: str | None = None) -> Volume:
    """Read exactly one image; objects that hold structures of an image are none and are skipped beside one.

    Args:
        source: A file, a folder such as that of a DICOM series, or a reference that names a part of one.
        catalogue: Whose readers are asked.
        series: Which series of a folder: its UID or its description; by default the one that is there.

    Raises:
        DataError: There is none, or there are several; the message names them.
        BadImage: It is damaged, or its geometry must not be trusted.
    """
    reference = source if isinstance(source, ImageRef) else ImageRef(Path(source), series)
    items = find(replace(reference, series=series or reference.series), catalogue)
    return read_item(only([item for item in items if item.kind == "image"] or items, source), catalogue)


def only(items: Sequence[Item], source: object) -> Item:
    """The one item of a list."""
    if len(items) > 1:
        raise DataError(
            f"{source}: {len(items)} images are here; name the right one by its series or file: {_names(items)}"
        )
    return items[0]


def read_item(item: Item, catalogue: Catalogue, numbers: bool = False) -> Volume:
    """Read the voxels of an image that `scan` found.

    What is seen in the voxels alone, such as some that are not finite numbers, joins the problems of the volume's item.

    Args:
        numbers: Of a picture with a palette what it stores, not the colours.

    Raises:
        BadImage: It has a problem of severity `error`, is damaged, is larger than the memory that is free, or none of
            its voxels is a finite number; or numbers are asked for that its reader does not give.
    """
    kept, key = catalogue.kept, ("voxels", item.path, item.series, item.reader, numbers)
    known: Volume | None = kept.get(key) if kept is not None else None
    if known is not None:
        return known
    before = kept.states({*item.files, *([item.path] if item.path.is_file() else [])}) if kept is not None else ()
    volume = _read_item(item, catalogue, numbers)
    if kept is not None and kept.put(key, before, volume, volume.array.nbytes):
        volume.array.flags.writeable = False
    return volume


def _read_item(item: Item, catalogue: Catalogue, numbers: bool) -> Volume:
    if item.errors:
        raise BadImage(item.path, "; ".join(problem.message for problem in item.errors))
    _check_memory(item)
    chosen = _reader(item.reader, catalogue)
    with asked(chosen, item.path, "reading"):
        reader = chosen.build()
        try:
            volume: Volume = _numbers(reader, item) if numbers else reader.read(item)
        except MemoryError:
            text = f"its {times(item.shape)} voxels do not fit into this machine's memory"
            raise BadImage(item.path, text) from None
    if fault := _fault(volume, item):
        raise PluginError(f"plugin {chosen.plugin!r} reads {item.path} wrongly: {fault}")
    problem = _not_finite(volume.array)
    if problem is not None and problem.severity == "error":
        raise BadImage(item.path, problem.message)
    own = volume.item or item
    if problem is not None and problem not in own.problems:
        own = replace(own, problems=(*own.problems, problem))
    return volume if volume.item is own else replace(volume, item=own)


def _numbers(reader: Any, item: Item) -> Volume:
    """What a picture with a palette stores."""
    if not isinstance(reader, PaletteReader):
        from .structures import WHAT_TO_DO

        text = f"its voxels are numbers of colours in a palette, which is not read as a mask; {WHAT_TO_DO}"
        raise BadImage(item.path, text)
    return reader.numbers(item)


def _fault(volume: Volume, item: Item) -> str:
    """What is wrong with a volume that only its reader can be blamed for."""
    if not isinstance(volume, Volume):
        return f"it returned no Volume, but {type(volume).__name__}"
    if volume.array.dtype.kind not in "biuf":
        return f"its voxels are {volume.array.dtype}, not numbers"
    if item.shape and volume.shape != item.shape:
        return f"it gave {times(volume.shape)} voxels, and had said {times(item.shape)}"
    return ""


def _not_finite(array: Array) -> Problem | None:
    """What to say of voxels that are not finite numbers; the sum of an image tells quickly that there are none."""
    if array.dtype.kind != "f" or np.isfinite(array.sum(dtype=np.float64)):
        return None
    wrong = array.size - int(np.count_nonzero(np.isfinite(array)))
    if wrong == array.size:
        return Problem("not-finite", "none of its voxels is a finite number")
    are = "1 of its voxels is not a finite number" if wrong == 1 else f"{wrong} of its voxels are not finite numbers"
    return Problem("not-finite", are, "warning") if wrong else None


def _check_regular(file: Path) -> None:
    """Refuse a pipe, a socket or a device, which a reader would wait for without end."""
    try:
        check_regular(file)
    except OSError as error:
        if error.errno == errno.EINVAL:  # all else, such as a file that has gone, is its reader's matter
            raise BadImage(file, f"it cannot be read: {error.strerror or error}") from error


def _check_memory(item: Item) -> None:
    """Refuse an image whose voxels alone are more than there is memory for, before any reader reserves it."""
    from ..support.machine import free_memory, gigabytes

    size = math.prod(item.shape) * item.channels * np.dtype(item.facts.get("dtype", USUAL)).itemsize
    if size > SMALL and size > (free := free_memory()):
        voxels = times((*item.shape, item.channels) if item.channels > 1 else item.shape)
        reason = f"its {voxels} voxels take {gigabytes(size)} of memory, and {gigabytes(free)} are free"
        raise BadImage(item.path, reason)


def _scan_folder(folder: Path, catalogue: Catalogue) -> list[Item]:
    items = scan_files(walk(folder), catalogue)
    pictures = {spec.name for spec in specs(catalogue).values() if spec.illustrates}
    return [item for item in items if item.reader not in pictures] or items


def _is_series(spec: AnySpec) -> bool:
    return isinstance(spec, ReaderSpec) and spec.series


def _scan_files(spec: AnySpec, files: list[Path], catalogue: Catalogue) -> list[Item]:
    chosen = _reader(spec.name, catalogue)
    with asked(chosen, files[0], "looking at"):
        return list(chosen.build().scan(files))


@contextmanager
def asked(reader: Selected[Any], path: Path, doing: str) -> Iterator[None]:
    """What a reader raises, as errors of the engine's own kind.

    Args:
        path: What it is asked about.
        doing: What it is asked for, such as `reading`.

    Raises:
        BadImage: The system does not let it read the file.
        BrokenPlugin: It failed in another way.
    """
    try:
        yield
    except VoxGraftError:
        raise
    except OSError as error:
        raise BadImage(path, f"it cannot be read: {error.strerror or error}") from error
    except (Exception, SystemExit) as error:  # a plugin may fail in any way
        raise BrokenPlugin(reader.plugin, f"{doing} {path}", error) from error


def as_in_training(options: Mapping[str, Mapping[str, Any]], catalogue: Catalogue) -> Catalogue:
    """The catalogue whose readers have the options that a model's training data were read with.

    Args:
        options: Of readers by their names, as a plan keeps them.

    Raises:
        ModelError: A reader is not installed here, or does not know an option.
    """
    from pydantic import ValidationError

    for name, values in options.items():
        try:
            choose(catalogue, "reader", {"use": name, **values})
        except ValueError as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise ModelError(
                f"the model was trained on scans that the reader {name!r} read with options of its own, "
                f"which it does not take here: {reason}"
            ) from None
    return catalogue.with_options("reader", options)


def _reader(name: str, catalogue: Catalogue) -> Selected[Any]:
    catalogue.get("reader", name)  # two plugins that offer it are an error of the engine's own kind
    return choose(catalogue, "reader", {"use": name})


def _of_series(path: Path, items: list[Item], series: str) -> list[Item]:
    folded_name = composed(series)
    by_uid = [item for item in items if composed(item.series or "") == folded_name]
    matching = by_uid or [item for item in items if composed(item.description or "") == folded_name]
    if not matching:
        raise DataError(f"{path}: there is no series {series!r} here; found: {_names(items)}")
    return matching


def _names(items: Sequence[Item]) -> str:
    """The first ten for a message."""
    return "; ".join(map(_name, items[:10])) + ("; ..." if len(items) > 10 else "")


def _name(item: Item) -> str:
    if item.series is None:
        return str(item.path)
    return f"{item.series} ({item.description})" if item.description else item.series
