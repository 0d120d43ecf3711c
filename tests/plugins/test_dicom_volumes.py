"""Volumes of every make: enhanced objects, several volumes of a series as channels, mosaics, every orientation."""

from __future__ import annotations

import gzip
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, RLELossless

from dicom_series import make_enhanced, make_series
from voxgraft.errors import BadImage
from voxgraft.imaging.volume import Item, Volume
from voxgraft_dicom.reader.reader import DicomReader

ARRAY = np.random.default_rng(0).integers(-900, 1100, (3, 7, 6, 5)).astype(np.int16)
"""(channel, i, j, k)"""
STEPS = np.diag([0.7, 0.8, 2.5, 1.0])
AXIAL = np.diag([-1.0, -1.0, 1.0, 1.0]) @ STEPS
OBLIQUE = (
    np.array([[-0.36, -0.48, -0.8, 12.5], [0.8, -0.6, 0.0, -80.25], [-0.48, -0.64, 0.6, 33.0], [0, 0, 0, 1]]) @ STEPS
)


def turned(signs: tuple[int, ...], axes: tuple[int, ...]) -> np.ndarray[Any, Any]:
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, axes] * signs
    affine[:3, 3] = [12.5, -80.25, 33.0]
    return affine @ STEPS


ROTATIONS = [
    turned(signs, axes)
    for axes in permutations(range(3))
    for signs in product((1, -1), repeat=3)
    if np.linalg.det(turned(signs, axes)[:3, :3]) > 0
]
"""The 24 orientations of a right-handed grid along the axes of the patient."""


def scan(*files: Path) -> Item:
    (item,) = DicomReader().scan(files)
    return item


def read(*files: Path) -> Volume:
    return DicomReader().read(scan(*files))


def codes(item: Item) -> list[tuple[str, str]]:
    return [(problem.code, problem.severity) for problem in item.problems]


def assert_placed(volume: Volume, array: np.ndarray[Any, Any], affine: np.ndarray[Any, Any]) -> None:
    """Every voxel of `array` (channel, i, j, k) lies where `affine` puts it, with its value."""
    there = np.indices(array.shape[1:]).reshape(3, -1)
    places = affine @ np.vstack([there, np.ones(there.shape[1])])
    here = (np.linalg.inv(volume.affine) @ places)[:3]
    nearest = np.rint(here).astype(int)
    np.testing.assert_allclose(here, nearest, atol=1e-4)
    voxels = volume.array.reshape(array.shape[0], *volume.shape)
    np.testing.assert_array_equal(voxels[(slice(None), *nearest)], array[(slice(None), *there)])


def test_there_are_24_orientations() -> None:
    assert len(ROTATIONS) == 24 and len({affine.tobytes() for affine in ROTATIONS}) == 24


@pytest.mark.parametrize("number", range(24))
def test_classic_series_lie_right_in_24_orientations(tmp_path: Path, number: int) -> None:
    affine = ROTATIONS[number]
    files = make_series(tmp_path, ARRAY[0], affine, Modality="MR")
    np.random.default_rng(3).shuffle(files)  # type: ignore[arg-type]
    assert_placed(read(*files), ARRAY[:1], affine)


@pytest.mark.parametrize("number", range(24))
def test_enhanced_objects_lie_right_in_24_orientations(tmp_path: Path, number: int) -> None:
    volume = read(make_enhanced(tmp_path / "e.dcm", ARRAY[:1], ROTATIONS[number]))
    assert_placed(volume, ARRAY[:1], ROTATIONS[number])
    assert volume.item is not None and volume.item.problems == ()


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", RLELossless, JPEG2000Lossless])
def test_enhanced_objects_are_read_as_highdicom_reads_them(tmp_path: Path, syntax: str) -> None:
    import highdicom
    import pydicom

    array = np.random.default_rng(1).integers(0, 3000, (1, 33, 35, 5)).astype(np.uint16)
    path = make_enhanced(tmp_path / "e.dcm", array, OBLIQUE, syntax=syntax)
    volume = read(path)
    assert_placed(volume, array, OBLIQUE)
    truth = highdicom.Image.from_dataset(pydicom.dcmread(path)).get_volume()
    theirs = np.diag([-1, -1, 1, 1]) @ truth.affine
    assert_placed(volume, truth.array.astype(np.float64)[None], theirs)


