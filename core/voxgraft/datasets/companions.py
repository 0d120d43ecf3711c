"""The scans that are learnt from besides the labelled ones of the layout: without their labels, or labelled elsewhere.

Cases of another data set go by its name and their id, such as `source/case_01`: a slash stands in no id of a case.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from ..components.catalogue import Catalogue
from ..errors import DataError
from ..imaging.structures import Labels
from ..support.texts import counted
from .cases import Case, Dataset, Split
from .dataset import read_layout, with_rater
from .labelling import labels_of
from .options import Data

SOURCE, ADDED, UNLABELLED = "source", "added", "unlabelled"


@dataclass(frozen=True, slots=True)
class Roles:
    """What a network learns from.

    Attributes:
        supervised: It learns from labels.
        learners: The names of the strategies that learn from scans without labels.
    """

    supervised: bool = True
    learners: tuple[str, ...] = ()


def read_companions(data: Data, catalogue: Catalogue) -> dict[str, Dataset]:
    """The data sets that `data.source`, `data.added` and `data.unlabelled` name, by these words.

    Args:
        catalogue: With the options of the workflow's readers.
    """
    sets: dict[str, Dataset] = {}
    for name, layout in ((SOURCE, data.source), (ADDED, data.added)):
        if layout is not None:
            dataset = read_layout(layout, catalogue)
            cases = tuple(with_rater(case, data.raters) for case in dataset.cases)
            sets[name] = replace(dataset, cases=cases, labels=labels_of(data, dataset.labels, dataset.bounded))
    if data.unlabelled is not None:
        sets[UNLABELLED] = read_layout(data.unlabelled, catalogue)
    return sets


def assign_roles(roles: Roles, dataset: Dataset, others: Mapping[str, Dataset], split: Split) -> Split:
    """The split with the roles of all scans: what is learnt from with labels, what without, what is held out.

    With a source its cases are those with labels, and the layout's training cases count as unlabelled. Unlabelled are
    also those of `data.unlabelled` and the layout's cases without a label. Cases of `data.added` are learnt from beside
    the others with labels. No patient that is held out is among them.

    Args:
        roles: What the strategies learn from, see `Roles`.
        others: `source`, `added` and `unlabelled`, where the workflow names them.

    Raises:
        DataError: A strategy needs unlabelled scans and there are none; or the data sets do not fit together.
    """
    for name, other in others.items():
        if len(other.channels) != len(dataset.channels):
            have = f"its cases have {counted(len(other.channels), 'channel')}"
            raise DataError(f"data.{name}: {have}, those of data.layout {len(dataset.channels)}")
    held_out = {case.patient for case in dataset.cases if case.id in set(split.validation)}
    added = _labelled(ADDED, others, held_out)
    if not roles.learners and SOURCE not in others and roles.supervised:
        return Split((*split.train, *added), split.validation, split.unlabelled)
    train = split.train
    left = [case.id for case in dataset.cases if case.id not in set(split.train) and case.patient not in held_out]
    if SOURCE in others:
        left = [case.id for case in dataset.cases if case.patient not in held_out]
        train = _labelled(SOURCE, others, held_out)
    train = (*train, *added)
    more = others[UNLABELLED].cases if UNLABELLED in others else ()
    left += [f"{UNLABELLED}/{case.id}" for case in more if case.patient not in held_out]
    if not roles.supervised:
        return Split((), split.validation, (*train, *left))
    if roles.learners and not left:
        names = ", ".join(map(repr, roles.learners))
        raise DataError(
            f"transfer: {names} learns from unlabelled scans, and there are none: name some with data.unlabelled, keep "
            "cases without a label in the layout, or learn from fewer labels with data.split.labelled"
        )
    return Split(train, split.validation, tuple(left) if roles.learners else ())


def _labelled(name: str, others: Mapping[str, Dataset], held_out: Collection[str]) -> tuple[str, ...]:
    """The keys of another data set's labelled cases whose patients are not held out; none where it is not named."""
    if name not in others:
        return ()
    cases = [case for case in others[name].cases if case.label is not None and case.patient not in held_out]
    if not cases:
        raise DataError(f"data.{name}: there is no labelled case of a patient who is not held out")
    return tuple(f"{name}/{case.id}" for case in cases)


def cases_by_key(dataset: Dataset, others: Mapping[str, Dataset], split: Split) -> dict[str, Case]:
    """Every case of a split under its key; those that count as unlabelled come without their label.

    Args:
        dataset: Whose cases are keyed by their identifier alone.
        others: Name -> data set; their cases are keyed `NAME/ID`.
    """
    known = {case.id: case for case in dataset.cases}
    for name, other in others.items():
        known.update({f"{name}/{case.id}": case for case in other.cases})
    cases = {key: known[key] for key in (*split.train, *split.validation)}
    return {**cases, **{key: replace(known[key], label=None, raters={}, valid=None) for key in split.unlabelled}}


def common_labels(dataset: Dataset, others: Mapping[str, Dataset]) -> Labels | None:
    """The structures, from the layout or else from what is learnt from besides.

    Raises:
        DataError: Several name structures, and not the same.
    """
    common = dataset.labels
    for name in (SOURCE, ADDED):
        labels = others[name].labels if name in others else None
        if common is None or labels is None:
            common = common or labels
            continue
        own, from_other = ([(label.value, label.name) for label in one.items] for one in (common, labels))
        if own != from_other:
            raise DataError(
                f"data.{name}: its structures are {from_other}, those of data.layout are {own}; they must be the same"
            )
        common = replace(common, bounded=common.bounded or labels.bounded)
    return common
