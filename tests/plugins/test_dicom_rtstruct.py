"""Tests of RTSTRUCT: contours enclose the mask and nothing else, and those of others are filled or plainly refused."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from dicom_masks import (
    DCIODVFY,
    FACTS,
    LABELS,
    ORIENTATIONS,
    blobs,
    check_other_frames,
    complaints,
    only,
    overlapping,
    refused_when_spoilt,
    same,
    series,
    turned,
    wanted,
)
from dicom_series import make_enhanced
from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import BadImage, DataError
from voxgraft.imaging.read import read_item, scan
from voxgraft.imaging.structures import Label, Labels
from voxgraft.imaging.volume import Item, Problem, Volume
from voxgraft.support.files import atomic_write
from voxgraft_dicom.reader.reader import DicomReader
from voxgraft_dicom.rtstruct import writer
from voxgraft_dicom.rtstruct.filling import combined
from voxgraft_dicom.rtstruct.options import RtstructOptions, RtstructReaderOptions
from voxgraft_dicom.rtstruct.outlines import area_of, keyholes, outlines
from voxgraft_dicom.rtstruct.reader import RtstructReader
from voxgraft_dicom.rtstruct.writer import RtstructWriter

READER = RtstructReader(RtstructReaderOptions())
POINTS = 0x30060050


def written(mask: Volume, path: Path, labels: Labels = LABELS, **options: Any) -> Item:
    with atomic_write(path) as beside:
        RtstructWriter(RtstructOptions(**options)).write(mask, beside, labels=labels, facts=FACTS)
    (item,) = READER.scan([path])
    assert item.errors == () and item.kind == "structures"
    return item


def by_hand(mask: Volume, path: Path, contours: list[Any], kind: str = "CLOSED_PLANAR", name: str = "Tumour") -> Item:
    """A structure set of one region, with contours given by corners (i, j, k) in voxels of the mask's grid."""
    written(mask, path)
    dataset = dcmread(path)
    del dataset.StructureSetROISequence[1:], dataset.ROIContourSequence[1:], dataset.RTROIObservationsSequence[1:]
    dataset.StructureSetROISequence[0].ROIName = name
    items = []
    for corners in contours:
        points = (np.asarray(corners, float) @ mask.affine[:3, :3].T + mask.affine[:3, 3]) * (-1, -1, 1)
        contour = Dataset()
        contour.ContourGeometricType = kind
        contour.NumberOfContourPoints = len(points)
        contour.ContourData = [round(float(value), 5) for value in points.ravel()]
        items.append(contour)
    dataset.ROIContourSequence[0].ContourSequence = items
    dataset.save_as(path)
    (item,) = READER.scan([path])
    return item


def square(low: float, high: float, k: float) -> list[tuple[float, float, float]]:
    return [(low, low, k), (high, low, k), (high, high, k), (low, high, k)]


@pytest.fixture
def mask(tmp_path: Path, catalogue: Catalogue) -> Volume:
    series(tmp_path / "s")
    return blobs(only(tmp_path / "s", catalogue))


