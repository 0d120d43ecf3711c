"""What a person sees of a batch: the page, the reports, flags, and nothing that names the patient."""

from __future__ import annotations

import html
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from batch_scans import AFFINE, SHAPE, Brightness, ball, broken, model, rows, run, states, three, write_scan

from dicom_series import make_series
from voxgraft.batch.ledger import Ledger, Row
from voxgraft.batch.quality import flags_of, measure
from voxgraft.batch.report import by_doubt, recall, size_of
from voxgraft.components.catalogue import Catalogue
from voxgraft.imaging.structures import Labels
from voxgraft.imaging.volume import Item, Problem, Volume
from voxgraft.support.files import sha256
from voxgraft.support.progress import Progress

# What goes wrong


def test_what_the_voxels_show_is_flagged_reported_and_looked_at_first(tmp_path: Path, catalogue: Catalogue) -> None:
    infinite, cut = ball().astype(np.float32), ball()
    infinite[2, 3, 4] = np.inf
    cut[cut > 100] = 0
    write_scan(tmp_path / "in" / "a-good.nii.gz")
    write_scan(tmp_path / "in" / "b-empty.nii.gz", cut)
    write_scan(tmp_path / "in" / "c-flat.nii.gz", np.full(SHAPE, 7, np.int16))
    write_scan(tmp_path / "in" / "d-infinite.nii.gz", infinite)
    write_scan(tmp_path / "in" / "e-nan.nii.gz", np.full(SHAPE, np.nan, np.float32))
    batch = run(tmp_path, catalogue, tmp_path / "in")
    flags = {scan.case: scan.flags for scan in batch.scans}
    assert flags["d-infinite"] == ("not-finite",) and "constant" in flags["c-flat"] and flags["a-good"] == ()
    assert states(batch)["e-nan"] == "failed" and "none of its voxels is a finite number" in str(batch.scans[4].error)
    report = json.loads((tmp_path / "out" / "d-infinite" / "report.json").read_text())
    assert report["flags"] == [{"code": "not-finite", "message": "1 of its voxels is not a finite number"}]
    order = [row.case for row in by_doubt(rows(tmp_path).values())]
    assert order == ["e-nan", "c-flat", "d-infinite", "b-empty", "a-good"]
    assert run(tmp_path, catalogue, tmp_path / "in").skipped == 4


# What a person gets to see


def test_the_report_of_a_scan_says_what_was_found_by_whom(tmp_path: Path, catalogue: Catalogue) -> None:
    run(tmp_path, catalogue, write_scan(tmp_path / "in" / "a.nii.gz"))
    report = json.loads((tmp_path / "out" / "a" / "report.json").read_text())
    mask = nib.load(tmp_path / "out" / "a" / "mask.nii.gz")
    voxels = int((np.asarray(mask.dataobj) == 1).sum())
    found = report["structures"]["ball"]
    assert (found["voxels"], found["value"], found["confidence"]) == (voxels, 1, 0.95)
    assert found["ml"] == pytest.approx(voxels * 1.5 / 1000)
    assert report["input"] == "../in/a.nii.gz" and report["masks"] == ["mask.nii.gz"] and report["flags"] == []
    numbers = {"precision": "float32"}
    assert report["model"] == {"name": "balls", "version": "3", "hash": "a" * 64, **numbers}
    row = rows(tmp_path)["a"]
    assert row.outputs == {p.name: sha256(p) for p in (tmp_path / "out" / "a").iterdir()}
    assert set(row.seconds) == {"read", "predict", "write"} and row.peak_mb is not None and row.peak_mb > 20
    assert len(row.input_hash) == 64 and row.model_hash == "a" * 64


def test_no_file_of_a_batch_names_the_patient(tmp_path: Path, catalogue: Catalogue) -> None:
    make_series(tmp_path / "s", ball(), AFFINE, Modality="MR", PatientName="Avasarala^Chrisjen", PatientID="PGBM-002")
    assert run(tmp_path, catalogue, tmp_path / "s", writers=("nifti",)).done == 1
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            assert not re.search(rb"Avasarala|PGBM-002", path.read_bytes()), path


