"""NRRD, MetaImage and MINC: the same voxels in the same place as SimpleITK says, and a plain sentence for bad files."""

from __future__ import annotations

import gzip
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from packaging.version import Version

from voxgraft.errors import BadImage, DataError
from voxgraft.imaging.structures import Labels
from voxgraft.imaging.volume import Item, Volume
from voxgraft_plugins.itk.metaimage import parse_metaimage
from voxgraft_plugins.itk.minc import MincReader
from voxgraft_plugins.itk.nrrd import parse_nrrd
from voxgraft_plugins.itk.reader import TextReader
from voxgraft_plugins.itk.writer import ItkWriterOptions, MetaImageWriter, NrrdWriter

ROTATION = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])
AFFINE = np.eye(4)
AFFINE[:3, :3], AFFINE[:3, 3] = ROTATION * [0.7, 0.9, 2.5], [-91.0, 120.5, -7.25]
FLAT = np.array([[-0.7, 0, 0, 3.0], [0, -0.9, 0, 4.0], [0, 0, 1, 0], [0, 0, 0, 1]])
READERS: dict[str, Any] = {
    ".nrrd": TextReader("nrrd", parse_nrrd),
    ".nhdr": TextReader("nrrd", parse_nrrd),
    ".mha": TextReader("metaimage", parse_metaimage),
    ".mhd": TextReader("metaimage", parse_metaimage),
    ".mnc": MincReader(),
}
WRITERS: dict[str, Any] = {".nrrd": NrrdWriter(ItkWriterOptions()), ".mha": MetaImageWriter(ItkWriterOptions())}
LPS = np.diag([-1.0, -1.0, 1.0])


def voxels(shape: tuple[int, ...], dtype: Any = np.int16) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 120, shape).astype(dtype)


def scan(path: Path) -> Item:
    (item,) = READERS[path.suffix].scan([path])
    return item


def read(path: Path) -> Volume:
    volume: Volume = READERS[path.suffix].read(scan(path))
    return volume


def itk(array: np.ndarray[Any, Any], affine: np.ndarray[Any, Any] = AFFINE, vector: bool = False) -> sitk.Image:
    """An image of ITK from (i, j[, k][, channel])."""
    dims = array.ndim - vector
    rows = array.transpose(*range(dims - 1, -1, -1), *([dims] if vector else []))
    image = sitk.GetImageFromArray(rows, isVector=vector)
    lps = (LPS @ affine[:3])[:dims]
    spacing = np.sqrt((lps[:, :dims] ** 2).sum(0))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:, 3].tolist())
    image.SetDirection((lps[:, :dims] / spacing).ravel().tolist())
    return image


def nrrd(path: Path, *lines: str, data: bytes = bytes(range(24))) -> Path:
    """A file of 2x3x4 bytes with other fields."""
    fields = {
        "type": "uint8",
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": "2 3 4",
        "space directions": "(1,0,0) (0,1,0) (0,0,1)",
        "space origin": "(0,0,0)",
        "encoding": "raw",
    }
    for line in lines:
        name, _, value = line.partition(": ")
        fields[name] = value
    text = "\n".join(["NRRD0005", *(f"{name}: {value}" for name, value in fields.items() if value)])
    path.write_bytes(text.encode() + b"\n\n" + data)
    return path


def meta(path: Path, data: bytes = bytes(range(24)), **changes: object) -> Path:
    fields: dict[str, object] = {
        "ObjectType": "Image",
        "NDims": 3,
        "BinaryData": True,
        "CompressedData": False,
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "0 0 0",
        "ElementSpacing": "1 1 1",
        "DimSize": "2 3 4",
        "ElementType": "MET_UCHAR",
        "ElementDataFile": "LOCAL",
    }
    fields = {**{name: value for name, value in fields.items() if name != "ElementDataFile"}, **changes}
    fields["ElementDataFile"] = fields.pop("ElementDataFile", "LOCAL")
    path.write_bytes("".join(f"{name} = {value}\n" for name, value in fields.items()).encode() + data)
    return path


