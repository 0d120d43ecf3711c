"""`voxgraft compare`: which run is better, and is there evidence for it?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..support.progress import print_fitted, print_result
from ..support.texts import counted
from . import PATH, THERE, json_option

if TYPE_CHECKING:
    from ..scoring.compare_runs import RunComparison
    from ..scoring.comparison import Comparison


@click.command()
@click.argument("runs", nargs=-1, required=True, type=THERE, metavar="RUN RUN...")
@click.option("--metric", default="dice", show_default=True, help="Metrics to compare, as in dice,hd95.")
@click.option("--structure", default="mean", show_default=True, help="Structures to compare, as in mean,liver.")
@click.option("--every-pair", is_flag=True, help="Compare all pairs of runs, not each with the first.")
@click.option(
    "--test",
    type=click.Choice(["randomisation", "wilcoxon"]),
    default="randomisation",
    show_default=True,
    help="Paired test over patients.",
)
@click.option(
    "--correction",
    type=click.Choice(["holm", "bh"]),
    default="holm",
    show_default=True,
    help="Correction for the number of comparisons.",
)
@click.option("--out", type=PATH, help="Write an HTML page with the table and the curves here.")
@json_option
def compare(
    runs: tuple[Path, ...],
    metric: str,
    structure: str,
    every_pair: bool,
    test: Any,
    correction: Any,
    out: Path | None,
    as_json: bool,
) -> None:
    """Compare each RUN with the first, over the cases that both scored.

    A RUN is the folder of a run, or a file that `voxgraft evaluate --out FILE.json` wrote. For each comparison this
    prints the mean difference, its 95 % interval (paired bootstrap over patients), the p-value of a paired test over
    patients, corrected for the number of comparisons (by Holm, or by Benjamini and Hochberg), and a verdict: `better`
    or `worse` than the other run where that p-value is below 0.05, `too few patients to tell` where no difference
    between so few could give that, otherwise `no evidence`.
    """
    from ..discovery import discover
    from ..scoring.compare_runs import compare_runs

    names, structures = (text.split(",") for text in (metric, structure))
    result = compare_runs(runs, discover(), names, structures, every_pair=every_pair, test=test, correction=correction)
    if out is not None:
        from ..reports.comparison import comparison_page, curves_of
        from ..support.files import write_text

        curves = {str(path): curves_of(path) for path in runs}
        write_text(out, comparison_page(result.comparisons, curves, result.how))
    if as_json:
        from ..support.files import json_text

        print_result(json_text(result.document()))
        return
    _show(result)


def _show(result: RunComparison) -> None:
    shown: tuple[str, str] | None = None
    for comparison in result.comparisons:
        if shown != (comparison.metric, comparison.structure):
            title = comparison.structure if comparison.structure != "mean" else "mean over structures"
            better = "higher" if result.higher[comparison.metric] else "lower"
            print_fitted(("\n" if shown else "") + f"{comparison.metric}, {title}; {better} is better")
            shown = comparison.metric, comparison.structure
        print_fitted("\n" + "\n".join(_lines(comparison, result.correction)))
    if result.never_found:
        print_fitted(f"\nnone of the runs ever finds {', '.join(map(repr, result.never_found))}")


def _cases(comparison: Comparison) -> str:
    if comparison.n == comparison.common:
        return counted(comparison.n, "common case")
    return f"{comparison.n} of {counted(comparison.common, 'common case')}"


def _lines(comparison: Comparison, correction: str) -> list[str]:
    from ..scoring.compare_runs import CORRECTIONS

    low, high = comparison.ci95
    interval = (
        f"95 % interval {low:+.4f} to {high:+.4f}" if math.isfinite(low) else "no interval (fewer than 2 patients)"
    )
    p = comparison.p_holm if correction == "holm" else comparison.p_bh
    phrases = {
        "no evidence": "no evidence of a difference from",
        "too few patients to tell": f"{comparison.verdict} it from",
    }
    lines = [
        f"{comparison.run}: {phrases.get(comparison.verdict, f'{comparison.verdict} than')} {comparison.against}",
        f"  {comparison.mean:.4f} against {comparison.against_mean:.4f} of {comparison.against}, "
        f"over {_cases(comparison)} of {counted(comparison.patients, 'patient')}",
        f"  difference {comparison.difference:+.4f}, {interval}, p {p:.4f} ({CORRECTIONS[correction]})",
    ]
    if comparison.mixed:
        lines.append("  mixed: most patients differ one way, the mean the other way; look at the worst cases")
    if any(comparison.undefined):
        lines.append(
            f"  left out, not defined: {comparison.undefined[0]} values of {comparison.run}, "
            f"{comparison.undefined[1]} of {comparison.against}"
        )
    return lines