@pytest.mark.parametrize("holes", ["keyhole", "xor"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_what_was_written_comes_back_voxel_by_voxel(
    orientation: str, holes: str, tmp_path: Path, catalogue: Catalogue
) -> None:
    series(tmp_path / "s", ORIENTATIONS[orientation], shape=(22, 20, 5))
    image = only(tmp_path / "s", catalogue)
    ring = blobs(image)
    ring.array[5:20, 5:20, 2:4] = 1
    ring.array[8:16, 8:16, 2] = 0
    ring.array[10:12, 10:13, 2] = 1
    for found in (ring, overlapping(image)):
        item = written(found, tmp_path / "m.dcm", holes=holes)
        assert same(READER.structures(item, found), wanted(found))


def test_outlines_enclose_exactly_the_voxels_of_any_mask() -> None:
    rng = np.random.default_rng(0)
    for _ in range(400):
        shape = tuple(rng.integers(1, 13, 2))
        plane = rng.random(shape) < rng.random()
        loops = outlines(plane)
        joined = keyholes(loops)
        assert sum(area_of(polygon) for polygon, _ in loops) == plane.sum()
        assert sum(area_of(polygon) for polygon in joined) == plane.sum()
        size = (int(shape[0]), int(shape[1]))
        for polygons in (joined, [polygon for polygon, _ in loops]):
            assert np.array_equal(combined([(polygon - 0.5, False) for polygon in polygons], size, True), plane)
        alone = [combined([(polygon - 0.5, False)], size, True) for polygon in joined]
        assert np.array_equal(np.any([np.zeros(size, bool), *alone], axis=0), plane), "each contour stands by itself"


def test_the_object_says_what_it_is_and_where_it_belongs(tmp_path: Path, catalogue: Catalogue) -> None:
    series(tmp_path / "s", PatientName="Müller^Änne", SpecificCharacterSet="ISO_IR 100", SeriesNumber=7)
    image = only(tmp_path / "s", catalogue)
    found = blobs(image)
    found.array[found.array == 2] = 0
    item = written(found, tmp_path / "m.dcm")
    dataset, source = dcmread(tmp_path / "m.dcm"), dcmread(image.files[0])
    for name in ("StudyInstanceUID", "PatientID", "FrameOfReferenceUID", "PatientName", "StudyDate"):
        assert str(getattr(dataset, name)) == str(getattr(source, name)), name
    assert dataset.Modality == "RTSTRUCT" and dataset.SeriesNumber == 9107
    assert [roi.ROIName for roi in dataset.StructureSetROISequence] == list(LABELS.names)
    (frame,) = dataset.ReferencedFrameOfReferenceSequence
    referred = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert referred.SeriesInstanceUID == image.series and len(referred.ContourImageSequence) == 9
    one, two, _ = dataset.ROIContourSequence
    assert "ContourSequence" not in two and len(one.ROIDisplayColor) == 3
    uids = [str(dcmread(file).SOPInstanceUID) for file in image.files]
    for contour in one.ContourSequence:
        points = np.array(contour.ContourData, float).reshape(-1, 3) * (-1, -1, 1)
        k = np.linalg.inv(image.affine[:3, :3]) @ (points - image.affine[:3, 3]).T
        assert np.ptp(k[2]) < 1e-3
        assert contour.ContourImageSequence[0].ReferencedSOPInstanceUID == uids[round(float(k[2].mean()))]
    observed = [one.RTROIInterpretedType for one in dataset.RTROIObservationsSequence]
    assert observed == ["ORGAN", "ORGAN", ""]
    code = dataset.RTROIObservationsSequence[0].RTROIIdentificationCodeSequence[0]
    assert (code.CodeValue, code.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning) == ("64033007", "Left")
    assert item.facts["references"] == [image.series] and item.facts["names"] == list(LABELS.names)
    assert same(READER.structures(item, found), wanted(found))
    again = written(found, tmp_path / "n.dcm")
    assert again.series == item.series
    assert dcmread(tmp_path / "n.dcm").SOPInstanceUID == dataset.SOPInstanceUID


@DCIODVFY
@pytest.mark.parametrize("orientation", ["axial", "oblique"])
@pytest.mark.parametrize("empty", [False, True])
def test_a_strict_checker_finds_no_error(empty: bool, orientation: str, tmp_path: Path, catalogue: Catalogue) -> None:
    series(tmp_path / "s", ORIENTATIONS[orientation])
    found = blobs(only(tmp_path / "s", catalogue))
    written(found.with_array(found.array * (not empty)), tmp_path / "m.dcm")
    assert complaints(tmp_path / "m.dcm") == []


def test_a_contour_longer_than_a_short_element_is_whole(tmp_path: Path, catalogue: Catalogue) -> None:
    """In explicit transfer syntaxes the points of a contour could not be longer than 65534 bytes."""
    series(tmp_path / "s", shape=(1600, 4, 2))
    image = only(tmp_path / "s", catalogue)
    array = np.zeros(image.shape, np.uint8)
    array[::2, 1:], array[:, 0] = 1, 1
    found = Volume(array, image.affine, item=image)
    labels = Labels((Label(1, "comb"),))
    item = written(found, tmp_path / "m.dcm", labels)
    dataset = dcmread(tmp_path / "m.dcm")
    raw = dataset.ROIContourSequence[0].ContourSequence[0].get_item(POINTS)
    assert len(raw.value) > 65534
    assert same(READER.structures(item, found), wanted(found, labels))


def test_an_enhanced_scan_gets_its_contours(tmp_path: Path, catalogue: Catalogue) -> None:
    array = np.arange(19 * 14 * 9, dtype=np.int16).reshape(1, 19, 14, 9)
    make_enhanced(tmp_path / "e.dcm", array, turned(20, -35, 12))
    found = blobs(only(tmp_path / "e.dcm", catalogue))
    item = written(found, tmp_path / "m.dcm")
    assert same(READER.structures(item, found), wanted(found))


def test_the_reader_of_dicom_hands_it_over(mask: Volume, tmp_path: Path, catalogue: Catalogue) -> None:
    own = written(mask, tmp_path / "m.dcm")
    (item,) = scan(tmp_path / "m.dcm", catalogue)
    assert (item.reader, item.kind, item.modality) == ("dicom-rtstruct", "structures", "RTSTRUCT")
    assert item.facts["references"] == own.facts["references"] and item.facts["names"] == own.facts["names"]
    with pytest.raises(BadImage, match="together with the scan"):
        read_item(item, catalogue)


def test_contours_in_planes_across_the_slices_are_filled(mask: Volume, tmp_path: Path) -> None:
    corners = [(6, 2.4, 0.5), (6, 9.6, 0.5), (6, 9.6, 6.5), (6, 2.4, 6.5)]
    item = by_hand(mask, tmp_path / "m.dcm", [corners])
    meant = np.zeros(mask.shape, bool)
    meant[6, 3:10, 1:7] = True
    assert same(READER.structures(item, mask), {"Tumour": meant})


@pytest.mark.parametrize("where", [square(2, 9, 3.4), square(2, 9, 4.7), square(2, 9, 0.5)])
def test_contours_between_slices_are_refused(where: Any, mask: Volume, tmp_path: Path) -> None:
    with pytest.raises(BadImage, match=r"between slices, (1|0\.75|1\.2|1\.3) mm from the nearest"):
        READER.structures(by_hand(mask, tmp_path / "m.dcm", [where]), mask)


def test_contours_in_no_plane_and_beyond_the_scan_are_refused(mask: Volume, tmp_path: Path) -> None:
    skewed = [(2, 2, 1), (9, 2, 3), (9, 9, 4), (2, 9, 2)]
    with pytest.raises(BadImage, match="in no plane"):
        READER.structures(by_hand(mask, tmp_path / "m.dcm", [skewed]), mask)
    for outside in (square(2, 9, 12), square(2, 9, -3), [(i + 30, j, k) for i, j, k in square(2, 9, 3)]):
        item = by_hand(mask, tmp_path / "m.dcm", [outside, square(2.5, 8.5, 3)])
        with pytest.raises(BadImage, match="beyond the edge"):
            READER.structures(item, mask)
        kept = RtstructReader(RtstructReaderOptions(outside="drop")).structures(item, mask)
        assert kept["Tumour"].sum() == 36
    cut = by_hand(mask, tmp_path / "m.dcm", [square(-5.5, 3.5, 3)])
    assert READER.structures(cut, mask)["Tumour"].sum() == 16


def test_holes_islands_and_overlaps_of_contours(mask: Volume, tmp_path: Path) -> None:
    nested = [square(6.5, 7.5, 3), square(0.5, 12.5, 3), square(4.5, 9.5, 3)]
    found = READER.structures(by_hand(mask, tmp_path / "m.dcm", nested), mask)["Tumour"]
    assert found.sum() == 144 - 25 + 1 and found[7, 7, 3] and not found[5, 5, 3]
    overlap = [square(0.5, 5.5, 3), square(3.5, 8.5, 3)]
    assert READER.structures(by_hand(mask, tmp_path / "m.dcm", overlap), mask)["Tumour"].sum() == 46
    exclusive = by_hand(mask, tmp_path / "m.dcm", overlap, kind="CLOSEDPLANAR_XOR")
    assert READER.structures(exclusive, mask)["Tumour"].sum() == 42
    twice = by_hand(mask, tmp_path / "m.dcm", [square(0.5, 5.5, 3)] * 2)
    assert READER.structures(twice, mask)["Tumour"].sum() == 25


def box(low: float, high: float) -> Any:
    return np.array([(low, low), (high, low), (high, high), (low, high)])


def disc(radius: float, corners: int = 60, aside: float = 0.0) -> Any:
    angles = 2 * np.pi * np.arange(corners) / corners
    return 20 + np.stack([aside + radius * np.cos(angles), 0.5 + radius * np.sin(angles)], axis=1)


OUTER, HOLE, ISLAND = box(4.5, 24.5), box(8.5, 16.5), box(10.5, 12.5)
KEYHOLE = np.concatenate([OUTER[:1], HOLE, HOLE[:1], OUTER])

CONTOURS: dict[str, tuple[list[Any], int]] = {
    "one": ([OUTER], 400),
    "hole": ([OUTER, HOLE], 336),
    "island": ([OUTER, HOLE, ISLAND], 340),
    "twice": ([OUTER, OUTER], 400),
    "three times": ([OUTER, OUTER, OUTER], 400),
    "other start": ([OUTER, np.roll(OUTER, 1, axis=0)], 400),
    "other direction": ([OUTER, OUTER[::-1]], 400),
    "closed by its first point": ([OUTER, np.concatenate([OUTER, OUTER[:1]])], 400),
    "points between corners": (
        [OUTER, np.stack([OUTER, (2 * OUTER + np.roll(OUTER, -1, 0)) / 3], 1).reshape(-1, 2)],
        400,
    ),
    "other points": ([disc(8), disc(8, 120)], 196),
    "few points": ([disc(8), disc(8, 40)], 196),
    "a hair aside": ([disc(8), disc(8, aside=0.0004)], 196),
    "a hundredth aside": ([disc(8), disc(8, aside=0.01)], 196),
    "hole twice": ([OUTER, HOLE, HOLE[::-1]], 336),
    "hole and outline twice": ([OUTER, HOLE, np.roll(HOLE, 2, axis=0), OUTER[::-1] + 3e-4], 336),
    "hole at the edge, a hair beyond it": ([OUTER, box(4.4997, 12.5)], 336),
    "keyhole": ([KEYHOLE], 336),
    "keyhole twice": ([KEYHOLE, KEYHOLE[::-1]], 336),
    "keyhole and outline": ([KEYHOLE, OUTER], 400),
    "island in a keyhole": ([KEYHOLE, ISLAND], 340),
    "overlap": ([box(4.5, 14.5), box(9.5, 19.5)], 175),
    "overlap of one size and form": ([disc(8), disc(8, aside=1)], 212),
    "two holes that overlap": ([OUTER, box(8.5, 14.5), box(12.5, 18.5)], 400 - 68),
    "hole in two that overlap": ([box(4.5, 14.5), box(7.5, 17.5), box(9.5, 11.5)], 151 - 4),
    "ring of a voxel": ([OUTER, box(5.5, 23.5)], 400 - 324),
    "tiny hole": ([OUTER, box(9.7, 9.82), box(12.1, 12.9)], 400),
}


@pytest.mark.parametrize("name", CONTOURS)
def test_contours_of_a_slice_are_combined_by_their_places_alone(name: str, seeded: None) -> None:
    contours, count = CONTOURS[name]
    random = np.random.default_rng(0)
    first = combined([(contour, False) for contour in contours], (40, 40), True)
    assert first.sum() == count
    for _ in range(6):
        changed = []
        for number in random.permutation(len(contours)):
            contour = np.roll(contours[number], random.integers(9), axis=0)
            contour = contour[:: random.choice([-1, 1])] + random.uniform(-4e-4, 4e-4, contour.shape)
            changed.append((contour, False))
        assert np.array_equal(combined(changed, (40, 40), True), first)
    small = combined([(contour, False) for contour in contours], (40, 40), True, (0.05, 0.05))
    assert small.sum() == count  # a grid of a twentieth of a millimetre


@pytest.mark.parametrize("contours", [[square(0.5, 5.5, 3)] * 2, [square(3.6, 3.9, 3)]])
def test_a_structure_of_which_nothing_is_left_is_named(contours: Any, mask: Volume, tmp_path: Path) -> None:
    told: list[Problem] = []
    kind = "CLOSEDPLANAR_XOR" if len(contours) == 2 else "CLOSED_PLANAR"
    item = by_hand(mask, tmp_path / "m.dcm", contours, kind)
    assert not READER.structures(item, mask, told.append)["Tumour"].any()
    assert [one.code for one in told] == ["empty-structure"] and "'Tumour'" in told[0].message
    told.clear()
    some = by_hand(mask, tmp_path / "m.dcm", [*contours, square(0.5, 5.5, 4)], kind)
    assert READER.structures(some, mask, told.append)["Tumour"].sum() == 25
    assert [one.code for one in told] == ["empty-structure"] * (len(contours) - 1)


@pytest.mark.parametrize(("inner", "codes"), [(0.85, ["thin-ring"]), (1.5, []), (0.501, [])])
def test_a_ring_too_thin_for_a_voxel_is_named(inner: float, codes: list[str], mask: Volume, tmp_path: Path) -> None:
    told: list[Problem] = []
    item = by_hand(mask, tmp_path / "m.dcm", [square(0.5, 12.5, 3), square(inner, 13 - inner, 3), square(0.9, 1.1, 3)])
    found = READER.structures(item, mask, told.append)["Tumour"]
    assert [one.code for one in told] == codes
    assert found.sum() == {0.85: 1, 1.5: 144 - 100 - 1, 0.501: 144 - 1}[inner]


def test_contours_on_every_second_slice_are_named(mask: Volume, tmp_path: Path) -> None:
    told: list[Problem] = []
    item = by_hand(mask, tmp_path / "m.dcm", [square(0.5, 5.5, k) for k in (1, 3, 5)])
    READER.structures(item, mask, told.append)
    assert [one.code for one in told] == ["sparse-contours"] and "every second slice" in told[0].message


def test_a_contour_through_the_centres_of_voxels_counts_them_or_not(mask: Volume, tmp_path: Path) -> None:
    item = by_hand(mask, tmp_path / "m.dcm", [square(2, 9, 3)])
    assert READER.structures(item, mask)["Tumour"].sum() == 64
    inner = RtstructReader(RtstructReaderOptions(boundary="outside"))
    assert inner.structures(item, mask)["Tumour"].sum() == 36


def test_gaps_between_contours_stay_unless_they_are_to_be_filled(mask: Volume, tmp_path: Path) -> None:
    item = by_hand(mask, tmp_path / "m.dcm", [square(1.5, 10.5, 2), square(3.5, 8.5, 6)])
    found = READER.structures(item, mask)["Tumour"]
    assert [int(n) for n in found.sum((0, 1))] == [0, 0, 81, 0, 0, 0, 25, 0, 0]
    filled = RtstructReader(RtstructReaderOptions(gaps="interpolate")).structures(item, mask)["Tumour"]
    counts = [int(n) for n in filled.sum((0, 1))]
    assert counts[2] == 81 and counts[6] == 25 and counts[:2] == [0, 0] and counts[7:] == [0, 0]
    assert counts[2] >= counts[3] >= counts[4] >= counts[5] >= counts[6] and counts[4] == 49


@pytest.mark.parametrize("kind", ["POINT", "OPEN_PLANAR", "OPEN_NONPLANAR"])
def test_points_and_open_lines_enclose_nothing_and_are_noted(kind: str, mask: Volume, tmp_path: Path) -> None:
    item = by_hand(mask, tmp_path / "m.dcm", [square(2, 9, 3.3)[:1] if kind == "POINT" else square(2, 9, 3.3)], kind)
    assert not READER.structures(item, mask)["Tumour"].any()
    assert [problem.code for problem in item.problems] == ["open-contour"]


def text(points: str | bytes) -> Callable[[Dataset], None]:
    def edit(dataset: Dataset) -> None:
        contour = dataset.ROIContourSequence[0].ContourSequence[0]
        raw = points.encode() if isinstance(points, str) else points
        contour[POINTS] = RawDataElement(Tag(POINTS), "DS", len(raw), raw, 0, True, True)

    return edit


def miscounted(dataset: Dataset) -> None:
    dataset.ROIContourSequence[0].ContourSequence[0].NumberOfContourPoints = 77


def unnumbered(dataset: Dataset) -> None:
    dataset.StructureSetROISequence[0].ROINumber = None


def doubled(dataset: Dataset) -> None:
    dataset.StructureSetROISequence[1].ROINumber = 1


def hollow(dataset: Dataset) -> None:
    del dataset.StructureSetROISequence, dataset.ROIContourSequence


def elsewhere(dataset: Dataset) -> None:
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (text("1\\2\\3\\4"), "4 numbers"),
        (text("1\\2\\nan\\4\\5\\6"), "nowhere in a patient"),
        (text("1\\2\\1e30\\4\\5\\6"), "nowhere in a patient"),
        (text("1\\\\3\\4\\5\\6"), "not numbers"),
        (text("a\\b\\c"), "not numbers"),
        (text(b"\xff\xfe\\1\\2"), "not numbers"),
        (miscounted, "says it has 77"),
        (unnumbered, "has no number"),
        (doubled, "have the number 1"),
        (hollow, "no regions"),
        (elsewhere, "not an RTSTRUCT"),
    ],
)
def test_damaged_objects_are_refused_in_a_sentence(
    edit: Callable[[Dataset], None], message: str, mask: Volume, tmp_path: Path
) -> None:
    item = written(mask, tmp_path / "m.dcm")
    dataset = dcmread(tmp_path / "m.dcm")
    edit(dataset)
    dataset.save_as(tmp_path / "m.dcm")
    with pytest.raises(BadImage, match=message):
        READER.structures(item, mask)


