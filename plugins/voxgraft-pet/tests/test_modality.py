"""Both components pass the conformance checks of their kinds; the modality keeps uptake values comparable."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from voxgraft.plugin import KnowsUnits, UsageError
from voxgraft.testing import ConformanceCheck, NotApplicable, Subject, conformance_checks
from voxgraft_pet.modality import PetModality
from voxgraft_pet.options import PetOptions

MEASURED = {"min": 0.0, "max": 40.0, "mean": 5.0, "std": 4.0, "p00_5": 0.1, "p50": 4.0, "p99_5": 18.0}
BODY = {"min": -1024.0, "max": 1500.0, "mean": 40.0, "std": 60.0, "p00_5": -150.0, "p50": 45.0, "p99_5": 200.0}
CHECKS = [
    (kind, name, check)
    for kind, name in (("modality", "pet"), ("measurement", "uptake"))
    for check in conformance_checks(kind)
]


@pytest.mark.parametrize(("kind", "name", "check"), CHECKS, ids=str)
def test_it_passes(kind: str, name: str, check: ConformanceCheck, tmp_path: Path) -> None:
    try:
        check.run(Subject.of(kind, name), tmp_path)
    except NotApplicable as reason:
        pytest.skip(str(reason))


def test_equal_uptake_is_equal_in_every_image() -> None:
    modality = PetModality(PetOptions(clip=(0, 20)))
    params = modality.plan([MEASURED])
    hot, cold = (np.array([[[[12.0, 3.0, high]]]], np.float32) for high in (50.0, 4.0))
    one, other = modality.normalise(hot, params), modality.normalise(cold, params)
    assert one[0, 0, 0, 0] == other[0, 0, 0, 0] == (12.0 - 5.0) / 4.0
    assert one[0, 0, 0, 2] == (20.0 - 5.0) / 4.0  # clipped


def test_pet_and_ct_each_have_their_own_numbers() -> None:
    modality = PetModality(PetOptions(channels=("suv", "hu")))
    params = modality.plan([MEASURED, BODY])
    assert (params[0]["high"], params[1]["low"]) == (30.0, -1000.0)
    assert isinstance(modality, KnowsUnits) and modality.units(params) == ["g/ml", "HU"]
    out = modality.normalise(np.array([[[5.0, np.nan]], [[100.0, -3000.0]]], np.float32), params)
    np.testing.assert_allclose(out, [[[0.0, -1.25]], [[1.0, -1040 / 60]]], rtol=1e-6)
    pet, ct = np.array([0.0, 12.0]), np.array([-1000.0, 900.0])
    assert modality.window(pet) == (0.0, 10.0) and modality.window(ct) == (-160.0, 240.0)


def test_channels_that_nobody_named_are_refused() -> None:
    with pytest.raises(UsageError, match="names 1 and the images have 2"):
        PetModality(PetOptions()).plan([MEASURED, BODY])


@pytest.mark.parametrize("options", [{"clip": (5, 5)}, {"channels": ()}, {"channels": ("bq",)}, {"window": (9, 1)}])
def test_options_that_cannot_be_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PetOptions.model_validate(options)


def test_each_piece_of_yaml_of_the_page_is_one_of_a_workflow() -> None:
    page = (Path(__file__).parents[3] / "docs" / "pet.md").read_text(encoding="utf-8")
    pieces = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", page, re.M | re.S)]
    assert len(pieces) > 1
    call = [sys.executable, "-m", "voxgraft", "schema"]
    schema = json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout)
    for piece in pieces:
        data = {"layout": {"use": "decathlon", "path": "x"}, "modality": "pet", **piece["data"]}
        model = {"encoder": {"use": "residual", "weights": "none"}, "decoder": "unet"}
        jsonschema.validate({"voxgraft": 1, "name": "x", "data": data, "model": model, "tracking": None}, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"voxgraft": 1, "name": "x", "data": {**data, "petal": 1}, "model": model}, schema)
