"""The demo: its heads look like heads, its DICOM series lie where its volumes lie, and its job reports truthfully."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from click.testing import CliRunner

from voxgraft.cli import main
from voxgraft.components.catalogue import Catalogue
from voxgraft.demo.dataset import DemoData, make_data
from voxgraft.demo.demo import run_demo, write_workflow
from voxgraft.demo.dicom import Series, write_series
from voxgraft.demo.phantoms import Grid, Head, Template, draw_head, read_template, scan
from voxgraft.errors import DataError, UsageError
from voxgraft.imaging.read import read
from voxgraft.imaging.volume import Volume
from voxgraft.support.progress import Progress
from voxgraft.workflow.workflow import read as read_workflow

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def template() -> Template:
    pytest.importorskip("nilearn", reason="the MNI152 template of the nilearn package is not installed")
    return read_template()


def person(seed: int) -> tuple[Head, np.random.Generator]:
    rng = np.random.default_rng(seed)
    return draw_head(rng), rng


def coarse(axes: str = "RAS", tilt: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Grid:
    return Grid(axes, (40, 44, 42), (5.0, 5.0, 5.0), tilt)


class TestHeads:
    def test_have_the_tissue_volumes_of_adults(self, template: Template) -> None:
        head, rng = person(1)
        _, mask = scan(template, head, coarse(), rng)
        grey, white = (float((mask.array == value).sum()) * mask.voxel_ml for value in (1, 2))
        assert 700 < grey < 1700 and 350 < white < 1000

    def test_are_brighter_in_white_matter_than_in_grey_and_dark_outside(self, template: Template) -> None:
        head, rng = person(2)
        image, mask = scan(template, head, coarse(), rng)
        air, grey, white = (float(np.median(image.array[mask.array == value])) for value in (0, 1, 2))
        assert air < 0.2 * grey < grey < white < 1200
        assert image.array.dtype == np.int16 and mask.array.dtype == np.uint8

    def test_are_the_same_for_the_same_seed_and_differ_for_another(self, template: Template) -> None:
        def masks_and_images(seed: int) -> tuple[Volume, Volume]:
            head, rng = person(seed)
            return scan(template, head, coarse(), rng)

        (image, mask), (again, mask_again), (other, mask_other) = (masks_and_images(seed) for seed in (3, 3, 4))
        assert np.array_equal(image.array, again.array) and np.array_equal(mask.array, mask_again.array)
        assert (mask.array != mask_other.array).mean() > 0.03 and not np.array_equal(image.array, other.array)

    def test_are_never_folded(self) -> None:
        """A deformation whose Jacobian is positive everywhere keeps the anatomy's neighbourhoods."""
        for seed in range(6):
            head, _ = person(seed)
            slopes = np.stack([np.stack(np.gradient(part, 8.0)) for part in head.field])
            jacobian = head.linear[..., None, None, None] + slopes
            assert np.linalg.det(np.moveaxis(jacobian, (0, 1), (-2, -1))).min() > 0.1

    def test_lie_at_one_place_whatever_the_grid(self, template: Template) -> None:
        """The same head in another scanner's grid: the middle of each tissue is the same point in millimetres."""
        head, rng = person(5)
        middles = []
        for grid in (coarse(), coarse("PIR", (3.0, -2.0, 4.0)), coarse("LPS", (18.0, 0.0, 8.0))):
            _, mask = scan(template, head, grid, rng)
            for value in (1, 2):
                indices = np.argwhere(mask.array == value).mean(0)
                middles.append(mask.affine[:3, :3] @ indices + mask.affine[:3, 3])
        assert np.abs(np.array(middles[0::2]) - middles[0]).max() < 1.0
        assert np.abs(np.array(middles[1::2]) - middles[1]).max() < 1.0

    def test_a_missing_template_is_said_with_its_mend(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"pip install 'voxgraft\[demo\]'"):
            read_template(tmp_path)

    def test_a_damaged_template_is_said_with_its_mend(self, tmp_path: Path) -> None:
        (tmp_path / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz").write_bytes(b"\x1f\x8b\x08 not gzip")
        with pytest.raises(DataError, match=r"t1.*damaged.*pip install"):
            read_template(tmp_path)


class TestSeries:
    GRIDS = (
        Grid("LPS", (9, 7, 5), (2.0, 3.0, 4.0)),
        Grid("PIR", (9, 7, 5), (2.0, 3.0, 4.0), (3.0, -2.0, 4.0), (10.0, -20.0, 30.0)),
        Grid("LIP", (9, 7, 5), (1.7, 1.7, 4.0)),
        Grid("LPS", (9, 7, 5), (2.0, 3.0, 4.0), (18.0, 0.0, 8.0)),
    )

    @staticmethod
    def volume(grid: Grid) -> Volume:
        return Volume(np.arange(np.prod(grid.shape), dtype=np.int16).reshape(grid.shape), grid.affine)

    @pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: f"{grid.axes}{grid.tilt}")
    def test_lie_where_the_volume_lies_as_another_library_sees_them(self, grid: Grid, tmp_path: Path) -> None:
        volume = self.volume(grid)
        write_series(volume, tmp_path / "s", Series("DEMO-001", "7/DEMO-001", 2, "T1"))
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "s")))
        read = reader.Execute()
        assert np.array_equal(SimpleITK.GetArrayFromImage(read).transpose(2, 1, 0), volume.array)
        for index in ((0, 0, 0), (8, 0, 0), (0, 6, 0), (0, 0, 4), (8, 6, 4)):
            place = LPS @ volume.affine @ [*index, 1.0]
            assert np.allclose(read.TransformIndexToPhysicalPoint(index), place[:3], atol=1e-4)

    def test_have_unique_instances_and_equal_identifiers_on_every_machine(self, tmp_path: Path) -> None:
        volume = self.volume(self.GRIDS[0])
        for folder, series in {
            "a": Series("DEMO-001", "7/DEMO-001", 1, "localizer"),
            "b": Series("DEMO-001", "7/DEMO-001", 2, "T1"),
            "c": Series("DEMO-002", "7/DEMO-002", 2, "T1"),
            "again": Series("DEMO-002", "7/DEMO-002", 2, "T1"),
        }.items():
            write_series(volume, tmp_path / folder, series)
        read = {part: [pydicom.dcmread(f) for f in sorted((tmp_path / part).iterdir())] for part in ("a", "b", "c")}
        instances = [one.SOPInstanceUID for series in read.values() for one in series]
        assert len(set(instances)) == len(instances) == 15
        assert len({one.SeriesInstanceUID for series in read.values() for one in series}) == 3
        assert read["a"][0].StudyInstanceUID == read["b"][0].StudyInstanceUID != read["c"][0].StudyInstanceUID
        assert read["a"][0].FrameOfReferenceUID == read["b"][0].FrameOfReferenceUID
        for file in (tmp_path / "c").iterdir():
            assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()

    @pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian: dicom3tools) is not installed")
    def test_are_without_fault_to_a_validator(self, tmp_path: Path) -> None:
        write_series(self.volume(self.GRIDS[3]), tmp_path / "s", Series("DEMO-001", "7/DEMO-001", 2, "T1"))
        done = subprocess.run(["dciodvfy", tmp_path / "s" / "0002.dcm"], capture_output=True, text=True)
        assert [line for line in done.stderr.splitlines() if line.startswith(("Error", "Warning"))] == []

    def test_hold_what_a_dicom_segmentation_copies_from_its_source(self, tmp_path: Path) -> None:
        import highdicom
        from pydicom.sr.codedict import codes

        grid = self.GRIDS[3]
        write_series(self.volume(grid), tmp_path / "s", Series("DEMO-001", "7/DEMO-001", 2, "T1"))
        slices = [pydicom.dcmread(file) for file in sorted((tmp_path / "s").iterdir())]
        kind, brain = codes.cid7162.ArtificialIntelligence, codes.SCT.Brain
        content = highdicom.content.AlgorithmIdentificationSequence("demo", kind, "1")
        description = highdicom.seg.SegmentDescription(1, "brain", brain, brain, "AUTOMATIC", content)
        pixels = np.ones((5, 7, 9), dtype=np.uint8)
        seg = highdicom.seg.Segmentation(
            slices, pixels, "BINARY", [description], highdicom.UID(), 3, highdicom.UID(), 1, "V", "M", "1", "1"
        )
        assert (seg.PatientID, seg.NumberOfFrames, seg.Rows) == ("DEMO-001", 5, 7)

    def test_are_refused_for_what_a_series_cannot_hold(self, tmp_path: Path) -> None:
        series = Series("DEMO-001", "7/DEMO-001", 2, "T1")
        left_handed = self.volume(Grid("RPS", (9, 7, 5), (2.0, 3.0, 4.0)))
        with pytest.raises(DataError, match="normal"):
            write_series(left_handed, tmp_path / "s", series)
        negative = self.volume(self.GRIDS[0])
        with pytest.raises(DataError, match="whole numbers"):
            write_series(negative.with_array(negative.array - 1), tmp_path / "s", series)
        with pytest.raises(DataError, match="3D volume"):
            write_series(Volume(np.zeros((4, 5), np.int16), np.eye(4)), tmp_path / "s", series)
        assert not (tmp_path / "s").exists() and not list(tmp_path.iterdir())


