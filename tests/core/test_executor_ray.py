"""A batch over a Ray cluster; `benchmarks/cluster.py` shows it at length. Skipped where Ray is not installed."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from batch_scans import Brightness, Found, model, write_scan

from voxgraft.batch.ledger import Ledger
from voxgraft.batch.segment import Batch, executor_of, segment
from voxgraft.components.catalogue import Catalogue
from voxgraft.discovery import discover
from voxgraft.errors import UsageError
from voxgraft.imaging.volume import Volume
from voxgraft.testing import Subject, run_checks

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray (the extra `cluster`) is not installed")


def test_without_ray_a_sentence_says_how_to_get_it(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"needs Ray, which is not installed: pip install 'voxgraft\[cluster\]'"):
        executor_of("ray://head:10001", catalogue, workers=2)


@dataclass
class Marking(Brightness):
    """A predictor that leaves a file for each scan that it sees."""

    folder: Path = Path()

    def predict(self, volume: Volume, progress: Any = None, missing: Any = ()) -> Found:
        assert volume.item is not None
        (self.folder / f"{volume.item.path.name}-{os.getpid()}-{time.monotonic_ns()}").touch()
        return super().predict(volume)


def batch(root: Path, out: str, executor: str, slow: str | float = 0.0, **options: Any) -> Batch:
    """Segment the scans of a folder."""
    predictor = Marking(slow=float(slow), folder=root / f"seen-{out}")
    predictor.folder.mkdir(exist_ok=True)
    package, inputs = model(root / "model"), [root / "in"]
    return segment(package, inputs, root / out, discover(), predictor=predictor, executor=executor, **options)


def seen(root: Path, out: str) -> Counter[str]:
    """How often each scan was predicted."""
    folder = root / f"seen-{out}"
    return Counter(path.name.split(".")[0] for path in folder.iterdir()) if folder.is_dir() else Counter()


def waited(condition: Callable[[], bool], seconds: float = 200) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    assert condition()


def same_masks(root: Path, one: str, other: str) -> bool:
    """Whether two batches over the scans of a folder have left the same, voxel for voxel."""
    for path in (root / "in").iterdir():
        case = path.name.split(".")[0]
        ours, theirs = (nib.load(root / out / case / "mask.nii.gz") for out in (one, other))
        if not (np.array_equal(ours.get_fdata(), theirs.get_fdata()) and np.array_equal(ours.affine, theirs.affine)):
            return False
    return True


@dataclass(frozen=True)
class Place:
    """A cluster.

    Attributes:
        client: Where its clients connect, as in ray://HOST:PORT.
    """

    nodes: Any
    client: str


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def started() -> Place:
    """A cluster of one node with one core, to which clients may connect."""
    from ray.cluster_utils import Cluster

    port = free_port()
    return Place(
        Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "ray_client_server_port": port}),
        f"ray://127.0.0.1:{port}",
    )


@pytest.fixture(scope="module")
def surroundings() -> Iterator[None]:
    """What nodes and clients are begun with: a fork of the server for clients may fail otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRPC_ENABLE_FORK_SUPPORT", "0")
        patch.setenv("RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S", "200")  # a loaded machine begins slowly
        patch.setenv("RAY_CLIENT_RECONNECT_GRACE_PERIOD", "5")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
        yield


