"""`voxgraft evaluate`: compare masks with references."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..support.progress import print_fitted, print_result
from ..support.texts import counted
from . import PATH, THERE, json_option

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
    from ..imaging.structures import Labels
    from ..reports.drawing import Picture
    from ..scoring.scores import Scores

ENDINGS = (".json", ".csv", ".html")


@click.command()
@click.argument("predictions", type=THERE)
@click.argument("references", type=THERE)
@click.option(
    "--metrics",
    default="dice,iou,hd95,nsd",
    show_default=True,
    help="Names of metrics; options follow: nsd:tolerance=2.",
)
@click.option(
    "--labels", "names", metavar="FILE.json|NAME=VALUE,...", help="Structures to score; by default every value."
)
@click.option("--regions", metavar="NAME=1+2,...", help="Unions of structures to score as well.")
@click.option("--groups", type=THERE, metavar="FILE.csv", help="CSV of case attributes, for subgroup tables.")
@click.option(
    "--images",
    type=THERE,
    metavar="PATH",
    help="Scans (a file or a folder), for pictures of the worst cases.",
)
@click.option("--valid", type=THERE, metavar="PATH", help="Valid-region masks (0 = not scored).")
@click.option("--probabilities", type=THERE, metavar="PATH", help="Probability maps, needed for ece.")
@click.option(
    "--out",
    "outs",
    type=PATH,
    multiple=True,
    metavar="FILE.json|.csv|.html",
    help="Write every value to a CSV or JSON file, or an HTML page; may be given several times.",
)
@json_option
def evaluate(
    predictions: Path,
    references: Path,
    metrics: str,
    names: str | None,
    regions: str | None,
    groups: Path | None,
    images: Path | None,
    valid: Path | None,
    probabilities: Path | None,
    outs: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Compare PREDICTIONS with REFERENCES: two masks, or two folders whose files have the same names.

    PREDICTIONS may be what `voxgraft segment` left: a folder with a mask for each scan. Means come with 95 % intervals
    (bootstrap over patients); `undefined` counts the cases for which a metric has no value, such as a distance to an
    empty mask. FILE.csv of --groups has a column `case`, perhaps `patient`, and one for each fact: site, sex, age.
    Exit code 3: some cases could not be scored, or a reference has no prediction.
    """
    import json

    from ..discovery import discover
    from ..errors import UsageError
    from ..scoring.naming import read_labels
    from ..scoring.pairs import read_regions
    from ..scoring.paths import Extras, evaluate_paths
    from ..scoring.subgroups import read_facts
    from ..support.progress import Progress

    for out in outs:
        if out.suffix.lower() not in ENDINGS:
            raise UsageError(f"--out {out}: the file's name must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
    labels = read_labels(names) if names is not None else None
    extras = Extras(
        regions=read_regions(regions, labels) if regions is not None else None,
        facts=read_facts(groups) if groups is not None else None,
        probabilities=probabilities,
        valid=valid,
        images=images,
    )
    metric_names = [metric for metric in metrics.split(",") if metric.strip()]
    catalogue, progress = discover(), Progress(quiet=as_json)
    scores = evaluate_paths(predictions, references, metric_names, catalogue, labels, progress, extras)
    folders = {"images": images, "valid": valid}
    for out in outs:
        _write(out, scores, catalogue, lambda: _pictures(scores, predictions, references, folders, labels, catalogue))
    if as_json:
        print_result(json.dumps(scores.document(), indent=2, ensure_ascii=False))
    else:
        _show(scores, _units(catalogue))
        if extras.facts is not None and not scores.subgroups:
            click.echo(f"note: no column of {groups} divides these cases into subgroups", err=True)
        for out in outs:
            click.echo(f"wrote {out}")
    if scores.failed:
        click.get_current_context().exit(3 if scores.cases else 1)


def _write(out: Path, scores: Scores, catalogue: Catalogue, pictures: Callable[[], Mapping[str, Picture]]) -> None:
    from ..reports.scores import about, page
    from ..support.files import write_json, write_text

    if out.suffix.lower() == ".csv":
        scores.write_csv(out)
    elif out.suffix.lower() == ".json":
        write_json(out, scores.document())
    else:
        title = f"Scores of {counted(len(scores.cases), 'case')}"
        write_text(out, page(scores, about(scores, catalogue), title, pictures()))


def _pictures(
    scores: Scores,
    predictions: Path,
    references: Path,
    folders: Mapping[str, Path | None],
    labels: Labels | None,
    catalogue: Catalogue,
) -> dict[str, Picture]:
    """The worst slice of the worst cases, from files that were read a moment ago.

    Args:
        folders: Files or folders of `images`, the scans, and of `valid`, where cases count.
    """
    from ..errors import VoxGraftError
    from ..imaging.read import read
    from ..imaging.volume import ImageRef
    from ..labels.valid_region import read_valid_region
    from ..reports.pictures import worst_slice
    from ..reports.scores import about, worst_cases
    from ..scoring.masks import check_grids, comparable
    from ..scoring.matching import files_of, match
    from ..scoring.pairs import labels_named_in, read_pair
    from ..scoring.paths import within

    pairs = match(predictions, references, catalogue).pairs
    labels = labels or labels_named_in(pairs.values(), catalogue)
    worst = [case for case in worst_cases(scores, about(scores, catalogue)) if case in pairs]
    files = {kind: files_of(path, worst, catalogue) if path and worst else {} for kind, path in folders.items()}
    scans, valid = files["images"], files["valid"]
    drawn = {}
    for case in worst:
        prediction, reference = read_pair(pairs[case], labels, catalogue, scans.get(case))
        if case in valid:
            inside = read_valid_region(ImageRef(valid[case]), reference, catalogue, case)
            prediction, reference = within(prediction, inside), within(reference, inside)
        scan = read(scans[case], catalogue) if case in scans else None
        try:
            if scan is not None:
                check_grids(scan, reference)
        except VoxGraftError as error:
            print_fitted(f"note: {scans[case]}: not shown, {error}", error=True)
            scan = None
        if labels is not None:
            prediction, reference = comparable(prediction, reference, labels)
        drawn[case] = worst_slice(prediction, reference, scan, labels=labels)
    return drawn


def _show(scores: Scores, units: Mapping[str, str]) -> None:
    rows: list[tuple[str, ...]] = [("metric", "structure", "mean", "95 % interval", "sd", "median", "n", "undefined")]
    for metric, structures in scores.summary.items():
        unit = scores.unit(units.get(str(scores.metrics.get(metric, {}).get("use", metric)), ""))
        shown = f"{metric} ({unit})" if unit else metric
        rows += [(shown, name, *_cells(scores)) for name, scores in structures.items()]
    if scores.cases:
        _print_table(rows, 2)
    click.echo(f"{counted(len(scores.cases), 'case')} scored, {len(scores.failed)} failed")
    _show_subgroups(scores)
    if scores.note:
        print_fitted(f"note: {scores.note}", error=True)
    for case, reason in scores.failed.items():
        print_fitted(f"failed: {case}: {reason}", error=True)
    for case in scores.unmatched:
        print_fitted(f"note: the prediction {case} has no reference", error=True)


def _show_subgroups(scores: Scores) -> None:
    """The mean over structures of the first metric in each subgroup."""
    metric = next(iter(scores.summary), "")
    for column, groups in scores.subgroups.items():
        rows: list[tuple[str, ...]] = [(column, "cases", "patients", f"{metric} mean", "95 % interval", "n", "")]
        for group, subgroup in groups.items():
            mean = subgroup["summary"][metric]["mean"]
            few = "few patients" if subgroup["few"] else ""
            rows.append(
                (group, str(subgroup["cases"]), str(subgroup["patients"]), *_cells(mean)[:2], str(mean["n"]), few)
            )
        click.echo("")
        _print_table(rows, 1)


def _print_table(rows: list[tuple[str, ...]], texts: int) -> None:
    """Columns as wide as their longest cell, the first ones left-aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (
            cell.ljust(w) if i < texts else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        click.echo("  ".join(cells).rstrip())


def _units(catalogue: Catalogue) -> dict[str, str]:
    from ..scoring.metric import MetricSpec

    return {spec.name: spec.unit for _, spec in catalogue.of("metric") if isinstance(spec, MetricSpec)}


def _cells(scores: dict[str, Any]) -> tuple[str, ...]:
    low, high = scores["ci95"]
    interval = f"{_number(low)} to {_number(high)}" if math.isfinite(low) else "-"
    return (
        _number(scores["mean"]),
        interval,
        _number(scores["sd"]),
        _number(scores["median"]),
        str(scores["n"]),
        str(scores["undefined"]),
    )


def _number(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "-"
