"""The way to MLflow: addresses are checked, silence is told from an answer within seconds, passwords stay hidden."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from voxgraft.errors import TrackingError, UsageError
from voxgraft_registry.connection import address, answers, connect, default_address, existing_address
from voxgraft_registry.options import MlflowTrackerOptions


@pytest.fixture
def deaf() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def web() -> Iterator[int]:
    """A web server that is not MLflow."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.end_headers()
            self.wfile.write(b"<html>not here</html>")

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_relative_file_is_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    at = address("sqlite:///voxgraft.db")
    assert at.database == tmp_path / "voxgraft.db" and at.uri == f"sqlite:///{tmp_path}/voxgraft.db"
    assert at.artifacts == (tmp_path / "mlartifacts").as_uri()


@pytest.mark.parametrize(
    "uri",
    ["", "voxgraft.db", "mlruns", "file:///tmp/x", "http://", "http://host:port", "databricks", "sqlite://",
     "sqlite:///:memory:", "sqlite:///a?b.db", "http://[bad", "ftp://host/x"],
)  # fmt: skip
def test_an_address_of_no_use_is_refused_with_the_forms_that_are(uri: str) -> None:
    with pytest.raises(UsageError, match="sqlite:///FILE"):
        address(uri)
    if uri:
        with pytest.raises(ValidationError, match="sqlite:///FILE"):
            MlflowTrackerOptions(uri=uri)


def test_a_password_is_not_shown_and_not_taken_from_a_workflow_file() -> None:
    at = address("postgresql+psycopg2://mlflow:s3cret@db.site:5432/mlflow")
    assert "s3cret" not in at.shown and "s3cret" in at.uri
    for uri in ("https://me:s3cret@host", "postgresql://me:s3cret@host/x"):
        with pytest.raises(ValidationError, match="MLFLOW_TRACKING_URI"):
            MlflowTrackerOptions(uri=uri)
    with pytest.raises(TrackingError) as caught, answers(at):
        raise OSError(f"cannot reach {at.uri}")
    assert "s3cret" not in str(caught.value)


def test_the_environment_says_where_else_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert default_address().database == tmp_path / "voxgraft.db"
    with pytest.raises(TrackingError, match="MLFLOW_TRACKING_URI is not set"):
        existing_address()
    (tmp_path / "voxgraft.db").touch()
    assert existing_address().database == tmp_path / "voxgraft.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1/")
    assert existing_address().uri == default_address().uri == "http://127.0.0.1:1"


def test_a_file_that_is_not_there_is_not_made_unless_asked_for(tmp_path: Path) -> None:
    at = address(f"sqlite:///{tmp_path}/deep/down/voxgraft.db")
    with pytest.raises(TrackingError, match="there is no registry"):
        connect(at, create=False)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "notes.db"
    file.write_text("my notes")
    with pytest.raises(TrackingError, match=r"notes\.db: this file is not a SQLite database"):
        connect(address(f"sqlite:///{file}"), create=True)
    (tmp_path / "folder").mkdir()
    for place in ("folder", "notes.db/below.db"):
        with pytest.raises(TrackingError, match=place):
            connect(address(f"sqlite:///{tmp_path}/{place}"), create=True)
    assert file.read_text() == "my notes"


def test_a_damaged_database_is_one_sentence_within_seconds(tmp_path: Path) -> None:
    file = tmp_path / "torn.db"
    file.write_bytes(b"SQLite format 3\0" + b"\xff" * 8192)
    start = time.monotonic()
    with pytest.raises(TrackingError, match=r"torn\.db") as caught:
        connect(address(f"sqlite:///{file}"), create=True)
    assert time.monotonic() - start < 20 and "\n" not in str(caught.value)


def test_nobody_there_is_said_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for uri in (f"http://127.0.0.1:{port}", f"postgresql+psycopg2://me:pw@127.0.0.1:{port}/x"):
        start = time.monotonic()
        with pytest.raises(TrackingError, match=f"nothing answers at 127.0.0.1 port {port}.*start the MLflow server"):
            connect(address(uri), create=True)
        assert time.monotonic() - start < 3


def test_a_server_that_never_answers_is_given_up_within_seconds(deaf: int) -> None:
    start = time.monotonic()
    with pytest.raises(TrackingError, match="does not answer") as caught:
        connect(address(f"http://127.0.0.1:{deaf}"), create=True)
    assert time.monotonic() - start < 15 and "\n" not in str(caught.value)


def test_another_web_server_is_not_taken_for_mlflow(web: int) -> None:
    with pytest.raises(TrackingError, match="no MLflow server"):
        connect(address(f"http://127.0.0.1:{web}"), create=True)


def test_making_a_registry_is_silent_and_private(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    at = address(f"sqlite:///{tmp_path}/a b/ü#1.db")
    client = connect(at, create=True)
    assert [one.name for one in client.search_experiments()] == ["Default"]
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.rglob("*")] == ["a b", "ü#1.db"]
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    with pytest.raises(TrackingError) as caught, answers(at):
        client.get_run("f" * 32)
    assert "f" * 32 in str(caught.value)


def test_an_error_of_our_own_code_is_not_taken_for_one_of_mlflow(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), answers(address(f"sqlite:///{tmp_path}/x.db")):
        raise ZeroDivisionError


def test_two_processes_that_make_one_registry_at_once_both_work(tmp_path: Path, repo_path: dict[str, str]) -> None:
    code = """
import sys, time
from voxgraft_registry.connection import address, connect
import mlflow
time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
connect(address(sys.argv[1]), create=True).create_experiment(sys.argv[3])
"""
    uri, start = f"sqlite:///{tmp_path}/voxgraft.db", str(time.time() + 4)
    both = [
        subprocess.Popen([sys.executable, "-c", code, uri, start, name], env=repo_path, stderr=subprocess.PIPE)
        for name in ("one", "two")
    ]
    for process in both:
        assert process.wait(60) == 0, process.stderr and process.stderr.read()
    found = connect(address(uri), create=False).search_experiments()
    assert {one.name for one in found} == {"Default", "one", "two"}
    assert [path.name for path in tmp_path.iterdir()] == ["voxgraft.db"]
