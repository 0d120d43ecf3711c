"""The page about what is done again lists what the steps declare."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from voxgraft.components.catalogue import Catalogue
from voxgraft.runs.steps import independent

PAGE = Path(__file__).parents[1] / "docs" / "identity.md"


def table_of(declared: Mapping[str, str]) -> str:
    """A row for each reason, with the keys that have it."""
    reasons: dict[str, list[str]] = {}
    for key, reason in declared.items():
        reasons.setdefault(reason, []).append(f"`{key}`")
    rows = [f"| {', '.join(keys)} | {reason} |" for reason, keys in reasons.items()]
    return "\n".join(["| without effect | because |", "| --- | --- |", *rows, ""])


def arrays_table() -> str:
    beyond = {key: reason for key, reason in independent.ARRAYS.items() if key not in independent.PREPARE}
    plan = {f"plan.{key}": reason for key, reason in independent.PLAN_OF_ARRAYS.items()}
    case = {f"case.{key}": reason for key, reason in independent.CASE.items()}
    return table_of({**beyond, **plan, **case})


def test_the_page_lists_what_each_step_declares(catalogue: Catalogue) -> None:
    text = PAGE.read_text(encoding="utf-8")
    for _, spec in catalogue.of("step"):
        assert f"### `{spec.name}`\n\n{table_of(spec.independent_of)}" in text, spec.name
    assert arrays_table() in text
