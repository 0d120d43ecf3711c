"""`voxgraft.plugin`, the authors' face: every name is there, importing it is cheap, and the page names nothing else."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from voxgraft import plugin
from voxgraft.hookspecs import KINDS

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "monai", "mlflow", "numpy", "pydantic", "pydicom", "nibabel", "SimpleITK", "scipy", "click")


def imported(text: str) -> set[str]:
    """The names that a text imports from the face, wherever the import stands."""
    trees = ast.walk(ast.parse(text))
    found = [node for node in trees if isinstance(node, ast.ImportFrom) and node.module == "voxgraft.plugin"]
    return {alias.name for node in found for alias in node.names}


def test_every_name_is_what_its_module_holds() -> None:
    assert len(set(plugin.__all__)) == len(plugin.__all__)
    for name in plugin.__all__:
        value = getattr(plugin, name)
        if name in plugin._HOME:
            assert value is getattr(import_module(f"voxgraft.{plugin._HOME[name]}"), name)
    assert {f"{kind.capitalize()}Spec" for kind in KINDS} | set(plugin._HOME) <= set(plugin.__all__)


def test_importing_it_imports_nothing_heavy(repo_path: dict[str, str]) -> None:
    code = f"import sys, voxgraft.plugin; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], env=repo_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_name_is_there_that_neither_authors_nor_the_built_in_plugins_use() -> None:
    """Those after the last comment are for the built-in plugins, and go when none of these uses them any more."""
    text = (ROOT / "core" / "voxgraft" / "plugin.py").read_text()
    listed = text[text.index("__all__") : text.index("]\n", text.index("__all__"))]
    own = set(re.findall(r'"(\w+)"', listed[listed.rindex("#") :]))
    used = {name for file in (ROOT / "plugins").rglob("*.py") for name in imported(file.read_text())}
    assert own and own <= used


def test_the_page_names_only_what_is_there() -> None:
    page = (ROOT / "docs" / "plugins.md").read_text()
    code = "\n".join(block for block in re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S))
    named = imported(code) | set(re.findall(r"\bplugin\.([A-Za-z]\w*)", page))
    prose = re.sub(r"^```.*?^```$", "", page, flags=re.M | re.S)
    named |= {name for name in re.findall(r"`([A-Z][a-z]\w+)`", prose) if name not in ("Command",)}
    assert len(named) > 30 and named - set(plugin.__all__) == set()
