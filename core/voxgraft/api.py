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
    """What the installed plugins offer, found once.

    Examples:
        >>> vg.catalogue().get("metric", "hd95").unit
        'mm'
    """
    return discover()


def read(path: str | Path) -> Volume:
    """Read one image: a file, or the folder of one series.

    Raises:
        BadImage: It cannot be read, or its geometry must not be trusted.

    Examples:
        >>> scan = vg.read("data/imagesTr/box_000.nii.gz")
        >>> scan.shape, scan.spacing
        ((20, 18, 16), (1.0, 1.0, 1.5))
    """
    from .imaging.read import read as read_path

    return read_path(Path(path), catalogue())


def run(workflow: str | Path, *, out: str | Path | None = None, **overrides: Any) -> Run:
    """Do the steps of a workflow file.

    Args:
        out: The run's folder, by default `runs/<name of the workflow>`.
        overrides: Dotted keys with two underscores for each dot, such as `training__budget="5 min"`.

    Examples:
        >>> run = vg.run("workflow.yaml", training__budget="2 steps")
        >>> run.folder.as_posix(), run.package.name
        ('runs/boxes', 'package')
    """
    from .runs.engine import run_workflow
    from .workflow.workflow import read as read_workflow

    texts = [f"{key.replace('__', '.')}={value}" for key, value in overrides.items()]
    checked = read_workflow(Path(workflow), catalogue(), texts)
    return run_workflow(checked, catalogue(), Path(out) if out else Path("runs") / checked.name)


def segment(model: str | Path, inputs: str | Path | Iterable[str | Path], out: str | Path, **options: Any) -> Batch:
    """Segment scans with a trained model, as `voxgraft segment` does.

    Args:
        model: A package, or a reference to a registered one such as `models:/spleen@champion`.
        inputs: Files and folders of scans, or one of them.
        out: The batch's folder: a folder with the mask of each scan, the ledger and the report.
        options: See `voxgraft.batch.segment.segment`, such as `writers` and `device`.

    Raises:
        UsageError: An input or a writer is not there, or the inputs hold no scan.
        ModelError: There is no such model, or it cannot be used here.

    Examples:
        >>> run = vg.run("workflow.yaml", training__budget="2 steps")
        >>> batch = vg.segment(run.package, "data/imagesTr", "masks")
        >>> batch.done, batch.failed
        (3, 0)
    """
    from .batch.segment import segment as segment_scans

    many = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    return segment_scans(str(model), [Path(path) for path in many], Path(out), catalogue(), **options)


def evaluate(predictions: str | Path, references: str | Path, metrics: Sequence[str] = ("dice", "iou")) -> Scores:
    """Compare masks with references: two files, or two folders.

    Args:
        predictions: A mask, or a folder of masks.
        references: The mask to compare with, or a folder of masks with the same names.
        metrics: Names, with options behind colons, such as `nsd:tolerance=2`.

    Raises:
        UsageError: There is no such metric, or its options do not fit.
        DataError: A path is not there, or nothing matches.

    Examples:
        >>> scores = vg.evaluate("data/labelsTr", "data/labelsTr", metrics=["dice", "hd95"])
        >>> scores.summary["dice"]["1"]["mean"], scores.summary["hd95"]["1"]["mean"]
        (1.0, 0.0)
    """
    from .scoring.paths import evaluate_paths

    return evaluate_paths(Path(predictions), Path(references), list(metrics), catalogue())
