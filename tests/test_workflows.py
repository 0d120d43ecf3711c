"""The workflow files that people start from: they fit the schema that is kept beside them, and are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from voxgraft.workflow.schema import workflow_schema
from voxgraft.workflow.workflow import read
from voxgraft.workflow.yaml import load

FOLDER = Path(__file__).parents[1] / "workflows"
FILES = sorted(FOLDER.glob("*.yaml"))


def test_the_kept_schema_is_that_of_the_built_in_plugins(catalogue) -> None:
    """Made anew with `voxgraft schema > workflows/workflow.schema.json`, where no other plugin is installed."""
    assert json.loads((FOLDER / "workflow.schema.json").read_text()) == json.loads(
        json.dumps(workflow_schema(catalogue))
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_workflow_file_is_read_and_fits_the_schema(path, catalogue) -> None:
    workflow = read(path, catalogue)
    assert [step.name for step in workflow.steps][-1] == "register"
    document, _ = load(path)
    errors = list(Draft202012Validator(workflow_schema(catalogue)).iter_errors(document))
    assert errors == []
    assert path.read_text().startswith("# yaml-language-server: $schema=./workflow.schema.json\n")
