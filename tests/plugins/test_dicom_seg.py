"""The DICOM SEG writer: every voxel where it was, in the scan's study, and never a file that lies elsewhere."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_masks import DCIODVFY, FACTS, only, turned
from dicom_series import make_series
from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import BadImage, DataError
from voxgraft.imaging.read import read_item
from voxgraft.imaging.structures import Label, Labels
from voxgraft.imaging.volume import Item, Volume
from voxgraft.imaging.write import write
from voxgraft_dicom.objects import sources, terms
from voxgraft_dicom.seg import writer
from voxgraft_dicom.seg.objects import read_object
from voxgraft_dicom.seg.options import SegOptions
from voxgraft_dicom.seg.writer import SegWriter

LABELS = Labels((Label(1, "Left kidney"), Label(4, "mystery"), Label(300, "Tumour")))
LPS = np.array([-1.0, -1.0, 1.0])


def series(folder: Path, affine: Any = None, shape: tuple[int, int, int] = (19, 14, 9), **changes: Any) -> None:
    array = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    make_series(folder, array, turned(0, 0, 0) if affine is None else affine, **changes)


def blobs(item: Item, seed: int = 3) -> Volume:
    """A mask with every label, without any symmetry; some slices stay empty."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(item.shape, np.uint16, order="F")
    for value in LABELS.values:
        for _ in range(3):
            low = [int(rng.integers(0, max(1, n - 3))) for n in item.shape]
            mask[tuple(slice(a, a + int(rng.integers(2, 5))) for a in low)] = value
    mask[:, :, 0] = 0
    mask[1, 2, -1] = 4
    assert set(np.unique(mask)) == {0, *LABELS.values}
    return Volume(mask, item.affine, item=item)


def voxels(mask: Volume, value: int) -> Any:
    """The places of a label's voxels in RAS millimetres, in order."""
    found = np.argwhere(mask.array == value) @ mask.affine[:3, :3].T + mask.affine[:3, 3]
    return found[np.lexsort(found.round(2).T)]


def voxels_in(path: Path, number: int) -> Any:
    """The same of a segment, as highdicom reads it."""
    import highdicom

    volume = highdicom.seg.segread(path).get_volume(segment_numbers=[number], combine_segments=False)
    index = np.argwhere(volume.array[..., 0])
    found = (index @ volume.affine[:3, :3].T + volume.affine[:3, 3]) * LPS
    return found[np.lexsort(found.round(2).T)]


def counts(path: Path) -> list[int]:
    """How many voxels each segment of a file has, in the order of their numbers."""
    seg = read_object(path)
    found = dict.fromkeys(seg.names, 0)
    for frame, plane in seg.planes(0.5):
        found[frame.segment or 0] += int(np.count_nonzero(plane))
    return [found[number] for number in sorted(found)]


def same_places(path: Path, mask: Volume) -> None:
    for number, value in enumerate(LABELS.values, start=1):
        there, wanted = voxels_in(path, number), voxels(mask, value)
        assert there.shape == wanted.shape
        assert np.allclose(there, wanted, atol=0.02)


def matched(path: Path, item: Item) -> Any:
    """The segment numbers in the grid of the series, (column, row, slice) in the order of the item's files."""
    import highdicom

    slices = [dcmread(file) for file in item.files]
    for one in slices:
        one.setdefault("SliceThickness", 1.0)
    volume = highdicom.get_volume_from_series(slices)
    found = highdicom.seg.segread(path).get_volume(combine_segments=True).match_geometry(volume).array.T
    first = np.array(dcmread(item.files[0]).ImagePositionPatient, dtype=float)
    return found if np.allclose(volume.affine[:3, 3], first, atol=1e-3) else found[:, :, ::-1]


@pytest.mark.parametrize("name", ["12-T1post-05670", "36459-FLAIRreg-76244", "13_HCropVolume"])
def test_a_real_series_gets_every_voxel_back(name: str, data: Path, tmp_path: Path, catalogue: Catalogue) -> None:
    item = only(data / "dicom_study" / name, catalogue)
    mask = blobs(item)
    write(mask, tmp_path / "mask.dcm", catalogue, LABELS, FACTS)
    same_places(tmp_path / "mask.dcm", mask)
    numbers = np.zeros(301, int)
    numbers[list(LABELS.values)] = [1, 2, 3]
    assert np.array_equal(matched(tmp_path / "mask.dcm", item), numbers[mask.array])


