"""Each kind of series is read right or refused as the page says; the page's table is that of the file of results."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from dicom_kinds import KINDS, Kind

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))
import series_kinds  # noqa: E402

ROWS = {row["kind"]: row for row in json.loads(series_kinds.RESULTS.read_text())["kinds"]}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_kind_is_read_right_or_refused(tmp_path: Path, kind: Kind) -> None:
    assert series_kinds.outcome(kind, tmp_path / "series") == ROWS[kind.name]
    assert ROWS[kind.name]["outcome"] == ("refused" if kind.code else "read")


def test_the_page_has_the_table_of_all_kinds() -> None:
    assert list(ROWS) == [kind.name for kind in KINDS] and len(ROWS) > 60
    page = series_kinds.PAGE.read_text()
    assert page == series_kinds.on_page(page, list(ROWS.values()))