@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", ".mha", ".mhd", ".mnc"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("packed", [True, False])
def test_what_simpleitk_writes_is_read_at_its_place(tmp_path: Path, suffix: str, dtype: Any, packed: bool) -> None:
    array, path = voxels((5, 6, 7), dtype), tmp_path / f"a{suffix}"
    sitk.WriteImage(itk(array), str(path), packed)
    item, volume = scan(path), read(path)
    assert item.problems == () and (item.shape, item.channels) == ((5, 6, 7), 1)
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-6)
    np.testing.assert_allclose(item.affine, AFFINE, atol=1e-6)
    assert volume.array.dtype == dtype


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize(("shape", "vector"), [((5, 6), False), ((5, 6, 3), True), ((5, 6, 7, 2), True)])
def test_channels_and_images_of_two_axes(tmp_path: Path, suffix: str, shape: tuple[int, ...], vector: bool) -> None:
    array, path = voxels(shape, np.uint8), tmp_path / f"a{suffix}"
    dims = len(shape) - vector
    sitk.WriteImage(itk(array, FLAT if dims == 2 else AFFINE, vector), str(path))
    item, volume = scan(path), read(path)
    assert item.shape == volume.shape == shape[:dims] and volume.dims == dims
    np.testing.assert_array_equal(volume.array, np.moveaxis(array, -1, 0) if vector else array)
    np.testing.assert_allclose(volume.affine, FLAT if dims == 2 else AFFINE, atol=1e-6)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    ("shape", "dims", "dtype"),
    [
        ((5, 6, 7), 3, np.int16),
        ((5, 6, 7), 3, np.float32),
        ((5, 6, 1), 3, np.uint8),
        ((2, 5, 6, 7), 3, np.uint16),
        ((5, 6), 2, np.uint8),
        ((3, 5, 6), 2, np.uint8),
        ((5, 6, 7), 3, np.bool_),
    ],
)
def test_what_is_written_is_read_back_and_by_simpleitk(
    tmp_path: Path, suffix: str, order: Any, shape: tuple[int, ...], dims: int, dtype: Any
) -> None:
    array, path = np.asarray(voxels(shape, dtype), order=order), tmp_path / f"a{suffix}"
    affine = FLAT if dims == 2 else AFFINE
    WRITERS[suffix].write(Volume(array, affine, dims=dims), path, labels=None, facts={})
    volume = read(path)
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-9)
    theirs = sitk.ReadImage(str(path))
    rows = sitk.GetArrayFromImage(theirs)
    lead = array.ndim - dims
    ours = array.transpose(*range(array.ndim - 1, lead - 1, -1), *range(lead))
    np.testing.assert_array_equal(rows, ours)
    corner = [n - 1 for n in shape[-dims:]]
    place = LPS @ (affine @ [*corner, *([0] * (3 - dims)), 1])[:3]
    np.testing.assert_allclose(theirs.TransformIndexToPhysicalPoint(corner), place[:dims], atol=1e-6)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, suffix: str, capfd: Any) -> None:
    path, cut = tmp_path / f"a{suffix}", tmp_path / f"cut{suffix}"
    WRITERS[suffix].write(Volume(voxels((9, 8, 7)), AFFINE), path, labels=None, facts={})
    whole = path.read_bytes()
    for length in (*range(0, len(whole) - 30, 17), *range(len(whole) - 30, len(whole))):
        cut.write_bytes(whole[:length])
        item = scan(cut)
        with pytest.raises(BadImage, match="cut"):
            READERS[suffix].read(item)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_flipped_bits_in_packed_voxels_never_give_other_voxels(tmp_path: Path, suffix: str) -> None:
    array, path = voxels((9, 8, 7)), tmp_path / f"a{suffix}"
    WRITERS[suffix].write(Volume(array, AFFINE), path, labels=None, facts={})
    whole, random, refused = path.read_bytes(), np.random.default_rng(1), 0
    for _ in range(150):
        at = int(random.integers(len(whole) - 700, len(whole)))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << int(random.integers(8))]) + whole[at + 1 :])
        try:
            np.testing.assert_array_equal(read(path).array, array)
        except BadImage:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_random_headers_never_crash(tmp_path: Path, suffix: str) -> None:
    path, random = tmp_path / f"a{suffix}", np.random.default_rng(2)
    WRITERS[suffix].write(Volume(voxels((9, 8, 7)), AFFINE), path, labels=None, facts={})
    whole = path.read_bytes()
    for _ in range(400):
        at = int(random.integers(0, 420))
        new = random.bytes(int(random.integers(1, 5)))
        path.write_bytes(whole[:at] + new + whole[at + int(random.integers(0, 5)) :])
        item = scan(path)
        assert np.isfinite(item.affine).all() and all(one.message.isprintable() for one in item.problems)
        if not item.errors:
            try:
                assert READERS[suffix].read(item).shape == item.shape
            except BadImage:
                continue


