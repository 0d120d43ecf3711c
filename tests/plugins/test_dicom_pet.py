"""PET in standardised uptake values: computed by hand here, and left alone by name where something is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicom_series import make_series
from voxgraft.volume import Item
from voxgraft_plugins.dicom.config import DicomConfig
from voxgraft_plugins.dicom.reader import DicomReader

ARRAY = np.random.default_rng(0).integers(0, 30000, (7, 6, 5)).astype(np.int16)
AFFINE = np.diag([-4.0, -4.0, 3.0, 1.0])
DOSE, HALF_LIFE, WEIGHT = 370e6, 6586.2, 72.5


def dose(**changes: Any) -> Dataset:
    item = Dataset()
    item.RadiopharmaceuticalStartTime = "110000.00"
    item.RadionuclideTotalDose, item.RadionuclideHalfLife = DOSE, HALF_LIFE
    for name, value in changes.items():
        if value is None:
            delattr(item, name)
        else:
            setattr(item, name, value)
    return item


def series(folder: Path, given: Dataset | None = None, edit: Any = None, **changes: Any) -> list[Path]:
    """Scanned at 12:00 and later; slice k has the slope 0.5 + k."""

    def scaled(k: int, slice_: Dataset) -> None:
        slice_.RescaleSlope = 0.5 + k
        slice_.AcquisitionTime = f"12{k:02d}00"
        if edit is not None:
            edit(k, slice_)

    values: dict[str, Any] = {
        "Modality": "PT",
        "Units": "BQML",
        "DecayCorrection": "START",
        "CorrectedImage": ["DECY", "ATTN", "SCAT"],
        "PatientWeight": WEIGHT,
        "SeriesDate": "20200101",
        "SeriesTime": "120000",
        "AcquisitionDate": "20200101",
        "RadiopharmaceuticalInformationSequence": [given or dose()],
    }
    return make_series(folder, ARRAY, AFFINE, edit=scaled, **{**values, **changes})


def scan(files: list[Path], **options: Any) -> Item:
    (item,) = DicomReader(DicomConfig(**options)).scan(files)
    return item


def in_file() -> Any:
    return ARRAY * (0.5 + np.arange(5))


def assert_suv(files: list[Path], factor: float) -> Item:
    item = scan(files)
    assert [(one.code, one.severity) for one in item.problems] == [("suv", "repair")], item.problems
    volume = DicomReader().read(item)
    np.testing.assert_allclose(volume.array, in_file() * factor, rtol=1e-6)
    assert volume.array.dtype == np.float32 and item.facts["units"] == "g/ml"
    return item


def test_the_dose_decays_until_the_scan_begins(tmp_path: Path) -> None:
    # 370 MBq at 11:00 are 370 * 2^(-3600 / 6586.2) = 253.3 MBq at 12:00; 72.5 kg are 72500 g.
    factor = 72500 / (370e6 * 2 ** (-3600 / 6586.2))
    assert factor == pytest.approx(2.8622e-4, rel=1e-4)
    assert_suv(series(tmp_path), factor)


def test_a_dose_corrected_to_the_injection_does_not_decay(tmp_path: Path) -> None:
    assert_suv(series(tmp_path, DecayCorrection="ADMIN"), 72500 / 370e6)


def test_a_series_made_after_the_scan_counts_from_the_first_acquisition(tmp_path: Path) -> None:
    assert_suv(series(tmp_path, SeriesTime="173000"), 72500 / (370e6 * 2 ** (-3600 / 6586.2)))


def test_an_injection_before_midnight_was_on_the_day_before(tmp_path: Path) -> None:
    given = dose(RadiopharmaceuticalStartTime="233000")

    def early(k: int, slice_: Dataset) -> None:
        slice_.AcquisitionTime = f"00{30 + k:02d}00"

    assert_suv(series(tmp_path, given, early, SeriesTime="003000"), 72500 / (370e6 * 2 ** (-3600 / 6586.2)))
    whole = dose(RadiopharmaceuticalStartTime=None, RadiopharmaceuticalStartDateTime="20191231233000.00+0100")
    assert_suv(series(tmp_path / "w", whole, early, SeriesTime="003000"), 72500 / (370e6 * 2 ** (-3600 / 6586.2)))


def philips(**elements: float) -> Any:
    def edit(_: int, slice_: Dataset) -> None:
        block = slice_.private_block(0x7053, "Philips PET Private Group", create=True)
        for name, value in elements.items():
            block.add_new(int(name[1:], 16), "DS", str(value))

    return edit


def test_counts_use_the_factor_of_the_scanner(tmp_path: Path) -> None:
    assert_suv(series(tmp_path / "a", Units="CNTS", edit=philips(x00=0.00125, x09=0.7)), 0.00125)
    expected = 0.7 * 72500 / (370e6 * 2 ** (-3600 / 6586.2))
    assert_suv(series(tmp_path / "b", Units="CNTS", edit=philips(x09=0.7)), expected)


@pytest.mark.parametrize(
    ("given", "changes", "name"),
    [
        ({}, {"PatientWeight": None}, "PatientWeight"),
        ({}, {"PatientWeight": 0}, "PatientWeight"),
        ({"RadionuclideTotalDose": None}, {}, "RadionuclideTotalDose"),
        ({"RadionuclideHalfLife": 0}, {}, "RadionuclideHalfLife"),
        ({"RadiopharmaceuticalStartTime": None}, {}, "RadiopharmaceuticalStartTime"),
        ({"RadiopharmaceuticalStartDateTime": "20190101110000"}, {}, "times of the injection"),
        ({}, {"DecayCorrection": "NONE"}, "DecayCorrection"),
        ({}, {"CorrectedImage": ["DECY"]}, "attenuation"),
        ({}, {"CorrectedImage": None}, "attenuation"),
        ({}, {"RadiopharmaceuticalInformationSequence": None}, "RadiopharmaceuticalInformationSequence"),
        ({}, {"Units": "CNTS"}, "(7053,1000)"),
        ({}, {"Units": None}, "Units"),
        ({}, {"Units": "PROPCPS"}, "PROPCPS"),
    ],
)
def test_what_is_missing_is_named_and_the_values_stay(
    tmp_path: Path, given: dict[str, Any], changes: dict[str, Any], name: str
) -> None:
    item = scan(series(tmp_path, dose(**given), **changes))
    assert [(one.code, one.severity) for one in item.problems] == [("no-suv", "warning")]
    assert name in item.problems[0].message
    np.testing.assert_allclose(DicomReader().read(item).array, in_file(), rtol=1e-6)


def test_the_stored_units_are_kept_on_demand(tmp_path: Path) -> None:
    files = series(tmp_path)
    item = scan(files, pet="stored")
    assert item.problems == () and item.facts["units"] == "BQML"
    np.testing.assert_allclose(DicomReader(DicomConfig(pet="stored")).read(item).array, in_file(), rtol=1e-6)
    ready = scan(series(tmp_path / "g", Units="GML"))
    assert ready.problems == () and ready.facts["units"] == "g/ml"
    np.testing.assert_allclose(DicomReader().read(ready).array, in_file(), rtol=1e-6)


def test_the_padding_value_is_scaled_with_the_image(tmp_path: Path) -> None:
    item = scan(series(tmp_path, edit=lambda k, slice_: setattr(slice_, "RescaleSlope", 2), PixelPaddingValue=0))
    assert item.facts["padding"] == 0.0
    kept = make_series(tmp_path / "ct", ARRAY, AFFINE, RescaleIntercept=-1024, PixelPaddingValue=-2000)
    assert scan(kept).facts["padding"] == -3024.0
