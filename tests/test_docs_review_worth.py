"""What docs/review_worth.md says is what the benchmarks found, and the keys that it explains are those of a summary."""

from __future__ import annotations

import json
import re
from pathlib import Path

from review_worth_tables import charts_table, delays_table, families_table
from voxgraft.components.catalogue import Catalogue
from voxgraft.review.charts import DECISION, SLACK
from voxgraft.review.snapshot import Snapshot
from voxgraft.review.state import ReviewState
from voxgraft.review.summary import summary_of

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
    from voxgraft.review.audit import Read

    document = summary_of(Snapshot(tmp_path, catalogue, {}, ReviewState(), Read()))
    keys = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ", TEXT.partition("| key of")[2].partition("\n\n")[0], re.M)
    explained = {key.strip("` ") for row in keys for key in row.split(",")}
    assert explained == set(document) - {"tolerance_mm"}
