"""What the engine asks of each kind of component: the product of a card's `build`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from .data.cases import Dataset, Labels
    from .discovery import Catalogue
    from .model.transfer import TransferStrategy
    from .model.weights import Weights
    from .models import Resolver
    from .runs.run import Run
    from .scoring.pair import MaskPair
    from .volume import Item, Problem, Volume


class Reader(Protocol):
    """Read images of one family of formats."""

    def scan(self, files: Sequence[Path]) -> list[Item]:
        """Describe the images in these files from their headers alone, problems included.

        A file that cannot be understood gives an item with an error, never an exception.
        """
        ...

    def read(self, item: Item) -> Volume:
        """Read the voxels of an item.

        Raises:
            BadImage: The file is damaged, or the item has a problem of severity `error`.
        """
        ...


@runtime_checkable
class PaletteReader(Reader, Protocol):
    """A reader of pictures that may hold numbers of colours in a palette."""

    def numbers(self, item: Item) -> Volume:
        """Read the numbers as they are stored, (i, j[, k]), of an item that has a palette.

        Raises:
            BadImage: The file is damaged.
        """
        ...


class StructureReader(Reader, Protocol):
    """A reader of objects that hold named, perhaps overlapping structures of another image (DICOM SEG, RTSTRUCT)."""

    def structures(
        self, item: Item, like: Volume, say: Callable[[Problem], None] = lambda _: None
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Each structure by its name as a bool array in the grid of `like`, of shape `like.shape`.

        Args:
            say: Is told what a person should know of what was read, such as a structure of which nothing is left.

        Raises:
            BadImage: The object is damaged, or does not lie in this grid; the message says how far off it is.
        """
        ...


class Writer(Protocol):
    """Write images or masks in one format."""

    def write(self, volume: Volume, target: Path, *, labels: Labels | None = None, facts: Mapping[str, str]) -> None:
        """Write one file at `target`; its folder is there.

        The engine gives a name beside the file's own, with the same ending, and renames the file once it is complete.

        Args:
            volume: Voxels in the scan's own grid; `volume.item` is the scan they belong to.
            labels: The structures of a mask, None for an image.
            facts: What is known of the maker of a mask: `model`, `version`, `hash`, `software`.

        Raises:
            DataError: This volume cannot be written in this format; the message says why.
        """
        ...


class Layout(Protocol):
    """Turn a folder on disk into cases."""

    def read(self) -> Dataset:
        """Find the cases.

        Raises:
            DataError: The folder does not have this layout; the message names the place.
        """
        ...


@runtime_checkable
class ReadsImages(Protocol):
    """A layout or a writer that reads images itself, such as a tree of DICOM files or a report with measurements."""

    def use_readers(self, catalogue: Catalogue) -> None:
        """Read them with these readers, which have the options of the workflow; called before anything else."""
        ...


class Modality(Protocol):
    """How images of one kind are normalised, augmented and shown."""

    augmentation: Mapping[str, float]
    """Strengths for `voxgraft.train.augment`: rotation (degrees), scale, gamma, noise, brightness, contrast, blur."""

    def plan(self, intensities: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
        """From what was measured on the training cases, per channel, the numbers that normalisation needs."""
        ...

    def normalise(self, array: np.ndarray[Any, Any], params: Sequence[Mapping[str, float]]) -> np.ndarray[Any, Any]:
        """Normalise voxels of shape (channel, *spatial) to float32."""
        ...

    def window(self, array: np.ndarray[Any, Any]) -> tuple[float, float]:
        """The intensities shown as black and as white for a channel."""
        ...


class Encoder(Protocol):
    """Make the pretrained part of a network."""

    def make(self, dims: int, channels: int, strides: Sequence[Sequence[int]]) -> nn.Module:
        """A module that turns (batch, channel, *spatial) into a list of feature maps, fine to coarse.

        The module has `channels` (a tuple of int) and `strides` (a tuple of tuples: how much coarser than the image
        each map is along each axis), and `stages`: lists of parameter-name prefixes, shallow to deep. It may have
        `contract`, an `InputContract`. Where maps have weights of their own it has `keep(places)`, which is called
        with the places of the maps that the decoder reads; zeros may stand for the others.

        Args:
            strides: What the plan proposes for each level, cumulative; an encoder of fixed shape ignores it.
        """
        ...

    def weights(self, models: Resolver | None = None) -> Weights | None:
        """The pretrained tensors under the names of `make`'s module; None to train from scratch.

        It is asked only where the encoder's options have a `weights` and a workflow sets it to another word than
        `none`; so every network has a twin from scratch.

        Args:
            models: Where registered models are looked up; a workflow's own registry, in every process.

        Raises:
            ModelError: The weights that the options name are not here; the message says how to get them.
        """
        ...


class Decoder(Protocol):
    """Make the part of a network that turns features into maps at the image's resolution."""

    def make(self, dims: int, channels: Sequence[int], strides: Sequence[Sequence[int]]) -> nn.Module:
        """A module that turns the encoder's feature maps into a list of decoded maps, fine to coarse.

        The module has `channels`: the number of channels of each decoded map. Where it does not use the values of all
        of the encoder's maps it has `reads`: the places of those that it does use.
        """
        ...


class Strategy(Protocol):
    """Make one way of transferring."""

    def make(self) -> TransferStrategy: ...


class Loss(Protocol):
    """What training makes small."""

    def __call__(self, logits: Tensor, target: Tensor, counted: Tensor | None = None) -> Tensor:
        """One number from logits and labels.

        Args:
            logits: (batch, class, *spatial).
            target: int64 class indices (batch, *spatial), background 0. Or, of a network of regions that may overlap,
                0 and 1 as float32 (batch, class, *spatial): then each class is a sigmoid of its own, and none is
                background.
            counted: bool (batch, *spatial), the voxels that count; it is given only where some do not.
        """
        ...


class Metric(Protocol):
    """Compare a predicted mask with its reference, for one structure."""

    def __call__(self, pair: MaskPair) -> float:
        """The score; NaN where the metric is not defined (see `voxgraft.scoring.pair` for the rules)."""
        ...


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

    def file(self, path: Path, folder: str = "") -> None: ...

    def finish(self, status: str) -> None:
        """End the run: `FINISHED`, `FAILED` or `KILLED`."""
        ...


class Store(Protocol):
    """Turns references into model packages, and keeps versions of them."""

    def fetch(self, reference: str) -> Path:
        """The folder of the package that a reference names, complete and verified.

        Raises:
            ModelError: There is no such model, or its package is damaged.
        """
        ...


class Executor(Protocol):
    """Runs the scans of a batch."""

    def run(self, work: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterable[Any]:
        """Yield the outcome of each task in the order they end; one failing task does not stop the others."""
        ...
