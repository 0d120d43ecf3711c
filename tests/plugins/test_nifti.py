"""NIfTI: the same voxels in the same place as nibabel and SimpleITK say, and a plain sentence for every bad file."""

from __future__ import annotations

import gzip
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from voxgraft.errors import BadImage, DataError
from voxgraft.imaging.structures import Labels
from voxgraft.imaging.volume import Item, Volume
from voxgraft.support.files import atomic_write
from voxgraft_plugins.nifti.reader import NiftiReader
from voxgraft_plugins.nifti.writer import NiftiWriter, NiftiWriterOptions

ROTATION = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3], OBLIQUE[:3, 3] = ROTATION * [0.7, 0.9, 2.5], [-91.0, 120.5, -7.25]
MIRRORED = OBLIQUE @ np.diag([1.0, 1.0, -1.0, 1.0])


def voxels(shape: tuple[int, ...], dtype: Any = np.int16, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 120, shape).astype(dtype)


def scan(path: Path) -> Item:
    (item,) = NiftiReader().scan([path])
    return item


def read(path: Path) -> Volume:
    return NiftiReader().read(scan(path))


def write(volume: Volume, path: Path, labels: Labels | None = None) -> Path:
    with atomic_write(path) as beside:  # as the engine has it written
        NiftiWriter(NiftiWriterOptions()).write(volume, beside, labels=labels, facts={})
    return path


def saved(path: Path, array: np.ndarray[Any, Any], affine: Any = OBLIQUE, codes: tuple[int, int] = (1, 1)) -> Path:
    """A file that nibabel writes, with the codes of (sform, qform)."""
    image = nib.Nifti1Image(array, None)
    image.set_sform(affine, codes[0])
    image.set_qform(affine, codes[1])
    nib.save(image, path)
    return path


def spoilt(path: Path, *changes: tuple[int, bytes]) -> Path:
    """The file with other bytes at some offsets."""
    data = bytearray(path.read_bytes())
    for offset, new in changes:
        data[offset : offset + len(new)] = new
    path.write_bytes(data)
    return path


def test_real_files_are_read_as_nibabel_reads_them(data: Path) -> None:
    folders = ("ct", "brats/brats_2013_pat0005_1", "hippocampus/imagesTr", "hippocampus/labelsTr", "la2018/images")
    files = [file for folder in folders for file in sorted((data / folder).glob("[!.]*.nii.gz"))[:3]]
    assert len(files) >= 12
    for file in files:
        truth, volume = nib.load(file), read(file)
        np.testing.assert_allclose(volume.array, np.asanyarray(truth.dataobj), atol=1e-6, err_msg=file.name)
        np.testing.assert_allclose(volume.affine, truth.affine, rtol=1e-6, err_msg=file.name)


@pytest.mark.parametrize("affine", [OBLIQUE, MIRRORED, np.diag([-1.0, 1.5, 3.0, 1.0])])
@pytest.mark.parametrize(("codes", "source"), [((2, 0), "sform"), ((0, 1), "qform"), ((1, 1), "sform")])
def test_affine_is_nibabels_whichever_code_is_set(
    tmp_path: Path, affine: Any, codes: tuple[int, int], source: str
) -> None:
    path = saved(tmp_path / "a.nii", voxels((5, 6, 7)), affine, codes)
    item = scan(path)
    np.testing.assert_allclose(item.affine, nib.load(path).affine, atol=1e-5)
    np.testing.assert_allclose(item.affine, affine, atol=1e-4)
    assert item.facts["affine"] == source and item.problems == ()


@pytest.mark.parametrize("shape", [(5, 6, 7), (5, 6)])
def test_without_a_code_the_affine_is_nibabels_fallback_with_a_warning(tmp_path: Path, shape: tuple[int, ...]) -> None:
    image = nib.Nifti1Image(voxels(shape), None)
    image.header.set_zooms((0.5, 0.75, 2.0)[: len(shape)])
    nib.save(image, tmp_path / "a.nii")
    item = scan(tmp_path / "a.nii")
    np.testing.assert_allclose(item.affine, nib.load(tmp_path / "a.nii").affine)
    assert [(one.code, one.severity) for one in item.problems] == [("no-orientation", "warning")]
    assert read(tmp_path / "a.nii").shape == shape


