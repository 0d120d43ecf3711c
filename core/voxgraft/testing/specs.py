"""Conformance checks of specs: what every component says about itself, whatever its kind."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from ..imaging.formats import ReaderSpec, WriterSpec
from .conformance import Subject, check, require

HEAVY = ("torch", "monai", "mlflow", "numpy", "pydantic", "pydicom", "nibabel", "SimpleITK", "scipy")


@check("spec", "its name and summary can stand in a workflow and in a list")
def _its_name_can_stand_in_a_workflow(subject: Subject, folder: Path) -> None:
    spec = subject.spec
    require(re.fullmatch(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?", spec.name), f"{spec.name!r} is not a lower-case word")
    require(
        0 < len(spec.summary) <= 120 and "\n" not in spec.summary, "its summary is not one line of 1 to 120 characters"
    )
    endings = spec.suffixes if isinstance(spec, ReaderSpec | WriterSpec) else ()
    require(
        all(ending == ending.lower() and ending.startswith(".") for ending in endings),
        f"its suffixes {endings} are not lower-case endings with a dot",
    )


@check("spec", "its options are described, and unknown ones are refused")
def _its_options_are_described(subject: Subject, folder: Path) -> None:
    from pydantic import ValidationError

    model = subject.spec.options()
    for name, option in model.model_json_schema().get("properties", {}).items():
        require(
            "description" in option or "$ref" in option or "allOf" in option, f"the option {name!r} has no description"
        )
    try:
        model.model_validate({"no_such_option_of_anything": 1})
    except ValidationError as error:
        kinds = {one["type"] for one in error.errors()}
        require("extra_forbidden" in kinds, "it accepts an option that it does not know")
    else:
        raise AssertionError("it accepts an option that it does not know")


@check("spec", "importing its spec imports nothing heavy")
def _its_spec_is_light(subject: Subject, folder: Path) -> None:
    module = subject.catalogue.origin(subject.spec).module
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}; import {module}; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    require(done.returncode == 0, f"importing {module} fails: {done.stderr.strip()[-200:]}")
    require(not done.stdout.strip(), f"importing {module} imports {done.stdout.strip()}")
