"""The documentation site builds without a warning, has every page, asks no other host, and says what the code says."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from told_commands import blocks, calls
from voxgraft.cli import main
from voxgraft.components.catalogue import Catalogue
from voxgraft.workflow.workflow import from_document

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
NOTEBOOKS = sorted(DOCS.rglob("*.ipynb"))
LOADED = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=\"?((?:https?:)?//[^\"\s>]+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site; what the build had to warn of makes it fail."""
    for name in ("mkdocs", "material", "mkdocstrings", "mkdocs_jupyter"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is missing: pip install voxgraft[docs]")
    target = tmp_path_factory.mktemp("site")
    words = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "-q",
        "-f",
        str(ROOT / "mkdocs.yml"),
        "-d",
        str(target),
    ]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return target


def test_every_page_is_built_and_loads_nothing_from_another_host(site: Path) -> None:
    built = sorted(site.rglob("*.html"))
    assert {path.with_suffix(".html").relative_to(DOCS) for path in [*PAGES, *NOTEBOOKS]} <= {
        path.relative_to(site) for path in built
    }
    asked = {(path.name, host) for path in built for host in LOADED.findall(path.read_text())}
    styles = {path.name for path in site.rglob("*.css") if re.search(r"url\([\"']?(https?:)?//", path.read_text())}
    assert not asked and not styles
    unreachable = {
        (path.name, link)
        for path in (site / page.relative_to(DOCS).with_suffix(".html") for page in NOTEBOOKS)
        for link in re.findall(r'href="(?![a-z]+:)([^"#]+)', path.read_text())
        if not (path.parent / link).exists()
    }
    assert not unreachable


def test_every_page_is_in_the_navigation() -> None:
    def listed(node: object) -> Iterator[str]:
        for one in node if isinstance(node, list) else node.values() if isinstance(node, dict) else [node]:
            yield from listed(one) if isinstance(one, list | dict) else [str(one)]

    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    assert sorted(listed(navigation)) == sorted(path.relative_to(DOCS).as_posix() for path in [*PAGES, *NOTEBOOKS])


def test_the_reference_is_what_the_code_says() -> None:
    script = DOCS / "development" / "reference.py"
    spec = importlib.util.spec_from_file_location("reference", script)
    assert spec is not None and spec.loader is not None
    reference: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    for name, text in reference.pages().items():
        assert (DOCS / "reference" / name).read_text() == text, f"{name}: python {script.relative_to(ROOT)}"


def test_every_flag_of_a_batch_is_in_its_table() -> None:
    told = set(re.findall(r"^\| `([a-z-]+)` \|", (DOCS / "reference" / "flags.md").read_text(), re.M))
    given = set()
    for path in (ROOT / "core" / "voxgraft" / "batch").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Flag":
                given |= {one.value for one in node.args[:1] if isinstance(one, ast.Constant)}
    assert {str(code) for code in given} | {"kept-correction", "not-finite"} == told


@pytest.mark.parametrize("folder", ["tutorials", "howto"])
def test_each_piece_of_yaml_is_one_of_a_workflow(catalogue: Catalogue, folder: str) -> None:
    for page in (DOCS / folder).glob("*.md"):
        for piece in map(yaml.safe_load, blocks(page, "yaml")):
            data = {"layout": {"use": "decathlon", "path": "x"}, "modality": "mr", **piece.pop("data", {})}
            model = {"encoder": "residual", "decoder": "unet", **piece.pop("model", {})}
            document = {"name": "x", "data": data, "model": model, "tracking": None, **piece}
            assert from_document(document, catalogue).name == "x", page.name


READ = {"data", "public-data", "encoders", "strategies", "pet"}
"""Pages whose pieces of YAML are read by tests of their own."""


@pytest.mark.parametrize(
    "page", [page for page in DOCS.glob("*.md") if page.stem not in READ], ids=lambda page: page.name
)
def test_each_piece_of_yaml_of_other_pages_is_one_of_a_workflow(catalogue: Catalogue, page: Path) -> None:
    for piece in map(yaml.safe_load, blocks(page, "yaml")):
        if page.stem == "dicom" and "data" not in piece:  # options of the layout
            piece = {"data": {"layout": {"use": "dicom", "path": "x", **piece}}}
        data = {"layout": {"use": "decathlon", "path": "x"}, "modality": "mr", **piece.pop("data", {})}
        strategies = {"transfer": [{"use": "l2-sp"}]} if "guard" in piece else {}
        model = {"encoder": {"use": "deepbet", "weights": "bundled"}, "decoder": "unet"}
        document = {"name": "x", "data": data, "model": model, "tracking": None, **strategies, **piece}
        assert from_document(document, catalogue).name == "x", page.name


def test_keys_of_a_workflow_that_pages_name_exist() -> None:
    schema = json.loads((ROOT / "workflows" / "workflow.schema.json").read_text())

    def keys(node: dict[str, Any]) -> set[str]:
        if "$ref" in node:
            return keys(schema["$defs"][node["$ref"].rpartition("/")[2]])
        return set(node.get("properties", ())).union(*map(keys, node.get("anyOf", ())))

    known = {section: found for section, node in schema["properties"].items() if (found := keys(node))}
    del known["review"]  # its metrics in MLflow begin with this word too
    named = re.compile(rf"`({'|'.join(known)})\.(?!json|safetensors)([a-z_]+)")
    for page in (ROOT / "README.md", *PAGES):
        for section, key in named.findall(page.read_text()):
            assert key in known[section], f"{page.name}: {section}.{key}"


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path) -> None:
    for words in calls(page):
        command: click.Command | None = main
        path = list(words)
        while isinstance(command, click.Group) and path and not path[0].startswith("-"):
            if not re.fullmatch(r"[a-z]+", path[0]):
                break  # NAME or ... stands for any
            command = command.get_command(click.Context(command), path.pop(0))
            assert command is not None, f"voxgraft {' '.join(words)}"
        known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)} | {"--help", "-h"}
        given = {word.split("=")[0].rstrip(".,;)]") for word in words if re.match(r"--[a-z]", word)}
        assert given <= known, f"voxgraft {' '.join(words)}: {given - known}"


@pytest.mark.parametrize("group", ["models", "plugins"])
def test_no_line_of_a_group_in_80_columns_is_cut_off(group: str) -> None:
    printed = CliRunner().invoke(main, [group, "--help"], terminal_width=80).output
    assert "..." not in printed.partition("Commands:")[2]
