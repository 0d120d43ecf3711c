"""Tests of pretrained tensors: every one is accounted for, too few are refused, and no file runs code."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import AfterValidator, BaseModel, ValidationError
from safetensors.torch import save_file
from torch import nn

from voxgraft.errors import ModelError
from voxgraft.networks.options import weights_option
from voxgraft.networks.sources import check_sha256, named_weights, packaged_file
from voxgraft.networks.weights import Weights, fit_channels, load_weights, read_tensors
from voxgraft.support.files import sha256


def small(channels: int = 1) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(channels, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3))


def test_every_tensor_is_accounted_for() -> None:
    source = small(3).state_dict()
    source["0.weight"] = source["0.weight"] + 1
    extra = {**source, "head.weight": torch.zeros(2), "1.running_mean": torch.zeros(9)}
    net = small(1)
    report = load_weights(net, Weights(extra, origin="here", licence="MIT"))
    assert report.adapted == ("0.weight",)
    assert report.new == ("1.running_mean",)
    assert report.dropped == ("head.weight",)
    assert set(report.loaded) == set(source) - {"0.weight", "1.running_mean"}
    numbers = sum(one.numel() for one in net.state_dict().values() if one.is_floating_point())
    assert report.share == pytest.approx(1 - 8 / numbers), "statistics count, the counter of batches does not"
    assert report.pretrained == set(report.loaded) | {"0.weight"}
    assert str(report).startswith("here (MIT): 98% of the encoder's parameters; 7 tensors loaded, 1 adapted (")
    assert ", 1 dropped. Warning: without the statistics of 1 BatchNorm layer" in str(report)
    assert torch.equal(net.state_dict()["0.weight"], source["0.weight"].sum(1, keepdim=True))
    assert torch.equal(net.state_dict()["2.weight"], source["2.weight"])


def test_the_share_counts_numbers_not_tensors() -> None:
    state = small().state_dict()
    del state["2.weight"]
    net = small()
    total = sum(one.numel() for one in net.state_dict().values() if one.is_floating_point())
    report = load_weights(net, Weights(state, origin="here"), at_least=0.0)
    assert report.share == pytest.approx((total - 8 * 8 * 9) / total)


def test_all_of_it_is_said_of_the_whole_only() -> None:
    """Statistics are a few of many numbers: without them it is not 100 %, however the share is rounded."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Conv2d(3, 64, 7), nn.BatchNorm2d(64), nn.Conv2d(64, 64, 7))
    state = net.state_dict()
    bare = {name: one for name, one in state.items() if "running" not in name}
    report = load_weights(net, Weights(bare, origin="here"))
    assert report.share > 0.999 and str(report).startswith("here (licence not stated): 99% of")
    assert "without the statistics of 1 BatchNorm layer" in str(report)
    uncounted = {name: one for name, one in state.items() if "num_batches" not in name}
    report = load_weights(net, Weights(uncounted, origin="here"))
    assert report.share == 1.0 and ": 100% of" in str(report) and "Warning" not in str(report)


def test_too_few_matching_tensors_are_refused() -> None:
    state = small().state_dict()
    del state["2.weight"]
    with pytest.raises(ModelError, match=r"weights here: only 17% .* 90% are needed; .*first missing: 2\.weight"):
        load_weights(small(), Weights(state, origin="here"))
    with pytest.raises(ModelError, match="not for this encoder"):
        load_weights(small(), Weights({"other": torch.zeros(1)}, origin="here"))


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_a_fitted_first_convolution_answers_a_grey_image_alike(channels: int) -> None:
    weight = torch.randn(8, 3, 3, 3)
    image = torch.randn(1, 1, 9, 9)
    fitted = nn.functional.conv2d(image.expand(-1, channels, -1, -1), fit_channels(weight, channels))
    if channels in (1, 3):
        wanted = nn.functional.conv2d(image.expand(-1, 3, -1, -1), weight)
        assert torch.allclose(fitted, wanted, atol=1e-5)
    assert fit_channels(weight, channels).shape == (8, channels, 3, 3)


