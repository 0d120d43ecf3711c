"""The page about reading names every code that a reader can give, and none besides."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
READERS = (
    "voxgraft_dicom/reader",
    "voxgraft_dicom/seg",
    "voxgraft_dicom/rtstruct",
    "voxgraft_plugins/nifti",
    "voxgraft_plugins/itk",
    "voxgraft_plugins/pictures",
)
CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def codes_of(source: str) -> set[str]:
    """First arguments of `Problem(...)`, and first members of tuples that become problems (`code, message`)."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Problem":
            found |= {one.value for one in node.args[:1] if isinstance(one, ast.Constant)}
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "append":
            for one in node.args:
                if isinstance(one, ast.Tuple) and len(one.elts) == 2 and isinstance(one.elts[0], ast.Constant):
                    found |= {one.elts[0].value}
    return {code for code in found if isinstance(code, str) and CODE.fullmatch(code)}


def test_every_code_of_a_reader_stands_in_the_table() -> None:
    page = (ROOT / "docs" / "reading.md").read_text()
    told = set(re.findall(r"^\| `([a-z0-9-]+)` \| (?:error|warning|repair)", page, re.MULTILINE))
    folders = [ROOT / "plugins" / name for name in READERS]
    read = ROOT / "core" / "voxgraft" / "imaging" / "read.py"
    files = [read, *(file for folder in folders for file in folder.glob("*.py"))]
    raised = {code for file in files for code in codes_of(file.read_text())}
    sources = "".join(file.read_text() for file in files)
    assert raised - told == set()
    assert {code for code in told if f'"{code}"' not in sources} == set()
    assert len(told) > 40
