"""What is said of subgroups: each site, scanner, sex or age band.

Numbers are cut into bands: ages into those below, other numbers at the thirds of the cases. Words with too many
different values (identifiers, dates) make no groups and are left out. The intervals of subgroups are not corrected for
their number; a group of few patients is marked.
"""

from __future__ import annotations

import csv
import math
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError, UsageError
from ..support.files import CELLS, read_bytes
from ..support.texts import composed

if TYPE_CHECKING:
    from .scores import Facts, Scores

AGES = (0, 18, 40, 65, 80)
"""Where age bands begin, in years."""
FEW = 10
"""A group of fewer patients is marked: its interval is wide and its mean may be one unusual patient's."""
MOST_GROUPS = 12
"""A column of more different words is not a grouping."""
FEW_NUMBERS = 5
"""A column of so few different numbers (field strengths, grades) is taken as words."""
UNKNOWN = "not known"
DICOM_AGE = re.compile(r"(\d{3})([YMWD])")


def subgroups(scores: Scores, facts: Facts) -> dict[str, Any]:
    """COLUMN -> group -> `cases`, `patients`, `few`, `summary` (METRIC -> structure -> mean, ci95, n ...).

    A column in which all cases agree, or that makes too many groups, is left out.
    """
    names = list(dict.fromkeys(column for case in scores.cases for column in facts.get(case, {})))
    result: dict[str, Any] = {}
    for column in names:
        values = {case: facts.get(case, {}).get(column, "") for case in scores.cases}
        groups = group_of(column, values)
        if groups is None:
            continue
        result[column] = {
            name: _group(scores, [case for case, group in groups.items() if group == name]) for name in _ordered(groups)
        }
    return result


def group_of(column: str, values: Mapping[str, str | float]) -> dict[str, str] | None:
    """CASE -> the name of its group; None where the column makes no groups."""
    numbers = {case: number for case, value in values.items() if (number := _number(value)) is not None}
    texts = {case: str(value).strip() for case, value in values.items() if case not in numbers}
    known = {word for word in texts.values() if word}
    if numbers and not known:
        if column.lower() in ("age", "patient_age", "patientage"):
            named = {case: _band(number, AGES, whole=True) for case, number in numbers.items()}
        elif len(set(numbers.values())) <= FEW_NUMBERS:
            named = {case: f"{number:g}" for case, number in numbers.items()}
        else:
            edges = sorted(set(np.quantile(list(numbers.values()), (1 / 3, 2 / 3)).tolist()))
            named = {case: _band(number, edges) for case, number in numbers.items()}
    else:
        named = {case: str(value).strip() for case, value in values.items() if str(value).strip()}
    groups = {case: named.get(case, UNKNOWN) for case in values}
    return groups if 2 <= len(set(named.values())) <= MOST_GROUPS else None


def read_facts(path: Path) -> dict[str, dict[str, str | float]]:
    """What a table says of cases: a column `case` (or `id`), and a column for each thing that is known.

    Raises:
        UsageError: There is no such file, or it has no column `case`.
        DataError: It is not a table, or a case appears twice.
    """
    try:
        text = composed(read_bytes(path, marks=CELLS).decode("utf-8-sig"))
    except FileNotFoundError:
        raise UsageError(f"--groups {path}: there is no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read as a table: {error.strerror}") from None
    except UnicodeError:
        raise DataError(f"{path}: cannot be read as a table: it is not UTF-8") from None
    first = text.splitlines()[0] if text.strip() else ""
    delimiter = max(",;\t", key=first.count)
    try:
        rows = list(csv.reader(text.splitlines(), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}: is not a table ({error})") from None
    head = [name.strip() for name in rows[0]] if rows else []
    keys = [column for column, name in enumerate(head) if name.lower() in ("case", "id")]
    if not keys or len(head) < 2:
        raise UsageError(f"--groups {path}: expected a first line with `case` and at least one other column")
    if len(set(head)) != len(head):
        raise DataError(f"{path}: two columns have the same name")
    facts: dict[str, dict[str, str | float]] = {}
    for number, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(head):
            raise DataError(f"{path}: line {number} has {len(row)} cells, the first line {len(head)}")
        case = row[keys[0]].strip()
        if case in facts:
            raise DataError(f"{path}: line {number}: the case {case!r} appears twice")
        facts[case] = {
            name: cell.strip() for place, (name, cell) in enumerate(zip(head, row, strict=True)) if place not in keys
        }
    return facts


def _group(scores: Scores, cases: Sequence[str]) -> dict[str, Any]:
    part = scores.only(cases)
    patients = len({scores.groups[case] for case in cases})
    return {"cases": len(cases), "patients": patients, "few": patients < FEW, "summary": part.summary}


def _number(value: str | float) -> float | None:
    """A number, or an age as DICOM writes it (`045Y`, `006M`) in years."""
    if isinstance(value, str) and (age := DICOM_AGE.fullmatch(value.strip())):
        return int(age[1]) / {"Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25}[age[2]]
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _band(number: float, edges: Sequence[float], whole: bool = False) -> str:
    """The name of the band between two edges that a number lies in; `whole` numbers end before the next edge."""
    place = bisect_right(edges, number)
    if place == 0:
        return f"below {edges[0]:.4g}"
    if place == len(edges):
        return f"{edges[-1]:.4g} and over"
    low, high = edges[place - 1 : place + 1]
    return f"{low} to {high - 1}" if whole else f"{low:.4g} to below {high:.4g}"


def _ordered(groups: Mapping[str, str]) -> list[str]:
    """Bands by their numbers, words by the alphabet, what is not known last."""

    def key(name: str) -> tuple[bool, float, str]:
        first = name.removeprefix("below ").split()[0] if name.split() else ""
        number = _number(first)
        return name == UNKNOWN, math.inf if number is None else number - 1e-9 * name.startswith("below"), name

    return sorted(set(groups.values()), key=key)
