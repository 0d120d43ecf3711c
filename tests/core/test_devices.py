"""Devices: what is named is used, what is not here is refused, and two processes train one network."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from datasets import boxes, workflow

from voxgraft.errors import UsageError
from voxgraft.inference.device import choose_device, device_count, precision_of


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
