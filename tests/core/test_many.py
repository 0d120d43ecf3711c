"""Cross-validation and repeated draws: each case is held out once, draws are nested, networks vote."""

from __future__ import annotations

import io
import json
import math
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from datasets import boxes, workflow

from voxgraft.batch.segment import executor_of
from voxgraft.cli import main
from voxgraft.datasets.cases import Case, Split
from voxgraft.datasets.split import check_folds, draw_labelled, split_by_patient
from voxgraft.discovery import discover
from voxgraft.errors import DataError, ModelError, TrainingError, WorkflowError
from voxgraft.imaging.read import read as read_image
from voxgraft.inference.ensemble import Ensemble
from voxgraft.inference.predictor import Predictor, predictor_of
from voxgraft.networks.sources import named_weights
from voxgraft.packages.archive import pack, unpack
from voxgraft.packages.package import read_package
from voxgraft.packages.references import Resolver
from voxgraft.runs.cross_validation import Member
from voxgraft.runs.engine import run_workflow
from voxgraft.runs.pooling import member_table, pooled, spread
from voxgraft.scoring.pair import Counts
from voxgraft.scoring.scores import Scores
from voxgraft.support.files import sha256, write_json
from voxgraft.support.progress import Progress
from voxgraft.workflow.workflow import read

FOLDS = "data.split={folds: 3, fold: all}"
QUICK = ("tracking=null", "training.budget=4 steps", "evaluation.metrics=[dice]")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data_set(tmp_path_factory) -> Path:
    return boxes(tmp_path_factory.mktemp("data") / "boxes")


@pytest.fixture(scope="module")
def crossed(tmp_path_factory, data_set, catalogue):
    """A cross-validation of three folds of two cases each."""
    folder = tmp_path_factory.mktemp("crossed")
    checked = read(workflow(folder, data_set), catalogue, [*QUICK, FOLDS])
    return run_workflow(checked, catalogue, folder / "run", progress=Progress(quiet=True))


def cases(number: int, scans: int = 1) -> list[Case]:
    return [Case(f"{n:02}_{scan}", f"patient {n}", (), None) for n in range(number) for scan in range(scans)]


def test_each_case_is_scored_once_by_a_network_that_did_not_learn_from_it(crossed) -> None:
    pool = json.loads((crossed.folder / "evaluate" / "scores.json").read_text())["cases"]
    assert len(pool) == 6
    found = {}
    for fold in range(3):
        member = crossed.folder / "members" / f"fold_{fold}"
        split = json.loads((member / "split.json").read_text())
        assert not set(split["train"]) & set(split["validation"])
        mine = json.loads((member / "evaluate" / "scores.json").read_text())["cases"]
        assert set(mine) == set(split["validation"]) and not set(mine) & set(found)
        found.update(mine)
    assert {case: row["dice"]["box"] for case, row in pool.items()} == pytest.approx(
        {case: row["dice"]["box"] for case, row in found.items()}
    )
    members = json.loads((crossed.folder / "evaluate" / "members.json").read_text())
    means = [one["summary"]["dice"]["mean"]["mean"] for one in members["members"]]
    assert members["over"] == "folds" and members["spread"]["dice"]["mean"]["values"] == pytest.approx(means)
    assert members["spread"]["dice"]["mean"]["sd"] == pytest.approx(np.std(means, ddof=1))


def test_the_page_of_all_folds_has_pictures_and_a_row_for_each(crossed) -> None:
    page = (crossed.folder / "evaluate" / "scores.html").read_text()
    assert "Worst cases" in page and page.count('class="drawn"') >= 2, "where something is wrong"
    assert all(name in page for name in ("fold 0", "fold 1", "SD over folds"))


