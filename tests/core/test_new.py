"""`voxgraft new`: a workflow file for whatever lies in a folder, which runs as it stands."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from datasets import boxes
from PIL import Image

from dicom_series import make_series
from voxgraft.cli import main
from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import DataError
from voxgraft.scaffold import survey as surveying
from voxgraft.scaffold.begin import shipped
from voxgraft.scaffold.survey import survey
from voxgraft.scaffold.workflow import Machine, write_workflow
from voxgraft.workflow.workflow import Workflow, read

CPU, GPU = Machine("cpu", 2), Machine("cuda", 16)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(folder: Path, catalogue: Catalogue, machine: Machine = CPU) -> tuple[Workflow, str]:
    """The workflow of a folder, read again, and its text."""
    out = Path("work.yaml")
    out.unlink(missing_ok=True)
    Path("work_images.csv").unlink(missing_ok=True)
    write_workflow(survey(folder, catalogue), out, catalogue, machine)
    return read(out, catalogue), out.read_text(encoding="utf-8")


def image(path: Path, shape: tuple[int, ...], low: int = 0, high: int = 400, spacing: float = 1.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(crc32(os.fsencode(path))).integers(low, high, shape).astype(np.int16)
    nib.save(nib.Nifti1Image(array, np.diag([spacing, spacing, spacing, 1])), path)


def mask(path: Path, shape: tuple[int, ...], *values: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros(shape, np.uint8)
    for number, value in enumerate(values):
        array[2 + 3 * number : 4 + 3 * number, 2:6, 2:6] = value
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)


def test_a_known_layout(tmp_path: Path, catalogue: Catalogue) -> None:
    made, text = written(boxes(tmp_path / "box data"), catalogue)
    assert made.data.layout.name == "decathlon"
    assert made.data.modality.name == "mr"
    assert made.name == "box-data-mr"
    assert made.data.labels is None, "the data set names its structures"
    assert (made.model.dims, made.data.split.folds, made.data.spacing) == (3, 5, None)
    assert "6 cases of 6 patients, 6 with a mask" in text


def test_structures_that_nothing_names(tmp_path: Path, catalogue: Catalogue) -> None:
    for number in range(3):
        image(tmp_path / f"in/images/a{number}.nii.gz", (16, 16, 16), -1000, 900)
        mask(tmp_path / f"in/labels/a{number}.nii.gz", (16, 16, 16), 2, 7)
    made, _ = written(tmp_path / "in", catalogue)
    assert made.data.labels == {"structure 2": 2, "structure 7": 7}
    assert made.data.split.folds == 3


def test_hounsfield_units_are_seen(tmp_path: Path, catalogue: Catalogue) -> None:
    for number in range(2):
        path = tmp_path / f"in/images/a{number}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        array = np.full((16, 16, 16), -1000, np.int16)
        array[4:12, 4:12, 4:12] = np.random.default_rng(number).integers(-50, 300, (8, 8, 8))
        nib.save(nib.Nifti1Image(array, np.eye(4)), path)
        mask(tmp_path / f"in/labels/a{number}.nii.gz", (16, 16, 16), 1)
    assert written(tmp_path / "in", catalogue)[0].data.modality.name == "ct"


def test_colour_pictures_learn_in_2d(tmp_path: Path, catalogue: Catalogue) -> None:
    for number in range(4):
        for part, shape in (("images", (40, 30, 3)), ("masks", (40, 30))):
            path = tmp_path / f"in/{part}/p{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            array = np.zeros(shape, np.uint8)
            array[5:20, 5:20] = 90 + number if part == "images" else 1
            Image.fromarray(array).save(path)
    made, _ = written(tmp_path / "in", catalogue)
    assert (made.data.modality.name, made.model.dims) == ("rgb", 2)


def test_thin_stacks_learn_in_2d(tmp_path: Path, catalogue: Catalogue) -> None:
    for number in range(2):
        image(tmp_path / f"in/images/a{number}.nii.gz", (20, 20, 4))
        mask(tmp_path / f"in/labels/a{number}.nii.gz", (20, 20, 4), 1)
    made, text = written(tmp_path / "in", catalogue)
    assert made.model.dims == 2
    assert "The volumes have 4 slices" in text


def test_a_cpu_learns_from_coarser_voxels(tmp_path: Path, catalogue: Catalogue) -> None:
    for number in range(2):
        image(tmp_path / f"in/images/a{number}.nii.gz", (100, 100, 100), spacing=0.5)
        mask(tmp_path / f"in/labels/a{number}.nii.gz", (100, 100, 100), 1)
    spacing = written(tmp_path / "in", catalogue)[0].data.spacing
    assert spacing is not None
    assert spacing == pytest.approx([0.5 * 2.5 ** (1 / 3)] * 3, rel=0.01)
    assert written(tmp_path / "in", catalogue, GPU)[0].data.spacing is None


def test_nothing_but_images_pretrains_and_runs(tmp_path: Path, catalogue: Catalogue) -> None:
    for number in range(3):
        image(tmp_path / f"in/patient {number}/scan.nii.gz", (16, 16, 16))
    made, text = written(tmp_path / "in", catalogue)
    assert not made.supervised
    assert [step.name for step in made.steps] == ["check", "plan", "prepare", "train", "register"]
    assert "none with a mask" in text
    table = Path("work_images.csv").read_text().splitlines()
    assert table[0] == "case,patient,image"
    assert [row.split(",")[0] for row in table[1:]] == [f"patient {n}-scan" for n in range(3)]
    done = CliRunner().invoke(main, ["run", "work.yaml", "--steps", "check,plan"])
    assert done.exit_code == 0, done.output


def test_series_of_several_patients(tmp_path: Path, catalogue: Catalogue) -> None:
    for number in range(2):
        array = np.random.default_rng(number).integers(0, 900, (24, 24, 12)).astype(np.uint16)
        uid = f"1.2.3.{number}"
        make_series(tmp_path / f"in/p{number}", array, np.eye(4), PatientID=f"P{number}", SeriesInstanceUID=uid)
    made, _ = written(tmp_path / "in", catalogue)
    assert made.data.layout.name == "dicom"
    done = CliRunner().invoke(main, ["run", "work.yaml", "--steps", "check,plan"])
    assert done.exit_code == 0, done.output


def test_of_a_tree_of_several_modalities_one_is_learnt(tmp_path: Path, catalogue: Catalogue) -> None:
    for number in range(3):
        array = np.random.default_rng(number).integers(0, 900, (8, 8, 6)).astype(np.uint16)
        for modality in ("CT", "MR")[: 1 + number % 2]:
            ids = {"PatientID": f"P{number}", "SeriesInstanceUID": f"1.2.{number}.{ord(modality[0])}"}
            make_series(tmp_path / f"in/p{number}/{modality}", array, np.eye(4), Modality=modality, **ids)
    made, text = written(tmp_path / "in", catalogue)
    assert "modality: [CT]" in text and made.data.modality.name == "ct" and "3 cases of 3 patients" in text
    found = survey(tmp_path / "in", catalogue)
    assert any("CT is taken, 1 MR left out" in note for note in found.dataset.notes)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    image(tmp_path / "a.nii.gz", (4, 4, 4))
    done = CliRunner().invoke(main, ["new", "a.nii.gz"])
    assert done.exit_code == 2 and "a.nii.gz: is a file; name the folder it lies in" in done.output


def test_one_patient_cannot_be_split(tmp_path: Path) -> None:
    image(tmp_path / "in/images/a.nii.gz", (16, 16, 16))
    mask(tmp_path / "in/labels/a.nii.gz", (16, 16, 16), 1)
    done = CliRunner().invoke(main, ["new", "in"])
    assert done.exit_code == 1
    assert "training needs at least two" in done.output
    assert not list(tmp_path.glob("*.yaml"))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.zeros((16, 16, 16), np.uint8), "4 masks, and every voxel is background: there is nothing to learn"),
        (np.full((16, 16, 16), -1, np.int16), "none of its masks can be used (a0: the label holds -1"),
        (np.full((16, 16, 16), 0.5, np.float32), "none of its masks can be used (a0: the label holds values that are"),
    ],
)
def test_masks_without_a_structure_give_no_workflow(tmp_path: Path, values: np.ndarray, said: str) -> None:
    for number in range(4):
        image(tmp_path / f"in/images/a{number}.nii.gz", values.shape)
        (tmp_path / "in/labels").mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / f"in/labels/a{number}.nii.gz")
    done = CliRunner().invoke(main, ["new", "in"])
    assert done.exit_code == 1 and said in " ".join(done.stderr.split()), done.stderr
    assert not list(tmp_path.glob("*.yaml"))


@pytest.mark.parametrize(
    ("call", "code", "said"),
    [
        ([], 2, "name the FOLDER"),
        (["nowhere"], 2, "there is no such folder"),
        (["empty"], 1, "empty"),
        (["text"], 1, "text"),
        (["--from", "hippocampus_m"], 2, "did you mean 'hippocampus_mr'?"),
        (["--from", "hippocampus_mr", "nowhere"], 2, "there is no such folder"),
        (["--from", "../secret"], 2, "there is no workflow"),
        (["--from", "hippocampus_mr", "--out", "there.yaml"], 2, "already exists"),
        (["empty", "--out", "there.yaml"], 2, "already exists"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(tmp_path: Path, call: list[str], code: int, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text/notes.txt").write_text("no image")
    (tmp_path / "there.yaml").write_text("mine")
    done = CliRunner().invoke(main, ["new", *call])
    assert (done.exit_code, said in done.output) == (code, True), done.output
    assert (tmp_path / "there.yaml").read_text() == "mine"


def test_damaged_images_do_not_keep_the_others(tmp_path: Path, catalogue: Catalogue) -> None:
    folder = boxes(tmp_path / "in")
    (folder / "imagesTr/box_001.nii.gz").write_bytes(b"no image at all")
    found = survey(folder, catalogue)
    assert list(found.left_out) == ["box_001"]
    assert found.shape == (20, 18, 16)


def test_shipped_workflows_can_be_copied(tmp_path: Path, catalogue: Catalogue) -> None:
    listed = CliRunner().invoke(main, ["new", "--list"]).output
    for name in shipped():
        assert f"{name}: " in listed
        done = CliRunner().invoke(main, ["new", "--from", name])
        assert done.exit_code == 0, done.output
        read(Path(f"{name}.yaml"), catalogue)
    boxes(tmp_path / "ours")
    done = CliRunner().invoke(main, ["new", "--from", "hippocampus_mr", "ours", "--out", "ours.yaml"])
    assert done.exit_code == 0, done.output
    assert read(Path("ours.yaml"), catalogue).data.layout.document()["path"] == "ours"


def test_a_copy_takes_its_tables_along(tmp_path: Path, catalogue: Catalogue) -> None:
    (tmp_path / "scans").mkdir()
    done = CliRunner().invoke(main, ["new", "--from", "atrium_3d", "scans"])
    assert done.exit_code == 0, done.output
    layout = read(Path("atrium_3d.yaml"), catalogue).data.layout.document()
    assert (layout["path"], layout["root"]) == ("atrium_8_unlabelled.csv", "scans")
    assert "la_000" in Path(layout["path"]).read_text()


def test_a_folder_for_each_case_with_several_channels(tmp_path: Path, catalogue: Catalogue) -> None:
    for number in range(2):
        for channel in ("Flair_normalised", "T1c_normalised"):
            image(tmp_path / f"in/pat{number}/{channel}.nii.gz", (16, 16, 16))
        mask(tmp_path / f"in/pat{number}/brainmask.nii.gz", (16, 16, 16), 1)
        mask(tmp_path / f"in/pat{number}/OTMultiClass.nii.gz", (16, 16, 16), 1, 2, 4)
        (tmp_path / f"in/pat{number}/License.txt").write_text("free")
    made, _ = written(tmp_path / "in", catalogue)
    assert list(made.data.layout.document()["images"]) == ["Flair", "T1c"]
    assert (
        made.data.labels == {"structure 1": 1, "structure 2": 2, "structure 4": 4} and made.data.modality.name == "mr"
    )
    notes = survey(tmp_path / "in", catalogue).dataset.notes
    assert any("brainmask.nii.gz may mark the region that counts" in note for note in notes)


@pytest.mark.parametrize(
    ("images", "masks", "patients"),
    [
        ("c{0}/a.nii", "c{0}/b.nii", 4),
        ("p{1}/s{0}/scan.nii", "p{1}/s{0}/drawn.nii", 2),
        ("train/x{0}/first.nii", "val/x{0}/second.nii", 0),
        ("in-{0}.nii", "out-{0}.nii", 4),
        ("{0}a_one.nii", "{0}a_two.nii", 4),
    ],
)
def test_masks_are_known_by_their_values(
    tmp_path: Path, catalogue: Catalogue, images: str, masks: str, patients: int
) -> None:
    for number in range(4):
        image(tmp_path / "in" / images.format(number, number % 2), (8, 8, 8))
        mask(tmp_path / "in" / masks.format(number, number % 2), (8, 8, 8), 1, 3)
    made, _ = written(tmp_path / "in", catalogue)
    found = survey(tmp_path / "in", catalogue)
    if not patients:
        assert not found.labelled and len(found.dataset.cases) == 4
        assert any("look like masks" in note and "use: csv" in note for note in found.dataset.notes)
        return
    assert made.data.layout.name == "csv" and made.data.labels == {"structure 1": 1, "structure 3": 3}
    assert (found.labelled, found.patients) == (4, patients)
    assert CliRunner().invoke(main, ["check", "work.yaml"]).exit_code == 0


@pytest.mark.parametrize(
    ("scan", "drawn"),
    [
        ("{group}/{case}.nii.gz", "{group}/{case}_seg.nii.gz"),
        ("{group}/{case}.nii.gz", "{group}/{case}_drawn.nii.gz"),
        ("{group}/{case}/scan.nii.gz", "{group}/{case}/mask.nii.gz"),
        ("{group}/{case}/scan.nii.gz", "{group}/{case}/drawn.nii.gz"),
        ("{group}/images/{case}.nii.gz", "{group}/labels/{case}.nii.gz"),
        ("images/{group}/{case}.nii.gz", "labels/{group}/{case}.nii.gz"),
        ("scans/{group}/{case}.nii.gz", "drawn/{group}/{case}.nii.gz"),
    ],
)
def test_cases_of_one_name_in_two_groups_are_told_apart(
    tmp_path: Path, catalogue: Catalogue, scan: str, drawn: str
) -> None:
    cases = [(group, f"case{number}") for group in ("north", "south") for number in range(3)]
    for group, case in cases:
        image(tmp_path / "scans" / scan.format(group=group, case=case), (10, 10, 10))
        mask(tmp_path / "scans" / drawn.format(group=group, case=case), (10, 10, 10), 1)
    made, _ = written(tmp_path / "scans", catalogue)
    dataset = made.data.layout.build().read()
    assert [case.id for case in dataset.cases] == [f"{group}-{case}" for group, case in cases]
    assert {case.patient for case in dataset.cases} == {"case0", "case1", "case2"}  # nobody is on both sides
    for (group, case), found in zip(cases, dataset.cases, strict=True):
        assert found.images[0] is not None and found.label is not None
        assert found.images[0].path.samefile(tmp_path / "scans" / scan.format(group=group, case=case))
        assert found.label.path.samefile(tmp_path / "scans" / drawn.format(group=group, case=case))


def test_visits_of_one_name_stay_with_their_people(tmp_path: Path, catalogue: Catalogue) -> None:
    for person in ("patient1", "patient2", "patient3"):
        for visit in ("first", "second"):
            image(tmp_path / "scans" / person / visit / "scan.nii.gz", (10, 10, 10))
            mask(tmp_path / "scans" / person / visit / "mask.nii.gz", (10, 10, 10), 1)
    made, _ = written(tmp_path / "scans", catalogue)
    people = {case.id: case.patient for case in made.data.layout.build().read().cases}
    assert len(people) == 6 and all(case.startswith(f"{person}-") for case, person in people.items())


def test_each_structure_in_a_file_has_a_value(tmp_path: Path, catalogue: Catalogue) -> None:
    for number in range(2):
        image(tmp_path / f"in/s{number}/ct.nii.gz", (16, 16, 16))
        for place, structure in enumerate(("liver", "spleen"), start=1):
            values = (1,) if place == 1 else (0, 1)
            mask(tmp_path / f"in/s{number}/segmentations/{structure}.nii.gz", (16, 16, 16), *values)
    made, text = written(tmp_path / "in", catalogue)
    assert made.data.labels == {"liver": 1, "spleen": 2} and made.data.modality.name == "ct"
    assert "the files have names such as 'ct.nii.gz'" in text
    assert CliRunner().invoke(main, ["check", "work.yaml"]).exit_code == 0


@pytest.mark.parametrize("quality", [60, 95])
def test_masks_that_were_saved_with_loss_are_black_and_white(
    tmp_path: Path, catalogue: Catalogue, quality: int
) -> None:
    for number in range(3):
        colours = np.random.default_rng(number).integers(0, 255, (48, 40, 3)).astype(np.uint8)
        white = np.zeros((48, 40), np.uint8)
        white[9:30, 11:31] = 255
        if quality < 90:
            white[15 + number, :] = 255
        else:  # few values, all near black and white
            white[8:32, 16:24] = 254
        for place, array in (("images", colours), ("masks", white)):
            (tmp_path / "in" / place).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(tmp_path / f"in/{place}/p{number}.jpg", quality=quality)
    made, text = written(tmp_path / "in", catalogue)
    assert made.document()["data"]["labels"]["structure"]["from"][::127] == [128, 255] and "JPEG" in text
    assert CliRunner().invoke(main, ["check", "work.yaml"]).exit_code == 0


def test_what_cannot_be_used_is_left_out_and_named(tmp_path: Path, catalogue: Catalogue) -> None:
    for number in range(5):
        image(tmp_path / f"in/images/a{number}.nii.gz", (8, 8, 8))
        mask(tmp_path / f"in/labels/a{number}.nii.gz", (8, 8, 8 if number else 6), 1)
    (tmp_path / "in/images/a3.nii.gz").write_bytes(b"no image")
    image(tmp_path / "in/more/b.nii.gz", (8, 8, 8))
    made, _ = written(tmp_path / "in", catalogue)
    assert made.data.leave_out == ("a0", "a3")
    done = CliRunner().invoke(main, ["new", "in"])
    assert "left out 2 cases that cannot be used, such as a0: " in done.output
    assert "not used: 1 more file of the same kind in more" in done.output
    assert CliRunner().invoke(main, ["check", "work.yaml"]).exit_code == 0


def test_of_many_cases_some_are_read(tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(12):
        image(tmp_path / f"in/images/a{number}.nii", (8, 8, 8))
        mask(tmp_path / f"in/labels/a{number}.nii", (8, 8, 8), 1)
    monkeypatch.setattr(surveying, "MOST", 5)
    done = CliRunner().invoke(main, ["new", "in", "--out", "work.yaml"])
    assert "12 cases of 12 patients, 12 with a mask" in done.output and "read a random sample of 5 cases" in done.output
    assert "Only 5 masks were read" in Path("work.yaml").read_text().replace("\n  # ", " ")
    monkeypatch.setattr(surveying, "MOST", 50)
    monkeypatch.setattr(surveying, "SECONDS", -1.0)
    monkeypatch.setattr(surveying, "FEWEST", 3)
    assert survey(tmp_path / "in", catalogue).looked == 3


def test_names_that_are_no_utf_8(tmp_path: Path, catalogue: Catalogue) -> None:
    for name in ("a", "b", "\udcff\udcfe"):
        image(tmp_path / f"in/images/{name}.nii.gz", (8, 8, 8))
        mask(tmp_path / f"in/labels/{name}.nii.gz", (8, 8, 8), 1)
    written(tmp_path / "in", catalogue)
    done = CliRunner().invoke(main, ["check", "work.yaml"])
    assert done.exit_code == 0 and "3 cases, 0 errors" in done.output, done.output


def test_a_folder_that_cannot_be_opened(tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    image(tmp_path / "in/images/a.nii.gz", (8, 8, 8))
    mask(tmp_path / "in/labels/a.nii.gz", (8, 8, 8), 1)
    within = Path.iterdir

    def iterdir(path: Path) -> Iterator[Path]:
        if path.name == "images":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return within(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    with pytest.raises(DataError, match="images: it cannot be read: Permission denied"):
        survey(tmp_path / "in", catalogue)


@pytest.mark.parametrize("drawn", ["none", "one", "other"])
def test_masks_in_which_nothing_is_drawn_are_named(tmp_path: Path, catalogue: Catalogue, drawn: str) -> None:
    for number in range(4):
        folder = tmp_path / f"in/case{number}"
        image(folder / "image.nii.gz", (16, 16, 16), -1000, 900)
        mask(folder / "mask_a.nii.gz", (16, 16, 16), *([1] if drawn == "one" and number == 0 else []))
        if drawn == "other":
            mask(folder / "mask_b.nii.gz", (16, 16, 16), 1)
    done = CliRunner().invoke(main, ["new", str(tmp_path / "in"), "--out", "work.yaml"])
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    number = {"none": 4, "one": 3, "other": 4}[drawn]
    assert f"{number} images of" in said and "hold zeros only and are taken for scans (case" in said
    assert "mask_a.nii.gz" in said and "if these are masks, nothing is drawn in them" in said


def test_masks_of_which_some_are_empty_and_other_scans_are_not_named(tmp_path: Path, catalogue: Catalogue) -> None:
    for number in range(4):
        image(tmp_path / f"in/case{number}/image.nii.gz", (16, 16, 16), -1000, 900)
        mask(tmp_path / f"in/case{number}/mask_a.nii.gz", (16, 16, 16), *([1] if number else []))
    found = survey(tmp_path / "in", catalogue)
    assert found.labelled == 4 and not any("zeros only" in note for note in found.dataset.notes)
