"""Writers of a batch: what fails takes nothing with it, and what is written is proved."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from batch_scans import AFFINE, SHAPE, ball, model, rows, run, states, three, write_scan

from dicom_series import make_series
from voxgraft.batch.quality import measure, prove
from voxgraft.batch.worklist import Finder
from voxgraft.components.catalogue import Catalogue, Origin
from voxgraft.components.choice import Options
from voxgraft.discovery import discover
from voxgraft.errors import DataError
from voxgraft.imaging.formats import WriterSpec
from voxgraft.imaging.structures import Labels
from voxgraft.imaging.volume import Item, Volume
from voxgraft.imaging.write import write
from voxgraft_plugins.nifti.reader import NiftiReader


class FakeWriter:
    """A writer that does what a test says."""

    def __init__(self, work: Any) -> None:
        self.work = work

    def write(self, volume: Volume, target: Path, *, labels: Labels | None = None, facts: Mapping[str, str]) -> None:
        self.work(volume, target)


class NoOptions(Options):
    """None."""


def with_writer(entries: list[EntryPoint], name: str, filename: str, work: Any, needs: str = "any") -> Catalogue:
    """The built-in components, and a writer that does what a test says in the place of one that is called so."""
    catalogue = discover([entry for entry in entries if entry.name != name])
    spec = WriterSpec(
        name=name,
        summary="",
        suffixes=(filename,),
        filename=filename,
        needs=needs,
        options=lambda: NoOptions,
        build=lambda _: FakeWriter(work),
    )
    catalogue.add("test", spec)
    catalogue.origins["test"] = Origin("test", "test", "test", "1")
    return catalogue


def full(volume: Volume, target: Path) -> None:
    target.write_bytes(b"half")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))


def refuse(volume: Volume, target: Path) -> None:
    target.write_bytes(b"half")
    raise DataError(f"{target}: this scan cannot be written so")


def test_masks_lie_exactly_on_their_scans(tmp_path: Path, catalogue: Catalogue) -> None:
    oblique = np.array([[0.9, -0.3, 0.1, 5], [0.3, 0.9, 0.2, -40], [-0.2, -0.1, 1.4, 7], [0, 0, 0, 1]])
    run(tmp_path, catalogue, write_scan(tmp_path / "a.nii.gz", affine=oblique), ignore_contract=True)
    mask = nib.load(tmp_path / "out" / "a" / "mask.nii.gz")
    expected = (ball() > 100).astype(int) + (ball() > 200)
    assert np.allclose(mask.affine, oblique, atol=1e-5) and np.array_equal(np.asarray(mask.dataobj), expected)


def test_a_full_disk_fails_the_scan_and_leaves_nothing_half_written(
    tmp_path: Path, builtin_entries: list[EntryPoint]
) -> None:
    catalogue = with_writer(builtin_entries, "odd", "mask.odd", full)
    batch = run(tmp_path, catalogue, *three(tmp_path), writers=("nifti", "odd"))
    assert batch.failed == 3 and batch.exit_code == 1
    assert batch.scans[0].error == "mask.odd: cannot be written: No space left on device"
    assert rows(tmp_path)["a"].error_code == "cannot-write"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [".lock", "ledger.sqlite", "report.html", "review"]


def crash(volume: Volume, target: Path) -> None:
    target.write_bytes(b"half")
    raise ZeroDivisionError


@pytest.mark.parametrize("asked", [None, ("nifti", "dicom-seg"), ("dicom-seg", "nifti")])
@pytest.mark.parametrize(("work", "reason"), [(refuse, "this scan cannot be written so"), (crash, "ZeroDivisionError")])
def test_a_writer_that_fails_takes_nothing_with_it(
    tmp_path: Path, builtin_entries: list[EntryPoint], work: Any, reason: str, asked: tuple[str, ...] | None
) -> None:
    catalogue = with_writer(builtin_entries, "dicom-seg", "mask.dcm", work, needs="dicom")
    make_series(tmp_path / "s", ball(), AFFINE, Modality="MR")
    batch = run(tmp_path, catalogue, tmp_path / "s", writers=asked)
    assert batch.done == 1 and batch.scans[0].flags == ("no-dicom-seg",) and batch.exit_code == 0
    assert {p.name for p in (tmp_path / "out" / "s").iterdir()} == {
        "mask.nii.gz",
        "preview.png",
        "preview-plain.jpg",
        "report.json",
    }
    report = json.loads((tmp_path / "out" / "s" / "report.json").read_text())
    assert report["masks"] == ["mask.nii.gz"] and reason in report["flags"][0]["message"]
    assert reason in (tmp_path / "out" / "report.html").read_text()


def test_the_first_writer_that_fails_does_not_take_the_second_with_it(
    tmp_path: Path, builtin_entries: list[EntryPoint]
) -> None:
    catalogue = with_writer(builtin_entries, "nifti", "mask.nii.gz", refuse)
    make_series(tmp_path / "s", ball(), AFFINE, Modality="MR")
    batch = run(tmp_path, catalogue, tmp_path / "s", writers=("nifti", "dicom-seg"))
    assert batch.done == 1 and batch.scans[0].flags == ("no-nifti",)
    assert {p.name for p in (tmp_path / "out" / "s").iterdir()} == {
        "mask.dcm",
        "preview.png",
        "preview-plain.jpg",
        "report.json",
    }


def test_a_scan_of_which_no_writer_succeeds_has_failed(tmp_path: Path, builtin_entries: list[EntryPoint]) -> None:
    catalogue = with_writer(builtin_entries, "dicom-seg", "mask.dcm", refuse, needs="dicom")
    make_series(tmp_path / "s", ball(), AFFINE, Modality="MR")
    batch = run(tmp_path, catalogue, tmp_path / "s", writers=("dicom-seg",))
    assert batch.failed == 1 and batch.scans[0].error == "mask.dcm: this scan cannot be written so"


def test_tries_on_a_full_disk_do_not_count(
    tmp_path: Path, builtin_entries: list[EntryPoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = with_writer(builtin_entries, "odd", "mask.odd", full)
    with monkeypatch.context() as patch:
        patch.setattr("voxgraft.batch.scan.is_full", lambda _: True)
        for _ in range(4):
            assert run(tmp_path, catalogue, *three(tmp_path), writers=("nifti", "odd")).failed == 3
    assert {row.tries for row in rows(tmp_path).values()} == {0}
    assert run(tmp_path, catalogue, *three(tmp_path)).done == 3


LIMITED = """
import resource, sys
from pathlib import Path
from batch_scans import Brightness, model
from voxgraft.batch.segment import segment
from voxgraft.discovery import discover
from voxgraft.errors import VoxGraftError
root, most = Path(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
try:
    segment(model(root / "model"), [root / "in"], root / "out", discover(), predictor=Brightness())
except VoxGraftError as error:
    sys.exit(f"one sentence: {error}")
"""


def test_a_ledger_that_cannot_grow_ends_the_batch_in_a_sentence_and_it_goes_on_later(
    tmp_path: Path, catalogue: Catalogue, repo_path: dict[str, str]
) -> None:
    three(tmp_path)
    path = os.pathsep.join([repo_path["PYTHONPATH"], str(Path(__file__).parent)])
    command = [sys.executable, "-c", LIMITED, str(tmp_path), "60000"]
    done = subprocess.run(command, env={**repo_path, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "one sentence: " in done.stderr and "ledger.sqlite" in done.stderr
    assert "make sure that its disk has space" in done.stderr and "Traceback" not in done.stderr
    assert run(tmp_path, catalogue, tmp_path / "in").done == 3


def test_a_full_disk_under_a_usual_writer_is_no_mere_flag(tmp_path: Path, builtin_entries: list[EntryPoint]) -> None:
    catalogue = with_writer(builtin_entries, "dicom-seg", "mask.dcm", full, needs="dicom")
    make_series(tmp_path / "s", ball(), AFFINE, Modality="MR")
    assert run(tmp_path, catalogue, tmp_path / "s").failed == 1


def test_a_mask_that_comes_back_elsewhere_is_not_delivered(tmp_path: Path, builtin_entries: list[EntryPoint]) -> None:
    def shifted(volume: Volume, target: Path) -> None:
        affine = volume.affine.copy()
        affine[0, 3] += 0.2
        nib.save(nib.Nifti1Image(volume.array, affine), target)

    catalogue = with_writer(builtin_entries, "odd", "odd.nii.gz", shifted)
    batch = run(tmp_path, catalogue, write_scan(tmp_path / "a.nii.gz"), writers=("odd",))
    assert batch.failed == 1 and "0.2 mm away from where it was written" in str(batch.scans[0].error)
    assert not (tmp_path / "out" / "a").exists()


def test_a_writer_whose_files_nothing_reads_is_flagged(tmp_path: Path, builtin_entries: list[EntryPoint]) -> None:
    catalogue = with_writer(builtin_entries, "odd", "mask.odd", lambda _, target: target.write_text("contours"))
    batch = run(tmp_path, catalogue, write_scan(tmp_path / "a.nii.gz"), writers=("nifti", "odd"))
    assert batch.done == 1 and batch.scans[0].flags == ("unproved",)


def test_writers_that_do_not_fit_a_scan_are_passed_over(tmp_path: Path, catalogue: Catalogue) -> None:
    scan = write_scan(tmp_path / "a.nii.gz")
    assert run(tmp_path, catalogue, scan, writers=("nifti", "dicom-seg")).done == 1
    alone = run(tmp_path, catalogue, scan, writers=("dicom-seg",))
    assert alone.failed == 1 and "none of the writers dicom-seg fits" in str(alone.scans[0].error)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("exit", "SystemExit: 3"),
        ("shape", "it gave 20x24x14 voxels, and had said 26x24x14"),
        ("complex", "its voxels are complex64, not numbers"),
        ("object", "its voxels are object, not numbers"),
        ("none", "it returned no Volume, but NoneType"),
    ],
)
def test_what_only_a_plugin_can_be_blamed_for_fails_its_scan_alone(
    tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, how: str, said: str
) -> None:
    whole = NiftiReader.read

    def bad(reader: NiftiReader, item: Item) -> Any:
        volume = whole(reader, item)
        if item.path.name != "b.nii.gz":
            return volume
        if how == "exit":
            sys.exit(3)
        kinds = {"complex": np.complex64, "object": object}
        return {"none": None, "shape": volume.with_array(volume.array[:20])}.get(
            how, volume.with_array(volume.array.astype(kinds.get(how, np.int16)))
        )

    monkeypatch.setattr(NiftiReader, "read", bad)
    batch = run(tmp_path, catalogue, *three(tmp_path))
    assert states(batch) == {"a": "done", "b": "failed", "c": "done"}
    assert str(batch.scans[1].error).startswith("plugin 'nifti' ") and "b.nii.gz" in str(batch.scans[1].error)
    assert said in str(batch.scans[1].error)
    assert batch.scans[1].code == "plugin"


def test_nothing_found_is_a_result_with_files_of_its_own(tmp_path: Path, catalogue: Catalogue) -> None:
    make_series(tmp_path / "s", ball() // 4, AFFINE, Modality="MR")
    batch = run(tmp_path, catalogue, tmp_path / "s")
    assert batch.done == 1 and batch.scans[0].flags == ("nothing-found",)
    names = {p.name for p in (tmp_path / "out" / "s").iterdir()}
    assert names == {"mask.nii.gz", "mask.dcm", "preview.png", "preview-plain.jpg", "report.json"}


def test_every_dicom_object_of_a_scan_is_written_and_tells_the_same(tmp_path: Path, catalogue: Catalogue) -> None:
    from pydicom import dcmread

    make_series(tmp_path / "s", ball(), AFFINE, Modality="MR")
    writers = ["nifti", "dicom-seg", "dicom-rtstruct", "dicom-sr"]
    batch = run(tmp_path, catalogue, tmp_path / "s", writers=writers)
    assert batch.done == 1 and batch.scans[0].flags == ()
    folder = tmp_path / "out" / "s"
    names = ["mask.nii.gz", "mask.dcm", "rtstruct.dcm", "report.dcm"]
    assert {p.name for p in folder.iterdir()} == {*names, "preview.png", "preview-plain.jpg", "report.json"}
    report = json.loads((folder / "report.json").read_text())
    assert report["masks"] == names
    (entry,) = Finder(catalogue, model(tmp_path / "model").plan, tmp_path / "out").find([tmp_path / "s"])
    image = entry.items[0]
    mask = Volume(np.asarray(nib.load(folder / "mask.nii.gz").dataobj), image.affine, item=image)
    labels = model(tmp_path / "model").labels
    for name in ("mask.dcm", "rtstruct.dcm"):
        prove(folder / name, mask, labels, measure(mask, labels), catalogue)
        with pytest.raises(DataError, match=r"ball came back with \d+ voxels"):
            less = mask.with_array(np.where(np.arange(SHAPE[2]) == 7, 0, mask.array))
            prove(folder / name, less, labels, measure(less, labels), catalogue)
    objects = [dcmread(folder / name, stop_before_pixels=True) for name in names[1:]]
    assert len({one.StudyInstanceUID for one in objects}) == 1 and len({one.SeriesInstanceUID for one in objects}) == 3
    assert objects[0].SOPInstanceUID in str(objects[2])
    again = run(tmp_path / "again", catalogue, tmp_path / "s", writers=writers)
    assert again.done == 1
    for one, name in zip(objects, names[1:], strict=True):
        other = dcmread(tmp_path / "again" / "out" / "s" / name, stop_before_pixels=True)
        assert other.SOPInstanceUID == one.SOPInstanceUID, "a second run replaces the first"


def test_writers_that_do_not_fit_a_scan_are_left_out(tmp_path: Path, catalogue: Catalogue) -> None:
    """DICOM objects of a scan that is not DICOM."""
    batch = run(tmp_path, catalogue, write_scan(tmp_path / "a.nii.gz"), writers=["nifti", "dicom-seg", "dicom-sr"])
    assert batch.done == 1
    names = {p.name for p in (tmp_path / "out" / "a").iterdir()}
    assert names == {"mask.nii.gz", "preview.png", "preview-plain.jpg", "report.json"}


def test_a_dicom_scan_gets_a_segmentation_that_is_proved(tmp_path: Path, catalogue: Catalogue) -> None:
    make_series(tmp_path / "s", ball(), AFFINE, Modality="MR")
    package = model(tmp_path / "model")
    assert run(tmp_path, catalogue, tmp_path / "s").done == 1
    array = (ball() > 100).astype(np.uint8) + (ball() > 200)
    (entry,) = Finder(catalogue, package.plan, tmp_path / "out").find([tmp_path / "s"])
    mask = Volume(array, entry.items[0].affine, item=entry.items[0])
    target = tmp_path / "out" / "s" / "mask.dcm"
    written = Volume(np.asarray(nib.load(target.with_name("mask.nii.gz")).dataobj), mask.affine)
    for right, volume in ((True, written), (False, written.with_array(np.roll(written.array, 1, 0)))):
        structures = measure(volume, package.labels)
        if right:
            prove(target, volume, package.labels, structures, catalogue)
        else:
            with pytest.raises(DataError, match=r"mask\.dcm: ball came back 1 mm away"):
                prove(target, volume, package.labels, structures, catalogue)


def test_a_name_that_the_format_shortens_is_found_and_one_that_is_missing_is_not_another(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    """A long string of DICOM holds 64 letters and no backslash."""
    make_series(tmp_path / "s", ball(), AFFINE, Modality="MR")
    (entry,) = Finder(catalogue, model(tmp_path / "model").plan, tmp_path / "out").find([tmp_path / "s"])
    array = (ball() > 100).astype(np.uint8) + (ball() > 200)
    mask = Volume(array, entry.items[0].affine, item=entry.items[0])
    odd = Labels.of({"left " + "x" * 70: 1, "right\\lobe": 2})
    plain = Labels.of({"liver": 1, "core": 2})
    for name, labels in (("odd.dcm", odd), ("plain.dcm", plain)):
        write(mask, tmp_path / name, catalogue, labels, {}, writer="dicom-seg")
        prove(tmp_path / name, mask, labels, measure(mask, labels), catalogue)
    for other in ("liver lesion", "li", "spleen"):
        more = Labels.of({"liver": 1, other: 2})
        with pytest.raises(DataError, match=f"{other} is missing in what was written"):
            prove(tmp_path / "plain.dcm", mask, more, measure(mask, more), catalogue)
