"""Tests of the DICOM SEG reader: every voxel at its place in the scan, whoever wrote the object, or a plain refusal."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from dicom_masks import (
    LABELS,
    ORIENTATIONS,
    blobs,
    check_other_frames,
    only,
    overlapping,
    same,
    series,
    turned,
    wanted,
)
from dicom_segmentations import READER, edited, written
from dicom_series import make_enhanced
from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import BadImage, DataError
from voxgraft.imaging.read import read_item, scan
from voxgraft.imaging.volume import Item, Volume
from voxgraft.imaging.write import write
from voxgraft_dicom.seg.options import SegReaderOptions
from voxgraft_dicom.seg.reader import SegReader


@pytest.mark.parametrize("options", [{}, {"kind": "labelmap"}, {"kind": "labelmap", "compress": "rle"}], ids=str)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_what_was_written_comes_back_voxel_by_voxel(
    orientation: str, options: dict[str, str], tmp_path: Path, catalogue: Catalogue
) -> None:
    series(tmp_path / "s", ORIENTATIONS[orientation])
    mask = blobs(only(tmp_path / "s", catalogue))
    item = written(mask, tmp_path / "m.dcm", **options)
    assert same(READER.structures(item, mask), wanted(mask))


def test_structures_that_overlap_come_back(tmp_path: Path, catalogue: Catalogue) -> None:
    series(tmp_path / "s")
    mask = overlapping(only(tmp_path / "s", catalogue))
    item = written(mask, tmp_path / "m.dcm")
    assert same(READER.structures(item, mask), wanted(mask))
    alone = read_item(item, catalogue)
    assert alone.array.shape == mask.array.shape and np.array_equal(alone.array, mask.array)
    with pytest.raises(DataError, match="overlap fit no label map"):
        written(mask, tmp_path / "n.dcm", kind="labelmap")


def test_the_reader_of_dicom_hands_it_over(tmp_path: Path, catalogue: Catalogue) -> None:
    series(tmp_path / "s")
    mask = blobs(only(tmp_path / "s", catalogue))
    own = written(mask, tmp_path / "s" / "m.dcm")
    seg, image = sorted(scan(tmp_path / "s", catalogue), key=lambda item: item.kind, reverse=True)
    assert (seg.reader, seg.kind, image.kind) == ("dicom-seg", "structures", "image")
    assert seg.facts["references"] == own.facts["references"] == [image.series]
    assert same(READER.structures(seg, Volume(np.zeros(image.shape), image.affine, item=image)), wanted(mask))


def test_read_alone_it_lies_where_the_mask_lies(tmp_path: Path, catalogue: Catalogue) -> None:
    series(tmp_path / "s")
    mask = blobs(only(tmp_path / "s", catalogue))
    item = written(mask, tmp_path / "m.dcm")
    alone = read_item(item, catalogue)
    assert alone.shape == item.shape and np.allclose(alone.affine, item.affine)
    for value in LABELS.values:
        found, meant = (
            np.argwhere(volume.array == value) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
            for volume in (alone, mask)
        )
        assert found.shape == meant.shape
        assert np.allclose(found[np.lexsort(found.round(2).T)], meant[np.lexsort(meant.round(2).T)], atol=1e-3)


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::-1],
        lambda a: a[:, ::-1, ::-1],
        lambda a: a.transpose(2, 0, 1),
        lambda a: a.transpose(1, 0, 2)[:, ::-1],
        lambda a: np.pad(a, ((0, 0), (4, 1), (2, 3))),
    ],
    ids=["flipped", "turned", "permuted", "mirrored", "larger"],
)
def test_a_scan_on_other_axes_of_the_same_lattice_gets_every_voxel(
    view: Callable[[Any], Any], tmp_path: Path, catalogue: Catalogue
) -> None:
    """The scan that the object is read onto has its axes flipped, permuted or longer."""
    series(tmp_path / "s")
    mask = blobs(only(tmp_path / "s", catalogue))
    item = written(mask, tmp_path / "m.dcm")
    index = np.stack(np.meshgrid(*(np.arange(n) for n in mask.shape), indexing="ij"), axis=-1)
    axes = np.stack([view(index[..., axis]) for axis in range(3)], axis=-1).astype(float)
    array = view(mask.array)
    inside = np.argwhere(view(np.ones(mask.shape, np.uint8)))
    design = np.column_stack([inside, np.ones(len(inside))])
    solved = np.linalg.lstsq(design, axes[tuple(inside.T)], rcond=None)[0].T
    like = Volume(array, mask.affine @ np.vstack([solved, [0, 0, 0, 1]]))
    assert same(READER.structures(item, like), wanted(like))


def test_an_object_beyond_the_scan_is_refused_or_cut(tmp_path: Path, catalogue: Catalogue) -> None:
    series(tmp_path / "s")
    mask = blobs(only(tmp_path / "s", catalogue))
    item = written(mask, tmp_path / "m.dcm")
    affine = mask.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [5, 0, 0]
    like = Volume(mask.array[5:], affine)
    lost = np.count_nonzero(mask.array[:5])
    assert lost
    with pytest.raises(BadImage, match=f"{lost} of its voxels lie beyond the edge"):
        READER.structures(item, like)
    assert same(SegReader(SegReaderOptions(outside="drop")).structures(item, like), wanted(like))


@pytest.mark.parametrize(
    ("step", "message"),
    [((0.3, 0, 0), r"0\.27 mm \(0\.3 voxels\) off"), ((0, 0, 0.5), "off the scan"), ((0, 0.2, 0.2), "off the scan")],
)
def test_a_grid_that_lies_between_voxels_is_refused(
    step: tuple[float, ...], message: str, tmp_path: Path, catalogue: Catalogue
) -> None:
    series(tmp_path / "s")
    mask = blobs(only(tmp_path / "s", catalogue))
    item = written(mask, tmp_path / "m.dcm")
    affine = mask.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ step
    with pytest.raises(BadImage, match=message):
        READER.structures(item, Volume(mask.array, affine))
    moved = SegReader(SegReaderOptions(resample=True, outside="drop")).structures(item, Volume(mask.array, affine))
    assert {name: bits.shape for name, bits in moved.items()} == dict.fromkeys(LABELS.names, mask.shape)


@pytest.mark.parametrize("factors", [(2, 1, 1), (1, 1, 2), (1, 0.5, 1)])
def test_voxels_of_another_size_are_refused_or_resampled(
    factors: tuple[float, ...], tmp_path: Path, catalogue: Catalogue
) -> None:
    series(tmp_path / "s")
    mask = blobs(only(tmp_path / "s", catalogue))
    item = written(mask, tmp_path / "m.dcm")
    shape = tuple(max(1, int(n / f)) for n, f in zip(mask.shape, factors, strict=True))
    like = Volume(np.zeros(shape, np.uint8), mask.affine @ np.diag([*factors, 1]))
    with pytest.raises(BadImage, match="resample"):
        READER.structures(item, like)
    found = SegReader(SegReaderOptions(resample=True)).structures(item, like)
    assert found["Left kidney"].shape == shape and found["Left kidney"].any()


def test_an_object_of_thick_slices_leaves_no_stripes(tmp_path: Path, catalogue: Catalogue) -> None:
    affine = turned(20, -35, 12)
    series(tmp_path / "s", affine @ np.diag([1, 1, 2, 1]))
    item = written(blobs(only(tmp_path / "s", catalogue)), tmp_path / "m.dcm")
    with pytest.raises(BadImage, match="thicker than the scan's"):
        READER.structures(item, Volume(np.zeros((19, 14, 18)), affine))


def test_an_enhanced_scan_gets_its_mask(tmp_path: Path, catalogue: Catalogue) -> None:
    array = np.arange(19 * 14 * 9, dtype=np.int16).reshape(1, 19, 14, 9)
    make_enhanced(tmp_path / "e.dcm", array, turned(20, -35, 12))
    image = only(tmp_path / "e.dcm", catalogue)
    mask = blobs(image)
    item = written(mask, tmp_path / "m.dcm")
    assert same(READER.structures(item, mask), wanted(mask))
    seg = dcmread(tmp_path / "m.dcm")
    frame = seg.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert 1 <= frame.ReferencedFrameNumber <= 9 and len(item.facts["instances"]) == 1


def test_a_picture_without_a_place_gets_its_mask_by_its_pixels(tmp_path: Path, catalogue: Catalogue) -> None:
    def lose(_: int, one: Dataset) -> None:
        for name in ("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID"):
            delattr(one, name)
        one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"

    series(tmp_path / "s", shape=(21, 13, 1), Modality="CR", edit=lose)
    image = only(tmp_path / "s", catalogue)
    assert len(image.shape) == 2
    mask = blobs(image)
    item = written(mask, tmp_path / "m.dcm")
    assert same(READER.structures(item, mask), wanted(mask))
    seg = dcmread(tmp_path / "m.dcm")
    assert "FrameOfReferenceUID" not in seg
    with pytest.raises(BadImage, match="21x13 pixels are not 13x21"):
        READER.structures(item, Volume(mask.array.T, mask.affine, dims=2))
    with pytest.raises(BadImage, match="no place in the patient"):
        read_item(item, catalogue)


def by_highdicom(mask: Volume, path: Path, kind: str, syntax: str | None = None) -> Item:
    import highdicom
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom.sr.codedict import codes

    assert mask.item is not None
    array = mask.array.T
    if kind == "FRACTIONAL":
        array = np.stack([(mask.array == value).T * 0.6 + 0.39 for value in LABELS.values], axis=-1)
    Segmentation(
        source_images=[dcmread(file) for file in mask.item.files],
        pixel_array=np.ascontiguousarray(array),
        segmentation_type=kind,
        segment_descriptions=[
            SegmentDescription(label.value, label.name, codes.SCT.Tissue, codes.SCT.Tissue, "MANUAL")
            for label in LABELS.items
        ],
        series_instance_uid=highdicom.UID(),
        sop_instance_uid=highdicom.UID(),
        series_number=2,
        instance_number=1,
        manufacturer="x",
        manufacturer_model_name="x",
        software_versions="1",
        device_serial_number="1",
        **({"transfer_syntax_uid": syntax} if syntax else {}),
    ).save_as(path)
    (item,) = READER.scan([path])
    return item


@pytest.mark.parametrize(
    ("kind", "syntax"),
    [
        ("BINARY", None),
        ("BINARY", JPEG2000Lossless),
        ("LABELMAP", None),
        ("LABELMAP", RLELossless),
        ("LABELMAP", JPEG2000Lossless),
        ("FRACTIONAL", None),
        ("FRACTIONAL", RLELossless),
    ],
)
def test_objects_of_highdicom_are_read(kind: str, syntax: str | None, tmp_path: Path, catalogue: Catalogue) -> None:
    series(tmp_path / "s", shape=(40, 36, 9))
    mask = blobs(only(tmp_path / "s", catalogue))
    item = by_highdicom(mask, tmp_path / "m.dcm", kind, syntax)
    assert same(READER.structures(item, mask), wanted(mask))
    assert [problem.code for problem in item.problems] == (["fractional"] if kind == "FRACTIONAL" else [])
    if kind == "FRACTIONAL":
        low = SegReader(SegReaderOptions(threshold=0.3))
        assert all(bits.all() for bits in low.structures(item, mask).values())


def test_a_deflated_object_is_read(tmp_path: Path, catalogue: Catalogue) -> None:
    series(tmp_path / "s", shape=(16, 16, 9))
    mask = blobs(only(tmp_path / "s", catalogue))
    item = written(mask, tmp_path / "m.dcm")
    dataset = dcmread(tmp_path / "m.dcm")
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(tmp_path / "m.dcm")
    assert same(READER.structures(item, mask), wanted(mask))


def tool(name: str) -> str:
    found = shutil.which(name) or shutil.which(str(Path(sys.executable).with_name(name)))
    if found is None:
        pytest.skip(f"{name} (the package dcmqi) is not installed")
    return found


@pytest.mark.parametrize("orientation", ["axial", "oblique"])
def test_objects_of_dcmqi_are_read(orientation: str, tmp_path: Path, catalogue: Catalogue) -> None:
    import SimpleITK as sitk

    series(tmp_path / "s", ORIENTATIONS[orientation])
    mask = blobs(only(tmp_path / "s", catalogue))
    write(mask, tmp_path / "m.nii.gz", catalogue)
    assert sitk.ReadImage(str(tmp_path / "m.nii.gz")).GetSize() == mask.shape
    code = {"CodeValue": "85756007", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Tissue"}
    rows = [
        {
            "labelID": label.value,
            "SegmentLabel": label.name,
            "SegmentDescription": label.name,
            "SegmentAlgorithmType": "MANUAL",
            "SegmentedPropertyCategoryCodeSequence": code,
            "SegmentedPropertyTypeCodeSequence": code,
            "recommendedDisplayRGBValue": [255, 0, 0],
        }
        for label in LABELS.items
    ]
    about = {
        "ContentCreatorName": "a",
        "SeriesNumber": "3",
        "InstanceNumber": "1",
        "SeriesDescription": "seg",
        "ContentLabel": "SEGMENTATION",
        "ContentDescription": "seg",
        "ClinicalTrialSeriesID": "1",
        "ClinicalTrialTimePointID": "1",
        "segmentAttributes": [rows],
    }
    (tmp_path / "about.json").write_text(json.dumps(about))
    call = [tool("itkimage2segimage"), "--inputImageList", str(tmp_path / "m.nii.gz")]
    call += ["--inputDICOMDirectory", str(tmp_path / "s"), "--inputMetadata", str(tmp_path / "about.json")]
    done = subprocess.run(
        [*call, "--outputDICOM", str(tmp_path / "m.dcm")], capture_output=True, text=True, check=False
    )
    assert (tmp_path / "m.dcm").exists(), done.stderr
    (item,) = READER.scan([tmp_path / "m.dcm"])
    assert same(READER.structures(item, mask), wanted(mask))


def test_the_liver_of_pydicom_is_read_as_highdicom_reads_it() -> None:
    import highdicom

    store = pytest.importorskip("data_store", reason="pydicom-data is not installed")
    folder = Path(next(iter(store.__path__))) / "data"
    for name in ("liver.dcm", "liver_expb.dcm"):
        (item,) = READER.scan([folder / name])
        volume = READER.read(item)
        truth = highdicom.seg.segread(folder / "liver.dcm").get_volume(combine_segments=True)
        assert np.count_nonzero(volume.array) == np.count_nonzero(truth.array) == 107098
        meant = np.argwhere(truth.array).mean(0) @ truth.affine[:3, :3].T + truth.affine[:3, 3]
        found = np.argwhere(volume.array).mean(0) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
        assert np.allclose(found, meant * (-1, -1, 1), atol=1e-3)


def number(dataset: Dataset) -> None:
    dataset.SegmentSequence[2].SegmentNumber = 9
    for group in dataset.PerFrameFunctionalGroupsSequence:
        identity = group.SegmentIdentificationSequence[0]
        identity.ReferencedSegmentNumber = (
            9 if identity.ReferencedSegmentNumber == 3 else identity.ReferencedSegmentNumber
        )


def twins(dataset: Dataset) -> None:
    dataset.SegmentSequence[2].SegmentLabel = dataset.SegmentSequence[0].SegmentLabel


def nameless(dataset: Dataset) -> None:
    dataset.SegmentSequence[1].SegmentLabel = ""


def test_numbers_with_gaps_and_odd_names_are_understood(tmp_path: Path, catalogue: Catalogue) -> None:
    series(tmp_path / "s")
    mask = blobs(only(tmp_path / "s", catalogue))
    meant = wanted(mask)
    one, two, three = LABELS.names
    for edit, changed in (
        (number, meant),
        (twins, {one: meant[one] | meant[three], two: meant[two]}),
        (nameless, {one: meant[one], "Segment 2": meant[two], three: meant[three]}),
    ):
        written(mask, tmp_path / "m.dcm")
        item = edited(tmp_path / "m.dcm", edit)
        assert same(READER.structures(item, mask), changed)


def test_another_frame_of_reference_is_refused_unless_it_names_the_series(tmp_path: Path, catalogue: Catalogue) -> None:
    series(tmp_path / "s")
    mask = blobs(only(tmp_path / "s", catalogue))
    item = written(mask, tmp_path / "m.dcm")
    check_other_frames(READER, item, mask)


def test_a_series_of_several_times_gets_its_mask_once(tmp_path: Path, catalogue: Catalogue) -> None:
    """The slices of the first time stand for their places."""
    for time in (1, 2):
        series(
            tmp_path / "s",
            name=f"{time}-{{:04d}}.dcm",
            Modality="MR",
            TemporalPositionIdentifier=time,
            SeriesInstanceUID="1.2.3",
            AcquisitionNumber=time,
        )
    found = [item for item in scan(tmp_path / "s", catalogue) if not item.errors]
    for image in found:
        mask = blobs(image)
        item = written(mask, tmp_path / "m.dcm")
        assert same(READER.structures(item, mask), wanted(mask))
    assert [(item.shape, item.channels, len(item.files)) for item in found] == [((19, 14, 9), 2, 18)]
