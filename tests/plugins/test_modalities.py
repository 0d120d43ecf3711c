"""Tests of the modalities: what normalisation promises, also for images that are hardly images."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from voxgraft.components.catalogue import Catalogue
from voxgraft.components.choice import choose
from voxgraft.preprocessing.modality import Modality, ModalitySpec, modality_for
from voxgraft.training.augment import augment

NAMES = ("ct", "mr", "image", "rgb")
MEASURED = {"min": 0.0, "max": 200.0, "mean": 100.0, "std": 20.0, "p00_5": 50.0, "p50": 100.0, "p99_5": 150.0}


def make(catalogue: Catalogue, use: str, **options: Any) -> Modality:
    made: Modality = choose(catalogue, "modality", {"use": use, **options}).build()
    return made


def image(seed: int = 0, shape: tuple[int, ...] = (1, 12, 10, 8)) -> Any:
    return np.random.default_rng(seed).normal(100, 20, shape).astype(np.float32)


def normalised(modality: Modality, array: Any) -> Any:
    return modality.normalise(array, modality.plan([MEASURED] * len(array)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda a: np.zeros_like(a),
        lambda a: np.full_like(a, 7.25),
        lambda a: np.full_like(a, np.nan),
        lambda a: np.full_like(a, -np.inf),
        lambda a: np.where(a > 120, np.nan, a),
        lambda a: np.where(a > 120, np.inf, np.where(a < 80, -np.inf, a)),
        lambda a: np.where(a > 130, np.float32(3e38), a),
        lambda a: a.astype(np.float64) * 1e300,
        lambda a: np.where(a > 120, 0, 1).astype(bool),
        lambda a: (a * 300).astype(np.uint16),
        lambda a: np.full_like(a, 1e6),
        lambda a: (a * 1e-30).astype(np.float32),
    ],
)
def test_nothing_but_finite_float32_comes_out(catalogue: Catalogue, name: str, spoil: Any) -> None:
    array = spoil(image())
    before = array.copy()
    result = normalised(make(catalogue, name), array)
    assert result.dtype == np.float32 and result.shape == array.shape and np.isfinite(result).all()
    assert np.array_equal(array, before, equal_nan=array.dtype.kind == "f")


@pytest.mark.parametrize("name", NAMES)
def test_the_same_image_gives_the_same_bits_in_any_memory_order(catalogue: Catalogue, name: str) -> None:
    modality, array = make(catalogue, name), image()
    other = np.asfortranarray(array[0].astype(">f4"))[None]
    assert np.array_equal(normalised(modality, array), normalised(modality, array))
    assert np.allclose(normalised(modality, array), normalised(modality, other), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "measured", [{}, dict.fromkeys(MEASURED, 0.0), dict.fromkeys(MEASURED, float("nan")), MEASURED]
)
def test_the_plan_is_plain_finite_numbers_and_all_that_normalise_needs(
    catalogue: Catalogue, name: str, measured: Any
) -> None:
    params = make(catalogue, name).plan([measured])
    again = json.loads(json.dumps(params, allow_nan=False))
    assert np.isfinite(make(catalogue, name).normalise(image(), again)).all()


def test_ct_is_clipped_and_scaled_by_the_foreground_of_the_training_cases(catalogue: Catalogue) -> None:
    array = np.array([[-1000.0, 50.0, 100.0, 150.0, 3000.0, np.nan]])
    assert normalised(make(catalogue, "ct"), array)[0].tolist() == [-2.5, -2.5, 0.0, 2.5, 2.5, -2.5]
    assert normalised(make(catalogue, "ct", clip=[0, 120]), array)[0].tolist() == [-5.0, -2.5, 0.0, 1.0, 1.0, -5.0]


def test_ct_means_the_same_in_every_image(catalogue: Catalogue) -> None:
    small, large = image()[:, :4], image()
    assert np.array_equal(normalised(make(catalogue, "ct"), small), normalised(make(catalogue, "ct"), large)[:, :4])


@pytest.mark.parametrize("name", ["mr", "image"])
def test_mr_and_image_have_mean_0_and_deviation_1_on_any_scale(catalogue: Catalogue, name: str) -> None:
    modality, array = make(catalogue, name), image()
    result = normalised(modality, array)
    assert result.mean() == pytest.approx(0, abs=1e-4) and result.std() == pytest.approx(1, abs=1e-3)
    assert np.allclose(normalised(modality, array * 37 + 1000), result, atol=1e-3)


def test_mr_measures_the_brain_alone_where_the_skull_is_stripped(catalogue: Catalogue) -> None:
    array = image()
    array[:, :6] = 0
    result = normalised(make(catalogue, "mr"), array)
    assert (result[:, :6] == 0).all()
    assert result[:, 6:].mean() == pytest.approx(0, abs=1e-4) and result[:, 6:].std() == pytest.approx(1, abs=1e-3)
    array[:, 3:6] = 1
    assert normalised(make(catalogue, "mr"), array)[:, :3].max() < 0  # a quarter of zeros is an image, no mask
    assert (normalised(make(catalogue, "mr", stripped="yes"), array)[:, :3] == 0).all()


def test_each_channel_is_normalised_by_itself(catalogue: Catalogue) -> None:
    pair = np.concatenate([image(1), image(2) * 50 + 9])
    both = normalised(make(catalogue, "mr"), pair)
    assert np.array_equal(both[1:], normalised(make(catalogue, "mr"), pair[1:]))


def test_clipping_takes_the_force_from_a_spike(catalogue: Catalogue) -> None:
    array = image()
    array[0, 0, 0, 0] = 1e6
    assert normalised(make(catalogue, "mr"), array).max() > 30
    assert normalised(make(catalogue, "mr", clip=True), array).max() < 4
    assert normalised(make(catalogue, "image"), array).max() < 4


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_rgb_gives_what_imagenet_networks_saw(catalogue: Catalogue, dtype: Any, white: float) -> None:
    modality = make(catalogue, "rgb")
    params = modality.plan([{**MEASURED, "max": white}] * 3)
    result = modality.normalise(np.full((3, 2, 2), white, dtype), params)
    assert result[:, 0, 0].tolist() == pytest.approx([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])
    assert modality.window(np.full((2, 2), white, dtype)) == (0.0, white)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("array", [image()[0], np.zeros((4, 4)), np.full((4, 4), 5), np.full((4, 4), np.nan)])
def test_black_is_darker_than_white(catalogue: Catalogue, name: str, array: Any) -> None:
    black, white = make(catalogue, name).window(array)
    assert np.isfinite([black, white]).all() and black < white


def test_ct_is_shown_in_a_soft_tissue_window(catalogue: Catalogue) -> None:
    assert make(catalogue, "ct").window(image()[0]) == (-160.0, 240.0)
    assert make(catalogue, "ct", window=[-1000, 400]).window(image()[0]) == (-1000.0, 400.0)


@pytest.mark.parametrize("name", NAMES)
def test_augmentation_knows_every_strength_and_mirrors_only_when_asked(catalogue: Catalogue, name: str) -> None:
    torch = pytest.importorskip("torch")
    strengths = make(catalogue, name).augmentation
    assert strengths["mirror"] == 0 and strengths["rotation"] > 0
    assert make(catalogue, name, augmentation={"mirror": 1, "rotation": 0}).augmentation == {
        **strengths,
        "mirror": 1,
        "rotation": 0,
    }
    block = torch.from_numpy(image(shape=(2, 1, 12, 12, 12)))
    patch, _ = augment(block, torch.zeros(2, 12, 12, 12, dtype=torch.uint8), (8, 8, 8), (1, 1, 1), strengths, seed=3)
    assert patch.shape == (2, 1, 8, 8, 8) and torch.isfinite(patch).all()


@pytest.mark.parametrize(
    "options", [{"use": "ct", "clip": [5, 5]}, {"use": "mr", "augmentation": {"twist": 1}}, {"use": "rgb", "white": 0}]
)
def test_options_that_make_no_sense_are_refused(catalogue: Catalogue, options: Any) -> None:
    with pytest.raises(ValidationError):
        choose(catalogue, "modality", options)


def test_dicom_codes_lead_to_one_modality_each(catalogue: Catalogue) -> None:
    codes = [code for _, spec in catalogue.of("modality") for code in getattr(spec, "dicom", ())]
    assert len(codes) == len(set(codes)) and {"CT", "MR", "DX", "US", "MG", "CR"} <= set(codes)


def test_of_two_modalities_for_a_code_the_more_special_one_is_proposed(catalogue: Catalogue) -> None:
    specs = [spec for _, spec in catalogue.of("modality")]
    own = ModalitySpec(name="uptake", summary="PET", dicom=("PT",), build=lambda options: None)
    assert modality_for("PT", specs) == "image" and modality_for("PT", [*specs, own]) == "uptake"
    assert modality_for("CT", [*specs, own]) == "ct" and modality_for("ZZ", specs) is None
