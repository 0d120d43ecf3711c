"""Means over cases and over voxels, with confidence intervals by resampling patients.

The scans of one patient resemble each other, so patients are drawn, not cases: the percentile bootstrap of Efron and
Tibshirani (An Introduction to the Bootstrap, 1993, chapter 13) with the patient as the unit.

A macro average (the mean of `summary`) counts every case alike; a micro average is a metric of the voxel counts of all
cases together, as if they were one image, so that large structures and large patients decide it. Only metrics of counts
have one: distances and lesions of different patients cannot be pooled.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .case import named_metrics, value_of
from .pair import Counts, MaskPair

if TYPE_CHECKING:
    from ..components.choice import Selected
    from .metric import Metric

REPLICATES = 2000
SEED = 20240607
CONFIDENCE = 0.95
_AT_A_TIME = 250


def mean_intervals(
    values: NDArray[np.float64], groups: Sequence[int], replicates: int = REPLICATES
) -> NDArray[np.float64]:
    """The 95 % confidence interval of the mean of each column.

    Args:
        values: Shape (case, column); NaN where a value is not defined. A draw without any defined value is left out.
        groups: The patient of each case, numbered from 0.

    Returns:
        Shape (column, 2): lower and upper end; NaN where fewer than two patients have a defined value, since the
        spread between patients is then unknown.

    Examples:
        >>> dice = np.array([[0.90], [0.85], [0.70], [0.95]])
        >>> mean_intervals(dice, groups=[0, 0, 1, 2]).round(2).tolist()
        [[0.7, 0.95]]
    """
    patients = max(groups, default=-1) + 1
    sums, numbers = (_by_patient(part, groups, patients) for part in (np.nan_to_num(values), np.isfinite(values)))
    means = np.full((replicates, values.shape[1]), np.nan)
    generator = np.random.default_rng(SEED)
    for start in range(0, replicates if patients else 0, _AT_A_TIME):
        rows = slice(start, min(start + _AT_A_TIME, replicates))
        weights = _draw(generator, patients, rows.stop - rows.start).astype(np.float64)
        n = weights @ numbers
        means[rows] = np.divide(weights @ sums, n, out=np.full(n.shape, np.nan), where=n > 0)
    known = (numbers > 0).sum(0) >= 2
    result = np.full((values.shape[1], 2), np.nan)
    tail = 100 * (1 - CONFIDENCE) / 2
    if known.any():
        result[known] = np.nanpercentile(means[:, known], (tail, 100 - tail), axis=0).T
    return result


def _draw(generator: np.random.Generator, patients: int, number: int) -> NDArray[np.int64]:
    return generator.multinomial(patients, np.full(patients, 1 / patients), size=number)


def _by_patient(values: NDArray[Any], groups: Sequence[int], patients: int) -> NDArray[np.float64]:
    """Sums over the cases of each patient, shape (patient, column)."""
    sums = np.zeros((patients, values.shape[1]))
    np.add.at(sums, np.asarray(groups, dtype=np.intp), values)
    return sums


MICRO_REPLICATES = 1000
POOLED = "all"
"""The name under which the structures' counts added up stand, where there are several."""


def micro_averages(
    counts: Mapping[str, Mapping[str, Counts]],
    groups: Mapping[str, int],
    metrics: Sequence[Selected[Metric]],
    apart: Sequence[str] = (),
) -> dict[str, dict[str, dict[str, Any]]]:
    """METRIC -> structure -> `value`, `ci95` (percentile bootstrap over patients), for metrics of counts.

    Args:
        counts: CASE -> structure -> counts.
        groups: The number of each case's patient.
        apart: Structures (regions) that do not go into `all`.
    """
    names = list(dict.fromkeys(name for case in counts.values() for name in case))
    if not names:
        return {}
    table = _counts_by_patient(counts, groups, names)
    inside = [index for index, name in enumerate(names) if name not in apart]
    if len(inside) > 1:
        names = [*names, POOLED]
        table = np.concatenate([table, table[:, inside].sum(1, keepdims=True)], axis=1)
    drawn = _draw(np.random.default_rng(SEED), len(table), MICRO_REPLICATES)
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for name, chosen in named_metrics(metrics).items():
        metric = chosen.build()
        if not _of_counts(metric):
            continue
        for column, structure in enumerate(names):
            sums = table[:, column]
            value = _value(chosen, metric, sums.sum(0))
            low, high = _interval([_value(chosen, metric, row) for row in drawn @ sums] if len(table) > 1 else [])
            result.setdefault(name, {})[structure] = {"value": value, "ci95": [low, high]}
    return result


def _counts_by_patient(
    counts: Mapping[str, Mapping[str, Counts]], groups: Mapping[str, int], names: Sequence[str]
) -> NDArray[np.int64]:
    """Shape (patient, structure, 4): tp, fp, fn, tn."""
    numbers = numbered([groups[case] for case in counts])
    table = np.zeros((len(set(numbers)), len(names), 4), np.int64)
    for patient, case_counts in zip(numbers, counts.values(), strict=True):
        for column, name in enumerate(names):
            if (count := case_counts.get(name)) is not None:
                table[patient, column] += (count.tp, count.fp, count.fn, count.tn)
    return table


def numbered(values: Iterable[Hashable]) -> list[int]:
    """The number of each value, from 0 in the order in which they first appear."""
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(value, len(numbers)) for value in values]


def _of_counts(metric: Metric) -> bool:
    """Whether it needs nothing but counts, nor the size of a voxel, which differs between cases."""
    values = []
    for spacing in ((1.0, 1.0, 1.0), (2.0, 2.0, 2.0)):
        try:
            values.append(float(metric(MaskPair(Counts(3, 2, 1, 5), spacing, _nothing))))
        except Exception:  # whatever it needed was not there
            return False
    return math.isfinite(values[0]) and values[0] == values[1]


def _value(chosen: Selected[Metric], metric: Metric, row: NDArray[Any]) -> float:
    tp, fp, fn, tn = (int(number) for number in row)
    return value_of(chosen, metric, MaskPair(Counts(tp, fp, fn, tn), (1.0, 1.0, 1.0), _nothing))


def _nothing() -> Any:
    raise LookupError("there are no masks, only counts")


def _interval(values: Sequence[float]) -> tuple[float, float]:
    defined = [value for value in values if math.isfinite(value)]
    if not defined:
        return math.nan, math.nan
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(defined, (tail, 100 - tail))
    return float(low), float(high)
