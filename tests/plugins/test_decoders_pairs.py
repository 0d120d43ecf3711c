"""Encoders under decoders: any pair is a network, and a workflow file trains it.

Here every decoder meets two encoders of each dimension, and every backbone one or two decoders;
`benchmarks/pairs.py` goes through all of them.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.packages.package import Package, read_package
from voxgraft.runs.engine import run_workflow
from voxgraft.support.progress import Progress
from voxgraft.testing.networks import check_pair
from voxgraft.workflow.workflow import read

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "pairs.json"
SIZES = {2: (45, 67), 3: (21, 37, 19)}
"""No multiples of anything."""

DECODERS = (
    "attention-unet",
    "deeplabv3",
    "deeplabv3plus",
    "fcn",
    "fpn",
    "linknet",
    "monai-unet",
    "segresnet",
    "unet",
    "unetplusplus",
    "unetr",
)
BACKBONES = (
    "vgg11_bn",
    "densenet121",
    "tf_efficientnet_lite0",
    "mobilenetv3_small_050",
    "convnext_atto",
    "swin_tiny_patch4_window7_224",
    "inception_v3",
)

pytestmark = pytest.mark.usefixtures("one_thread", "seeded")


def rows() -> Iterator[tuple[str, dict[str, Any], int, str]]:
    """Encoder, options, dimensions, decoder."""
    for decoder in DECODERS:
        yield "residual", {}, 3, decoder
        yield "deepbet", {"weights": "none"}, 3, decoder
        yield "timm", {"model": "resnet18"}, 2, decoder
        yield "residual", {}, 2, decoder
    for number, backbone in enumerate(BACKBONES):
        for decoder in (DECODERS[number % 11], DECODERS[(number * 3 + 5) % 11])[: 1 if "inception" in backbone else 2]:
            yield "timm", {"model": backbone, "full_resolution": number % 2 == 0}, 2, decoder


@pytest.mark.parametrize(("encoder", "options", "dims", "decoder"), rows())
def test_a_pair_gives_the_images_size_and_trains_from_head_to_stem(
    catalogue: Catalogue, encoder: str, options: dict[str, Any], dims: int, decoder: str
) -> None:
    chosen = choose(catalogue, "encoder", {"use": encoder, **options})
    check_pair(chosen, choose(catalogue, "decoder", {"use": decoder}), dims, SIZES[dims])


def test_inception_takes_images_smaller_than_its_smallest(catalogue: Catalogue) -> None:
    """It has no padding of its own: below 75 pixels its last map would have no pixel."""
    chosen = choose(catalogue, "encoder", {"use": "inception", "full_resolution": False})
    assert chosen.build().make(2, 1, []).contract.smallest == 75
    check_pair(chosen, choose(catalogue, "decoder", {"use": "fcn"}), 2, (7, 5))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("decoder", ["fcn", "deeplabv3", "deeplabv3plus", "fpn"])
def test_levels_that_a_decoder_leaves_unread_have_no_weights(
    catalogue: Catalogue, decoder: str, whole: bool, dims: int
) -> None:
    options = {"finest": 8} if decoder == "fpn" else {}
    chosen = choose(catalogue, "encoder", {"use": "vit", "full_resolution": whole})
    check_pair(chosen, choose(catalogue, "decoder", {"use": decoder, **options}), dims, (45, 35, 3)[:dims])


def test_unread_levels_change_nothing_in_what_is_decoded(catalogue: Catalogue) -> None:
    """Zeros of the same size stand for them, so that a map's place stays what it was."""
    whole, thin = (choose(catalogue, "encoder", {"use": "vit"}).build().make(2, 1, []).eval() for _ in range(2))
    decoder = choose(catalogue, "decoder", {"use": "fcn"}).build().make(2, whole.channels, whole.strides)
    thin.keep(decoder.reads)
    missing, unknown = thin.load_state_dict(whole.state_dict(), strict=False)
    assert missing == [] and {name.split(".")[2] for name in unknown} == {"0"}
    image = torch.randn(1, 1, 45, 67)
    with torch.no_grad():
        maps, fewer = whole(image), thin(image)
        assert [one.shape for one in fewer] == [one.shape for one in maps]
        assert [bool(one.any()) for one in fewer] == [True, False, True, True, True]
        assert torch.equal(decoder(maps)[0], decoder(fewer)[0])
    for name, _ in thin.named_parameters():
        within = [any(f"{name}.".startswith(f"{prefix}.") for prefix in stage) for stage in thin.stages]
        assert sum(within) == 1, name