def test_a_qform_that_contradicts_the_sform_is_a_warning_and_the_sform_is_used(tmp_path: Path) -> None:
    image = nib.Nifti1Image(voxels((5, 6, 7)), None)
    image.set_sform(OBLIQUE, 1)
    image.set_qform(np.diag([2.0, 2.0, 2.0, 1.0]), 1)
    nib.save(image, tmp_path / "a.nii")
    item = scan(tmp_path / "a.nii")
    assert [one.code for one in item.problems] == ["sform-qform"] and item.errors == ()
    np.testing.assert_allclose(item.affine, OBLIQUE, atol=1e-4)


def test_lengths_in_micrometres_become_millimetres(tmp_path: Path) -> None:
    path = spoilt(saved(tmp_path / "a.nii", voxels((5, 6, 7)), np.diag([500.0, 500, 2000, 1])), (123, b"\x03"))
    assert scan(path).spacing == pytest.approx((0.5, 0.5, 2.0))
    assert [one.code for one in scan(path).problems] == ["units"]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_dtypes_stay_as_they_are_stored(tmp_path: Path, dtype: Any, suffix: str) -> None:
    array = voxels((5, 6, 7), dtype)
    volume = read(saved(tmp_path / f"a{suffix}", array))
    assert volume.array.dtype == dtype and volume.array.flags.writeable
    np.testing.assert_array_equal(volume.array, array)


def test_doubles_become_single_precision(tmp_path: Path) -> None:
    assert read(saved(tmp_path / "a.nii", voxels((5, 6, 7)) / 7.0)).array.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64])
def test_scaled_voxels_are_float32_intensities(tmp_path: Path, dtype: Any) -> None:
    array = voxels((5, 6, 7), dtype)
    image = nib.Nifti1Image(array, OBLIQUE)
    image.header.set_slope_inter(0.25, -3.5)
    nib.save(image, tmp_path / "a.nii.gz")
    volume = read(tmp_path / "a.nii.gz")
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.array, np.asanyarray(nib.load(tmp_path / "a.nii.gz").dataobj), rtol=1e-6)


@pytest.mark.parametrize("dtype", [">i2", ">f4"])
def test_big_endian_files_give_native_arrays(tmp_path: Path, dtype: str) -> None:
    array = voxels((5, 6, 7), dtype)
    nib.save(nib.Nifti1Image(array, OBLIQUE, nib.Nifti1Header(endianness=">")), tmp_path / "a.nii")
    assert (tmp_path / "a.nii").read_bytes()[:4] == b"\0\0\x01\x5c"
    volume = read(tmp_path / "a.nii")
    assert volume.array.dtype.isnative
    np.testing.assert_array_equal(volume.array, array)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti2_is_read(tmp_path: Path, suffix: str) -> None:
    array = voxels((5, 6, 7))
    nib.save(nib.Nifti2Image(array, OBLIQUE), tmp_path / f"a{suffix}")
    volume = read(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, OBLIQUE)


def test_a_header_and_its_image_file_are_one_image(tmp_path: Path) -> None:
    array = voxels((5, 6, 7))
    nib.save(nib.Nifti1Pair(array, OBLIQUE), tmp_path / "a.hdr")
    np.testing.assert_array_equal(read(tmp_path / "a.hdr").array, array)
    (tmp_path / "a.img").unlink()
    assert "a.img" in scan(tmp_path / "a.hdr").errors[0].message