def test_contours_without_points_and_regions_without_names_are_understood(mask: Volume, tmp_path: Path) -> None:
    item = written(mask, tmp_path / "m.dcm")
    dataset = dcmread(tmp_path / "m.dcm")
    dataset.StructureSetROISequence[0].ROIName = ""
    dataset.StructureSetROISequence[2].ROIName = dataset.StructureSetROISequence[1].ROIName
    first = dataset.ROIContourSequence[0]
    for contour in first.ContourSequence:
        contour[POINTS] = DataElement(POINTS, "DS", None)
        del contour.NumberOfContourPoints
    dataset.save_as(tmp_path / "m.dcm")
    meant = wanted(mask)
    found = READER.structures(item, mask)
    assert found.keys() == {"ROI 1", "mystery"} and not found["ROI 1"].any()
    assert np.array_equal(found["mystery"], meant["mystery"] | meant["Tumour"])
    (described,) = DicomReader().scan([tmp_path / "m.dcm"])
    assert set(described.facts["names"]) == found.keys(), "a layout asks for regions by the names that they are read by"


def test_very_many_contours_are_read_in_a_moment(mask: Volume, tmp_path: Path) -> None:
    item = by_hand(mask, tmp_path / "m.dcm", [square(2.5, 8.5, k % 9) for k in range(900)])
    assert READER.structures(item, mask)["Tumour"].sum() == 36 * 9