@pytest.mark.parametrize(
    ("space", "turn"),
    [
        ("left-posterior-superior", [-1, -1, 1]),
        ("LPS", [-1, -1, 1]),
        ("right-anterior-superior", [1, 1, 1]),
        ("LAS", [-1, 1, 1]),
    ],
)
def test_the_space_of_a_nrrd_decides_on_left_and_back(tmp_path: Path, space: str, turn: list[int]) -> None:
    path = nrrd(tmp_path / "a.nrrd", f"space: {space}", "space origin: (5,6,7)")
    np.testing.assert_allclose(scan(path).affine[:3, :3], np.diag(turn))
    np.testing.assert_allclose(scan(path).affine[:3, 3], np.array([5, 6, 7]) * turn)
    assert scan(path).problems == ()
    np.testing.assert_array_equal(read(path).array.ravel(order="F"), np.arange(24))
    assert np.array_equal(read(path).affine, scan(path).affine)
    if space != "LAS" or Version(version("SimpleITK")) >= Version("2.5.7"):  # before, it mirrored this space
        theirs = sitk.ReadImage(str(path)).TransformIndexToPhysicalPoint((1, 2, 3))
        np.testing.assert_allclose(LPS @ theirs, (scan(path).affine @ [1, 2, 3, 1])[:3])


def test_a_nrrd_without_a_space_is_read_with_a_warning(tmp_path: Path) -> None:
    path = nrrd(tmp_path / "a.nrrd", "space: ", "space directions: ", "spacings: 2 3 4")
    assert scan(path).spacing == (2, 3, 4)
    assert [(one.code, one.severity) for one in scan(path).problems] == [("no-orientation", "warning")]
    nrrd(path, "space directions: ", "spacings: 2 3 4")
    assert [one.code for one in scan(path).problems] == ["no-orientation"]


def test_micrometres_become_millimetres_and_slanted_axes_are_told(tmp_path: Path) -> None:
    path = nrrd(tmp_path / "a.nrrd", 'space units: "um" "um" "um"', "space directions: (500,0,0) (100,500,0) (0,0,900)")
    assert scan(path).spacing == pytest.approx((0.5, 0.50990195, 0.9))
    assert [one.code for one in scan(path).problems] == ["units", "sheared"]


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("encoding", ["raw", "gzip", "ascii", "bzip2"])
def test_encodings_and_orders_of_bytes(tmp_path: Path, order: str, encoding: str) -> None:
    import bz2

    array = voxels((2, 3, 4), np.int16) - 60
    stored = array.astype("<i2" if order == "little" else ">i2").tobytes(order="F")
    text = " ".join(map(str, array.ravel(order="F"))).encode()
    data = {"raw": stored, "gzip": gzip.compress(stored), "ascii": text, "bzip2": bz2.compress(stored)}[encoding]
    path = nrrd(tmp_path / "a.nrrd", "type: short", f"endian: {order}", f"encoding: {encoding}", data=data)
    np.testing.assert_array_equal(read(path).array, array)
    assert read(path).array.dtype.isnative
    big = meta(tmp_path / "a.mha", stored, ElementType="MET_SHORT", BinaryDataByteOrderMSB=order == "big")
    np.testing.assert_array_equal(read(big).array, array)