class TestData:
    @pytest.fixture(scope="class")
    def made(self, template: Template, catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> DemoData:
        return make_data(tmp_path_factory.mktemp("demo") / "data", catalogue, Progress(quiet=True), labelled=3)

    def test_are_a_decathlon_data_set_with_a_mask_for_each_image(self, made: DemoData, catalogue: Catalogue) -> None:
        document = json.loads((made.labelled / "dataset.json").read_text())
        assert document["labels"] == {"0": "background", "1": "grey matter", "2": "white matter"}
        assert len(document["training"]) == len(made.cases) == 3
        for pair in document["training"]:
            image, mask = (read(made.labelled / pair[part], catalogue) for part in ("image", "label"))
            assert image.shape == mask.shape and np.allclose(image.affine, mask.affine)
            assert set(np.unique(mask.array)) == {0, 1, 2}
            assert np.allclose(image.spacing, 3.0, atol=0.11)

    def test_hold_no_head_twice(self, made: DemoData, catalogue: Catalogue) -> None:
        volumes = [read(made.labelled / "labelsTr" / f"{case}.nii.gz", catalogue) for case in made.cases]
        volumes += [read(made.folder / one.truth, catalogue) for one in made.scans if one.truth]
        litres = [float((volume.array > 0).sum()) * volume.voxel_ml for volume in volumes]
        assert len(litres) == 7 and len({round(v) for v in litres}) == 7

    def test_have_the_truth_in_the_grid_of_the_series_as_the_reader_sees_it(
        self, made: DemoData, catalogue: Catalogue
    ) -> None:
        for one in made.scans:
            if one.truth is not None:
                image, truth = read(made.folder / one.folder, catalogue), read(made.folder / one.truth, catalogue)
                assert image.item is not None and image.item.series == one.series and not image.item.problems
                assert image.shape == truth.shape and np.allclose(image.affine, truth.affine, atol=1e-3)
                air, grey, white = (float(np.median(image.array[truth.array == value])) for value in (0, 1, 2))
                assert air < 0.2 * grey < grey < white

    def test_are_found_again_and_made_again_where_a_file_is_lost(self, made: DemoData, catalogue: Catalogue) -> None:
        def again() -> DemoData:
            return make_data(made.folder, catalogue, Progress(quiet=True), labelled=3)

        lost = made.labelled / "imagesTr" / "demo_001.nii.gz"
        content, stamp = lost.read_bytes(), (made.folder / "made.json").stat().st_mtime_ns
        assert again() == made and (made.folder / "made.json").stat().st_mtime_ns == stamp
        lost.unlink()
        (made.folder.parent / ".tmp-1a-data").mkdir()
        (made.folder.parent / ".tmp-1a.lock").touch()  # what a killed call leaves
        assert again() == made and lost.read_bytes() == content
        assert not [path for path in made.folder.parent.iterdir() if path.name.startswith(".tmp")]


class TestFolder:
    def test_is_refused_where_it_holds_what_the_demo_would_overwrite(
        self, tmp_path: Path, catalogue: Catalogue
    ) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "mine.txt").write_text("years of work")
        with pytest.raises(UsageError, match=r"data.*did not make.*--out"):
            run_demo(tmp_path, 1.0, catalogue, Progress(quiet=True))
        assert (tmp_path / "data" / "mine.txt").read_text() == "years of work"
        assert [path.name for path in tmp_path.iterdir()] == ["data"]

    def test_holds_the_scans_alone_where_no_more_is_asked_for(self, tmp_path: Path) -> None:
        pytest.importorskip("nilearn")
        done = CliRunner().invoke(main, ["demo", "--data", str(tmp_path / "scans"), "--json"])
        assert done.exit_code == 0, done.output
        assert len(list((tmp_path / "scans/labelled/labelsTr").iterdir())) == 10
        assert len(list((tmp_path / "scans/dicom").iterdir())) == len(list((tmp_path / "scans/truth").iterdir())) == 4
        assert json.loads(done.stdout)["labelled"] == str(tmp_path / "scans/labelled")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["scans"]

    @pytest.mark.parametrize("name", ["mine.txt", "data"])
    def test_scans_are_not_mixed_with_what_is_there(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "scans").mkdir()
        (tmp_path / "scans" / name).write_text("years of work")
        done = CliRunner().invoke(main, ["demo", "--data", str(tmp_path / "scans")])
        assert done.exit_code == 2 and "did not make; choose another folder with --data" in done.stderr
        done = CliRunner().invoke(main, ["demo", "--data", str(tmp_path / "scans" / name)])
        assert done.exit_code == 1 and "--data" in done.stderr
        assert (tmp_path / "scans" / name).read_text() == "years of work"

    def test_that_cannot_be_made_is_said_in_a_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        for out in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/voxgraft-demo")):
            done = CliRunner().invoke(main, ["demo", "--out", str(out)])
            assert done.exit_code == 1 and done.stderr.count("\n") == 1 and "--out" in done.stderr, done.output

    def test_names_with_quotes_and_spaces_make_a_good_workflow_file(self, tmp_path: Path, catalogue: Catalogue) -> None:
        folder = tmp_path / 'O\'Brien: "my" #1 scans'
        folder.mkdir()
        write_workflow(folder, 0.5)
        workflow = read_workflow(folder / "workflow.yaml", catalogue)
        assert Path(workflow.document()["data"]["layout"]["path"]) == folder / "data" / "labelled"
        assert str(workflow.training.budget) == "0.5 min"

    @pytest.mark.parametrize("minutes", ["0", "-1", "nan", "1e9", "two"])
    def test_a_budget_that_is_none_is_a_usage_error(self, minutes: str, tmp_path: Path) -> None:
        done = CliRunner().invoke(main, ["demo", "--out", str(tmp_path / "o"), "--minutes", minutes])
        assert done.exit_code == 2 and not (tmp_path / "o").exists()


