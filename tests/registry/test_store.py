"""The store: versions are found by name, alias and run; what comes out is what was put in, or nothing."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_run import scores_document, small_package

from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import ModelError, TrackingError
from voxgraft.packages.package import MANIFEST, MEMBERS, Package, read_package
from voxgraft.packages.references import Registry, Resolver
from voxgraft.support.files import sha256
from voxgraft_registry.options import MlflowStoreOptions
from voxgraft_registry.references import parse
from voxgraft_registry.store import MlflowStore


@pytest.fixture
def store(uri: str) -> MlflowStore:
    return MlflowStore(MlflowStoreOptions(uri=uri))


def client(store: MlflowStore) -> Any:
    return store._client()[0]


def test_a_package_whose_workflow_was_changed_by_hand_is_refused(store: MlflowStore, package: Package) -> None:
    store.register(package, "brain")
    folder = store.fetch("models:/brain/1")
    workflow, manifest = folder / "workflow.yaml", json.loads((folder / MANIFEST).read_text())
    workflow.write_text(workflow.read_text() + "# another\n")
    manifest["files"]["workflow.yaml"] = {"size": workflow.stat().st_size, "sha256": sha256(workflow)}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    assert read_package(folder).hash == package.hash
    with pytest.raises(ModelError, match="is not the one that was registered"):
        store.fetch("models:/brain/1")


def test_it_is_a_registry(store: MlflowStore) -> None:
    assert isinstance(store, Registry)


def test_what_is_registered_is_fetched(store: MlflowStore, package: Package, capfd: pytest.CaptureFixture[str]) -> None:
    made = store.register(package, "brain")
    assert (made.name, made.version, made.aliases, made.hash) == ("brain", "1", (), package.hash)
    assert made.metrics == {"dice": pytest.approx(0.8)}
    back = read_package(store.fetch("models:/brain/1"))
    assert back.hash == package.hash and back.plan == package.plan and back.labels == package.labels
    assert not list(Path.cwd().iterdir())
    assert capfd.readouterr() == ("", "")


def test_models_are_looked_up_where_the_workflow_at_hand_tracks(
    store: MlflowStore, package: Package, uri: str, catalogue: Catalogue
) -> None:
    store.register(package, "brain")
    assert Resolver(catalogue, uri).resolve("models:/brain/1").hash == package.hash
    with pytest.raises(TrackingError, match="no registry here"):
        Resolver(catalogue).resolve("models:/brain/1")
    assert not list(Path.cwd().iterdir())


def test_every_form_of_reference_leads_to_its_version(store: MlflowStore, tmp_path: Path) -> None:
    made = [store.register(small_package(tmp_path / f"p{seed}", seed), "brain") for seed in (1, 2)]
    store.promote("brain", "2")
    store.promote("brain", "1", "site-b")
    hashes = {
        name: read_package(store.fetch(name)).hash
        for name in ("models:/brain@champion", "models:/brain@site-b", "models:/brain/2", f"runs:/{made[0].run}")
    }
    assert list(hashes.values()) == [made[1].hash, made[0].hash, made[1].hash, made[0].hash]


def test_the_model_is_one_for_mlflow_with_a_signature_and_no_code(store: MlflowStore, package: Package) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model
    from mlflow.pyfunc import load_model

    store.register(package, "brain")
    folder = store.fetch("models:/brain/1")
    assert {path.name for path in folder.iterdir()} == {*MEMBERS, MANIFEST, "MLmodel"}
    model = Model.load(str(folder))
    assert set(model.flavors) == {"voxgraft"}
    assert model.signature.inputs.inputs[0].shape == (-1, 2, -1, -1, -1)
    assert model.signature.outputs.inputs[0].shape == (-1, 3, -1, -1, -1)
    assert model.signature.inputs.inputs[0].type == np.dtype("float32")
    assert str(folder.parent.parent) not in (folder / "MLmodel").read_text()
    with pytest.raises(MlflowException):
        load_model(str(folder))


def test_registering_the_same_package_again_gives_the_version_it_has(store: MlflowStore, package: Package) -> None:
    assert store.register(package, "brain") == store.register(package, "brain")
    assert store.register(package, "other").version == "1"
    assert {name: len(versions) for name, versions in store.models().items()} == {"brain": 1, "other": 1}


def test_models_are_listed_with_versions_aliases_and_metrics(store: MlflowStore, tmp_path: Path) -> None:
    assert store.models() == {}
    for seed, dice in ((1, 0.8), (2, 0.9)):
        summary = scores_document({"a": dice})["summary"]
        store.register(small_package(tmp_path / f"p{seed}", seed, {"scores": summary}), "brain")
    store.promote("brain", "1")
    rows = [version.document() for version in store.models()["brain"]]
    assert [(row["version"], row["aliases"], row["metrics"]) for row in rows] == [
        ("2", [], {"dice": 0.9}),
        ("1", ["champion"], {"dice": 0.8}),
    ]
    assert all(len(row["run"]) == 32 and row["created"].startswith("20") for row in rows)


def test_a_page_holds_a_hundred_and_all_pages_are_read(store: MlflowStore) -> None:
    for index in range(101):
        client(store).create_registered_model(f"model{index}")
    assert len(store.models()) == 101


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("models:/brian@champion", "no model is called 'brian'; there are brain in sqlite:"),
        ("models:/brain@champion", "no such alias; it has live .version 1."),
        ("models:/brain/7", "there is no version 7; there are 1"),
        ("models:/brain", "write models:/NAME@ALIAS"),
        ("models:/", "write models:/NAME@ALIAS"),
        ("models:/../../etc@x", "write models:/NAME@ALIAS"),
        ("models:/a' OR '1'='1@x", "write models:/NAME@ALIAS"),
        ("runs:/x' OR 'a", "write models:/NAME@ALIAS"),
        ("runs:/" + "0" * 32, "no version of a model was registered by this run"),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(
    store: MlflowStore, package: Package, reference: str, words: str
) -> None:
    store.register(package, "brain")
    store.promote("brain", "1", "live")
    with pytest.raises(ModelError, match=words):
        store.fetch(reference)


def test_a_name_may_hold_a_blank_but_not_be_given_one_here(store: MlflowStore, package: Package) -> None:
    assert parse("models:/my model@live").name == "my model"
    for name in ("my model", "", "../x", "a/b", "-x"):
        with pytest.raises(ModelError, match="cannot be a model's name"):
            store.register(package, name)
    assert store.register(package, "liver-v1.2_ct").name == "liver-v1.2_ct"


def test_rollback_goes_back_step_by_step(store: MlflowStore, tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        store.register(small_package(tmp_path / f"p{seed}", seed), "brain")
        store.promote("brain", str(seed))
    store.promote("brain", "3")
    assert [store.rollback("brain").version for _ in range(2)] == ["2", "1"]
    with pytest.raises(ModelError, match="had no champion before version 1"):
        store.rollback("brain")
    assert store.version("models:/brain@champion").version == "1"
    store.promote("brain", "3")
    assert store.rollback("brain").version == "1"


def test_rollback_knows_a_champion_that_was_set_by_another_way_and_skips_a_deleted_version(
    store: MlflowStore, tmp_path: Path
) -> None:
    for seed in (1, 2, 3):
        store.register(small_package(tmp_path / f"p{seed}", seed), "brain")
    store.promote("brain", "1")
    store.promote("brain", "2")
    client(store).set_registered_model_alias("brain", "champion", "3")
    client(store).delete_model_version("brain", "2")
    assert store.rollback("brain").version == "1"


def test_rollback_without_a_champion_is_refused(store: MlflowStore, package: Package) -> None:
    store.register(package, "brain")
    with pytest.raises(ModelError, match="no champion to roll back"):
        store.rollback("brain")
    with pytest.raises(ModelError, match="there are brain"):
        store.rollback("liver")


def test_a_challenger_that_becomes_champion_is_challenger_no_more(store: MlflowStore, package: Package) -> None:
    store.register(package, "brain")
    assert store.promote("brain", "1", "challenger").aliases == ("challenger",)
    assert store.promote("brain", "1").aliases == ("champion",)


@pytest.mark.parametrize(("version", "alias"), [("9", "champion"), ("1", "latest"), ("1", "a b"), ("1", "v2")])
def test_a_wrong_promotion_moves_nothing(store: MlflowStore, package: Package, version: str, alias: str) -> None:
    store.register(package, "brain")
    store.promote("brain", "1", "live")
    with pytest.raises((ModelError, TrackingError)):
        store.promote("brain", version, alias)
    assert store.version("models:/brain/1").aliases == ("live",)


def damaged(change: Callable[[Path], object]) -> Callable[[MlflowStore, Package], Path]:
    def do(store: MlflowStore, package: Package) -> Path:
        store.register(package, "brain")
        folder = store.fetch("models:/brain/1")
        change(folder)
        return folder

    return do


def exchange(folder: Path) -> None:
    """Put another package, complete in itself, in the place of the registered one."""
    other = small_package(folder.parent / "other", 99)
    for member in (*MEMBERS, MANIFEST):
        shutil.copy(other.folder / member, folder / member)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x"), "models:/brain/1/model.safetensors.*differs"),
        (lambda folder: (folder / MANIFEST).unlink(), "models:/brain/1: is not a model package"),
        (lambda folder: shutil.rmtree(folder), "not where the registry says"),
        (exchange, "not the one that was registered"),
    ],
)
def test_a_version_whose_files_were_changed_is_refused(
    store: MlflowStore, package: Package, change: Callable[[Path], object], words: str
) -> None:
    damaged(change)(store, package)
    with pytest.raises(ModelError, match=words):
        store.fetch("models:/brain/1")


class Trap:
    """A pickle that leaves a mark when it is loaded."""

    mark = ""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path(self.mark),))


def test_code_and_pickles_beside_a_package_are_never_run(store: MlflowStore, package: Package, tmp_path: Path) -> None:
    Trap.mark = str(tmp_path / "ran")
    code = f"from pathlib import Path\nPath({Trap.mark!r}).touch()\n"

    def trap(folder: Path) -> None:
        (folder / "python_model.pkl").write_bytes(pickle.dumps(Trap()))
        (folder / "code.py").write_text(code)
        flavour = {"loader_module": "code", "code": ".", "python_model": "python_model.pkl"}
        (folder / "MLmodel").write_text(json.dumps({"flavors": {"python_function": flavour}}))

    damaged(trap)(store, package)
    assert read_package(store.fetch("models:/brain/1")).hash == package.hash
    assert not (tmp_path / "ran").exists()


def test_a_version_that_is_no_package_is_named(store: MlflowStore, tmp_path: Path) -> None:
    other = client(store)
    experiment = other.create_experiment("x", artifact_location=(tmp_path / "files").as_uri())
    run = other.create_run(experiment)
    other.log_text(run.info.run_id, "flavors: {}", "model/MLmodel")
    other.create_registered_model("foreign")
    other.create_model_version("foreign", f"{run.info.artifact_uri}/model", run.info.run_id)
    assert [version.version for version in store.models()["foreign"]] == ["1"]
    with pytest.raises(ModelError, match=r"models:/foreign/1: is not a model package"):
        store.fetch("models:/foreign/1")


def test_a_registry_that_was_moved_with_its_files_still_works(uri: str, package: Package, tmp_path: Path) -> None:
    MlflowStore(MlflowStoreOptions(uri=uri)).register(package, "brain")
    (tmp_path / "site").rename(tmp_path / "moved")
    store = MlflowStore(MlflowStoreOptions(uri=f"sqlite:///{tmp_path}/moved/voxgraft.db"))
    assert read_package(store.fetch("models:/brain/1")).hash == package.hash


def test_without_a_registry_the_sentence_says_how_to_name_one(uri: str) -> None:
    with pytest.raises(TrackingError, match="MLFLOW_TRACKING_URI is not set"):
        MlflowStore(MlflowStoreOptions()).fetch("models:/brain@champion")


def test_a_deleted_version_leaves_no_logged_model(store: MlflowStore, tmp_path: Path) -> None:
    for seed in (1, 2):
        store.register(small_package(tmp_path / f"p{seed}", seed), "brain")
    mlflow = client(store)
    experiment = mlflow.get_experiment_by_name("voxgraft").experiment_id
    kept = {one.tags["voxgraft.hash"] for one in mlflow.search_logged_models([experiment])}
    gone = store.delete("brain", "1").hash
    assert {one.tags["voxgraft.hash"] for one in mlflow.search_logged_models([experiment])} == kept - {gone} != kept
