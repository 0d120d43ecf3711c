"""The scan as the viewer gets it: one channel as NIfTI, converted once and kept in a cache of bounded size."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...batch.ledger import Row
from ...components.code import own_code
from ...errors import DataError
from ...imaging.read import read_item
from ...imaging.volume import Array, Item, Volume
from ...reports.display import low_is_bright
from ...support.files import atomic_write, digest, write_json
from ...support.limits import Limits
from ...support.texts import counted
from .sources import check_same, items_of
from .windows import Window, windows_of

if TYPE_CHECKING:
    from ...components.catalogue import Catalogue

LARGEST = 8 * 2**30
"""Bytes of the cache."""
AT_ONCE = 2
"""Scans that are converted at one time."""


@dataclass(frozen=True, slots=True)
class Image:
    """One channel of a scan, ready to be sent.

    Attributes:
        path: NIfTI of three axes, or colours of one slice.
        tag: Changes with the content.
        channels: Names of all channels.
        affine: 4x4, from voxel indices to RAS millimetres.
        modality: DICOM code or name of a modality; empty where nobody knows.
        flat: Whether it is a 2D image, whose axes have no direction in the patient.
        inverted: Whether low values are meant to be shown bright (MONOCHROME1).
    """

    path: Path
    tag: str
    channels: tuple[str, ...]
    shape: tuple[int, ...]
    affine: tuple[tuple[float, ...], ...]
    modality: str
    windows: tuple[Window, ...]
    flat: bool
    inverted: bool


class Images:
    """Converts scans for the viewer.

    Args:
        out: The batch's folder.
        folder: The cache.
        largest: Bytes that it may have.
    """

    def __init__(self, out: Path, folder: Path, largest: int = LARGEST) -> None:
        self._out, self._folder, self._largest = out, folder, largest
        self._mutex = threading.Lock()
        self._working: dict[str, threading.Lock] = {}
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._known: dict[str, Image] = {}

    def get(
        self, row: Row, channel: int, catalogue: Catalogue, *, modality: str = "", names: tuple[str, ...] = ()
    ) -> Image:
        """One channel of a scan.

        Args:
            row: The scan.
            channel: Its number, from 0 on.
            catalogue: Whose readers read it, with the options that the model was trained with.
            modality: What the model says that its scans are; the header counts before it.
            names: Of the channels, where the model says them.

        Raises:
            DataError: It is gone, has changed or cannot be read, or has no such channel.
        """
        code = [own_code(), *map(catalogue.fingerprint, ("reader", "modality"))]
        tag = digest([row.input_hash, row.input, row.series, channel, modality, names, code])[:32]
        with self._alone(tag):
            if (known := self._known.get(tag) or self._kept(tag)) is not None and known.path.exists():
                with suppress(OSError):
                    os.utime(known.path)
                return known
            with self._slots:
                work = partial(self._converted, row, channel, catalogue, tag, modality, names)
                image = Limits().within(Limits.USUAL, "reading the scan", work)
            self._known[tag] = image
            self._trim(keep=tag)
            return image

    @contextmanager
    def _alone(self, tag: str) -> Iterator[None]:
        """Let one thread convert a scan, and others wait for it."""
        with self._mutex:
            lock = self._working.setdefault(tag, threading.Lock())
        with lock:
            yield

    def _kept(self, tag: str) -> Image | None:
        """What an earlier server converted."""
        try:
            values = json.loads((self._folder / f"{tag}.json").read_text(encoding="utf-8"))
            return Image(
                path=self._folder / f"{tag}.nii",
                tag=tag,
                channels=tuple(values["channels"]),
                shape=tuple(values["shape"]),
                affine=tuple(tuple(line) for line in values["affine"]),
                modality=values["modality"],
                windows=tuple(Window(**window) for window in values["windows"]),
                flat=values["flat"],
                inverted=values["inverted"],
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _converted(
        self, row: Row, channel: int, catalogue: Catalogue, tag: str, modality: str, names: tuple[str, ...]
    ) -> Image:
        items = items_of(row, self._out, catalogue)
        check_same(row, items, self._out)
        number = len(items) if len(items) > 1 else items[0].channels
        if not 0 <= channel < number:
            raise DataError(f"the scan has {counted(number, 'channel')}; there is no channel {channel}")
        item = items[channel if len(items) > 1 else 0]
        volume = read_item(item, catalogue)
        array = shown(volume, channel if len(items) == 1 else 0)
        path = self._folder / f"{tag}.nii"
        write_nifti(array, volume.affine, path)
        kind = item.modality or modality
        plain = array if array.dtype.names is None else volume.array
        image = Image(
            path=path,
            tag=tag,
            channels=_named(items, item, number, names),
            shape=tuple(int(n) for n in array.shape),
            affine=tuple(tuple(float(value) for value in line) for line in volume.affine),
            modality=kind,
            windows=tuple(windows_of(plain, kind, catalogue)),
            flat=volume.dims == 2,
            inverted=low_is_bright(item),
        )
        values = asdict(image)
        write_json(self._folder / f"{tag}.json", {name: values[name] for name in values if name not in ("path", "tag")})
        return image

    def _trim(self, keep: str) -> None:
        """Remove what was not looked at for the longest time, until the cache is small enough."""
        with self._mutex, suppress(OSError):
            files = [(path.stat().st_mtime, path.stat().st_size, path) for path in self._folder.glob("*.nii")]
            total = sum(size for _, size, _ in files)
            for _, size, path in sorted(files):
                if total <= self._largest:
                    break
                if path.stem != keep:
                    path.unlink(missing_ok=True)
                    path.with_suffix(".json").unlink(missing_ok=True)
                    self._known.pop(path.stem, None)
                    self._working.pop(path.stem, None)
                    total -= size


def _named(items: list[Item], item: Item, number: int, names: tuple[str, ...]) -> tuple[str, ...]:
    if item.colours:
        return ("colours",)
    return names if len(names) == number else tuple(f"channel {n}" for n in range(1, number + 1))


def shown(volume: Volume, channel: int) -> Array:
    """One channel as (i, j, k); red, green and blue together where the channels are colours."""
    array = volume.array.reshape(volume.channels, *volume.shape)
    if volume.item is not None and volume.item.colours and volume.channels >= 3:
        colours = np.zeros(volume.shape, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
        brightest = float(array[:3].max(initial=0))
        scale = 1.0 if brightest <= 255 else 255.0 / 65535.0
        for name, plane in zip("RGB", array[:3], strict=True):
            colours[name] = (plane * scale).clip(0, 255)
        picked: Array = colours
    else:
        picked = array[channel]
    return picked.reshape((*volume.shape, 1)[:3])


def write_nifti(array: Array, affine: Array, target: Path) -> None:
    """Write voxels (i, j, k) as NIfTI, whole or not at all; `.gz` in the name packs it.

    Args:
        array: The voxels.
        affine: 4x4, voxel indices to RAS millimetres.
        target: The file.
    """
    import nibabel

    if array.dtype.names is None:
        array = _known_type(array)
    image: Any = nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    with atomic_write(target) as path:
        nibabel.save(image, path)


def _known_type(array: Array) -> Array:
    """A type that browsers and NIfTI share, without values that are not numbers."""
    if array.dtype.kind == "f":
        return np.nan_to_num(array.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    if array.dtype == np.bool_:
        return array.view(np.uint8)
    if array.dtype.itemsize > 4 or array.dtype == np.uint32:
        return array.astype(np.float32)
    return array if array.dtype != np.int8 else array.astype(np.int16)
