"""From headers to images: which files belong together, and what kind of image they hold."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from voxgraft.plugin import Problem

from .enhanced import Inconsistent, frames_of, is_enhanced
from .frames import Frame, alike, single
from .geometry import plane_of
from .header import STORAGE, TOMOGRAPHIC, Header
from .items import Found, Problems, flat, refused
from .mosaic import Unplaced, is_mosaic, tiles_of
from .nuclear import NUCLEAR, Unsaid, is_reconstructed, kind_of, slices_of
from .options import DicomOptions
from .pixels import missing_pixels
from .volumes import volumes

ULTRASOUND = STORAGE + "6.2"
"""The storage class of enhanced ultrasound volumes."""


def series_of(headers: Iterable[Header]) -> list[Series]:
    """Part headers into series: by UID, or where that is blank, by folder and kind; then by study and patient."""
    return [part for group in alike(headers, _series) for part in of_people(group)]


def _series(header: Header) -> tuple[str, ...]:
    if uid := header.text("SeriesInstanceUID"):
        return (uid,)
    names = ("Modality", "SeriesDescription", "FrameOfReferenceUID")
    return (str(header.path.parent), header.sop_class, *map(header.text, names))


def is_nameless(header: Header) -> bool:
    """Whether the file breaks off before it names its series."""
    return not header.has_pixels and not header.text("SeriesInstanceUID")


def possible_slices(damaged: Mapping[Path, Header | None], series: Sequence[Header]) -> list[Path]:
    """The damaged files that may be slices of a series: they lie beside its files, and what they still say agrees.

    Beside the files of a series that is spread over folders is a folder beside theirs, too.

    Args:
        damaged: What is left of the header of each; None where nothing is.
        series: The headers of the files that are whole.
    """
    folders = {header.path.parent for header in series}
    around = {folder.parent for folder in folders} if len(folders) > 1 else set()
    near = [file for file in damaged if file.parent in folders or file.parent.parent in around]
    if not near or len(_alone(series)) == len(series):
        return []
    names = ("MediaStorageSOPClassUID", "Modality", "SeriesDescription", "PatientID", "StudyInstanceUID")
    fits = {name: ("", series[0].text(name)) for name in names}
    return [
        file
        for file in near
        if (rest := damaged[file]) is None or all(rest.text(name) in texts for name, texts in fits.items())
    ]


def describe(series: Series, damaged: Sequence[Path], options: DicomOptions) -> list[Found]:
    """The images of one series: a volume, several that are whole by themselves, or pictures without a place.

    Args:
        damaged: Files beside them that cannot be understood and may belong to this series.
    """
    if any(problem.severity == "error" for problem in series.problems):
        return [refused(series.headers, series.problems)]
    return [_named(image, series) for image in _described(series.headers, damaged, options)]


def _named(image: Found, series: Series) -> Found:
    if not series.problems:
        return image
    item = image.item
    name = f"{item.series or ''}{series.suffix}"
    return replace(image, item=replace(item, series=name, problems=(*series.problems, *item.problems)))


def _described(headers: Sequence[Header], damaged: Sequence[Path], options: DicomOptions) -> list[Found]:
    alone = _alone(headers)
    paths = {header.path for header in alone}
    slices = [header for header in headers if header.path not in paths]
    several = len(headers) > 1
    images = [image for header in alone for image in _pictures(header, several, options)]
    if slices:
        images += _slices(slices, damaged, options)
    return images


def _alone(headers: Sequence[Header]) -> list[Header]:
    """Those that are images by themselves: pictures without a place in the patient, and films."""
    placed = [header for header in headers if _is_placed(header)]
    classes = {header.sop_class for header in placed}

    def is_picture(header: Header) -> bool:
        if _is_placed(header) or header.sop_class in classes:
            return False
        return header.sop_class not in TOMOGRAPHIC and (header.complete or not placed)

    pictures = [header for header in headers if is_picture(header)]
    if not any(header.complete for header in pictures):
        pictures = []
    paths = {header.path for header in pictures}
    return [header for header in headers if header.path in paths or _is_film(header)]


def _is_placed(header: Header) -> bool:
    return bool(header.text("ImagePositionPatient")) or is_enhanced(header) or is_reconstructed(header)


def _is_film(header: Header) -> bool:
    return header.complete and header.sop_class not in TOMOGRAPHIC and _has_frames(header)


def _has_frames(header: Header) -> bool:
    """Whether it holds several frames without saying where each lies."""
    return header.whole("NumberOfFrames", 1) != 1 and not is_enhanced(header) and not is_reconstructed(header)


def _pictures(header: Header, several: bool, options: DicomOptions) -> list[Found]:
    """An image that stands by itself, or the frames of a film."""
    if reason := _breaks_off(header):
        return [refused([header], (Problem("truncated", f"{header.path.name}: {reason}"),))]
    count = header.whole("NumberOfFrames", 1)
    if count < 1:
        return [refused([header], (Problem("multi-frame", "its NumberOfFrames is not a number of frames"),))]
    name = header.instance if several else ""
    return [flat(single(header), (), name)] if count == 1 else _film(header, count, name, options)


def _film(header: Header, count: int, name: str, options: DicomOptions) -> list[Found]:
    """A film of pictures: they follow each other in time, which is not an axis of a volume."""
    if options.films == "frames" and (header.plain or header.length >= 0):  # elsewhere nobody has counted the frames
        name = name or header.text("SeriesInstanceUID") or header.instance
        frames = (Frame(header, header.values, number) for number in range(count))
        return [flat(frame, (), f"{name}-frame{frame.index + 1}") for frame in frames]
    text = f"its {count} frames have no places in the patient: a film or a set of pictures, not a volume"
    if header.sop_class == NUCLEAR:
        kind = kind_of(header) or "unknown"
        text = (
            f"its {count} frames are projections or pictures of nuclear medicine ({kind}); only RECON TOMO is a volume"
        )
    if header.sop_class == ULTRASOUND:
        text = f"its {count} frames are an enhanced ultrasound volume, placed against the transducer, not the patient"
    return [refused([header], (Problem("multi-frame", text),))]


def _slices(headers: Sequence[Header], damaged: Sequence[Path], options: DicomOptions) -> list[Found]:
    """The volumes of files that hold slices."""
    reasons = [_breaks_off(header) for header in headers]
    broken = _damage(headers, reasons, damaged)
    whole = [header for header, reason in zip(headers, reasons, strict=True) if not reason]
    if broken:
        return [_beside(refused(headers, broken), damaged)]
    if any(map(_has_frames, whole)):
        most = max(header.whole("NumberOfFrames", 1) for header in whole)
        text = f"its files hold up to {most} frames each and do not say where they lie"
        return [refused(headers, (Problem("multi-frame", text),))]
    images: list[Found] = []
    classic = [header for header in whole if not is_enhanced(header)]
    try:
        if len(classic) < len(whole):
            images += _enhanced([header for header in whole if is_enhanced(header)], options)
        if classic:
            images += volumes([frame for header in classic for frame in _classic(header)], (), options)
    except Inconsistent as reason:
        return [refused(headers, (Problem("multi-frame", f"it is an enhanced multi-frame object; {reason}"),))]
    except Unsaid as reason:
        return [refused(headers, (Problem("multi-frame", f"it is a nuclear medicine reconstruction; {reason}"),))]
    except Unplaced as reason:
        text = f"its slices lie side by side in one picture (Siemens mosaic), and {reason}"
        return [refused(headers, (Problem("mosaic", text),))]
    return images


def _classic(header: Header) -> list[Frame]:
    """The slices of a file without functional groups.

    Raises:
        Unplaced: They lie side by side in one picture, and nothing says how.
        Unsaid: They are a reconstruction that does not say where they lie.
    """
    if is_mosaic(header):
        return tiles_of(header)
    return slices_of(header) if is_reconstructed(header) else [single(header)]


def _beside(image: Found, damaged: Sequence[Path]) -> Found:
    """A refused image whose path holds the damaged files too, so that whoever looks there again finds them."""
    if not damaged:
        return image
    folders = [file.parent for file in (*image.item.files, *damaged)]
    return replace(image, item=replace(image.item, path=Path(os.path.commonpath(folders))))


def _enhanced(headers: Sequence[Header], options: DicomOptions) -> list[Found]:
    """The images of enhanced objects: frames with places are slices, those without any are pictures.

    Raises:
        Inconsistent: An object does not describe its frames.
    """
    images: list[Found] = []
    slices: list[Frame] = []
    for header in headers:
        frames = frames_of(header)
        if any(plane_of(frame) is not None for frame in frames) or header.sop_class.rsplit(".", 1)[0] in TOMOGRAPHIC:
            slices += frames
        else:
            name = header.instance if len(headers) > 1 else ""
            images += [flat(frames[0], (), name)] if len(frames) == 1 else _film(header, len(frames), name, options)
    return images + (volumes(slices, (), options) if slices else [])


def _damage(headers: Sequence[Header], reasons: Sequence[str], damaged: Sequence[Path]) -> Problems:
    """The first damage in the files of a series, and beside them."""
    for header, reason in zip(headers, reasons, strict=True):
        if reason:
            return (Problem("truncated", f"{header.path.name}: {reason}"),)
    if not damaged:
        return ()
    text = f"{damaged[0].name}: it is not a readable DICOM file, and may be a slice of this series"
    more = f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""
    return (Problem("truncated", text + more),)


def _breaks_off(header: Header) -> str:
    if not header.complete:
        return "its header breaks off; the file is truncated, copy it again"
    if not header.has_pixels:
        return "it has no pixel data; the file is truncated, copy it again"
    return missing_pixels(header)


IDENTITY = ("StudyInstanceUID", "PatientID", "PatientName", "PatientBirthDate")
SHARED = ("PatientSex", "StudyDate", "Manufacturer")
"""What is the same in all files of a series, too; where some do not say it, that is not held against them."""
FEWEST = 3
"""A patient's part of a series stands for an image only with so many frames: fewer may be slices of the others."""