def test_each_frame_is_rescaled_by_its_own_numbers(tmp_path: Path) -> None:
    path = make_enhanced(tmp_path / "e.dcm", ARRAY[:1], AXIAL, scaling=lambda _, k: (0.1 * (k + 1), -3.5 * k))
    volume, k = read(path), np.arange(5)
    expected = ARRAY[:1] * np.round(0.1 * (k + 1), 10) - 3.5 * k
    assert_placed(volume, expected.astype(np.float32), AXIAL)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ([{"EffectiveEchoTime": t} for t in (4.6, 9.2, 13.8)], "EchoTime"),
        ([{"DiffusionBValue": b} for b in (0.0, 500.0, 1000.0)], "DiffusionBValue"),
        ([{"TemporalPositionIndex": t} for t in (1, 2, 3)], "TemporalPositionIndex"),
    ],
)
def test_several_frames_in_each_place_are_channels(tmp_path: Path, values: list[dict[str, Any]], name: str) -> None:
    volume = read(make_enhanced(tmp_path / "e.dcm", ARRAY, OBLIQUE, values=values))
    assert volume.channels == 3 and volume.shape == (7, 6, 5)
    assert_placed(volume, ARRAY, OBLIQUE)
    item = volume.item
    assert item is not None and item.channels == 3 and item.facts["channels"]["name"] == name
    assert [float(v) for v in item.facts["channels"]["values"]] == [next(iter(one.values())) for one in values]
    assert codes(item) == [("channels", "repair")]
    assert len(item.facts["frames"]) == 5


def test_dimension_indices_tell_frames_apart(tmp_path: Path) -> None:
    def edit(dataset: Dataset) -> None:
        pointer = Dataset()
        pointer.DimensionIndexPointer = 0x00189306  # Tag Thickness stands here for an attribute nobody thought of
        dataset.DimensionIndexSequence = [pointer]

    values = [{"DimensionIndexValues": [n]} for n in (1, 2, 3)]
    volume = read(make_enhanced(tmp_path / "e.dcm", ARRAY, AXIAL, values=values, edit=edit))
    assert_placed(volume, ARRAY, AXIAL)


def test_frames_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    item = scan(make_enhanced(tmp_path / "e.dcm", ARRAY, AXIAL))
    assert [one.code for one in item.errors] == ["several-volumes"]
    both = [{"EffectiveEchoTime": e, "DiffusionBValue": b} for e, b in ((1.0, 0.0), (1.0, 5.0), (2.0, 0.0), (2.0, 0.0))]
    four = np.concatenate([ARRAY, ARRAY[:1]])
    item = scan(make_enhanced(tmp_path / "f.dcm", four, AXIAL, values=both))
    assert [one.code for one in item.errors] == ["several-volumes"]
    assert "EchoTime, DiffusionBValue" in item.errors[0].message


def test_a_lost_frame_of_an_enhanced_object_is_named(tmp_path: Path) -> None:
    def edit(dataset: Dataset) -> None:
        del dataset.PerFrameFunctionalGroupsSequence[2]
        dataset.NumberOfFrames = 4
        dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) * 4 // 5]

    item = scan(make_enhanced(tmp_path / "e.dcm", ARRAY[:1], AXIAL, shuffle=False, edit=edit))
    assert [one.code for one in item.errors] == ["missing-slice"]


def test_an_object_that_describes_other_frames_than_it_holds_is_refused(tmp_path: Path) -> None:
    def edit(dataset: Dataset) -> None:
        del dataset.PerFrameFunctionalGroupsSequence[2]

    item = scan(make_enhanced(tmp_path / "e.dcm", ARRAY[:1], AXIAL, edit=edit))
    assert [one.code for one in item.errors] == ["multi-frame"] and "5 frames and describes 4" in item.errors[0].message


def test_several_stacks_are_images_of_their_own(tmp_path: Path) -> None:
    two = np.diag([1.0, 1, 1, 1])
    two[2, 3] = 200

    def edit(dataset: Dataset) -> None:
        for groups in dataset.PerFrameFunctionalGroupsSequence:
            if groups.FrameContentSequence[0].StackID == "2":
                place = groups.PlanePositionSequence[0]
                x, y, z = map(float, place.ImagePositionPatient)
                place.ImagePositionPatient = [x, y, z + 200]

    values = [{"StackID": "1"}, {"StackID": "2"}]
    path = make_enhanced(tmp_path / "e.dcm", ARRAY[:2], AXIAL, values=values, edit=edit)
    items = DicomReader().scan([path])
    assert len({item.series for item in items}) == 2 and all(not item.errors for item in items)
    assert [item.series[-7:] for item in items if item.series] == ["-stack1", "-stack2"]
    for item, array, affine in zip(items, ARRAY[:2], (AXIAL, two @ AXIAL), strict=True):
        assert_placed(DicomReader().read(item), array[None], affine)


