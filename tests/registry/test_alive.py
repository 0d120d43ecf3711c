"""What killed processes left in MLflow is put right by the next call; what others are making is left alone."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from voxgraft.packages.package import Package
from voxgraft.runs.run import Run
from voxgraft_registry.alive import FOLDER, _has_ended, working
from voxgraft_registry.connection import Address
from voxgraft_registry.options import MlflowStoreOptions
from voxgraft_registry.store import EXPERIMENT, MlflowStore

NewRun = Callable[..., Run]

TRACKED = """
import os, signal, sys
from pathlib import Path
from fake_run import make_run, stub_catalogue
run = make_run(Path(sys.argv[1]), sys.argv[2], stub_catalogue())
run.workflow.tracking.build().start(run)
print(run.identity["mlflow_run"], flush=True)
sys.stdin.readline()
"""

REGISTERED = """
import os, signal, sys
from pathlib import Path
from voxgraft.packages.package import read_package
from voxgraft_registry.options import MlflowStoreOptions
from voxgraft_registry.store import MlflowStore
store = MlflowStore(MlflowStoreOptions(uri=sys.argv[2], create=True))
killed = sys.argv[3]
class Client:
    def __init__(self, real):
        self._real = real
    def __getattr__(self, name):
        if name == killed:
            os.kill(os.getpid(), signal.SIGKILL)
        return getattr(self._real, name)
client, at = store._client()
store._client = lambda: (Client(client), at)
print("ready", flush=True)
sys.stdin.readline()
print(store.register(read_package(Path(sys.argv[1])), "brain").version, flush=True)
"""


def child(code: str, *words: object, env: dict[str, str], python: Sequence[str] = ()) -> subprocess.Popen[str]:
    path = f"{Path(__file__).parent}{os.pathsep}{env['PYTHONPATH']}"
    command = [*(python or [sys.executable]), "-c", code, *map(str, words)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env={**env, "PYTHONPATH": path}, **pipes)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def status(uri: str, run: str) -> str:
    return str(MlflowClient(uri, uri).get_run(run).info.status)


def test_runs_of_killed_processes_end_and_those_of_living_ones_go_on(
    new_run: NewRun, uri: str, tmp_path: Path, repo_path: dict[str, str]
) -> None:
    mine = new_run("first")
    tracker = mine.workflow.tracking
    assert tracker is not None
    one = tracker.build()
    one.start(mine)
    one.finish("FINISHED")
    dying, living = (child(TRACKED, tmp_path / name, uri, env=repo_path) for name in ("dying", "living"))
    try:
        dead, alive = line(dying), line(living)
        dying.send_signal(signal.SIGKILL)
        dying.wait()
        assert (status(uri, dead), status(uri, alive)) == ("RUNNING", "RUNNING")
        again = new_run("second")
        two = tracker.build()
        two.start(again)
        assert (status(uri, dead), status(uri, alive)) == ("KILLED", "RUNNING")
        assert status(uri, again.identity["mlflow_run"]) == "RUNNING"
        two.finish("FINISHED")
    finally:
        living.kill()
        living.wait()


def test_a_killed_registration_leaves_no_model_and_no_run_that_goes_on(
    package: Package, uri: str, tmp_path: Path, repo_path: dict[str, str], warm_python: list[str]
) -> None:
    for method in ("log_model_artifact", "create_model_version"):
        process = child(REGISTERED, package.folder, uri, method, env=repo_path, python=warm_python)
        assert line(process) == "ready"
        process.communicate("\n")
        assert process.returncode == -signal.SIGKILL
    store = MlflowStore(MlflowStoreOptions(uri=uri))
    version = store.register(package, "brain")
    client = MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    statuses = sorted(run.info.status for run in client.search_runs([experiment]))
    assert version.version == "1" and statuses == ["FINISHED", "FINISHED", "KILLED"]
    (left,) = client.search_logged_models([experiment])
    assert left.artifact_location == client.get_model_version("brain", "1").source
    assert not list((tmp_path / FOLDER).glob("*.lock"))


def test_two_that_register_one_package_at_once_make_one_version(
    package: Package, uri: str, repo_path: dict[str, str], warm_python: list[str]
) -> None:
    client = MlflowClient(uri, uri)
    both = [child(REGISTERED, package.folder, uri, "none", env=repo_path, python=warm_python) for _ in range(2)]
    assert [line(process) for process in both] == ["ready", "ready"]
    for process in both:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate()[0].strip() for process in both] == ["1", "1"]
    (made,) = client.search_model_versions("name = 'brain'")
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    assert int(made.version) == 1 and len(client.search_logged_models([experiment])) == 1


def test_where_there_are_no_locks_nobody_is_taken_for_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = Address("sqlite:///", "", tmp_path / "voxgraft.db")
    with working(at) as living:
        assert not _has_ended(at, living)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with working(at) as living:
        assert not _has_ended(at, living)
    assert _has_ended(at, living) and not _has_ended(at, None)
