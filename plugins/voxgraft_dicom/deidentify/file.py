"""De-identify one file: read, judge, clean, mark, write, read back and search."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, UID_dictionary

from voxgraft.plugin import BadImage, VoxGraftError, atomic_write

from ..objects.deflated import read_dicom
from ..objects.header import concept
from . import tokens
from .clean import Cleaner, Misfit, TooDeep
from .key import Key
from .options import Options
from .risk import held_back, notes

PREAMBLE = b"\0" * 128


class Unfit(ValueError):
    """The file cannot be de-identified as it is; the sentence says why, and names nobody."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is the same for all files of a run.

    Attributes:
        target: The folder of the results; None where nothing is to be written.
        pseudonyms: New names that the user gave, by patient id.
    """

    key: Key
    options: Options
    target: Path | None
    pseudonyms: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """One file of the source.

    Attributes:
        path: The file.
        mark: Its name in the report, which only the holder of the key can connect with it.
        state: Changes with the state of the file; of it too the report has only what the key makes of it.
        suffix: Behind the name of the result, where several files of the source call themselves the same instance.
        folder: The name of its folder in the report; it stands in for UIDs that are blank.
        nifti: It is a NIfTI file.
    """

    path: Path
    mark: str
    state: str = ""
    suffix: str = ""
    folder: str = ""
    nifti: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a file.

    Attributes:
        state: written, quarantined or failed.
        file: The path of the result within the target; of a file held back, where it would have been.
        rule, reason: Why it is not written.
        notes: What the user should know.
        patient: The patient's old id and new name; never for a report.
        source: The state of the file before it was read, as `Job.state`.
    """

    mark: str
    state: str
    file: str = ""
    rule: str = ""
    reason: str = ""
    notes: tuple[str, ...] = ()
    patient: tuple[str, str] = field(default=("", ""), repr=False)
    source: str = ""

    def document(self) -> dict[str, Any]:
        """As plain values, without the patient."""
        names = ("state", "file", "rule", "reason", "source")
        return {"id": self.mark, **{name: value for name in names if (value := getattr(self, name))}}


def process(job: Job, settings: Settings) -> Outcome:
    """De-identify a file. Whatever is wrong with it is told in the outcome.

    Raises:
        DataError: The target cannot be written.
    """
    with _silence():
        try:
            return _process(job, settings)
        except BadImage as error:
            reason = error.reason
        except VoxGraftError:
            raise  # the target's disk is full, or the like: not this file's fault
        except Unfit as error:
            reason = str(error)
        except Misfit as error:
            reason = f"has a value in {error} that is not what it should be, and may hide others"
        except (TooDeep, RecursionError):
            reason = "has sequences within sequences without end"
        except MemoryError:
            reason = "claims more than fits into memory"
        except OSError as error:
            if error.filename is not None and Path(error.filename) != job.path:
                raise  # the target's disk, not this file
            reason = f"cannot be read ({error.strerror or type(error).__name__})"
        except Exception as error:  # pydicom raises whatever the bytes provoke; its message may hold a value
            reason = f"is broken ({type(error).__name__})"
    return Outcome(job.mark, "failed", reason=reason)


def instance(path: Path) -> tuple[str, bool]:
    """The SOP instance UID of a file as it says itself ("" unknown), and whether it is a DICOMDIR."""
    with _silence():
        try:
            found = read_dicom(path, pixels=False, specific_tags=["SOPInstanceUID"])
            meta = found.file_meta
            uid = str(found.get("SOPInstanceUID") or meta.get("MediaStorageSOPInstanceUID") or "")
            return uid, str(meta.get("MediaStorageSOPClassUID", "")) == "1.2.840.10008.1.3.10"
        except Exception:  # what is wrong with it is told when its turn comes
            return "", False


def _process(job: Job, settings: Settings) -> Outcome:
    source = _read(job.path)
    rule = held_back(source, pixels_checked=settings.options.pixels_checked)
    said = tuple(sorted(notes(source)))
    identifying = tokens.identifying(source, settings.options)
    pixels = _pixels(source)
    patient = patient_of(source)
    old = str(source.get("PatientID") or "").strip()
    pseudonym = settings.pseudonyms.get(old) or settings.key.name(patient)
    days = settings.key.days(patient, settings.options.shift_days)
    cleaner = Cleaner(settings.key, settings.options, pseudonym, days, identifying.names)
    name = _name(source, cleaner, job)
    outcome = Outcome(job.mark, "written", name, notes=said, patient=(old, pseudonym))
    if rule is not None:
        return Outcome(job.mark, "quarantined", name, *rule, patient=(old, pseudonym))
    cleaner.clean(source)
    _mark(source, settings.options)
    if settings.target is None:
        beside = io.BytesIO()
        place = _deliver(source, beside, identifying, pixels, pseudonym)
    else:
        place = ""
        try:
            with atomic_write(settings.target / name) as path:
                place = _deliver(source, path, identifying, pixels, pseudonym)
                if place:
                    raise _Withheld
        except _Withheld:
            pass
    if place:
        reason = f"something that identifies the patient is still in {place}"
        return Outcome(job.mark, "quarantined", name, "identity-left", reason, patient=(old, pseudonym))
    return outcome


class _Withheld(Exception):
    """The file is not to be delivered."""


