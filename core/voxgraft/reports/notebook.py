"""How volumes, scores, comparisons and batches look in a notebook: a part of a page, with pictures inside it."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ..imaging.inspection import Inspection
from ..imaging.orientation import reoriented
from ..imaging.volume import Array, Volume, first_channel, times
from ..scoring.compare_runs import RunComparison
from ..scoring.scores import Scores
from ..support.texts import counted, legible
from .comparison import HEADS, comparison_row
from .display import display_window
from .drawing import as_png, colour_of
from .preview import TILE, Tile, caption, flat_tile, montage, painted, tile
from .render import render

ROWS = 50
"""Rows of a table that are shown."""
STRUCTURES = 64
"""Values of an image of small whole numbers, at most, that is shown as a mask."""
SMALL = 420
"""Pixels of the longer side of a picture that was made elsewhere."""
KINDS = {
    "error": "bad",
    "failed": "bad",
    "worse": "bad",
    "warning": "look",
    "left-out": "look",
    "undefined": "look",
    "better": "good",
    "done": "good",
}
"""Words that stand out in tables."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under their heads; `more` rows are not shown."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    more: int = 0

    @classmethod
    def of(cls, heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
        """The first rows, as text that can be read."""
        shown = [[legible(str(cell)) for cell in row] for row in rows[:ROWS]]
        return cls(heads, shown, len(rows) - len(shown))


def fragment(
    title: str,
    lines: Sequence[str] = (),
    tables: Sequence[Table] = (),
    pictures: Sequence[tuple[str, str]] = (),
) -> str:
    """What a notebook shows, as HTML; all that comes from files is escaped.

    Args:
        pictures: Names, and addresses that hold the pictures.
    """
    return render(
        "reports/notebook.html",
        title=legible(title),
        lines=[legible(line) for line in lines],
        tables=tables,
        pictures=[(legible(name), address) for name, address in pictures],
        kinds=KINDS,
    )


def html_of(thing: Any) -> str | None:
    """How a volume, scores, a comparison of runs or what was found in a folder looks; None for anything else."""
    if isinstance(thing, Volume):
        return _volume(thing)
    if isinstance(thing, Scores):
        return _scores(thing)
    if isinstance(thing, RunComparison):
        rows = [comparison_row(one) for one in thing.comparisons]
        return fragment(repr(thing), [thing.how], [Table.of(HEADS, rows)])
    if isinstance(thing, Inspection):
        return _inspection(thing)
    return None


def thumbnail(path: Path) -> str:
    """The address of a small copy of a picture; empty where it cannot be read."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            small = picture.convert("RGB")
            small.thumbnail((SMALL, SMALL))
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""
    data = BytesIO()
    small.save(data, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{b64encode(data.getvalue()).decode('ascii')}"


def _volume(volume: Volume) -> str:
    steps = " x ".join(f"{step:.4g}" for step in volume.spacing)
    item = volume.item
    facts = [item.modality, item.description] if item is not None else []
    facts += [f"{volume.channels} channels" if volume.channels > 1 else None, str(volume.array.dtype)]
    title = f"Volume of {times(volume.shape)} voxels, {steps} mm"
    lines = [", ".join(fact for fact in facts if fact)]
    if 0 in volume.array.shape:
        return fragment(title, [*lines, "it has no voxels"])
    address = f"data:image/png;base64,{b64encode(middle_slices(volume)).decode('ascii')}"
    name = "middle slices" + (" of the first channel" if volume.channels > 1 and volume.dims == 3 else "")
    return fragment(title, lines, pictures=[(name, address)]).replace('class="pictures"', 'class="picture"')


def middle_slices(volume: Volume) -> bytes:
    """The three slices through the middle of a volume as one PNG file, masks in the colours of their structures.

    They lie as radiologists look at them, see `voxgraft.reports.preview`; an image of two axes is shown as it is.
    """
    image, _ = reoriented(volume)
    channel = first_channel(image).array
    planes = [channel] if image.dims == 2 else [np.take(channel, n // 2, axis) for axis, n in enumerate(channel.shape)]
    values = _structures_in(planes)
    if values is not None:
        labels = channel.astype(np.int64, copy=False)
        image = Volume(np.zeros(image.shape, np.uint8), image.affine, dims=image.dims)
    else:
        labels = np.zeros(image.shape, np.uint8)
    window = (0.0, 1.0) if values is not None else display_window(channel, None)
    if image.dims == 2:
        tiles = [flat_tile(image, labels, window)]
    else:
        tiles = [tile(image, labels, axis, n // 2, window) for axis, n in reversed(list(enumerate(image.shape)))]
    return as_png(_drawn(tiles, values or ()))


def _drawn(tiles: Sequence[Tile], values: Sequence[int]) -> Array:
    """Tiles beside each other, structures filled with their colours."""
    plain, places = montage(tiles, [])
    canvas = np.repeat(plain[..., None], 3, -1) if plain.ndim == 2 else plain.copy()
    colours = {value: colour_of(index) for index, value in enumerate(values)}
    for one, place in zip(tiles, places, strict=True):
        part = canvas[place[0] : place[0] + one.shape[0], place[1] : place[1] + one.shape[1]]
        if values:
            part[one.labels != 0] = painted(one.labels[one.labels != 0], colours)
        if min(one.shape) >= TILE // 4:
            caption(canvas, place, one, {}, colours)
    return canvas


def _structures_in(planes: Sequence[Array]) -> list[int] | None:
    """The values of structures, where an image is a mask: few small whole numbers that are not negative."""
    if any(p.dtype.kind not in "bui" or p.min(initial=0) < 0 or p.max(initial=0) > 65535 for p in planes):
        return None
    found = sorted({int(value) for plane in planes for value in np.unique(plane)} - {0})
    return found if len(found) <= STRUCTURES else None


def score_table(summary: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Table:
    """What scores come to: METRIC -> structure -> `mean`, `ci95`, `n`, `undefined`."""
    rows = []
    for metric, structures in summary.items():
        for structure, one in structures.items():
            low, high = one["ci95"]
            interval = "–" if _none(low) else f"{low:.3f} to {high:.3f}"
            rows.append((metric, structure, _number(one["mean"]), interval, one["n"], one.get("undefined", 0)))
    return Table.of(("Metric", "Structure", "Mean", "95 % interval", "Cases", "Not defined"), rows)


def _scores(scores: Scores) -> str:
    lines = [f"{len(scores.failed)} could not be scored"] if scores.failed else []
    tables = [score_table(scores.summary)]
    if scores.failed:
        tables.append(Table.of(("Case", "Why it could not be scored"), list(scores.failed.items())))
    return fragment(f"Scores of {counted(len(scores.cases), 'case')}", lines, tables)


def _inspection(found: Inspection) -> str:
    rows = [
        (
            item.path.name,
            " ".join(filter(None, (item.reader, item.modality))),
            times(item.shape),
            " x ".join(f"{step:.4g}" for step in item.spacing),
            item.description or item.series or "",
            "; ".join(f"{problem.severity}: {problem.message}" for problem in item.problems),
        )
        for item in found.items
    ]
    heads = ("Image", "Kind", "Voxels", "mm", "Series", "Problems")
    lines = [f"{problem.severity}: {problem.message}" for problem in found.problems]
    return fragment(f"{counted(len(rows), 'image')} in {found.path}", lines, [Table.of(heads, rows)])


def _none(value: Any) -> bool:
    return value is None or not math.isfinite(value)


def _number(value: Any) -> str:
    return "undefined" if _none(value) else f"{value:.3f}"
