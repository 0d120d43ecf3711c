"""From headers to items: which files belong together, and what is wrong with them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from filecmp import cmp
from pathlib import Path

import numpy as np

from voxgraft.volume import Array, Item, Problem

from .geometry import grouped, plane_of, same_direction, same_size, stacked
from .header import Header
from .pixels import missing_pixels, pixel_problems

TOMOGRAPHIC = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.128": "PT",
}
"""SOP classes of single slices: without a place in the patient they are of no use."""
ENHANCED = frozenset(
    f"1.2.840.10008.5.1.4.1.1.{tail}"
    for tail in ("2.1", "2.2", "4.1", "4.3", "4.4", "128.1", "130", "12.1.1", "12.2.1", "13.1.1", "13.1.2", "13.1.3")
)
NO_IMAGE = tuple(
    f"1.2.840.10008.5.1.4.1.1.{tail}"
    for tail in ("66", "88.", "11.", "9.", "104.", "481.", "30", "67", "68.", "45", "79")
)
"""Beginnings of SOP classes that hold no image of a patient, though some hold pixels: segmentations, plans, doses."""


STORAGE = "1.2.840.10008.5.1.4.1.1."
DIRECTORY = "1.2.840.10008.1.3.10"


def is_image(header: Header) -> bool:
    """Whether the file holds, or should hold, an image: one without pixels may be what is left of a slice."""
    if header.sop_class.startswith((*NO_IMAGE, DIRECTORY)):
        return False
    told = header.has_pixels or header.text("Rows") or not header.complete
    return bool(told) or not header.sop_class or header.sop_class.startswith(STORAGE)


def series_of(headers: Iterable[Header]) -> list[list[Header]]:
    """Part headers into series: by study and series UID, or where that is blank, by folder and kind."""
    found: dict[tuple[str, ...], list[Header]] = {}
    for header in headers:
        key: tuple[str, ...] = (header.text("StudyInstanceUID"), header.text("SeriesInstanceUID"))
        if not key[1]:
            names = ("Modality", "SeriesDescription", "FrameOfReferenceUID")
            key = (str(header.path.parent), header.sop_class, *map(header.text, names))
        found.setdefault(key, []).append(header)
    return list(found.values())


def is_nameless(header: Header) -> bool:
    """Whether the file breaks off before it names its series."""
    return not header.has_pixels and not header.text("SeriesInstanceUID")


def may_belong(file: Path, rest: Header | None, series: Sequence[Header]) -> bool:
    """Whether a damaged file may be a slice of a series: it lies beside its files, and what it still says agrees."""
    if all(file.parent != header.path.parent for header in series):
        return False
    names = ("MediaStorageSOPClassUID", "Modality", "SeriesDescription", "PatientID", "StudyInstanceUID")
    return rest is None or all(rest.text(name) in ("", series[0].text(name)) for name in names)


def describe(headers: Sequence[Header], damaged: Sequence[Path]) -> list[Item]:
    """The items of one series: one volume, or one item for each image that has no place in the patient.

    Args:
        damaged: Files beside them that cannot be understood and may belong to this series.
    """
    reasons = [(header, _breaks_off(header)) for header in headers]
    broken = tuple(Problem("truncated", f"{header.path.name}: {reason}") for header, reason in reasons if reason)
    if damaged:
        text = f"{damaged[0].name}: it is no readable DICOM file, and may be a slice of this series"
        more = f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""
        broken += (Problem("truncated", text + more),)
    whole = [header for header, reason in reasons if not reason]
    if not whole:
        return [_item(headers, _shape(headers), broken[:1])]
    problems = broken[:1] + _kind(whole)
    if any(problem.severity == "error" for problem in problems):
        return [_item(headers, _shape(whole), problems)]
    if not any(header.text("ImagePositionPatient") for header in whole) and whole[0].sop_class not in TOMOGRAPHIC:
        return [_flat(header, len(whole) > 1, problems) for header in whole]
    return [_volume(whole, problems)]


def _breaks_off(header: Header) -> str:
    if not header.complete:
        return "its header breaks off; the file is truncated, copy it again"
    if not header.has_pixels:
        return "it has no pixel data; the file is truncated, copy it again"
    return missing_pixels(header)


def _kind(headers: Sequence[Header]) -> tuple[Problem, ...]:
    """What cannot be read for the kind of image that it is."""
    if any(header.sop_class in ENHANCED or header.text("PerFrameFunctionalGroupsSequence") for header in headers):
        return (Problem("multi-frame", "it is an enhanced multi-frame object, which is not read yet"),)
    frames = {header.whole("NumberOfFrames", 1) for header in headers}
    if frames != {1}:
        return (Problem("multi-frame", f"its files hold up to {max(frames)} frames each, which is not read yet"),)
    if any("MOSAIC" in header.text("ImageType").split("\\") for header in headers):
        return (
            Problem("mosaic", "its slices lie side by side in one picture (Siemens mosaic), which is not read yet"),
        )
    return ()


def _flat(header: Header, one_of_many: bool, problems: tuple[Problem, ...]) -> Item:
    """An image of two axes without a place in the patient; its axes run as on the screen, to the left and the back."""
    spacing = header.numbers("PixelSpacing", 2) or header.numbers("ImagerPixelSpacing", 2)
    if spacing is None or min(spacing) <= 0:
        spacing = (1.0, 1.0)
        problems = (
            *problems,
            Problem("no-spacing", "it does not say how large a pixel is; 1 mm is assumed", "warning"),
        )
    problems = (*problems, *pixel_problems([header]))
    affine = np.diag([-spacing[1], -spacing[0], 1.0, 1.0])
    name = header.instance if one_of_many else None
    return _item([header], _shape([header])[:2], problems, affine, name)


def _volume(headers: Sequence[Header], problems: tuple[Problem, ...]) -> Item:
    headers, left_out = _without_localizers(headers)
    headers, dropped = _without_copies(headers)
    problems = (*problems, *left_out, *dropped, *pixel_problems(headers))
    nowhere = [header for header in headers if plane_of(header) is None]
    if nowhere:
        text = f"{len(nowhere)} of its {len(headers)} files do not say, or say wrongly, where in the patient they lie"
        return _item(headers, _shape(headers), (*problems, Problem("no-geometry", text)))
    uneven = (*_uneven_sizes(headers), *_uneven_directions(headers))
    if uneven:
        return _item(headers, _shape(headers), (*problems, *uneven))
    stack = stacked(headers)
    return _item(stack.slices, _shape(headers), (*problems, *stack.problems), stack.affine)


def _without_localizers(headers: Sequence[Header]) -> tuple[Sequence[Header], tuple[Problem, ...]]:
    """Leave out the scout images that some scanners file with the slices."""
    kept = [header for header in headers if not _is_localizer(header)]
    if not kept or len(kept) == len(headers):
        return headers, ()
    text = f"{len(headers) - len(kept)} localizer image(s) in the series were left out"
    return kept, (Problem("localizer", text, "repair"),)


def _is_localizer(header: Header) -> bool:
    return "LOCALIZER" in header.text("ImageType").upper().split("\\")


def _without_copies(headers: Sequence[Header]) -> tuple[Sequence[Header], tuple[Problem, ...]]:
    """Leave out files that are the same, byte for byte, as another of the series."""
    kept: dict[tuple[str, str, int], list[Header]] = {}
    for header in headers:
        same = kept.setdefault((header.instance, header.text("ImagePositionPatient"), header.size), [])
        if not any(cmp(header.path, other.path, shallow=False) for other in same):
            same.append(header)
    unique = [header for same in kept.values() for header in same]
    if len(unique) == len(headers):
        return headers, ()
    text = f"{len(headers) - len(unique)} file(s) stand twice, byte for byte, and were taken once"
    return unique, (Problem("duplicate-file", text, "repair"),)


def _uneven_sizes(headers: Sequence[Header]) -> tuple[Problem, ...]:
    groups = grouped(headers, same_size)
    if len(groups) == 1:
        return ()
    parts = [f"{len(g)} of {'x'.join(map(str, _shape(g)[:2]))} at {g[0].text('PixelSpacing')} mm" for g in groups]
    return (Problem("mixed-size", f"its slices differ in size: {', '.join(parts[:4])}".replace("\\", "x")),)


def _uneven_directions(headers: Sequence[Header]) -> tuple[Problem, ...]:
    groups = grouped(headers, same_direction)
    if len(groups) == 1:
        return ()
    parts = [f"{len(group)} {_plane_name(group[0])}" for group in groups]
    what = "it is a set of localizers" if all(map(_is_localizer, headers)) else "its slices lie in different directions"
    return (Problem("mixed-orientation", f"{what}: {', '.join(parts[:6])}"),)


def _plane_name(header: Header) -> str:
    plane = plane_of(header)
    assert plane is not None, "slices without a plane were refused before"
    name = ("sagittal", "coronal", "axial")[int(np.abs(plane.normal).argmax())]
    return name if np.abs(plane.normal).max() > 0.999 else f"oblique (nearly {name})"


def _shape(headers: Sequence[Header]) -> tuple[int, ...]:
    """(columns, rows, slices) of most of the files; () where they do not say."""
    sizes = Counter((header.whole("Columns"), header.whole("Rows")) for header in headers)
    (columns, rows), _ = sizes.most_common(1)[0]
    return (columns, rows, len(headers)) if columns > 0 and rows > 0 else ()


def _item(
    headers: Sequence[Header],
    shape: tuple[int, ...],
    problems: tuple[Problem, ...],
    affine: Array | None = None,
    name: str | None = None,
) -> Item:
    first = next((header for header in headers if header.complete), headers[0])
    files = tuple(header.path for header in headers)
    path = files[0] if len(files) == 1 else Path(os.path.commonpath([file.parent for file in files]))
    return Item(
        path=path,
        reader="dicom",
        shape=shape,
        affine=np.eye(4) if affine is None else affine,
        channels=3 if first.whole("SamplesPerPixel", 1) == 3 else 1,
        modality=first.text("Modality") or TOMOGRAPHIC.get(first.sop_class),
        series=name or first.text("SeriesInstanceUID") or files[0].parent.name,
        description=first.text("SeriesDescription") or None,
        patient=first.text("PatientID") or None,
        problems=problems,
        files=files,
        facts={
            "study": first.text("StudyInstanceUID"),
            "series": first.text("SeriesInstanceUID"),
            "frame_of_reference": first.text("FrameOfReferenceUID"),
            "sop_class": first.sop_class,
            "instances": [header.instance for header in headers],
            "syntax": first.syntax,
            "slice_thickness": first.number("SliceThickness", 0.0) or None,
            "photometric": first.text("PhotometricInterpretation"),
        },
    )
