"""`inspect` and `convert` as a script sees them: one JSON document, exit codes, and voxels that stay in their place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner, Result

from dicom_series import make_series
from voxgraft.cli import main
from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import DataError
from voxgraft.imaging.regrid import resample_onto
from voxgraft.imaging.volume import Volume

ARRAY = np.random.default_rng(0).integers(-900, 1100, (7, 6, 5)).astype(np.int16)
AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])
TURNED = np.array([[0.0, -0.36, 1.6, 4.0], [0.8, 0.0, 0.0, -2.0], [0.0, 0.48, 1.2, 7.0], [0.0, 0.0, 0.0, 1.0]])


@pytest.fixture(autouse=True)
def own_catalogue(monkeypatch: pytest.MonkeyPatch, catalogue: Catalogue) -> None:
    """The built-in plugins, whatever else is installed."""
    monkeypatch.setattr("voxgraft.discovery.discover", lambda: catalogue)


def call(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(one) for one in arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def nifti(path: Path, array: Any = ARRAY, affine: Any = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def test_inspect_prints_one_json_document_and_nothing_else(tmp_path: Path) -> None:
    make_series(tmp_path / "ct", ARRAY, AFFINE, SeriesInstanceUID="1.2.3", SeriesDescription="thin")
    nifti(tmp_path / "image.nii.gz", np.stack([ARRAY, ARRAY], axis=-1))
    (tmp_path / "bad.nii.gz").write_bytes(b"not gzip")
    items = json.loads(call("inspect", tmp_path, "--json").stdout)["items"]
    keys = {"path", "reader", "modality", "shape", "spacing", "affine", "series", "description", "problems"}
    assert all(keys <= item.keys() for item in items)
    bad, ct, image = items
    assert ct["path"] == str(tmp_path / "ct") and ct["modality"] == "CT" and ct["series"] == "1.2.3"
    assert (ct["shape"], ct["spacing"], ct["description"]) == ([7, 6, 5], [1, 1, 2], "thin")
    np.testing.assert_allclose(ct["affine"], AFFINE)
    assert (image["shape"], image["channels"], image["modality"]) == ([7, 6, 5], 2, None)
    assert bad["affine"] is None and [one["code"] for one in bad["problems"]] == ["unreadable"]


def test_inspect_says_in_words_what_is_wrong(tmp_path: Path) -> None:
    files = make_series(tmp_path / "ct", ARRAY, AFFINE, SeriesDescription="thin")
    files[2].unlink()
    output = call("inspect", tmp_path).output
    assert "7x6x4 voxels" in output and "(thin)" in output and "[missing-slice]" in output and "P1" not in output
    assert "1 of them unreadable" in output


def test_inspect_of_nothing_is_an_error_of_one_line(tmp_path: Path) -> None:
    result = call("inspect", tmp_path / "nothing", "--json", code=2)
    assert result.stdout == "" and len(result.stderr.strip().splitlines()) == 1 and "nothing" in result.stderr


@pytest.mark.parametrize("name", ["out.nii.gz", "deep/folder/out.nii"])
def test_convert_keeps_every_voxel_in_its_place(tmp_path: Path, name: str) -> None:
    make_series(tmp_path / "ct", ARRAY, TURNED)
    call("convert", tmp_path / "ct", tmp_path / name)
    image = nib.load(tmp_path / name)
    back = np.linalg.inv(TURNED) @ image.affine
    for index in [(0, 0, 0), (6, 0, 0), (0, 5, 0), (0, 0, 4), (3, 2, 1)]:
        was = np.rint((back @ [*index, 1])[:3]).astype(int)
        assert image.dataobj[index] == ARRAY[tuple(was)]
    assert image.get_data_dtype() == np.int16


def test_convert_takes_the_series_that_is_named(tmp_path: Path) -> None:
    make_series(tmp_path / "a", ARRAY, AFFINE, SeriesInstanceUID="1.2.3")
    make_series(tmp_path / "b", ARRAY + 1, AFFINE, SeriesInstanceUID="1.2.4")
    result = call("convert", tmp_path, tmp_path / "out.nii.gz", code=1)
    assert "1.2.3" in result.stderr and "1.2.4" in result.stderr and not (tmp_path / "out.nii.gz").exists()
    call("convert", tmp_path, tmp_path / "out.nii.gz", "--series", "1.2.4")
    assert np.asarray(nib.load(tmp_path / "out.nii.gz").dataobj).max() == ARRAY.max() + 1


def test_convert_to_an_unknown_format_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "scan.nii.gz").touch()
    result = call("convert", tmp_path / "scan.nii.gz", tmp_path / "out.xyz", code=2)
    assert "out.xyz" in result.stderr and ".nii.gz" in result.stderr


@pytest.mark.parametrize("length", [0, 100, 300, -9])
def test_convert_of_a_truncated_file_leaves_nothing(tmp_path: Path, length: int) -> None:
    source = nifti(tmp_path / "cut.nii.gz")
    source.write_bytes(source.read_bytes()[:length])
    result = call("convert", source, tmp_path / "out" / "o.nii.gz", code=1)
    assert "cut.nii.gz" in result.stderr and list((tmp_path).iterdir()) == [source]


def test_convert_onto_itself_is_safe(tmp_path: Path) -> None:
    source = nifti(tmp_path / "a.nii.gz")
    call("convert", source, source)
    np.testing.assert_array_equal(np.asarray(nib.load(source).dataobj), ARRAY)


def test_convert_onto_a_reference_gives_its_grid(tmp_path: Path) -> None:
    source = nifti(tmp_path / "s.nii.gz", (ARRAY > 0).astype(np.uint8) * 3)
    grid = AFFINE @ np.array([[0, 0.7, 0, 0], [0.9, 0, 0, 0.3], [0, 0, 0.6, 0.1], [0, 0, 0, 1]])
    reference = nifti(tmp_path / "r.nii.gz", np.zeros((4, 9, 8), np.float32), grid)
    result = call("convert", source, tmp_path / "o.nii.gz", "--reference", reference, "--resample")
    image = nib.load(tmp_path / "o.nii.gz")
    assert image.shape == (4, 9, 8) and set(np.unique(image.dataobj)) == {0, 3} and "resampled" in result.stderr
    np.testing.assert_allclose(image.affine, grid, atol=1e-6)
    for more in ((), ("--interpolation", "nearest"), ("--labels", "a=3")):
        result = call("convert", source, tmp_path / "p.nii.gz", "--reference", reference, *more, code=1)
        assert "--resample" in result.stderr and not (tmp_path / "p.nii.gz").exists()
    call("convert", source, tmp_path / "q.nii.gz", "--reference", reference, "--interpolation", "linear")
    assert len(np.unique(nib.load(tmp_path / "q.nii.gz").dataobj)) > 2
    linear = ("--labels", "a=3", "--interpolation", "linear")
    assert (
        "--labels"
        not in call("convert", source, tmp_path / "r.nii.gz", "--reference", reference, *linear, code=2).output
    )


@pytest.mark.parametrize(
    "affine", [AFFINE, TURNED, TURNED @ np.array([[1, 0.2, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])]
)
def test_resampling_a_ramp_gives_the_ramp_wherever_the_grid_lies(affine: np.ndarray[Any, Any]) -> None:
    """Linear interpolation is exact for a function that is linear in space; sheared grids are no exception."""
    shape = (12, 13, 14)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), [1], indexing="ij"), -1)[:, :, :, 0]
    ramp = ((grid @ affine.T)[..., :3] @ [0.3, -0.7, 1.1]).astype(np.float32)
    inner = np.eye(4) * [0.5, 0.5, 0.5, 1]
    inner[:3, 3] = [3, 3.25, 4]
    target = Volume(np.zeros((9, 8, 7), np.uint8), affine @ inner)
    places = np.stack(np.meshgrid(*map(np.arange, target.shape), [1], indexing="ij"), -1)[:, :, :, 0]
    truth = (places @ target.affine.T)[..., :3] @ [0.3, -0.7, 1.1]
    done = resample_onto(Volume(ramp, affine), target, "linear")
    np.testing.assert_allclose(done.array, truth, atol=1e-3)
    np.testing.assert_array_equal(done.affine, target.affine)


def test_resampling_onto_its_own_grid_changes_nothing() -> None:
    for volume in (Volume(ARRAY, TURNED), Volume(np.stack([ARRAY, -ARRAY]), TURNED), Volume(ARRAY[:, :, 0], AFFINE)):
        for how in ("linear", "nearest"):
            done = resample_onto(volume, volume, how)  # type: ignore[arg-type]
            np.testing.assert_array_equal(done.array, volume.array)
            assert (done.array.dtype, done.dims) == (np.int16, volume.dims)


def test_what_is_not_covered_is_zero_or_the_lowest_value() -> None:
    far = AFFINE.copy()
    far[:3, 3] = 500
    for array, outside in [(ARRAY, ARRAY.min()), (np.abs(ARRAY) + 5, 0)]:
        assert (resample_onto(Volume(array, AFFINE), Volume(ARRAY, far), "linear").array == outside).all()


def test_an_image_of_two_axes_is_not_brought_onto_three() -> None:
    with pytest.raises(DataError, match="2 axes"):
        resample_onto(Volume(ARRAY[:, :, 0], AFFINE), Volume(ARRAY, AFFINE), "linear")


def test_the_converted_study_lies_where_simpleitk_puts_it(tmp_path: Path, data: Path) -> None:
    folder = data / "dicom_study" / "13_HCropVolume"
    call("convert", data / "dicom_study", tmp_path / "o.nii.gz", "--series", "HippoCrop")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    truth, ours = reader.Execute(), sitk.ReadImage(str(tmp_path / "o.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(ours), sitk.GetArrayFromImage(truth))
    for index in [(0, 0, 0), (34, 50, 31), (7, 9, 11)]:
        np.testing.assert_allclose(
            ours.TransformIndexToPhysicalPoint(index), truth.TransformIndexToPhysicalPoint(index), atol=1e-3
        )


MASK = np.zeros(ARRAY.shape, np.uint8)
MASK[1:5, 1:4, 1:4], MASK[3:6, 2:5, 2:5] = 1, 2
NAMES = "liver=1,left kidney=2"


def dicom_mask(folder: Path, target: str, affine: Any = TURNED, *options: str) -> tuple[Path, Path]:
    """A series, and a mask of it as the DICOM object that the target's name says."""
    make_series(folder / "ct", ARRAY, affine, SeriesInstanceUID="1.2.3")
    mask = nifti(folder / "mask.nii.gz", MASK, affine)
    call("convert", mask, folder / target, "--reference", folder / "ct", "--labels", NAMES, *options)
    return folder / "ct", folder / target


