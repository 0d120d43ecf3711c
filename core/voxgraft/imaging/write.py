"""From a volume to a file: which writer answers to a name, what it may be asked for, and a mask's values as stored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..components.choice import choose
from ..errors import BrokenPlugin, DataError, UsageError, VoxGraftError
from ..support.files import atomic_write
from .formats import ReadsImages, Writer, longest_suffix

if TYPE_CHECKING:
    from ..components.catalogue import AnySpec, Catalogue
    from .structures import Labels
    from .volume import Array, Volume


def write(
    volume: Volume,
    target: Path,
    catalogue: Catalogue,
    labels: Labels | None = None,
    facts: Mapping[str, str] | None = None,
    *,
    writer: str | None = None,
) -> None:
    """Write one file, whole or not at all.

    Args:
        labels: The structures of a mask, None for an image.
        facts: What is known of the maker of a mask: `model`, `version`, `hash`, `software`.
        writer: The name of the writer; by default the target's suffix decides.

    Raises:
        UsageError: No writer answers to the target's suffix.
        DataError: The volume cannot be written in this format, or the disk refuses it.

    Examples:
        >>> mask = vg.Volume(np.ones((4, 4, 4), np.uint8), np.diag([1.0, 1.0, 2.0, 1.0]))
        >>> write(mask, Path("written.nii.gz"), vg.catalogue())
        >>> vg.read("written.nii.gz").spacing
        (1.0, 1.0, 2.0)
    """
    spec: Any = catalogue.get("writer", writer or choose_writer(target, catalogue).name)
    if labels is not None and not spec.labels:
        raise DataError(f"{target}: the writer {spec.name!r} writes images, not masks")
    if spec.needs != "any" and (volume.item is None or volume.item.reader != spec.needs):
        raise DataError(f"{target}: the writer {spec.name!r} needs a scan that was read by the reader {spec.needs!r}")
    if volume.dims not in spec.dims:
        raise DataError(f"{target}: the writer {spec.name!r} does not write images of {volume.dims} axes")
    chosen = choose(catalogue, "writer", {"use": spec.name})
    try:
        built: Writer = chosen.build()
        if isinstance(built, ReadsImages):
            built.use_readers(catalogue)
        with atomic_write(target) as temporary:
            try:
                built.write(volume, temporary, labels=labels, facts=facts or {})
            except VoxGraftError as error:  # messages name the file that was meant
                error.args = tuple(str(part).replace(str(temporary), str(target)) for part in error.args)
                raise
    except VoxGraftError:
        raise
    except OSError as error:
        raise DataError(f"{target}: cannot be written: {error.strerror or error}") from error
    except (Exception, SystemExit) as error:  # a plugin may fail in any way
        raise BrokenPlugin(chosen.plugin, f"writing {target}", error) from error


def choose_writer(target: Path, catalogue: Catalogue) -> AnySpec:
    """The writer that answers to a file name: the one with the longest fitting suffix.

    Raises:
        UsageError: There is none, or several answer with equal right; the message lists them.
    """
    specs: dict[str, Any] = {spec.name: spec for _, spec in catalogue.of("writer")}
    claims = longest_suffix(target, specs.values())
    if not claims:
        offers = "; ".join(f"{spec.name}: {', '.join(spec.suffixes)}" for spec in specs.values()) or "none"
        raise UsageError(f"{target}: no writer handles this file name; the writers are {offers}")
    if len(claims) > 1:
        raise UsageError(f"{target}: the writers {' and '.join(map(repr, claims))} both handle this file name")
    answer: AnySpec = specs[claims[0]]
    return answer


def mask_values(array: Array, labels: Labels, target: Path) -> Array:
    """A mask as uint8, or uint16 where one of its values or of the labels is above 255: what a writer stores.

    Args:
        target: The file that is written, for messages.

    Raises:
        DataError: It holds no whole numbers, or others than 0 to 65535.
    """
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    if array.dtype.kind not in "iu":
        raise DataError(f"{target}: a mask holds whole numbers, this one is of type {array.dtype}")
    lowest, highest = 0, max(labels.values, default=0)
    if array.size and array.dtype != np.uint8:
        lowest, highest = int(array.min()), max(int(array.max()), highest)
    if lowest < 0 or highest > 65535:
        wrong = lowest if lowest < 0 else highest
        raise DataError(f"{target}: a mask holds values from 0 to 65535, this one has {wrong}")
    return array.astype(np.uint8 if highest < 256 else np.uint16, copy=False)