def test_objects_of_one_series_are_channels_or_images_of_their_own(tmp_path: Path) -> None:
    files = [
        make_enhanced(tmp_path / f"{n}.dcm", ARRAY[n : n + 1], AXIAL, values=[{"EffectiveEchoTime": 1.5 * n + 1}])
        for n in range(3)
    ]
    assert_placed(read(*files), ARRAY, AXIAL)
    same = [make_enhanced(tmp_path / "same" / f"{n}.dcm", ARRAY[n : n + 1], AXIAL) for n in range(2)]
    items = DicomReader().scan(same)
    assert len(items) == 2 and not any(item.errors for item in items)
    for item in items:
        assert_placed(DicomReader().read(item), ARRAY[same.index(item.files[0])][None], AXIAL)


def timed(name: str, values: list[Any]) -> list[dict[str, Any]]:
    return [{"SeriesInstanceUID": "1.2.3", name: value} for value in values]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        (timed("TemporalPositionIdentifier", [1, 2, 3]), "TemporalPositionIdentifier"),
        (timed("EchoTime", [4.6, 9.2, 13.8]), "EchoTime"),
        (timed("DiffusionBValue", [0.0, 500.0, 1000.0]), "DiffusionBValue"),
        (timed("TriggerTime", [0, 33.5, 67]), "TriggerTime"),
        (timed("ImageType", [["ORIGINAL", "PRIMARY", "M", kind] for kind in ("FAT", "IN", "WATER")]), "ImageType"),
        (timed("AcquisitionNumber", [1, 2, 3]), "AcquisitionNumber"),
    ],
)
def test_several_volumes_of_a_classic_series_are_channels(
    tmp_path: Path, changes: list[dict[str, Any]], name: str
) -> None:
    files = []
    for n in (2, 0, 1):
        files += make_series(tmp_path / str(n), ARRAY[n], OBLIQUE, Modality="MR", **changes[n])
    item = scan(*files)
    assert item.facts["channels"]["name"] == name and codes(item) == [("channels", "repair")], item.problems
    assert "3 volumes of 5 slices" in item.problems[0].message
    assert_placed(DicomReader().read(item), ARRAY, OBLIQUE)


def test_times_that_run_on_within_volumes_tell_them_apart(tmp_path: Path) -> None:
    def later(n: int, minutes: int) -> Any:
        def edit(k: int, slice_: Dataset) -> None:
            slice_.AcquisitionDate, slice_.AcquisitionTime = "20200101", f"12{minutes * n:02d}{k:02d}.5"

        return edit

    files = [
        file
        for n in range(3)
        for file in make_series(tmp_path / str(n), ARRAY[n], AXIAL, edit=later(n, 2), SeriesInstanceUID="1.2.3")
    ]
    assert_placed(read(*files), ARRAY, AXIAL)
    mixed = [
        file
        for n in range(3)
        for file in make_series(tmp_path / f"m{n}", ARRAY[n], AXIAL, edit=later(n, 0), SeriesInstanceUID="1.2.4")
    ]
    assert [one.code for one in scan(*mixed).errors] == ["several-volumes"], "copies have the times of the originals"


def test_volumes_that_could_be_copies_are_refused(tmp_path: Path) -> None:
    files = []
    for n in range(2):
        files += make_series(tmp_path / str(n), ARRAY[n], AXIAL, SeriesInstanceUID="1.2.3")
    item = scan(*files)
    assert [one.code for one in item.errors] == ["several-volumes"] and "2 volumes of 5 slices" in item.errors[
        0
    ].message
    with pytest.raises(BadImage):
        DicomReader().read(item)

    def same_name(k: int, slice_: Dataset) -> None:
        slice_.SOPInstanceUID = slice_.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{k}"

    files = []
    for n in range(2):
        changes = {"SeriesInstanceUID": "1.2.4", "EchoTime": n + 1}
        files += make_series(tmp_path / f"u{n}", ARRAY[n], AXIAL, edit=same_name, **changes)
    assert ("several-volumes", "error") in codes(scan(*files)), "one SOPInstanceUID with different content"