@dataclass(frozen=True)
class Series:
    """The files of one series of one patient and study.

    Attributes:
        suffix: What to put behind the name of its images, where the UID names those of others too.
    """

    headers: Sequence[Header]
    suffix: str = ""
    problems: Problems = ()


def of_people(headers: Sequence[Header]) -> list[Series]:
    """Part the files under one SeriesInstanceUID by the study and the patient that they name.

    Every part is an image of its own, with a warning. Where some files name nobody, or a part has fewer frames than
    make up a volume, nobody knows whose they are, and all of them are refused.
    """
    groups = _groups(headers)
    if len(groups) == 1:
        return [Series(headers)]
    names = [name for name in (*IDENTITY, *SHARED) if len({_plain(header, name) for header in headers}) > 1]
    counts = [sum(_frames(header) for header in group) for group in groups]
    what = f"the files under its SeriesInstanceUID differ in {', '.join(names)} ({', '.join(map(str, counts[:6]))})"
    if any(not _plain(group[0], name) for group in groups for name in names if name in IDENTITY[1:]):
        problem = Problem("mixed-patient", f"{what}, and some of them do not say it; correct their headers")
    elif min(counts) < FEWEST and any(header.text("ImagePositionPatient") for header in headers):
        problem = Problem("mixed-patient", f"{what}: too few of one are here to be an image; correct their headers")
    else:
        text = f"{what}: they belong to several patients or studies, and were read as separate images"
        problem = Problem("shared-uid", text, "warning")
    if problem.severity == "error":
        return [Series(headers, "", (problem,))]
    return [Series(group, f"-{number}", (problem,)) for number, group in enumerate(groups, 1)]


def _groups(headers: Sequence[Header]) -> list[list[Header]]:
    """Files by what they say of patient and study; instances that were sent again with a corrected name stay."""
    shared = [name for name in SHARED if all(header.text(name) for header in headers)]
    groups = _by(headers, [*IDENTITY, *shared])
    instances = [[header.instance for header in group] for group in groups]
    again = sum(len(set(names)) for names in instances) > len(set().union(*map(set, instances)))
    if again and all(len(set(names)) == len(names) for names in instances):
        return _by(headers, IDENTITY[:2])
    return groups


def _by(headers: Sequence[Header], names: Sequence[str]) -> list[list[Header]]:
    groups = alike(headers, lambda header: tuple(_plain(header, name) for name in names))
    return sorted(groups, key=lambda group: min(str(header.path) for header in group))


def _plain(header: Header, name: str) -> str:
    """A value without what only spelling adds: case, blanks, and empty parts of a name."""
    return " ".join(header.text(name).casefold().replace("^", " ").split())


def _frames(header: Header) -> int:
    several = "MOSAIC" in header.parts("ImageType")
    return max(header.whole("NumberOfFrames", 1), FEWEST if several else 1)