def test_the_package_is_the_mean_of_its_networks(crossed, data_set, catalogue, tmp_path) -> None:
    package = read_package(crossed.package)
    assert len(package.members) == 3 and "ensemble of 3 networks" in (crossed.package / "card.md").read_text()
    scan = read_image(data_set / "imagesTr" / "box_000.nii.gz", catalogue)
    together = predictor_of(package, catalogue, device="cpu")
    assert isinstance(together, Ensemble)

    def probabilities(predictor) -> tuple[np.ndarray, np.ndarray]:
        shape = tuple(scan.array.shape)
        found = np.full((2, *shape), np.nan)

        def see(part, shares) -> None:
            found[(slice(None), *part)] = shares

        return found, predictor.predict(scan, see=see).labels.array

    singles = []
    for fold in range(3):
        single = predictor_of(read_package(crossed.folder / "members" / f"fold_{fold}" / "package"), catalogue)
        assert isinstance(single, Predictor)
        singles.append(probabilities(single)[0])
    mean, labels = probabilities(together)
    assert np.isfinite(mean).all() and np.abs(mean - np.mean(singles, 0)).max() < 1e-6
    assert np.abs(singles[0] - singles[1]).max() > 1e-3, "the networks must differ for this to say anything"
    assert labels.sum() == (mean[1] > mean[0]).sum()
    moved = unpack(pack(crossed.package, tmp_path / "moved.voxgraft.zip"), tmp_path / "moved")
    assert moved.hash == package.hash and np.array_equal(
        probabilities(predictor_of(moved, catalogue, device="cpu"))[1], labels
    )


def test_an_ensemble_is_registered_and_segments_from_the_registry(crossed, data_set, catalogue, tmp_path, monkeypatch):
    """`models:/NAME@champion` gives the mask of the networks together; initial weights of one encoder it has none."""
    steps = "[check, plan, prepare, train, evaluate, register]"
    checked = read(workflow(tmp_path, data_set, steps), catalogue, [*QUICK[1:], FOLDS])
    again = run_workflow(checked, catalogue, crossed.folder, progress=Progress(quiet=True))
    assert json.loads((again.folder / "register.json").read_text())["reference"] == "models:/boxes/1"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("VOXGRAFT_CACHE", str(tmp_path / "cache"))
    package = Resolver(catalogue).resolve("models:/boxes@champion")
    assert package.hash == read_package(crossed.package).hash and len(package.members) == 3
    scan = data_set / "imagesTr" / "box_001.nii.gz"
    called = [
        "segment",
        "models:/boxes@champion",
        str(scan),
        "--out",
        str(tmp_path / "out"),
        "--device",
        "cpu",
        "--json",
    ]
    result = CliRunner().invoke(main, called)
    assert result.exit_code == 0, result.output
    (mask,) = (tmp_path / "out").glob("*/mask.nii.gz")
    wanted = predictor_of(package, catalogue, device="cpu").predict(read_image(scan, catalogue)).labels.array
    assert np.array_equal(read_image(mask, catalogue).array, wanted) and wanted.any()
    with pytest.raises(ModelError, match=r"holds no tensors under 'encoder\.'"):
        named_weights("models:/boxes@champion", Resolver(catalogue))


def test_a_damaged_member_list_is_refused(crossed, tmp_path) -> None:
    import shutil

    copy = tmp_path / "package"
    shutil.copytree(crossed.package, copy)
    (copy / "members.json").write_text("[]")
    with pytest.raises(ModelError, match="hash differs"):
        read_package(copy)


def test_an_ensemble_segments_like_any_model(crossed, data_set, catalogue, tmp_path) -> None:
    from voxgraft.batch.segment import segment

    batch = segment(str(crossed.package), [data_set / "imagesTr" / "box_001.nii.gz"], tmp_path / "out", catalogue)
    assert batch.done == 1 and list((tmp_path / "out").rglob("mask.nii.gz"))


def test_a_second_call_passes_over_every_member(crossed, catalogue) -> None:
    from test_run import Lines

    lines = Lines()
    run_workflow(crossed.workflow, catalogue, crossed.folder, progress=Progress(stream=lines))
    assert "done in" not in lines.text and lines.text.count("unchanged, skipped") == 3 * 5 + 2


