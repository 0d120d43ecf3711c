"""Tests of start values from a registry: a registered network gives its encoder, or all of itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import ModelError
from voxgraft.imaging.structures import Label, Labels
from voxgraft.inference.recipe import network_of
from voxgraft.networks.network import SegmentationNetwork
from voxgraft.networks.weights import load_weights
from voxgraft.packages.package import write_package
from voxgraft.packages.references import Resolver, registry
from voxgraft.preprocessing.plan import Plan
from voxgraft.training.setup import start_network
from voxgraft.workflow.sections import Model
from voxgraft.workflow.workflow import from_document

pytestmark = pytest.mark.usefixtures("one_thread")

ENCODER = {"use": "residual", "width": 8}


def plan_of(dims: int, classes: int = 2) -> Plan:
    return Plan(
        dims=dims,
        image_dims=dims,
        channels=("t1",),
        labels=tuple((n, f"part{n}") for n in range(1, classes)),
        modality="mr",
        normalisation=({},),
        spacing=(1.0,) * dims,
        patch=(16,) * dims,
        batch=2,
        strides=tuple((2**level,) * dims for level in range(3)),
    )


def model_of(catalogue: Catalogue, dims: int, **options: Any) -> Model:
    sections = {"encoder": {**ENCODER, "weights": options.pop("weights", "none")}, "decoder": {"use": "unet"}}
    return Model.model_validate({"dims": dims, **sections, **options}, context=catalogue)


def network(catalogue: Catalogue, dims: int, seed: int, classes: int = 2) -> SegmentationNetwork:
    torch.manual_seed(seed)
    return network_of(model_of(catalogue, dims), plan_of(dims, classes)).eval()


@pytest.fixture(scope="module")
def registered(
    catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, SegmentationNetwork]]:
    """Networks in a registry of these tests' own: a volume's, one of slices, and an encoder alone."""
    folder = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'voxgraft.db'}")
        patch.setenv("VOXGRAFT_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        yield kept_in(catalogue, folder)


def kept_in(catalogue: Catalogue, folder: Path) -> dict[str, SegmentationNetwork]:
    """The networks, registered, each its model's champion."""
    nets = {
        "volumes": network(catalogue, 3, 1),
        "slices": network(catalogue, 2, 2),
        "encoder": network(catalogue, 3, 3),
    }
    kept = registry(catalogue, create=True)
    for name, net in nets.items():
        plan = plan_of(net.dims)
        tensors = dict(net.state_dict())
        if name == "encoder":
            tensors = {key: one for key, one in tensors.items() if key.startswith("encoder.")}
        package = write_package(
            folder / name,
            tensors=tensors,
            plan=plan,
            workflow="voxgraft: 1\n",
            labels=Labels(tuple(Label(value, text) for value, text in plan.labels)),
            card="# a model\n",
            facts={"name": name, "licence": "CC0"},
        )
        version = kept.register(package, name)
        kept.promote(name, version.version)
    return nets


def alike(mine: Any, theirs: Any, dims: int) -> bool:
    image = torch.randn(1, 1, *(16, 24, 16)[:dims])
    with torch.no_grad():
        pairs = zip(mine.encoder(image), theirs.encoder(image), strict=True)
        return all(torch.equal(one, other) for one, other in pairs)


def test_a_registered_model_gives_its_encoder_or_all_of_itself(
    catalogue: Catalogue, registered: dict[str, SegmentationNetwork]
) -> None:
    for name, dims in (("volumes", 3), ("slices", 2), ("encoder", 3)):
        model = model_of(catalogue, dims, weights=f"models:/{name}@champion")
        net, weights = network(catalogue, dims, 9), model.encoder.build().weights(Resolver(catalogue))
        assert weights is not None
        report = load_weights(net.encoder, weights)
        assert (report.share, report.dropped, report.licence) == (1.0, (), "CC0")
        assert report.contract is not None and report.contract.seen.startswith("MR images (t1)")
        assert alike(net.eval(), registered[name], dims)
    image = torch.randn(1, 1, 16, 16, 16)
    for classes, whole in ((2, True), (4, False)):
        net, whole_report = start_network(*job(catalogue, "models:/volumes@champion", 3, classes))
        assert whole_report is not None and alike(net.eval(), registered["volumes"], 3)
        new = {name.split(".")[0] for name in whole_report.new}
        assert new == (set() if whole else {"heads"})
        assert whole_report.share == 1.0 if whole else 0.9 < whole_report.share < 1
        assert (
            "encoder.levels.0.0.0.weight" in whole_report.started
            and "decoder.levels.0.0.0.weight" in whole_report.started
        )
        with torch.no_grad():
            maps = zip(net(image).maps, registered["volumes"](image).maps, strict=True)
            assert all(torch.equal(one, other) for one, other in maps)
            assert torch.equal(net(image).logits, registered["volumes"](image).logits) is whole


def job(catalogue: Catalogue, start: str, dims: int, classes: int = 2) -> tuple[Any, Plan, Resolver]:
    """What a training is started from."""
    document = {
        "voxgraft": 1,
        "name": "x",
        "data": {"layout": {"use": "pairs", "path": "."}, "modality": "mr"},
        "model": {"dims": dims, "encoder": ENCODER, "decoder": {"use": "unet"}, "start": start},
    }
    return from_document(document, catalogue), plan_of(dims, classes), Resolver(catalogue)


@pytest.mark.parametrize(
    ("reference", "dims", "said"),
    [
        ("models:/kidney@champion", 3, r"kidney"),
        ("models:/volumes@challenger", 3, r"challenger"),
        ("models:/volumes/7", 3, r"7"),
        ("models:/volumes@champion", 2, r"only \d+% of the encoder's parameters .* not for this encoder"),
    ],
)
def test_what_is_not_there_or_does_not_fit_is_one_sentence(
    catalogue: Catalogue, registered: dict[str, SegmentationNetwork], reference: str, dims: int, said: str
) -> None:
    def encoder_alone() -> None:
        weights = model_of(catalogue, dims, weights=reference).encoder.build().weights(Resolver(catalogue))
        assert weights is not None
        load_weights(network(catalogue, dims, 9).encoder, weights)

    for load in (encoder_alone, lambda: start_network(*job(catalogue, reference, dims))):
        with pytest.raises(ModelError, match=said) as caught:
            load()
        assert "\n" not in str(caught.value)


def test_a_model_of_slices_starts_one_of_volumes_by_inflation(
    catalogue: Catalogue, registered: dict[str, SegmentationNetwork]
) -> None:
    net, report = start_network(*job(catalogue, "models:/slices@champion", 3))
    assert report is not None and "encoder.levels.0.0.0.weight" in report.adapted
    stem = net.encoder.levels[0][0][0].weight
    assert torch.equal(stem[:, :, 1], registered["slices"].encoder.levels[0][0][0].weight)
    assert not stem[:, :, 0].any() and not stem[:, :, 2].any()


def test_two_starts_are_refused(catalogue: Catalogue) -> None:
    with pytest.raises(ValueError, match="both name initial weights; leave one of them out"):
        model_of(catalogue, 3, weights="file:w.pth", start="models:/volumes@champion")
    with pytest.raises(ValueError, match="not a registered model: write none or models:/NAME@ALIAS"):
        model_of(catalogue, 3, start="imagenet")
    assert model_of(catalogue, 3, start="models:/x@y").pretrained and not model_of(catalogue, 3).pretrained