@pytest.mark.parametrize(
    ("stored", "shape", "channels"),
    [
        ((5, 6), (5, 6), 1),
        ((5, 6, 1), (5, 6, 1), 1),
        ((5, 6, 7, 1), (5, 6, 7), 1),
        ((5, 6, 7, 3), (5, 6, 7), 3),
        ((5, 6, 1, 3), (5, 6, 1), 3),
        ((5, 6, 7, 1, 3), (5, 6, 7), 3),
    ],
)
def test_axes_beyond_the_third_become_channels(
    tmp_path: Path, stored: tuple[int, ...], shape: tuple[int, ...], channels: int
) -> None:
    array = voxels(stored)
    path = saved(tmp_path / "a.nii.gz", array)
    item, volume = scan(path), read(path)
    assert (item.shape, item.channels) == (shape, channels) == (volume.shape, volume.channels)
    expected = array.reshape((*shape, channels))
    for channel in range(channels):
        ours = volume.array[channel] if channels > 1 else volume.array
        np.testing.assert_array_equal(ours, expected[..., channel])


def test_colours_become_channels(tmp_path: Path) -> None:
    array = voxels((5, 6, 7, 3), np.uint8)
    rgb = np.ascontiguousarray(array).view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    nib.save(nib.Nifti1Image(rgb, OBLIQUE), tmp_path / "a.nii.gz")
    volume = read(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(np.moveaxis(volume.array, 0, -1), array)
    assert volume.shape == (5, 6, 7)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_file_cut_anywhere_is_refused_or_whole(tmp_path: Path, suffix: str) -> None:
    array = voxels((11, 12, 13))
    path = saved(tmp_path / f"a{suffix}", array)
    atomic_write, cut = path.read_bytes(), tmp_path / f"cut{suffix}"
    for length in (
        *range(0, 600, 13),
        *range(600, len(atomic_write) - 40, 97),
        *range(len(atomic_write) - 40, len(atomic_write)),
    ):
        cut.write_bytes(atomic_write[:length])
        item = scan(cut)
        if not item.errors:  # a few bytes of checksum may be missing from a scan's point of view, never from a read's
            with pytest.raises(BadImage, match="cut"):
                NiftiReader().read(item)
    np.testing.assert_array_equal(read(path).array, array)


def test_flipped_bits_in_a_gzip_stream_never_give_other_voxels(tmp_path: Path) -> None:
    array = voxels((11, 12, 13))
    path = saved(tmp_path / "a.nii.gz", array)
    atomic_write, random = path.read_bytes(), np.random.default_rng(1)
    refused = 0
    for _ in range(150):
        at, bit = int(random.integers(10, len(atomic_write))), int(random.integers(8))
        path.write_bytes(atomic_write[:at] + bytes([atomic_write[at] ^ 1 << bit]) + atomic_write[at + 1 :])
        try:
            np.testing.assert_array_equal(read(path).array, array)
        except BadImage:
            refused += 1
    assert refused > 100


def test_random_headers_never_crash(tmp_path: Path) -> None:
    path, random = saved(tmp_path / "a.nii", voxels((5, 6, 7))), np.random.default_rng(2)
    atomic_write = path.read_bytes()
    for _ in range(300):
        at = int(random.integers(0, 348))
        path.write_bytes(atomic_write[:at] + random.bytes(int(random.integers(1, 9))) + atomic_write[at + 8 :])
        item = scan(path)
        assert np.isfinite(item.affine).all()
        if not item.errors:
            assert NiftiReader().read(item).shape == item.shape


def i2(*values: int) -> bytes:
    return np.array(values, "<i2").tobytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ((40, i2(3, 5, -6, 7)), "shape"),
        ((40, i2(3, 0, 6, 7)), "shape"),
        ((40, i2(3, 32767, 32767, 32767)), "promises"),
        ((40, i2(3, 5, 6, 8)), "truncated"),
        ((40, i2(9, 5, 6, 7)), "axes"),
        ((40, i2(1, 5, 6, 7)), "one axis"),
        ((40, i2(5, 5, 2, 1, 3, 7)), "at most one axis"),
        ((70, i2(1792)), "datatype 1792"),
        ((108, np.float32(np.nan).tobytes()), "begin at byte"),
        ((108, np.float32(3).tobytes()), "begin at byte"),
        ((112, np.array([2, np.nan], "<f4").tobytes()), "intercept"),
        ((280, np.float32(np.nan).tobytes()), "not finite"),
        ((280, bytes(48)), "singular"),
        ((344, b"abc\0"), "magic"),
        ((0, b"\x00\x01\x02\x03"), "NIfTI header"),
    ],
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_an_absurd_header_is_said_in_one_sentence(
    tmp_path: Path, change: tuple[int, bytes], words: str, suffix: str
) -> None:
    path = spoilt(saved(tmp_path / "a.nii", voxels((5, 6, 7))), change)
    if suffix == ".nii.gz":
        data, path = path.read_bytes(), tmp_path / "a.nii.gz"
        path.write_bytes(gzip.compress(data))
    before = time.monotonic()
    item = scan(path)
    assert any(words in problem.message for problem in item.errors), item.problems
    with pytest.raises(BadImage, match=r"a\.nii"):
        NiftiReader().read(item)
    assert time.monotonic() - before < 2