class TestJob:
    """One whole run with three seconds of training: a bad model, but every part is there."""

    @staticmethod
    def demo(
        folder: Path, python: list[str], environment: dict[str, str], *options: str
    ) -> subprocess.CompletedProcess[str]:
        """Call the command from another folder, which it must leave as it is."""
        elsewhere = folder / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        done = subprocess.run(
            [*python, "-m", "voxgraft", "demo", "--out", "../out", *options],
            cwd=elsewhere,
            env={**environment, "VOXGRAFT_CACHE": str(folder / "cache"), "OMP_WAIT_POLICY": "PASSIVE"},
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert list(elsewhere.iterdir()) == []
        return done

    def test_is_done_once_told_truly_and_fails_for_a_bad_scan_alone(
        self, tmp_path: Path, warm_python: list[str], repo_path: dict[str, str], catalogue: Catalogue
    ) -> None:
        pytest.importorskip("nilearn", reason="the MNI152 template of the nilearn package is not installed")
        first = self.demo(tmp_path, [sys.executable], repo_path, "--minutes", "0.05")
        assert first.returncode == 0, first.stderr
        self.says_what_it_found(first.stdout)
        dice = self.scores_are_those_of_the_masks(tmp_path / "out", catalogue)
        stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "batch").rglob("mask.nii.gz")}

        again = self.demo(tmp_path, warm_python, repo_path, "--minutes", "0.05", "--json")
        assert again.returncode == 0 and json.loads(again.stdout)["dice"] == dice
        assert "train: unchanged" in again.stderr
        assert len(stamps) == 4 and {path: path.stat().st_mtime_ns for path in stamps} == stamps

        series = tmp_path / "out" / "data" / "dicom" / "DEMO-011" / "02_axial_T1"
        (series / "0030.dcm").write_bytes((series / "0029.dcm").read_bytes())
        broken = self.demo(tmp_path, warm_python, repo_path, "--minutes", "0.05", "--json")
        document = json.loads(broken.stdout)
        assert broken.returncode == 3 and document["failed"] == 1
        assert document["cases"]["new patients, from DICOM"] == 3

    @staticmethod
    def says_what_it_found(text: str) -> None:
        for word in ("held-out heads (2)", "new patients, from DICOM (4)", "grey matter", "ONE brain", "mlflow"):
            assert word in text
        (left_out,) = [line for line in text.splitlines() if line.startswith("left out: ")]
        assert "localizer" in left_out and "30" in left_out

    @staticmethod
    def scores_are_those_of_the_masks(out: Path, catalogue: Catalogue) -> dict[str, dict[str, float]]:
        dice: dict[str, dict[str, float]] = json.loads((out / "demo.json").read_text())["dice"]
        found = []
        for one in json.loads((out / "data" / "made.json").read_text())["scans"]:
            if one["truth"] is not None:
                mask = read(out / "batch" / Path(one["folder"]).name / "mask.nii.gz", catalogue)
                truth = read(out / "data" / one["truth"], catalogue)
                assert mask.shape == truth.shape and np.allclose(mask.affine, truth.affine, atol=1e-3)
                mine, true = mask.array == 1, truth.array == 1
                found.append(2.0 * float((mine & true).sum()) / float(mine.sum() + true.sum()))
        assert len(found) == 4
        assert dice["new patients, from DICOM"]["grey matter"] == pytest.approx(float(np.mean(found)), abs=1e-6)
        return dice
