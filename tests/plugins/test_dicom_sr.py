"""Tests of the measurement report: it says what was measured, and refers to the SEG object and to the scan."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from declared import declared_entries
from dicom_masks import DCIODVFY, FACTS, LABELS, ORIENTATIONS, blobs, complaints, only, overlapping, series, wanted
from voxgraft.components.catalogue import Catalogue
from voxgraft.discovery import discover
from voxgraft.errors import DataError
from voxgraft.imaging.read import read_item
from voxgraft.imaging.volume import Problem, Volume
from voxgraft.imaging.write import write
from voxgraft.support.files import atomic_write
from voxgraft_dicom.objects.segments import segments_of
from voxgraft_dicom.sr import writer
from voxgraft_dicom.sr.options import ReportOptions
from voxgraft_dicom.sr.proof import sizes_in, sizes_of
from voxgraft_dicom.sr.writer import ReportWriter

ROOT = Path(__file__).parents[2]


def written(mask: Volume, path: Path, more: tuple[EntryPoint, ...] = (), **options: Any) -> Dataset:
    """The report, with what is built in and what other plugins measure."""
    made = ReportWriter(ReportOptions(**options))
    made.use_readers(discover([*declared_entries(), *more]))
    with atomic_write(path) as beside:
        made.write(mask, beside, labels=LABELS, facts=FACTS)
    return dcmread(path)


def numbers(item: Dataset) -> list[tuple[str, str, str, float]]:
    """Concept, unit, derivation and value of every number in a report."""
    found = []
    for child in item.get("ContentSequence") or []:
        if child.ValueType == "NUM":
            value = child.MeasuredValueSequence[0]
            how = [one.ConceptCodeSequence[0].CodeMeaning for one in child.get("ContentSequence") or []]
            name = child.ConceptNameCodeSequence[0].CodeMeaning
            unit = value.MeasurementUnitsCodeSequence[0].CodeValue
            found.append((name, unit, " ".join(how), float(value.NumericValue)))
        else:
            found += numbers(child)
    return found


def test_volumes_and_intensities_are_those_of_the_mask(tmp_path: Path, catalogue: Catalogue) -> None:
    series(tmp_path / "s", RescaleIntercept=-1024)
    image = only(tmp_path / "s", catalogue)
    mask, scan = blobs(image), read_item(image, catalogue)
    found = numbers(written(mask, tmp_path / "r.dcm"))
    assert scan.array.min() == -1024 and len(found) == 9
    for bits, (volume, mean, deviation) in zip(
        wanted(mask).values(), zip(found[0::3], found[1::3], found[2::3], strict=True), strict=True
    ):
        assert volume[:3] == ("Volume", "mL", "") and volume[3] == pytest.approx(bits.sum() * 1.8 / 1000, abs=1e-4)
        assert mean[:2] == deviation[:2] == ("Attenuation Coefficient", "[hnsf'U]")
        assert (mean[2], mean[3]) == ("Mean", pytest.approx(scan.array[bits].mean(), abs=1e-3))
        assert (deviation[2], deviation[3]) == ("Standard Deviation", pytest.approx(scan.array[bits].std(), abs=1e-3))


def test_what_a_plugin_measures_of_uptake_has_coded_terms(
    tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "plugins" / "voxgraft-pet")
    plugin = EntryPoint("pet", "voxgraft_pet", "voxgraft.measurements")
    # Its groups and its hooks have to be the same: it offers a modality, too.
    modality = EntryPoint("pet", "voxgraft_pet", "voxgraft.modalities")
    series(tmp_path / "s", Modality="PT", Units="GML", SUVType="BW", RescaleIntercept=0)
    image = only(tmp_path / "s", catalogue)
    mask, scan = blobs(image), read_item(image, catalogue)
    found = numbers(written(mask, tmp_path / "r.dcm", (plugin, modality)))
    said = {(name, unit, how) for name, unit, how, _ in found}
    assert said >= {
        ("SUVbw", "{SUVbw}g/ml", "Maximum"),
        ("SUVbw", "{SUVbw}g/ml", "Mean"),
        ("Metabolic Volume", "mL", ""),
        ("Total Lesion Glycolysis", "g", ""),
    }
    first = next(iter(wanted(mask).values()))
    highest = next(value for name, _, how, value in found if (name, how) == ("SUVbw", "Maximum"))
    assert highest == pytest.approx(float(scan.array[first].max()), abs=1e-3)


def test_a_scan_without_a_unit_and_an_empty_structure_have_volumes_only(tmp_path: Path, catalogue: Catalogue) -> None:
    series(tmp_path / "s", Modality="MR")
    mask = blobs(only(tmp_path / "s", catalogue))
    mask.array[mask.array == 2] = 0
    written(mask, tmp_path / "r.dcm")
    sizes = dict(sizes_in(tmp_path / "r.dcm"))
    assert sizes["mystery"] == 0.0 and len(numbers(dcmread(tmp_path / "r.dcm"))) == len(sizes) == 3
    series(tmp_path / "t")
    assert len(numbers(written(blobs(only(tmp_path / "t", catalogue)), tmp_path / "r.dcm", intensities=False))) == 3
    both = overlapping(only(tmp_path / "t", catalogue))
    written(both, tmp_path / "r.dcm")
    assert sizes_in(tmp_path / "r.dcm")[0][1] == pytest.approx(both.array[0].sum() * 1.8 / 1000, abs=1e-4)


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_it_refers_to_the_object_that_the_writer_of_masks_makes(
    kind: str, tmp_path: Path, catalogue: Catalogue
) -> None:
    from voxgraft_dicom.seg.options import SegOptions
    from voxgraft_dicom.seg.writer import SegWriter

    series(tmp_path / "s", PatientName="Müller^Änne", SpecificCharacterSet="ISO_IR 100")
    image = only(tmp_path / "s", catalogue)
    mask = blobs(image)
    SegWriter(SegOptions(kind=kind)).write(mask, tmp_path / "m.dcm", labels=LABELS, facts=FACTS)
    seg, report = dcmread(tmp_path / "m.dcm"), written(mask, tmp_path / "r.dcm", segmentation=kind)
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    evidence = {
        str(one.ReferencedSOPInstanceUID): str(of.SeriesInstanceUID)
        for of in study.ReferencedSeriesSequence
        for one in of.ReferencedSOPSequence
    }
    assert evidence[seg.SOPInstanceUID] == seg.SeriesInstanceUID and study.StudyInstanceUID == seg.StudyInstanceUID
    assert {uid for uid, of in evidence.items() if of == image.series} == {
        str(dcmread(file).SOPInstanceUID) for file in image.files
    }
    assert str(report.PatientName) == "Müller^Änne" and report.SeriesInstanceUID != seg.SeriesInstanceUID
    assert written(mask, tmp_path / "n.dcm", segmentation=kind).SOPInstanceUID == report.SOPInstanceUID
    text = str(report)
    assert all(fact in text for fact in ("kidney-ct", "ab" * 32, seg.SOPInstanceUID))


@DCIODVFY
@pytest.mark.parametrize("orientation", ["axial", "oblique"])
def test_a_strict_checker_finds_no_error(orientation: str, tmp_path: Path, catalogue: Catalogue) -> None:
    series(tmp_path / "s", ORIENTATIONS[orientation])
    mask = blobs(only(tmp_path / "s", catalogue))
    written(mask.with_array(mask.array * (mask.array != 2)), tmp_path / "r.dcm")
    assert complaints(tmp_path / "r.dcm") == []


def test_the_reader_of_dcmqi_understands_it(tmp_path: Path, catalogue: Catalogue) -> None:
    tool = shutil.which("tid1500reader") or shutil.which(str(Path(sys.executable).with_name("tid1500reader")))
    if tool is None:
        pytest.skip("tid1500reader (the package dcmqi) is not installed")
    series(tmp_path / "s")
    mask = blobs(only(tmp_path / "s", catalogue))
    written(mask, tmp_path / "r.dcm")
    call = [tool, "--inputDICOM", str(tmp_path / "r.dcm"), "--outputMetadata", str(tmp_path / "r.json")]
    subprocess.run(call, capture_output=True, check=True)
    groups = json.loads((tmp_path / "r.json").read_text())["Measurements"]
    assert [group["TrackingIdentifier"] for group in groups] == list(LABELS.names)
    told = [float(group["measurementItems"][0]["value"]) for group in groups]
    assert told == [size for _, size in sizes_in(tmp_path / "r.dcm")]


def test_a_picture_has_areas(tmp_path: Path, catalogue: Catalogue) -> None:
    def lose(_: int, one: Dataset) -> None:
        for name in ("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID"):
            delattr(one, name)
        one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"

    series(tmp_path / "s", shape=(21, 13, 1), Modality="CR", edit=lose)
    mask = blobs(only(tmp_path / "s", catalogue))
    found = numbers(written(mask, tmp_path / "r.dcm"))
    assert [one[:2] for one in found] == [("Area", "mm2")] * 3
    assert found[0][3] == pytest.approx((mask.array == 1).sum() * np.prod(mask.spacing), abs=1e-2)


def test_a_scan_whose_pixels_have_no_size_has_counts_of_them(tmp_path: Path, catalogue: Catalogue) -> None:
    def lose(_: int, one: Dataset) -> None:
        for name in ("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID", "PixelSpacing"):
            delattr(one, name)
        one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"

    series(tmp_path / "s", shape=(21, 13, 1), Modality="CR", edit=lose)
    mask = blobs(only(tmp_path / "s", catalogue))
    found = numbers(written(mask, tmp_path / "r.dcm"))
    assert [one[:2] for one in found] == [("Area", "{pixels}")] * 3
    assert [one[3] for one in found] == [(mask.array == value).sum() for value in LABELS.values]
    assert sizes_of(segments_of(mask, LABELS, tmp_path), replace(mask, item=None))[0].unit[0] == "mm2"
    series(tmp_path / "v")
    deep = blobs(only(tmp_path / "v", catalogue))
    assert deep.item is not None
    unknown = replace(deep.item, problems=(Problem("no-spacing", "it does not say", "warning"),))
    found = numbers(written(replace(deep, item=unknown), tmp_path / "v.dcm", intensities=False))
    assert [one[:2] for one in found] == [("Volume", "{voxels}")] * 3
    assert found[0][3] == (deep.array == LABELS.values[0]).sum()


def test_a_report_that_says_otherwise_is_never_kept(
    tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    series(tmp_path / "s")
    mask = blobs(only(tmp_path / "s", catalogue))
    right = writer._group
    monkeypatch.setattr(writer, "_group", lambda n, label, one, *rest: right(n, label, replace(one, value=9.9), *rest))
    with pytest.raises(DataError, match=r"was not kept: the written report says 9\.9 of 'Left kidney'"):
        written(mask, tmp_path / "out" / "r.dcm")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_no_mask_of_a_series_is_refused(tmp_path: Path, catalogue: Catalogue) -> None:
    series(tmp_path / "s")
    mask = blobs(only(tmp_path / "s", catalogue))
    with pytest.raises(DataError, match="dicom"):
        write(Volume(mask.array, mask.affine), tmp_path / "a.sr.dcm", catalogue, LABELS, FACTS)
    with pytest.raises(DataError, match="none are named"):
        write(mask, tmp_path / "a.sr.dcm", catalogue, None, FACTS)