@pytest.mark.parametrize(
    "affine",
    [
        turned(0, 0, 0),
        turned(0, 0, 180),
        turned(20, -35, 12),
        turned(0, 90, 0) @ np.diag([1, -1, 1, 1]),
        turned(90, 0, 0) @ np.diag([-1, 1, 1, 1]),
        turned(4, 88, 3, spacing=(1.0, 1.0, 1.0)),
    ],
    ids=["axial", "turned", "double-oblique", "sagittal", "coronal", "nearly-sagittal"],
)
def test_any_orientation_gets_every_voxel_back(affine: Any, tmp_path: Path, catalogue: Catalogue) -> None:
    series(tmp_path / "s", affine)
    item = only(tmp_path / "s", catalogue)
    mask = blobs(item)
    write(mask, tmp_path / "mask.dcm", catalogue, LABELS, FACTS)
    same_places(tmp_path / "mask.dcm", mask)
    numbers = np.zeros(301, int)
    numbers[list(LABELS.values)] = [1, 2, 3]
    assert np.array_equal(matched(tmp_path / "mask.dcm", item), numbers[mask.array])


def test_the_object_says_what_it_is_and_where_it_belongs(tmp_path: Path, catalogue: Catalogue) -> None:
    series(tmp_path / "s", PatientName="Müller^Änne", SpecificCharacterSet="ISO_IR 100", SeriesNumber=7)
    item = only(tmp_path / "s", catalogue)
    labels = Labels((*LABELS.items, Label(5, "Größe\\x" + "y" * 80, ("10200004", "SCT", "Liver"))))
    write(blobs(item), tmp_path / "mask.dcm", catalogue, labels, FACTS)
    seg, source = dcmread(tmp_path / "mask.dcm"), dcmread(item.files[0])
    assert (seg.Modality, seg.SegmentationType, seg.file_meta.TransferSyntaxUID) == (
        "SEG",
        "BINARY",
        "1.2.840.10008.1.2.1",
    )
    for name in ("StudyInstanceUID", "PatientID", "FrameOfReferenceUID", "PatientName", "StudyDate"):
        assert str(getattr(seg, name)) == str(getattr(source, name)), name
    assert seg.SeriesInstanceUID != source.SeriesInstanceUID and seg.SeriesNumber == 9007
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    referred = {one.ReferencedSOPInstanceUID for one in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert referred == {dcmread(file).SOPInstanceUID for file in item.files}
    kidney, mystery, tumour, own = seg.SegmentSequence
    kind = kidney.SegmentedPropertyTypeCodeSequence[0]
    assert (kidney.SegmentLabel, kind.CodeValue) == ("Left kidney", "64033007")
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    private = mystery.SegmentedPropertyTypeCodeSequence[0]
    assert (private.CodeValue, private.CodingSchemeDesignator, private.CodeMeaning) == (
        "MYSTERY",
        "99VOXGRAFT",
        "mystery",
    )
    assert [one.CodingSchemeDesignator for one in seg.CodingSchemeIdentificationSequence] == ["99VOXGRAFT"]
    (equipment,) = seg.ContributingEquipmentSequence
    assert (equipment.ManufacturerModelName, equipment.SoftwareVersions[0]) == ("kidney-ct", "3")
    assert equipment.DeviceSerialNumber == "ab" * 32
    assert tumour.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    assert own.SegmentLabel == "Größe x" + "y" * 57 and own.SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"
    made = kidney.SegmentationAlgorithmIdentificationSequence[0]
    assert (made.AlgorithmName, made.AlgorithmVersion) == ("kidney-ct", "3") and "ab" * 32 in made.AlgorithmParameters


def test_the_same_model_replaces_and_another_stands_beside(tmp_path: Path, catalogue: Catalogue) -> None:
    series(tmp_path / "s")
    series(tmp_path / "t")
    one, two = (blobs(only(tmp_path / name, catalogue)) for name in "st")

    def uids(mask: Volume, **facts: str) -> tuple[str, str]:
        write(mask, tmp_path / "mask.dcm", catalogue, LABELS, {**FACTS, **facts})
        seg = dcmread(tmp_path / "mask.dcm", stop_before_pixels=True)
        return str(seg.SeriesInstanceUID), str(seg.SOPInstanceUID)

    found = uids(one)
    assert uids(one) == found and len(set(found)) == 2
    assert not set(uids(one, hash="cd" * 32)) & set(found)
    assert not set(uids(two)) & set(found)


def test_nothing_found_is_a_file_of_its_own(tmp_path: Path, catalogue: Catalogue) -> None:
    import highdicom

    series(tmp_path / "s")
    item = only(tmp_path / "s", catalogue)
    write(Volume(np.zeros(item.shape, np.uint8), item.affine, item=item), tmp_path / "m.dcm", catalogue, LABELS, FACTS)
    seg = highdicom.seg.segread(tmp_path / "m.dcm")
    assert [one.SegmentLabel for one in seg.SegmentSequence] == list(LABELS.names)
    assert (matched(tmp_path / "m.dcm", item) == 0).all() and matched(tmp_path / "m.dcm", item).shape == item.shape
    assert counts(tmp_path / "m.dcm") == [0, 0, 0]


def test_a_mask_of_one_structure_gets_every_voxel_back(tmp_path: Path, catalogue: Catalogue) -> None:
    """The writer then says once, for all frames, which structure they show."""
    series(tmp_path / "s", turned(20, -35, 12))
    item = only(tmp_path / "s", catalogue)
    array = np.zeros(item.shape, np.uint8)
    array[4:9, 2:5, 3:7] = 1
    labels = Labels((Label(1, "Left kidney"),))
    write(Volume(array, item.affine, item=item), tmp_path / "m.dcm", catalogue, labels, FACTS)
    assert np.array_equal(matched(tmp_path / "m.dcm", item), array)
    assert counts(tmp_path / "m.dcm") == [array.sum()]


@pytest.mark.parametrize("k", [0, 4, 8])
def test_a_finding_in_one_slice_keeps_its_place(k: int, tmp_path: Path, catalogue: Catalogue) -> None:
    series(tmp_path / "s", turned(20, -35, 12))
    item = only(tmp_path / "s", catalogue)
    array = np.zeros(item.shape, np.uint8)
    array[4:9, 2:5, k] = 4
    write(Volume(array, item.affine, item=item), tmp_path / "m.dcm", catalogue, LABELS, FACTS)
    assert np.array_equal(matched(tmp_path / "m.dcm", item), array // 2)


def test_a_structure_that_was_not_found_keeps_its_segment(tmp_path: Path, catalogue: Catalogue) -> None:
    series(tmp_path / "s")
    mask = blobs(only(tmp_path / "s", catalogue))
    mask = mask.with_array(np.where(mask.array == 4, 0, mask.array))
    write(mask, tmp_path / "m.dcm", catalogue, LABELS, FACTS)
    assert counts(tmp_path / "m.dcm") == [(mask.array == 1).sum(), 0, (mask.array == 300).sum()]


def test_a_series_with_blank_uids_and_compressed_pixels(data: Path, tmp_path: Path, catalogue: Catalogue) -> None:
    item = only(data / "ct" / "dicom_jpeg2000", catalogue)
    assert not dcmread(item.files[0], stop_before_pixels=True).SOPInstanceUID
    mask = blobs(item)
    write(mask, tmp_path / "mask.dcm", catalogue, LABELS, FACTS)
    same_places(tmp_path / "mask.dcm", mask)
    seg = dcmread(tmp_path / "mask.dcm", stop_before_pixels=True)
    meta = [str(dcmread(file, stop_before_pixels=True).file_meta.MediaStorageSOPInstanceUID) for file in item.files]
    references = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {str(one.ReferencedSOPInstanceUID) for one in references} == set(meta)
    assert seg.StudyInstanceUID and seg.FrameOfReferenceUID
    write(mask, tmp_path / "again.dcm", catalogue, LABELS, FACTS)
    assert dcmread(tmp_path / "again.dcm", stop_before_pixels=True).StudyInstanceUID == seg.StudyInstanceUID


def strip(k: int, dataset: Dataset) -> None:
    for name in ("FrameOfReferenceUID", "SliceThickness", "PatientBirthDate", "StudyID", "ReferringPhysicianName"):
        delattr(dataset, name)
    dataset.StudyInstanceUID = ""


def jitter(k: int, dataset: Dataset) -> None:
    dataset.ImageOrientationPatient = [float(v) + (-1) ** k * 2e-5 for v in dataset.ImageOrientationPatient]
    dataset.PixelSpacing = [float(v) + (-1) ** k * 1e-5 for v in dataset.PixelSpacing]
    x, y, z = (float(v) for v in dataset.ImagePositionPatient)
    dataset.ImagePositionPatient = [x, y, z + (-1) ** k * 0.004]


@pytest.mark.parametrize("edit", [strip, jitter])
def test_headers_as_archives_leave_them_are_filled_in(
    edit: Callable[[int, Dataset], None], tmp_path: Path, catalogue: Catalogue
) -> None:
    series(tmp_path / "s", turned(5, 10, 15), edit=edit)
    before = {file: file.read_bytes() for file in (tmp_path / "s").iterdir()}
    mask = blobs(only(tmp_path / "s", catalogue))
    write(mask, tmp_path / "mask.dcm", catalogue, LABELS, FACTS)
    same_places(tmp_path / "mask.dcm", mask)
    assert before == {file: file.read_bytes() for file in (tmp_path / "s").iterdir()}
    measures = dcmread(tmp_path / "mask.dcm").SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert float(measures.SliceThickness) == pytest.approx(2.5, abs=1e-3)
    remark = dcmread(tmp_path / "mask.dcm").get("ImageComments", "")
    assert ("no StudyInstanceUID, FrameOfReferenceUID, SliceThickness;" in remark) == (edit is strip)


def test_one_slice_is_a_series_too(tmp_path: Path, catalogue: Catalogue) -> None:
    series(tmp_path / "s", shape=(21, 13, 1))
    item = only(tmp_path / "s", catalogue)
    array = np.zeros(item.shape, np.uint8)
    array[3:9, 2:4] = 1
    array[20, 12] = 4
    mask = Volume(array, item.affine, dims=3, item=item)
    write(mask, tmp_path / "mask.dcm", catalogue, LABELS, FACTS)
    assert len(voxels_in(tmp_path / "mask.dcm", 1)) == 12
    assert np.allclose(voxels_in(tmp_path / "mask.dcm", 2), voxels(mask, 4), atol=0.01)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda m: m.with_array(np.where(m.array == 4, 77, m.array)), "77"),
        (lambda m: m.with_array(m.array.astype(np.float32)), "float32"),
        (lambda m: m.with_array(m.array.astype(np.int32) - 1), "-1"),
        (lambda m: m.with_array(m.array[:, :, 1:]), "19x14x8"),
        (lambda m: m.with_array(m.array[1:]), "18x14x9"),
        (lambda m: Volume(np.stack([m.array] * 2), m.affine, item=m.item), "three axes|mask"),
        (lambda m: Volume(m.array, m.affine), "dicom"),
    ],
)
def test_what_is_no_mask_of_the_series_is_refused(
    change: Callable[[Volume], Volume], word: str, tmp_path: Path, catalogue: Catalogue
) -> None:
    series(tmp_path / "s")
    mask = change(blobs(only(tmp_path / "s", catalogue)))
    with pytest.raises(DataError, match=word):
        write(mask, tmp_path / "out" / "mask.dcm", catalogue, LABELS, FACTS)
    assert not list((tmp_path / "out").rglob("*"))


