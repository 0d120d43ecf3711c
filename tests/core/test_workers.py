"""Worker processes end with the process that started them: asked to, killed, or because the work failed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from datasets import boxes, workflow

from dicom_series import make_series
from voxgraft.support.workers import worker_processes

if not Path("/proc/self/stat").exists():
    pytest.skip("the processes of a session are looked up in /proc", allow_module_level=True)

SLEEPS = """
import sys, time
from voxgraft.support.limits import ending_gently
from voxgraft.support.workers import worker_processes
if __name__ == "__main__":
    with ending_gently(), worker_processes(2) as pool:
        for future in [pool.submit(time.sleep, 1000) for _ in range(4)]:
            future.result()
"""


def session(leader: int) -> set[int]:
    """The living processes of a session but its leader."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] not in "ZX":
            found.add(int(path.parent.name))
    return found - {leader}


def waited(leader: int, number: int, most: float = 60) -> set[int]:
    """What is left of a session when it has as many processes as are waited for, or the time is over."""
    end = time.monotonic() + most
    while time.monotonic() < end:
        alive = session(leader)
        if (len(alive) >= number) if number else not alive:
            break
        time.sleep(0.05)
    return session(leader)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(tmp_path: Path, repo_path: dict[str, str], how: signal.Signals) -> None:
    script = tmp_path / "sleeps.py"
    script.write_text(SLEEPS)
    child = subprocess.Popen(
        [sys.executable, str(script)],
        env=repo_path,
        stdout=-3,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert len(waited(child.pid, 3)) >= 3, "two workers, and the tracker of what they share"
    time.sleep(1)
    child.send_signal(how)
    child.wait(timeout=20)
    assert waited(child.pid, 0, 10) == set()


def test_a_deidentification_leaves_no_process_behind_and_goes_on(
    tmp_path: Path, repo_path: dict[str, str], warm_python: list[str]
) -> None:
    make_series(tmp_path / "in", np.zeros((8, 8, 160), np.int16), np.eye(4), Modality="MR")
    call = ["-m", "voxgraft", "deidentify", str(tmp_path / "in"), str(tmp_path / "out")]
    call += ["--key", str(tmp_path / "key"), "--workers", "2"]
    for number, how in enumerate((signal.SIGKILL, signal.SIGTERM)):
        command = [sys.executable, *call, *(["--new-key"] if number == 0 else [])]
        child = subprocess.Popen(command, env=repo_path, stdout=-3, stderr=subprocess.PIPE, start_new_session=True)
        waited(child.pid, 3)
        child.send_signal(how)
        child.communicate(timeout=20)
        assert waited(child.pid, 0, 10) == set()
    done = subprocess.run([*warm_python, *call], env=repo_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 160
    assert not list((tmp_path / "out").rglob(".tmp*"))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_training_on_several_devices_leaves_no_process_behind(
    tmp_path: Path, repo_path: dict[str, str], how: signal.Signals
) -> None:
    path = workflow(tmp_path, boxes(tmp_path / "data"), steps="[plan, prepare, train]")
    call = [
        sys.executable,
        "-m",
        "voxgraft",
        "run",
        str(path),
        "--out",
        str(tmp_path / "run"),
        "--set",
        "tracking=null",
    ]
    call += ["--set", "training.device=cpu*2", "--set", "training.budget=5 min"]
    env = {**repo_path, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(call, env=env, stdout=-3, stderr=subprocess.PIPE, start_new_session=True)
    assert len(waited(child.pid, 3, 120)) >= 3, "two processes that train, and the tracker of what they share"
    time.sleep(8)
    child.send_signal(how)
    child.communicate(timeout=60)
    assert waited(child.pid, 0, 20) == set()


def test_a_failure_ends_the_workers_at_once() -> None:
    begun = time.monotonic()
    with pytest.raises(ZeroDivisionError), worker_processes(1) as pool:
        pool.submit(os.getpid).result()
        pool.submit(time.sleep, 1000)
        raise ZeroDivisionError
    assert time.monotonic() - begun < 60
