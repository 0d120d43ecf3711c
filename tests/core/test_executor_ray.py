"""A batch over a Ray cluster; `benchmarks/cluster.py` kills a node of one. Skipped where Ray is not installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from batch_scans import Brightness, model, write_scan

from voxgraft.batch.segment import executor_of, segment
from voxgraft.components.catalogue import Catalogue
from voxgraft.discovery import discover
from voxgraft.errors import UsageError
from voxgraft.testing import Subject, run_checks

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray (the extra `cluster`) is not installed")


def test_without_ray_a_sentence_says_how_to_get_it(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"needs Ray, which is not installed: pip install 'voxgraft\[cluster\]'"):
        executor_of("ray://head:10001", catalogue, workers=2)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield cluster.address
    ray.shutdown()
    cluster.shutdown()


@needs_ray
def test_ray_passes_the_checks_of_executors(cluster: str, tmp_path: Path) -> None:
    outcomes = run_checks(Subject.of("executor", "ray", options={"workers": 2}), tmp_path)
    assert [one for one in outcomes if one.state != "passed"] == []


@needs_ray
def test_a_batch_over_two_nodes_gives_what_threads_give(cluster: str, tmp_path: Path) -> None:
    for name in "abc":
        write_scan(tmp_path / "in" / f"{name}.nii.gz")
    for out in ("ray", "threads"):
        package, inputs = model(tmp_path / "model"), [tmp_path / "in"]
        batch = segment(package, inputs, tmp_path / out, discover(), predictor=Brightness(), executor=out)
        assert batch.done == 3
    for case in "abc":
        ours, theirs = (nib.load(tmp_path / out / case / "mask.nii.gz") for out in ("ray", "threads"))
        assert np.array_equal(ours.get_fdata(), theirs.get_fdata()) and np.array_equal(ours.affine, theirs.affine)
