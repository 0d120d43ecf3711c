"""Masks in colours: a palette's numbers are the structures in every format, and nothing is exchanged in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from voxgraft.checks.dataset import check_path
from voxgraft.errors import BadImage, DataError
from voxgraft.imaging.read import read
from voxgraft.imaging.structures import Labels, check_alike
from voxgraft.imaging.volume import ImageRef
from voxgraft.labels.masks import read_mask
from voxgraft.labels.valid_region import read_valid_region

GREEN_RED_BLUE = [0, 0, 0, 0, 255, 0, 255, 0, 0, 0, 0, 255]
NUMBERS = np.zeros((40, 50), np.uint8)
NUMBERS[5:15, 5:15], NUMBERS[20:36, 20:40], NUMBERS[30:36, 40:45] = 1, 2, 3
LABELS = Labels.of({"vessel": 1, "disc": 2, "lesion": 3})
FORMATS = [".png", ".gif", ".bmp", ".tif"]


def saved(path: Path, numbers: np.ndarray = NUMBERS, colours: Any = GREEN_RED_BLUE, **options: Any) -> Path:
    """A picture with a palette."""
    picture = Image.fromarray(numbers, "P")
    picture.putpalette(list(colours) + [9] * (768 - len(colours)))
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_number_is_the_structure_and_the_colour_for_the_eye(tmp_path, catalogue, suffix) -> None:
    path = saved(tmp_path / f"m{suffix}")
    mask = read_mask(ImageRef(path), None, LABELS, catalogue)
    assert np.array_equal(mask.array.T, NUMBERS) and mask.item is not None
    assert mask.item.palette == {0: (0, 0, 0), 1: (0, 255, 0), 2: (255, 0, 0), 3: (0, 0, 255)}
    assert read(path, catalogue).channels == 3  # as an image it has colours


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes_of_few_bits_keep_their_numbers(tmp_path, catalogue, bits) -> None:
    numbers = NUMBERS % (1 << min(bits, 2))
    path = saved(tmp_path / "m.png", numbers, bits=bits)
    assert np.array_equal(read_mask(ImageRef(path), None, LABELS, catalogue).array.T, numbers)


def test_transparency_changes_no_number(tmp_path, catalogue) -> None:
    path = saved(tmp_path / "m.png", transparency=0)
    assert np.array_equal(read_mask(ImageRef(path), None, LABELS, catalogue).array.T, NUMBERS)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("ramp", [(0, 255, 128, 7), (0, 80, 160, 240), tuple(range(4))])
def test_a_palette_of_greys_is_read_by_its_numbers_too(tmp_path, catalogue, suffix, ramp) -> None:
    colours = [part for grey in (*ramp, *range(4, 256)) for part in (grey,) * 3]
    path = saved(tmp_path / f"m{suffix}", colours=colours)
    assert np.array_equal(read_mask(ImageRef(path), None, LABELS, catalogue).array.T, NUMBERS)


@pytest.mark.parametrize("suffix", FORMATS)
def test_another_black_than_number_0_is_refused(tmp_path, catalogue, suffix) -> None:
    """An editor numbers colours as it meets them: the background may be any."""
    path = saved(tmp_path / f"m{suffix}", colours=[255, 255, 255, 0, 0, 0, 255, 0, 0, 0, 255, 0])
    with pytest.raises(BadImage, match="palette gives black the number 1"):
        read_mask(ImageRef(path), None, LABELS, catalogue)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_colours_without_a_palette_are_refused_with_what_to_do(tmp_path, catalogue, suffix) -> None:
    colours = np.array(GREEN_RED_BLUE, np.uint8).reshape(4, 3)[NUMBERS]
    Image.fromarray(colours).save(tmp_path / f"m{suffix}")
    with pytest.raises(BadImage, match=r"in colours, such as \(0, 0, 255\).*grey picture"):
        read_mask(ImageRef(tmp_path / f"m{suffix}"), None, LABELS, catalogue)
    kept = Labels(Labels.of({"red": 1, "green": 2, "blue": 3}).items, overlap="keep")
    mask = read_mask(ImageRef(tmp_path / f"m{suffix}"), None, kept, catalogue)
    assert np.array_equal(mask.array, np.moveaxis(colours, -1, 0).swapaxes(1, 2) // 255)
    Image.fromarray(np.repeat(NUMBERS[..., None], 3, 2)).save(tmp_path / "grey.png")
    assert np.array_equal(read_mask(ImageRef(tmp_path / "grey.png"), None, LABELS, catalogue).array.T, NUMBERS)


def test_where_a_case_counts_goes_by_numbers(tmp_path, catalogue) -> None:
    path = saved(tmp_path / "v.png", (NUMBERS > 0).astype(np.uint8))
    like = read_mask(ImageRef(path), None, None, catalogue)
    assert np.array_equal(read_valid_region(ImageRef(path), like, catalogue, "c").T, NUMBERS > 0)


def test_palettes_that_differ_in_what_is_used_are_refused() -> None:
    check_alike([("a", {0: (0, 0, 0), 1: (1, 1, 1)}), ("b", {0: (0, 0, 0), 2: (2, 2, 2)})])
    with pytest.raises(DataError, match=r"the value 1 is the colour \(0, 255, 0\) in a and \(255, 0, 0\) in b"):
        check_alike([("a", {1: (0, 255, 0)}), ("b", {1: (255, 0, 0)})])


@pytest.mark.parametrize("reordered", [False, True])
def test_check_finds_the_file_whose_palette_was_ordered_anew(tmp_path, catalogue, reordered) -> None:
    root = tmp_path / "Dataset001_Eye"
    (root / "imagesTr").mkdir(parents=True)
    (root / "labelsTr").mkdir()
    rng = np.random.default_rng(3)
    for k in range(6):
        Image.fromarray(rng.integers(0, 255, NUMBERS.shape).astype(np.uint8)).save(root / f"imagesTr/c{k}_0000.png")
        saved(root / f"labelsTr/c{k}.png", np.roll(NUMBERS, k % 2, 0))
    if reordered:
        order = np.array([0, 2, 1, 3], np.uint8)
        saved(root / "labelsTr/c4.png", order[NUMBERS], [0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    labels = {"background": 0, **dict(zip(LABELS.names, LABELS.values, strict=True))}
    description = {"channel_names": {"0": "x"}, "labels": labels, "numTraining": 6, "file_ending": ".png"}
    (root / "dataset.json").write_text(json.dumps(description))
    _, findings = check_path(root, catalogue)
    assert [problem.code for problem in findings.errors] == ["palettes-differ"] * reordered
    assert {row["name"]: round(row["share"] * NUMBERS.size) for row in findings.figures["structures"]} == (
        {"vessel": 100, "disc": 320, "lesion": 30} if not reordered else {"vessel": 137, "disc": 283, "lesion": 30}
    )
