"""What `import voxgraft as vg` offers: the commands as functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from .components.catalogue import Catalogue
from .discovery import discover
from .errors import UsageError

if TYPE_CHECKING:
    from .batch.segment import Batch
    from .checks.dataset import Findings
    from .imaging.inspection import Inspection
    from .imaging.structures import Labels
    from .imaging.volume import Array, Volume
    from .packages.models import Models
    from .packages.package import Package
    from .runs.run import Run
    from .scoring.compare_runs import RunComparison
    from .scoring.scores import Scores

Names = Mapping[str, int] | str | Path
"""Structures: names and values, `liver=1,spleen=2`, or a JSON file."""


@lru_cache(maxsize=1)
def catalogue() -> Catalogue:
    """The components of all installed plugins; they are looked up once.

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


def write(volume: Volume, target: str | Path, labels: Names | None = None) -> Path:
    """Write an image or a mask in the format of the file's name, completely or not at all; returns the path.

    Args:
        volume: An image, or a mask.
        target: Such as `mask.nii.gz`.
        labels: The structures of a mask; formats that store names need them.

    Raises:
        UsageError: No writer answers to the target's suffix.
        DataError: The volume cannot be written in this format, or the disk refuses it.

    Examples:
        >>> scan = vg.read("data/imagesTr/box_000.nii.gz")
        >>> bright = vg.write(scan.with_array(np.uint8(scan.array > 200)), "bright.nii.gz")
        >>> vg.read(bright).shape
        (20, 18, 16)
    """
    from .imaging.write import write as write_volume

    write_volume(volume, Path(target), catalogue(), _labels(labels))
    return Path(target)


def inspect(path: str | Path) -> Inspection:
    """Describe a file, a folder or a tree: series, geometry, modality, problems. Only headers are read.

    Raises:
        DataError: There is no such path.

    Examples:
        >>> for item in vg.inspect("data/imagesTr"):
        ...     print(item.path.name, item.reader, item.shape)
        box_000.nii.gz nifti (20, 18, 16)
        box_001.nii.gz nifti (20, 18, 16)
        box_002.nii.gz nifti (20, 18, 16)
    """
    from .imaging.inspection import inspect_path

    return inspect_path(Path(path), catalogue())


def convert(
    source: str | Path,
    target: str | Path,
    *,
    reference: str | Path | None = None,
    labels: Names | None = None,
    **options: Any,
) -> Volume:
    """Convert an image or a mask from any readable format to any writable one; returns what was written.

    Args:
        source: A file, or the folder of one series.
        target: The file or folder to write; its name says the format.
        reference: An image whose grid the result gets, and to which DICOM objects refer.
        labels: The structures of a mask.
        options: `series`, `resample`, `interpolation`, `overlap` and `writer`, see `voxgraft convert --help`.

    Raises:
        UsageError: No writer answers to the target, or the call lacks what the writer needs.
        DataError: The source is not one image, is damaged, or cannot be written in this format.

    Examples:
        >>> vg.convert("data/labelsTr/box_000.nii.gz", "box.nrrd", labels={"box": 1}).shape
        (20, 18, 16)
    """
    import warnings

    from .labels.convert import Wish
    from .labels.convert import convert as convert_path

    known = ("series", "resample", "interpolation", "overlap", "writer")
    if unknown := [name for name in options if name not in known]:
        raise UsageError(f"convert has no option {unknown[0]!r}; it has {', '.join(known)}")
    grid = Path(reference) if reference is not None else None
    done = convert_path(
        Path(source), Path(target), Wish(reference=grid, labels=_labels(labels), **options), catalogue()
    )
    for note in done.notes:
        warnings.warn(note, UserWarning, stacklevel=2)
    return done.volume


def new(folder: str | Path | None = None, *, out: str | Path | None = None, source: str | None = None) -> Path:
    """Write a workflow file for the scans in a folder, with a comment on each choice; returns its path.

    Args:
        folder: Scans in the layout of any installed plugin, a DICOM tree, or nothing but images.
        out: The file to write; by default it is named after the folder.
        source: A workflow that comes with VoxGraft, such as `hippocampus_mr`, whose data set becomes the folder.

    Raises:
        UsageError: There is no such folder or workflow, or the file is there already.
        DataError: The folder holds nothing that can be read.

    Examples:
        >>> vg.new("data", out="begun.yaml").name
        'begun.yaml'
    """
    from .scaffold.begin import begin

    folder, out = (Path(path) if path is not None else None for path in (folder, out))
    return begin(folder, out, source, catalogue())[0]


def check(target: str | Path, **overrides: Any) -> Findings:
    """Say what is wrong with a workflow and its data, or with a folder of images, before you spend hours training.

    Args:
        target: A workflow file or a folder.
        overrides: Values of the workflow, as for `vg.run`.

    Raises:
        DataError: The data set's layout cannot be read.
        UsageError: There is neither a folder nor a workflow file, or the workflow does not fit.

    Examples:
        >>> findings = vg.check("data")
        >>> findings.ok, findings.cases
        (True, 3)
    """
    from .runs.checking import check_target
    from .support.progress import Progress

    return check_target(Path(target), _texts(overrides), catalogue(), Progress(quiet=True))


