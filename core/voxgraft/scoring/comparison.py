"""Compare runs case by case: is one of them better, or is there no evidence?

The difference of two runs is taken in each case that both scored, and averaged. Its 95 % interval comes from the
paired bootstrap over patients. Its p-value comes from the paired randomisation test over patients (Fisher's sign flips:
if the runs were alike, each patient's difference could as well have the other sign), because a bootstrap of few
patients calls equal runs different far too often; or from the signed-rank test (Wilcoxon, Biometrics Bulletin 1, 1945)
of the patients' mean differences. Comparisons made together are corrected by Holm (Scandinavian Journal of Statistics
6, 1979) and by Benjamini and Hochberg (Journal of the Royal Statistical Society B 57, 1995); one of them decides.

Both runs are compared on the same cases and structures. Where the reference does not hold a structure, a run that finds
none there has no Dice, and one that finds some has 0: against it the first counts as right, with 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..support.files import without_nan
from .bootstrap import SEED, mean_intervals, numbered
from .metric import MetricSpec
from .pairs import MEAN
from .scores import Scores, mean_of

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue

ALPHA = 0.05
REPLICATES = 10000
EXACT = 13
"""Up to so many patients every combination of signs is tried; beyond, random ones."""

TOO_FEW: Literal["too few patients to tell"] = "too few patients to tell"
"""Said where not even a difference in every patient could pass the test after correction."""

Verdict = Literal["better", "worse", "no evidence", "too few patients to tell"]
Test = Literal["randomisation", "wilcoxon"]
Correction = Literal["holm", "bh"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One run against another. Means are over the cases; in each, over the structures defined for both runs.

    Attributes:
        mean, against_mean: The means over the cases that are compared.
        difference: Mean of `run` minus mean of `against`.
        ci95: 95 % interval of the difference, not corrected for several comparisons; NaN with fewer than two patients.
        p: Of the test; `p_holm` and `p_bh` are corrected for all comparisons made together.
        n: Cases in which the metric is defined for both runs; `common` counts all that both scored.
        undefined: Values left out because the metric is defined for the other run only: not for `run`, not for
            `against`. A run that misses a structure has no distance there; this number tells it.
        mixed: The signed ranks point one way and the mean difference the other (one patient outweighs many).
        verdict: `better` or `worse` where the corrected p-value that decides is below 0.05, the evidence is not mixed,
            and the run that seems better does not have more values left out than the other; `too few patients to tell`
            where the smallest p-values that so many patients can give would not pass; else `no evidence`.
    """

    run: str
    against: str
    metric: str
    structure: str
    mean: float
    against_mean: float
    difference: float
    ci95: tuple[float, float]
    p: float
    p_holm: float
    p_bh: float
    n: int
    common: int
    patients: int
    undefined: tuple[int, int]
    mixed: bool
    verdict: Verdict

    def document(self) -> dict[str, Any]:
        """Plain values; null for a number that does not exist."""
        plain: dict[str, Any] = without_nan(asdict(self))
        return plain


def read_run(path: Path) -> Scores:
    """The scores of a run's folder, or of a file that `voxgraft evaluate --out` wrote."""
    if not path.exists():
        raise DataError(f"{path}: there is no such run")
    if path.is_file():
        return Scores.from_json(path)
    if not (path / "environment.json").is_file() and not (path / "evaluate").is_dir():
        raise DataError(f"{path}: this is not the folder of a run; give one that `voxgraft run` made")
    if not (path / "evaluate" / "scores.json").is_file():
        raise DataError(f"{path}: this run has no evaluate/scores.json; run its step `evaluate` first")
    return Scores.from_json(path / "evaluate" / "scores.json")


def compare_all(
    runs: Mapping[str, Scores],
    metrics: Mapping[str, bool],
    structures: Sequence[str] = (MEAN,),
    *,
    every_pair: bool = False,
    test: Test = "randomisation",
    correction: Correction = "holm",
) -> list[Comparison]:
    """Compare each run with the first one, or every run with every other, and correct for all of it together.

    Args:
        metrics: METRIC -> whether higher is better.
        structures: Names; `mean` is the mean over the structures that are defined for both runs.
        test: Where the p-values come from.
        correction: Which corrected p-value decides.

    Raises:
        DataError: There are fewer than two runs, one lacks the metric or the structure, its options differ between
            them, or no case is common to two runs and defined in both.
    """
    names = list(runs)
    if len(names) < 2:
        raise DataError("a comparison needs at least two different runs")
    wanted = [(metric, structure) for metric in metrics for structure in structures]
    for metric, structure in wanted:
        _check(runs, metric, structure)
    pairs = list(combinations(names, 2)) if every_pair else [(names[0], name) for name in names[1:]]
    comparisons = [
        _compare(run, runs[run], against, runs[against], metric, structure, test)
        for metric, structure in wanted
        for against, run in pairs
    ]
    by_holm, by_bh = (correct([one.p for one in comparisons]) for correct in (holm, benjamini_hochberg))
    decide, correct = (by_holm, holm) if correction == "holm" else (by_bh, benjamini_hochberg)
    least = correct([smallest_p(one.patients) for one in comparisons])
    return [
        replace(_judged(one, p, floor, metrics[one.metric]), p_holm=p_holm, p_bh=p_bh)
        for one, p, floor, p_holm, p_bh in zip(comparisons, decide, least, by_holm, by_bh, strict=True)
    ]


