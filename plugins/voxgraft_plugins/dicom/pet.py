"""Standardised uptake values by body weight, from PET: the vendor-neutral rules of QIBA, and PS3.3, C.8.9.

SUV = concentration [Bq/ml] x weight [g] / dose [Bq], the dose decayed from the injection to the time that the scanner
corrected the images to: the beginning of the scan (DecayCorrection START), or the injection itself (ADMIN).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from voxgraft.derived.deflated import read_dicom
from voxgraft.derived.forgiving import forgiving
from voxgraft.volume import Problem

from .attributes import shown
from .header import Header

LONGEST = timedelta(hours=24)
"""A dose that was given longer ago than this was not given for this scan, or a date is wrong."""


@dataclass(frozen=True)
class Uptake:
    """What to multiply intensities by.

    Attributes:
        factor: 1 where the values stay as they are.
        units: The unit of the result.
    """

    factor: float
    units: str
    problems: tuple[Problem, ...]


class Missing(ValueError):
    """What SUVs cannot be computed without; the message is its name."""


def uptake_of(headers: Sequence[Header], wanted: str) -> Uptake:
    """How the intensities of a PET series become SUVs by body weight; one series has one factor.

    Args:
        wanted: `suv` or `stored`.
    """
    first = headers[0]
    units = first.text("Units").upper()
    if wanted != "suv" or units == "GML":
        return Uptake(1.0, "g/ml" if units == "GML" else units, ())
    try:
        if len({(one.text("Units"), one.text("DecayCorrection")) for one in headers}) > 1:
            raise Missing("its slices have different units")
        factor, how = _factor(headers, units)
    except (Missing, OSError) as reason:
        text = f"its values stay in {shown(units) or 'units it does not name'}, for SUVs cannot be computed: {reason}"
        return Uptake(1.0, units, (Problem("no-suv", text, "warning"),))
    text = f"its values were multiplied by {factor:.6g} to be standardised uptake values by body weight ({how})"
    return Uptake(factor, "g/ml", (Problem("suv", text, "repair"),))


def _factor(headers: Sequence[Header], units: str) -> tuple[float, str]:
    dataset = _dataset(headers[0])
    before = 1.0
    if units == "CNTS":
        own, to_activity = _philips(dataset, 0x1000), _philips(dataset, 0x1009)
        if own > 0:
            return own, "the scanner's own factor for counts"
        if to_activity <= 0:
            raise Missing("its units are counts and there is no factor (7053,1000) or (7053,1009)")
        before = to_activity
    elif units != "BQML":
        raise Missing(f"its units are {shown(units)}" if units else "Units is missing")
    corrected = set(headers[0].parts("CorrectedImage"))
    for name, meaning in (("ATTN", "attenuation"), ("DECY", "decay")):
        if name not in corrected:
            raise Missing(f"CorrectedImage does not say that it was corrected for {meaning}")
    weight = headers[0].number("PatientWeight", 0.0)
    if not 0 < weight < 700:
        raise Missing("PatientWeight is missing or absurd")
    sequence = dataset.get("RadiopharmaceuticalInformationSequence") or []
    if len(sequence) != 1:
        raise Missing("RadiopharmaceuticalInformationSequence is missing or names several doses")
    dose, half_life = (_positive(sequence[0], name) for name in ("RadionuclideTotalDose", "RadionuclideHalfLife"))
    correction = headers[0].text("DecayCorrection").upper()
    if correction == "ADMIN":
        return before * weight * 1000 / dose, "dose at the injection"
    if correction != "START":
        raise Missing(f"DecayCorrection is {shown(correction) or 'missing'}")
    waited = _waited(headers, dataset, sequence[0])
    return before * weight * 1000 / (dose * 2 ** (-waited.total_seconds() / half_life)), "dose decayed to the scan"


def _waited(headers: Sequence[Header], dataset: Any, radiopharmaceutical: Any) -> timedelta:
    """The time from the injection to the moment that the images are corrected to."""
    acquired = [_moment(one.text("AcquisitionDate"), one.text("AcquisitionTime")) for one in headers]
    earliest = min((moment for moment in acquired if moment is not None), default=None)
    start = _moment(headers[0].text("SeriesDate"), headers[0].text("SeriesTime"))
    if start is None or (earliest is not None and start > earliest):
        # The series was made after the scan; General Electric keeps the true time in a private attribute.
        start = _general_electric(dataset) or earliest
    if start is None:
        raise Missing("SeriesDate, SeriesTime, AcquisitionDate and AcquisitionTime do not say when it was scanned")
    whole = str(radiopharmaceutical.get("RadiopharmaceuticalStartDateTime") or "")
    given = _moment(whole[:8], whole[8:])
    if given is None:
        given = _moment(start.strftime("%Y%m%d"), str(radiopharmaceutical.get("RadiopharmaceuticalStartTime") or ""))
        if given is None:
            raise Missing("RadiopharmaceuticalStartDateTime and RadiopharmaceuticalStartTime are missing")
        if given > start:
            given -= timedelta(days=1)
    waited = start - given
    if not timedelta(0) <= waited <= LONGEST:
        raise Missing("the times of the injection and of the scan do not fit together")
    return waited


def _moment(date: str, time: str) -> datetime | None:
    """A date and a time of DICOM (`YYYYMMDD`, `HHMMSS.ffffff`); zones are left out, for both times have the same."""
    time = time.split("+")[0].split("-")[0].replace(":", "")
    whole, _, part = time.partition(".")
    if len(whole) < 4 or not whole.isdigit():
        return None
    try:
        return datetime.strptime(f"{date}{whole[:6]:0<6}.{part[:6]:0<6}", "%Y%m%d%H%M%S.%f")
    except ValueError:
        return None


def _dataset(header: Header) -> Any:
    try:
        with forgiving():
            return read_dicom(header.path, pixels=False)
    except OSError:
        raise
    except Exception as error:  # pydicom fails in many ways on what is badly written
        raise Missing("its header cannot be understood") from error


def _positive(dataset: Any, name: str) -> float:
    try:
        value = float(dataset.get(name))
    except (TypeError, ValueError):
        raise Missing(f"{name} is missing") from None
    if not 0 < value < float("inf"):
        raise Missing(f"{name} is {value:g}")
    return value


def _philips(dataset: Any, element: int) -> float:
    """A factor of the private group 7053, which belongs to Philips PET; 0 where it is missing."""
    if str(dataset.get((0x7053, 0x0010), "")) == "" or (0x7053, element) not in dataset:
        return 0.0
    return _number(dataset[0x7053, element].value)


def _general_electric(dataset: Any) -> datetime | None:
    """The private scan date and time (0009,100D) of General Electric PET."""
    if (0x0009, 0x100D) not in dataset:
        return None
    value = dataset[0x0009, 0x100D].value
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return _moment(text.strip(" \0")[:8], text.strip(" \0")[8:])


def _number(value: Any) -> float:
    try:
        return float(value.decode("ascii") if isinstance(value, bytes) else value)
    except (TypeError, ValueError, UnicodeDecodeError):
        return 0.0
