"""What the engine asks of steps and trackers, and the specs by which plugins offer them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from ..components.component import C, Component

if TYPE_CHECKING:
    from .run import Run


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