def test_a_cross_validation_killed_in_its_second_fold_goes_on(
    tmp_path, data_set, crossed, repo_path, catalogue
) -> None:
    path = workflow(tmp_path, data_set)
    sets = ", ".join(f"'--set', {text!r}" for text in (*QUICK, FOLDS))
    script = (
        "import sys, os, signal\nfrom voxgraft.training import loop\nimport torch\ntorch.set_num_threads(1)\n"
        "from voxgraft.cli import main\nreal = loop.save\n"
        "def save(live):\n    real(live)\n"
        "    'fold_1' in str(live.job.folder) and os.kill(os.getpid(), signal.SIGKILL)\n"
        "loop.save = save\n"
        f"main(['run', {str(path)!r}, '--out', {str(tmp_path / 'run')!r}, {sets}])"
    )
    process = subprocess.run([sys.executable, "-c", script], env=repo_path, stderr=subprocess.DEVNULL, timeout=120)
    assert process.returncode == -signal.SIGKILL
    members = tmp_path / "run" / "members"
    assert (members / "fold_0" / "package").is_dir() and not (members / "fold_1" / "package").exists()
    assert (members / "fold_1" / "train" / "last.pt").is_file() and not (members / "fold_2").exists()
    first = (members / "fold_0" / "package" / "model.safetensors").stat().st_mtime_ns
    checked = read(path, catalogue, [*QUICK, FOLDS])
    done = run_workflow(checked, catalogue, tmp_path / "run", progress=Progress(quiet=True))
    assert (members / "fold_0" / "package" / "model.safetensors").stat().st_mtime_ns == first
    assert sha256(done.package / "model.safetensors") == sha256(crossed.package / "model.safetensors")
    ours, theirs = (json.loads((one.folder / "evaluate" / "scores.json").read_text()) for one in (done, crossed))
    assert ours["cases"] == theirs["cases"]


def test_draws_are_nested_and_the_same_whatever_the_order_of_files() -> None:
    labelled = cases(20, scans=2)
    split = split_by_patient(labelled, 5, 0, 7)
    few, more = (draw_labelled(split, labelled, number, 1, 7) for number in (4, 8))
    assert set(few.train) < set(more.train) and len(few.train) == 8 and len(more.train) == 16
    assert few.validation == more.validation == split.validation
    assert set(more.train) | set(more.unlabelled) == set(split.train) and not set(more.train) & set(more.unlabelled)
    other = draw_labelled(split, labelled, 8, 2, 7)
    assert set(other.train) != set(more.train) and other.validation == more.validation
    turned = list(reversed(labelled))
    again = draw_labelled(split_by_patient(turned, 5, 0, 7), turned, 8, 1, 7)
    assert set(again.train) == set(more.train)
    with pytest.raises(DataError, match="leaves 16 patients"):
        draw_labelled(split, labelled, 17, 0, 7)


def test_a_patient_in_two_folds_is_refused() -> None:
    labelled = cases(4, scans=2)
    names = [case.id for case in labelled]
    good = [Split(tuple(names[:4]), tuple(names[4:])), Split(tuple(names[4:]), tuple(names[:4]))]
    check_folds(good, labelled)
    with pytest.raises(DataError, match="both in training and held out"):
        check_folds([Split(tuple(names[:5]), tuple(names[5:]))], labelled)
    with pytest.raises(DataError, match="both in training and held out"):
        check_folds([Split(tuple(names[:4]), tuple(names[5:]), (names[4],))], labelled)
    twice = [Split(tuple(names[:4]), (names[4],)), Split(tuple(names[:4]), (names[5],))]
    with pytest.raises(DataError, match="held out by an earlier fold"):
        check_folds(twice, labelled)


