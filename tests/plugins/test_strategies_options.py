"""Absurd options of strategies: each is refused in one sentence that names it, before anything is done."""

from __future__ import annotations

from typing import Any

from voxgraft.components.catalogue import Catalogue
from voxgraft.errors import UsageError
from voxgraft.workflow.workflow import from_document
from voxgraft_plugins.teaching import STRATEGIES as TEACHING
from voxgraft_plugins.transfer import STRATEGIES

NEEDED: dict[str, dict[str, Any]] = {"distil": {"teacher": "models:/other@champion"}}
NO_NUMBER = (float("nan"), float("inf"), float("-inf"), "nan%", "inf%", "many", [[]], {"a": 1})
FAR = (-1e300, 1e300, -(10**40), 10**40)
ANY = {
    ("co-training", "seed"),
    ("distil", "teacher"),
    ("distil", "level"),
    ("adversarial", "stage"),
    ("freeze", "stages"),
    ("fine-tune", "from_stage"),
}
"""A seed may be any; only the encoder knows how many stages and maps there are, and refuses others before training."""


def refused(catalogue: Catalogue, options: dict[str, Any]) -> str:
    """What is said of a workflow with this strategy; nothing where it is taken."""
    written = {
        "name": "options",
        "data": {"layout": {"use": "pairs", "path": "here"}, "modality": "mr", "labels": {"square": 1}},
        "model": {"dims": 2, "encoder": {"use": "residual", "weights": "file:x.pth"}, "decoder": "unet"},
        "transfer": [options],
    }
    try:
        from_document(written, catalogue)
    except UsageError as error:
        return str(error)
    return ""


def fields(catalogue: Catalogue) -> list[tuple[str, str]]:
    specs = {spec.name: spec for _, spec in catalogue.of("strategy")}
    names = [*STRATEGIES, *TEACHING]
    return [(name, field) for name in names for field in dict(specs[name].options().model_fields)]


def test_what_is_no_number_or_beyond_all_measure_is_refused(catalogue: Catalogue) -> None:
    numbers = 0
    for name, field in fields(catalogue):
        base = {"use": name, **NEEDED.get(name, {})}
        assert refused(catalogue, base) == ""
        assert f"transfer.0.{field}" in refused(catalogue, {**base, field: {"a": 1}})
        said = {repr(value): refused(catalogue, {**base, field: value}) for value in (*NO_NUMBER, *FAR)}
        lets = [value for value, what in said.items() if not what]
        assert lets == [] or (name, field) in ANY, f"{name}.{field} takes {lets}"
        lines = [line for what in said.values() for line in what.splitlines()]
        assert all(f"transfer.0.{field}" in line and len(line) < 300 for line in lines)
        numbers += 1
    assert numbers > 50
