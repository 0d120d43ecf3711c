"""The tracker: what a run was made from and how it went, once and completely, and nothing that names a person."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_run import do_steps, said

from voxgraft.errors import TrackingError
from voxgraft.runs.run import Run
from voxgraft.support.files import digest
from voxgraft_registry.options import MlflowTrackerOptions
from voxgraft_registry.register import Register
from voxgraft_registry.tracker import MlflowTracker

NewRun = Callable[..., Run]


def client(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(uri, uri)


def started(run: Run) -> MlflowTracker:
    assert run.workflow.tracking is not None
    tracker = run.workflow.tracking.build()
    assert isinstance(tracker, MlflowTracker)
    tracker.start(run)
    run.tracker = tracker
    return tracker


def curve(uri: str, run_id: str, key: str) -> list[tuple[int, float]]:
    return sorted((point.step, point.value) for point in client(uri).get_metric_history(run_id, key))


def artifacts(uri: str, run_id: str) -> set[str]:
    from mlflow.artifacts import list_artifacts

    found, folders = set(), [""]
    place = client(uri).get_run(run_id).info.artifact_uri
    while folders:
        folder = folders.pop()
        for file in list_artifacts(artifact_uri=f"{place}/{folder}".rstrip("/"), tracking_uri=uri):
            name = f"{folder}/{Path(file.path).name}".strip("/")
            folders.append(name) if file.is_dir else found.add(name)
    return found


def test_a_run_keeps_what_it_was_made_from(new_run: NewRun, uri: str, capfd: pytest.CaptureFixture[str]) -> None:
    run = new_run()
    tracker = started(run)
    assert artifacts(uri, run.identity["mlflow_run"]) == {"workflow.yaml", "environment.json"}
    do_steps(run, {"case_1": 0.9})
    tracker.metrics({"loss": 1.5, "lr": 0.01}, 10)
    tracker.metrics({"loss": 0.5}, 20)
    picture = run.folder / "case_1.png"
    picture.write_bytes(b"\x89PNG")
    tracker.file(picture, "pictures")
    tracker.params({"parameters": 1234})
    run.write("train/summary.json", {"steps": 20})
    tracker.finish("FINISHED")
    found = client(uri).get_run(run.identity["mlflow_run"])
    assert found.info.status == "FINISHED" and found.info.run_name == run.folder.name == "run"
    assert client(uri).get_experiment(found.info.experiment_id).name == "brain-run"
    place = f"#/experiments/{found.info.experiment_id}/runs/{found.info.run_id}"
    assert f"mlflow ui --backend-store-uri {uri}, then open http://127.0.0.1:5000/{place}" in said(run)
    params = found.data.params
    assert params["training.budget"] == "40 steps" and params["model.encoder.use"] == "stub"
    assert params["training.optimiser.use"] == "adamw" and params["parameters"] == "1234"
    assert found.data.tags["voxgraft.version"] == "0.1.0"
    assert found.data.tags["voxgraft.plugin.stub"] == "1.0 sha256:" + "a" * 16
    ours = {name for name in found.data.tags if name.startswith("voxgraft.")}
    assert ours >= {"voxgraft.training", "voxgraft.files"}  # by these a run of an earlier VoxGraft is gone on with
    assert found.data.tags["voxgraft.data"] == digest({"case_1": digest(["bytes of", "case_1"])})
    assert curve(uri, found.info.run_id, "loss") == [(10, 1.5), (20, 0.5)]
    assert artifacts(uri, found.info.run_id) == {
        "workflow.yaml", "environment.json", "plan.json", "split.json", "fingerprint.json", "train/summary.json",
        "pictures/case_1.png",
    }  # fmt: skip
    assert json.loads((run.folder / "run.json").read_text()) == {"mlflow_run": found.info.run_id}
    assert capfd.readouterr() == ("", "") and said(run).count("\n") == 1


def test_files_lie_beside_the_database_and_nothing_in_the_working_directory(new_run: NewRun, uri: str) -> None:
    started(new_run()).finish("FINISHED")
    site = Path(uri.removeprefix("sqlite:///")).parent
    assert {path.name for path in site.iterdir()} == {"voxgraft.db", "mlartifacts"}
    assert list((site / "mlartifacts").rglob("workflow.yaml"))
    assert not list(Path.cwd().iterdir())


def test_no_place_and_no_name_of_a_user_is_kept(new_run: NewRun, uri: str, tmp_path: Path) -> None:
    run = new_run()
    tracker = started(run)
    do_steps(run, {"case_1": 0.9})
    Register().do(run)
    tracker.finish("FINISHED")
    found = client(uri).get_run(run.identity["mlflow_run"])
    kept = [*found.data.params.values(), *found.data.tags.values()]
    (workflow,) = tmp_path.rglob(f"mlartifacts/{found.info.run_id}/**/workflow.yaml")
    kept += [path.read_text() for path in tmp_path.rglob("mlartifacts/**/*.json")]
    kept += [path.read_text() for path in tmp_path.rglob("mlartifacts/**/MLmodel")]
    kept.append(workflow.read_text())
    assert any("models:/brain/1" in text for text in kept)
    assert yaml.safe_load(workflow.read_text())["tracking"]["uri"] == "sqlite:///voxgraft.db"
    assert not [
        text for text in kept if str(tmp_path) in text or "/root" in text or os.environ.get("USER", "?") in text
    ]
    assert found.info.user_id in ("", "unknown") and "mlflow.source.git.commit" not in found.data.tags


def test_a_resumed_run_is_the_same_run_without_a_gap_or_a_double(new_run: NewRun, uri: str) -> None:
    first = new_run()
    tracker = started(first)
    for step in (10, 20, 30):
        tracker.metrics({"loss": 1 / step, "minutes": 0.5 * step}, step)
    # The process dies here; its last checkpoint was at step 15, so that steps 20 and 30 are done again.
    second = new_run()
    tracker = started(second)
    for step in (20, 30, 40):
        tracker.metrics({"loss": 1 / step, "minutes": 0.6 * step}, step)
    tracker.finish("FINISHED")
    assert second.identity == first.identity
    run_id = first.identity["mlflow_run"]
    assert curve(uri, run_id, "loss") == [(step, 1 / step) for step in (10, 20, 30, 40)]
    assert [step for step, _ in curve(uri, run_id, "minutes")] == [10, 20, 30, 40]
    assert client(uri).get_run(run_id).info.status == "FINISHED"


def test_a_new_evaluation_of_the_same_training_changes_its_scores_in_the_same_run(new_run: NewRun, uri: str) -> None:
    for dice in (0.8, 0.8, 0.9):
        run = new_run()
        tracker = started(run)
        tracker.metrics({"test_dice_mean": dice}, 0)
        tracker.finish("FINISHED")
    found = client(uri).get_run(run.identity["mlflow_run"])
    assert found.data.metrics["test_dice_mean"] == 0.9
    assert curve(uri, found.info.run_id, "test_dice_mean") == [(0, 0.8), (0, 0.9)]


def test_another_training_or_other_data_are_another_run(new_run: NewRun, uri: str, tmp_path: Path) -> None:
    ids = []

    def once(**sections: Any) -> None:
        run = new_run(**sections)
        started(run).finish("FINISHED")
        ids.append(run.identity["mlflow_run"])

    once()
    once()
    once(evaluation={"metrics": ["hd95"]})
    assert len(set(ids)) == 1
    once(training={"budget": "80 steps"})
    assert len(set(ids)) == 2
    (tmp_path / "runs" / "data" / "case_1.nii").write_text("another image")
    once(training={"budget": "80 steps"})
    assert len(set(ids)) == 3


def test_a_run_that_was_deleted_or_is_of_another_registry_is_begun_anew(new_run: NewRun, uri: str) -> None:
    run = new_run()
    started(run).finish("FAILED")
    client(uri).delete_run(run.identity["mlflow_run"])
    again = new_run()
    started(again).finish("FINISHED")
    assert again.identity != run.identity
    (again.folder / "run.json").write_text(json.dumps({"mlflow_run": "0" * 32}))
    third = new_run()
    started(third).finish("FINISHED")
    assert third.identity["mlflow_run"] not in ("0" * 32, again.identity["mlflow_run"])


def test_an_experiment_that_was_deleted_is_named(new_run: NewRun, uri: str) -> None:
    run = new_run()
    started(run).finish("FINISHED")
    found = client(uri).get_experiment_by_name("brain-run")
    client(uri).delete_experiment(found.experiment_id)
    with pytest.raises(TrackingError, match="'brain-run' was deleted"):
        started(new_run("other"))


def test_many_points_and_long_values_fit(new_run: NewRun, uri: str) -> None:
    run = new_run()
    tracker = started(run)
    tracker.params({f"key{index}": "x" * 9000 for index in range(150)})
    tracker.metrics({f"m{index}": index for index in range(1500)}, 1)
    tracker.finish("FINISHED")
    found = client(uri).get_run(run.identity["mlflow_run"]).data
    assert len(found.params["key149"]) == 500 and found.metrics["m1499"] == 1499


def test_a_server_that_goes_away_does_not_stop_training(
    new_run: NewRun, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException

    run = new_run()
    tracker = started(run)
    tracker.metrics({"loss": 1.0}, 10)

    def gone(*_: object, **__: object) -> None:
        raise MlflowException("API request failed: Max retries exceeded with url: /api")

    with monkeypatch.context() as patch:
        for name in ("log_batch", "log_artifact", "set_terminated"):
            patch.setattr(type(tracker._client), name, gone)
        for step in range(20, 60, 10):
            tracker.metrics({"loss": 1.0}, step)
        tracker.file(run.folder / "environment.json", "late")
        tracker.finish("FAILED")
    assert said(run).count("does not answer") <= 2 and "4 points" in said(run)
    again = new_run()
    tracker = started(again)
    tracker.finish("FINISHED")
    assert [step for step, _ in curve(uri, run.identity["mlflow_run"], "loss")] == [10, 20, 30, 40, 50]


def test_a_server_that_is_not_there_stops_the_run_before_it_starts(new_run: NewRun) -> None:
    run = new_run(tracking={"uri": "http://127.0.0.1:9"})
    start = time.monotonic()
    with pytest.raises(TrackingError, match=r"http://127.0.0.1:9: nothing answers"):
        started(run)
    assert time.monotonic() - start < 5 and run.identity == {}


KILLED = """
import os, signal, sys
from pathlib import Path
from fake_run import make_run, stub_catalogue
run = make_run(Path(sys.argv[1]), sys.argv[2], stub_catalogue())
tracker = run.workflow.tracking.build()
tracker.start(run)
for step in range(int(sys.argv[3]), 100):
    tracker.metrics({"loss": step / 100, "lr": 0.1}, step)
    if step == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)
