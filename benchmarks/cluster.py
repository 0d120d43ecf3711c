"""A batch over a real Ray cluster of two nodes, one of which is killed in mid-batch, beside the same batch here.

    pip install 'voxgraft[cluster]'
    python benchmarks/cluster.py [--scans 60] [--seconds 0.3] [--out benchmarks/results/cluster.json]

The network is a stand-in that takes a fixed time a scan, so that what is measured is what executors add. Every
prediction leaves a file, so that a scan that is done twice is seen. After the kill every mask must be there, voxel for
voxel that of the batch over threads, no scan under way when the node was killed may have been lost, and no other may
have been done twice.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from measured import parser_of, record
from stand_in import Found, bright, package_of_balls

from voxgraft.batch.ledger import Ledger
from voxgraft.batch.segment import segment
from voxgraft.discovery import discover
from voxgraft.imaging.volume import Volume
from voxgraft.packages.package import Package

SHAPE = (48, 48, 24)


@dataclass
class Threshold:
    """Stands in for a network: what is bright is the structure. It leaves a file for each scan it sees."""

    seen: Path
    seconds: float

    def __call__(self, package: Package) -> Threshold:
        return self

    def predict(self, volume: Volume, *, missing: Any = ()) -> Found:
        assert volume.item is not None
        (self.seen / f"{volume.item.path.name}-{os.getpid()}-{time.monotonic_ns()}").touch()
        time.sleep(self.seconds)
        return bright(volume)


def make_scans(folder: Path, number: int) -> None:
    """Balls of many sizes in noise."""
    folder.mkdir()
    random = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), -1)
    for index in range(number):
        centre = random.uniform(15, 33, 3) * (1, 1, 0.5)
        ball = np.linalg.norm(grid - centre, axis=-1) < random.uniform(4, 10)
        array = (random.integers(0, 40, SHAPE) + 120 * ball).astype(np.int16)
        nib.save(nib.Nifti1Image(array, np.diag([1.0, 1.0, 2.0, 1.0])), folder / f"s{index:04}.nii.gz")


def batch(root: Path, name: str, seconds: float, **options: Any) -> dict[str, Any]:
    """One batch over all scans: how long it took, and how often each scan was predicted."""
    seen = root / f"seen-{name}"
    seen.mkdir()
    begun = time.monotonic()
    done = segment(
        package_of_balls(root / f"model-{name}"),
        [root / "in"],
        root / name,
        discover(),
        predictor=Threshold(seen, seconds),
        **options,
    )
    wall = time.monotonic() - begun
    often = Counter(path.name.split(".")[0] for path in seen.iterdir())
    with Ledger(root / name) as ledger:
        states = Counter(row.state for row in ledger.rows())
    return {
        "seconds": round(wall, 1),
        "seconds_a_scan": round(wall / len(done.scans), 3),
        "done": done.done,
        "failed": done.failed,
        "ledger": dict(states),
        "predicted_twice": sum(count > 1 for count in often.values()),
        "left_half_written": len(list((root / name).glob(".tmp*"))),
    }


def differing(root: Path, one: str, other: str) -> int:
    """How many scans have other masks, voxel for voxel, or none."""
    number = 0
    for path in sorted((root / "in").iterdir()):
        case = path.name.split(".")[0]
        masks = [root / out / case / "mask.nii.gz" for out in (one, other)]
        if not all(mask.is_file() for mask in masks):
            number += 1
            continue
        ours, theirs = (nib.load(mask) for mask in masks)
        same = np.array_equal(np.asarray(ours.dataobj), np.asarray(theirs.dataobj))
        number += not (same and np.array_equal(ours.affine, theirs.affine))
    return number


def over_two_nodes(root: Path, name: str, seconds: float, kill_at: int | None) -> dict[str, Any]:
    """A batch over a cluster of two nodes with one worker each; the second is killed after so many predictions."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    seen, told = root / f"seen-{name}", {}

    def kill() -> None:
        while len(list(seen.iterdir())) < (kill_at or 0) if seen.is_dir() else True:
            time.sleep(0.02)
        told["killed_after_predictions"] = len(list(seen.iterdir()))
        cluster.remove_node(second, allow_graceful=False)

    if kill_at is not None:
        threading.Thread(target=kill, daemon=True).start()
    os.environ["RAY_ADDRESS"] = cluster.address
    try:
        return {**batch(root, name, seconds, executor="ray", workers=2), **told}
    finally:
        ray.shutdown()  # the executor keeps its connection for the next batch
        cluster.shutdown()


def main() -> None:
    parser = parser_of(__doc__, "cluster")
    parser.add_argument("--scans", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=0.3, help="Time of a prediction.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_scans(root / "in", options.scans)
        document: dict[str, Any] = {
            "ray": version("ray"),
            "scans": options.scans,
            "shape": SHAPE,
            "seconds_of_a_prediction": options.seconds,
            "threads": batch(root, "threads", options.seconds, executor="threads"),
            "processes": batch(root, "processes", options.seconds, executor="processes", workers=2),
            "two_nodes": over_two_nodes(root, "two_nodes", options.seconds, None),
            "one_node_killed": over_two_nodes(root, "killed", options.seconds, options.scans // 3),
        }
        names = {"processes": "processes", "two_nodes": "two_nodes", "one_node_killed": "killed"}
        for key, name in names.items():
            document[key]["masks_that_differ"] = differing(root, "threads", name)
    record(options.out, document)
    killed = document["one_node_killed"]
    lost = options.scans - killed["done"]
    if lost or killed["masks_that_differ"] or killed["predicted_twice"] > 1 or killed["left_half_written"]:
        sys.exit("the killed node has cost more than the scan that it was at")


if __name__ == "__main__":
    from cluster import main as begin  # workers import the stand-in by this name

    begin()
