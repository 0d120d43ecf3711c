"""Train one network in one process, in two that `torchrun` starts, and in two that are killed and go on: equal weights?

    python benchmarks/processes.py [--steps 8] [--out benchmarks/results/processes.json]

Boxes in noise, a network of width 8, a batch of 4 in one process or of 2 in each of two, gloo on the CPU. Weights are
compared value by value: after two steps of SGD, before rounding errors have grown, between one process and two; after
`--steps` between two that were killed and went on and two that were not, which must be equal. A file that the second
process writes too, or a second run in the tracker, is counted.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import measured
import nibabel as nib
import numpy as np
import psutil
from measured import keep, parser_of
from safetensors.torch import load_file

WORKFLOW = """\
voxgraft: 1
name: boxes
data:
  layout: {{use: decathlon, path: {folder}/data}}
  modality: mr
  split: {{folds: 3, fold: 0, seed: 7}}
model: {{dims: 3, encoder: {{use: residual, weights: none, width: 8}}, decoder: {{use: unet}}}}
transfer: []
training: {{budget: {steps} steps, batch: 4, patch: [16, 16, 16], device: cpu, validate_every: 0.5,
  optimiser: {{use: sgd}}}}
evaluation: {{metrics: [dice]}}
tracking: {{uri: "sqlite:///{folder}/{name}.db", experiment: boxes}}
registry: {{name: boxes, promote: never}}
steps: [plan, prepare, train]
"""


FEW = 2
"""Steps after which one process and two are compared."""


def write_boxes(folder: Path, cases: int = 6, shape: tuple[int, int, int] = (20, 18, 16)) -> None:
    """A data set in the layout of the Decathlon: a bright box in noise in each case."""
    rng = np.random.default_rng(3)
    names = [f"box_{index}.nii.gz" for index in range(cases)]
    for sub in ("imagesTr", "labelsTr"):
        (folder / sub).mkdir(parents=True)
    for name in names:
        label = np.zeros(shape, np.uint8)
        label[tuple(slice(int(s), int(s) + 6) for s in rng.integers(3, 7, 3))] = 1
        image = (rng.normal(100, 20, shape) + 150 * label).astype(np.int16)
        nib.save(nib.Nifti1Image(image, np.eye(4)), folder / "imagesTr" / name)
        nib.save(nib.Nifti1Image(label, np.eye(4)), folder / "labelsTr" / name)
    training = [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names]
    labels = {"0": "background", "1": "box"}
    (folder / "dataset.json").write_text(json.dumps({"modality": {"0": "MRI"}, "labels": labels, "training": training}))


def command(folder: Path, name: str, processes: int, steps: int) -> list[str]:
    """The call that trains into a folder."""
    (folder / f"{name}.yaml").write_text(WORKFLOW.format(folder=folder, name=name, steps=steps))
    call = ["-m", "voxgraft", "run", str(folder / f"{name}.yaml"), "--out", str(folder / name)]
    if processes == 1:
        return [sys.executable, *call]
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        place = f"--master-addr=127.0.0.1 --master-port={free.getsockname()[1]}".split()
    start = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", *place]
    return [*start, *call, "--set", f"training.batch={4 // processes}"]


def run(call: list[str], **more: Any) -> dict[str, Any]:
    """Run to the end; seconds on the clock and on all processors."""
    with measured.processes() as taken:
        done = subprocess.run(call, capture_output=True, text=True, env=environment(), **more)
    if done.returncode:
        raise SystemExit(done.stdout[-1000:] + done.stderr[-3000:])
    return {"seconds": taken.seconds, "cpu_seconds": round(taken.cpu, 1), "said": done.stderr}


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}


def killed(call: list[str], folder: Path) -> None:
    """Start, and kill all processes of the group when the first checkpoint is there."""
    child = subprocess.Popen(
        call, env=environment(), start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not (folder / "train" / "last.pt").exists() and child.poll() is None:
        time.sleep(0.02)
    for process in (*psutil.Process(child.pid).children(recursive=True), child):
        os.kill(process.pid, signal.SIGKILL)
    child.wait()


def difference(folder: Path, one: str, other: str) -> float:
    """The largest difference of two trainings' weights."""
    first, second = (load_file(folder / name / "train" / "weights.safetensors") for name in (one, other))
    assert first.keys() == second.keys()
    return max(float((first[name].double() - second[name].double()).abs().max()) for name in first)


def tracked(folder: Path, name: str) -> int:
    """Runs in the tracker's database."""
    with closing(sqlite3.connect(folder / f"{name}.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM runs").fetchone()[0])


def measure(folder: Path, steps: int) -> dict[str, Any]:
    """All of it, in a folder."""
    write_boxes(folder / "data")
    calls = {"one": (1, FEW), "two": (2, FEW), "long": (2, steps), "again": (2, steps)}
    killed(command(folder, "again", *calls["again"]), folder / "again")
    runs = {name: run(command(folder, name, *call)) for name, call in calls.items()}
    summaries = {name: json.loads((folder / name / "train" / "summary.json").read_text()) for name in calls}
    files = [{path.relative_to(folder / name).as_posix() for path in (folder / name).rglob("*")} for name in calls][:2]
    return {
        "steps": {name: summary["steps"] for name, summary in summaries.items()},
        "processes": {name: summary["devices"] for name, summary in summaries.items()},
        "one_and_two": difference(folder, "one", "two"),
        "killed_and_not": difference(folder, "long", "again"),
        "went_on": "goes on from step" in runs["again"]["said"],
        "files_that_differ": sorted(files[0] ^ files[1]),
        "runs_tracked": {name: tracked(folder, name) for name in calls},
        "seconds": {name: one["seconds"] for name, one in runs.items()},
        "cpu_seconds": {name: one["cpu_seconds"] for name, one in runs.items()},
    }


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="voxgraft-processes-") as folder:
        figures = measure(Path(folder), options.steps)
    print(json.dumps(figures, indent=1))
    if options.out:
        keep(options.out, figures)


if __name__ == "__main__":
    main()