def test_a_file_cut_anywhere_is_refused_or_whole(mask: Volume, tmp_path: Path) -> None:
    item = written(mask, tmp_path / "m.dcm")
    atomic_write = (tmp_path / "m.dcm").read_bytes()
    observations = len(dcmread(tmp_path / "m.dcm").RTROIObservationsSequence) * 400
    for length in range(0, len(atomic_write) - observations, len(atomic_write) // 41):
        (tmp_path / "m.dcm").write_bytes(atomic_write[:length])
        with pytest.raises(BadImage):
            READER.structures(item, mask)


def test_random_bytes_never_crash(mask: Volume, tmp_path: Path) -> None:
    item = written(mask, tmp_path / "m.dcm")
    assert refused_when_spoilt(READER, item, mask, times=90, bytes_each=4) > 10


def test_another_frame_of_reference_is_refused_unless_it_names_the_series(mask: Volume, tmp_path: Path) -> None:
    item = written(mask, tmp_path / "m.dcm")
    check_other_frames(READER, item, mask)


def test_contours_in_the_wrong_place_are_never_kept(
    mask: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = writer._points
    monkeypatch.setattr(writer, "_points", lambda corners, k, affine: right(corners + np.array([1, 0]), k, affine))
    with pytest.raises(DataError, match="was not kept: the written contours of 'Left kidney' enclose"):
        written(mask, tmp_path / "out" / "m.dcm")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_picture_without_a_place_is_refused(tmp_path: Path, catalogue: Catalogue) -> None:
    def lose(_: int, one: Dataset) -> None:
        for name in ("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID"):
            delattr(one, name)
        one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"

    series(tmp_path / "s", shape=(21, 13, 1), Modality="CR", edit=lose)
    with pytest.raises(DataError, match="no place there"):
        written(blobs(only(tmp_path / "s", catalogue)), tmp_path / "m.dcm")


def filled_by_plastimatch(path: Path, scanned: Path, names: tuple[str, ...]) -> dict[str, Any]:
    import SimpleITK as sitk

    out = path.with_suffix("")
    call = ["plastimatch", "convert", "--input", str(path), "--referenced-ct", str(scanned)]
    call += ["--output-prefix", str(out), "--prefix-format", "nii.gz"]
    subprocess.run(call, capture_output=True, check=True)
    images = {name: sitk.ReadImage(str(out / f"{name}.nii.gz")) for name in names}
    return {name: sitk.GetArrayFromImage(image).T != 0 for name, image in images.items()}


@pytest.mark.skipif(shutil.which("plastimatch") is None, reason="plastimatch (Debian) is not installed")
def test_plastimatch_fills_exactly_the_mask(tmp_path: Path, catalogue: Catalogue) -> None:
    """Holes too, because they are drawn by keyhole: it fills each contour by itself."""
    series(tmp_path / "s", np.diag([-1.0, -1.0, 2.5, 1.0]), shape=(40, 40, 8))
    image = only(tmp_path / "s", catalogue)
    x, y, z = np.ogrid[:40, :40, :8]
    away = (x - 19) ** 2 + (y - 17) ** 2 + 0 * z
    array = ((away < 200) & (away > 40) & (z > 1) & (z < 7)).astype(np.uint8)
    array[30:34, 33:35, 4] = 2
    found = Volume(array, image.affine, item=image)
    labels = Labels((Label(1, "ring"), Label(2, "dot")))
    written(found, tmp_path / "m.dcm", labels)
    assert same(filled_by_plastimatch(tmp_path / "m.dcm", tmp_path / "s", labels.names), wanted(found, labels))


def test_contours_of_rt_utils_are_read_as_the_mask_they_were_made_of(tmp_path: Path, catalogue: Catalogue) -> None:
    rt_utils = pytest.importorskip("rt_utils", reason="rt-utils is not installed")
    series(tmp_path / "s", np.diag([-1.0, -1.0, 2.5, 1.0]), shape=(40, 40, 8))
    image = only(tmp_path / "s", catalogue)
    x, y, z = np.ogrid[:40, :40, :8]
    away = (x - 19) ** 2 + (y - 17) ** 2 + 0 * z
    array = ((away < 200) & (away > 40) & (z > 1) & (z < 7)).astype(np.uint8)
    built = rt_utils.RTStructBuilder.create_new(dicom_series_path=str(tmp_path / "s"))
    built.add_roi(mask=array.transpose(1, 0, 2) != 0, name="ring")
    built.save(str(tmp_path / "m.dcm"))
    (item,) = READER.scan([tmp_path / "m.dcm"])
    like = Volume(np.zeros(image.shape), image.affine, item=image)
    assert np.array_equal(READER.structures(item, like)["ring"], array != 0)