def test_volumes_that_lie_apart_are_no_channels(tmp_path: Path) -> None:
    aside = AXIAL.copy()
    aside[0, 3] += 7
    files = []
    for n, affine in enumerate((AXIAL, aside)):
        changes = {"SeriesInstanceUID": "1.2.3", "EchoTime": n + 1}
        files += make_series(tmp_path / str(n), ARRAY[n], affine, **changes)
    items = DicomReader().scan(files)
    assert [codes(item) for item in items] == [[("split-series", "repair")]] * 2
    for item, array, affine in zip(items, ARRAY, (AXIAL, aside), strict=False):
        assert_placed(DicomReader().read(item), array[None], affine)


def test_two_whole_volumes_in_one_series_are_two_images(tmp_path: Path) -> None:
    coronal = turned((-1, -1, -1), (0, 2, 1))
    files = make_series(tmp_path / "a", ARRAY[0], AXIAL, SeriesInstanceUID="1.2.3")
    files += make_series(tmp_path / "c", ARRAY[1], coronal, SeriesInstanceUID="1.2.3")
    items = DicomReader().scan(files)
    assert [codes(item) for item in items] == [[("split-series", "repair")]] * 2
    assert len({item.series for item in items}) == 2
    found = {item.path.name: DicomReader().read(item) for item in items}
    assert_placed(found["a"], ARRAY[:1], AXIAL)
    assert_placed(found["c"], ARRAY[1:2], coronal)
    lost = DicomReader().scan([file for file in files if file.name != "0002.dcm"])
    assert [[one.code for one in item.errors] for item in lost] == [["mixed-orientation"]], "a part with a gap"


def test_overlapping_acquisitions_are_two_images(tmp_path: Path) -> None:
    higher = AXIAL.copy()
    higher[2, 3] += 2.5 * 3
    files = make_series(tmp_path / "a", ARRAY[0], AXIAL, SeriesInstanceUID="1.2.3", AcquisitionNumber=1)
    files += make_series(tmp_path / "b", ARRAY[1], higher, SeriesInstanceUID="1.2.3", AcquisitionNumber=2)
    found = {item.path.name: DicomReader().read(item) for item in DicomReader().scan(files)}
    assert_placed(found["a"], ARRAY[:1], AXIAL)
    assert_placed(found["b"], ARRAY[1:2], higher)


def test_two_frames_of_reference_make_no_volume(tmp_path: Path) -> None:
    def edit(k: int, slice_: Dataset) -> None:
        slice_.FrameOfReferenceUID = "1.2.9" if k > 2 else "1.2.8"

    item = scan(*make_series(tmp_path, ARRAY[0], AXIAL, edit=edit))
    assert [one.code for one in item.errors] == ["mixed-frame"]


def test_without_a_frame_of_reference_it_is_still_a_volume(tmp_path: Path) -> None:
    item = scan(*make_series(tmp_path, ARRAY[0], AXIAL, FrameOfReferenceUID=None, SliceThickness=""))
    assert item.problems == () and item.facts["frame"] == ""
    assert_placed(DicomReader().read(item), ARRAY[:1], AXIAL)


