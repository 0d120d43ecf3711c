"""Scores: each case, metric and structure, and their means with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError
from ..support.files import atomic_write, read_json, without_nan
from ..support.texts import Shown, counted, write_rows
from .bootstrap import mean_intervals, micro_averages, numbered
from .case import Measured, named_metrics
from .pair import Counts
from .pairs import MEAN

if TYPE_CHECKING:
    from ..components.choice import Selected
    from .metric import Metric

CaseScores = Mapping[str, Mapping[str, float]]
"""METRIC -> structure -> value; NaN where the metric is not defined."""

Facts = Mapping[str, Mapping[str, str | float]]
"""CASE -> what is known of it."""

PATIENT = "patient"
"""The column of facts that says which cases belong together; it makes no subgroups."""


@dataclass(frozen=True)
class Scores(Shown):
    """What an evaluation found.

    Attributes:
        cases: CASE -> METRIC -> structure -> value, NaN where it is not defined. Beside the structures stands `mean`,
            the average over those of the case for which the metric is defined; NaN where it is not defined because the
            prediction misses a structure that the reference holds: leaving that out would make the mean better.
        groups: The number of each case's patient: cases of one number are drawn together. Names are not kept.
        failed: Cases that could not be scored, each with its reason.
        unmatched: Predictions without a reference.
        metrics: The options of each metric, where they are known.
        regions: Names that stand beside the structures and do not go into `mean`.
        counts: CASE -> structure -> voxel counts, where they are known.
        missed: CASE -> structures of the reference of which one of several predictions that were put together has no
            voxel; their counts together do not show it.
        micro: METRIC -> structure -> `value` and `ci95` of the counts of all cases together.
        subgroups: COLUMN -> group -> its cases, patients and summary.
        calibration: Structure -> what each bin of its probabilities holds, over all cases.
        unsized: Cases whose files do not say how large a pixel is: what a metric measures in mm is in pixels there, and
            so are tolerances.
    """

    cases: dict[str, dict[str, dict[str, float]]]
    groups: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    unmatched: tuple[str, ...] = ()
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    regions: tuple[str, ...] = ()
    counts: dict[str, dict[str, Counts]] = field(default_factory=dict)
    micro: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    subgroups: dict[str, dict[str, Any]] = field(default_factory=dict)
    calibration: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    missed: dict[str, list[str]] = field(default_factory=dict)
    unsized: tuple[str, ...] = ()

    def __repr__(self) -> str:
        metrics = dict.fromkeys(metric for case in self.cases.values() for metric in case)
        return f"Scores of {counted(len(self.cases), 'case')}: {', '.join(metrics) or 'none'}"

    @classmethod
    def of(
        cls,
        cases: Mapping[str, CaseScores],
        patients: Mapping[str, Any] | None = None,
        *,
        failed: Mapping[str, str] | None = None,
        unmatched: Sequence[str] = (),
        metrics: Mapping[str, Mapping[str, Any]] | None = None,
        regions: Sequence[str] = (),
        counts: Mapping[str, Mapping[str, Counts]] | None = None,
        missed: Mapping[str, Sequence[str]] | None = None,
    ) -> Scores:
        """From the scores of single cases; the order of cases does not matter.

        Args:
            patients: The patient of each case; a case that is not named is a patient of its own.
            regions: Names that do not go into `mean`.
            missed: See the attribute; what the counts themselves show need not be named.

        Examples:
            >>> found = {"a": {"dice": {"liver": 0.9}}, "b": {"dice": {"liver": 0.7}}}
            >>> scores = Scores.of(found, patients={"a": 1, "b": 2})
            >>> liver = scores.summary["dice"]["liver"]
            >>> round(liver["mean"], 3), liver["n"]
            (0.8, 2)
        """
        ordered = sorted(cases)
        named = [("patient", patients[case]) if patients and case in patients else (case,) for case in ordered]
        known, lost = counts or {}, missed or {}
        return cls(
            cases={
                case: {
                    metric: _with_mean(values, regions, known.get(case, {}), lost.get(case, ()))
                    for metric, values in cases[case].items()
                }
                for case in ordered
            },
            groups=dict(zip(ordered, numbered(named), strict=True)),
            failed=dict(failed or {}),
            unmatched=tuple(unmatched),
            metrics={name: dict(options) for name, options in (metrics or {}).items()},
            regions=tuple(regions),
            counts={case: dict(known[case]) for case in ordered if case in known},
            missed={case: list(lost[case]) for case in ordered if lost.get(case)},
        )

    def only(self, cases: Sequence[str]) -> Scores:
        """The scores of some cases; what is worked out over all of them is left out."""
        return Scores(
            cases={case: self.cases[case] for case in cases},
            groups={case: self.groups[case] for case in cases},
            metrics=self.metrics,
            regions=self.regions,
            unsized=tuple(case for case in cases if case in self.unsized),
        )

    def curves(self) -> dict[str, float]:
        """METRIC_STRUCTURE -> mean, as trackers keep them, where it is defined.

        A single structure has the value of `mean`, and is not told twice.
        """
        found: dict[str, float] = {}
        for metric, structures in self.summary.items():
            single = len(structures) == 2 and MEAN in structures
            kept = {MEAN: structures[MEAN]} if single else structures
            found.update({f"{metric}_{name}": float(one["mean"]) for name, one in kept.items()})
        return {name: value for name, value in found.items() if math.isfinite(value)}

    @cached_property
    def summary(self) -> dict[str, dict[str, dict[str, Any]]]:
        """METRIC -> structure -> `mean`, `ci95` (lower, upper), `n` (cases in the mean), `undefined` (cases that are
        not), `sd` (of a sample), `median`. A number that does not exist is NaN.
        """
        columns = self._columns()
        rows = [
            [metrics.get(metric, {}).get(structure, math.nan) for metric, structure in columns]
            for metrics in self.cases.values()
        ]
        table = np.array(rows, dtype=np.float64).reshape(len(self.cases), len(columns))
        intervals = mean_intervals(table, numbered([self.groups[case] for case in self.cases]))
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
        more = {
            "regions": list(self.regions),
            "micro": self.micro,
            "subgroups": self.subgroups,
            "calibration": self.calibration,
            "counts": {
                case: {name: [count.tp, count.fp, count.fn, count.tn] for name, count in counts.items()}
                for case, counts in self.counts.items()
            },
            "missed": self.missed,
            "unsized": list(self.unsized),
        }
        plain: dict[str, Any] = without_nan({**document, **{key: value for key, value in more.items() if value}})
        return plain

    def unit(self, unit: str) -> str:
        """The unit that values of a metric have, whose own is millimetres or another.

        Examples:
            >>> Scores({"a": {}, "b": {}}, unsized=("a", "b")).unit("mm")
            'pixels'
        """
        if unit != "mm" or not self.unsized:
            return unit
        return "pixels" if len(self.unsized) == len(self.cases) else "mm or pixels"

    @property
    def note(self) -> str:
        """What to know of the units; empty where all cases say how large a pixel is."""
        if not self.unsized:
            return ""
        number = f"{len(self.unsized)} of {counted(len(self.cases), 'case')}"
        return (
            f"the files of {number} do not say how large a pixel is; distances and tolerances are in pixels there, not "
            "in mm"
        )

    def write_csv(self, target: Path) -> None:
        """Write a row (case, metric, label, value) for each value; empty where it is not defined.

        A name that a spreadsheet would take for a formula has an apostrophe before it.
        """
        with atomic_write(target) as path, path.open("w", newline="", encoding="utf-8") as file:
            write_rows(file, [("case", "metric", "label", "value")])
            for case, metrics in self.cases.items():
                for metric, values in metrics.items():
                    write_rows(file, [(case, metric, label, float(value)) for label, value in values.items()])

    @classmethod
    def from_json(cls, path: Path) -> Scores:
        """Read what `document` wrote; means are computed again.

        Raises:
            DataError: It is not there, or does not hold scores.
        """
        try:
            return cls.from_document(read_json(path))
        except FileNotFoundError:
            raise DataError(f"{path}: there is no such file of scores") from None
        except (OSError, ArithmeticError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
            raise DataError(f"{path}: does not hold scores as `voxgraft evaluate` writes them ({error})") from None

    @classmethod
    def from_document(cls, document: Any) -> Scores:
        """Read plain values as `document` gives them; what does not have that form raises what Python raises."""
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
        counts = {
            str(case): {str(name): Counts(*map(int, numbers)) for name, numbers in counts.items()}
            for case, counts in document.get("counts", {}).items()
        }
        read = cls.of(
            cases,
            groups,
            failed={str(case): str(reason) for case, reason in document.get("failed", {}).items()},
            unmatched=[str(name) for name in document.get("unmatched", [])],
            metrics={str(name): dict(options) for name, options in document.get("metrics", {}).items()},
            regions=[str(name) for name in document.get("regions", [])],
            counts=counts,
            missed={str(case): [str(name) for name in names] for case, names in document.get("missed", {}).items()},
        )
        return replace(
            read,
            micro=dict(document.get("micro", {})),
            subgroups=dict(document.get("subgroups", {})),
            calibration=dict(document.get("calibration", {})),
            unsized=tuple(map(str, document.get("unsized", []))),
        )

    def _columns(self) -> list[tuple[str, str]]:
        """Every (metric, structure) in the order in which they first appear, `mean` after the structures."""
        columns: dict[str, dict[str, None]] = {}
        for metrics in self.cases.values():
            for metric, values in metrics.items():
                columns.setdefault(metric, {}).update(dict.fromkeys(values))
        return [
            (metric, name)
            for metric, names in columns.items()
            for name in sorted(names, key=lambda structure: structure == MEAN)
        ]


def mean_of(values: Sequence[float]) -> float:
    """The mean of the defined values; NaN where there is none."""
    defined = [value for value in values if math.isfinite(value)]
    return math.fsum(defined) / len(defined) if defined else math.nan


def _with_mean(
    values: Mapping[str, float], regions: Sequence[str], counts: Mapping[str, Counts], lost: Sequence[str]
) -> dict[str, float]:
    named = {name: value for name, value in values.items() if name != MEAN}
    inside = {name: value for name, value in named.items() if name not in regions}
    missed = any(
        not math.isfinite(value) and (name in lost or is_missed(counts.get(name))) for name, value in inside.items()
    )
    return {**named, MEAN: math.nan if missed else mean_of(list(inside.values()))}


def is_missed(counts: Counts | None) -> bool:
    """Whether the reference holds a structure of which the prediction has no voxel."""
    return counts is not None and counts.referred > 0 and counts.predicted == 0


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


def gathered(
    measured: Mapping[str, Measured],
    metrics: Sequence[Selected[Metric]],
    facts: Facts | None = None,
    patients: Mapping[str, Any] | None = None,
    regions: Sequence[str] = (),
) -> Scores:
    """Scores with their micro averages, subgroups and calibration.

    Args:
        patients: The patient of each case; by default what `facts` call so, else each case is one.
        regions: Names that do not go into means over structures.
    """
    from .subgroups import subgroups

    facts = facts or {}
    if patients is None:
        patients = {case: facts[case][PATIENT] for case in measured if facts.get(case, {}).get(PATIENT)}
    scores = Scores.of(
        {case: result.values for case, result in measured.items()},
        patients,
        metrics={name: metric.document() for name, metric in named_metrics(metrics).items()},
        regions=regions,
        counts={case: result.counts for case, result in measured.items()},
    )
    known = {case: {name: fact for name, fact in values.items() if name != PATIENT} for case, values in facts.items()}
    return replace(
        scores,
        micro=micro_averages(scores.counts, scores.groups, metrics, regions),
        subgroups=subgroups(scores, known) if any(known.values()) else {},
        calibration=_calibration(measured),
        unsized=tuple(case for case in scores.cases if not measured[case].sized),
    )


def _calibration(measured: Mapping[str, Measured]) -> dict[str, dict[str, list[Any]]]:
    if not any(result.reliability for result in measured.values()):
        return {}
    from .calibration import pooled

    return pooled(result.reliability for result in measured.values())
