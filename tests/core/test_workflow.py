"""Workflow files: every fault is named with its line and the fix; what is read can be written and read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from voxgraft.errors import UsageError, WorkflowError
from voxgraft.workflow.workflow import from_document, read
from voxgraft.workflow.yaml import dump, load, parse

GOOD = """\
voxgraft: 1
name: test
data:
  layout: {use: decathlon, path: some/where}
  modality: mr
  split: {folds: 5, fold: 0, seed: 7}
model:
  dims: 3
  encoder: {use: residual, weights: none}
  decoder: {use: unet}
transfer: []
training: {budget: 10 min, batch: auto, precision: auto, device: cpu}
inference: {overlap: 0.5, mirror: false}
evaluation: {metrics: [dice, iou]}
tracking: {uri: "sqlite:///voxgraft.db", experiment: test}
registry: {name: test, promote: if-not-worse}
steps: [check, plan, prepare, train, evaluate, register]
"""


@pytest.fixture
def workflow(tmp_path: Path):
    def write(*changes: tuple[str, str]) -> Path:
        text = GOOD
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "workflow.yaml"
        path.write_text(text)
        return path

    return write


def test_a_good_file_is_read(workflow, catalogue) -> None:
    found = read(workflow(), catalogue)
    assert found.model.encoder.name == "residual" and str(found.training.budget) == "10 min"
    assert [step.name for step in found.steps][-1] == "register"


def test_what_is_written_out_reads_back_the_same(workflow, catalogue) -> None:
    found = read(workflow(), catalogue)
    document = found.document()
    again = from_document(parse(dump(document)), catalogue)
    assert again.document() == document


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("training: {budget", "training: {budgett"), 12, ["budgett", "did you mean 'budget'"]),
        (("use: residual", "use: residuel"), 9, ["residuel", "did you mean 'residual'"]),
        (("10 min", "10 parsecs"), 12, ["budget", "'10 min'"]),
        (("10 min", "-3 steps"), 12, ["budget"]),
        (("10 min", "1.5 epochs"), 12, ["whole numbers"]),
        (("fold: 0", "fold: 5"), 6, ["fold 5 does not exist"]),
        (("dims: 3", "dims: 4"), 8, ["dims"]),
        (("modality: mr", "modality: {use: xray}"), 5, ["no modality is called 'xray'"]),
        (("overlap: 0.5", "overlap: 1.0"), 13, ["overlap"]),
        (("[dice, iou]", "[]"), 14, ["metrics"]),
        (("[dice, iou]", "[dice, dise]"), 14, ["dise", "did you mean 'dice'"]),
        (("name: test, promote", "name: ../x, promote"), 16, ["registry.name"]),
        (("decoder: {use: unet}", "decoder: {use: unet, widht: 3}"), 10, ["widht"]),
        (("decoder: {use: unet}", "decoder: [unet]"), 10, ["expected a mapping with the key 'use'"]),
        (("check, plan", "plan, check"), 17, ["must come after 'check'"]),
        (("check, plan", "check, check, plan"), 1, ["'check' appears twice"]),
        (("name: test\n", "name: test\nname: again\n"), 3, ["appears twice"]),
        (("voxgraft: 1", "voxgraft: 2"), 1, ["voxgraft"]),
    ],
)
def test_a_fault_is_named_with_its_line(workflow, catalogue, change, line, words) -> None:
    path = workflow(change)
    with pytest.raises(WorkflowError) as caught:
        read(path, catalogue)
    message = str(caught.value)
    assert any(f"workflow.yaml:{n}:" in message for n in ([line] if "after" not in message else [1, line])), message
    assert all(word in message for word in words), message


def test_all_faults_are_named_at_once(workflow, catalogue) -> None:
    path = workflow(("dims: 3", "dims: 7"), ("overlap: 0.5", "overlap: two"))
    with pytest.raises(WorkflowError) as caught:
        read(path, catalogue)
    assert len(str(caught.value).splitlines()) == 2


def test_register_needs_a_name(workflow, catalogue) -> None:
    path = workflow(("registry: {name: test, promote: if-not-worse}\n", ""))
    with pytest.raises(WorkflowError, match="needs a section 'registry'"):
        read(path, catalogue)


def test_an_encoder_without_that_many_axes_is_refused(workflow, catalogue) -> None:
    path = workflow(("dims: 3", "dims: 2"), ("use: residual, weights: none", "use: densenet3d, weights: none"))
    with pytest.raises(WorkflowError, match=r"has no 2D form; choose another, or set model\.dims to 3"):
        read(path, catalogue)


def test_one_fault_is_told_once_and_a_strategy_alone_is_told_how_it_is_written(workflow, catalogue) -> None:
    for given, told in (
        ("[{use: multi-task, branches: [foo]}]", "transfer.0.branches.0: input should be 'boundary'"),
        ("{use: freeze}", "transfer: a list is needed here, such as [{use: NAME}]"),
    ):
        with pytest.raises(WorkflowError) as caught:
            read(workflow(), catalogue, [f"transfer={given}"])
        assert str(caught.value).startswith(f"--set: {told}") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "- a\n- b\n", "just words", "a: [1, 2", "\x00\x01", "!!python/object:os.system {}", "&a [*a]"]
)
def test_what_is_no_workflow_is_refused_in_a_sentence(tmp_path, catalogue, text) -> None:
    path = tmp_path / "workflow.yaml"
    path.write_text(text)
    with pytest.raises(WorkflowError, match=r"workflow\.yaml"):
        read(path, catalogue)


def test_a_file_that_is_no_text_is_refused(tmp_path, catalogue) -> None:
    path = tmp_path / "workflow.yaml"
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(WorkflowError, match="text file"):
        read(path, catalogue)
    with pytest.raises(WorkflowError, match="there is no such workflow"):
        read(tmp_path / "absent.yaml", catalogue)


def test_overrides_change_values_and_are_checked(workflow, catalogue) -> None:
    found = read(workflow(), catalogue, ["training.budget=4 steps", "evaluation.metrics.0=iou", "data.split.fold=2"])
    assert str(found.training.budget) == "4 steps" and found.evaluation.metrics[0].name == "iou"
    assert found.data.split.fold == 2
    assert read(workflow(), catalogue, ["model.decoder.use=unet"]).model.decoder.name == "unet"
    with pytest.raises(WorkflowError, match=r"--set: training\.budgett"):
        read(workflow(), catalogue, ["training.budgett=4 steps"])
    with pytest.raises(UsageError, match="expected KEY=VALUE"):
        read(workflow(), catalogue, ["training.budget"])
    with pytest.raises(UsageError, match="has no key"):
        read(workflow(), catalogue, ["evaluation.metrics.9.use=iou"])


def test_yaml_is_read_as_a_person_reads_it(tmp_path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: 1e-3\nb: no\nc: 0012\nd: 1:30\ne: true\nf: 12\n")
    document, lines = load(path)
    assert document == {"a": 0.001, "b": "no", "c": "0012", "d": "1:30", "e": True, "f": 12}
    assert lines.at(("c",)) == 3
    assert parse(dump(document)) == document


def test_the_schema_accepts_the_good_file_and_refuses_bad_ones(workflow, catalogue) -> None:
    from jsonschema import Draft202012Validator

    from voxgraft.workflow.schema import workflow_schema

    schema = workflow_schema(catalogue)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    document, _ = load(workflow())
    assert not list(validator.iter_errors(document))
    document["model"]["encoder"]["use"] = "residuel"
    assert list(validator.iter_errors(document))


@pytest.mark.parametrize("name", ["../../x", "a/b", "..", "a\\b", " . ", "a\nb", "/tmp/x"])
def test_a_name_that_leads_out_of_the_folder_of_runs_is_refused(workflow, catalogue, name) -> None:
    document, _ = load(workflow())
    with pytest.raises(WorkflowError, match="name"):
        from_document({**document, "name": name}, catalogue)
    assert from_document({**document, "name": "Köpfe & more (1.2)"}, catalogue).name == "Köpfe & more (1.2)"


@pytest.mark.parametrize(
    "change",
    [
        {"modality": "CT"},
        {"description": ["*T1*", "*t1*"], "orientation": "axial"},
        {"spacing": {"slice": [0.5, None]}, "rows": {"min": 256}},
        {"exclude": [{"description": "*scout*"}], "columns": [128, 512]},
    ],
    ids=str,
)
def test_what_a_dicom_layout_takes_for_short_fits_the_schema(change, catalogue) -> None:
    document = {
        "layout": {"use": "dicom", "path": "study", "channels": {"one": change}, "labels": "m"},
        "modality": "ct",
        "leave_out": "a",
    }
    whole = {
        **{"voxgraft": 1, "name": "x", "data": {**document, "ignore": 9, "labels": {"a": {"value": 1, "from": 3}}}},
        "model": {"encoder": {"use": "residual", "weights": "none"}, "decoder": "unet"},
        **{"training": {"precision": 32}, "tracking": None},
    }
    assert _refused(whole, catalogue) == []
    assert from_document(whole, catalogue).name == "x"


def _refused(document, catalogue) -> list[str]:
    from jsonschema import Draft202012Validator

    from voxgraft.workflow.schema import workflow_schema

    return [error.message[:300] for error in Draft202012Validator(workflow_schema(catalogue)).iter_errors(document)]
