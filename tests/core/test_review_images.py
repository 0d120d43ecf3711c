"""The scan as the viewer gets it: of every format that is read, in its own grid, converted once."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from batch_scans import Brightness, ball, model, other_code, write_scan
from PIL import Image as Picture
from pydicom.dataset import Dataset
from review_batches import Browser, nifti, opened

from dicom_series import make_series
from voxgraft.batch.segment import segment
from voxgraft.components.catalogue import Catalogue
from voxgraft.review.state.windows import windows_of

TURNED = np.array([[0.0, -1.2, 0.1, 12], [1.1, 0, 0, -9], [0, 0.1, -1.5, 30], [0, 0, 0, 1]])


def batch(folder: Path, catalogue: Catalogue, *inputs: Path, **changes: Any) -> Path:
    """A batch of whatever these inputs hold."""
    made = segment(
        model(folder / "model", **changes),
        inputs,
        folder / "out",
        catalogue,
        predictor=Brightness(),
        ignore_contract=True,
    )
    assert [scan.error for scan in made.scans] == [None] * len(made.scans)
    return folder / "out"


def image(browser: Browser, case: str, channel: int = 0) -> Any:
    answer = browser.get(f"/api/scans/{case}/image?channel={channel}")
    assert answer.status_code == 200, answer.text
    return nib.Nifti1Image.from_bytes(answer.content)


def test_a_dicom_series_lies_where_its_mask_lies_and_is_found_in_the_archive(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    array = ball() - 1000
    array[array > -950] += 1000
    make_series(
        tmp_path / "in" / "ct", array, TURNED, AccessionNumber="A-77", PatientName="Secret^Name", RescaleIntercept=0
    )
    out = batch(tmp_path, catalogue, tmp_path / "in", modality="ct")
    with opened(out, catalogue) as store:
        browser = Browser.of(store, "Ada")
        case = browser.json("/api/worklist")["scans"][0]["case"]
        page = browser.json(f"/api/scans/{case}")
        assert (page["accession"], page["study_date"], page["description"]) == ("A-77", "2020-01-01", "ct")
        assert page["modality"] == "CT" and [one["name"] for one in page["windows"]][:4] == [
            *("soft tissue", "lung", "bone", "brain")
        ]
        found, (mask, affine) = image(browser, case), browser.mask(case, "model")
        assert found.shape == mask.shape and np.allclose(found.affine, affine, atol=1e-3)
        assert np.allclose(found.affine, page["affine"], atol=1e-3)
        bright = np.asarray(found.dataobj)[mask > 0]
        assert bright.min() > np.asarray(found.dataobj)[mask == 0].max() - 150
        for _ in range(200):
            if not (listed := browser.json("/api/worklist"))["reading"]:
                break
            time.sleep(0.05)
        assert not listed["reading"] and listed["scans"][0]["accession"] == "A-77"
        told = browser.get("/api/worklist").text + browser.get(f"/api/scans/{case}").text
        assert "Secret" not in told
    kept = b"".join(path.read_bytes() for path in (out / "review").rglob("*") if path.is_file())
    assert b"A-77" not in kept and b"Secret" not in kept and b"20200101" not in kept and b"2020-01-01" not in kept


def test_of_several_channels_each_can_be_shown(tmp_path: Path, catalogue: Catalogue) -> None:
    second = (ball() // 2).astype(np.int16)
    paths = [write_scan(tmp_path / "in" / "case_0000.nii.gz"), write_scan(tmp_path / "in" / "case_0001.nii.gz", second)]
    out = batch(tmp_path, catalogue, tmp_path / "in", channels=("t1", "flair"), normalisation=({}, {}))
    with opened(out, catalogue) as store:
        browser = Browser.of(store, "Ada")
        case = browser.json("/api/worklist")["scans"][0]["case"]
        assert browser.json(f"/api/scans/{case}")["channels"] == ["t1", "flair"]
        for channel, path in enumerate(paths):
            scan: Any = nib.load(path)
            assert np.array_equal(image(browser, case, channel).dataobj, scan.dataobj)
            answer = browser.get(f"/api/scans/{case}/image?channel={channel}")
            whole = json.loads(answer.headers["X-VoxGraft-Windows"])[-1]
            assert whole == {"name": "all", "low": np.min(scan.dataobj), "high": np.max(scan.dataobj)}
        assert browser.get(f"/api/scans/{case}/image?channel=2").status_code == 404
        assert browser.decide(case, "ball").status_code == 201


def test_a_colour_picture_is_shown_in_colours_and_its_flat_mask_is_corrected(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[5:12, 8:20] = (180, 120, 40)
    (tmp_path / "in").mkdir()
    Picture.fromarray(pixels).save(tmp_path / "in" / "eye.png")
    contract = {"modality": ["MR"], "channels": 3}
    flat = {"dims": 2, "image_dims": 2, "spacing": (1.0, 1.0), "patch": (16, 16), "strides": ((1, 1),)}
    colours = {"channels": ("red", "green", "blue"), "normalisation": ({}, {}, {}), "modality": "rgb"}
    out = batch(tmp_path, catalogue, tmp_path / "in", contract=contract, **flat, **colours)
    with opened(out, catalogue) as store:
        browser = Browser.of(store, "Ada")
        page = browser.json("/api/scans/eye")
        assert page["shape"] == [30, 20, 1] and page["channels"] == ["colours"]
        found = np.asarray(image(browser, "eye").dataobj)
        assert found.dtype.names == ("R", "G", "B") and found.shape == (30, 20, 1)
        mask, affine = browser.mask("eye", "model")
        assert mask.shape == (30, 20) and np.array_equal(found["R"][..., 0] == 180, mask > 0)
        drawn = mask.copy()
        drawn[0, :4] = 2
        for number, array in enumerate((drawn, drawn[..., None].copy())):
            array[number + 1, 0] = 2
            base = browser.json("/api/scans/eye")["mask"]["sha256"]
            assert browser.put("eye", nifti(array, affine), base).status_code == 200
            assert browser.mask("eye", "mine")[0].shape == (30, 20)
        structure = browser.json("/api/scans/eye")["structures"][1]
        assert structure["changed"] == 5 and structure["ml"] is None
        assert structure["mm2"] is None, "nobody knows how large the pixels of this picture are"
        assert structure["pixels"] == np.sum(browser.mask("eye", "mine")[0] == 2), "those of the corrected mask"
        assert browser.json("/api/worklist")["scans"][0]["structures"][1]["pixels"] == 0
        assert page["flat"] and not page["sized"] and not page["inverted"]
    assert "core 0" not in (text := (out / "report.html").read_text()) and " pixels" in text and "mm²" not in text


@pytest.mark.parametrize(("photometric", "inverted"), [("MONOCHROME1", True), ("MONOCHROME2", False)])
def test_low_values_are_bright_where_the_header_says_so(
    tmp_path: Path, catalogue: Catalogue, photometric: str, inverted: bool
) -> None:

    def edit(_: int, slice_: Dataset) -> None:
        slice_.PhotometricInterpretation = photometric

    make_series(tmp_path / "in" / "mr", ball(), TURNED, edit=edit, Modality="MR")
    out = batch(tmp_path, catalogue, tmp_path / "in")
    for _ in range(2):  # read from the scan, and from what an earlier server converted
        with opened(out, catalogue) as store:
            browser = Browser.of(store, "Ada")
            page = browser.json(f"/api/scans/{browser.json('/api/worklist')['scans'][0]['case']}")
            assert (page["inverted"], page["flat"]) == (inverted, False)


def test_a_scan_is_converted_once_and_the_cache_is_bounded(tmp_path: Path, catalogue: Catalogue) -> None:
    scans = [write_scan(tmp_path / "in" / f"scan-{n}.nii.gz", ball(radius=4 + n)) for n in range(3)]
    out = batch(tmp_path, catalogue, *scans)
    with opened(out, catalogue) as store:
        browser = Browser.of(store)
        size = len(browser.get("/api/scans/scan-0/image").content)
        store.images._largest = 2 * size
        for path in (out / "review" / "cache").iterdir():
            os.utime(path, (0, 0))
        for case in ("scan-1", "scan-2"):
            browser.get(f"/api/scans/{case}/image")
        assert len(list((out / "review" / "cache").glob("*.nii"))) == 2
        scans[1].unlink()  # kept as it was segmented
        assert browser.get("/api/scans/scan-1/image").status_code == 200
    with opened(out, catalogue) as store:
        browser = Browser.of(store)
        assert browser.get("/api/scans/scan-1/image").status_code == 200
        for path in (out / "review" / "cache").glob("*.json"):
            path.write_text("{")
        assert browser.get("/api/scans/scan-0/image").status_code == 200


@pytest.mark.parametrize("module", ["voxgraft_plugins.nifti", "voxgraft_plugins.modalities", "voxgraft"])
def test_what_other_code_converted_is_not_shown(
    tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    out = batch(tmp_path, catalogue, write_scan(tmp_path / "in" / "a.nii.gz", ball()))
    with opened(out, catalogue) as store:
        Browser.of(store).get("/api/scans/a/image")
        (kept,) = (out / "review" / "cache").glob("*.nii")
    with opened(out, catalogue) as store:
        Browser.of(store).get("/api/scans/a/image")
        assert list((out / "review" / "cache").glob("*.nii")) == [kept]
    other_code(monkeypatch, module, "voxgraft.review.state.images")
    with opened(out, catalogue) as store:
        assert Browser.of(store).get("/api/scans/a/image").status_code == 200
        assert len(list((out / "review" / "cache").glob("*.nii"))) == 2


@pytest.mark.parametrize(
    ("array", "modality", "first"),
    [
        (np.arange(24.0).reshape(2, 3, 4), "", "1 to 99 %"),
        (np.full((2, 3, 4), np.nan), "", "all"),
        (np.zeros((2, 3, 4), np.int16), "mr", "usual"),
        (np.arange(24).reshape(2, 3, 4), "CT", "soft tissue"),
        (np.arange(24).reshape(2, 3, 4), "no such modality", "1 to 99 %"),
    ],
)
def test_windows_have_names_and_a_width(catalogue: Catalogue, array: Any, modality: str, first: str) -> None:
    windows = windows_of(array, modality, catalogue)
    assert windows[0].name == first and all(window.high > window.low for window in windows)