tracker.finish("FINISHED")
"""


def test_sigkill_loses_no_point_and_doubles_none(
    new_run: NewRun, uri: str, tmp_path: Path, repo_path: dict[str, str], warm_python: list[str]
) -> None:
    folder = tmp_path / "runs" / "killed"
    path = f"{Path(__file__).parent}{os.pathsep}{repo_path['PYTHONPATH']}"
    for first, kill in ((0, 37), (30, 1000)):
        call = [*warm_python, "-c", KILLED, str(folder), uri, str(first), str(kill)]
        done = subprocess.run(call, env={**repo_path, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120)
        assert done.returncode == (-signal.SIGKILL if kill < 100 else 0), done.stderr
        assert done.stdout == ""
    run_id = json.loads((folder / "run.json").read_text())["mlflow_run"]
    for key in ("loss", "lr"):
        assert [step for step, _ in curve(uri, run_id, key)] == list(range(100))
    assert client(uri).get_run(run_id).info.status == "FINISHED"


def test_the_default_address_is_a_file_in_the_working_directory(
    new_run: NewRun, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    shutil.copy(uri.removeprefix("sqlite:///"), "voxgraft.db")
    run = new_run()
    tracker = MlflowTracker(MlflowTrackerOptions())
    tracker.start(run)
    tracker.finish("FINISHED")
    assert {path.name for path in Path.cwd().iterdir()} == {"voxgraft.db", "mlartifacts"}


def test_a_card_costs_nothing_heavy(repo_path: dict[str, str]) -> None:
    code = "import sys, voxgraft_registry.plugin as p; p.voxgraft_trackers(); p.voxgraft_stores(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=repo_path)
    assert not {"mlflow", "numpy", "pydantic", "torch"} & set(done.stdout.split())