@pytest.fixture(scope="module")
def mosaics(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two real mosaics of a Siemens scanner, b = 0 and 1000, from the tests of nibabel."""
    tests = pytest.importorskip("nibabel.nicom.tests", reason="nibabel is installed without its tests")
    data, folder = Path(tests.__file__).parent / "data", tmp_path_factory.mktemp("mosaics")
    files = []
    for name in ("siemens_dwi_0.dcm", "siemens_dwi_1000.dcm"):
        if not (data / f"{name}.gz").exists():
            pytest.skip("nibabel is installed without its test files")
        files.append(folder / name)
        files[-1].write_bytes(gzip.decompress((data / f"{name}.gz").read_bytes()))
    return files


@pytest.mark.filterwarnings("ignore")
def test_mosaics_are_taken_apart_as_nibabel_does(mosaics: list[Path]) -> None:
    from nibabel.nicom.dicomwrappers import wrapper_from_file

    both = read(*mosaics)
    assert both.item is not None and both.item.facts["channels"]["values"] == ["0.0", "1000.0"]
    truths = [wrapper_from_file(str(file)) for file in mosaics]
    array = np.stack([truth.get_data() for truth in truths])
    assert_placed(both, array, np.diag([-1, -1, 1, 1]) @ truths[0].affine)
    np.testing.assert_array_equal(read(mosaics[1]).array, both.array[1])


def test_mosaics_without_their_private_header_are_refused(mosaics: list[Path], tmp_path: Path) -> None:
    import pydicom

    dataset = pydicom.dcmread(mosaics[0])
    dataset.remove_private_tags()
    dataset.save_as(tmp_path / "m.dcm")
    item = scan(tmp_path / "m.dcm")
    assert [one.code for one in item.errors] == ["mosaic"] and "private header" in item.errors[0].message


def without(number: int, mosaic: Path, target: Path, edit: Any = None) -> Path:
    """A mosaic without one of its private headers."""
    import pydicom

    dataset = pydicom.dcmread(mosaic)
    del dataset[0x29, number]
    if edit is not None:
        edit(dataset)
    dataset.save_as(target)
    return target


def test_the_series_header_places_a_mosaic_where_that_of_the_image_is_lost(mosaics: list[Path], tmp_path: Path) -> None:
    truth = read(mosaics[0])
    alone = read(without(0x1010, mosaics[0], tmp_path / "a.dcm"))
    np.testing.assert_array_equal(alone.array, truth.array)
    np.testing.assert_allclose(alone.affine, truth.affine, atol=1e-3)
    assert scan(without(0x1020, mosaics[0], tmp_path / "b.dcm")).problems == ()

    def downwards(dataset: Any) -> None:
        """The same volume with its tiles from head to foot; the picture's place is that of the uppermost slice."""
        tiles = dataset.pixel_array.reshape(7, 128, 7, 128).transpose(0, 2, 1, 3).reshape(49, 128, 128)
        tiles = np.concatenate([tiles[:48][::-1], tiles[48:]])
        dataset.PixelData = tiles.reshape(7, 7, 128, 128).transpose(0, 2, 1, 3).tobytes()
        normal = np.array([0.0, 0.00523632, 0.99998629])
        dataset.ImagePositionPatient = [round(v, 6) for v in np.array(dataset.ImagePositionPatient) + 47 * 3 * normal]

    turned = read(without(0x1010, mosaics[0], tmp_path / "c.dcm", downwards))
    np.testing.assert_array_equal(turned.array, truth.array)
    np.testing.assert_allclose(turned.affine, truth.affine, atol=1e-3)

    def moved(dataset: Any) -> None:
        dataset.ImagePositionPatient = [-805, -825, -60]

    item = scan(without(0x1010, mosaics[0], tmp_path / "d.dcm", moved))
    assert [one.code for one in item.errors] == ["mosaic"] and "first or the last" in item.errors[0].message


@pytest.mark.parametrize(
    ("changes", "here", "warned"),
    [
        ({"ImagesInAcquisition": 5}, 5, False),
        ({"ImagesInAcquisition": 5}, 4, True),
        ({"ImagesInAcquisition": 5}, 3, True),
        ({"ImagesInAcquisition": 10}, 5, False),  # another reconstruction of the same acquisition
        ({"ImagesInAcquisition": 3}, 5, False),
        ({"ImagesInAcquisition": 0}, 5, False),
        ({"ImagesInAcquisition": None}, 4, False),
        ({"Modality": "PT", "NumberOfSlices": 5}, 4, True),
        ({"Modality": "PT", "NumberOfSlices": 5}, 5, False),
        ({"Modality": "CT", "NumberOfSlices": 5}, 4, False),
    ],
)
def test_slices_lost_at_the_ends_are_missed_where_the_header_counts_them(
    tmp_path: Path, changes: dict[str, Any], here: int, warned: bool
) -> None:
    array = np.arange(8 * 7 * 5, dtype=np.int16).reshape(8, 7, 5)
    files = make_series(tmp_path, array, AXIAL, SeriesInstanceUID="1.2.3", **{"Modality": "MR", **changes})
    for files_kept in (files[:here], files[5 - here :]):
        (item,) = DicomReader().scan(files_kept)
        assert not item.errors and item.shape == (8, 7, here)
        found = [problem for problem in item.problems if problem.code == "fewer-slices"]
        assert [problem.severity for problem in found] == ["warning"] * warned
        assert all("5" in problem.message and f"{here} are here" in problem.message for problem in found)


def test_each_acquisition_of_a_series_is_counted_by_itself(tmp_path: Path) -> None:
    array = np.arange(8 * 7 * 6, dtype=np.int16).reshape(8, 7, 6)

    def two(k: int, slice_: Dataset) -> None:
        slice_.AcquisitionNumber = k // 3

    files = make_series(tmp_path, array, AXIAL, edit=two, SeriesInstanceUID="1.2.3", ImagesInAcquisition=3)
    (item,) = DicomReader().scan(files)
    assert "fewer-slices" not in {problem.code for problem in item.problems}
    (item,) = DicomReader().scan(files[:5])
    assert "fewer-slices" in {problem.code for problem in item.problems}
