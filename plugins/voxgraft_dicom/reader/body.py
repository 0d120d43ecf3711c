"""The size of a body that uptake is related to: its weight, its lean mass, its surface (PS3.16, CID 7469).

Lean mass: Janmahasatian et al., Clin Pharmacokinet 2005, 44:1051; James, Research on Obesity, HMSO 1976, with the
multiplier 128 for men. Surface: DuBois and DuBois, Arch Intern Med 1916, 17:863.
"""

from __future__ import annotations

from .attributes import shown
from .header import Header

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
    sex = header.text("PatientSex").strip().upper()
    if sex not in ("M", "F"):
        raise Missing(f"PatientSex is {shown(sex) or 'missing'}, and the formulas of lean mass are for M and F")
    lean = _janmahasatian(weight, height, sex) if kind == "LBMJANMA" else _james(weight, height, sex)
    if not 0 < lean <= weight:
        raise Missing(f"PatientWeight {weight:g} kg and PatientSize {height:g} m give a lean mass of {lean:.3g} kg")
    return lean * 1000


def _janmahasatian(weight: float, height: float, sex: str) -> float:
    index = weight / height**2
    return 9270 * weight / (6680 + 216 * index if sex == "M" else 8780 + 244 * index)


def _james(weight: float, height: float, sex: str) -> float:
    squared = (weight / (height * 100)) ** 2
    return 1.10 * weight - 128 * squared if sex == "M" else 1.07 * weight - 148 * squared


def _between(header: Header, name: str, low: float, high: float, unit: str) -> float:
    value = header.number(name, 0.0)
    if not low <= value <= high:
        said = header.text(name)
        what = f"is {shown(said)} {unit}, which no patient has" if said.strip() else "is missing"
        raise Missing(f"{name} {what}")
    return value