def slicer(path: Path, array: np.ndarray[Any, Any], rows: list[tuple[str, int, int]]) -> Path:
    """A segmentation as 3D Slicer 5 saves it: segments of (name, value, layer); several layers are a first axis."""
    layers = array.ndim == 4
    keys = []
    for number, (name, value, layer) in enumerate(rows):
        keys += [
            f"Segment{number}_Color:=0.5 0.6 0.7",
            f"Segment{number}_ID:=Segment_{number}",
            f"Segment{number}_LabelValue:={value}",
            f"Segment{number}_Layer:={layer}",
            f"Segment{number}_Name:={name}",
            f"Segment{number}_Tags:=Segmentation.Status:inprogress|TerminologyEntry:x~SCT^123037004^Anatomy|",
        ]
    sizes = array.shape
    text = [
        "NRRD0004",
        "# Complete NRRD file format specification at:",
        "type: unsigned char",
        f"dimension: {array.ndim}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, sizes))}",
        f"space directions: {'none ' if layers else ''}(1,0,0) (0,1,0) (0,0,2)",
        f"kinds: {'list ' if layers else ''}domain domain domain",
        "encoding: gzip",
        "space origin: (1,2,3)",
        *keys,
    ]
    path.write_bytes("\n".join(text).encode() + b"\n\n" + gzip.compress(array.tobytes(order="F")))
    return path


def test_a_segmentation_of_slicer_keeps_names_and_values(tmp_path: Path) -> None:
    array = voxels((4, 5, 6), np.uint8) % 3
    path = slicer(tmp_path / "a.seg.nrrd", array, [("Liver", 1, 0), ("Left kidney", 2, 0)])
    item = scan(path)
    assert item.kind == "image" and item.facts["names"] == ["Liver", "Left kidney"]
    assert item.facts["segments"][1] == {"name": "Left kidney", "value": 2, "layer": 0}
    np.testing.assert_array_equal(read(path).array, array)


def test_overlapping_segments_in_layers_become_a_channel_each(tmp_path: Path) -> None:
    array = voxels((2, 4, 5, 6), np.uint8) % 3
    rows = [("Liver", 1, 0), ("Tumour", 1, 1), ("Vessel", 2, 0)]
    path = slicer(tmp_path / "a.seg.nrrd", array, rows)
    item, volume = scan(path), read(path)
    assert item.channels == volume.channels == 3 and item.facts["names"] == ["Liver", "Tumour", "Vessel"]
    for channel, (_, value, layer) in zip(volume.array, rows, strict=True):
        np.testing.assert_array_equal(channel, array[layer] == value)


def test_a_mask_carries_its_names_as_segments_of_slicer(tmp_path: Path) -> None:
    mask, path = voxels((4, 5, 6), np.int64) % 3, tmp_path / "mask.seg.nrrd"
    WRITERS[".nrrd"].write(Volume(mask, AFFINE), path, labels=Labels.of({"Leber": 1, "Niere, ärztlich": 2}), facts={})
    item = scan(path)
    assert item.facts["names"] == ["Leber", "Niere, ärztlich"] and read(path).array.dtype == np.uint8
    np.testing.assert_array_equal(read(path).array, mask)
    assert sitk.ReadImage(str(path)).GetMetaData("Segment1_LabelValue") == "2"


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..\\secret.raw", "C:/x.raw", "sub/../../x.raw"])
def test_a_header_does_not_lead_out_of_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "x.raw").write_bytes(bytes(24))
    for path in (
        nrrd(tmp_path / "in" / "a.nhdr", f"data file: {name}"),
        meta(tmp_path / "in" / "a.mhd", ElementDataFile=name),
    ):
        assert "outside its folder" in scan(path).errors[0].message


