"""The demo's data: labelled heads as a Decathlon data set, new patients as DICOM series, and the truth about them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..imaging.structures import Labels
from ..imaging.write import write
from ..support.files import atomic_write, write_json
from ..support.progress import Progress
from .dicom import Series, write_series
from .phantoms import LABELS, Grid, Head, Template, draw_head, read_template, scan

if TYPE_CHECKING:
    from numpy.random import Generator

    from ..components.catalogue import Catalogue
    from ..imaging.volume import Volume

VERSION = 1
SEED = 7
LABELLED = 10
MADE = "made.json"
FIELD_OF_VIEW = (186.0, 216.0, 186.0)
"""Millimetres to the right, forwards and upwards that every scan of a whole head covers."""

_STORED = ("RAS", "LAS", "LPS")
_NEW = (
    ("axial T1", "LPS", (0.0, 0.0, 0.0)),
    ("sagittal T1", "PIR", (3.0, -2.0, 4.0)),
    ("oblique T1", "LPS", (18.0, 0.0, 8.0)),
    ("coronal T1", "LIP", (0.0, 0.0, 0.0)),
)
_LOCALIZER = Grid("LPS", (62, 72, 6), (3.0, 3.0, 30.0))
_AXIS = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}


@dataclass(frozen=True, slots=True)
class NewScan:
    """A series that the trained model has not seen.

    Attributes:
        folder: Where its slices are, below the data's folder.
        truth: Its true mask, below the data's folder; None for a series that the model is not for.
    """

    patient: str
    series: str
    description: str
    folder: str
    truth: str | None


@dataclass(frozen=True, slots=True)
class DemoData:
    """What was made, and where it is.

    Attributes:
        folder: Holds `labelled` (a Decathlon data set), `dicom` (a tree of series) and `truth` (the new scans' masks).
        cases: The ids of the labelled cases.
    """

    folder: Path
    cases: tuple[str, ...]
    scans: tuple[NewScan, ...]

    @property
    def labelled(self) -> Path:
        return self.folder / "labelled"

    @property
    def dicom(self) -> Path:
        return self.folder / "dicom"


def make_data(folder: Path, catalogue: Catalogue, progress: Progress, *, labelled: int = LABELLED) -> DemoData:
    """Make the data in `folder`, or find there what an earlier call made: the same numbers give the same data.

    Args:
        folder: Where it lies afterwards.
        catalogue: Whose writers are used.
        progress: Shows how far it is.
        labelled: Heads with a mask.

    Raises:
        DataError: The template is missing, or the folder cannot be written.
    """
    recipe = {"version": VERSION, "seed": SEED, "labelled": labelled}
    existing = _found(folder, recipe)
    if existing is not None:
        return existing
    template = read_template()
    with atomic_write(folder) as temporary:
        temporary.mkdir(parents=True)
        heads = progress.track(range(1, labelled + 1), "labelled heads")
        cases = [_labelled(temporary / "labelled", template, number, catalogue) for number in heads]
        _decathlon(temporary / "labelled", cases)
        scans: list[NewScan] = []
        for number in progress.track(range(len(_NEW)), "new patients"):
            scans += _new_patient(temporary, template, number, labelled + 1 + number, catalogue)
        files = sorted(path.relative_to(temporary).as_posix() for path in temporary.rglob("*") if path.is_file())
        rows = [asdict(scan) for scan in scans]
        write_json(temporary / MADE, {"recipe": recipe, "cases": cases, "scans": rows, "files": files})
    return DemoData(folder, tuple(cases), tuple(scans))


def covering(axes: str, spacing: float, tilt: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Grid:
    """The grid of cubic voxels in these axes that covers the field of view.

    Args:
        axes: The direction in which each index grows, such as `RAS`.
        spacing: Millimetres along every index.
        tilt: Degrees around the patient's x, y and z axis.
    """
    i, j, k = (round(FIELD_OF_VIEW[_AXIS[letter]] / spacing) for letter in axes)
    return Grid(axes, (i, j, k), (spacing, spacing, spacing), tilt)


def _found(folder: Path, recipe: dict[str, int]) -> DemoData | None:
    try:
        document = json.loads((folder / MADE).read_text(encoding="utf-8"))
        same = document["recipe"] == recipe and all((folder / file).is_file() for file in document["files"])
        scans = tuple(NewScan(**scan) for scan in document["scans"])
        return DemoData(folder, tuple(document["cases"]), scans) if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _labelled(folder: Path, template: Template, number: int, catalogue: Catalogue) -> str:
    head, rng = _person(number)
    grid = covering(_STORED[number % len(_STORED)], round(float(rng.uniform(2.9, 3.1)), 3))
    case = f"demo_{number:03}"
    image, mask = scan(template, head, grid, rng)
    write(image, folder / "imagesTr" / f"{case}.nii.gz", catalogue)
    _write_mask(mask, folder / "labelsTr" / f"{case}.nii.gz", catalogue)
    return case


def _new_patient(folder: Path, template: Template, kind: int, number: int, catalogue: Catalogue) -> Iterator[NewScan]:
    """One study of one series; the last patient has a localizer besides, which is not a scan of a whole head."""
    head, rng = _person(number)
    name, axes, tilt = _NEW[kind]
    patient = f"DEMO-{number:03}"
    study = f"{SEED}/{patient}"
    truth = f"truth/{patient}.nii.gz"
    image, mask = scan(template, head, covering(axes, 3.0, tilt), rng)
    yield _store(folder, image, Series(patient, study, 2, name), truth)
    _write_mask(mask, folder / truth, catalogue)
    if kind == len(_NEW) - 1:
        image, _ = scan(template, head, _LOCALIZER, rng)
        yield _store(folder, image, Series(patient, study, 1, "localizer", ("OTHER", "LOCALIZER")), None)


def _store(folder: Path, image: Volume, series: Series, truth: str | None) -> NewScan:
    path = f"dicom/{series.patient}/{series.number:02}_{series.description.replace(' ', '_')}"
    write_series(image, folder / path, series)
    return NewScan(series.patient, series.uid, series.description, path, truth)


def _person(number: int) -> tuple[Head, Generator]:
    """A head, and the random numbers of its scans: the same for the same number."""
    rng = np.random.default_rng([SEED, number])
    return draw_head(rng), rng


def _write_mask(mask: Volume, target: Path, catalogue: Catalogue) -> None:
    write(mask, target, catalogue, labels=Labels.of(LABELS))


def _decathlon(folder: Path, cases: list[str]) -> None:
    pairs = [{"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"} for case in cases]
    document = {
        "name": "VoxGraft demo",
        "description": "Variations of one brain, the MNI152 template: they test machinery, not medicine",
        "tensorImageSize": "3D",
        "modality": {"0": "MRI"},
        "labels": {"0": "background"} | {str(value): name for name, value in LABELS.items()},
        "numTraining": len(cases),
        "numTest": 0,
        "training": pairs,
        "test": [],
    }
    write_json(folder / "dataset.json", document)
