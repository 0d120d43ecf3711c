"""The light cards by which plugins announce what they offer.

A card is data: it costs no import of torch, MONAI or pydantic. Two of its fields are functions that the engine
calls late: `config` when a workflow is checked, `build` when it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from .interfaces import (
    Decoder,
    Encoder,
    Executor,
    Layout,
    Loss,
    Metric,
    Modality,
    Reader,
    Step,
    Store,
    Strategy,
    Tracker,
    Writer,
)

if TYPE_CHECKING:
    from pathlib import Path

    from .config import Config
    from .runs.run import Run

C = TypeVar("C", bound="Config")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Component(Generic[C, T]):
    """One thing a workflow can name.

    Attributes:
        name: What a workflow file writes after `use:`.
        summary: One line for `voxgraft plugins list`.
        config: Gives the model of the options; may import pydantic, never torch.
        build: Makes the component from its options; may import anything.
    """

    kind: ClassVar[str]

    name: str
    summary: str
    config: Callable[[], type[C]]
    build: Callable[[C], T]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderSpec(Component[C, Reader]):
    """A reader, with the file name endings it claims and the bytes by which it knows files without one.

    Attributes:
        suffixes: Lower-case endings such as `.nii.gz`; the longest that fits decides.
        magic: Pairs of (offset, bytes) found in the first kilobyte of its files.
        by_content: Its files bear any name, also with an ending of another kind: its magic comes before all suffixes.
        series: Files of one folder tree belong together (DICOM): they are scanned in one call.
        structures: It builds a `StructureReader`; a reader of the kind `series` may hand its items to it by name.
        illustrates: Its files (photographs, icons) also lie beside scans as illustrations: in a folder they count only
            where no other image lies in it.
    """

    kind = "reader"

    suffixes: tuple[str, ...]
    magic: tuple[tuple[int, bytes], ...] = ()
    by_content: bool = False
    series: bool = False
    structures: bool = False
    illustrates: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterSpec(Component[C, Writer]):
    """A writer, with the file name endings it answers to in `convert`.

    Attributes:
        filename: The name of its file in a batch's folder of one scan, such as `mask.nii.gz`.
        needs: What the scan must be: `any`, or `dicom` for objects that refer to DICOM instances.
        labels: It writes masks; otherwise images only.
        dims: How many axes in space its images may have.
        proves: It reads back what it wrote, and compares it with the mask, before the file takes its name.
    """

    kind = "writer"

    suffixes: tuple[str, ...]
    filename: str
    needs: str = "any"
    labels: bool = True
    dims: frozenset[int] = frozenset({2, 3})
    proves: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutSpec(Component[C, Layout]):
    """A way in which data sets lie on disk.

    Attributes:
        guess: The options with which it reads a folder whose layout nobody named, None where the folder does not look
            like one of its own. It looks at names and at most at one small file, and raises nothing.
    """

    kind = "layout"

    guess: Callable[[Path], Mapping[str, Any] | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModalitySpec(Component[C, Modality]):
    """A kind of image, with the DICOM modality codes it stands for, and the channels that one file of it may hold.

    A data set whose layout names no channels, and whose images have as many, has these.
    """

    kind = "modality"

    dicom: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSpec(Component[C, Encoder]):
    """An encoder, with the spatial dimensions it accepts."""

    kind = "encoder"

    dims: frozenset[int] = frozenset({2, 3})


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderSpec(Component[C, Decoder]):
    """A decoder."""

    kind = "decoder"


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategySpec(Component[C, Strategy]):
    """A way of transferring, with what it needs: `pretrained`, `unlabelled`, `teacher`, `source`."""

    kind = "strategy"

    needs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSpec(Component[C, Loss]):
    """A loss."""

    kind = "loss"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec(Component[C, Metric]):
    """A metric, with the direction in which it improves and its unit."""

    kind = "metric"

    higher_is_better: bool
    unit: str = ""


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
        together: Makes the step that is done on the whole in place of this one, from the same options.
    """

    kind = "step"

    after: tuple[str, ...] = ()
    labelled: bool = False
    independent_of: Mapping[str, str] = field(default_factory=dict)
    elsewhere: Callable[[Run], Mapping[str, Any]] | None = None
    scope: Literal["member", "whole", "both"] = "both"
    together: Callable[[C], Step] | None = None

    @property
    def by_members(self) -> bool:
        """Whether each member of a run of several splits does it."""
        return self.scope != "whole"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerSpec(Component[C, Tracker]):
    """A place that keeps a run's events."""

    kind = "tracker"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSpec(Component[C, Store]):
    """A place that keeps model packages, with the beginnings of the references it answers to."""

    kind = "store"

    schemes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorSpec(Component[C, Executor]):
    """A way of spreading a batch's scans over workers."""

    kind = "executor"


AnySpec = Component[Any, Any]