def direction(runs: Mapping[str, Scores], metric: str, catalogue: Catalogue) -> bool:
    """Whether more of a metric is better, by the spec of the metric.

    Args:
        runs: Name -> scores; they know the component behind a metric's name.

    Raises:
        UnknownComponent: No installed plugin offers the metric.
    """
    named = (scores.metrics[metric].get("use") for scores in runs.values() if metric in scores.metrics)
    spec = catalogue.get("metric", str(next(named, metric)))
    return not isinstance(spec, MetricSpec) or spec.higher_is_better


def holm(p: Sequence[float]) -> list[float]:
    """P-values corrected for being looked at together, in the order they were given."""
    corrected, largest = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        largest = max(largest, min(1.0, p[index] * (len(p) - rank)))
        corrected[index] = largest
    return corrected


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """P-values under which a verdict has at most that chance of being one of the false ones, in their order."""
    corrected, least = [0.0] * len(p), 1.0
    order = sorted(range(len(p)), key=lambda index: p[index])
    for rank in range(len(p), 0, -1):
        index = order[rank - 1]
        least = min(least, p[index] * len(p) / rank)
        corrected[index] = least
    return corrected


def wilcoxon_p(means: NDArray[np.float64]) -> float:
    """Of the signed-rank test, two-sided; patients without a difference are left out, ties share their ranks.

    Exact for up to 50 patients where there are no ties, as SciPy decides, otherwise by the normal approximation.

    Args:
        means: The mean difference of each patient's cases.
    """
    from scipy.stats import wilcoxon

    rounded = np.where(np.abs(means) <= 1e-12, 0.0, means)
    return float(wilcoxon(rounded).pvalue) if rounded.any() else 1.0


def rank_sum(means: NDArray[np.float64]) -> float:
    """The signed-rank statistic: the ranks of the sizes, each with the sign of its difference, added up."""
    from scipy.stats import rankdata

    return float((rankdata(np.abs(means)) * np.sign(means)).sum())


def randomisation_p(sums: NDArray[np.float64]) -> float:
    """The share of sign flips after which the sum of differences is as far from 0 as it is.

    Args:
        sums: The sum of the differences of each patient's cases.
    """
    patients = len(sums)
    observed = abs(sums.sum())
    slack = 1e-9 * np.abs(sums).sum()
    if patients <= EXACT:
        bits = np.arange(2**patients)[:, None] >> np.arange(patients) & 1
        return float((np.abs((1 - 2 * bits) @ sums) >= observed - slack).mean())
    signs = np.random.default_rng(SEED).integers(0, 2, size=(REPLICATES, patients), dtype=np.int8) * 2 - 1
    return float(((np.abs(signs @ sums) >= observed - slack).sum() + 1) / (REPLICATES + 1))


def smallest_p(patients: int) -> float:
    """The smallest p-value that either test gives over so many patients: all differ in one direction.

    Two of the 2^n combinations of signs are as extreme, for the randomisation and the signed-rank test alike; of
    10000 random combinations there may be none, which gives 1 / 10001.
    """
    return min(1.0, 2.0 ** (1 - patients)) if patients <= EXACT else 1.0 / (REPLICATES + 1)


def _check(runs: Mapping[str, Scores], metric: str, structure: str) -> None:
    options: dict[str, dict[str, Any]] = {}
    for name, scores in runs.items():
        known = scores.summary
        if metric not in known:
            raise DataError(f"{name}: has no scores of the metric {metric!r}; it has {', '.join(known) or 'none'}")
        if structure not in known[metric]:
            raise DataError(f"{name}: has no structure {structure!r}; it has {', '.join(known[metric])}")
        if metric in scores.metrics:
            options[name] = scores.metrics[metric]
    (first, expected), *rest = list(options.items()) or [("", {})]
    for name, other in rest:
        # an option that only one of them knows came with a later version, whose default is what was done before
        if any(other[key] != expected[key] for key in other.keys() & expected.keys()):
            raise DataError(
                f"{metric} was measured with other options in {name} ({other}) than in {first} ({expected})"
            )