def test_repeated_draws_are_runs_on_the_same_held_out_cases(tmp_path, data_set, catalogue) -> None:
    split = "data.split={folds: 3, labelled: 2, repeats: 3}"
    checked = read(workflow(tmp_path, data_set), catalogue, [*QUICK, split])
    run = run_workflow(checked, catalogue, tmp_path / "run", progress=Progress(quiet=True))
    parts = [json.loads(path.read_text()) for path in sorted((run.folder / "members").glob("*/split.json"))]
    assert len(parts) == 3 and len({tuple(part["validation"]) for part in parts}) == 1
    assert all(len(part["train"]) == len(part["unlabelled"]) == 2 for part in parts)
    assert len({tuple(part["train"]) for part in parts}) > 1
    found = json.loads((run.folder / "evaluate" / "members.json").read_text())
    assert found["over"] == "draws of labelled patients" and found["spread"]["dice"]["mean"]["n"] == 3
    assert len(json.loads((run.folder / "evaluate" / "scores.json").read_text())["cases"]) == 2


def test_a_case_that_several_members_scored_counts_once_with_its_mean() -> None:
    nan = float("nan")
    parts = [
        Scores.of({"a": {"dice": {"x": 0.2, "y": nan}}, "b": {"dice": {"x": 1.0, "y": 1.0}}}),
        Scores.of({"a": {"dice": {"x": 0.4, "y": 0.5}}}),
    ]
    whole = pooled(parts, {"a": "p", "b": "p"})
    assert whole.cases["a"]["dice"] == pytest.approx({"x": 0.3, "y": 0.5, "mean": 0.4})
    assert whole.groups["a"] == whole.groups["b"]


def test_what_one_draw_missed_is_not_averaged_away_by_another(tmp_path: Path) -> None:
    """The counts of both together no longer show that one found nothing."""
    found = {"c": {"hd": {"a": 4.0, "b": 2.0}}}
    lost = {"c": {"hd": {"a": math.nan, "b": 2.0}}}
    rest = {"b": Counts(5, 0, 0, 9)}
    parts = [
        Scores.of(found, counts={"c": {"a": Counts(5, 1, 0, 9), **rest}}),
        Scores.of(lost, counts={"c": {"a": Counts(0, 0, 5, 9), **rest}}),
    ]
    whole = pooled(parts, {"c": "p"})
    assert math.isnan(whole.cases["c"]["hd"]["a"]) and math.isnan(whole.cases["c"]["hd"]["mean"])
    assert whole.summary["hd"]["mean"]["undefined"] == 1 and whole.cases["c"]["hd"]["b"] == 2.0
    write_json(tmp_path / "s.json", whole.document())
    again = Scores.from_json(tmp_path / "s.json")
    assert again.missed == {"c": ["a"]} and math.isnan(again.cases["c"]["hd"]["mean"])


def test_a_structure_that_only_a_later_fold_holds_has_a_spread() -> None:
    first, second = ({case: {"dice": values}} for case, values in (("p", {"a": 0.5}), ("q", {"a": 0.7, "b": 0.9})))
    members = [Member(f"fold_{n}", n, 0, None) for n in range(2)]  # type: ignore[arg-type]
    found = spread(members, {"fold_0": Scores.of(first), "fold_1": Scores.of(second)}, {})
    assert found["spread"]["dice"]["b"] == {"values": [None, 0.9], "mean": 0.9, "sd": None, "n": 1}
    assert member_table(found)[1:] == [
        ["fold 0", "0.5000, 1 of 1 case"],
        ["fold 1", "0.8000, 1 of 1 case"],
        ["SD over folds", "0.2121, 2 of 2"],
    ]


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ("{folds: 3, fold: 3}", "fold 3 does not exist"),
        ("{folds: 3, repeats: 2}", "say how many with labelled"),
        ("{labelled: 2, repeats: 2, repeat: 2}", "repeat 2 does not exist"),
    ],
)
def test_splits_that_cannot_be_are_refused(tmp_path, data_set, catalogue, split, said) -> None:
    with pytest.raises(WorkflowError, match=said):
        read(workflow(tmp_path, data_set), catalogue, [f"data.split={split}"])


