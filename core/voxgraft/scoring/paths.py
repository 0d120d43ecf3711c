"""Compare masks on disk with references: two files, or two folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from ..components.choice import Selected, choose
from ..errors import DataError, UsageError, VoxGraftError
from ..imaging.read import read
from ..imaging.structures import Label, Labels, check_alike
from ..imaging.volume import ImageRef
from ..labels.masks import mark_ignored
from ..support.progress import Progress
from .case import Measured, binnings, measure_case, named_metrics, score_absent, scored_structures, watch_case
from .masks import check_grids, values_in
from .matching import files_of, match
from .pair import Counts
from .pairs import Regions, labels_named_in, read_pair
from .scores import Facts, Scores, gathered

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
    from ..imaging.volume import Colour, Volume
    from .calibration import Watch
    from .metric import Metric


@dataclass(frozen=True, slots=True)
class Extras:
    """What an evaluation may know beside the masks.

    Attributes:
        regions: Unions of structures that are scored too.
        facts: What is known of each case, for tables of subgroups; `patient` says which cases are drawn together.
        probabilities: A file or folder of maps with a channel for each structure, or for background and each.
        valid: A file or folder of files that are 0 where a case does not count, such as fields of view.
        images: A file, a series or a folder of the scans, whose grid two objects of structures get.
    """

    regions: Regions | None = None
    facts: Facts | None = None
    probabilities: Path | None = None
    valid: Path | None = None
    images: Path | None = None


def evaluate_paths(
    predictions: Path,
    references: Path,
    metrics: Sequence[str],
    catalogue: Catalogue,
    labels: Labels | None = None,
    progress: Progress | None = None,
    extras: Extras | None = None,
) -> Scores:
    """Score predictions against references. A case that cannot be scored fails alone and is named in the result.

    Args:
        predictions: A mask, a folder of masks, or what a batch leaves.
        references: The same; cases are matched by name (see `voxgraft.scoring.matching`).
        metrics: Names, with options behind colons: `nsd:tolerance=2`.
        labels: The structures; by default those that the masks name, else every value that stands in a mask is one,
            named by its number.

    Raises:
        UsageError: There is no such metric, or its options do not fit.
        DataError: A path is not there, nothing matches, or the names of structures are no good.
        BrokenPlugin: A metric cannot be made.
    """
    extras = extras or Extras()
    chosen = choose_metrics(metrics, catalogue)
    if extras.probabilities is not None and labels is None:
        raise UsageError("maps of probabilities need the names of the structures, in the order of their channels")
    if extras.probabilities is not None and not binnings(list(chosen.values())):
        raise UsageError("none of the metrics looks at probabilities; ask for ece")
    matches = match(predictions, references, catalogue)
    labels = labels or labels_named_in(matches.pairs.values(), catalogue)
    if labels is not None:
        scored_structures(labels, extras.regions)
    maps = files_of(extras.probabilities, list(matches.pairs), catalogue) if extras.probabilities else {}
    valid = files_of(extras.valid, list(matches.pairs), catalogue) if extras.valid else None
    scans = files_of(extras.images, list(matches.pairs), catalogue) if extras.images else {}
    work = Work(labels, list(chosen.values()), catalogue, extras.regions, maps, valid)
    progress = progress or Progress(quiet=True)
    failed = dict(matches.missing)
    for case, pair in progress.track(matches.pairs.items(), "evaluating", total=len(matches.pairs)):
        try:
            work.measure(case, *read_pair(pair, labels, catalogue, scans.get(case)))
        except MemoryError:
            failed[case] = f"{pair[1]}: the case does not fit into this machine's memory"
        except VoxGraftError as error:
            named = any(str(path) in str(error) for path in pair)
            failed[case] = str(error) if named else f"{pair[0]} against {pair[1]}: {error}"
    return replace(work.scores(extras.facts), failed=dict(sorted(failed.items())), unmatched=matches.unmatched)


def choose_metrics(texts: Sequence[str], catalogue: Catalogue) -> dict[str, Selected[Metric]]:
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


@dataclass(frozen=True, slots=True)
class Work:
    """How the cases of one evaluation are measured, and what was found of them.

    Attributes:
        palettes: The colours of masks so far, by their paths.
        grids: CASE -> what a metric needs to know of it without a structure: the number of voxels, and millimetres.
    """

    labels: Labels | None
    metrics: list[Selected[Metric]]
    catalogue: Catalogue
    regions: Regions | None = None
    maps: Mapping[str, Path] = field(default_factory=dict)
    valid: Mapping[str, Path] | None = None
    palettes: dict[str, Mapping[int, Colour]] = field(default_factory=dict)
    measured: dict[str, Measured] = field(default_factory=dict)
    grids: dict[str, tuple[int, tuple[float, ...]]] = field(default_factory=dict)

    def measure(self, case: str, prediction: Volume, reference: Volume) -> None:
        """Score a case.

        Args:
            prediction, reference: Masks in one order of axes.
        """
        self._compare_palettes(prediction, reference)
        inside = self._inside(case, reference)
        voxels = int(np.prod(reference.shape)) if inside is None else int(inside.sum())
        self.grids[case] = voxels, reference.spacing
        labels = self.labels
        if inside is not None:
            check_grids(prediction, reference)
            prediction, reference = (within(volume, inside) for volume in (prediction, reference))
        if labels is None:
            check_grids(prediction, reference)
            values = {*values_in(prediction, reference), *(v for part in (self.regions or {}).values() for v in part)}
            if not values:
                self.measured[case] = Measured({name: {} for name in named_metrics(self.metrics)})
                return
            labels = Labels(tuple(Label(value, str(value)) for value in sorted(values)))
        if inside is not None:
            labels = replace(labels, bounded=True)
            reference = _bounded(reference, inside, labels)
        watch = self._watched(case, reference, labels)
        self.measured[case] = measure_case(prediction, reference, labels, self.metrics, self.regions, watch)

    def scores(self, facts: Facts | None = None) -> Scores:
        """What was found of all cases."""
        if self.labels is None:
            self._add_absent()
        return gathered(self.measured, self.metrics, facts, regions=tuple(self.regions or ()))

    def _add_absent(self) -> None:
        """Score, in each case, the structures that only other cases have, as if they had been named from the start."""
        regions = tuple(self.regions or ())
        every = {name for result in self.measured.values() for found in result.values.values() for name in found}
        names = [*sorted(every - set(regions), key=int), *(name for name in regions if name in every)]
        for case, result in self.measured.items():
            voxels, spacing = self.grids[case]
            missing = [name for name in names if name not in next(iter(result.values.values()))]
            for metric, values in score_absent(voxels, spacing, missing, self.metrics).items():
                merged = {**result.values[metric], **values}
                result.values[metric] = {name: merged[name] for name in names}
            result.counts.update({name: Counts(0, 0, 0, voxels) for name in missing})

    def _compare_palettes(self, *masks: Volume) -> None:
        """Refuse a case whose palettes give a number another colour than its own or an earlier case's."""
        for mask in masks:
            if mask.item is not None and mask.item.palette:
                name = str(mask.item.path)
                check_alike([*self.palettes.items(), (name, mask.item.palette)])
                self.palettes[name] = mask.item.palette

    def _inside(self, case: str, reference: Volume) -> NDArray[np.bool_] | None:
        """Where the case counts; None where nothing says so."""
        if self.valid is None:
            return None
        if case not in self.valid:
            raise DataError(f"case {case!r}: there is no valid-region file for it")
        from ..labels.valid_region import read_valid_region

        return read_valid_region(ImageRef(self.valid[case]), reference, self.catalogue, case)

    def _watched(self, case: str, reference: Volume, labels: Labels) -> Watch | None:
        """What has seen the whole map of probabilities of a case."""
        path = self.maps.get(case)
        watch = watch_case(reference, labels, self.metrics, self.regions) if path is not None else None
        if path is None or watch is None:
            return None
        region = read(path, self.catalogue)
        check_grids(region, reference)
        channels = region.array.reshape(-1, *region.shape)
        more = len(channels) - len(labels.items)
        if more not in (0, 1):
            raise DataError(
                f"{path}: has {len(channels)} channels; {len(labels.items)} structures need one channel each, "
                "optionally after one for background"
            )
        if not channels.dtype.kind == "f" or not (channels.min() >= -1e-3 and channels.max() <= 1.001):
            raise DataError(f"{path}: holds values that are not probabilities from 0 to 1")
        channel_of = {value: index + more for index, value in enumerate(labels.values)}
        watch.see(
            tuple(slice(0, n) for n in region.shape),
            lambda structure: sum(channels[channel_of[value]] for value in structure.values),
        )
        return watch


def within(mask: Volume, inside: NDArray[np.bool_]) -> Volume:
    """A mask that is empty where nothing counts."""
    return mask.with_array(mark_ignored(mask.array, inside, 0))


def _bounded(reference: Volume, inside: NDArray[np.bool_], labels: Labels) -> Volume:
    """The reference with the value of ignored voxels where nothing counts."""
    value = labels.ignored
    assert value is not None, "labels that are bounded have such a value"
    if not labels.ignore and labels.others != "ignore" and (reference.array == value).any():
        raise DataError(f"the reference holds the value {value}, which no structure has")
    return reference.with_array(mark_ignored(reference.array, inside, value))


def _choose(text: str, catalogue: Catalogue) -> Selected[Metric]:
    name, *parts = text.strip().split(":")
    options: dict[str, Any] = {"use": name}
    for part in parts:
        from ..workflow.yaml import parse

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
