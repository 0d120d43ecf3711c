"""NIfTI headers of every kind: read as nibabel reads them; what is doubtful is said, what is spoilt is refused."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import BadImage
from voxgraft.imaging.read import read_item
from voxgraft.imaging.volume import Item, Volume
from voxgraft_plugins.nifti.reader import NiftiReader
from voxgraft_plugins.nifti.writer import NiftiWriter, NiftiWriterOptions, in_file_order

ROTATION = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3], OBLIQUE[:3, 3] = ROTATION * [0.7, 0.9, 2.5], [-91.0, 120.5, -7.25]
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def voxels(shape: tuple[int, ...], dtype: Any = np.int16) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 120, shape).astype(dtype)


def scan(path: Path) -> Item:
    (item,) = NiftiReader().scan([path])
    return item


def read(path: Path) -> Volume:
    return NiftiReader().read(scan(path))


def codes(path: Path) -> list[str]:
    return [one.code for one in scan(path).problems]


def in_nibabels_order(volume: Volume) -> np.ndarray[Any, Any]:
    """The voxels with the channels last."""
    return volume.array if volume.array.ndim == volume.dims else np.moveaxis(volume.array, 0, -1)


def image(array: np.ndarray[Any, Any], version: int = 1, order: str = "<") -> Any:
    kind, header = (nib.Nifti1Image, nib.Nifti1Header) if version == 1 else (nib.Nifti2Image, nib.Nifti2Header)
    return kind(array, None, header(endianness=order))


numbers = st.floats(-300, 300).map(lambda value: round(value, 3))
lengths = st.floats(0.2, 9).map(lambda value: round(value, 3))


@SLOW
@given(
    version=st.sampled_from([1, 2]),
    order=st.sampled_from("<>"),
    dtype=st.sampled_from(["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]),
    shape=st.lists(st.integers(1, 5), min_size=2, max_size=4).map(tuple),
    spacing=st.tuples(lengths, lengths, lengths),
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    origin=st.tuples(numbers, numbers, numbers),
    flip=st.booleans(),
    which=st.sampled_from([(0, 0), (1, 0), (0, 1), (2, 2), (4, 1)]),
    scaling=st.sampled_from([None, (1.0, 0.0), (0.5, -10.0), (float("nan"), 0.0), (0.0, 3.0)]),
    suffix=st.sampled_from([".nii", ".nii.gz", ".hdr"]),
)
def test_what_nibabel_reads_is_read_alike(
    tmp_path: Path,
    version: int,
    order: str,
    dtype: str,
    shape: tuple[int, ...],
    spacing: tuple[float, ...],
    angles: tuple[float, ...],
    origin: tuple[float, ...],
    flip: bool,
    which: tuple[int, int],
    scaling: tuple[float, float] | None,
    suffix: str,
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = nib.eulerangles.euler2mat(*np.radians(angles)) * (np.array(spacing) * [1, 1, -1 if flip else 1])
    affine[:3, 3] = origin
    made = image(voxels(shape, order + dtype), version, order)
    made.set_sform(affine, which[0])
    made.set_qform(affine, which[1])
    path = tmp_path / f"a{suffix}"
    if suffix == ".hdr":
        kind = nib.Nifti1Pair if version == 1 else nib.Nifti2Pair
        made = kind(voxels(shape, order + dtype), None, made.header)
    nib.save(made, path)
    if scaling is not None:
        content = bytearray(gzip.decompress(path.read_bytes()) if suffix == ".nii.gz" else path.read_bytes())
        struct.pack_into(order + ("2f" if version == 1 else "2d"), content, 112 if version == 1 else 176, *scaling)
        path.write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    truth, volume = nib.load(path), read(path)
    expected = np.asanyarray(truth.dataobj)
    if len(shape) == 4:
        expected = expected if shape[3] > 1 else expected[..., 0]
    assert volume.shape == shape[:3] and volume.array.dtype.isnative
    np.testing.assert_allclose(in_nibabels_order(volume), expected, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(volume.affine, truth.affine, rtol=1e-5, atol=1e-4)


HEADER = io.BytesIO()
_BASE = nib.Nifti1Image(voxels((5, 6, 7)), OBLIQUE)
_BASE.set_sform(OBLIQUE, 1)
_BASE.set_qform(OBLIQUE, 1)
_BASE.file_map["image"].fileobj = HEADER
_BASE.to_file_map()
BASE = HEADER.getvalue()


@settings(SLOW, max_examples=300)
@given(
    changes=st.lists(st.tuples(st.integers(0, 347), st.binary(min_size=1, max_size=4)), min_size=1, max_size=3),
    packed=st.booleans(),
    tail=st.sampled_from([0, 100, 5000]),
)
def test_spoilt_headers_never_crash_and_never_lie_unnoticed(
    tmp_path: Path, changes: list[tuple[int, bytes]], packed: bool, tail: int
) -> None:
    """A volume that is not the one that was written is one that nibabel sees too, or it comes with a warning."""
    content = bytearray(BASE + bytes(tail))
    for at, new in changes:
        content[at : min(348, at + len(new))] = new[: 348 - at]
    path = tmp_path / ("a.nii.gz" if packed else "a.nii")
    path.write_bytes(gzip.compress(content) if packed else content)
    item = scan(path)
    assert all(one.message.isprintable() for one in item.problems) and np.isfinite(item.affine).all()
    if item.errors:
        return
    try:
        volume = NiftiReader().read(item)
    except BadImage:
        return
    assert (volume.shape, volume.channels) == (item.shape, item.channels)
    if item.problems:
        return
    try:
        truth = nib.load(path)
        expected, affine = np.asanyarray(truth.dataobj), truth.affine
    except (nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError, ValueError, OverflowError, OSError):
        return
    ours = in_nibabels_order(volume)
    if expected.dtype.fields:
        return
    np.testing.assert_allclose(ours.ravel(order="F"), expected.ravel(order="F").astype(ours.dtype), rtol=1e-5)
    np.testing.assert_allclose(volume.affine, affine, rtol=1e-4, atol=1e-3)


def spoilt(path: Path, *changes: tuple[int, bytes]) -> Path:
    content = bytearray(BASE)
    for at, new in changes:
        content[at : at + len(new)] = new
    path.write_bytes(content)
    return path


def test_where_voxels_begin_is_said_or_told(tmp_path: Path) -> None:
    path = spoilt(tmp_path / "a.nii", (108, struct.pack("<f", 0.0)))
    assert codes(path) == ["no-offset"]
    np.testing.assert_array_equal(read(path).array, voxels((5, 6, 7)))
    assert "magic" in scan(spoilt(tmp_path / "a.nii", (347, b"\xff"))).errors[0].message


def test_slanted_axes_are_read_with_a_warning(tmp_path: Path) -> None:
    slanted = OBLIQUE @ np.array([[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    made = nib.Nifti1Image(voxels((5, 6, 7)), slanted)
    made.set_qform(None, 0)
    nib.save(made, tmp_path / "a.nii")
    assert codes(tmp_path / "a.nii") == ["sheared"]
    np.testing.assert_allclose(read(tmp_path / "a.nii").affine, slanted, atol=1e-5)
    back = tmp_path / "b.nii.gz"
    NiftiWriter(NiftiWriterOptions()).write(read(tmp_path / "a.nii"), back, labels=None, facts={})
    np.testing.assert_allclose(nib.load(back).affine, slanted, atol=1e-5)


def test_a_qform_that_exchanges_left_and_right_is_told(tmp_path: Path) -> None:
    made = nib.Nifti1Image(voxels((5, 6, 7)), None)
    made.set_sform(OBLIQUE, 1)
    made.set_qform(OBLIQUE @ np.diag([-1, 1, 1, 1]), 1)
    nib.save(made, tmp_path / "a.nii")
    assert "left and right" in scan(tmp_path / "a.nii").problems[0].message


@pytest.mark.parametrize(("code", "factor"), [(1, 1000.0), (3, 0.001), (5, 1.0), (0, 1.0), (2, 1.0)])
def test_units_of_length(tmp_path: Path, code: int, factor: float) -> None:
    path = spoilt(tmp_path / "a.nii", (123, bytes([code])))
    np.testing.assert_allclose(scan(path).spacing, np.array([0.7, 0.9, 2.5]) * factor, rtol=1e-5)
    assert ("units" in codes(path)) == (code not in (0, 2))
    assert ("odd-spacing" in codes(path)) == (code == 1)


@pytest.mark.parametrize(
    ("datatype", "words"),
    [(1, "single bits"), (32, "complex"), (1792, "complex"), (2048, "complex"), (1536, "128-bit"), (999, "999")],
)
def test_datatypes_that_are_not_read_are_named(tmp_path: Path, datatype: int, words: str) -> None:
    path = spoilt(tmp_path / "a.nii", (70, struct.pack("<h", datatype)))
    assert words in scan(path).errors[0].message


def test_a_zero_size_of_voxels_is_refused_and_a_negative_one_means_nothing(tmp_path: Path) -> None:
    no_codes = (252, bytes(4))
    path = spoilt(tmp_path / "a.nii", no_codes, (80, struct.pack("<3f", 0.7, 0.0, 2.5)))
    assert "singular" in scan(path).errors[0].message
    path = spoilt(tmp_path / "a.nii", no_codes, (80, struct.pack("<3f", 0.7, -0.9, 2.5)))
    np.testing.assert_allclose(scan(path).affine, nib.load(path).affine)


def test_voxels_that_are_no_numbers_are_told_when_they_are_read(tmp_path: Path, catalogue: Catalogue) -> None:
    array = voxels((5, 6, 7), np.float32)
    array[1, 2, 3], array[2, 2, 2] = np.nan, np.inf
    nib.save(nib.Nifti1Image(array, OBLIQUE), tmp_path / "a.nii")
    item = read_item(scan(tmp_path / "a.nii"), catalogue).item
    assert (
        item is not None and item.problems[-1].code == "not-finite" and "2 of its voxels" in item.problems[-1].message
    )
    nib.save(nib.Nifti1Image(np.full((5, 6, 7), 3e38, np.float32), OBLIQUE), tmp_path / "b.nii")
    whole = read_item(scan(tmp_path / "b.nii"), catalogue).item
    assert whole is not None and "not-finite" not in [one.code for one in whole.problems]


@pytest.mark.parametrize("ending", ["img", "img.gz"])
def test_a_pair_is_one_image_whichever_file_is_named(tmp_path: Path, ending: str) -> None:
    nib.save(nib.Nifti1Pair(voxels((5, 6, 7)), OBLIQUE), tmp_path / "a.hdr")
    if ending == "img.gz":
        for name in ("a.img", "a.hdr"):
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
            (tmp_path / name).unlink()
    header, data = tmp_path / f"a.hdr{ending[3:]}", tmp_path / f"a.{ending}"
    items = NiftiReader().scan([header, data])
    assert [item.path for item in items] == [header] and items[0].files == (header, data)
    for path in (header, data):
        np.testing.assert_array_equal(read(path).array, voxels((5, 6, 7)))
    header.unlink()
    assert "a.hdr" in scan(data).errors[0].message


def test_analyze_is_read_as_nibabel_reads_it_with_a_warning(tmp_path: Path) -> None:
    for kind, origin in ((nib.AnalyzeImage, None), (nib.Spm99AnalyzeImage, (2, 3, 4))):
        made = kind(voxels((5, 6, 7)), None)
        made.header.set_zooms((0.7, 0.9, 2.5))
        if origin:
            made.header["origin"][:3] = origin
            made.header.set_slope_inter(2.0)
        made.file_map["header"].filename, made.file_map["image"].filename = (
            str(tmp_path / "a.hdr"),
            str(tmp_path / "a.img"),
        )
        made.to_file_map()
        truth = kind.from_filename(tmp_path / "a.hdr")
        volume = read(tmp_path / "a.hdr")
        assert codes(tmp_path / "a.hdr") == ["no-orientation"]
        np.testing.assert_allclose(volume.array, np.asanyarray(truth.dataobj))
        np.testing.assert_allclose(volume.affine, truth.affine, atol=1e-5)
    content = bytearray((tmp_path / "a.hdr").read_bytes())
    content[252] = 3
    (tmp_path / "a.hdr").write_bytes(content)
    assert "orientation code 3" in scan(tmp_path / "a.hdr").errors[0].message
    (tmp_path / "a.nii").write_bytes(content)
    assert "magic" in scan(tmp_path / "a.nii").errors[0].message


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colour_images_of_two_axes_stay_such(tmp_path: Path, channels: int) -> None:
    array, path = voxels((channels, 5, 6), np.uint8), tmp_path / "a.nii.gz"
    NiftiWriter(NiftiWriterOptions()).write(Volume(array, OBLIQUE, dims=2), path, labels=None, facts={})
    volume = read(path)
    assert (volume.dims, volume.shape, volume.channels) == (2, (5, 6), channels)
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-5)
    assert nib.load(path).header.get_intent()[0] == "vector"
    theirs = sitk.ReadImage(str(path))
    assert theirs.GetNumberOfComponentsPerPixel() == channels
    sitk.WriteImage(sitk.GetImageFromArray(array.transpose(2, 1, 0), isVector=True), str(tmp_path / "b.nii"))
    assert read(tmp_path / "b.nii").shape == (5, 6)


@pytest.mark.parametrize("tail", [bytes(50), b"garbage" * 900, b"\x1f\x8b no gzip"])
def test_bytes_behind_a_gzip_member(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(BASE) + tail)
    item = scan(path)
    assert item.errors == ()
    if tail.startswith(b"\x1f\x8b"):
        with pytest.raises(BadImage, match="damaged"):
            NiftiReader().read(item)
    else:
        np.testing.assert_array_equal(NiftiReader().read(item).array, voxels((5, 6, 7)))


@pytest.mark.parametrize("packed", [True, False])
def test_many_bytes_behind_the_voxels_are_told(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "a.nii"
    content = BASE + bytes(9000)
    path.write_bytes(gzip.compress(content) if packed else content)
    assert codes(path) == ["surplus"]
    np.testing.assert_array_equal(read(path).array, voxels((5, 6, 7)))


def test_names_do_not_say_whether_a_file_is_gzipped(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(BASE)
    (tmp_path / "b.nii").write_bytes(gzip.compress(BASE))
    for name in ("a.nii.gz", "b.nii"):
        np.testing.assert_array_equal(read(tmp_path / name).array, voxels((5, 6, 7)))


def test_extensions_before_the_voxels_are_passed_over(tmp_path: Path) -> None:
    made = nib.Nifti1Image(voxels((5, 6, 7)), OBLIQUE)
    made.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 5000))
    nib.save(made, tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read(tmp_path / "a.nii.gz").array, voxels((5, 6, 7)))
    assert codes(tmp_path / "a.nii.gz") in ([], ["no-orientation"], ["sform-qform"])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.int32, np.float64])
def test_every_order_in_memory_is_written_in_the_files_order(dtype: Any) -> None:
    array = voxels((130, 120, 140), dtype)
    turned: list[np.ndarray[Any, Any]] = [array, np.asfortranarray(array), array[::-1], array[:, ::2]]
    turned += [array.transpose(1, 0, 2), array.transpose(2, 1, 0), array[..., 0]]
    for one in turned:
        assert b"".join(in_file_order(one, one.ndim)) == one.tobytes(order="F")
    both = np.stack([array[:9], array[9:18]])
    assert b"".join(in_file_order(both, 3)) == array[:9].tobytes(order="F") + array[9:18].tobytes(order="F")


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_large_masks_are_one_gzip_member_that_others_read(tmp_path: Path, level: int) -> None:
    mask = np.repeat(np.repeat(voxels((40, 50, 60), np.uint8), 6, axis=0), 5, axis=1)
    path = tmp_path / "a.nii.gz"
    NiftiWriter(NiftiWriterOptions(level=level)).write(Volume(mask, OBLIQUE), path, labels=None, facts={})
    np.testing.assert_array_equal(np.asanyarray(nib.load(path).dataobj), mask)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T, mask)
    np.testing.assert_array_equal(read(path).array, mask)
    assert int.from_bytes(path.read_bytes()[-4:], "little") == mask.size + 352