def test_folds_all_is_short_for_every_fold(tmp_path, data_set, catalogue) -> None:
    split = read(workflow(tmp_path, data_set), catalogue, ["data.split={folds: all}"]).data.split
    assert (split.folds, split.fold, split.many) == (5, "all", True)


def test_folds_side_by_side_are_those_done_one_after_the_other(crossed, data_set, catalogue, tmp_path) -> None:
    """One of them fails at first: it is told, the others are kept, and the next call does what is missing."""
    checked = read(workflow(tmp_path, data_set), catalogue, [*QUICK, FOLDS])
    elsewhere = replace(catalogue, found_by=discover)
    executor = executor_of("processes", catalogue, workers=2, device="cpu", alone=True)
    obstacle = tmp_path / "run" / "members" / "fold_1" / "train"
    obstacle.parent.mkdir(parents=True)
    obstacle.write_text("no folder")
    said = io.StringIO()
    with pytest.raises(
        TrainingError, match=r"1 of 3 failed \(fold 1\), the first because .+ call does what is missing"
    ):
        run_workflow(checked, elsewhere, tmp_path / "run", progress=Progress(stream=said), executor=executor)
    assert "fold 0: done in" in said.getvalue() and "fold 1: failed: " in said.getvalue()
    obstacle.unlink()
    kept = {n: (tmp_path / f"run/members/fold_{n}/package/model.safetensors").stat().st_mtime_ns for n in (0, 2)}
    done = run_workflow(checked, catalogue, tmp_path / "run", progress=Progress(quiet=True))
    for fold in range(3):
        ours, theirs = (run.folder / f"members/fold_{fold}/package/model.safetensors" for run in (done, crossed))
        assert sha256(ours) == sha256(theirs) and ours.stat().st_mtime_ns == kept.get(fold, ours.stat().st_mtime_ns)
    assert done.read("evaluate/scores.json")["cases"] == crossed.read("evaluate/scores.json")["cases"]


def test_workflows_side_by_side_are_those_done_alone(data_set, tmp_path) -> None:
    """The command trains two variants in two processes; `compare` takes what they leave."""
    flow = workflow(tmp_path, data_set)
    text = flow.read_text()
    (other := tmp_path / "other.yaml").write_text(text.replace("name: boxes", "name: other"))
    sets = ["--steps", "check,plan,prepare,train,evaluate", *(part for value in QUICK for part in ("--set", value))]
    both = ["run", str(flow), str(other), "--out", str(tmp_path / "both"), "--workers", "2", *sets]
    result = CliRunner().invoke(main, both)
    assert result.exit_code == 0 and "next: voxgraft compare " in result.output, result.output
    alone = CliRunner().invoke(main, ["run", str(flow), "--out", str(tmp_path / "alone"), *sets])
    assert alone.exit_code == 0, alone.output
    weights = {sha256(tmp_path / run / "package/model.safetensors") for run in ("both/boxes", "both/other", "alone")}
    assert len(weights) == 1
    compared = CliRunner().invoke(main, ["compare", str(tmp_path / "both/boxes"), str(tmp_path / "both/other")])
    assert compared.exit_code == 0, compared.output
    result = CliRunner().invoke(main, ["run", str(flow), str(flow), "--out", str(tmp_path / "both"), *sets])
    assert result.exit_code == 2 and "two of the workflows are called 'boxes'" in result.output


def test_what_has_one_split_is_not_done_side_by_side(data_set, tmp_path) -> None:
    flow = str(workflow(tmp_path, data_set))
    for options, said in [(["--workers", "2"], "has one split"), (["--executor", "threads"], "not in threads")]:
        result = CliRunner().invoke(main, ["run", flow, "--out", str(tmp_path / "run"), *options])
        assert result.exit_code == 2 and said in result.output