@pytest.mark.parametrize("target", ["mask.dcm", "mask.rtstruct.dcm"])
@pytest.mark.parametrize("affine", [AFFINE, TURNED])
def test_a_mask_goes_to_dicom_and_back_without_loss(tmp_path: Path, target: str, affine: Any) -> None:
    series, written = dicom_mask(tmp_path, target, affine)
    result = call("convert", written, tmp_path / "back.seg.nrrd", "--reference", series)
    assert "liver=1" in result.stderr and "left kidney=2" in result.stderr
    (item,) = json.loads(call("inspect", tmp_path / "back.seg.nrrd", "--json").stdout)["items"]
    assert item["names"] == ["liver", "left kidney"]
    call("convert", tmp_path / "back.seg.nrrd", tmp_path / "back.nii.gz", "--reference", tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(nib.load(tmp_path / "back.nii.gz").dataobj, MASK)
    np.testing.assert_allclose(nib.load(tmp_path / "back.nii.gz").affine, affine, atol=1e-5)


def test_a_segmentation_by_itself_has_its_own_grid_and_contours_have_none(tmp_path: Path) -> None:
    _, seg = dicom_mask(tmp_path, "mask.dcm")
    call("convert", seg, tmp_path / "own.nii.gz")
    cropped = ("convert", tmp_path / "own.nii.gz", tmp_path / "back.nii.gz", "--reference", tmp_path / "mask.nii.gz")
    assert "--resample" in call(*cropped, code=1).stderr
    assert "resampled" in call(*cropped, "--resample").stderr
    np.testing.assert_array_equal(nib.load(tmp_path / "back.nii.gz").dataobj, MASK)
    (tmp_path / "rt").mkdir()
    series, contours = dicom_mask(tmp_path / "rt", "mask.rtstruct.dcm")
    result = call("convert", contours, tmp_path / "no.nii.gz", code=1)
    assert "--reference" in result.stderr and not (tmp_path / "no.nii.gz").exists()
    contours.rename(series / "structures.dcm")  # beside its scan it finds it; the image alone is not meant
    (item,) = [one for one in json.loads(call("inspect", series, "--json").stdout)["items"] if one["kind"] != "image"]
    call("convert", series, tmp_path / "rt.nii.gz", "--series", item["series"])
    assert set(np.unique(nib.load(tmp_path / "rt.nii.gz").dataobj)) == {0, 1, 2}
    assert item["names"] == ["liver", "left kidney"] and item["references"] == ["1.2.3"]


def test_values_by_name_and_structures_that_are_left_out(tmp_path: Path) -> None:
    series, seg = dicom_mask(tmp_path, "mask.dcm", AFFINE)
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({"Left Kidney": 7}))
    call("convert", seg, tmp_path / "o.nii.gz", "--reference", series, "--labels", labels)
    back = call("convert", tmp_path / "o.nii.gz", tmp_path / "b.nii.gz", "--reference", tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(nib.load(tmp_path / "b.nii.gz").dataobj, np.where(MASK == 2, 7, 0))
    assert "taken for a mask" in back.stderr or back.stderr == ""


def test_a_dicom_target_needs_its_scan_and_names(tmp_path: Path) -> None:
    mask = nifti(tmp_path / "mask.nii.gz", MASK)
    make_series(tmp_path / "ct", ARRAY, AFFINE)
    assert "--reference" in call("convert", mask, tmp_path / "o.dcm", code=2).stderr
    assert "--labels" in call("convert", mask, tmp_path / "o.dcm", "--reference", tmp_path / "ct", code=2).stderr
    wrong = ("--reference", tmp_path / "ct", "--labels", "liver=1")
    assert "2" in call("convert", mask, tmp_path / "o.dcm", *wrong, code=1).stderr
    assert "two" in call("convert", mask, tmp_path / "o.dcm", "--labels", "a=1,b=1", code=1).stderr
    far = AFFINE.copy()
    far[:3, 3] = 900
    moved = nifti(tmp_path / "far.nii.gz", MASK, far)
    given = ("--reference", tmp_path / "ct", "--labels", NAMES, "--resample")
    assert "no part of this mask" in call("convert", moved, tmp_path / "o.dcm", *given, code=1).stderr
    assert not (tmp_path / "o.dcm").exists()


TARGETS = ("o.dcm", "o.rtstruct.dcm", "o.sr.dcm", "o.nii.gz", "o.nrrd")


@pytest.mark.parametrize("target", TARGETS)
def test_a_mask_of_another_grid_is_resampled_only_when_asked(tmp_path: Path, target: str) -> None:
    """As where the mask of one patient is given for the study of another."""
    make_series(tmp_path / "ct", ARRAY, AFFINE)
    other = AFFINE.copy()
    other[:3, 3] = 4, -3, 2  # whole voxels: it could be taken over without interpolation
    for name, affine, array in (("moved", other, MASK), ("larger", AFFINE, np.pad(MASK, 2))):
        mask = nifti(tmp_path / f"{name}.nii.gz", array, affine)
        call_ = ("convert", mask, tmp_path / target, "--reference", tmp_path / "ct", "--labels", NAMES)
        result = call(*call_, code=1)
        assert "--resample" in result.stderr and "the mask's grid" in result.stderr and not (tmp_path / target).exists()
        assert "resampled" in call(*call_, "--resample").stderr and (tmp_path / target).exists()
        (tmp_path / target).unlink()


@pytest.mark.parametrize("target", TARGETS)
def test_a_mask_of_the_same_voxels_in_another_order_is_no_other_grid(tmp_path: Path, target: str) -> None:
    make_series(tmp_path / "ct", ARRAY, AFFINE)
    turned = AFFINE @ np.array([[0, -1, 0, 6], [1, 0, 0, 0], [0, 0, -1, 4], [0, 0, 0, 1.0]])
    mask = nifti(tmp_path / "m.nii.gz", MASK.transpose(1, 0, 2)[:, ::-1, ::-1], turned)
    result = call("convert", mask, tmp_path / target, "--reference", tmp_path / "ct", "--labels", NAMES)
    assert "resampled" not in result.stderr
    if target != "o.sr.dcm":
        call("convert", tmp_path / target, tmp_path / "back.nii.gz", "--reference", tmp_path / "ct", "--labels", NAMES)
        np.testing.assert_array_equal(nib.load(tmp_path / "back.nii.gz").dataobj, MASK)


@pytest.mark.parametrize("more", [(), ("--resample",)])
@pytest.mark.parametrize("change", ["patient", "frame"])
def test_dicom_of_another_patient_or_frame_is_no_reference(tmp_path: Path, change: str, more: tuple[str, ...]) -> None:
    _, seg = dicom_mask(tmp_path, "mask.dcm", AFFINE)
    make_series(tmp_path / "label", MASK.astype(np.int16), AFFINE, SeriesInstanceUID="1.2.4", Modality="MR")
    changes = {"patient": {"PatientID": "P2"}, "frame": {"FrameOfReferenceUID": "1.2.9"}}[change]
    make_series(tmp_path / "other", ARRAY, AFFINE, SeriesInstanceUID="1.2.5", **changes)
    words = {"patient": "different patients", "frame": "frame"}[change]
    for source, target in ((seg, "o.nii.gz"), (tmp_path / "label", "o.nii.gz"), (tmp_path / "label", "o.dcm")):
        named = ("--labels", NAMES, "--reference", tmp_path / "other")
        result = call("convert", source, tmp_path / target, *named, *more, code=1)
        assert words in result.stderr and not (tmp_path / target).exists()


def test_other_masks_of_one_scan_do_not_replace_each_other(tmp_path: Path) -> None:
    import pydicom

    series, one = dicom_mask(tmp_path, "one.dcm", AFFINE)
    other = nifti(tmp_path / "other.nii.gz", MASK // 2)
    for name in ("two.dcm", "three.dcm"):
        call("convert", other, tmp_path / name, "--reference", series, "--labels", "left kidney=1")
    uids = [pydicom.dcmread(tmp_path / name).SOPInstanceUID for name in ("one.dcm", "two.dcm", "three.dcm")]
    assert uids[0] != uids[1] == uids[2] and one.exists()


def test_a_picture_goes_through_every_format_and_back(tmp_path: Path) -> None:
    from PIL import Image

    picture = np.random.default_rng(1).integers(0, 256, (9, 12, 3)).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    path = tmp_path / "a.png"
    for name in ("b.nii.gz", "c.nrrd", "d.tif", "e.mha", "f.png"):
        call("convert", path, tmp_path / name)
        path = tmp_path / name
        (item,) = json.loads(call("inspect", path, "--json").stdout)["items"]
        assert (item["shape"], item["channels"], item["spacing"]) == ([12, 9], 3, [1, 1])
    np.testing.assert_array_equal(np.asarray(Image.open(path)), picture)
    assert "3 axes" in call("convert", nifti(tmp_path / "v.nii.gz"), tmp_path / "v.png", code=1).stderr


def test_a_volume_goes_through_every_format_and_back(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii.gz", ARRAY, TURNED)
    for name in ("c.nrrd", "d.tif", "e.mha", "f.nii"):
        call("convert", path, tmp_path / name)
        path = tmp_path / name
    np.testing.assert_array_equal(nib.load(path).dataobj, ARRAY)
    np.testing.assert_allclose(nib.load(path).affine, TURNED, atol=1e-6)


def test_names_of_any_bytes_are_shown_as_valid_text(tmp_path: Path) -> None:
    path = tmp_path / "M\udcfcller.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.int16), np.eye(4)), tmp_path / "a.nii.gz")
    (tmp_path / "a.nii.gz").rename(path)
    done = CliRunner().invoke(main, ["inspect", str(path), "--json"])
    assert json.loads(done.stdout_bytes)["items"][0]["path"].endswith(r"M\xfcller.nii.gz")
    assert r"M\xfcller.nii.gz" in CliRunner().invoke(main, ["inspect", str(path)]).stdout_bytes.decode()