def test_every_decoder_is_among_the_pairs(catalogue: Catalogue) -> None:
    assert {spec.name for _, spec in catalogue.of("decoder")} == set(DECODERS)


def test_the_kept_figures_are_of_every_pair_and_none_is_broken(catalogue: Catalogue) -> None:
    document = json.loads(RESULTS.read_text())
    assert document["pairs"] == len(document["rows"]) == document["holds"] + document["refused"]
    assert document["broken"] == 0 and document["holds"] >= 240
    assert {row["decoder"] for row in document["rows"]} == set(DECODERS)


WORKFLOW = """\
voxgraft: 1
name: decoders
data:
  layout: {{use: pairs, path: {data}{layout}}}
  modality: {modality}
  split: {{folds: 2, fold: 0, seed: 7}}
{labels}model:
  dims: {dims}
  encoder: {encoder}
  decoder: {decoder}
training: {{budget: 10 steps, batch: 2, patch: {patch}, device: cpu}}
evaluation: {{metrics: [dice]}}
tracking: null
steps: [check, plan, prepare, train, evaluate]
"""


def folder_of(target: Path, images: list[Path], labels: list[Path]) -> Path:
    for name, files in (("images", images), ("labels", labels)):
        (target / name).mkdir(parents=True)
        for number, file in enumerate(files):
            (target / name / f"case{number}{''.join(file.suffixes)}").symlink_to(file)
    return target


@pytest.mark.parametrize(
    ("decoder", "dims", "encoder"),
    [
        ("{use: segresnet}", 3, "{use: residual, width: 8}"),
        ("{use: unetplusplus, max_width: 64}", 2, "{use: efficientnet-lite0, weights: imagenet}"),
    ],
)
def test_a_workflow_trains_it_on_hippocampi(
    catalogue: Catalogue, data: Path, tmp_path: Path, decoder: str, dims: int, encoder: str
) -> None:
    images = sorted((data / "hippocampus" / "imagesTr").glob("*.nii.gz"))[:4]
    folder = folder_of(tmp_path / "data", images, [data / "hippocampus" / "labelsTr" / one.name for one in images])
    package = trained(
        catalogue,
        tmp_path,
        data=folder,
        layout="",
        modality="mr",
        labels="  labels: {front: 1, back: 2}\n",
        dims=dims,
        encoder=encoder,
        decoder=decoder,
        patch="[24, 32, 24]" if dims == 3 else "[48, 48]",
    )
    contract = package.facts["weights"].get("contract")
    if "imagenet" not in encoder:
        assert contract is None
        return
    assert contract == {
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "channels": 3,
        "smallest": 32,
        "multiple": 32,
        "seen": "colour photographs (ImageNet)",
    }
    assert "these had seen colour photographs (ImageNet) of 3 channels" in (package.folder / "card.md").read_text()


def test_a_workflow_trains_deeplab_on_vessels(catalogue: Catalogue, data: Path, tmp_path: Path) -> None:
    images, labels = (sorted((data / "drive" / name).iterdir())[:4] for name in ("images", "1st_manual"))
    trained(
        catalogue,
        tmp_path,
        data=folder_of(tmp_path / "data", images, labels),
        layout=", channels: [red, green, blue]",
        modality="rgb",
        labels="",
        dims=2,
        encoder="{use: timm, model: resnet18}",
        decoder="{use: deeplabv3plus, low_stride: 2, width: 32}",
        patch="[128, 128]",
    )


def trained(catalogue: Catalogue, folder: Path, **parts: Any) -> Package:
    """Ten steps through a workflow file, after which the validation cases are segmented and scored; the package."""
    path = folder / "workflow.yaml"
    path.write_text(WORKFLOW.format(**parts))
    run = run_workflow(read(path, catalogue), catalogue, folder / "run", progress=Progress(stream=io.StringIO()))
    scores = json.loads((run.folder / "evaluate" / "scores.json").read_text())
    assert set(scores["cases"]) == set(run.split.validation) and len(scores["cases"]) == 2
    table = json.loads((run.folder / "train" / "parameters.json").read_text())
    assert any(row["name"].startswith("decoder.") and row["train"] for row in table)
    return read_package(run.package)
