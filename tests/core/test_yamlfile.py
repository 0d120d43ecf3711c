"""YAML is bounded before it is built: aliases, merges, depth, size; a fault is named with its line."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from voxgraft.errors import ModelError, WorkflowError
from voxgraft.inference.recipe import recipe_of
from voxgraft.packages.package import Package
from voxgraft.support.files import MOST_VALUES, read_bytes, read_json
from voxgraft.workflow.workflow import read
from voxgraft.workflow.yaml import DEEPEST, LARGEST, load, parse

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
MERGES = "a0: &a0 {a: 1, b: 2, c: 3, d: 4}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 12)
)
CHAIN = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 400))

HOSTILE = [
    (LAUGHS, 5, "aliases and merges"),
    (MERGES, 5, "aliases and merges"),
    (CHAIN, DEEPEST, "aliases and merges"),
    ("[" * 100_000, 1, "nested more than"),
    ("a: 1\nb: " + "{a: " * 100_000, 2, "nested more than"),
    ("- " * 100_000, 1, "nested more than"),
    ("a: 1\nb: [" + "1," * 400_000 + "]", 2, "values"),
    ("a: &a [*a]", 1, "contains itself"),
    ("a: &a\n  <<: *a", 1, "contains itself"),
    ("a: 1\n? [b]\n: 1", 2, "a key must be a word"),
    ("a: 1\n{b: 1}: 1", 2, "a key must be a word"),
    ("a: 1\n.nan: 1", 2, "a key must be a word"),
    ("a: 1\ntrue: 1", 2, "a key must be a word"),
    ("1: a\n+1: b", 2, "key '1' appears twice"),
    ("a: 1\nb: 1\na: 1", 3, "key 'a' appears twice"),
    ('a: 1\nb: "x\\0y"', 2, "control character"),
    ('a: 1\n"b\\0": 1', 2, "control character"),
    ('a: "\\ud800"', 1, "control character"),
    ("a: 1\nb: x\0y", 2, "does not belong in a text file"),
    ("a: 1\nb: " + "9" * 5000, 2, "more than 18 digits"),
    ("a: !!set {x}", 1, "'!!set' is not known"),
    ("a: 1\nb: !!int abc", 2, "'!!int'"),
    ("a: !!binary aGk=", 1, "'!!binary'"),
    ("a: !!python/name:os.system x", 1, "'!!python/name:os.system'"),
    ("a: *b", 1, "undefined alias"),
]


@pytest.mark.parametrize(("text", "line", "words"), HOSTILE, ids=[words for _, _, words in HOSTILE])
def test_a_hostile_document_is_refused_quickly_with_its_line(tmp_path: Path, catalogue, text, line, words) -> None:
    path = tmp_path / "workflow.yaml"
    path.write_text(text)
    since = time.monotonic()
    with pytest.raises(WorkflowError, match=words) as caught:
        read(path, catalogue)
    assert str(caught.value).startswith(f"{path}:{line}: ") and len(str(caught.value).splitlines()) == 1
    assert parse(text) == text  # what is not YAML stays the text that it is
    assert time.monotonic() - since < 20


def test_the_workflow_of_a_package_is_read_by_the_same_rules(tmp_path: Path, catalogue) -> None:
    package = Package(tmp_path, None, None, {}, "")  # type: ignore[arg-type]
    for text, line, words in HOSTILE[:6]:
        (tmp_path / "workflow.yaml").write_text(text)
        with pytest.raises(ModelError, match=rf"workflow\.yaml:{line}: .*{words}.*; the package is damaged"):
            recipe_of(package, catalogue)


def test_a_file_that_is_too_large_or_none_is_refused(tmp_path: Path, catalogue) -> None:
    large, pipe = tmp_path / "large.yaml", tmp_path / "pipe.yaml"
    large.write_bytes(b"a: 1\n" * LARGEST)
    os.mkfifo(pipe)
    for path, words in ((large, "larger than the 1048576 bytes"), (pipe, "a pipe"), (Path("/dev/zero"), "a device")):
        with pytest.raises(WorkflowError, match=words):
            read(path, catalogue)


def test_aliases_and_merges_within_bounds_are_written_out(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("base: &base {a: 1, b: [1, 2]}\nother: {<<: *base, a: 3}\nsame: *base\n")
    document, lines = load(path)
    assert document["other"] == {"a": 3, "b": [1, 2]} and document["same"] == {"a": 1, "b": [1, 2]}
    assert lines.at(("other", "a")) == 2


def test_json_is_bounded_in_bytes_values_and_depth(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for text, words in (
        ("[" * 100_000, "nested too deeply"),
        ('{"a": 1, "a": 2}', "key 'a' appears twice"),
        ("[" + "9" * 5000 + "]", "4300 digits"),
        ('{"a":\n', "line 2"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=words):
            read_json(path)
    path.write_bytes(b"[" + b"1," * MOST_VALUES + b"1]")
    with pytest.raises(OSError, match="more than the 5000000 values"):
        read_json(path)
    with pytest.raises(OSError, match="larger than the 10 bytes"):
        read_bytes(path, 10)
    path.write_text(json.dumps({"a": [1, 2]}))
    assert read_json(path) == {"a": [1, 2]}
