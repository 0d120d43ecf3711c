"""The same tests on an MLflow server that keeps the files itself: one server for all tests of this file."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_run import do_steps, make_run, said, small_package

from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import ModelError
from voxgraft.packages.package import MANIFEST, MEMBERS, read_package
from voxgraft_registry.options import MlflowStoreOptions
from voxgraft_registry.register import Register
from voxgraft_registry.store import MlflowStore

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A server on the loopback interface, and the folder of its files."""
    folder = tmp_path_factory.mktemp("server")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    call = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    call += ["--backend-store-uri", f"sqlite:///{folder}/m.db", "--artifacts-destination", str(folder / "files")]
    env = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*call, "--serve-artifacts"], env=env, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait(process, f"http://127.0.0.1:{port}/health", folder / "log")
        yield f"http://127.0.0.1:{port}", folder
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the MLflow server did not start in 120 s: {log.read_text()[-2000:]}")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VOXGRAFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    return tmp_path


def test_a_run_is_tracked_resumed_registered_fetched_and_rolled_back(
    server: tuple[str, Path], elsewhere: Path, stubs: Catalogue, capfd: pytest.CaptureFixture[str]
) -> None:
    uri = server[0]
    cases = [f"case{index}" for index in range(8)]
    outcomes = []
    for number, dice in enumerate((0.9, 0.8, 0.95)):
        for steps in (range(0, 30), range(20, 50)):  # killed at step 29, with a checkpoint at step 20
            run = make_run(elsewhere / f"run{number}", uri, stubs)
            assert run.workflow.tracking is not None
            run.tracker = run.workflow.tracking.build()
            run.tracker.start(run)
            for step in steps:
                run.tracker.metrics({"loss": 1.0 / (step + 1)}, step)
        do_steps(run, dict.fromkeys(cases, dice), number)
        Register().do(run)
        run.tracker.finish("FINISHED")
        outcomes.append(run.read("register.json"))
    assert [outcome["champion"] for outcome in outcomes] == [True, False, True]
    store = MlflowStore(MlflowStoreOptions(uri=uri))
    client, _ = store._client()
    found = client.get_run(run.identity["mlflow_run"])
    assert found.info.status == "FINISHED" and found.data.params["training.budget"] == "40 steps"
    assert f"tracking: {uri}/#/experiments/{found.info.experiment_id}/runs/{found.info.run_id}" in said(run)
    assert found.info.run_name == "run2"
    card = (elsewhere / "run2" / "package" / "card.md").read_text()
    assert client.get_model_version("brain", "3").description == card
    history = client.get_metric_history(found.info.run_id, "loss")
    assert sorted(point.step for point in history) == list(range(50))
    assert {file.path for file in client.list_artifacts(found.info.run_id)} >= {"workflow.yaml", "plan.json"}
    assert [version.aliases for version in store.models()["brain"]] == [("champion",), ("challenger",), ()]
    fetched = store.fetch("models:/brain@champion")
    assert read_package(fetched).hash == outcomes[2]["hash"] and fetched.is_relative_to(elsewhere / "cache")
    assert {path.name for path in fetched.iterdir()} == {*MEMBERS, MANIFEST}
    assert read_package(store.fetch(f"runs:/{outcomes[0]['run']}")).hash == outcomes[0]["hash"]
    assert store.rollback("brain").version == "1"
    assert not list(Path.cwd().iterdir()) and capfd.readouterr() == ("", "")
    assert said(run).startswith("register: brain version 3 is now champion")


def test_a_copy_in_the_cache_is_used_while_it_is_whole_and_fetched_again_when_not(
    server: tuple[str, Path], elsewhere: Path
) -> None:
    store = MlflowStore(MlflowStoreOptions(uri=server[0]))
    made = store.register(small_package(elsewhere / "p", 5), "cached")
    folder = store.fetch(made.reference)
    stamp = (folder / "model.safetensors").stat().st_mtime_ns
    assert store.fetch(made.reference) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == stamp
    (folder / "model.safetensors").write_bytes(b"torn")
    assert read_package(store.fetch(made.reference)).hash == made.hash


def test_files_that_were_changed_on_the_server_are_refused_and_not_kept(
    server: tuple[str, Path], elsewhere: Path
) -> None:
    store = MlflowStore(MlflowStoreOptions(uri=server[0]))
    made = store.register(small_package(elsewhere / "p", 6), "changed")
    (kept,) = [
        path for path in server[1].rglob("card.md") if made.run in (path.parent / "MLmodel").read_text()
    ]  # the server's own copy
    kept.write_text("changed")
    with pytest.raises(ModelError, match=r"models:/changed/1/card\.md.*hash differs"):
        store.fetch(made.reference)
    kept.unlink()
    with pytest.raises(ModelError, match=r"models:/changed/1: is not a VoxGraft package: it has no card\.md"):
        store.fetch(made.reference)
    assert not (elsewhere / "cache").exists() or not list((elsewhere / "cache").rglob("*.safetensors"))
