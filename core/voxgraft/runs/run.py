"""A run: the folder a workflow works in, what its steps share, and what steps and trackers must do."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from ..components.catalogue import C, Component
from ..errors import DataError

if TYPE_CHECKING:
    from ..batch.task import Executor
    from ..components.catalogue import Catalogue
    from ..datasets.cases import Dataset, Split
    from ..packages.references import Resolver
    from ..preprocessing.plan import Plan
    from ..support.contents import Contents, Kept
    from ..support.progress import Progress
    from ..workflow.workflow import Workflow


PICTURES = 4
"""Held-out cases whose pictures a notebook shows."""
MOST_KEPT = 4 << 30
"""Bytes of voxels that steps hand to each other."""


def _kept() -> Kept:
    from ..support.contents import Kept
    from ..support.machine import free_memory

    return Kept(min(MOST_KEPT, free_memory() // 4))


@dataclass(slots=True)
class Shared:
    """What the runs of one call share: a run, its members and their twins.

    Attributes:
        contents: Of the files that they read.
        resolved: Fingerprints of models and code, each looked up once in a call.
        kept: What the steps before training read; forgotten once training begins.
        remade: The prepared arrays that this call made; None where those of earlier calls are used too.
    """

    contents: Contents
    resolved: dict[str, str] = field(default_factory=dict)
    remade: set[str] | None = None
    kept: Kept = field(default_factory=_kept)


@dataclass(slots=True)
class Run:
    """What the steps of a workflow share.

    The folder holds `workflow.yaml` (resolved), `split.json`, `fingerprint.json`, `plan.json`, `environment.json`,
    `train/` (curves, checkpoints, parameter table, load report), `package/` (the model), `evaluate/` (scores,
    predictions), `steps/` (what each step was made from, and left) and `contents.json` (hashes of files).
    """

    folder: Path
    workflow: Workflow
    models: Resolver
    progress: Progress
    tracker: Tracker | None = None
    identity: dict[str, str] = field(default_factory=dict)
    """References other systems gave this run, such as `mlflow` -> run id; kept in `run.json`."""

    remarks: list[str] = field(default_factory=list)
    """What must not be overlooked; said once more in the last line of the run, and kept with the step that said it."""

    made_from: Mapping[str, Any] = field(default_factory=dict)
    """The identity of the step at hand, see `voxgraft.runs.identity`."""

    doing: tuple[str, ...] = ()
    """The steps that this call was asked for."""

    data_facts: Sequence[Any] | None = None
    """What `voxgraft.runs.identity` found of the data sets when this call first looked at them."""

    readers: set[str] = field(default_factory=set)
    """The names of the readers of the files of those data sets, known once they were looked at."""

    executor: Executor | None = None
    """Does the members of a run of several splits side by side; without it they are done one after the other."""

    _shared: Shared | None = None
    _dataset: Dataset | None = None
    _others: Mapping[str, Dataset] | None = None

    @property
    def shared(self) -> Shared:
        if self._shared is None:
            from ..support.contents import Contents

            self._shared = Shared(Contents(self.folder / "contents.json"))
        return self._shared

    @property
    def cache(self) -> Path:
        """Where prepared arrays are."""
        return self.workflow.data.cache or self.folder / "cache"

    @property
    def catalogue(self) -> Catalogue:
        """What is installed, its readers with the options of the workflow."""
        return self.models.catalogue

    @property
    def reading(self) -> Catalogue:
        """The same, for steps that read what the next step reads too."""
        return self.catalogue.keeping(self.shared.kept)

    @property
    def package(self) -> Path:
        return self.folder / "package"

    @property
    def dataset(self) -> Dataset:
        """The cases of the workflow's layout, found once."""
        if self._dataset is None:
            from ..datasets.dataset import find_dataset
            from ..workflow.requirements import channels_of

            self._dataset = find_dataset(
                self.workflow.data,
                self.catalogue,
                supervised=self.workflow.supervised,
                channels=channels_of(self.workflow),
            )
        return self._dataset

    @property
    def others(self) -> Mapping[str, Dataset]:
        """The other data sets that the workflow names, see `voxgraft.datasets.companions`, found once."""
        if self._others is None:
            from ..datasets.companions import read_companions

            self._others = read_companions(self.workflow.data, self.catalogue)
        return self._others

    @property
    def split(self) -> Split:
        """The split that the plan step wrote."""
        from ..datasets.cases import Split

        document = self.read("split.json")
        return Split(*(tuple(document.get(part, ())) for part in ("train", "validation", "unlabelled")))

    @property
    def plan(self) -> Plan:
        from ..preprocessing.plan import read_plan

        return read_plan(self.folder / "plan.json")

    def read(self, name: str) -> Any:
        """A JSON document that an earlier step left in the run's folder.

        Raises:
            DataError: It is not there or damaged: the step must be done again.
        """
        from ..support.files import read_json

        try:
            return read_json(self.folder / name)
        except (OSError, ValueError):
            raise DataError(f"{self.folder / name}: is missing or damaged; run the earlier steps again") from None

    def write(self, name: str, document: Any) -> Path:
        """Leave a JSON document in the run's folder."""
        from ..support.files import write_json

        write_json(self.folder / name, document)
        return self.folder / name

    def __repr__(self) -> str:
        return f"Run {self.workflow.name} in {self.folder}"

    def _repr_html_(self) -> str:
        """What a notebook shows: what came out, the scores, and pictures of held-out cases."""
        from ..reports.notebook import fragment, score_table, thumbnail

        lines = [*self.remarks, f"the model is in {self.package}" if self.package.exists() else "there is no model yet"]
        page = self.folder / "evaluate" / "scores.html"
        pictures = sorted((page.parent / "pictures").glob("*.png"))[:PICTURES]
        tables = []
        if page.exists():
            lines.append(f"{page}: the scores of each held-out case")
            tables = [score_table(self.read("evaluate/scores.json")["summary"])]
        shown = [(path.stem, address) for path in pictures if (address := thumbnail(path))]
        return fragment(repr(self), lines, tables, shown)

    def tag(self, values: Mapping[str, str]) -> None:
        """Name the run in the tracker, where there is one."""
        if self.tracker is not None:
            self.tracker.tags(values)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send numbers to the tracker, where there is one; one that is not defined is left out."""
        if self.tracker is not None:
            self.tracker.metrics({name: value for name, value in values.items() if math.isfinite(value)}, step)


class Step(Protocol):
    """One part of a workflow's work. When it is done again is said by its spec, see `StepSpec.independent_of`."""

    def outputs(self, run: Run) -> Sequence[Path]:
        """The files that must be there for the step to count as done."""
        ...

    def do(self, run: Run) -> None: ...


