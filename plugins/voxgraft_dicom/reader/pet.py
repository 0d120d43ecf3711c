"""Standardised uptake values from PET: the vendor-neutral rules of QIBA, and PS3.3, C.8.9.

SUV = concentration [Bq/ml] x weight [g] / dose [Bq], or lean mass or surface in the place of weight; the dose decayed
from the injection to the time that the scanner corrected the images to: the beginning of the scan (DecayCorrection
START), or the injection itself (ADMIN).

The size of a body (PS3.16, CID 7469). Lean mass: Janmahasatian et al., Clin Pharmacokinet 2005, 44:1051; James,
Research on Obesity, HMSO 1976, with the multiplier 128 for men. Surface: DuBois and DuBois, Arch Intern Med 1916,
17:863.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import expm1, isfinite, log
from typing import Any

from voxgraft.plugin import Problem

from ..objects.deflated import read_dicom
from ..objects.forgiving import refusing
from .attributes import shown
from .header import Header
from .private import private
from .times import Moment, moment, whole_moment, zone_of

TYPES = {"suv": "BW", "suv-lbm-janma": "LBMJANMA", "suv-lbm-james": "LBMJAMES128", "suv-bsa": "BSA"}
"""The option of the reader -> the SUVType (0054,1006) of what it gives (PS3.3, C.8.9.1)."""
NAMES = {"BW": "body weight", "LBMJANMA": "lean body mass", "LBMJAMES128": "lean body mass", "BSA": "body surface area"}
LIGHTEST, HEAVIEST = 0.4, 700.0
"""Kilograms between which a weight is believed; 0.07 and 7000 are weights in other units."""
SHORTEST, TALLEST = 0.25, 2.6
"""Metres; 170 is a height in centimetres."""


class Missing(ValueError):
    """What SUVs cannot be computed without; the message is its name."""


def unit_of(kind: str) -> str:
    """The unit of SUVs of a type; by body weight alone it has no name behind it."""
    return {"BW": "g/ml", "BSA": "cm2/ml BSA"}.get(kind, f"g/ml {kind}")


def size_of(header: Header, kind: str) -> float:
    """What a dose is divided by: grams of the body or of its lean mass, or square centimetres of its surface.

    Raises:
        Missing: The header does not say what it needs, or says what cannot be.
    """
    weight = _between(header, "PatientWeight", LIGHTEST, HEAVIEST, "kg")
    if kind == "BW":
        return weight * 1000
    height = _between(header, "PatientSize", SHORTEST, TALLEST, "m")
    if kind == "BSA":
        return float(71.84 * weight**0.425 * (height * 100) ** 0.725)
    sex, index = header.text("PatientSex").strip().upper(), weight / height**2
    if sex not in ("M", "F"):
        raise Missing(f"PatientSex is {shown(sex) or 'missing'}, and the formulas of lean mass are for M and F")
    if kind == "LBMJANMA":  # Janmahasatian
        lean = 9270 * weight / (6680 + 216 * index if sex == "M" else 8780 + 244 * index)
    else:  # James
        squared = (weight / (height * 100)) ** 2
        lean = 1.10 * weight - 128 * squared if sex == "M" else 1.07 * weight - 148 * squared
    if not 0 < lean <= weight:
        raise Missing(f"PatientWeight {weight:g} kg and PatientSize {height:g} m give a lean mass of {lean:.3g} kg")
    return lean * 1000


def _between(header: Header, name: str, low: float, high: float, unit: str) -> float:
    value = header.number(name, 0.0)
    if not low <= value <= high:
        said = header.text(name)
        what = f"is {shown(said)} {unit}, which no patient has" if said.strip() else "is missing"
        raise Missing(f"{name} {what}")
    return value


MOST_HALF_LIVES = 10
"""A dose that was given longer ago than this was not given for this scan, or a date is wrong."""
SAME_TIME = timedelta(minutes=1)
"""Two attributes of one moment may differ by so much, for some programs round."""
SMALLEST_DOSE, LARGEST_DOSE = 1e4, 1e11
"""In becquerel; what lies beyond was given in another unit."""


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


def uptake_of(headers: Sequence[Header], wanted: str) -> Uptake:
    """How the intensities of a PET series become SUVs; one series has one factor.

    Args:
        wanted: What the reader's option says: `suv` is by body weight.
    """
    first = headers[0]
    units = first.text("Units").upper()
    kind = TYPES.get(wanted)
    if kind is None:
        return Uptake(1.0, "g/ml" if units == "GML" else units, ())
    try:
        said = ("Units", "DecayCorrection", "PatientWeight", "PatientSize", "PatientSex")
        if mixed := [name for name in said if len({header.text(name) for header in headers}) > 1]:
            raise Missing(f"its slices have different values of {' and '.join(mixed)}")
        if units in ("GML", "CM2ML"):
            return _by_the_scanner(first, units, kind)
        factor, how = _factor(headers, units, kind)
    except (Missing, OSError) as reason:
        text = f"its values stay in {shown(units) or 'units it does not name'}, for SUVs cannot be computed: {reason}"
        return Uptake(1.0, units, (Problem("no-suv", text, "warning"),))
    return _multiplied(factor, kind, how)


def _check_corrected(header: Header) -> None:
    """Raises:
    Missing: The images were not corrected for attenuation and decay, without which no value is an uptake.
    """
    corrected = set(header.parts("CorrectedImage"))
    for name, meaning in (("ATTN", "attenuation"), ("DECY", "decay")):
        if name not in corrected:
            raise Missing(f"CorrectedImage does not say that it was corrected for {meaning}")


def _multiplied(factor: float, kind: str, how: str) -> Uptake:
    text = f"its values were multiplied by {factor:.6g} to be standardised uptake values by {NAMES[kind]} ({how})"
    return Uptake(factor, unit_of(kind), (Problem("suv", text, "repair"),))


def _by_the_scanner(header: Header, units: str, wanted: str) -> Uptake:
    """Values that are SUVs already: by weight or surface they become others; those of another kind stay as they are.

    Raises:
        Missing: They were not corrected for attenuation, or the body is not known well enough to make others of them.
    """
    if header.text("CorrectedImage"):
        _check_corrected(header)
    usual = "BW" if units == "GML" else "BSA"
    kind = str(_dataset(header).get("SUVType") or usual).strip().upper()
    if kind == wanted:
        return Uptake(1.0, unit_of(kind), ())
    if kind == usual:
        return _multiplied(size_of(header, wanted) / size_of(header, kind), wanted, f"the scanner gave {kind}")
    text = f"its values are SUVs of the type {shown(kind)} (SUVType), not by {NAMES[wanted]}, and stay as they are"
    return Uptake(1.0, unit_of(shown(kind)), (Problem("no-suv", text, "warning"),))


def _of_counts(headers: Sequence[Header]) -> tuple[float, float]:
    """The factors from counts to SUVs and to Bq/ml that Philips keeps; 0 where one is missing."""
    pairs = {tuple(_philips(dataset, element) for element in (0x00, 0x09)) for dataset in map(_dataset, headers)}
    if len(pairs) > 1:
        raise Missing("its slices have different factors (7053,1000) or (7053,1009)")
    ((own, to_activity),) = pairs
    return own, to_activity


def _factor(headers: Sequence[Header], units: str, kind: str) -> tuple[float, str]:
    dataset = _dataset(headers[0])
    before, correction = 1.0, headers[0].text("DecayCorrection").upper()
    _check_corrected(headers[0])
    if correction not in ("START", "ADMIN"):
        raise Missing(f"DecayCorrection is {shown(correction) or 'missing'}")
    if units == "CNTS":
        own, to_activity = _of_counts(headers)
        if own > 0 and kind == "BW":
            return own, "the scanner's own factor for counts"
        if own > 0:  # Philips' factor gives SUVs by body weight
            return own * size_of(headers[0], kind) / size_of(headers[0], "BW"), "from the scanner's factor for counts"
        if to_activity <= 0:
            raise Missing("its units are counts and there is no factor (7053,1000) or (7053,1009)")
        before = to_activity
    elif units != "BQML":
        raise Missing(f"its units are {shown(units)}" if units else "Units is missing")
    size = size_of(headers[0], kind)
    sequence = dataset.get("RadiopharmaceuticalInformationSequence") or []
    if len(sequence) != 1:
        raise Missing("RadiopharmaceuticalInformationSequence is missing or names several doses")
    dose = _positive(sequence[0], "RadionuclideTotalDose")
    if not SMALLEST_DOSE <= dose <= LARGEST_DOSE:
        raise Missing(f"RadionuclideTotalDose is {dose:g}, which is not a dose in becquerel")
    if correction == "ADMIN":
        return before * size / dose, "dose at the injection"
    half_life = _positive(sequence[0], "RadionuclideHalfLife")
    waited = _waited(headers, dataset, sequence[0], half_life)
    return before * size / (dose * 2 ** (-waited.total_seconds() / half_life)), "dose decayed to the scan"


def _waited(headers: Sequence[Header], dataset: Any, reported: Any, half_life: float) -> timedelta:
    """The time from the injection to the moment that the images are corrected to; negative in a scan begun before it.

    Raises:
        Missing: The header does not say it, or says it in two ways that do not agree.
    """
    zone = zone_of(str(dataset.get("TimezoneOffsetFromUTC") or ""))
    start, last = _scanned(headers, dataset, zone, half_life)
    longest = timedelta(seconds=MOST_HALF_LIVES * half_life)
    whole = str(reported.get("RadiopharmaceuticalStartDateTime") or "").strip()
    time = str(reported.get("RadiopharmaceuticalStartTime") or "")
    injected = whole_moment(whole, zone)
    if injected is not None:
        waited = _since(start, injected, moment(injected.clock.strftime("%Y%m%d"), time, zone), zone)
        if not start.clock - last.clock <= waited <= longest:
            raise Missing("the times of the injection and of the scan do not fit together")
        return waited
    on_day = moment(whole[:8] or start.clock.strftime("%Y%m%d"), time, zone)
    if on_day is None:
        raise Missing("RadiopharmaceuticalStartDateTime and RadiopharmaceuticalStartTime are missing")
    days = [0] if whole else range(-2 - longest.days, 2)
    possible = [start.clock - on_day.plus(day).clock for day in days]
    fitting = [waited for waited in possible if start.clock - last.clock <= waited <= longest]
    if len(fitting) > 1:
        raise Missing(
            "the day of the injection is not given, and the nuclide lives so long that it may be any of several"
        )
    if not fitting:
        raise Missing("the times of the injection and of the scan do not fit together")
    return fitting[0]


def _since(start: Moment, injected: Moment, by_clock: Moment | None, zone: timedelta | None) -> timedelta:
    """From the injection to the beginning of the scan.

    Args:
        by_clock: The injection by RadiopharmaceuticalStartTime, which has the zone of the header.
        zone: The zone of the header.
    """
    same_clock = by_clock is not None and abs(by_clock.clock - injected.clock) <= SAME_TIME
    waited = start.since(injected)
    if waited is None and same_clock:
        waited = start.clock - injected.clock  # both times of the injection were read from the scanner's clock
    if waited is None:
        which = "injection" if zone is None else "scan"
        raise Missing(f"the time of the {which} says in which zone it is, and nothing says it of the other")
    if by_clock is not None and not same_clock:
        apart = injected.since(by_clock)
        off = timedelta(0) if apart is None else apart % timedelta(days=1)
        if apart is None or min(off, timedelta(days=1) - off) > SAME_TIME:
            raise Missing("RadiopharmaceuticalStartDateTime and RadiopharmaceuticalStartTime do not agree")
    elif same_clock and injected.zone is not None and zone is not None and injected.zone != zone:
        raise Missing("RadiopharmaceuticalStartDateTime and RadiopharmaceuticalStartTime do not agree")
    return waited


def _scanned(
    headers: Sequence[Header], dataset: Any, zone: timedelta | None, half_life: float
) -> tuple[Moment, Moment]:
    """The moment that a scan's images are corrected to, which is its beginning, and when its last image began."""
    acquired = [acquisition for header in headers if (acquisition := _acquired(header, zone)) is not None]
    earliest = min(acquired, key=lambda acquisition: acquisition.clock, default=None)
    latest = max(acquired, key=lambda acquisition: acquisition.clock, default=None)
    start = moment(headers[0].text("SeriesDate"), headers[0].text("SeriesTime"), zone)
    if start is None or (earliest is not None and start.clock > earliest.clock):
        # The series was made after the scan; General Electric keeps the true time in a private attribute (0009,xx0D).
        own = whole_moment(private(dataset, 0x0009, "GEMS_PETD", 0x0D), zone)
        start = own or _worked_back(headers, zone, half_life) or earliest
    if start is None:
        raise Missing("SeriesDate, SeriesTime, AcquisitionDate and AcquisitionTime do not say when it was scanned")
    return start, latest if latest is not None and latest.clock > start.clock else start


