"""Reviewed scans as a data set and as DICOM objects: what is in them, where it lies, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_scans import other_code
from click.testing import CliRunner
from pydicom import dcmread
from reviewed_batch import LABELS, add_scan, boxes, decide, make_scan, redraw

from dicom_series import make_series
from voxgraft.cli import main
from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.datasets.dataset import read_layout
from voxgraft.errors import DataError, UsageError
from voxgraft.imaging.read import read, scan
from voxgraft.imaging.structures import Labels
from voxgraft.labels.masks import read_structures
from voxgraft.review.state.store import ReviewStore
from voxgraft.review.worth.export import Exported, Wishes, export, read_key, read_patients
from voxgraft.review.worth.reviewed_objects import Signed, write_objects
from voxgraft.review.worth.snapshot import Snapshot, take_snapshot

OBLIQUE = np.array([[-0.9, 0.1, 0.2, 30], [0.15, -0.8, 0.3, 12], [0.05, 0.25, 2.4, -7], [0, 0, 0, 1]])


def oblique() -> Any:
    """An affine with orthogonal, turned axes."""
    axes, _ = np.linalg.qr(OBLIQUE[:3, :3])
    affine = OBLIQUE.copy()
    affine[:3, :3] = axes * np.array([0.9, 0.8, 2.5])
    return affine


def tell(out: Path, catalogue: Catalogue) -> Snapshot:
    return take_snapshot(out, catalogue)


def rows_of(target: Path) -> dict[str, dict[str, str]]:
    with (target / "cases.csv").open(newline="") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def reasons(exported: Exported) -> dict[str, str]:
    return {one["case"]: one["reason"] for one in exported.document()["left_out"]}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, catalogue: Catalogue) -> Path:
    """A batch of NIfTI files and an oblique DICOM series, reviewed in part."""
    folder = tmp_path_factory.mktemp("export")
    out = folder / "out"
    for number in range(6):
        ending = ".nii" if number == 1 else ".nii.gz"
        add_scan(out, make_scan(folder / f"scan_{number}{ending}", catalogue, number), boxes(), catalogue)
    voxels = np.random.default_rng(9).integers(0, 900, (19, 14, 9)).astype(np.uint16)
    make_series(folder / "ct", voxels, oblique(), PatientID="secret-17", SeriesInstanceUID="1.2.3.4")
    add_scan(out, folder / "ct", boxes(0, (19, 14, 9)), catalogue, case="ct")
    store = ReviewStore(out, catalogue)
    decide(store, "scan_0")
    for case, shape in (("scan_1", (20, 18, 12)), ("ct", (19, 14, 9))):
        redraw(store, case, "anna", boxes(2, shape))
        decide(store, case, verdicts={"liver": "accepted", "spleen": "corrected"})
    decide(store, "scan_2", verdicts={"liver": "accepted", "spleen": "rejected"})
    decide(store, "scan_4")
    redraw(store, "scan_4", "bert", boxes(1))
    decide(store, "scan_4", "bert")
    decide(store, "scan_5", verdicts={"liver": "accepted"})
    store.close()
    return out


@pytest.fixture
def batch(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(made.parent, tmp_path / "batch")
    return tmp_path / "batch" / "out"


@pytest.fixture(scope="module")
def exported(made: Path, catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(tell(made, catalogue), tmp_path_factory.mktemp("target") / "reviewed")


def test_only_scans_whose_every_structure_is_final_are_exported(exported: Exported) -> None:
    assert exported.cases == ["scan_0", "scan_1", "ct"]
    assert reasons(exported) == {
        "scan_2": "spleen is rejected",
        "scan_3": "nobody decided about it",
        "scan_4": "anna and bert read it and differ; let an adjudicator decide, or name one of them with --reader",
        "scan_5": "spleen is open",
    }
    assert exported.exit_code == 0
    assert json.loads((exported.target / "labels.json").read_text()) == LABELS.document()


def test_the_table_says_who_decided_what_about_which_model(exported: Exported) -> None:
    row = rows_of(exported.target)["scan_1"]
    assert row["image"] == "images/scan_1.nii"
    assert row["label"] == "labels/scan_1.nii.gz"
    assert row["verdicts"] == "corrected: spleen; accepted: liver"
    assert (row["reader"], row["model"], row["model_version"], row["model_hash"]) == ("anna", "organs", "3", "a" * 64)
    assert row["patient"] == "scan_1"


def test_masks_lie_where_the_readers_drew_them(exported: Exported, made: Path, catalogue: Catalogue) -> None:
    for case, shape in (("scan_1", (20, 18, 12)), ("ct", (19, 14, 9))):
        row = rows_of(exported.target)[case]
        image, mask = (read(exported.target / row[name], catalogue) for name in ("image", "label"))
        assert np.array_equal(mask.array, boxes(2, shape))
        assert np.allclose(image.affine, mask.affine, atol=1e-4)
        source = made.parent / (f"{case}.nii" if case == "scan_1" else case)
        original = read(source, catalogue)
        assert np.array_equal(image.array, original.array)
        assert np.allclose(image.affine, original.affine, atol=1e-4)


def test_a_workflow_reads_it_and_splits_by_patient(exported: Exported, made: Path, catalogue: Catalogue) -> None:
    dataset = read_layout(choose(catalogue, "layout", {"use": "csv", "path": exported.target / "cases.csv"}), catalogue)
    assert {case.id for case in dataset.cases} == set(exported.cases)
    patient = next(case.patient for case in dataset.cases if case.id == "ct")
    tree = choose(catalogue, "layout", {"use": "dicom", "path": made.parent / "ct"})
    (case,) = read_layout(tree, catalogue).cases
    assert case.patient == patient
    assert "secret" not in (exported.target / "cases.csv").read_text()


def test_a_second_export_changes_nothing(exported: Exported, made: Path, catalogue: Catalogue) -> None:
    before = {path: path.stat().st_ino for path in exported.target.rglob("*")}
    again = export(tell(made, catalogue), exported.target)
    assert again.unchanged
    assert again.cases == exported.cases
    assert {path: path.stat().st_ino for path in exported.target.rglob("*")} == before


def test_a_new_decision_adds_its_case_and_keeps_the_rest(batch: Path, catalogue: Catalogue, tmp_path: Path) -> None:
    target = tmp_path / "reviewed"
    export(tell(batch, catalogue), target)
    kept = (target / "images/scan_0.nii.gz").stat().st_ino
    store = ReviewStore(batch, catalogue)
    decide(store, "scan_3")
    store.close()
    again = export(tell(batch, catalogue), target)
    assert again.cases == ["scan_0", "scan_1", "scan_3", "ct"]
    assert (target / "images/scan_0.nii.gz").stat().st_ino == kept


@pytest.mark.parametrize("module", ["voxgraft_plugins.nifti", "voxgraft_dicom.reader", "voxgraft"])
def test_what_other_code_read_is_not_taken_over(
    exported: Exported, made: Path, catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    target = tmp_path / "reviewed"
    shutil.copytree(exported.target, target)
    other_code(monkeypatch, module, "voxgraft.review.worth.export")
    assert not export(tell(made, catalogue), target).unchanged
    assert export(tell(made, catalogue), target).unchanged


def test_a_label_that_was_changed_by_hand_is_made_anew(batch: Path, catalogue: Catalogue, tmp_path: Path) -> None:
    target = tmp_path / "reviewed"
    export(tell(batch, catalogue), target)
    (target / "labels/scan_0.nii.gz").write_bytes(b"x")
    assert not export(tell(batch, catalogue), target).unchanged
    assert np.array_equal(read(target / "labels/scan_0.nii.gz", catalogue).array, boxes())


def test_one_reader_can_be_named(made: Path, catalogue: Catalogue, tmp_path: Path) -> None:
    found = export(tell(made, catalogue), tmp_path / "of_bert", Wishes(reader="bert"))
    assert found.cases == ["scan_4"]
    assert reasons(found)["scan_0"] == "'bert' did not decide about it"
    assert np.array_equal(read(tmp_path / "of_bert/labels/scan_4.nii.gz", catalogue).array, boxes(1))


def test_a_decision_about_a_whole_scan_is_told_of_each_structure(
    batch: Path, catalogue: Catalogue, tmp_path: Path
) -> None:
    store = ReviewStore(batch, catalogue)
    mask = redraw(store, "scan_3", "anna", boxes(2))
    store.decide("scan_3", "anna", structure="", verdict="corrected", mask=mask)
    store.close()
    export(tell(batch, catalogue), tmp_path / "reviewed")
    assert rows_of(tmp_path / "reviewed")["scan_3"]["verdicts"] == "corrected: spleen; accepted: liver"


def test_a_partial_export_ignores_what_nobody_vouches_for(made: Path, catalogue: Catalogue, tmp_path: Path) -> None:
    found = export(tell(made, catalogue), tmp_path / "partial", Wishes(partial=True))
    assert found.cases == ["scan_0", "scan_1", "scan_2", "scan_5", "ct"]
    mask = read(tmp_path / "partial/labels/scan_2.nii.gz", catalogue).array
    assert np.array_equal(mask, np.where(boxes() == 1, 1, 255))


def test_patients_may_be_named_by_a_table_and_hidden_by_a_key(made: Path, catalogue: Catalogue, tmp_path: Path) -> None:
    wishes = Wishes(patients={"scan_0": "p7"}, key=b"k" * 16)
    export(tell(made, catalogue), tmp_path / "keyed", wishes)
    rows = rows_of(tmp_path / "keyed")
    assert rows["scan_0"]["patient"] == "p7"
    export(tell(made, catalogue), tmp_path / "plain")
    assert rows["ct"]["patient"] != rows_of(tmp_path / "plain")["ct"]["patient"]


def test_a_scan_that_has_gone_or_changed_fails_alone(batch: Path, catalogue: Catalogue, tmp_path: Path) -> None:
    (batch.parent / "scan_0.nii.gz").unlink()
    make_scan(batch.parent / "scan_1.nii", catalogue, 77)
    found = export(tell(batch, catalogue), tmp_path / "reviewed")
    assert found.cases == ["ct"]
    assert "no longer where it was" in found.failed["scan_0"]
    assert "has changed since it was segmented" in found.failed["scan_1"]
    assert found.exit_code == 3


def test_a_mask_that_is_not_the_one_that_was_decided_about_fails(
    batch: Path, catalogue: Catalogue, tmp_path: Path
) -> None:
    shutil.copy(batch / "scan_0/mask.nii.gz", batch / "review/masks/scan_1/anna.nii.gz")
    found = export(tell(batch, catalogue), tmp_path / "reviewed")
    assert "is not the mask that was decided about" in found.failed["scan_1"]


def test_without_decisions_there_is_nothing_and_no_folder(tmp_path: Path, catalogue: Catalogue) -> None:
    add_scan(tmp_path / "out", make_scan(tmp_path / "scan.nii.gz", catalogue), boxes(), catalogue)
    found = export(tell(tmp_path / "out", catalogue), tmp_path / "reviewed")
    assert (found.cases, found.exit_code) == ([], 1)
    assert not (tmp_path / "reviewed").exists()


def test_a_gold_case_is_kept_for_judging(batch: Path, catalogue: Catalogue, tmp_path: Path) -> None:
    store = ReviewStore(batch, catalogue)
    values = {"case": "scan_0", "reader": "", "role": "gold", "sha256": "0" * 64}
    store.log.append("assignment", values, store.state.take)
    store.close()
    assert "gold case" in reasons(export(tell(batch, catalogue), tmp_path / "reviewed"))["scan_0"]


def test_a_broken_log_is_not_exported_unasked(batch: Path, catalogue: Catalogue, tmp_path: Path) -> None:
    log = batch / "review/audit.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"rejected"', b'"accepted"', 1))
    with pytest.raises(DataError, match=r"audit\.jsonl: line \d+: .*--unverified"):
        export(tell(batch, catalogue), tmp_path / "reviewed")
    assert export(tell(batch, catalogue), tmp_path / "reviewed", Wishes(unverified=True)).cases


@pytest.mark.parametrize("inside", ["out/review/exported", "out", "."])
def test_a_target_in_the_batch_or_around_it_is_refused(batch: Path, catalogue: Catalogue, inside: str) -> None:
    with pytest.raises(UsageError, match="lies in the batch's folder"):
        export(tell(batch, catalogue), batch.parent / inside)


def test_a_target_with_other_content_is_refused_and_kept(batch: Path, catalogue: Catalogue, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    target.mkdir()
    (target / "thesis.txt").write_text("all of it")
    with pytest.raises(UsageError, match="holds something other"):
        export(tell(batch, catalogue), target)
    export(tell(batch, catalogue), tmp_path / "reviewed")
    (tmp_path / "reviewed/notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt is not part of an export"):
        export(tell(batch, catalogue), tmp_path / "reviewed")
    assert (target / "thesis.txt").is_file()


def test_a_hostile_manifest_names_no_files_elsewhere(batch: Path, catalogue: Catalogue, tmp_path: Path) -> None:
    target = tmp_path / "reviewed"
    export(tell(batch, catalogue), target)
    manifest = json.loads((target / "export.json").read_text())
    files = manifest["cases"]["scan_0"]["files"]
    files["../../secret"] = files.pop("images/scan_0.nii.gz")
    (target / "export.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match="is not part of an export"):
        export(tell(batch, catalogue), target)


def test_a_full_disk_leaves_what_was_there(
    batch: Path, catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("voxgraft.review.worth.exported_case.shutil.copyfile", full)
    with pytest.raises(DataError, match="no space is left on the disk"):
        export(tell(batch, catalogue), tmp_path / "reviewed")
    assert not (tmp_path / "reviewed").exists()


def test_dicom_objects_say_what_was_corrected(batch: Path, catalogue: Catalogue) -> None:
    untouched = (batch / "ct/mask.nii.gz").read_bytes()
    found = write_objects(tell(batch, catalogue))
    assert (found.written, found.failed) == (["ct"], {})
    folder = batch / "review/dicom/ct"
    seg, report = (dcmread(folder / name) for name in ("mask.dcm", "report.dcm"))
    assert [(one.SegmentLabel, one.SegmentAlgorithmType) for one in seg.SegmentSequence] == [
        ("liver", "AUTOMATIC"),
        ("spleen", "SEMIAUTOMATIC"),
    ]
    assert seg.SegmentSequence[1].SegmentDescription.startswith("corrected by a reader, 20")
    assert seg.ContentDescription.startswith("reviewed 20")
    assert seg.SeriesDescription == "Reviewed: organs segmentation"
    assert str(seg.ContentCreatorName) == ""
    assert (report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag) == (
        "COMPLETE",
        "UNVERIFIED",
        "FINAL",
    )
    assert report.CurrentRequestedProcedureEvidenceSequence
    like = read(batch.parent / "ct", catalogue)
    (item,) = scan(folder / "mask.dcm", catalogue)
    back = read_structures(item, like, catalogue)
    assert np.array_equal(back["spleen"], boxes(2, (19, 14, 9)) == 2)
    assert (batch / "ct/mask.nii.gz").read_bytes() == untouched
    assert write_objects(tell(batch, catalogue)).unchanged == ["ct"]


def test_another_result_is_another_instance_of_the_same_series(batch: Path, catalogue: Catalogue) -> None:
    write_objects(tell(batch, catalogue))
    first = dcmread(batch / "review/dicom/ct/mask.dcm")
    store = ReviewStore(batch, catalogue)
    decide(store, "ct", verdicts={"liver": "reopened"})
    decide(store, "ct", verdicts={"liver": "rejected"})
    store.close()
    write_objects(tell(batch, catalogue))
    second = dcmread(batch / "review/dicom/ct/mask.dcm")
    assert [one.SegmentLabel for one in second.SegmentSequence] == ["spleen"]
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID


def test_named_readers_verify_a_report(batch: Path, catalogue: Catalogue) -> None:
    write_objects(tell(batch, catalogue), signed=Signed(readers=True, organisation="Example Clinic"))
    seg, report = (dcmread(batch / "review/dicom/ct" / name) for name in ("mask.dcm", "report.dcm"))
    assert report.VerificationFlag == "VERIFIED"
    assert str(report.VerifyingObserverSequence[0].VerifyingObserverName) == "anna"
    assert str(seg.ContentCreatorName) == "anna"


def test_unreviewed_objects_are_preliminary_and_have_other_uids() -> None:
    from voxgraft_dicom.objects.identity import Maker

    facts = {"model": "organs", "version": "3", "hash": "a" * 64}
    assert Maker.of(facts).review is None
    review = Maker.of({**facts, "reviewed": "2026-11-29T10:00:00Z", "corrected": "a\nb"}).review
    assert review is not None
    assert (review.when, review.corrected) == ("2026-11-29", {"a", "b"})


def test_labels_of_an_export_are_those_of_the_batch(exported: Exported) -> None:
    assert Labels.from_document(json.loads((exported.target / "labels.json").read_text())) == LABELS


def call(*arguments: object) -> Any:
    return CliRunner().invoke(main, ["review", *map(str, arguments)])


def test_the_command_exports_and_lists_the_rest(batch: Path, tmp_path: Path) -> None:
    found = call(batch, "--export", tmp_path / "reviewed", "--json")
    document = json.loads(found.stdout)
    assert found.exit_code == 0
    assert document["cases"] == ["scan_0", "scan_1", "ct"]
    assert document["dicom"]["written"] == ["ct"]
    (batch.parent / "scan_0.nii.gz").unlink()
    again = call(batch, "--export", tmp_path / "again")
    assert again.exit_code == 3
    assert "failed: scan_0" in again.stdout
    assert "left out: scan_2: spleen is rejected" in again.stdout


def test_the_command_sums_up_without_a_page(batch: Path) -> None:
    found = call(batch, "--summary", "--json")
    document = json.loads(found.stdout, parse_constant=pytest.fail)
    assert document["scans"]["reviewed"] == 5
    assert len(document["charts"][0]["values"]) == document["charts"][0]["n"]
    text = call(batch, "--summary").stdout
    assert "5 of 7 scans reviewed, 1 begun" in text
    assert "audit log: whole" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--summary", "--export", "x"), "cannot be combined"),
        (("--track",), "--track goes with --summary"),
        (("--partial",), "--partial goes with --export"),
        (("--export", "x", "--patients", "none.csv"), "no such file"),
        (("--export", "x", "--pseudonym-key", "none"), "no such file"),
    ],
)
def test_calls_that_make_no_sense_are_refused(batch: Path, arguments: tuple[str, ...], message: str) -> None:
    found = call(batch, *arguments)
    assert found.exit_code == 2
    assert message in found.stderr


def test_a_table_of_patients_needs_its_columns(batch: Path, tmp_path: Path) -> None:
    table = tmp_path / "patients.csv"
    table.write_text("case,patient\nscan_0,p7\n")
    assert read_patients(table) == {"scan_0": "p7"}
    table.write_text("name\nx\n")
    with pytest.raises(UsageError, match="needs the columns case and patient"):
        read_patients(table)
    with pytest.raises(UsageError, match="it needs at least 16"):
        read_key(table)


def test_nothing_reviewed_is_told_and_no_success(tmp_path: Path, catalogue: Catalogue) -> None:
    add_scan(tmp_path / "out", make_scan(tmp_path / "scan.nii.gz", catalogue), boxes(), catalogue)
    found = call(tmp_path / "out", "--export", tmp_path / "reviewed")
    assert found.exit_code == 1
    assert "nothing to export" in found.stdout
    assert call(tmp_path / "nothing", "--summary").exit_code == 2


def test_the_server_gives_summary_charts_and_agreement(batch: Path, catalogue: Catalogue) -> None:
    testclient = pytest.importorskip("starlette.testclient")
    from starlette.applications import Starlette

    from voxgraft.review.web.app_worth import routes

    store = ReviewStore(batch, catalogue)
    client = testclient.TestClient(Starlette(routes=routes(store)))
    before = client.get("/api/summary").json()
    assert before["scans"]["reviewed"] == 5
    assert "values" in client.get("/api/summary?points=1").json()["charts"][0]
    assert "<svg" in client.get("/charts").text
    assert client.get("/api/agreement").json() == {"structures": before["agreement"]}
    decide(store, "scan_3")
    assert client.get("/api/summary").json()["scans"]["reviewed"] == 6
    store.close()
