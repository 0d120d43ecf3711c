"""Tests of files that are not weights: each is told for what it is, with what mends it, and nothing in it is run."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from voxgraft.errors import ModelError
from voxgraft.networks.weights import read_tensors

TENSORS = {"a.weight": torch.arange(4000.0), "b.weight": torch.ones(40)}
PAGE = b"\n<!DOCTYPE html><html><head><title>404</title></head></html>"


def archive(tmp_path: Path) -> bytes:
    torch.save(TENSORS, tmp_path / "whole.pth")
    return (tmp_path / "whole.pth").read_bytes()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty; download it again"),
        (PAGE, "is a web page, not weights"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n", "git lfs pull"),
    ],
)
def test_what_was_saved_instead_of_weights_is_named(tmp_path: Path, suffix: str, content: bytes, told: str) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=told):
        read_tensors(path)


@pytest.mark.parametrize(("share", "told"), [(0.5, r"holds [\d,]+ of 1[67],\d{3} bytes"), (0.003, "within its header")])
def test_a_safetensors_file_that_is_cut_off_says_so(tmp_path: Path, share: float, told: str) -> None:
    whole = save(TENSORS)
    (tmp_path / "w.safetensors").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ModelError, match=f"is cut off: .*{told}.*download it again"):
        read_tensors(tmp_path / "w.safetensors")


def test_an_archive_that_is_cut_off_says_so(tmp_path: Path) -> None:
    whole = archive(tmp_path)
    (tmp_path / "w.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="is cut off or damaged; download it again"):
        read_tensors(tmp_path / "w.pth")


def test_an_archive_under_a_wrong_ending_is_told_from_one_that_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(archive(tmp_path))
    with pytest.raises(ModelError, match="is not a safetensors file, whatever its name says"):
        read_tensors(tmp_path / "w.safetensors")


def test_a_folder_is_no_file_of_weights(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a folder; name the file of weights in it"):
        read_tensors(tmp_path)


class Hostile:
    """Unpickled without care it would make a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_code_in_a_pickle_is_not_run_and_nothing_but_the_sentence_is_said(tmp_path: Path) -> None:
    mark = tmp_path / "it ran"
    (tmp_path / "w.pth").write_bytes(pickle.dumps(Hostile(mark), protocol=4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ModelError, match=r"without running code.*save its tensors alone"):
            read_tensors(tmp_path / "w.pth")
    assert not mark.exists()
