"""Devices: what is named is used, what is not here is refused, and two processes train one network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from datasets import boxes, workflow

from voxgraft.errors import UsageError
from voxgraft.support.machine import choose_device, device_count, precision_of
from voxgraft.training import session
from voxgraft.training.arithmetic import Arithmetic
from voxgraft.training.augment import augment
from voxgraft.training.team import Team, team_of

ROOT = Path(__file__).parents[2]


def test_words_for_devices() -> None:
    assert choose_device("cpu").type == "cpu" and choose_device("cpu*2").type == "cpu"
    assert device_count("cuda*4") == 4 and device_count("cpu") == 1
    assert precision_of("auto", torch.device("cpu")) == "32-true"
    assert precision_of("bf16", torch.device("cpu")) == "bf16-mixed"
    for wrong in ("tpu", "cuda:x", "", "cpu,cuda"):
        with pytest.raises(UsageError, match="there is no device"):
            choose_device(wrong)
    with pytest.raises(UsageError, match="number of devices"):
        device_count("cuda*many")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_gpu_that_is_not_here_is_refused() -> None:
    with pytest.raises(UsageError, match="no CUDA device is available here"):
        choose_device("cuda")


def test_two_processes_train_one_network(tmp_path, repo_path) -> None:
    """By time, so that the processes' clocks would disagree if each followed its own."""
    path = workflow(tmp_path, boxes(tmp_path / "data"), steps="[plan, prepare, train]")
    command = [sys.executable, "-m", "voxgraft", "run", str(path), "--out", str(tmp_path / "run")]
    options = ["tracking=null", "training.device=cpu*2", "training.budget=0.05 min"]
    done = subprocess.run(
        [*command, *(word for option in options for word in ("--set", option))],
        capture_output=True,
        text=True,
        env={**repo_path, "OMP_NUM_THREADS": "1"},
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    summary = json.loads((tmp_path / "run" / "train" / "summary.json").read_text())
    assert summary["devices"] == 2 and summary["steps"] > 2
    assert (tmp_path / "run" / "package" / "manifest.json").exists()


STRENGTHS = {
    **{
        "rotation": 20.0,
        "scale": 0.2,
        "shift": 0.1,
        "elastic": 2.0,
        "mirror": 1.0,
        "gamma": 0.3,
        "brightness": 0.2,
        "shading": 0.2,
    },
    **{"contrast": 0.2, "noise": 0.2, "blur": 1.0, "lowres": 0.5, "invert": 0.3},
}


@pytest.mark.parametrize("seed", range(6))
def test_the_parts_of_a_batch_are_augmented_as_the_whole(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    image = torch.randn(4, 2, 14, 14, 14, generator=draw)
    label = torch.randint(0, 3, (4, 14, 14, 14), generator=draw)
    options = ((10, 10, 10), (1.0, 1.0, 2.0), STRENGTHS, seed, 1.0, None)
    whole = augment(image, label, *options)
    parts = [augment(image[two], label[two], *options, (n, 2)) for n, two in enumerate((slice(0, 2), slice(2, 4)))]
    assert torch.allclose(torch.cat([part[0] for part in parts]), whole[0], atol=1e-5)
    assert torch.equal(torch.cat([part[1] for part in parts]), whole[1])


TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
SRUN = {"SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2", "SLURM_PROCID": "3", "SLURM_LOCALID": "3"}


def test_who_started_a_process_is_read_from_its_variables() -> None:
    assert team_of({}) is None
    assert team_of({**TORCHRUN, "GROUP_RANK": "1"}) == Team("torchrun", 5, 8, 2)
    assert team_of({**SRUN, "SLURM_NODEID": "0"}) == Team("srun", 3, 8, 2)
    assert team_of({**SRUN, "SLURM_NODEID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_NUM_NODES": "1"}) is None
    batch_script = {"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    assert team_of(batch_script) is None, "without srun it is alone"
    with pytest.raises(UsageError, match="8 processes on 3 nodes; start as many on each node"):
        team_of({**SRUN, "SLURM_NODEID": "0", "SLURM_STEP_NUM_NODES": "3"})


def test_the_variables_of_a_batch_job_do_not_make_a_training_wait_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**SRUN, "SLURM_NTASKS": "2", "SLURM_JOB_NAME": "train", "SLURM_JOB_ID": "12"}.items():
        monkeypatch.setenv(name, value)
    chosen = SimpleNamespace(training=SimpleNamespace(device="cpu", precision="32"), transfer=[])
    assert session._fabric(chosen, None, Arithmetic()).world_size == 1
    chosen.training.device = "cpu*2"
    with pytest.raises(UsageError, match=r"cpu\*2 names devices, but srun has started 8 processes.*write cpu"):
        session._fabric(chosen, Team("srun", 0, 8, 2), Arithmetic())


def test_the_figures_of_two_processes_are_kept() -> None:
    figures = json.loads((ROOT / "benchmarks" / "results" / "processes.json").read_text())
    assert list(figures["processes"].values()) == [1, 2, 2, 2] and list(figures["steps"].values()) == [2, 2, 8, 8]
    assert figures["one_and_two"] < 1e-5 and figures["killed_and_not"] == 0 and figures["went_on"]
    assert figures["files_that_differ"] == [] and set(figures["runs_tracked"].values()) == {1}
    text = " ".join((ROOT / "docs" / "howto" / "gpu.md").read_text().split())
    assert f"within {figures['one_and_two']:.0e} after" in text