class Evil:
    """Unpickling it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def hostile_files(folder: Path) -> dict[str, Path]:
    good = folder / "good.pth"
    torch.save({"weight": torch.randn(64, 64)}, good)
    safe = folder / "good.safetensors"
    save_file({"weight": torch.randn(64, 64)}, safe)
    files = {name: folder / name for name in ("evil.pth", "raw.pth", "list.pth", "text.pth", "empty.pth")}
    torch.save({"weight": Evil(folder / "ran")}, files["evil.pth"])
    files["raw.pth"].write_bytes(pickle.dumps(Evil(folder / "ran")))
    torch.save([torch.zeros(2)], files["list.pth"])
    files["text.pth"].write_text("no weights")
    files["empty.pth"].touch()
    for path in (good, safe):
        for cut in (20, 2000):
            files[f"{cut}-{path.name}"] = folder / f"{cut}-{path.name}"
            files[f"{cut}-{path.name}"].write_bytes(path.read_bytes()[:cut])
    files["missing.pth"] = folder / "missing.pth"
    files["missing.safetensors"] = folder / "missing.safetensors"
    files["folder"] = folder
    return files


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_no_file_runs_code_and_every_bad_file_is_one_sentence(tmp_path: Path) -> None:
    for name, path in hostile_files(tmp_path).items():
        with pytest.raises(ModelError) as caught:
            read_tensors(path)
        assert str(path) in str(caught.value), name
        assert "\n" not in str(caught.value), name
    assert not (tmp_path / "ran").exists(), "a file of weights ran its code"
    torch.save({"weight": Evil(tmp_path / "ran")}, tmp_path / "proof.pth")
    torch.load(tmp_path / "proof.pth", weights_only=False)
    assert (tmp_path / "ran").exists(), "the hostile file is not hostile: this test proves nothing"


@pytest.mark.parametrize("key", ["", "state_dict", "model", "network_weights"])
def test_checkpoints_of_others_are_read(tmp_path: Path, key: str) -> None:
    tensors = {"weight": torch.randn(3)}
    torch.save({key: tensors, "epoch": 3} if key else tensors, tmp_path / "other.pth")
    assert torch.equal(read_tensors(tmp_path / "other.pth")["weight"], tensors["weight"])


def test_a_file_gives_its_encoder_and_its_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "network.safetensors"
    save_file({"encoder.a": torch.ones(2), "decoder.b": torch.ones(2)}, path)
    weights = named_weights(f"file:{path}")
    assert weights is not None
    assert list(weights.tensors) == ["a"]
    assert (weights.origin, weights.sha256) == ("network.safetensors", sha256(path))
    save_file({"a": torch.ones(2), "b": torch.ones(2)}, path)
    weights = named_weights(f"file:{path}")
    assert weights is not None
    assert sorted(weights.tensors) == ["a", "b"]
    assert named_weights("none") is None


def test_a_registered_model_gives_its_encoder(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    plan = SimpleNamespace(modality="ct", channels=("plain", "contrast"))
    package = SimpleNamespace(weights=path, hash="0123456789abcdef", facts={"licence": "CC0"}, plan=plan)
    asked: list[str] = []
    models = SimpleNamespace(resolve=lambda reference: asked.append(reference) or package)
    save_file({"encoder.a": torch.ones(2), "heads.0.weight": torch.ones(2)}, path)
    weights = named_weights("models:/liver@champion", models)
    assert weights is not None
    assert asked == ["models:/liver@champion"]
    assert list(weights.tensors) == ["a"]
    assert (weights.origin, weights.licence) == ("models:/liver@champion (0123456789ab)", "CC0")
    assert weights.contract is not None
    assert (weights.contract.channels, weights.contract.seen[:28]) == (2, "CT images (plain, contrast),")
    save_file({"heads.0.weight": torch.ones(2)}, path)
    with pytest.raises(ModelError, match="not a model with an encoder"):
        named_weights("models:/liver@champion", models)


def test_files_of_packages_are_found_without_importing_them() -> None:
    path, version = packaged_file("deepbet", "data/models/model.pt", "voxgraft[demo]")
    assert path.is_file()
    assert version
    assert "deepbet" not in sys.modules
    with pytest.raises(ModelError, match=r"pip install 'voxgraft\[demo\]'"):
        packaged_file("no-such-package-at-all", "model.pt", "voxgraft[demo]")
    with pytest.raises(ModelError, match="has no file"):
        packaged_file("deepbet", "no-such-file.pt", "voxgraft[demo]")


def test_another_file_than_the_known_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"known")
    known = sha256(path)
    assert check_sha256(path, known) == known
    path.write_bytes(b"other")
    with pytest.raises(ModelError, match=r"weights\.pth: is not the file .* reinstall the package"):
        check_sha256(path, known)


@pytest.mark.parametrize("value", ["", "imagnet", "file:", "models:/", "models:liver", "http://x/y.pth", "../a.pth"])
def test_words_that_name_no_weights_are_refused(value: str) -> None:
    from typing import Annotated

    class Options(BaseModel):
        weights: Annotated[str, AfterValidator(weights_option("none", "imagenet"))]

    with pytest.raises(ValidationError, match="write none, imagenet, file:PATH or models:/NAME@ALIAS"):
        Options(weights=value)
    for good in ("none", "imagenet", "file:a.pth", "models:/liver@champion", "runs:/abc"):
        assert Options(weights=good).weights == good
