"""Tests of the check's words: each code is in the source, in the table of mends and in the documentation."""

from __future__ import annotations

import re
from pathlib import Path

from voxgraft import checks
from voxgraft.checks import dataset as check
from voxgraft.checks.problem import FIXES

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `([a-z-]+)` \| (.*?) \| (.*?) \| (.*?) \|$", re.MULTILINE)
CODE = re.compile(r'"((?:[a-z]+-)+[a-z]+|note|layout|transfer|weights|dims)"')
OPEN = "(the message says)"
WORDS = {"inferior-superior", "left-right", "posterior-anterior", "latin-1", "nvidia-smi", "valid-region"}


def sources() -> list[Path]:
    folder = Path(str(checks.__file__)).parent
    return [
        *folder.glob("*.py"),
        Path(str(check.__file__)),
        ROOT / "core/voxgraft/runs/checking.py",
        ROOT / "core/voxgraft/cli/check.py",
    ]


def test_each_code_of_the_source_has_a_mend_and_each_mend_a_code() -> None:
    made = set()
    for path in sources():
        text = path.read_text()
        if path.name == "problem.py":
            continue
        made |= set(CODE.findall(text))
        if 'f"unreadable-{what}"' in text and 'f"several-{what}s"' in text:
            for what in ("image", "label", "valid-region"):
                made |= {f"unreadable-{what}", f"several-{what}s"}
    layout = "\n".join(path.read_text() for path in (ROOT / "plugins/voxgraft_dicom/layout").glob("*.py"))
    of_layout = {code for code in FIXES if f'"{code}"' in layout}
    assert (made - WORDS) | of_layout == set(FIXES)


def test_the_documentation_has_a_row_for_each_code_with_its_fix() -> None:
    rows = ROW.findall((ROOT / "docs" / "check.md").read_text())
    assert {code: fix for code, _, _, fix in rows} == {code: fix or OPEN for code, fix in FIXES.items()}
    assert len(rows) == len(FIXES)
    for code, severity, meaning, _ in rows:
        assert re.match(r"(error|warning|note)", severity) and meaning.endswith("."), code
