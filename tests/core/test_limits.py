"""Time limits: what hangs is given up alone, and a process in which something hangs still ends."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_scans import write_scan

from voxgraft.errors import OutOfTime
from voxgraft.support.limits import Limits, Stopped


def test_what_ends_in_time_gives_its_value_or_its_error() -> None:
    limits = Limits()
    assert limits.within(5, "reading", lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        limits.within(5, "reading", lambda: 1 // 0)
    with pytest.raises(SystemExit):
        limits.within(None, "reading", lambda: sys.exit(3))


def test_what_takes_longer_is_given_up_in_a_sentence() -> None:
    begun, free = time.monotonic(), threading.Event()
    with pytest.raises(OutOfTime, match=r"reading took longer than 0\.3 s and was given up"):
        Limits().within(0.3, "reading", free.wait)
    assert time.monotonic() - begun < 2
    free.set()


def test_everything_ends_at_once_when_it_is_to_stop() -> None:
    limits, free = Limits(), threading.Event()
    threading.Timer(0.2, limits.stop.set).start()
    with pytest.raises(Stopped):
        limits.within(None, "reading", free.wait)
    free.set()


def test_the_usual_limit_grows_with_the_scan() -> None:
    assert Limits().for_bytes(2e9) == 600 + 2000 and Limits(7).for_bytes(2e9) == 7


HANGS = """
import sys, time
from pathlib import Path
import voxgraft.batch.segment
import voxgraft.inference
import voxgraft_plugins.nifti.reader as nifti
from batch_scans import Brightness, model
root, stage = Path(sys.argv[1]), sys.argv[2]

def hang(*args, **options):
    print("hangs", flush=True, file=sys.stderr)
    while True:
        time.sleep(1000)

class Predictor(Brightness):
    def predict(self, volume, progress=None, missing=()):
        return hang() if stage == "predict" and volume.item.path.name == "b.nii.gz" else super().predict(volume)

if stage == "scan":
    scan = nifti.NiftiReader.scan
    nifti.NiftiReader.scan = lambda self, files: hang() if "b.nii.gz" in {f.name for f in files} else scan(self, files)
if stage == "read":
    read = nifti.NiftiReader.read
    nifti.NiftiReader.read = lambda self, item: hang() if item.path.name == "b.nii.gz" else read(self, item)
if stage == "write":
    import voxgraft.batch.outputs as outputs
    write = outputs.write
    outputs.write = lambda volume, target, *a, **o: (
        hang() if target.parent.name.endswith("-b") else write(volume, target, *a, **o)
    )
if stage == "pool":
    from concurrent.futures import ThreadPoolExecutor
    nifti.NiftiReader.read = lambda self, item: ThreadPoolExecutor(1).submit(hang).result()
import voxgraft.batch.model
voxgraft.batch.model.check_unchanged = lambda package: None
voxgraft.batch.segment.resolve_package = lambda reference, catalogue: model(root / "model")
sys.modules["voxgraft.inference.predictor"] = type("M", (), {"predictor_of": lambda *a, **o: Predictor()})
from voxgraft.cli import main
main(["segment", "balls", str(root / "in"), "--out", str(root / "out"), *sys.argv[3:]])
"""


Started = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def started(tmp_path: Path, repo_path: dict[str, str], warm_python: list[str]) -> Iterator[Started]:
    """Starts a batch in which something hangs; what a test leaves behind is killed."""
    children = []
    for name in "abc":
        write_scan(tmp_path / "in" / f"{name}.nii.gz")
    env = {**repo_path, "PYTHONPATH": os.pathsep.join([repo_path["PYTHONPATH"], str(Path(__file__).parent)])}

    def start(*args: str) -> subprocess.Popen[str]:
        command = [*warm_python, "-c", HANGS, str(tmp_path), *args]
        children.append(subprocess.Popen(command, env=env, stdout=-1, stderr=-1, text=True))
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.communicate()


def rows(tmp_path: Path) -> dict[str, tuple[Any, ...]]:
    with sqlite3.connect(tmp_path / "out" / "ledger.sqlite") as connection:
        found = connection.execute('SELECT "case", state, tries, error FROM scans').fetchall()
    return {case: tuple(rest) for case, *rest in found}


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ("scan", "looking at its header took"),
        ("read", "reading took"),
        ("write", "the writer 'nifti' took"),
        ("predict", "predicting took"),
    ],
)
def test_a_scan_that_hangs_fails_alone(tmp_path: Path, started: Started, stage: str, said: str) -> None:
    child = started(stage, "--timeout", "2")
    out, error = child.communicate(timeout=60)
    assert child.returncode == 3, error
    found = rows(tmp_path)
    assert found["a"][0] == found["c"][0] == "done" and found["b"][:2] == ("failed", 0 if stage == "scan" else 1)
    assert f"{said} longer than 2" in found["b"][2] and found["b"][2] in error and "2 done, 1 failed" in out


@pytest.mark.parametrize("stage", ["scan", "read", "write", "predict", "pool"])
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_batch_that_hangs_ends_when_it_is_asked_to(
    tmp_path: Path, started: Started, stage: str, how: signal.Signals
) -> None:
    child = started(stage)
    assert child.stderr is not None and any(line == "hangs\n" for line in child.stderr)
    time.sleep(0.3)
    child.send_signal(how)
    _, error = child.communicate(timeout=60)
    assert child.returncode == 1 and "stopped by hand" in error and "Traceback" not in error
    if stage == "scan":
        return  # no scan is known yet
    assert {state for state, _, _ in rows(tmp_path).values()} <= {"done", "waiting"}
    assert {tries for state, tries, _ in rows(tmp_path).values() if state == "waiting"} == {0}