@pytest.fixture(scope="module")
def cluster(surroundings: None) -> Iterator[Place]:
    import ray

    place = started()
    place.nodes.add_node(num_cpus=1)
    ray.init(address=place.nodes.address, log_to_driver=False, logging_level="ERROR")
    yield place
    ray.shutdown()
    place.nodes.shutdown()


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with eight scans, and the batch over threads that the others are compared with."""
    root = tmp_path_factory.mktemp("scans")
    for name in "abcdefgh":
        write_scan(root / "in" / f"{name}.nii.gz")
    assert batch(root, "threads", "threads").done == 8
    return root


@needs_ray
def test_ray_passes_the_checks_of_executors(cluster: Place, tmp_path: Path) -> None:
    outcomes = run_checks(Subject.of("executor", "ray", options={"workers": 2}), tmp_path)
    assert [one for one in outcomes if one.state != "passed"] == []


@needs_ray
def test_a_batch_over_two_nodes_gives_what_threads_give(cluster: Place, scans: Path) -> None:
    assert batch(scans, "ray", "ray").done == 8
    assert same_masks(scans, "ray", "threads") and set(seen(scans, "ray").values()) == {1}


@needs_ray
def test_a_node_that_is_killed_costs_the_scan_that_it_was_at(cluster: Place, scans: Path) -> None:
    third = cluster.nodes.add_node(num_cpus=1)

    def kill() -> None:
        waited(lambda: len(seen(scans, "killed")) >= 3)
        cluster.nodes.remove_node(third, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    done = batch(scans, "killed", "ray", 0.5, workers=3).done
    killer.join()
    often = seen(scans, "killed")
    assert done == len(often) == 8 and sum(often.values()) <= 9 and same_masks(scans, "killed", "threads")
    assert not list((scans / "killed").glob(".tmp*"))


def hold(task: str) -> str:
    """Work that hangs, or takes 700 MB, where a task says so."""
    taken = b"x" * 700_000_000 if task == "fills" else b""
    time.sleep(600 if task != "ends" else 0)
    return task + str(len(taken))


@needs_ray
def test_an_actor_that_hangs_or_takes_too_much_is_begun_anew(cluster: Place, catalogue: Catalogue) -> None:
    limits = {"seconds": 3.0, "gigabytes": 0.6}
    executor = executor_of("ray", catalogue, workers=2, device="cpu", **limits)
    outcomes = list(executor.run(hold, ["ends", "hangs", "fills", "ends", "ends"]))
    said = {outcome.task: str(outcome.error) for outcome in outcomes}
    assert [outcome.value for outcome in outcomes if outcome.task == "ends"] == ["ends0"] * 3 and len(outcomes) == 5
    assert said["hangs"] == "it took longer than 3 s, at the second try too"
    assert said["fills"] == (
        "it took more than 0.6 GB of memory, or its worker, or the machine that it was on, was lost, at the second "
        "try too"
    )


def called(root: Path, out: str, *arguments: str) -> subprocess.Popen[bytes]:
    """`batch` in a process of its own; what it says goes to a file."""
    code = "import sys, pathlib, test_executor_ray; test_executor_ray.batch(pathlib.Path(sys.argv[1]), *sys.argv[2:])"
    with (root / f"said-{out}").open("w") as said:
        return subprocess.Popen([sys.executable, "-c", code, str(root), out, *arguments], stdout=said, stderr=said)


@needs_ray
def test_a_client_that_is_cut_off_is_followed_by_another(cluster: Place, scans: Path) -> None:
    first = called(scans, "client", cluster.client, "0.5")
    waited(lambda: len(seen(scans, "client")) >= 3)
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    with Ledger(scans / "client") as ledger:
        kept = {row.case for row in ledger.rows() if row.state == "done"}
    assert called(scans, "client", cluster.client).wait(timeout=250) == 0, (scans / "said-client").read_text()
    often = seen(scans, "client")
    assert kept and len(often) == 8 and all(often[case] == 1 for case in kept)
    assert same_masks(scans, "client", "threads")


@needs_ray
def test_a_cluster_that_ends_leaves_what_is_done(surroundings: None, scans: Path) -> None:
    place = started()
    try:
        call = called(scans, "ended", place.client, "0.5")
        waited(lambda: len(seen(scans, "ended")) >= 3)
    finally:
        place.nodes.shutdown()
    assert call.wait(timeout=250) == 1
    said = (scans / "said-ended").read_text()
    assert re.search(r"WorkerLost: (the Ray cluster answers no more|no worker can begin on the cluster): ", said), said
    with Ledger(scans / "ended") as ledger:
        states = Counter(row.state for row in ledger.rows())
    assert states["done"] >= 1 and set(states) == {"done", "waiting"}
    assert batch(scans, "ended", "threads").done == states["waiting"]
    assert same_masks(scans, "ended", "threads")


@needs_ray
@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ray://127.0.0.1:{free}", r"no Ray cluster answers at ray://127.0.0.1:\d+: Connection refused$"),
        ("ray://127.0.0.1:{taken}", r"no Ray cluster answers at ray://127.0.0.1:\d+: something else listens there$"),
        ("ray://", "ray://: is no address of a Ray cluster; write ray://HOST:PORT$"),
        ("ray://head:port", "ray://head:port: is no address of a Ray cluster"),
        ("ray://nowhere.invalid:1", "no Ray cluster answers at ray://nowhere.invalid:1: "),
    ],
)
def test_a_wrong_address_is_told_within_seconds(
    address: str, said: str, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voxgraft_plugins.executors.ray._PATIENCE", 2.0)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with socket.create_server(("127.0.0.1", 0)) as other:
        text = address.format(free=free_port(), taken=other.getsockname()[1])
        begun = time.monotonic()
        with pytest.raises(UsageError, match=said):
            batch(scans, "nowhere", text)
    assert time.monotonic() - begun < 8 and not seen(scans, "nowhere")
