"""Scores: each case, metric and structure, and their means with confidence intervals."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..files import whole
from .bootstrap import mean_intervals
from .case import MEAN, score_case

__all__ = ["MEAN", "CaseScores", "Scores", "mean_of", "score_case"]

CaseScores = Mapping[str, Mapping[str, float]]
"""METRIC -> structure -> value; NaN where the metric is not defined."""


@dataclass(frozen=True)
class Scores:
    """What an evaluation found.

    Attributes:
        cases: CASE -> METRIC -> structure -> value, NaN where it is not defined. Beside the structures stands `mean`,
            the average over those of the case for which the metric is defined.
        groups: The number of each case's patient: cases of one number are drawn together. Names are not kept.
        failed: Cases that could not be scored, each with its reason.
        unmatched: Predictions without a reference.
        metrics: The options of each metric, where they are known.
    """

    cases: dict[str, dict[str, dict[str, float]]]
    groups: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    unmatched: tuple[str, ...] = ()
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        cases: Mapping[str, CaseScores],
        patients: Mapping[str, Any] | None = None,
        *,
        failed: Mapping[str, str] | None = None,
        unmatched: Sequence[str] = (),
        metrics: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Scores:
        """From the scores of single cases; the order of cases does not matter.

        Args:
            patients: The patient of each case; a case that is not named is a patient of its own.
        """
        ordered = sorted(cases)
        patient = {case: ("patient", patients[case]) if patients and case in patients else (case,) for case in ordered}
        numbers = {one: number for number, one in enumerate(dict.fromkeys(patient.values()))}
        return cls(
            cases={case: {metric: _with_mean(values) for metric, values in cases[case].items()} for case in ordered},
            groups={case: numbers[patient[case]] for case in ordered},
            failed=dict(failed or {}),
            unmatched=tuple(unmatched),
            metrics={name: dict(options) for name, options in (metrics or {}).items()},
        )

    @cached_property
    def summary(self) -> dict[str, dict[str, dict[str, Any]]]:
        """METRIC -> structure -> `mean`, `ci95` (lower, upper), `n` (cases in the mean), `undefined` (cases that are
        not), `sd` (of a sample), `median`. A number that does not exist is NaN.
        """
        columns = self._columns()
        table = np.array([[self._value(case, *column) for column in columns] for case in self.cases], dtype=np.float64)
        table = table.reshape(len(self.cases), len(columns))
        intervals = mean_intervals(table, [self.groups[case] for case in self.cases])
        result: dict[str, dict[str, dict[str, Any]]] = {}
        for (metric, structure), values, interval in zip(columns, table.T, intervals, strict=True):
            result.setdefault(metric, {})[structure] = _summarised(values, interval.tolist())
        return result

    def document(self) -> dict[str, Any]:
        """Plain values, as `scores.json` holds them; null where a value is not defined."""
        document = {
            "cases": self.cases,
            "summary": self.summary,
            "groups": self.groups,
            "failed": self.failed,
            "unmatched": list(self.unmatched),
            "metrics": self.metrics,
        }
        plain: dict[str, Any] = _without_nan(document)
        return plain

    def write_csv(self, target: Path) -> None:
        """Write a row (case, metric, label, value) for each value; empty where it is not defined."""
        with whole(target) as path, path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["case", "metric", "label", "value"])
            for case, metrics in self.cases.items():
                for metric, values in metrics.items():
                    for label, value in values.items():
                        writer.writerow([case, metric, label, repr(value) if math.isfinite(value) else ""])

    @classmethod
    def from_json(cls, path: Path) -> Scores:
        """Read what `document` wrote; means are computed again.

        Raises:
            DataError: It is not there, or does not hold scores.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            return cls._from_document(document)
        except FileNotFoundError:
            raise DataError(f"{path}: there is no such file of scores") from None
        except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
            raise DataError(f"{path}: does not hold scores as `voxgraft evaluate` writes them ({error})") from None

    @classmethod
    def _from_document(cls, document: Any) -> Scores:
        cases = {
            str(case): {
                str(metric): {
                    str(label): math.nan if value is None else float(value)
                    for label, value in values.items()
                    if label != MEAN
                }
                for metric, values in metrics.items()
            }
            for case, metrics in document["cases"].items()
        }
        groups = {str(case): int(group) for case, group in document.get("groups", {}).items()}
        return cls.of(
            cases,
            groups,
            failed={str(case): str(reason) for case, reason in document.get("failed", {}).items()},
            unmatched=[str(name) for name in document.get("unmatched", [])],
            metrics={str(name): dict(options) for name, options in document.get("metrics", {}).items()},
        )

    def _columns(self) -> list[tuple[str, str]]:
        """Every (metric, structure) in the order in which they first appear, `mean` after the structures."""
        found: dict[str, dict[str, None]] = {}
        for metrics in self.cases.values():
            for metric, values in metrics.items():
                found.setdefault(metric, {}).update(dict.fromkeys(values))
        return [
            (metric, name) for metric, names in found.items() for name in sorted(names, key=lambda one: one == MEAN)
        ]

    def _value(self, case: str, metric: str, structure: str) -> float:
        return self.cases[case].get(metric, {}).get(structure, math.nan)


def mean_of(values: Sequence[float]) -> float:
    """The mean of the defined values; NaN where there is none."""
    defined = [value for value in values if math.isfinite(value)]
    return math.fsum(defined) / len(defined) if defined else math.nan


def _with_mean(values: Mapping[str, float]) -> dict[str, float]:
    structures = {name: value for name, value in values.items() if name != MEAN}
    return {**structures, MEAN: mean_of(list(structures.values()))}


def _summarised(values: np.ndarray[Any, Any], interval: list[float]) -> dict[str, Any]:
    defined = values[np.isfinite(values)]
    return {
        "mean": mean_of(defined.tolist()),
        "ci95": interval,
        "n": len(defined),
        "undefined": len(values) - len(defined),
        "sd": float(defined.std(ddof=1)) if len(defined) > 1 else math.nan,
        "median": float(np.median(defined)) if len(defined) else math.nan,
    }


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