def test_what_finds_a_scan_in_the_archive_is_for_its_owner_alone(tmp_path: Path, catalogue: Catalogue) -> None:
    facts = {"AccessionNumber": "ACC-77", "StudyDate": "20260131", "SeriesDescription": "T1 <b>post</b>"}
    make_series(tmp_path / "s", ball(), AFFINE, Modality="MR", **facts)
    write_scan(tmp_path / "plain.nii.gz")
    assert run(tmp_path, catalogue, tmp_path / "s", writers=("nifti",)).done == 1
    run(tmp_path, catalogue, tmp_path / "plain.nii.gz")
    out = tmp_path / "out"
    holding = {path.name for path in out.rglob("*") if path.is_file() and b"ACC-77" in path.read_bytes()}
    assert holding == {"report.html", "archive.json"}, "not in the ledger, and in nothing that goes elsewhere"
    assert {(out / name).stat().st_mode & 0o777 for name in holding} == {0o600}
    text = (out / "report.html").read_text()
    assert "<b>ACC-77</b>" in text and "2026-01-31" in text and "T1 &lt;b&gt;post&lt;/b&gt;" in text
    assert set(recall(out)) == {"s"} and Ledger(out).get("plain").state == "done"


def test_without_an_accession_number_the_page_is_as_others_are(tmp_path: Path, catalogue: Catalogue) -> None:
    run(tmp_path, catalogue, write_scan(tmp_path / "plain.nii.gz"))
    assert not (tmp_path / "out" / "archive.json").exists()
    assert (tmp_path / "out" / "report.html").stat().st_mode & 0o777 == 0o666 & ~umask()


@pytest.mark.parametrize("text", ["", "[]", '{"s": 3}', '{"s": {"accession": [1]}, "s": {}}', "{" * 5000, "\0"])
def test_a_spoiled_file_of_origins_ends_no_batch(tmp_path: Path, catalogue: Catalogue, text: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "archive.json").write_text(text)
    assert run(tmp_path, catalogue, write_scan(tmp_path / "plain.nii.gz")).done == 1


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_paths_in_the_ledger_and_the_page_are_relative(tmp_path: Path, catalogue: Catalogue) -> None:
    batch = run(tmp_path, catalogue, *three(tmp_path), broken(tmp_path))
    page = (tmp_path / "out" / "report.html").read_text()
    assert str(tmp_path) not in page
    assert all(str(tmp_path) not in json.dumps([row.input, row.error]) for row in rows(tmp_path).values())
    assert batch.scans[0].input == str(tmp_path / "in" / "a.nii.gz"), "the caller is told as the caller said it"