def _worked_back(headers: Sequence[Header], zone: timedelta | None, half_life: float) -> Moment | None:
    """The beginning of a scan whose first beds are not in the series, from FrameReferenceTime (QIBA's pseudocode).

    An image's FrameReferenceTime is the time from the beginning to the moment within the image's frame at which the
    count rate is its average. None where an image does not say it, the images do not agree, or it says nothing earlier
    than the first of them: some scanners write 0.
    """
    starts: list[Moment] = []
    for header in headers:
        acquired = _acquired(header, zone)
        reference, duration = (
            header.number(name, -1.0) / 1000 for name in ("FrameReferenceTime", "ActualFrameDuration")
        )
        if acquired is None or reference < 0 or duration <= 0:
            return None
        decay = log(2) * duration / half_life
        average = duration / decay * log(decay / -expm1(-decay))
        try:
            starts.append(Moment(acquired.clock + timedelta(seconds=average - reference), acquired.zone))
        except OverflowError:
            return None
    clocks = [start.clock for start in starts]
    earliest = min(acquired.clock for header in headers if (acquired := _acquired(header, zone)) is not None)
    agree = max(clocks) - min(clocks) <= SAME_TIME and min(clocks) < earliest
    return starts[clocks.index(min(clocks))] if agree else None


def _acquired(header: Header, zone: timedelta | None) -> Moment | None:
    """When an image was begun, by the clock of the header."""
    start = moment(header.text("AcquisitionDate"), header.text("AcquisitionTime"), zone)
    start = start or whole_moment(header.text("AcquisitionDateTime"), zone)
    if start is not None and zone is not None and start.zone is not None and start.zone != zone:
        return Moment(start.clock - start.zone + zone, zone)
    return start


def _dataset(header: Header) -> Any:
    with refusing(Missing("its header cannot be understood")):
        return read_dicom(header.path, pixels=False)


def _positive(dataset: Any, name: str) -> float:
    try:
        value = float(dataset.get(name))
    except (TypeError, ValueError):
        raise Missing(f"{name} is missing") from None
    if not 0 < value < float("inf"):
        raise Missing(f"{name} is {value:g}")
    return value


def _philips(dataset: Any, element: int) -> float:
    """A factor of Philips PET's private group; 0 where it is missing."""
    try:
        value = float(private(dataset, 0x7053, "PHILIPS PET", element))
    except ValueError:
        return 0.0
    return value if isfinite(value) else 0.0