def run(workflow: str | Path, *, out: str | Path | None = None, **overrides: Any) -> Run:
    """Run the steps of a workflow file.

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

    checked = read_workflow(Path(workflow), catalogue(), _texts(overrides))
    return run_workflow(checked, catalogue(), Path(out) if out else Path("runs") / checked.name)


def advise(
    workflow: str | Path,
    *,
    minutes: float = 10.0,
    models: Sequence[str] = (),
    out: str | Path | None = None,
    **overrides: Any,
) -> dict[str, Any]:
    """Find out which pretrained encoder and transfer strategy suit the data, with the evidence.

    Args:
        workflow: The file whose data and network are looked at.
        minutes: Time limit in minutes.
        models: References of registered models whose encoders are tried too.
        out: Folder for the report and the proposed workflow; by default `runs/<name of the workflow>-advice`.
        overrides: Values of the workflow, as for `vg.run`.

    Returns:
        What `advice.json` holds: `verdict`, `advice`, `basis`, `probes`, `tournament` and more.

    Raises:
        UsageError: The workflow does not fit, or `minutes` is not a time.
        DataError: The data set cannot be planned for.

    Examples:
        >>> advice = vg.advise("workflow.yaml", minutes=0.02)
        >>> advice["verdict"], Path("runs/boxes-advice/advice.html").exists()
        ('no evidence', True)
    """
    import time

    since = time.monotonic()  # loading counts too
    from .support.progress import Progress
    from .workflow.workflow import read as read_workflow

    if not 0 < minutes <= 10_000:
        raise UsageError(f"minutes={minutes}: give a number of minutes above 0 and at most 10000")
    checked = read_workflow(Path(workflow), catalogue(), _texts(overrides))
    from .advice.advise import advise as find_out

    folder = Path(out) if out else Path("runs") / f"{checked.name}-advice"
    return find_out(checked, catalogue(), folder, minutes, models, Progress().say, since)


@overload
def segment(
    model: str | Path | Package, inputs: str | Path | Iterable[str | Path], out: str | Path, **options: Any
) -> Batch: ...
@overload
def segment(model: str | Path | Package, inputs: Volume | Array, **options: Any) -> Volume: ...
@overload
def segment(model: str | Path | Package, inputs: Sequence[Volume | Array], **options: Any) -> list[Volume]: ...
def segment(model: Any, inputs: Any, out: str | Path | None = None, **options: Any) -> Batch | Volume | list[Volume]:
    """Segment scans with a trained model: files and folders as `voxgraft segment` does, or volumes in memory.

    Args:
        model: A package, or a reference to a registered one such as `models:/spleen@champion`.
        inputs: One or several files and folders of scans, which need `out`; or one or several volumes or arrays, whose
            masks are returned.
        out: The batch's folder, for masks, ledger and report.
        options: See `voxgraft.batch.segment.segment`, such as `writers` and `device`; of volumes and arrays
            `voxgraft.batch.volumes.segment_volumes`, such as `spacing` and `device`.

    Raises:
        UsageError: An input or a writer is not there, the inputs hold no scan, or `out` is missing.
        ModelError: There is no such model, or it cannot be used here.
        DataError: A scan in memory does not fit the model; for files, the batch records it.

    Examples:
        >>> run = vg.run("workflow.yaml", training__budget="2 steps")
        >>> batch = vg.segment(run.package, "data/imagesTr", "masks")
        >>> batch.done, batch.failed
        (3, 0)
        >>> mask = vg.segment(run.package, vg.read("data/imagesTr/box_000.nii.gz"))
        >>> mask.shape, mask.spacing
        ((20, 18, 16), (1.0, 1.0, 1.5))
    """
    model = str(model) if isinstance(model, Path) else model
    one = isinstance(inputs, (str, Path)) or hasattr(inputs, "shape")
    many = [inputs] if one else list(inputs)
    paths = [path for path in many if isinstance(path, (str, Path))]
    if out is None and not paths:
        from .batch.volumes import segment_volumes

        _refuse_unknown(segment_volumes, options)
        masks = segment_volumes(model, many, catalogue(), **options)
        return masks[0] if one else masks
    if out is None:
        raise UsageError("segment needs out=, the folder for the masks of files; vg.read() a scan to get its mask back")
    if len(paths) != len(many):
        raise UsageError("a batch takes files and folders; drop out= to get the masks of volumes in memory")
    from .batch.segment import segment as segment_scans

    _refuse_unknown(segment_scans, options)
    return segment_scans(model, paths, out, catalogue(), **options)


def evaluate(
    predictions: Any,
    references: Any,
    metrics: Sequence[str] = ("dice", "iou"),
    *,
    labels: Names | None = None,
    spacing: Sequence[float] | None = None,
) -> Scores:
    """Compare masks with references: two files, two folders, or volumes and arrays in memory.

    Args:
        predictions: A mask or a folder of masks; or a Volume, an array, a list of them, or a dict by case.
        references: The reference masks, with the same names, in the same order or with the same cases.
        metrics: Names, with options after colons, such as `nsd:tolerance=2`.
        labels: The structures to score; by default every value in a mask.
        spacing: Millimetres between voxels where predictions and references are arrays.

    Raises:
        UsageError: There is no such metric, or its options do not fit.
        DataError: A path is not there, nothing matches, or the only pair cannot be scored.

    Examples:
        >>> scores = vg.evaluate("data/labelsTr", "data/labelsTr", metrics=["dice", "hd95"])
        >>> scores.summary["dice"]["1"]["mean"], scores.summary["hd95"]["1"]["mean"]
        (1.0, 0.0)
        >>> mask = vg.read("data/labelsTr/box_000.nii.gz")
        >>> shifted = mask.with_array(np.roll(mask.array, 1, axis=0))
        >>> scores = vg.evaluate(shifted, mask, ["dice"], labels={"box": 1})
        >>> round(scores.summary["dice"]["box"]["mean"], 3)
        0.833
    """
    if isinstance(metrics, str):
        raise UsageError(f"metrics={metrics!r}: give a list of names, such as ['dice', 'hd95']")
    if isinstance(predictions, (str, Path)) and isinstance(references, (str, Path)):
        from .scoring.paths import evaluate_paths

        return evaluate_paths(Path(predictions), Path(references), list(metrics), catalogue(), _labels(labels))
    from .scoring.volumes import evaluate_volumes

    return evaluate_volumes(predictions, references, list(metrics), catalogue(), _labels(labels), spacing)


def compare(
    runs: Iterable[str | Path],
    metric: str | Sequence[str] = "dice",
    structure: str | Sequence[str] = "mean",
    **options: Any,
) -> RunComparison:
    """Compare runs with the first of them, case by case, with confidence intervals.

    Args:
        runs: Folders of runs, or files of scores that `voxgraft evaluate --out` wrote.
        metric: One or several metrics.
        structure: One or several structures; `mean` is the mean over structures.
        options: `every_pair`, `test` (`randomisation`, `wilcoxon`) and `correction` (`holm`, `bh`).

    Raises:
        UsageError: There are fewer than two different runs.
        DataError: A run has no scores of this metric or structure, or no case in common with the other.

    Examples:
        >>> import json
        >>> scores = vg.evaluate("data/labelsTr", "data/labelsTr", ["dice"])
        >>> for name in ("a.json", "b.json"):
        ...     _ = Path(name).write_text(json.dumps(scores.document()))
        >>> found = vg.compare(["a.json", "b.json"], metric="dice")
        >>> found.comparisons[0].difference, found.comparisons[0].n
        (0.0, 3)
    """
    from .scoring.compare_runs import compare_runs

    names, parts = ([text] if isinstance(text, str) else list(text) for text in (metric, structure))
    many = [runs] if isinstance(runs, (str, Path)) else list(runs)
    _refuse_unknown(compare_runs, options)
    return compare_runs([Path(path) for path in many], catalogue(), names, parts, **options)


def models(uri: str | None = None) -> Models:
    """The registered models: `list()`, `show()`, `package()`, `register()`, `promote()`, `rollback()`, `delete()`,
    `export()` and `import_()`.

    Args:
        uri: `sqlite:///FILE.db` or `http://HOST:PORT`; by default `MLFLOW_TRACKING_URI`, else ./voxgraft.db.

    Examples:
        >>> run = vg.run("workflow.yaml", training__budget="2 steps")
        >>> models = vg.models("sqlite:///models.db")
        >>> version = models.register(run.package, "boxes")
        >>> models.promote("boxes", version.version).aliases
        ('champion',)
        >>> list(models.list())
        ['boxes']
    """
    from .packages.models import Models

    return Models(catalogue(), uri)


def _texts(overrides: Mapping[str, Any]) -> list[str]:
    """Overrides as the command line takes them: texts and paths as they are, None, lists and the like as YAML."""
    from json import dumps

    written = {
        key: dumps(value) if value is None or isinstance(value, (bool, list, tuple, dict)) else value
        for key, value in overrides.items()
    }
    return [f"{key.replace('__', '.')}={value}" for key, value in written.items()]


def _labels(names: Names | None) -> Labels | None:
    if names is None:
        return None
    if isinstance(names, Mapping):
        from .imaging.structures import Labels

        return Labels.of(dict(names))
    from .scoring.naming import read_labels

    return read_labels(str(names))


def _refuse_unknown(function: Callable[..., object], options: Mapping[str, Any]) -> None:
    """Refuse an option that a function does not have, and name those that it has."""
    from inspect import Parameter, signature

    known = [name for name, one in signature(function).parameters.items() if one.kind is Parameter.KEYWORD_ONLY]
    if unknown := [name for name in options if name not in known]:
        raise UsageError(f"there is no option {unknown[0]!r} here; known are {', '.join(known)}")