def test_voxels_beside_a_header_are_found_and_missed(tmp_path: Path) -> None:
    for path in (nrrd(tmp_path / "a.nhdr", "data file: a.raw"), meta(tmp_path / "a.mhd", ElementDataFile="a.raw")):
        assert "a.raw" in scan(path).errors[0].message
        (tmp_path / "a.raw").write_bytes(bytes(range(24)))
        np.testing.assert_array_equal(read(path).array.ravel(order="F"), np.arange(24))
        assert scan(path).files == (path, tmp_path / "a.raw")
        (tmp_path / "a.raw").unlink()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sizes: 2 3 4000000000000", "no image has"),
        ("sizes: 2 3 400000", "truncated"),
        ("sizes: 2 3", "2 lengths for 3 axes"),
        ("sizes: 2 x 4", "where numbers belong"),
        ("sizes: 2 3 -4", "no image has"),
        ("dimension: 99", "lengths"),
        ("type: block", "block"),
        ("encoding: hex", "hex"),
        ("space directions: (1,0,0) (0,1,0) (0,1,0)", "do not span"),
        ("space directions: (1,0,0) (0,1,0) (0,0,inf)", "not finite"),
        ("space directions: (1,0,0) (0,1,0)", "2 directions"),
        ("space directions: none none (0,0,1)", "axes in space"),
        ("kinds: complex domain domain", "complex"),
        ("data file: a%03d.raw 1 20 1", "several files"),
        ("byte skip: -7", "negative"),
        ("space origin: (1,2,3", "vectors belong"),
        ("space directi0ns: (1,0,0) (0,1,0) (0,0,1)", "does not have"),
    ],
)
def test_an_absurd_nrrd_is_said_in_one_sentence(tmp_path: Path, line: str, words: str) -> None:
    item = scan(nrrd(tmp_path / "a.nrrd", line))
    assert words in item.errors[0].message
    with pytest.raises(BadImage, match=r"a\.nrrd"):
        READERS[".nrrd"].read(item)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"DimSize": "2 3 400000"}, "truncated"),
        ({"DimSize": "2 3"}, "2 lengths"),
        ({"NDims": "x"}, "numbers belong"),
        ({"ElementType": "MET_LONG"}, "MET_LONG"),
        ({"ElementSpacing": "1 1 0"}, "do not span"),
        ({"Offset": "1 1 nan"}, "not finite"),
        ({"TransformMatrix": "1 0 0"}, "as many parts"),
        ({"ElementDataFile": "LIST"}, "several files"),
        ({"ObjectType": "Mesh"}, "no image"),
        ({"ElementToIntensityFunctionSlope": "2"}, "scaled"),
        ({"CompressedData": "True"}, "damaged"),
    ],
)
def test_an_absurd_metaimage_is_said_in_one_sentence(tmp_path: Path, changes: dict[str, str], words: str) -> None:
    path = meta(tmp_path / "a.mha", **changes)
    with pytest.raises(BadImage, match=words):
        read(path)


def test_a_small_packed_file_cannot_claim_terabytes(tmp_path: Path) -> None:
    for path in (
        nrrd(tmp_path / "a.nrrd", "sizes: 100000 100000 1000", "encoding: gzip", data=gzip.compress(bytes(1000))),
        meta(tmp_path / "a.mha", DimSize="100000 100000 1000", CompressedData=True),
    ):
        assert "cannot hold" in scan(path).errors[0].message


@pytest.mark.parametrize("content", [b"", b"no image at all", bytes(400), b"CDF\x01" + bytes(40)])
@pytest.mark.parametrize("suffix", sorted(READERS))
def test_what_is_no_image_is_an_item_with_an_error(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    assert [one.code for one in scan(path).errors] == ["unreadable"]


def test_damaged_minc_files_are_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.mnc"
    sitk.WriteImage(itk(voxels((9, 8, 7))), str(path))
    whole, random = path.read_bytes(), np.random.default_rng(3)
    for _ in range(25):
        path.write_bytes(whole[: int(random.integers(0, len(whole)))])
        if not scan(path).errors:
            with pytest.raises(BadImage):
                read(path)


def test_a_turned_flat_image_fits_no_metaimage(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="write NIfTI"):
        WRITERS[".mha"].write(Volume(voxels((5, 6)), AFFINE), tmp_path / "a.mha", labels=None, facts={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", sorted(WRITERS))
def test_what_is_no_mask_is_refused_and_leaves_no_file(tmp_path: Path, suffix: str) -> None:
    for array in (voxels((5, 6, 7)) / 2, voxels((5, 6, 7)) - 500, voxels((5, 6, 7)).astype(np.complex64)):
        with pytest.raises(DataError, match="a"):
            WRITERS[suffix].write(Volume(array, AFFINE), tmp_path / f"a{suffix}", labels=Labels(), facts={})
    assert list(tmp_path.iterdir()) == []
