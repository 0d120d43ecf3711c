"""The documentation says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import voxgraft
from voxgraft import interfaces
from voxgraft.hookspecs import KINDS

DOCS = Path(__file__).parents[1] / "docs"


def test_every_hook_is_documented_with_its_card_and_its_interface() -> None:
    rows = re.findall(r"^\| `(voxgraft_\w+)` \| `(\w+)`[^|]*\| `(\w+)`:", (DOCS / "plugins.md").read_text(), re.M)
    assert [hook for hook, _, _ in rows] == list(KINDS.values())
    for _, card, interface in rows:
        assert card in voxgraft.__all__ and hasattr(interfaces, interface)


def test_links_between_pages_lead_somewhere() -> None:
    root = DOCS.parent
    for page in (root / "README.md", *DOCS.glob("*.md")):
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
