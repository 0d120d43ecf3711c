"""`voxgraft evaluate`: compare masks with references."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..discovery import Catalogue
    from ..scoring.scores import Scores


@click.command()
@click.argument("predictions", type=click.Path(path_type=Path))
@click.argument("references", type=click.Path(path_type=Path))
@click.option(
    "--metrics", default="dice,iou,hd95,nsd", show_default=True, help="Names; options follow: nsd:tolerance=2."
)
@click.option("--labels", "names", metavar="FILE.json|NAME=VALUE,...", help="The structures; by default every value.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.json|.csv", help="Write every value to a file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def evaluate(
    predictions: Path, references: Path, metrics: str, names: str | None, out: Path | None, as_json: bool
) -> None:
    """Compare PREDICTIONS with REFERENCES: two masks, or two folders whose files have the same names.

    PREDICTIONS may be what `voxgraft segment` left: a folder with a mask for each scan. Means come with 95 % intervals
    (bootstrap); `undefined` counts the cases for which a metric has no value, such as a distance to an empty mask.
    Exit code 3: some cases could not be scored, or a reference has no prediction.
    """
    import json

    from ..discovery import discover
    from ..errors import UsageError
    from ..files import write_json
    from ..progress import Progress
    from ..scoring.naming import read_labels
    from ..scoring.paths import evaluate_paths

    if out is not None and out.suffix.lower() not in (".json", ".csv"):
        raise UsageError(f"--out {out}: the file's name must end in .json or .csv")
    labels = read_labels(names) if names is not None else None
    wanted = [metric for metric in metrics.split(",") if metric.strip()]
    catalogue, progress = discover(), Progress(quiet=as_json)
    scores = evaluate_paths(predictions, references, wanted, catalogue, labels, progress)
    if out is not None and out.suffix.lower() == ".csv":
        scores.write_csv(out)
    elif out is not None:
        write_json(out, scores.document())
    if as_json:
        click.echo(json.dumps(scores.document(), indent=2, ensure_ascii=False))
    else:
        _show(scores, _units(catalogue))
    if scores.failed:
        click.get_current_context().exit(3 if scores.cases else 1)


def _show(scores: Scores, units: Mapping[str, str]) -> None:
    rows: list[tuple[str, ...]] = [("metric", "structure", "mean", "95 % interval", "sd", "median", "n", "undefined")]
    for metric, structures in scores.summary.items():
        unit = units.get(str(scores.metrics.get(metric, {}).get("use", metric)), "")
        shown = f"{metric} ({unit})" if unit else metric
        rows += [(shown, name, *_cells(one)) for name, one in structures.items()]
    if scores.cases:
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            cells = (
                cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            click.echo("  ".join(cells).rstrip())
    click.echo(f"{len(scores.cases)} cases scored, {len(scores.failed)} failed")
    for case, reason in scores.failed.items():
        click.echo(f"failed: {case}: {reason}", err=True)
    for case in scores.unmatched:
        click.echo(f"note: the prediction {case} has no reference", err=True)


def _units(catalogue: Catalogue) -> dict[str, str]:
    return {spec.name: getattr(spec, "unit", "") for _, spec in catalogue.of("metric")}


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    low, high = one["ci95"]
    interval = f"{_number(low)} to {_number(high)}" if math.isfinite(low) else "-"
    return (
        _number(one["mean"]),
        interval,
        _number(one["sd"]),
        _number(one["median"]),
        str(one["n"]),
        str(one["undefined"]),
    )


def _number(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "-"
