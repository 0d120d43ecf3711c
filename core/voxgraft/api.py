"""What `import voxgraft as vg` offers: the commands as functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .components.catalogue import Catalogue
from .discovery import discover

if TYPE_CHECKING:
    from .batch.segment import Batch
    from .imaging.volume import Volume
    from .runs.run import Run
    from .scoring.scores import Scores


@lru_cache(maxsize=1)
def catalogue() -> Catalogue:
    """What the installed plugins offer, found once."""
    return discover()


def read(path: str | Path) -> Volume:
    """Read one image: a file, or the folder of one series.

    Raises:
        BadImage: It cannot be read, or its geometry must not be trusted.
    """
    from .imaging.read import read as read_path

    return read_path(Path(path), catalogue())


def run(workflow: str | Path, *, out: str | Path | None = None, **overrides: Any) -> Run:
    """Do the steps of a workflow file.

    Args:
        out: The run's folder, by default `runs/<name of the workflow>`.
        overrides: Dotted keys with two underscores for each dot, such as `training__budget="5 min"`.
    """
    from .runs.engine import run_workflow
    from .workflow.workflow import read as read_workflow

    texts = [f"{key.replace('__', '.')}={value}" for key, value in overrides.items()]
    checked = read_workflow(Path(workflow), catalogue(), texts)
    return run_workflow(checked, catalogue(), Path(out) if out else Path("runs") / checked.name)


def segment(model: str | Path, inputs: str | Path | Iterable[str | Path], out: str | Path, **options: Any) -> Batch:
    """Segment scans with a trained model, as `voxgraft segment` does."""
    from .batch.segment import segment as segment_scans

    many = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    return segment_scans(str(model), [Path(path) for path in many], Path(out), catalogue(), **options)


def evaluate(predictions: str | Path, references: str | Path, metrics: Sequence[str] = ("dice", "iou")) -> Scores:
    """Compare masks with references: two files, or two folders."""
    from .scoring.paths import evaluate_paths

    return evaluate_paths(Path(predictions), Path(references), list(metrics), catalogue())
