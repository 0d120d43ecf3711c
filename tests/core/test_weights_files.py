"""Files of weights that are wrong: none is loaded in part, none takes memory it has not, each is a sentence."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from voxgraft.errors import ModelError
from voxgraft.networks.sources import named_weights
from voxgraft.networks.weights import Weights, load_weights, read_tensors

HUGE = 10**12


def small() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3))


def kept(path: Path, tensors: dict[str, Tensor]) -> Path:
    save_file(tensors, path) if path.suffix == ".safetensors" else torch.save(tensors, path)
    return path


def load(path: Path, net: nn.Module) -> Any:
    weights = named_weights(f"file:{path}")
    assert weights is not None
    return load_weights(net, weights)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_values_that_are_no_numbers_are_refused_and_nothing_is_loaded(
    tmp_path: Path, suffix: str, value: float
) -> None:
    state = {name: one + 1 for name, one in small().state_dict().items()}
    state["2.weight"] = state["2.weight"].double()
    state["2.weight"][0, 0, 0, 0] = value
    net, before = small(), small().state_dict()
    with pytest.raises(ModelError, match=r"weights w\..*: 2\.weight contains NaN or infinite values"):
        load(kept(tmp_path / f"w{suffix}", state), net)
    assert all(torch.equal(one, before[name]) for name, one in net.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_other_floating_numbers_compute_nearly_the_same(tmp_path: Path, suffix: str, dtype: torch.dtype) -> None:
    source, net = small().eval(), small().eval()
    nn.init.normal_(source[0].weight)
    state = {name: one.to(dtype) if one.is_floating_point() else one for name, one in source.state_dict().items()}
    assert load(kept(tmp_path / f"w{suffix}", state), net).share == 1.0
    assert all(one.dtype == torch.float32 for one in net.parameters())
    image = torch.randn(1, 3, 12, 12)
    with torch.no_grad():
        assert float((net(image) - source(image)).norm() / source(image).norm()) < 1e-2


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.bool, torch.int64])
def test_whole_numbers_are_no_weights(tmp_path: Path, dtype: torch.dtype) -> None:
    """A quantised network's tensors mean nothing without their scales."""
    state = {name: (one * 100).to(dtype) for name, one in small().state_dict().items()}
    with pytest.raises(ModelError, match=r"only 0% .* not for this encoder \(first missing: 0\.weight"):
        load(kept(tmp_path / "w.safetensors", state), small())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("state", [{}, {"0.weight": torch.zeros(0)}, {"0.weight": torch.zeros(())}])
def test_a_file_without_weights_is_not_for_this_encoder(tmp_path: Path, suffix: str, state: dict[str, Tensor]) -> None:
    with pytest.raises(ModelError, match="only 0% of the encoder's parameters were found"):
        load(kept(tmp_path / f"w{suffix}", state), small())


def test_a_tensor_that_repeats_one_element_is_refused(tmp_path: Path) -> None:
    """A file of a few bytes could otherwise ask for a sum over a million million of them."""
    every, some = torch.zeros(1).expand(8, HUGE, 3, 3), torch.zeros(5).as_strided((3, 3), (1, 1))
    for number, claimed in enumerate([every, some]):
        torch.save({"0.weight": claimed}, tmp_path / f"{number}.pth")
        assert (tmp_path / f"{number}.pth").stat().st_size < 10_000
        with pytest.raises(ModelError, match="does not hold a plain dictionary of tensors"):
            read_tensors(tmp_path / f"{number}.pth")


def test_tensors_that_share_their_elements_are_read(tmp_path: Path) -> None:
    one = torch.randn(4, 4)
    torch.save({"a": one, "b": one, "c": one.T, "d": one[:2]}, tmp_path / "w.pth")
    found = read_tensors(tmp_path / "w.pth")
    assert torch.equal(found["c"], one.T) and torch.equal(found["d"], one[:2]) and torch.equal(found["b"], one)


def claims(count: int, shape: list[int], dtype: str = "F32") -> bytes:
    """The beginning of a safetensors file whose header claims a tensor."""
    header = json.dumps({"0.weight": {"dtype": dtype, "shape": shape, "data_offsets": [0, count]}}).encode()
    return struct.pack("<Q", len(header)) + header


@pytest.mark.parametrize(
    "content",
    [
        claims(4 * HUGE, [HUGE]) + bytes(64),
        claims(64, [HUGE]) + bytes(64),
        claims(64, [2**33, 2**33]) + bytes(64),
        claims(64, [-16]) + bytes(64),
        claims(64, [16], "F33") + bytes(64),
        claims(64, [16]) + bytes(63),
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 100_000) + b'{"a":' * 20_000,
    ],
    ids=["more than is there", "its own offsets", "overflow", "negative", "no dtype", "cut", "header", "list", "deep"],
)
def test_a_header_that_lies_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"w\.safetensors: is (cut off|damaged|not a safetensors file)") as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)


def test_an_archive_that_unpacks_to_more_than_any_network_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.pth"
    torch.save({"a": torch.zeros(3)}, path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/9", bytes(2**21))
    assert path.stat().st_size < 10_000
    monkeypatch.setattr("voxgraft.networks.weights.LARGEST", 2**20)
    monkeypatch.setattr(torch, "load", lambda *a, **k: pytest.fail("it was opened"))
    with pytest.raises(ModelError, match="more than any file of weights"):
        read_tensors(path)


def test_a_number_of_channels_that_fits_no_network_is_refused_in_a_sentence() -> None:
    tensors = {"0.weight": torch.randn(9, 3, 3, 3), "2.weight": torch.randn(8, 8, 5, 5)}
    with pytest.raises(ModelError, match="only 0% of the encoder's parameters"):
        load_weights(small(), Weights(tensors, origin="here"))
