"""What becomes of each kind of DICOM series: made, read, and compared voxel by voxel with what is true of it.

Prints a table, and writes benchmarks/results/series_kinds.json, from which the table of docs/dicom.md is made
(`--page` writes it there).
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measured import ROOT

sys.path[:0] = [str(ROOT / "tests")]

from dicom_kinds import KINDS, Kind  # noqa: E402
from voxgraft.imaging.formats import walk  # noqa: E402
from voxgraft.imaging.volume import Item  # noqa: E402
from voxgraft_dicom.reader.options import DicomOptions  # noqa: E402
from voxgraft_dicom.reader.reader import DicomReader  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "series_kinds.json"
PAGE = ROOT / "docs" / "dicom.md"
BEGIN, END = "<!-- begin: kinds of series -->\n", "<!-- end: kinds of series -->\n"


def outcome(kind: Kind, folder: Path) -> dict[str, Any]:
    """A row of the table: what the reader made of a series of this kind; `wrong` where that is not what is true."""
    truth = kind.make(folder)
    reader = DicomReader(DicomOptions(**(kind.options or {})))
    items = sorted(reader.scan(list(walk(folder))), key=lambda item: (str(item.path), item.series or ""))
    row: dict[str, Any] = {"group": kind.group, "kind": kind.name, "images": len(items)}
    errors = [problem for item in items for problem in item.errors]
    if errors:
        wrong = "" if kind.code and all(item.errors for item in items) and errors[0].code == kind.code else "wrong: "
        return {**row, "outcome": f"{wrong}refused", "code": errors[0].code, "why": errors[0].message}
    if kind.code or len(items) != len(truth):
        return {**row, "outcome": "wrong: read", "code": "", "why": f"{len(items)} images"}
    same = [_is_true(reader, item, *one) for item, one in zip(items, truth, strict=True)]
    told = {problem.code: problem.message for item in items for problem in item.problems}
    why = next((told[code] for code in ("channels", "gantry-tilt", *told) if code in told), "")
    return {**row, "outcome": "read" if all(same) else "wrong: read", "code": ", ".join(told), "why": why}


def _is_true(reader: DicomReader, item: Item, array: np.ndarray[Any, Any], affine: np.ndarray[Any, Any]) -> bool:
    """Whether every voxel is at its place; a grid that was turned round along its slices is the same grid."""
    volume = reader.read(item)
    found, place = volume.array, volume.affine
    if volume.dims == 3 and place[:3, 2] @ affine[:3, 2] < 0:
        turned = np.diag([1.0, 1, -1, 1])
        turned[2, 3] = volume.shape[2] - 1
        found, place = found[..., ::-1], place @ turned
    return bool(np.array_equal(found, array) and np.abs(place - affine).max() < 1e-4)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The table of the page."""
    lines = ["| kind of series | read or refused | what is said |", "| --- | --- | --- |"]
    for row in rows:
        several = f", {row['images']} images" if row["images"] > 1 else ""
        code = f"`{row['code']}`: " if row["code"] else ""
        lines.append(f"| {row['kind']} | {row['outcome']}{several} | {code}{row['why'].replace('|', '/')} |")
    return "\n".join(lines) + "\n"


def on_page(text: str, rows: Sequence[dict[str, Any]]) -> str:
    """The page with the table between its marks."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return head + BEGIN + table(rows) + END + tail


def rows() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        return [outcome(kind, Path(folder, str(number), "series")) for number, kind in enumerate(KINDS)]


def main() -> None:
    found = rows()
    print(table(found))
    wrong = [row["kind"] for row in found if row["outcome"].startswith("wrong")]
    counts = {word: sum(row["outcome"] == word for row in found) for word in ("read", "refused")}
    print(f"{len(found)} kinds: {counts['read']} read right, {counts['refused']} refused, {len(wrong)} wrong {wrong}")
    RESULTS.write_text(json.dumps({"kinds": found}, indent=1) + "\n")
    if "--page" in sys.argv:
        PAGE.write_text(on_page(PAGE.read_text(), found))


if __name__ == "__main__":
    main()