class Page(HTMLParser):
    """The rows of the worklist, and every address that the page asks for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.kinds: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.addresses += [str(values[name]) for name in ("src", "href") if name in values]
        if tag == "tr" and values.get("class"):
            self.kinds.append(str(values["class"]))
        if tag not in ("meta", "img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_shows_doubtful_scans_first_and_needs_nothing_else(tmp_path: Path, catalogue: Catalogue) -> None:
    class Doubtful(Brightness):
        def predict(self, volume: Volume) -> Any:
            self.confidence = 0.4 if volume.item and "b" in volume.item.path.name else 0.9
            return super().predict(volume)

    study = tmp_path / "in" / "study"
    make_series(study / "fits", ball(), AFFINE, Modality="MR", StudyInstanceUID="1.2")
    make_series(study / "scout", ball(), AFFINE, Modality="CT", StudyInstanceUID="1.2", SeriesInstanceUID="1.2.3.4")
    run(tmp_path, catalogue, *three(tmp_path), study, broken(tmp_path), predictor=Doubtful())
    text = (tmp_path / "out" / "report.html").read_text()
    page = Page(text)
    assert page.open == [] and page.kinds == ["bad", "look", "good", "good", "good"]
    assert page.addresses and all((tmp_path / "out" / address).is_file() for address in page.addresses)
    assert "http://" not in text.replace("http-equiv", "") and "https://" not in text
    order = [text.index(f'<div class="case">{case}</div>') for case in ("broken", "b", "a", "scout")]
    assert order == sorted(order), "failed, doubtful, fine, left out"
    assert "it is CT, the model was trained on MR" in text and "the model is unsure (mean probability 40%)" in text
    assert "balls, version 3" in text and "aaaaaaaaaaaaaaaa" in text


def test_the_page_escapes_what_files_say(tmp_path: Path, catalogue: Catalogue) -> None:
    evil = "<script>alert(1)</script>"
    make_series(tmp_path / "in" / "s", ball(), AFFINE, Modality="MR", SeriesDescription="x")
    package = model(tmp_path / "model", labels=((1, evil), (2, 'a"b')), facts={"name": evil})
    (tmp_path / "out").mkdir()
    with Ledger(tmp_path / "out") as ledger:
        ledger.put(Row("odd", f"../{evil}", state="failed", error=evil))
    run(tmp_path, catalogue, tmp_path / "in", package=package, writers=("nifti",))
    text = (tmp_path / "out" / "report.html").read_text()
    assert evil not in text and text.count(html.escape(evil)) >= 3


def test_the_page_keeps_the_scans_of_earlier_calls(tmp_path: Path, catalogue: Catalogue) -> None:
    a, b, _ = three(tmp_path)
    run(tmp_path, catalogue, a)
    run(tmp_path, catalogue, b, package=model(tmp_path / "model", hash="b" * 64))
    text = (tmp_path / "out" / "report.html").read_text()
    assert len(Page(text).kinds) == 2 and "made by another model: balls 3, aaaaaaaaaaaaaaaa" in text


def test_what_is_left_out_or_failed_is_said_on_the_way(
    tmp_path: Path, catalogue: Catalogue, capsys: pytest.CaptureFixture[str]
) -> None:
    make_series(tmp_path / "st" / "mr", ball(), AFFINE, Modality="MR", StudyInstanceUID="1.2")
    make_series(tmp_path / "st" / "ct", ball(), AFFINE, Modality="CT", StudyInstanceUID="1.2", SeriesInstanceUID="1.9")
    run(tmp_path, catalogue, tmp_path / "st", broken(tmp_path), progress=Progress())
    said = capsys.readouterr()
    assert "left out: ct: it is CT" in said.err and "failed: broken: " in said.err and said.out == ""


def labelled(array: Any) -> list[str]:
    volume, labels = Volume(array.astype(np.uint8), np.eye(4)), Labels.of({"ball": 1, "core": 2})
    confidence = {"ball": 0.9, "core": 0.9}
    return [flag.code for flag in flags_of(volume, measure(volume, labels, confidence))]


def test_flags_say_what_a_mask_gives_reason_to_look_at() -> None:
    good = (ball() > 100).astype(int) + (ball() > 200)
    assert labelled(good) == []
    assert labelled(np.zeros(SHAPE)) == ["nothing-found"]
    assert labelled(good * (good == 1)) == ["empty-structure"]
    cut = np.roll(good, 8, 0)
    cut[:5] = 0
    assert labelled(cut) == ["touches-border"]
    noisy = good.copy()
    noisy[1:20:3, 1, 1] = 1
    assert labelled(noisy) == ["tiny-components"]
    two = np.concatenate([good, good], 0)
    assert labelled(two) == [], "two kidneys are not noise"


def test_volumes_and_centroids_are_those_of_the_patient() -> None:
    array = np.zeros((10, 10, 10), np.uint8)
    array[2:4, 5, 6:9] = 300 % 256
    affine = np.array([[0, -2.0, 0, 10], [1.0, 0, 0, -5], [0, 0, 3.0, 1], [0, 0, 0, 1]])
    found = measure(Volume(array, affine), Labels.of({"x": 44}))["x"]
    assert found.voxels == 6 and found.ml == pytest.approx(0.036)
    assert found.centroid == pytest.approx((0.0, -2.5, 22.0))
    flat = measure(Volume(array[:, 5], np.diag([0.5, 2, 1, 1])), Labels.of({"x": 44}))["x"]
    assert flat.ml is None and flat.mm2 == pytest.approx(6.0)


@pytest.mark.parametrize("shape", [(10, 10), (10, 10, 10)])
def test_what_has_no_size_is_counted_and_has_no_millimetres(shape: tuple[int, ...]) -> None:
    unknown = Problem("no-spacing", "it does not say how large a pixel is", "warning")
    item = Item(Path("a.png"), "picture", shape, np.eye(4), problems=(unknown,))
    array = np.zeros(shape, np.uint8)
    array[2:4, 5:8] = 1
    known, one = (measure(Volume(array, np.eye(4), item=of), Labels.of({"x": 1}))["x"] for of in (None, item))
    flat, voxels = len(shape) == 2, int(array.sum())
    size = "mm2" if flat else "ml"
    assert known.document()[size] == pytest.approx(voxels if flat else voxels / 1000)
    assert {key: one.document()[key] for key in (size, "centroid_mm", "voxels")} == {
        size: None,
        "centroid_mm": None,
        "voxels": voxels,
    }
    assert size_of(known.document(), True) == ("6.00 mm²" if flat else "0.06 mL")
    for document in (one.document(), known.document()):  # the second as a batch of an earlier version has it
        assert size_of(document, False) == ("6 pixels" if flat else "60 voxels")