def test_a_small_gzip_file_cannot_claim_terabytes(tmp_path: Path) -> None:
    plain = spoilt(saved(tmp_path / "a.nii", voxels((5, 6, 7))), (40, i2(3, 30000, 30000, 30000)))
    bomb = tmp_path / "bomb.nii.gz"
    bomb.write_bytes(gzip.compress(plain.read_bytes()))
    assert "promises" in scan(bomb).errors[0].message


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"\x1f\x8b" + bytes(40), b"no image at all", bytes(400)])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_what_is_no_nifti_is_an_item_with_an_error(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    item = scan(tmp_path / name)
    assert [one.code for one in item.errors] == ["unreadable"] and item.shape == ()


def test_a_file_that_changed_after_the_scan_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.nii", voxels((5, 6, 7)))
    item = scan(path)
    saved(path, voxels((4, 6, 7)))
    with pytest.raises(BadImage, match="changed"):
        NiftiReader().read(item)


def test_gzip_of_several_members_and_bytes_behind_the_voxels_are_fine(tmp_path: Path) -> None:
    array = voxels((5, 6, 7))
    data = saved(tmp_path / "a.nii", array).read_bytes() + bytes(33)
    several = tmp_path / "several.nii.gz"
    several.write_bytes(gzip.compress(data[:401]) + gzip.compress(data[401:]))
    assert scan(several).problems == ()
    np.testing.assert_array_equal(read(several).array, array)


@pytest.mark.parametrize("affine", [OBLIQUE, MIRRORED])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_what_is_written_is_read_back_by_everyone(tmp_path: Path, affine: Any, dtype: Any, name: str) -> None:
    array = voxels((5, 6, 7), dtype)
    path = write(Volume(array, affine), tmp_path / name)
    ours, theirs, itk = read(path), nib.load(path), sitk.ReadImage(str(path))
    assert ours.array.dtype == dtype == theirs.get_data_dtype()
    for voxels_of in (ours.array, np.asanyarray(theirs.dataobj), sitk.GetArrayFromImage(itk).T):
        np.testing.assert_array_equal(voxels_of, array)
    for got in (ours.affine, theirs.affine, theirs.get_qform()):
        np.testing.assert_allclose(got, affine, atol=1e-4)
    place = affine @ [4, 2, 6, 1]
    np.testing.assert_allclose(
        itk.TransformIndexToPhysicalPoint((4, 2, 6)), [-place[0], -place[1], place[2]], atol=1e-3
    )
    assert (int(theirs.header["sform_code"]), int(theirs.header["qform_code"])) == (1, 1)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(("shape", "dims"), [((5, 6), 2), ((5, 6, 1), 3), ((3, 5, 6, 7), 3), ((1, 5, 6, 7), 3)])
def test_every_shape_survives_a_round_trip(tmp_path: Path, shape: tuple[int, ...], dims: int, order: Any) -> None:
    array = np.asarray(voxels(shape), order=order)
    volume = read(write(Volume(array, OBLIQUE, dims=dims), tmp_path / "a.nii.gz"))
    np.testing.assert_array_equal(volume.array.squeeze(), array.squeeze())
    assert volume.shape == shape[-dims:]


def test_an_axis_too_long_for_nifti1_is_written_as_nifti2(tmp_path: Path) -> None:
    array = np.arange(40000 * 2, dtype=np.uint32).reshape(40000, 2, 1)
    path = write(Volume(array, OBLIQUE), tmp_path / "long.nii.gz")
    np.testing.assert_array_equal(read(path).array, array)
    np.testing.assert_array_equal(np.asanyarray(nib.load(path).dataobj), array)


@pytest.mark.parametrize(
    ("highest", "names", "dtype"),
    [
        (2, {"a": 1, "b": 2}, np.uint8),
        (255, {"a": 1}, np.uint8),
        (300, {"a": 1}, np.uint16),
        (1, {"z": 256}, np.uint16),
    ],
)
def test_masks_take_the_smallest_type_that_holds_their_labels(
    tmp_path: Path, highest: int, names: dict[str, int], dtype: Any
) -> None:
    mask = np.zeros((5, 6, 7), np.int64)
    mask[2, 3, 4] = highest
    volume = read(write(Volume(mask, OBLIQUE), tmp_path / "mask.nii.gz", Labels.of(names)))
    assert volume.array.dtype == dtype
    np.testing.assert_array_equal(volume.array, mask)


def test_an_empty_and_a_boolean_mask_are_written_as_bytes(tmp_path: Path) -> None:
    mask = np.zeros((5, 6, 7), bool)
    assert read(write(Volume(mask, OBLIQUE), tmp_path / "m.nii.gz", Labels.of({"a": 1}))).array.dtype == np.uint8
    mask[1, 2, 3] = True
    assert read(write(Volume(mask, OBLIQUE), tmp_path / "m.nii.gz")).array.sum() == 1


@pytest.mark.parametrize(
    ("make", "labels"),
    [
        (lambda a: a / 2, Labels()),
        (lambda a: a - 1000, Labels()),
        (lambda a: a + 70000, Labels()),
        (lambda a: a.astype(np.complex64), None),
        (lambda a: a.astype(np.int64) << 40, None),
    ],
)
def test_what_fits_no_datatype_is_refused_and_leaves_no_file(
    tmp_path: Path, make: Callable[[Any], Any], labels: Labels | None
) -> None:
    with pytest.raises(DataError, match=r"m\.nii\.gz"):
        write(Volume(make(voxels((5, 6, 7), np.int32)), OBLIQUE), tmp_path / "m.nii.gz", labels)
    assert list(tmp_path.iterdir()) == []


def test_an_affine_that_four_byte_numbers_cannot_hold_is_refused(tmp_path: Path) -> None:
    far = OBLIQUE.copy()
    far[:3, 3] = 1e7 + 0.3
    with pytest.raises(DataError, match="mm off"):
        write(Volume(voxels((5, 6, 7)), far), tmp_path / "m.nii.gz")
    assert list(tmp_path.iterdir()) == []


def test_equal_masks_give_equal_bytes(tmp_path: Path) -> None:
    mask = voxels((30, 31, 32), np.uint8)
    one = write(Volume(mask, OBLIQUE), tmp_path / "one.nii.gz", Labels()).read_bytes()
    two = write(Volume(np.asfortranarray(mask), OBLIQUE), tmp_path / "two.nii.gz", Labels()).read_bytes()
    assert hashlib.sha256(one).digest() == hashlib.sha256(two).digest()


def test_a_mask_keeps_the_code_of_the_scan_it_belongs_to(tmp_path: Path) -> None:
    scan_of = read(saved(tmp_path / "scan.nii.gz", voxels((5, 6, 7)), OBLIQUE, (4, 4)))
    write(scan_of.with_array(np.ones((5, 6, 7), np.uint8)), tmp_path / "mask.nii.gz", Labels())
    header = nib.load(tmp_path / "mask.nii.gz").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (4, 4)
