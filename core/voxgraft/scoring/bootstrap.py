"""Confidence intervals of means by resampling patients.

The scans of one patient resemble each other, so patients are drawn, not cases: the percentile bootstrap of Efron and
Tibshirani (An Introduction to the Bootstrap, 1993, chapter 13) with the patient as the unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

REPLICATES = 2000
SEED = 20240607
CONFIDENCE = 0.95
_AT_A_TIME = 250


def mean_intervals(
    values: NDArray[np.float64], groups: Sequence[int], replicates: int = REPLICATES, seed: int = SEED
) -> NDArray[np.float64]:
    """The 95 % confidence interval of the mean of each column.

    Args:
        values: Shape (case, column); NaN where a value is not defined. A draw without any defined value is left out.
        groups: The patient of each case, numbered from 0.

    Returns:
        Shape (column, 2): lower and upper end; NaN where fewer than two patients have a defined value, since the
        spread between patients is then unknown.

    Example:
        >>> dice = np.array([[0.90], [0.85], [0.70], [0.95]])
        >>> mean_intervals(dice, groups=[0, 0, 1, 2]).round(2).tolist()
        [[0.7, 0.95]]
    """
    patients = max(groups, default=-1) + 1
    sums, numbers = (_by_patient(part, groups, patients) for part in (np.nan_to_num(values), np.isfinite(values)))
    means = np.full((replicates, values.shape[1]), np.nan)
    generator = np.random.default_rng(seed)
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


def draws(patients: int, replicates: int, seed: int = SEED) -> NDArray[np.int64]:
    """How often each patient is in each resample: shape (replicate, patient).

    Args:
        patients: How many there are; so many are drawn with replacement each time.
        replicates: The number of resamples.
        seed: The same seed gives the same resamples.
    """
    return _draw(np.random.default_rng(seed), patients, replicates)


def _draw(generator: np.random.Generator, patients: int, number: int) -> NDArray[np.int64]:
    return generator.multinomial(patients, np.full(patients, 1 / patients), size=number)


def _by_patient(values: NDArray[Any], groups: Sequence[int], patients: int) -> NDArray[np.float64]:
    """Sums over the cases of each patient, shape (patient, column)."""
    sums = np.zeros((patients, values.shape[1]))
    np.add.at(sums, np.asarray(groups, dtype=np.intp), values)
    return sums
