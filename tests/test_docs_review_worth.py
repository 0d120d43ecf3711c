"""What docs/review_worth.md says is what the benchmarks found, and the keys that it explains are those of a summary."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from review_worth_tables import charts_table, delays_table, families_table
from voxgraft.components.catalogue import Catalogue
from voxgraft.review.state.state import ReviewState
from voxgraft.review.worth.charts import DECISION, SLACK
from voxgraft.review.worth.snapshot import Snapshot
from voxgraft.review.worth.summary import summary_of

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "review_worth.md").read_text()


def result(name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
    return found


def test_the_figures_of_the_charts_are_those_of_the_benchmark() -> None:
    found = result("control_charts")
    for row in (*charts_table(found), *delays_table(found), *families_table(found)):
        assert row in TEXT.splitlines(), row
    assert f"slack {SLACK:g}, decision value {DECISION:g}" in TEXT
    assert f"over {found['replicates']} simulated hospitals" in TEXT


def test_the_keys_of_a_summary_are_explained(tmp_path: Path, catalogue: Catalogue) -> None:
    from voxgraft.review.state.audit import Read

    document = summary_of(Snapshot(tmp_path, catalogue, {}, ReviewState(), Read()))
    keys = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ", TEXT.partition("| key of")[2].partition("\n\n")[0], re.M)
    explained = {key.strip("` ") for row in keys for key in row.split(",")}
    assert explained == set(document) - {"tolerance_mm"}


def test_the_figures_of_the_loop_are_those_of_the_benchmark() -> None:
    found: Any = result("review_loop")
    text = " ".join(TEXT.split())
    for row in found["fresh"].values():
        mean = row["dice"]["mean"]
        assert f"| {mean['mean']:.4f} | {mean['ci95'][0]:.4f} to {mean['ci95'][1]:.4f} |" in TEXT
    told = found["register"]["comparison"]
    low, high = told["ci95"]
    assert f"on the {told['cases']} held-out cases: Dice {told['difference']:+.4f} ({low:+.4f} to {high:+.4f})" in text
    pairs = {(one["run"], one["against"]): one for one in found["compared"]}
    better = pairs["next version", "champion"]
    assert f"({better['difference']:+.4f}, {better['ci95'][0]:+.4f} to {better['ci95'][1]:+.4f})" in text
    below = pairs["next version", "more steps without the reviewed cases"]
    assert f"{-below['difference']:.4f} below it, {below['ci95'][0]:.4f} to {below['ci95'][1]:.4f}" in text
    assert found["exported"] == found["of_them_reviewed"] == found["cases"]["reviewed"] == 40
    for name in ("anterior", "posterior"):
        assert f"{found['review']['structures'][name]['dice']['mean']:.4f} {name}" in text
