"""A run: the folder a workflow works in, and what its steps share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from ..packages.references import Resolver
from ..support.contents import Contents
from ..support.files import read_json, write_json
from ..support.kept import Kept
from ..support.memory import free_memory
from ..support.progress import Progress
from ..workflow.workflow import Workflow

if TYPE_CHECKING:
    from ..components.catalogue import Catalogue
    from ..datasets.cases import Dataset, Split
    from ..preprocessing.plan import Plan
    from .step import Tracker


MOST_KEPT = 4 << 30
"""Bytes of voxels that steps hand to each other."""


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
    kept: Kept = field(default_factory=lambda: Kept(min(MOST_KEPT, free_memory() // 4)))


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

    _shared: Shared | None = None
    _dataset: Dataset | None = None
    _others: Mapping[str, Dataset] | None = None

    @property
    def shared(self) -> Shared:
        if self._shared is None:
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
        try:
            return read_json(self.folder / name)
        except (OSError, ValueError):
            raise DataError(f"{self.folder / name}: is missing or damaged; run the earlier steps again") from None

    def write(self, name: str, document: Any) -> Path:
        """Leave a JSON document in the run's folder."""
        write_json(self.folder / name, document)
        return self.folder / name

    def tag(self, values: Mapping[str, str]) -> None:
        """Name the run in the tracker, where there is one."""
        if self.tracker is not None:
            self.tracker.tags(values)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send numbers to the tracker, where there is one; one that is not defined is left out."""
        if self.tracker is not None:
            self.tracker.metrics({name: value for name, value in values.items() if math.isfinite(value)}, step)
