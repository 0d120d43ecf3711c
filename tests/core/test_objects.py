"""Scans, models and results in object storage: fsspec's own in memory, and a real S3 server where there is one."""

from __future__ import annotations

import os
import platform
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import fsspec
import nibabel as nib
import numpy as np
import pytest
from batch_scans import Brightness, model, write_scan
from click.testing import CliRunner

from voxgraft.batch.remote import Remote
from voxgraft.batch.segment import Batch, segment
from voxgraft.batch.task import ExecutorSpec, Outcome
from voxgraft.cli import main
from voxgraft.components.catalogue import Origin
from voxgraft.discovery import discover
from voxgraft.errors import DataError, UsageError, VoxGraftError
from voxgraft.support.objects import fetch, fetch_file, mirror_of, put, put_file
from voxgraft.support.texts import is_url


@pytest.fixture(scope="module", params=["memory", "s3"])
def bucket(request: pytest.FixtureRequest) -> Iterator[str]:
    """A place in object storage."""
    if request.param == "memory":
        yield "memory://bucket"
        fsspec.filesystem("memory").store.clear()
        return
    if find_spec("moto") is None or find_spec("s3fs") is None:
        pytest.skip("moto[server] and s3fs are not installed")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        fsspec.filesystem("s3").mkdir("bucket")
        yield "s3://bucket"
    server.stop()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VOXGRAFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def place(bucket: str, tmp_path: Path) -> str:
    """A folder in object storage with two scans in `in`."""
    for name in ("a", "sub/b"):
        write_scan(tmp_path / "local" / f"{name}.nii.gz")
    url = f"{bucket}/{tmp_path.name}"
    put(tmp_path / "local", f"{url}/in")
    return url


def names(url: str) -> set[str]:
    system, root = fsspec.core.url_to_fs(url)
    system.invalidate_cache()
    return {key[len(root) :].lstrip("/") for key in system.find(root)} if system.exists(root) else set()


def batch(place: str, tmp_path: Path, catalogue: Any = None, **options: Any) -> Batch:
    package = model(tmp_path / "model")
    inputs, out = [f"{place}/in"], f"{place}/out"
    return segment(package, inputs, out, catalogue or discover(), predictor=options.pop("predictor"), **options)


def test_scans_are_fetched_and_results_are_put(place: str, tmp_path: Path) -> None:
    seeing = Brightness()
    first = batch(place, tmp_path, predictor=seeing)
    assert first.done == 2 and sorted(seeing.seen) == ["a.nii.gz", "b.nii.gz"]
    found = names(f"{place}/out")
    assert {"report.html", "a/mask.nii.gz", "a/report.json", "a/preview.png", "b/mask.nii.gz"} <= found
    assert not any(name.startswith((".staged", "ledger")) for name in found)
    fetched = fetch(f"{place}/out/a/mask.nii.gz", tmp_path / "mask.nii.gz")
    segment(model(tmp_path / "model"), [tmp_path / "local"], tmp_path / "plain", discover(), predictor=Brightness())
    ours, theirs = nib.load(fetched), nib.load(tmp_path / "plain" / "a" / "mask.nii.gz")
    assert np.array_equal(ours.get_fdata(), theirs.get_fdata()) and np.array_equal(ours.affine, theirs.affine)
    write_scan(tmp_path / "local" / "sub" / "b.nii.gz", np.roll(np.asarray(ours.dataobj) * 150, 1, 0).astype(np.int16))
    put(tmp_path / "local" / "sub", f"{place}/in/sub")
    again = batch(place, tmp_path, predictor=(changed := Brightness()))
    assert (again.done, again.skipped, changed.seen) == (1, 1, ["b.nii.gz"])


