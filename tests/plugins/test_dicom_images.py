"""Single images: pictures of two axes with their pixel size, colours as channels, films refused or frame by frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from dicom_series import make_series
from voxgraft.errors import BadImage
from voxgraft.imaging.volume import Item
from voxgraft_dicom.reader.options import DicomOptions
from voxgraft_dicom.reader.reader import DicomReader

ARRAY = np.random.default_rng(0).integers(0, 4000, (7, 6, 3)).astype(np.uint16)
AFFINE = np.diag([-0.7, -0.8, 1.0, 1.0])
STORAGE = "1.2.840.10008.5.1.4.1.1."
HERE = Path(pydicom.__file__).parent / "data" / "test_files"


def pictures(folder: Path, kind: str, tail: str, array: Any = ARRAY, edit: Any = None, **changes: Any) -> list[Path]:
    """Images of a SOP class that have no place in the patient."""

    def placeless(k: int, image: Dataset) -> None:
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = STORAGE + tail
        for name in ("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID", "SliceThickness"):
            if name in image:
                delattr(image, name)
        if edit is not None:
            edit(k, image)

    values = {"Modality": kind, "PixelSpacing": None, "SeriesInstanceUID": "1.2.3"}
    return make_series(folder, array, AFFINE, edit=placeless, **{**values, **changes})


def one(files: list[Path], **options: Any) -> Item:
    (item,) = DicomReader(DicomOptions(**options)).scan(files)
    return item


@pytest.mark.parametrize(
    ("kind", "tail"),
    [("CR", "1"), ("DX", "1.1"), ("MG", "1.2"), ("US", "6.1"), ("XA", "12.1"), ("OT", "7"), ("OP", "77.1.5.1")],
)
def test_images_of_one_series_are_images_of_their_own(tmp_path: Path, kind: str, tail: str) -> None:
    files = pictures(tmp_path, kind, tail, PixelSpacing=[0.8, 0.7])
    items = DicomReader().scan(files)
    assert len(items) == len({item.series for item in items}) == 3
    for k, file in enumerate(files):
        (item,) = [item for item in items if item.path == file]
        volume = DicomReader().read(item)
        assert (volume.dims, item.shape, volume.spacing) == (2, (7, 6), pytest.approx((0.7, 0.8)))
        np.testing.assert_array_equal(volume.array, ARRAY[:, :, k])
        assert item.problems == () and item.modality == kind
    assert one(files[:1]).series == "1.2.3", "an image alone has the name of its series"


def test_a_damaged_image_spares_the_others(tmp_path: Path) -> None:
    files = pictures(tmp_path, "CR", "1", PixelSpacing=[0.8, 0.7])
    content = files[1].read_bytes()
    for length in (100, 400, len(content) - 20):
        files[1].write_bytes(content[:length])
        items = {item.path: item for item in DicomReader().scan(files)}
        assert [bool(items[file].errors) for file in files] == [False, True, False], length


def regions(*sizes: tuple[float, float, int]) -> Any:
    def edit(_: int, image: Dataset) -> None:
        image.SequenceOfUltrasoundRegions = []
        for across, down, form in sizes:
            region = Dataset()
            region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
            region.PhysicalDeltaX, region.PhysicalDeltaY, region.RegionSpatialFormat = across, down, form
            image.SequenceOfUltrasoundRegions.append(region)

    return edit


@pytest.mark.parametrize(
    ("kind", "changes", "edit", "spacing", "code"),
    [
        ("DX", {"PixelSpacing": [0.2, 0.1], "ImagerPixelSpacing": [0.4, 0.3]}, None, (0.1, 0.2), None),
        ("DX", {"ImagerPixelSpacing": [0.4, 0.3]}, None, (0.3, 0.4), "detector-spacing"),
        ("DX", {"PixelSpacing": [0.4, 0.3], "ImagerPixelSpacing": [0.4, 0.3]}, None, (0.3, 0.4), "detector-spacing"),
        ("DX", {"PixelSpacing": "", "ImagerPixelSpacing": [0.4, 0.3]}, None, (0.3, 0.4), "detector-spacing"),
        ("OT", {"NominalScannedPixelSpacing": [0.4, 0.3]}, None, (0.3, 0.4), "scanned-spacing"),
        ("US", {}, regions((0.02, -0.03, 1), (0.5, 0.5, 2)), (0.2, 0.3), "region-spacing"),
        ("US", {}, regions((0.02, 0.03, 1), (0.04, 0.03, 1)), (1, 1), "no-spacing"),
        ("US", {}, None, (1, 1), "no-spacing"),
    ],
)
def test_the_size_of_pixels_comes_from_where_it_is_told(
    tmp_path: Path, kind: str, changes: dict[str, Any], edit: Any, spacing: tuple[float, float], code: str | None
) -> None:
    item = one(pictures(tmp_path, kind, "6.1" if kind == "US" else "1.1", ARRAY[:, :, :1], edit, **changes))
    assert item.spacing == pytest.approx(spacing)
    assert [(p.code, p.severity) for p in item.problems] == ([(code, "warning")] if code else [])


def in_colour(_: int, image: Dataset) -> None:
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PlanarConfiguration = 3, "RGB", 0
    image.PixelData = bytes(range(7 * 6 * 3))


def test_colours_are_channels_of_pictures_and_of_volumes(tmp_path: Path) -> None:
    expected = np.arange(7 * 6 * 3, dtype=np.uint8).reshape(6, 7, 3).transpose(2, 1, 0)
    item = one(pictures(tmp_path / "p", "XC", "77.1.4", np.zeros((7, 6, 1), np.uint8), in_colour))
    volume = DicomReader().read(item)
    assert (volume.channels, volume.shape, item.channels) == (3, (7, 6), 3)
    np.testing.assert_array_equal(volume.array, expected)
    files = make_series(tmp_path / "v", np.zeros((7, 6, 4), np.uint8), AFFINE, edit=in_colour)
    solid = DicomReader().read(one(files))
    assert (solid.channels, solid.shape) == (3, (7, 6, 4))
    np.testing.assert_array_equal(solid.array, np.stack([expected] * 4, axis=-1))


def test_a_picture_in_a_series_of_slices_stands_alone(tmp_path: Path) -> None:
    same = {"SeriesInstanceUID": "1.2.3"}
    files = make_series(tmp_path / "ct", ARRAY.astype(np.int16), AFFINE, **same)
    (report,) = pictures(tmp_path / "sc", "OT", "7", ARRAY[:, :, :1])
    items = {len(item.shape): item for item in DicomReader().scan([*files, report])}
    assert items[3].problems == () and items[3].shape == (7, 6, 3) and items[2].path == report


def film(folder: Path) -> list[Path]:
    def edit(_: int, image: Dataset) -> None:
        image.NumberOfFrames = 3
        image.PixelData = ARRAY.T.astype("<u2").tobytes()

    return pictures(folder, "US", "3.1", ARRAY[:, :, :1], edit)


def test_a_film_is_refused_or_each_frame_an_image(tmp_path: Path) -> None:
    files = film(tmp_path)
    item = one(files)
    assert [p.code for p in item.errors] == ["multi-frame"] and "3 frames" in item.errors[0].message
    with pytest.raises(BadImage):
        DicomReader().read(item)
    reader = DicomReader(DicomOptions(films="frames"))
    items = reader.scan(files)
    assert len(items) == len({one.series for one in items}) == 3
    for k, frame in enumerate(items):
        np.testing.assert_array_equal(reader.read(frame).array, ARRAY[:, :, k])
    colours = reader.scan([HERE / "examples_ybr_color.dcm"])
    truth = pydicom.dcmread(HERE / "examples_ybr_color.dcm").pixel_array
    assert len(colours) == 30
    np.testing.assert_array_equal(reader.read(colours[17]).array, truth[17].transpose(2, 1, 0))


def test_facts_tell_the_patients_and_the_scanners_apart_without_names(tmp_path: Path) -> None:
    changes = {"Manufacturer": "ACME", "ManufacturerModelName": "One", "InstitutionName": "St. Elsewhere"}
    changes |= {"PatientSex": "F", "PatientAge": "018M"}
    facts = one(make_series(tmp_path, ARRAY, AFFINE, **changes)).facts
    assert (facts["scanner"], facts["sex"], facts["age"]) == ("ACME One", "F", 1.5)
    assert facts["site"].startswith("site-") and "lsewhere" not in str(facts)
    assert facts["study"] and facts["frame"]
    bare = one(make_series(tmp_path / "b", ARRAY, AFFINE, PatientSex="", PatientAge="old")).facts
    assert not {"scanner", "site", "sex", "age"} & bare.keys()
