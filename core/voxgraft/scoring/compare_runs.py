"""Runs on disk compared with each other, and everything that has to be told of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..support.texts import Shown, counted
from .comparison import Comparison, Correction, Test, compare_all, direction, read_run
from .pairs import MEAN
from .worth import never_found

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue

CORRECTIONS = {"holm": "Holm", "bh": "Benjamini-Hochberg"}
"""How each correction for several comparisons is called."""


@dataclass(frozen=True)
class RunComparison(Shown):
    """Several runs compared: each with the first, or all pairs.

    Attributes:
        runs: Folders of runs or files of scores, as they were named.
        comparisons: One for each pair of runs, metric and structure.
        higher: METRIC -> whether more of it is better.
        structures: What was compared; `mean` is the mean over structures.
        test, correction: Where p-values come from, and how they were corrected for the number of comparisons.
        never_found: Structures that no run ever finds.
    """

    runs: tuple[Path, ...]
    comparisons: tuple[Comparison, ...]
    higher: dict[str, bool]
    structures: tuple[str, ...]
    test: Test
    correction: Correction
    never_found: tuple[str, ...]

    def __repr__(self) -> str:
        return f"{counted(len(self.runs), 'run')}, {counted(len(self.comparisons), 'comparison')}"

    @property
    def how(self) -> str:
        """How p-values and intervals were made, in a sentence."""
        by = CORRECTIONS[self.correction]
        return f"Paired {self.test} test over patients, corrected by {by}; intervals by paired bootstrap over patients."

    def document(self) -> dict[str, Any]:
        """Plain values, as `voxgraft compare --json` prints them."""
        return {
            "metric": ",".join(self.higher),
            "structure": ",".join(self.structures),
            "higher_is_better": next(iter(self.higher.values())) if len(self.higher) == 1 else self.higher,
            "test": self.test,
            "correction": self.correction,
            "never_found": list(self.never_found),
            "comparisons": [comparison.document() for comparison in self.comparisons],
        }


def compare_runs(
    runs: Sequence[Path],
    catalogue: Catalogue,
    metrics: Sequence[str] = ("dice",),
    structures: Sequence[str] = (MEAN,),
    *,
    every_pair: bool = False,
    test: Test = "randomisation",
    correction: Correction = "holm",
) -> RunComparison:
    """Compare runs with the first of them, or every run with every other, over the cases that both scored.

    Args:
        runs: Folders of runs, or files of scores that `voxgraft evaluate --out` wrote.
        catalogue: Says of each metric which direction is better.
        metrics: By their names in the scores.
        structures: Names; `mean` is the mean over structures.
        every_pair: Compare all pairs of runs, not each with the first.
        test: Where p-values come from.
        correction: Which corrected p-value decides.

    Raises:
        UsageError: There are fewer than two different runs, or no metric or structure is named.
        DataError: A run has no scores, or not those asked for; see `compare_all`.
    """
    if len({path.resolve() for path in runs}) != len(runs) or len(runs) < 2:
        raise UsageError("compare needs two or more different runs; the first is what the others are compared with")
    names, parts = (list(dict.fromkeys(filter(None, texts))) for texts in (metrics, structures))
    if not names or not parts:
        raise UsageError("compare needs the name of a metric and of a structure (or mean)")
    scores = {str(path): read_run(path) for path in runs}
    higher = {name: direction(scores, name, catalogue) for name in names}
    found = compare_all(scores, higher, parts, every_pair=every_pair, test=test, correction=correction)
    lost = tuple(never_found(*scores.values()))
    return RunComparison(tuple(runs), tuple(found), higher, tuple(parts), test, correction, lost)