def test_an_image_is_refused(tmp_path: Path, catalogue: Catalogue) -> None:
    series(tmp_path / "s")
    image = read_item(only(tmp_path / "s", catalogue), catalogue)
    with pytest.raises(DataError, match="named structures"):
        write(image, tmp_path / "mask.dcm", catalogue, None, {})


def test_slices_that_changed_since_the_scan_are_refused(tmp_path: Path, catalogue: Catalogue) -> None:
    series(tmp_path / "s")
    mask = blobs(only(tmp_path / "s", catalogue))
    (tmp_path / "s" / "0003.dcm").write_bytes(b"something else")
    with pytest.raises(BadImage, match=r"0003\.dcm"):
        write(mask, tmp_path / "mask.dcm", catalogue, LABELS, FACTS)
    (tmp_path / "s" / "0003.dcm").unlink()
    with pytest.raises(BadImage, match="gone"):
        write(mask, tmp_path / "mask.dcm", catalogue, LABELS, FACTS)
    assert not (tmp_path / "mask.dcm").exists()


@pytest.mark.parametrize("wrong", ["order", "row"])
def test_a_mask_in_the_wrong_place_is_never_kept(
    wrong: str, tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sabotage between the array and the file: slices in reverse, or positions that are off by a row."""
    series(tmp_path / "s", turned(20, -35, 12))
    right = writer.read_sources

    def wrongly(mask: Volume, target: Path) -> sources.Sources:
        found = right(mask, target)
        if wrong == "order":
            return replace(found, planes=found.planes[::-1])
        step = np.array(found.orientation[3:]) * 0.8
        planes = [replace(one, position=tuple(np.array(one.position) + step)) for one in found.planes]
        return replace(found, planes=tuple(planes))

    monkeypatch.setattr(writer, "read_sources", wrongly)
    with pytest.raises(DataError, match="mm off the mask"):
        write(blobs(only(tmp_path / "s", catalogue)), tmp_path / "out" / "mask.dcm", catalogue, LABELS, FACTS)
    assert list((tmp_path / "out").iterdir()) == []


@DCIODVFY
@pytest.mark.parametrize("empty", [False, True])
def test_a_strict_checker_finds_no_error(empty: bool, tmp_path: Path, catalogue: Catalogue) -> None:
    series(tmp_path / "s", turned(20, -35, 12))
    mask = blobs(only(tmp_path / "s", catalogue))
    write(mask.with_array(mask.array * (not empty)), tmp_path / "m.dcm", catalogue, LABELS, FACTS)
    done = subprocess.run(["dciodvfy", str(tmp_path / "m.dcm")], capture_output=True, text=True, check=False)
    said = (done.stdout + done.stderr).splitlines()
    assert any("Segmentation" in line for line in said) and [line for line in said if line.startswith("Error")] == []


def test_coded_terms_are_those_of_the_standard() -> None:
    from pydicom.sr import _concepts_dict

    spelt = {
        (value, row[0].removeprefix("Structure of ").removesuffix(" (body structure)").lower())
        for rows in _concepts_dict.concepts["SCT"].values()
        for value, row in rows.items()
    }
    known = terms.terms()
    rows = (files("voxgraft_dicom.objects") / "terms.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert len(known) == len(rows) + sum(row.count("; ") for row in rows), "a name appears twice"
    found = {code for term in known.values() for code in (term.category, term.type)} | {*terms.SIDES.values()}
    assert len(found) > 200
    assert [code for code in found if (code[0], code[2].lower()) not in spelt] == []


@pytest.mark.parametrize(
    ("name", "meaning", "side"),
    [
        ("Hippocampus", "Hippocampus", None),
        ("left_kidney", "Kidney", "Left"),
        ("Kidney (right)", "Kidney", "Right"),
        ("left atrium", "Left atrium", None),
        ("grey matter", "Gray Matter", None),
        ("TUMOUR", "Neoplasm", None),
        ("Anterior", "Anterior", None),
        ("left thing", "left thing", "Left"),
        ("label 1", "label 1", None),
        ("vertebrae_L5", "L5 vertebra", None),
        ("lung_upper_lobe_left", "Upper lobe of lung", "Left"),
        ("Kidney (L)", "Kidney", "Left"),
        ("tumour 2", "Neoplasm", None),
    ],
)
def test_a_name_finds_its_term_or_none(name: str, meaning: str, side: str | None) -> None:
    term = terms.term_of(Label(1, name))
    assert term.type[2] == meaning and (term.side[2] if term.side else None) == side


@pytest.mark.parametrize(("count", "bits"), [(3, 8), (300, 16)])
@pytest.mark.parametrize("shape", [(19, 14, 5), (16, 15, 4)], ids=["odd", "even"])
def test_a_label_map_in_run_lengths_is_the_same_mask(
    tmp_path: Path, catalogue: Catalogue, count: int, bits: int, shape: tuple[int, int, int]
) -> None:
    series(tmp_path / "scan", shape=shape)
    item = only(tmp_path / "scan", catalogue)
    labels = Labels.of({f"structure {value}": value for value in range(1, count + 1)})
    array = np.random.default_rng(0).integers(0, count + 1, item.shape).astype(np.uint16)
    options = SegOptions(kind="labelmap", compress="rle")
    SegWriter(options).write(Volume(array, item.affine, dims=3, item=item), tmp_path / "m.dcm", labels=labels, facts={})
    dataset = dcmread(tmp_path / "m.dcm")
    assert dataset.file_meta.TransferSyntaxUID == writer.RLE and dataset.BitsAllocated == bits
    assert dataset["PixelData"].VR == "OB" and dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID
    assert np.array_equal(matched(tmp_path / "m.dcm", item), array)
