"""`voxgraft compare`: which run is better, and is there evidence for it?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..compare import Comparison


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN RUN...")
@click.option("--metric", default="dice", show_default=True, help="The metric to compare.")
@click.option("--structure", default="mean", show_default=True, help="A structure, or the mean over all.")
@click.option("--every-pair", is_flag=True, help="Compare every two runs, not each with the first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def compare(runs: tuple[Path, ...], metric: str, structure: str, every_pair: bool, as_json: bool) -> None:
    """Compare each RUN with the first, over the cases that both scored.

    A RUN is the folder of a run, or a file that `voxgraft evaluate --out FILE.json` wrote. For each comparison this
    prints the mean difference, its 95 % interval (paired bootstrap over patients), the p-value of a paired
    randomisation test, corrected for the number of comparisons (Holm), and a verdict: `better` or `worse` than the
    other run where that p-value is below 0.05, otherwise `no evidence`.
    """
    import json

    from ..compare import compare_runs, direction, read_run
    from ..discovery import discover
    from ..errors import UsageError

    if len({path.resolve() for path in runs}) != len(runs) or len(runs) < 2:
        raise UsageError("compare needs two or more different runs; the first is what the others are compared with")
    scores = {str(path): read_run(path) for path in runs}
    higher = direction(scores, metric, discover())
    comparisons = compare_runs(scores, metric, higher, structure, every_pair=every_pair)
    if as_json:
        document = {
            "metric": metric,
            "structure": structure,
            "higher_is_better": higher,
            "comparisons": [one.document() for one in comparisons],
        }
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    what = structure if structure != "mean" else "mean over structures"
    click.echo(f"{metric}, {what}; {'higher' if higher else 'lower'} is better")
    for one in comparisons:
        click.echo("\n" + "\n".join(_lines(one)))


def _lines(one: Comparison) -> list[str]:
    low, high = one.ci95
    interval = (
        f"95 % interval {low:+.4f} to {high:+.4f}" if math.isfinite(low) else "no interval (fewer than 2 patients)"
    )
    lines = [
        f"{one.run}: {one.verdict} {'of a difference from' if one.verdict == 'no evidence' else 'than'} {one.against}",
        f"  {one.mean:.4f} against {one.against_mean:.4f} of {one.against}, over {one.n} common cases "
        f"of {one.patients} patients",
        f"  difference {one.difference:+.4f}, {interval}, p {one.p_holm:.4f} (Holm)",
    ]
    if any(one.undefined):
        lines.append(
            f"  left out, not defined: {one.undefined[0]} values of {one.run}, {one.undefined[1]} of {one.against}"
        )
    return lines