class Tracker(Protocol):
    """Keeps a run's events where others can see them."""

    def start(self, run: Run) -> None: ...

    def params(self, values: Mapping[str, Any]) -> None: ...

    def metrics(self, values: Mapping[str, float], step: int) -> None: ...

    def tags(self, values: Mapping[str, str]) -> None:
        """Name the run, such as by the verdict of its guard."""
        ...

    def file(self, path: Path, folder: str = "") -> None: ...

    def finish(self, status: str) -> None:
        """End the run: `FINISHED`, `FAILED` or `KILLED`."""
        ...


@runtime_checkable
class TracksReviews(Protocol):
    """A tracker that also keeps what the reviews of a model's masks have come to."""

    def review(self, model: str, identity: str, metrics: Mapping[str, float], step: int) -> str:
        """Keep numbers about one version of a model, beside those of its training where that is known.

        Args:
            model: Its name and version, for people.
            identity: The hash of its package.
            metrics: By names such as `review.dice.liver`; nothing in them names a patient.
            step: How many scans were reviewed.

        Returns:
            Where they are kept, for people.

        Raises:
            TrackingError: Nothing answers, or it refuses.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec(Component[C, Step]):
    """A step of a workflow, and the steps that must have been done before it.

    Attributes:
        labelled: It has nothing to do where the network looks at no labels, and is skipped there.
        independent_of: What cannot matter to what it leaves, with the reason: keys or whole sections of the workflow;
            `case`, `dataset` and their fields, such as `case.facts`; `reader` and `writer`, the code that reads images
            and writes masks; and
            `before.STEP`, what an earlier step left. The step is done again when anything else changes.
        elsewhere: Plain values of what it rests on outside of its run, by the names that people are told, such as
            whether a registry is there.
        scope: Where it is done in a run of several splits (a cross-validation): by each `member`, on the `whole`, where
            it sees the package in which the members vote, or on `both`, the whole last.
        tracked: It has something to tell the tracker, which is started before the first step where any step has.
        together: Makes the step that is done on the whole in place of this one, from the same options.
    """

    kind = "step"

    after: tuple[str, ...] = ()
    labelled: bool = False
    independent_of: Mapping[str, str] = field(default_factory=dict)
    elsewhere: Callable[[Run], Mapping[str, Any]] | None = None
    scope: Literal["member", "whole", "both"] = "both"
    tracked: bool = True
    together: Callable[[C], Step] | None = None

    @property
    def by_members(self) -> bool:
        """Whether each member of a run of several splits does it."""
        return self.scope != "whole"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerSpec(Component[C, Tracker]):
    """A place that keeps a run's events."""

    kind = "tracker"
