"""Every built-in component passes the conformance checks of its kind, and faulty ones are caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom.data
import pytest
import SimpleITK as sitk

from declared import declared_entries
from dicom_series import make_series
from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import Options, Selected
from voxgraft.discovery import discover
from voxgraft.errors import BadImage, VoxGraftError
from voxgraft.imaging.read import read_item, scan
from voxgraft.imaging.volume import Item, Volume
from voxgraft.testing import NotApplicable, Outcome, Subject, conformance_checks, run_checks
from voxgraft.testing.geometry import image, right_handed
from voxgraft.testing.readers import misplaced

OPTIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("encoder", "timm"): {"model": "resnet18", "weights": "none"},
    ("encoder", "efficientnet-lite0"): {"weights": "none"},
    ("encoder", "deepbet"): {"weights": "none"},
    ("encoder", "resnet"): {"variant": 18, "slicewise": 0},
    ("encoder", "vgg"): {"variant": 11, "slicewise": 0},
    ("encoder", "inception"): {"slicewise": 0},
    ("encoder", "convnext"): {"variant": "atto"},
    ("encoder", "mobilenet"): {"variant": "v3_small"},
    ("encoder", "resnet3d"): {"variant": 10},
    ("encoder", "segresnet"): {"width": 8, "blocks": [1, 1, 1]},
    ("encoder", "swinunetr"): {"width": 12},
}
WITH_CHECKS = ("reader", "writer", "modality", "encoder", "decoder", "loss", "metric")


def components(*kinds: str) -> list[tuple[str, str]]:
    """Those of pyproject.toml, as the fixture `catalogue` has them, before there are fixtures."""
    found = discover(declared_entries())
    return [(kind, spec.name) for kind in kinds for _, spec in found.of(kind)]


def nifti(folder: Path, truth: Volume) -> Path:
    if truth.dims == 2:
        raise NotApplicable("a plane in space is one slice here")
    path = folder / "scan.nii.gz"
    nib.save(nib.Nifti1Image(truth.array, truth.affine), path)
    return path


def itk(folder: Path, truth: Volume, ending: str = ".nrrd") -> Path:
    if truth.dims == 2:
        raise NotApplicable("a plane in space is one slice here")
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ truth.affine
    picture = sitk.GetImageFromArray(np.ascontiguousarray(truth.array.T))
    picture.SetSpacing([float(v) for v in truth.spacing])
    picture.SetOrigin([float(v) for v in lps[:3, 3]])
    picture.SetDirection([float(v) for v in (lps[:3, :3] / np.asarray(truth.spacing)).ravel()])
    path = folder / f"scan{ending}"
    sitk.WriteImage(picture, str(path), useCompression=True)
    return path


def dicom(folder: Path, truth: Volume) -> Path:
    if truth.dims == 2 or np.linalg.det(truth.affine[:3, :3]) < 0:
        raise NotApplicable("the slices of a DICOM series lie along the normal of their plane")
    make_series(folder, truth.array, truth.affine)
    return folder


SAMPLES: dict[str, Callable[[Path, Volume], Path]] = {
    "nifti": nifti,
    "dicom": dicom,
    "nrrd": itk,
    "metaimage": lambda folder, truth: itk(folder, truth, ".mha"),
}


@pytest.mark.parametrize(("kind", "name"), components(*WITH_CHECKS), ids=lambda value: str(value))
def test_every_component_passes_the_checks_of_its_kind(
    catalogue: Catalogue, tmp_path: Path, kind: str, name: str
) -> None:
    subject = Subject.of(
        kind,
        name,
        options=OPTIONS.get((kind, name)),
        catalogue=catalogue,
        sample=SAMPLES.get(name) if kind == "reader" else None,
    )
    outcomes = run_checks(subject, tmp_path)
    assert len(outcomes) == len(conformance_checks(kind)) >= 5
    assert [one for one in outcomes if one.state == "failed"] == []
    if kind == "reader" and name in SAMPLES:
        assert [one for one in outcomes if one.state == "skipped"] == []


# Faulty components: each is caught by the check that stands beside it.


class Wrapped:
    """The NIfTI reader with a fault; it trusts every header, so that the fault is met."""

    def __init__(self, catalogue: Catalogue, fault: Callable[[Any, Item], Volume]) -> None:
        self._inner = Subject.of("reader", "nifti", catalogue=catalogue).build()
        self._fault = fault

    def scan(self, files: list[Path]) -> list[Item]:
        return [replace(item, problems=(), shape=item.shape or (11, 9, 7)) for item in self._inner.scan(files)]

    def read(self, item: Item) -> Volume:
        return self._fault(self._inner, item)


def _flipped(reader: Any, item: Item) -> Volume:
    volume: Volume = reader.read(item)
    return volume.with_array(volume.array[:, ::-1])


def _shifted(reader: Any, item: Item) -> Volume:
    volume: Volume = reader.read(item)
    moved = volume.affine.copy()
    moved[:3, 3] += volume.affine[:3, 2] / 2
    return replace(volume, affine=moved)


def _random(reader: Any, item: Item) -> Volume:
    volume: Volume = reader.read(item)
    return volume.with_array(volume.array + np.random.default_rng().integers(1, 9, volume.array.shape))


def _touching(reader: Any, item: Item) -> Volume:
    volume: Volume = reader.read(item)
    item.path.with_suffix(".cache").write_bytes(b"seen")
    return volume


def _forgiving(reader: Any, item: Item) -> Volume:
    try:
        volume: Volume = reader.read(item)
    except BadImage:
        return Volume(np.zeros(item.shape, np.int16), item.affine, item=item)
    return volume


def _crashing(reader: Any, item: Item) -> Volume:
    try:
        volume: Volume = reader.read(item)
    except BadImage as error:
        raise KeyError("pixels") from error
    return volume


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        (_flipped, "every voxel is at its place"),
        (_shifted, "the header describes what is read"),
        (_random, "gives the same result twice"),
        (_touching, "reading changes nothing"),
        (_forgiving, "a truncated file is refused"),
        (_crashing, "never a crash"),
    ],
)
def test_a_faulty_reader_is_caught(catalogue: Catalogue, tmp_path: Path, fault: Any, check: str) -> None:
    true = Subject.of("reader", "nifti", catalogue=catalogue)
    spec = replace(true.spec, build=lambda options: Wrapped(catalogue, fault))
    outcomes = run_checks(replace(true, chosen=Selected(spec, Options()), sample=nifti), tmp_path)
    assert [one.check for one in outcomes if one.state == "failed" and check in one.check]


def test_a_writer_that_mirrors_masks_is_caught(catalogue: Catalogue, tmp_path: Path) -> None:
    true = Subject.of("writer", "nifti", catalogue=catalogue)
    inner = true.build()

    class Mirroring:
        def write(self, volume: Volume, target: Path, **rest: Any) -> None:
            inner.write(volume.with_array(volume.array[::-1]), target, **rest)

    doctored = Catalogue()
    for kind in ("reader", "writer"):
        for plugin, one in catalogue.of(kind):
            doctored.origins[plugin] = catalogue.origins[plugin]
            doctored.add(plugin, one if one is not true.spec else replace(true.spec, build=lambda options: Mirroring()))
    subject = Subject.of("writer", "nifti", catalogue=doctored)
    with pytest.raises(AssertionError, match="another value"):
        next(check for check in conformance_checks("writer") if "read back" in check.text).run(subject, tmp_path)


def test_a_failed_check_does_not_keep_the_others_from_being_run(catalogue: Catalogue, tmp_path: Path) -> None:
    true = Subject.of("loss", "dice", catalogue=catalogue)
    spec = replace(true.spec, summary="", build=lambda options: None)
    outcomes: list[Outcome] = run_checks(replace(true, chosen=Selected(spec, true.chosen.options)), tmp_path)
    assert len(outcomes) == len(conformance_checks("loss"))
    assert sum(one.state == "failed" for one in outcomes) >= 3
    assert sum(one.state == "passed" for one in outcomes) >= 1


# Series of known geometry: the 24 orientations, and what must not be read.


@pytest.mark.parametrize(
    ("name", "directions"), right_handed(), ids=lambda value: value if isinstance(value, str) else ""
)
@pytest.mark.parametrize("order", ["forward", "backward"])
def test_a_series_is_read_exactly_in_each_of_24_orientations(
    catalogue: Catalogue, tmp_path: Path, name: str, directions: np.ndarray[Any, Any], order: str
) -> None:
    truth = image(directions)
    names = "{:04d}.dcm" if order == "forward" else "{:03d}.dcm"

    def backward(k: int, dataset: Any) -> None:
        dataset.InstanceNumber = 100 - k

    make_series(tmp_path, truth.array, truth.affine, name=names, edit=backward if order == "backward" else None)
    (item,) = scan(tmp_path, catalogue)
    assert misplaced(read_item(item, catalogue), truth) is None


@pytest.mark.parametrize("number", range(0, 24, 5))
def test_a_tilted_series_is_read_exactly_with_a_warning_however_it_lies(
    catalogue: Catalogue, tmp_path: Path, number: int
) -> None:
    upright = image(right_handed()[number][1])
    leaning = upright.affine.copy()
    leaning[:3, 2] += 0.3 * leaning[:3, 1]
    truth = replace(upright, affine=leaning)
    make_series(tmp_path, truth.array, truth.affine)
    (item,) = scan(tmp_path, catalogue)
    assert [(problem.code, problem.severity) for problem in item.problems] == [("gantry-tilt", "warning")]
    assert misplaced(read_item(item, catalogue), truth) is None


BAD: dict[str, Callable[[Path, Volume], None]] = {
    "gantry-tilt": lambda folder, truth: _bent(folder, truth),
    "missing-slice": lambda folder, truth: _without(folder, truth, 3),
    "duplicate-slice": lambda folder, truth: _twice(folder, truth),
}


def _write(folder: Path, truth: Volume, edit: Callable[[int, Any], None] | None = None) -> list[Path]:
    return make_series(folder, truth.array, truth.affine, edit=edit)


def _bent(folder: Path, truth: Volume) -> None:
    """Slices that are shifted within their plane by more and more, as those of no tilted gantry are."""
    along = np.array([-1.0, -1.0, 1.0]) * truth.affine[:3, 1] / np.linalg.norm(truth.affine[:3, 1])

    def shift(k: int, dataset: Any) -> None:
        position = np.array(dataset.ImagePositionPatient, float) + 0.2 * k * k * along
        dataset.ImagePositionPatient = [float(round(one, 6)) for one in position]

    _write(folder, truth, shift)


def _without(folder: Path, truth: Volume, index: int) -> None:
    _write(folder, truth)[index].unlink()


def _twice(folder: Path, truth: Volume) -> None:
    _write(folder, truth)

    def at_the_third(k: int, dataset: Any) -> None:
        if k == 2:
            dataset.PixelData = bytes(len(dataset.PixelData))
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"

    third = truth.with_array(truth.array[:, :, :3])
    for k, path in enumerate(make_series(folder, third.array, third.affine, name="x{:03d}.dcm", edit=at_the_third)):
        if k != 2:
            path.unlink()


@pytest.mark.parametrize("code", BAD)
@pytest.mark.parametrize("number", range(0, 24, 5))
def test_a_bad_series_is_named_and_refused_however_it_lies(
    catalogue: Catalogue, tmp_path: Path, code: str, number: int
) -> None:
    BAD[code](tmp_path, image(right_handed()[number][1]))
    items = scan(tmp_path, catalogue)
    codes = {problem.code for item in items for problem in item.errors}
    assert code in codes
    for item in items:
        with pytest.raises(BadImage):
            read_item(item, catalogue)


# Files of other makers: read right, or refused in a sentence.


def test_every_test_file_of_pydicom_is_read_or_refused_in_a_sentence(catalogue: Catalogue) -> None:
    folder = Path(pydicom.data.__file__).parent / "test_files"
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    assert len(files) > 100
    read, refused = 0, 0
    for file in files:
        try:
            items = scan(file, catalogue)
        except VoxGraftError as error:
            assert str(error).isprintable()
            refused += 1
            continue
        for item in items:
            if item.kind != "image":
                continue
            try:
                volume = read_item(item, catalogue)
            except VoxGraftError as error:
                assert str(error).isprintable()
                refused += 1
            else:
                assert volume.shape == item.shape
                read += 1
    assert read > 20
    assert refused > 20
