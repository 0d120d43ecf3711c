"""Compare masks on disk with references: two files, or two folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from ..data.cases import Label, Labels
from ..errors import DataError, UsageError, VoxGraftError
from ..progress import Progress
from ..reading import read
from ..slot import Chosen, choose
from ..volume import Volume
from ..yamlfile import parse
from .case import check_names, named_metrics, score_absent, score_case
from .masks import check_grids, values_in
from .matching import match
from .scores import Scores

if TYPE_CHECKING:
    from ..discovery import Catalogue
    from ..interfaces import Metric

Grid = tuple[int, tuple[float, ...]]
"""What a metric needs to know of a case without a structure: the number of voxels, and millimetres between them."""


def evaluate_paths(
    predictions: Path,
    references: Path,
    metrics: Sequence[str],
    catalogue: Catalogue,
    labels: Labels | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Score predictions against references. A case that cannot be scored fails alone and is named in the result.

    Args:
        predictions: A mask, a folder of masks, or what a batch leaves.
        references: The same; cases are matched by name (see `voxgraft.scoring.matching`).
        metrics: Names, with options behind colons: `nsd:tolerance=2`.
        labels: The structures; by default every value that stands in a mask is one, named by its number.

    Raises:
        UsageError: There is no such metric, or its options do not fit.
        DataError: A path is not there, nothing matches, or the names of structures are no good.
        BrokenPlugin: A metric cannot be made.
    """
    chosen = choose_metrics(metrics, catalogue)
    if labels is not None:
        check_names(labels)
    matches = match(predictions, references, catalogue)
    progress = progress or Progress(quiet=True)
    cases: dict[str, dict[str, dict[str, float]]] = {}
    grids: dict[str, Grid] = {}
    failed = dict(matches.missing)
    for case, pair in progress.track(matches.pairs.items(), "evaluating", total=len(matches.pairs)):
        try:
            prediction, reference = (read(path, catalogue) for path in pair)
            cases[case] = _score(prediction, reference, labels, list(chosen.values()))
            grids[case] = (reference.array.size, reference.spacing)
        except MemoryError:
            failed[case] = f"{pair[1]}: the case does not fit into this machine's memory"
        except VoxGraftError as error:
            failed[case] = str(error) if str(pair[0]) in str(error) or str(pair[1]) in str(error) else _at(pair, error)
    if labels is None:
        _add_absent(cases, grids, list(chosen.values()))
    return Scores.of(
        cases,
        failed=dict(sorted(failed.items())),
        unmatched=matches.unmatched,
        metrics={name: one.document() for name, one in chosen.items()},
    )


def choose_metrics(texts: Sequence[str], catalogue: Catalogue) -> dict[str, Chosen[Metric]]:
    """The metrics that texts such as `dice` and `nsd:tolerance=2` name, by the names their scores will have.

    Raises:
        UsageError: There is no such metric, its options do not fit, or none is named.
    """
    if not texts:
        raise UsageError("no metric is named; `voxgraft plugins list --kind metric` shows those there are")
    try:
        return named_metrics([_choose(text, catalogue) for text in texts])
    except DataError as error:
        raise UsageError(str(error)) from None


def _choose(text: str, catalogue: Catalogue) -> Chosen[Metric]:
    name, *parts = text.strip().split(":")
    options: dict[str, Any] = {"use": name}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals:
            raise UsageError(f"metric {text!r}: expected NAME:OPTION=VALUE, such as nsd:tolerance=2")
        options[key.strip()] = parse(value)
    catalogue.get("metric", name)
    try:
        return choose(catalogue, "metric", options)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"metric {text!r}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except PydanticCustomError as error:
        raise UsageError(f"metric {text!r}: {error.message()}") from None


def _score(
    prediction: Volume, reference: Volume, labels: Labels | None, metrics: Sequence[Chosen[Metric]]
) -> dict[str, dict[str, float]]:
    if labels is None:
        check_grids(prediction, reference)
        values = values_in(prediction, reference)
        if not values:
            return {name: {} for name in named_metrics(metrics)}
        labels = Labels(tuple(Label(value, str(value)) for value in values))
    return score_case(prediction, reference, labels, metrics)


def _add_absent(
    cases: dict[str, dict[str, dict[str, float]]], grids: dict[str, Grid], metrics: Sequence[Chosen[Metric]]
) -> None:
    """Score, in each case, the structures that only other cases have, as if they had been named from the start."""
    names = sorted({name for scores in cases.values() for values in scores.values() for name in values}, key=int)
    for case, scores in cases.items():
        absent = score_absent(
            *grids[case], [name for name in names if name not in next(iter(scores.values()))], metrics
        )
        for metric, values in absent.items():
            merged = {**scores[metric], **values}
            scores[metric] = {name: merged[name] for name in names}


def _at(pair: tuple[Path, Path], error: VoxGraftError) -> str:
    return f"{pair[0]} against {pair[1]}: {error}"