def test_a_storage_that_takes_nothing_fails_the_scan_and_it_is_done_again(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise DataError(f"{place}/out/a/mask.nii.gz: cannot be written: access denied")

    with monkeypatch.context() as patch:
        patch.setattr("voxgraft.batch.remote.put", refuse)
        failed = batch(place, tmp_path, predictor=Brightness())
    assert {(scan.state, scan.code) for scan in failed.scans} == {("failed", "cannot-write")}
    assert all("access denied" in str(scan.error) for scan in failed.scans)
    assert batch(place, tmp_path, predictor=Brightness()).done == 2


class Elsewhere:
    """Does each task as a machine would that has none of the parent's files."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache

    def run(self, work: Any, tasks: Any) -> Iterator[Outcome]:
        for task in tasks:
            copies, kept = self.cache / "objects", self.cache / "kept"
            shutil.move(copies, kept)
            here = platform.node
            platform.node = lambda: "elsewhere"
            try:
                value = work(task)
            finally:
                platform.node = here
                shutil.rmtree(copies)
                shutil.move(kept, copies)
            yield Outcome(task, value)


def test_a_worker_that_sees_no_disk_of_the_parent_uses_the_storage(place: str, tmp_path: Path, cache: Path) -> None:
    catalogue = discover()
    spec: ExecutorSpec[Any] = ExecutorSpec(name="elsewhere", summary="", build=lambda _: Elsewhere(cache))
    catalogue.add("test", spec)
    catalogue.add_origin(Origin("test", "test", "test", "1"))
    done = batch(place, tmp_path, catalogue, predictor=Brightness(), executor="elsewhere")
    assert [str(scan.error) for scan in done.scans if scan.error] == [] and done.done == 2
    assert {"a/mask.nii.gz", "b/mask.nii.gz"} <= names(f"{place}/out")
    assert (done.out / "a" / "mask.nii.gz").is_file() and not names(f"{place}/out/.staged")


def test_what_a_worker_left_is_proved(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = Remote(f"{place}/out", host="another")
    (tmp_path / "staged").mkdir()
    (tmp_path / "staged" / "mask").write_text("whole")
    remote.hand_over(tmp_path / "staged")
    shutil.rmtree(tmp_path / "staged")
    with pytest.raises(DataError, match="is not what the worker wrote"):
        remote.take(tmp_path / "staged", {"mask": "0" * 64})


def test_what_is_not_there_or_leads_outside_is_said(place: str, tmp_path: Path) -> None:
    for text, said in [
        (f"{place}/nothing", "there is no such file or folder"),
        (f"{place}/in/list.csv", "a CSV worklist has to lie on a disk"),
        ("nosuch://bucket/in", "Protocol not known: nosuch"),
    ]:
        with pytest.raises(UsageError, match=said):
            segment(model(tmp_path / "model"), [text], tmp_path / "o", discover(), predictor=Brightness())
    system, root = fsspec.core.url_to_fs(f"{place}/bad")
    if place.startswith("s3"):
        system.pipe_file(f"{root}/../../escaped", b"x")
        with pytest.raises(DataError, match="leads out of the folder"):
            fetch(f"{place}/bad", tmp_path / "bad")
    assert not list(tmp_path.rglob("escaped"))


def test_what_has_changed_is_fetched_alone(place: str, tmp_path: Path) -> None:
    copy = fetch(f"{place}/in", mirror_of(f"{place}/in", tmp_path))
    kept, gone = copy / "a.nii.gz", copy / "sub" / "b.nii.gz"
    before = kept.stat().st_mtime_ns
    system, root = fsspec.core.url_to_fs(f"{place}/in")
    system.rm(f"{root}/sub/b.nii.gz")
    fetch(f"{place}/in", copy)
    assert kept.stat().st_mtime_ns == before and not gone.exists()
    assert is_url("s3://bucket") and not is_url("C://scans") and not is_url("models:/spleen/3")


def test_where_a_storage_tells_sizes_alone_all_is_fetched_again(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voxgraft.support.objects._STAMPS", ())
    (tmp_path / "one").write_bytes(b"first")
    put_file(tmp_path / "one", f"{place}/one")
    copy = fetch(f"{place}/one", tmp_path / "copy")
    (tmp_path / "one").write_bytes(b"other")
    put_file(tmp_path / "one", f"{place}/one")
    assert fetch(f"{place}/one", copy).read_bytes() == b"other"


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_the_copies_are_for_their_owner_alone(place: str, tmp_path: Path, cache: Path) -> None:
    assert batch(place, tmp_path, predictor=Brightness()).done == 2
    assert (cache / "objects").stat().st_mode & 0o077 == 0


def test_a_cache_that_cannot_be_written_is_said(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("VOXGRAFT_CACHE", str(tmp_path / "file"))
    with pytest.raises(VoxGraftError, match="file"):
        batch(place, tmp_path, predictor=Brightness())


def test_a_model_is_fetched_and_the_command_names_the_copy(place: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["segment", f"{place}/model", f"{place}/in", "--out", f"{place}/out"])
    assert result.exit_code == 2 and f"{place}/model: there is no such file or folder" in result.output
    (tmp_path / "no" / "model").mkdir(parents=True)
    (tmp_path / "no" / "model" / "plan.json").write_text("{}")
    put(tmp_path / "no" / "model", f"{place}/model")
    result = CliRunner().invoke(main, ["segment", f"{place}/model", f"{place}/in", "--out", f"{place}/out"])
    assert result.exit_code == 2 and "not a model package" in result.output, result.output


class Refusing(BaseHTTPRequestHandler):
    """Lets nobody in, but where it holds nothing."""

    def do_GET(self) -> None:
        self.send_error(404 if "absent" in self.path else 403)

    do_HEAD = do_GET

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.mark.skipif(find_spec("aiohttp") is None, reason="aiohttp is not installed, which fsspec reads http with")
def test_a_host_that_does_not_answer_is_not_one_without_the_file(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    with pytest.raises(UsageError, match=r"absent.nii.gz: there is no such file or folder"):
        fetch(f"{url}/absent.nii.gz", tmp_path / "copy")
    with pytest.raises(DataError, match=r"a.nii.gz: cannot be read: 403"):
        fetch(f"{url}/a.nii.gz", tmp_path / "copy")
    server.shutdown()
    server.server_close()
    for call in (fetch, fetch_file):
        with pytest.raises(DataError, match=r"a.nii.gz: cannot be reached: Cannot connect to host 127.0.0.1"):
            call(f"{url}/a.nii.gz", tmp_path / "copy")


def test_a_storage_that_does_not_answer_is_said_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class EndpointConnectionError(type("ConnectionError", (Exception,), {})):  # type: ignore[misc]
        """As botocore has it, whose errors are no `OSError`."""

    def find(*_: Any, **__: Any) -> Any:
        raise EndpointConnectionError("Could not connect to the endpoint URL")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "find", find)
    with pytest.raises(DataError, match="in: cannot be reached: Could not connect to the endpoint URL"):
        fetch("memory://bucket/in", tmp_path / "copy")
    with pytest.raises(DataError, match="cannot be written: the disk is full"), monkeypatch.context() as patch:
        patch.setattr(type(fsspec.filesystem("memory")), "put_file", Full())
        put_file(write_scan(tmp_path / "a.nii.gz"), "memory://bucket/a.nii.gz")


class Full:
    def __call__(self, *_: Any) -> None:
        raise OSError("the disk is full")
