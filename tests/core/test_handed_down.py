"""What a workflow says of its registry and its readers reaches everything below it, other processes too."""

from __future__ import annotations

import pickle
import re
import threading
from pathlib import Path

import pytest
from datasets import boxes, workflow

from voxgraft import StoreSpec
from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import Options
from voxgraft.errors import TrainingError
from voxgraft.packages.package import read_package
from voxgraft.packages.references import Resolver, registry
from voxgraft.runs.engine import run_workflow
from voxgraft.support.progress import Progress
from voxgraft.training.session import _packed
from voxgraft.workflow.workflow import read

QUICK = ("training.budget=3 steps", "evaluation.metrics=[dice]", "steps=[plan, prepare, train]")
ROOTS = [Path(__file__).parents[2] / name for name in ("core/voxgraft", "plugins", "registry")]
ENTRANCES = (
    "core/voxgraft/cli/",
    "core/voxgraft/api.py",
    "core/voxgraft/testing/conformance.py",
    "core/voxgraft/discovery.py",
)
"""The command line, the functions of Python, the authors' checks."""


def test_nothing_below_the_command_line_looks_for_plugins_or_keeps_a_context() -> None:
    root = Path(__file__).parents[2]
    for file in (file for folder in ROOTS for file in folder.rglob("*.py")):
        name, text = file.relative_to(root).as_posix(), file.read_text(encoding="utf-8")
        assert "ContextVar" not in text, name
        assert name.startswith(ENTRANCES) or not re.search(r"\bdiscover\(", text), name


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return boxes(tmp_path_factory.mktemp("data") / "boxes")


@pytest.fixture(scope="module")
def registries(
    tmp_path_factory: pytest.TempPathFactory, data_set: Path, catalogue: Catalogue
) -> tuple[Path, dict[str, str]]:
    """The same model name in `here/voxgraft.db` and in `named.db`; the folder, and the package's hash in each."""
    folder = tmp_path_factory.mktemp("registries")
    (folder / "here").mkdir()
    hashes = {}
    for name, seed, file in (("here", 1, "here/voxgraft.db"), ("named", 2, "named.db")):
        flow = read(workflow(folder, data_set), catalogue, [*QUICK, f"training.seed={seed}", "tracking=null"])
        run = run_workflow(flow, catalogue, folder / f"run-{name}", progress=Progress(quiet=True))
        kept = registry(catalogue, f"sqlite:///{folder / file}", create=True)
        kept.promote("boxes", kept.register(read_package(run.package), "boxes").version)
        hashes[name] = read_package(run.package).hash[:12]
    assert hashes["here"] != hashes["named"]
    return folder, hashes


@pytest.mark.parametrize(
    ("device", "start"), [("cpu*2", "model.encoder.weights"), ("cpu*2", "model.start"), ("cpu", "model.start")]
)
def test_start_values_come_from_the_registry_that_the_workflow_names(
    tmp_path: Path,
    data_set: Path,
    catalogue: Catalogue,
    registries: tuple[Path, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    start: str,
) -> None:
    folder, hashes = registries
    monkeypatch.setenv("VOXGRAFT_CACHE", str(tmp_path / "kept"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(folder / "here")
    said = [f"training.device={device}", f"tracking.uri=sqlite:///{folder}/named.db", f"{start}=models:/boxes@champion"]
    flow = read(workflow(tmp_path, data_set), catalogue, [*QUICK, *said])
    run = run_workflow(flow, catalogue, tmp_path / "out", progress=Progress(quiet=True))
    assert read_package(run.package).facts["weights"]["origin"] == f"models:/boxes@champion ({hashes['named']})"


def test_a_plugin_that_cannot_go_to_another_process_is_one_sentence(catalogue: Catalogue) -> None:
    there: Resolver = pickle.loads(_packed(Resolver(catalogue, "sqlite:///x.db")))
    assert there.uri == "sqlite:///x.db" and there.catalogue.origins == catalogue.origins
    assert there.catalogue.get("decoder", "unet").summary == catalogue.get("decoder", "unet").summary
    strange, lock = Catalogue(), threading.Lock()
    strange.add("shop", StoreSpec(name="shelf", summary="", options=lambda: Options, build=lambda options: lock))
    with pytest.raises(TrainingError, match=r"several devices: cannot pickle .*lock"):
        _packed(Resolver(strange))