def _compare(
    run: str, scores: Scores, against: str, other: Scores, metric: str, structure: str, test: Test
) -> Comparison:
    common = [case for case in scores.cases if case in other.cases]
    if not common:
        raise DataError(f"{run} and {against} have no scored case in common")
    table = {case: _values(scores, other, case, metric, structure) for case in common}
    both = {case: [pair for pair in pairs if np.isfinite(pair).all()] for case, pairs in table.items()}
    cases = [case for case in common if both[case]]
    if not cases:
        raise DataError(f"{metric} is defined for both {run} and {against} in none of their {len(common)} common cases")
    values = np.array([np.mean(both[case], axis=0) for case in cases])
    defined = np.array([np.isfinite(pair) for pairs in table.values() for pair in pairs]).reshape(-1, 2)
    groups = _patients(cases, scores, other)
    differences = values[:, :1] - values[:, 1:]
    patients = max(groups) + 1
    sums = np.zeros(patients)
    np.add.at(sums, groups, differences[:, 0])
    p, mixed = randomisation_p(sums), False
    if test == "wilcoxon":
        means = sums / np.bincount(groups)
        p, mixed = wilcoxon_p(means), rank_sum(means) * float(differences.mean()) < 0
    low, high = mean_intervals(differences, groups, REPLICATES)[0]
    return Comparison(
        run=run,
        against=against,
        metric=metric,
        structure=structure,
        mean=mean_of(values[:, 0].tolist()),
        against_mean=mean_of(values[:, 1].tolist()),
        difference=mean_of(differences[:, 0].tolist()),
        ci95=(float(low), float(high)),
        p=p,
        p_holm=math.nan,
        p_bh=math.nan,
        n=len(cases),
        common=len(common),
        patients=patients,
        undefined=(int((~defined[:, 0] & defined[:, 1]).sum()), int((defined[:, 0] & ~defined[:, 1]).sum())),
        mixed=mixed,
        verdict="no evidence",
    )


def _values(scores: Scores, other: Scores, case: str, metric: str, structure: str) -> list[tuple[float, float]]:
    """The values of a case for both runs: of one structure, or of each."""
    first, second = (run.cases[case].get(metric, {}) for run in (scores, other))
    every = dict.fromkeys([*first, *second])
    apart = {MEAN, *scores.regions, *other.regions}
    names = [structure] if structure != MEAN else [name for name in every if name not in apart]
    pairs = [(first.get(name, math.nan), second.get(name, math.nan)) for name in names]
    return [_where_absent(pair, _is_absent(name, case, scores, other)) for name, pair in zip(names, pairs, strict=True)]


def _is_absent(structure: str, case: str, *runs: Scores) -> bool:
    """Whether the reference of a case does not hold a structure, as far as voxel counts are known."""
    counts = (scores.counts.get(case, {}).get(structure) for scores in runs)
    return next((count.referred == 0 for count in counts if count is not None), False)


def _where_absent(pair: tuple[float, float], absent: bool) -> tuple[float, float]:
    """A pair of values; where the reference lacks the structure, one run has 0 and the other none, the other has 1."""
    if absent and 0.0 in pair and not np.isfinite(pair).all():
        return (1.0, 0.0) if pair[1] == 0.0 else (0.0, 1.0)
    return pair


def _patients(cases: Sequence[str], scores: Scores, other: Scores) -> list[int]:
    """The number of each case's patient; cases that either run knows to be of one patient are of one."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ours, theirs = (numbered([run.groups[case] for case in cases]) for run in (scores, other))
    # the patients of one run that share a patient of the other are neighbours
    links = coo_array((np.ones(len(cases)), (ours, theirs)), shape=(len(cases), len(cases)))
    return numbered((connected_components(links @ links.T, directed=False)[1][ours]).tolist())


def _judged(comparison: Comparison, p: float, least: float, higher_is_better: bool) -> Comparison:
    verdict: Verdict = TOO_FEW if least >= ALPHA else "no evidence"
    if p < ALPHA and not comparison.mixed:
        seems: Verdict = "better" if (comparison.difference > 0) == higher_is_better else "worse"
        left_out, other_left_out = comparison.undefined if seems == "better" else comparison.undefined[::-1]
        verdict = "no evidence" if left_out > other_left_out else seems
    return replace(comparison, verdict=verdict)