def _read(path: Path) -> Dataset:
    source = read_dicom(path)
    meta = source.file_meta
    if not source.get("SOPClassUID"):
        if not meta.get("MediaStorageSOPClassUID"):
            raise Unfit("says nowhere what kind of object it is (SOPClassUID)")
        source.SOPClassUID = meta.MediaStorageSOPClassUID
    if not source.get("SOPInstanceUID"):
        if not meta.get("MediaStorageSOPInstanceUID"):
            raise Unfit("has no SOPInstanceUID, by which others could refer to it")
        source.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    if not meta.get("TransferSyntaxUID"):
        implicit, little = source.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    if meta.TransferSyntaxUID not in UID_dictionary:
        raise Unfit("has a transfer syntax that the standard does not know")
    if "PatientName" not in source and "PatientID" not in source:
        raise Unfit("has neither a patient's name nor an id, so that nobody can tell whether they are gone")
    return source


def patient_of(source: Dataset) -> str:
    """What ties the files of a patient together: the id, or else name and birth date, or else the study."""
    if patient := str(source.get("PatientID") or "").strip():
        return f"id {patient}"
    if name := str(source.get("PatientName") or "").strip():
        return f"name {name} {source.get('PatientBirthDate') or ''}"
    return f"study {source.get('StudyInstanceUID') or ''}"


def _pixels(source: Dataset) -> bytes | None:
    """The pixel data as they are to be delivered; bytes behind the image of an uncompressed file are cut off.

    Raises:
        Unfit: There are fewer bytes than the image has.
    """
    if "PixelData" not in source:
        return None
    element = source["PixelData"]
    data: bytes = element.value or b""
    wanted = _length(source)
    if wanted is None:
        return data
    if len(data) < wanted:
        raise Unfit(f"is truncated: {len(data):,} of {wanted:,} bytes of the pixels are there")
    if len(data) > wanted:
        element.value = data[:wanted] + b"\0" * (wanted % 2)
    return bytes(element.value)


def _length(source: Dataset) -> int | None:
    """The bytes of uncompressed pixel data; None where they cannot be counted from the header."""
    if source.file_meta.TransferSyntaxUID.is_encapsulated or source.get("PhotometricInterpretation") == "YBR_FULL_422":
        return None
    try:
        rows, columns, bits = (int(source[name].value) for name in ("Rows", "Columns", "BitsAllocated"))
        frames = int(source.get("NumberOfFrames") or 1)
        samples = int(source.get("SamplesPerPixel") or 1)
    except (KeyError, TypeError, ValueError):
        raise Unfit("has pixels, but not their size (Rows, Columns, BitsAllocated)") from None
    if min(rows, columns, bits, frames, samples) < 1:
        raise Unfit("has pixels of no size (Rows, Columns, BitsAllocated, NumberOfFrames)")
    return (rows * columns * samples * frames * bits + 7) // 8


def _name(source: Dataset, cleaner: Cleaner, job: Job) -> str:
    """The path of the result within the target: patient, study, series and instance by their new names."""
    study, series = (
        cleaner.uid(str(source.get(keyword) or "")) or cleaner.key.mark(keyword, job.folder)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID")
    )
    return f"{cleaner.pseudonym}/{study}/{series}/{cleaner.uid(str(source.SOPInstanceUID))}{job.suffix}.dcm"


def _mark(dataset: Dataset, options: Options) -> None:
    """Say in the file that it was de-identified, and how (PS3.3, C.7.1.1 and C.12.1.1; PS3.15, E.1.1)."""
    structured = "ContentSequence" in dataset
    codes = [concept(value, "DCM", meaning) for value, meaning in options.codes(structured=structured)]
    before = str(dataset.get("LongitudinalTemporalInformationModified") or "")
    keeps_less = options.dates == "keep" and before in ("REMOVED", "MODIFIED")
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = options.method
    if codes:
        dataset.DeidentificationMethodCodeSequence = codes
    elif "DeidentificationMethodCodeSequence" in dataset:
        del dataset.DeidentificationMethodCodeSequence
    dataset.LongitudinalTemporalInformationModified = before if keeps_less else options.temporal
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    dataset.file_meta = meta
    dataset.preamble = PREAMBLE


def _deliver(
    dataset: Dataset, place: Path | io.BytesIO, identifying: tokens.Tokens, pixels: bytes | None, pseudonym: str
) -> str:
    """Write the file, read it back, and give the attribute in which something identifying still stands, or nothing.

    Raises:
        Unfit: What was read back is not what was written.
    """
    dataset.save_as(place, enforce_file_format=True)
    if isinstance(place, io.BytesIO):
        place.seek(0)
    back = pydicom.dcmread(place)
    if (back["PixelData"].value if pixels is not None else None) != pixels or back.preamble != PREAMBLE:
        raise Unfit("could not be written without changing its pixels")
    return tokens.found(identifying, back, pseudonym) or tokens.found(identifying, back.file_meta, pseudonym) or ""


@contextmanager
def _silence() -> Iterator[None]:
    """pydicom warns of values that it finds odd, and shows them: they are the patient's."""
    log = logging.getLogger("pydicom")
    settings = pydicom.config.settings
    before = log.disabled, settings.reading_validation_mode, settings.writing_validation_mode
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log.disabled = True
        settings.reading_validation_mode = settings.writing_validation_mode = pydicom.config.IGNORE
        try:
            yield
        finally:
            log.disabled, settings.reading_validation_mode, settings.writing_validation_mode = before
