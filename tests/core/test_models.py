"""References to models: paths, package files, and whatever a store's scheme answers to."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch

from voxgraft import StoreSpec
from voxgraft.components.catalogue import Catalogue, Origin
from voxgraft.components.choice import Options
from voxgraft.discovery import discover
from voxgraft.errors import BrokenPlugin, ModelError, PluginError
from voxgraft.imaging.structures import Label, Labels
from voxgraft.packages.archive import pack
from voxgraft.packages.package import Package, write_package
from voxgraft.packages.references import Resolver, cache_folder, registry
from voxgraft.preprocessing.plan import Plan


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXGRAFT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def own() -> Catalogue:
    return discover([EntryPoint("registry", "voxgraft_registry.plugin", "voxgraft")], without=())


@pytest.fixture
def package(tmp_path: Path) -> Package:
    plan = Plan(
        dims=2,
        image_dims=2,
        channels=("mr",),
        labels=((1, "liver"),),
        modality="mr",
        normalisation=({},),
        spacing=(1.0, 1.0),
        patch=(16, 16),
        batch=2,
        strides=((1, 1),),
    )
    return write_package(
        tmp_path / "run" / "package",
        tensors={"w": torch.ones(2)},
        plan=plan,
        workflow="",
        labels=Labels((Label(1, "liver"),)),
        card="",
        facts={"name": "liver"},
    )


class Shelf:
    """A store of another plugin."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fetch(self, reference: str) -> Path:
        return self.folder


def offer(catalogue: Catalogue, folder: Any, plugin: str = "shelf", name: str = "shelf") -> None:
    catalogue.origins[plugin] = Origin(plugin, "json", "", "")
    build = (lambda options: Shelf(folder)) if isinstance(folder, Path) else folder
    card = StoreSpec(name=name, summary="", options=lambda: Options, build=build, schemes=("shelf:",))
    catalogue.add(plugin, card)


def test_a_folder_a_run_s_folder_and_a_file_are_the_same_model(
    own: Catalogue, package: Package, tmp_path: Path
) -> None:
    archive = pack(package.folder, tmp_path / "liver.voxgraft.zip")
    for reference in (package.folder, package.folder.parent, archive, str(archive)):
        assert Resolver(own).resolve(reference).hash == package.hash


def test_a_file_is_unpacked_once_and_again_when_the_copy_is_damaged(
    own: Catalogue, package: Package, tmp_path: Path
) -> None:
    archive = pack(package.folder, tmp_path / "liver.voxgraft.zip")
    folder = Resolver(own).resolve(archive).folder
    assert folder.is_relative_to(cache_folder())
    stamp = (folder / "card.md").stat().st_mtime_ns
    assert Resolver(own).resolve(archive).folder == folder and (folder / "card.md").stat().st_mtime_ns == stamp
    (folder / "model.safetensors").write_bytes(b"x")
    assert Resolver(own).resolve(archive).hash == package.hash


def test_a_store_of_another_plugin_answers_to_its_scheme(own: Catalogue, package: Package) -> None:
    offer(own, package.folder)
    assert Resolver(own).resolve("shelf:liver").hash == package.hash


def test_two_stores_of_one_scheme_are_named(own: Catalogue, package: Package) -> None:
    offer(own, package.folder)
    offer(own, package.folder, "other", "rack")
    with pytest.raises(PluginError, match="rack and shelf both handle"):
        Resolver(own).resolve("shelf:liver")


def test_what_a_store_gives_is_verified(own: Catalogue, tmp_path: Path) -> None:
    offer(own, tmp_path)
    with pytest.raises(ModelError, match="not a model package"):
        Resolver(own).resolve("shelf:liver")


def test_a_store_that_breaks_is_named(own: Catalogue) -> None:
    offer(own, lambda options: 1 / 0)
    with pytest.raises(BrokenPlugin, match="'shelf'"):
        Resolver(own).resolve("shelf:liver")


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("no/such/model", "no/such/model: there is no such model"),
        ("shelf://bucket/model", "shelf://bucket/model: Protocol not known: shelf"),
        ("shelf:bucket/model", "no store handles.*models:, runs:"),
        ("", "there is no such model|not a model package"),
    ],
)
def test_what_is_not_there_is_said(
    own: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=words):
        Resolver(own).resolve(reference)


def test_a_file_that_is_no_package_is_named(own: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"\x80\x04.")
    with pytest.raises(ModelError, match=r"weights\.pth: is not a readable zip file"):
        Resolver(own).resolve(tmp_path / "weights.pth")


def test_a_store_without_versions_is_no_registry(package: Package) -> None:
    catalogue = Catalogue()
    catalogue.origins["shelf"] = Origin("shelf", "json", "", "")

    class ShelfOptions(Options):
        create: bool = False

    build = lambda options: Shelf(package.folder)  # noqa: E731
    catalogue.add("shelf", StoreSpec(name="mlflow", summary="", options=lambda: ShelfOptions, build=build))
    with pytest.raises(PluginError, match="keeps no versions"):
        registry(catalogue)


def test_the_cache_is_where_the_user_s_caches_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOXGRAFT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder() == Path("/caches/voxgraft")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "voxgraft"
