"""Batches over processes: the same results, and a worker that dies, hangs or takes too much fails its scan alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from batch_scans import Brightness, model, write_scan

from voxgraft.batch.ledger import Ledger, Row
from voxgraft.batch.segment import Batch, executor_of, segment
from voxgraft.batch.task import ExecutorSpec, Outcome
from voxgraft.components.catalogue import Catalogue, Origin
from voxgraft.components.choice import ExecutorOptions
from voxgraft.discovery import discover
from voxgraft.errors import DataError, ModelError, UsageError
from voxgraft.imaging.volume import Volume
from voxgraft.packages.package import Package
from voxgraft_plugins.executors.processes import Processes
from voxgraft_plugins.executors.threads import Threads


@dataclass
class Dangerous(Brightness):
    """A predictor whose process some scans end; the first time only where their name says `once`."""

    folder: Path = Path()

    def predict(self, volume: Volume) -> Any:
        assert volume.item is not None
        name = volume.item.path.name
        (self.folder / f"{name}-{time.monotonic_ns()}-{os.getpid()}").touch()
        again = len(list(self.folder.glob(f"{name}-*"))) > 1
        if "dies" in name and not ("once" in name and again):
            os._exit(9)
        return super().predict(volume)


def loads_nothing(package: Package) -> Any:
    raise ModelError(f"{package.name} cannot be loaded here")


def run(tmp_path: Path, names: list[str], predictor: Any, **options: Any) -> Batch:
    for name in names:
        write_scan(tmp_path / "in" / f"{name}.nii.gz")
    package = model(tmp_path / "model")
    out = options.pop("out", tmp_path / "out")
    return segment(package, [tmp_path / "in"], out, discover(), predictor=predictor, **options)


def rows(out: Path) -> dict[str, Row]:
    with Ledger(out) as ledger:
        return {row.case: row for row in ledger.rows()}


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Batch]:
    """A batch over two processes, some of whose scans end their worker."""
    tmp_path = tmp_path_factory.mktemp("lost")
    (tmp_path / "seen").mkdir()
    names = ["a", "b", "dies", "dies-once"]
    return tmp_path, run(tmp_path, names, Dangerous(folder=tmp_path / "seen"), executor="processes", workers=2)


def test_a_worker_that_dies_fails_its_scan_alone(lost: tuple[Path, Batch]) -> None:
    tmp_path, batch = lost
    states = {scan.case: (scan.state, scan.code) for scan in batch.scans}
    bad = ("failed", "worker-lost")
    assert states == {"a": ("done", None), "b": ("done", None), "dies": bad, "dies-once": ("done", None)}
    errors = {scan.case: str(scan.error) for scan in batch.scans}
    assert "its worker process ended with the code 9" in errors["dies"] and "second try" in errors["dies"]
    tries = [path.name.split(".")[0] for path in (tmp_path / "seen").iterdir()]
    assert {name: tries.count(name) for name in set(tries)} == {"a": 1, "b": 1, "dies": 2, "dies-once": 2}
    found = rows(tmp_path / "out")
    assert (found["dies"].tries, found["dies-once"].tries) == (1, 1) and not list((tmp_path / "out").glob(".tmp*"))


def test_processes_give_what_threads_give(lost: tuple[Path, Batch]) -> None:
    tmp_path, _ = lost
    run(tmp_path, [], Brightness(), executor="threads", out=tmp_path / "other")
    for case in ("a", "b", "dies-once"):
        ours, other = (nib.load(tmp_path / out / case / "mask.nii.gz") for out in ("out", "other"))
        assert np.array_equal(ours.get_fdata(), other.get_fdata()) and np.array_equal(ours.affine, other.affine)
        one, two = rows(tmp_path / "out")[case], rows(tmp_path / "other")[case]
        assert (one.structures, one.flags, one.input_hash) == (two.structures, two.flags, two.input_hash)
        assert one.input_hash and set(one.outputs) == set(two.outputs) and list(one.seconds) == list(two.seconds)


def slowly(root: Path) -> None:
    """A batch over two processes, to be killed."""
    package, predictor = model(root / "model"), Dangerous(slow=0.3, folder=root / "seen")
    segment(package, [root / "in"], root / "out", discover(), predictor=predictor, executor="processes", workers=2)


def test_a_batch_whose_parent_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    for name in "abcdef":
        write_scan(tmp_path / "in" / f"{name}.nii.gz")
    (tmp_path / "seen").mkdir()
    code = "import sys, pathlib, test_executors; test_executors.slowly(pathlib.Path(sys.argv[1]))"
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    call = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env={**os.environ, "PYTHONPATH": paths})
    while call.poll() is None and not list((tmp_path / "out").glob("?/report.json")):
        time.sleep(0.02)
    call.kill()
    assert call.wait() == -signal.SIGKILL
    kept = {case for case, row in rows(tmp_path / "out").items() if row.state == "done"}
    workers = {int(path.name.rsplit("-", 1)[1]) for path in (tmp_path / "seen").iterdir()}
    end = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers), "workers end with their parent"
    slowly(tmp_path)
    often = Counter(path.name.split(".")[0] for path in (tmp_path / "seen").iterdir())
    assert set(often) == set("abcdef") and all(often[case] == 1 for case in kept)
    assert {row.state for row in rows(tmp_path / "out").values()} == {"done"}
    assert not list((tmp_path / "out").glob(".tmp*"))


def hold(task: str) -> str:
    """Work that hangs, or takes 400 MB, where a task says so."""
    taken = b"x" * 400_000_000 if task == "fills" else b""
    time.sleep(600 if task != "ends" else 0)
    return task + str(len(taken))


@pytest.mark.parametrize(
    ("bad", "limit", "said"),
    [
        ("hangs", {"seconds": 1.0}, "it took longer than 1 s, at the second try too"),
        ("fills", {"gigabytes": 0.4}, "it took more than 0.4 GB of memory, at the second try too"),
    ],
)
def test_a_worker_that_hangs_or_takes_too_much_is_ended(bad: str, limit: dict[str, float], said: str) -> None:
    processes = Processes(ExecutorOptions.model_validate({"workers": 1, **limit}))
    outcomes = {outcome.task: outcome for outcome in processes.run(hold, ["ends", bad, "ends"])}
    assert outcomes["ends"].value == "ends0" and str(outcomes[bad].error) == said


def test_a_model_that_processes_cannot_load_leaves_the_scans_waiting(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="balls cannot be loaded here"):
        run(tmp_path, ["a", "b"], loads_nothing, executor="processes")
    assert {(row.state, row.tries) for row in rows(tmp_path / "out").values()} == {("waiting", 0)}


def test_local_takes_threads_or_processes_by_what_is_asked(catalogue: Catalogue) -> None:
    chosen = {
        (workers, seconds): type(executor_of("local", catalogue, workers=workers, device="cpu", seconds=seconds))
        for workers, seconds in [(None, None), (1, None), (2, None), (1, 60.0)]
    }
    assert chosen == {(None, None): Threads, (1, None): Threads, (2, None): Processes, (1, 60.0): Processes}
    assert isinstance(executor_of("local", catalogue, workers=4, device="cuda:0", seconds=None), Threads)
    with pytest.raises(UsageError, match="cannot end a scan that takes too long"):
        executor_of("threads", catalogue, seconds=5.0)


class Faulty:
    def __init__(self, times: int) -> None:
        self.times = times

    def run(self, work: Any, tasks: Any) -> Iterator[Outcome]:
        for task in tasks:
            outcome = Outcome(task, work(task))
            yield from [outcome] * self.times


@pytest.mark.parametrize(
    ("times", "said"), [(0, "lost 2 scans, a, b among"), (2, "returned two results for the scan a")]
)
def test_a_batch_notices_an_executor_that_loses_or_doubles_a_result(tmp_path: Path, times: int, said: str) -> None:
    catalogue = discover()
    spec: ExecutorSpec[Any] = ExecutorSpec(name="faulty", summary="", build=lambda _: Faulty(times))
    catalogue.add("test", spec)
    catalogue.add_origin(Origin("test", "test", "test", "1"))
    for name in "ab":
        write_scan(tmp_path / "in" / f"{name}.nii.gz")
    inputs = [tmp_path / "in"]
    with pytest.raises(DataError, match=said):
        segment(model(tmp_path / "m"), inputs, tmp_path / "out", catalogue, predictor=Brightness(), executor="faulty")
    assert {row.state for row in rows(tmp_path / "out").values()} <= {"done", "waiting"}
    assert not list((tmp_path / "out").glob(".tmp*"))
