"""The page about encoders lists those that are offered, with options that they have; what it shows can be run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from voxgraft.cli import main
from voxgraft.components.catalogue import Catalogue
from voxgraft.packages.package import MANIFEST
from voxgraft.workflow.sections import Model
from voxgraft.workflow.yaml import parse

PAGE = (Path(__file__).parents[1] / "docs" / "encoders.md").read_text()
ROWS = re.findall(r"^\| (`.+?) \| (.*?) ?\| (\d[^|]*) \| ([^|]+) \|$", PAGE, re.M)
BLOCKS = re.findall(r"```yaml\n(.+?)```", PAGE, re.S)
COMMANDS = [line for block in re.findall(r"```bash\n(.+?)```", PAGE, re.S) for line in block.splitlines()]


def test_the_table_lists_each_encoder_with_its_dimensions_options_and_start_values(catalogue: Catalogue) -> None:
    found = {}
    for names, options, dims, start in ROWS:
        for name in re.findall(r"`([\w-]+)`", names):
            spec = catalogue.get("encoder", name)
            fields = spec.options().model_fields
            assert set(re.findall(r"`(\w+)`", options)) <= set(fields), name
            assert {int(n) for n in re.findall(r"\d", dims)} == set(spec.dims), name
            for word in set(re.findall(r"`(imagenet|bundled)`", start)):
                assert spec.options()(weights=word).weights == word, name
            assert ("slice by slice" in dims) == (getattr(fields.get("slicewise"), "default", None) == 0), name
            found[name] = spec
    assert set(found) == {spec.name for _, spec in catalogue.of("encoder")}


@pytest.mark.parametrize("block", BLOCKS)
def test_what_stands_in_a_workflow_is_read(catalogue: Catalogue, block: str) -> None:
    model = Model.model_validate(parse(block), context=catalogue)
    assert model.pretrained
    assert model.dims in model.encoder.component.dims


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_can_be_run(command: str) -> None:
    program, *words = shlex.split(command)
    done = CliRunner().invoke(main, words)
    assert (program, done.exit_code) == ("voxgraft", 0), done.output
    assert "variant" in done.output and "weights" in done.output


def test_the_page_names_the_manifest_and_shows_something() -> None:
    assert MANIFEST in PAGE
    assert len(ROWS) >= 8 and len(BLOCKS) >= 3 and COMMANDS
