"""Every command answers a path that is not there in the same way: code 2, a sentence with the path, nothing started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from voxgraft.cli import main

WRITTEN = {
    *(("convert", "target"), ("deidentify", "target"), ("deidentify", "quarantine"), ("models export", "target")),
    *(("deidentify", "write_pseudonyms"), ("demo", "data"), ("review", "target"), ("serve", "sessions")),
}
"""Paths that a command writes, beside each `--out`."""
REFERENCES = {("segment", "model"), ("serve", "models"), ("models register", "package")}
"""What may be a path, and may name a model in another way."""
MODEL_FIRST = ("segment", "inputs")
"""Looked at when the model is known, which says what they have to be: see the tests of the worklist."""
MORE = {
    ("evaluate", "probabilities"): ["--labels", "liver=1", "--metrics", "ece"],
    ("review", "patients"): ["--export", "new"],
    ("review", "pseudonym_key"): ["--export", "new"],
    ("review", "certificate"): ["--key", "there"],
    ("review", "key"): ["--certificate", "there"],
    ("serve", "certificate"): ["--key", "there"],
    ("serve", "key"): ["--certificate", "there"],
    ("plugins test", "files"): ["reader:nifti"],
}
"""What else a call needs before it looks at the path."""


def commands(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command with its name, those of groups too."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, (*words, name))
    else:
        yield " ".join(words), command


def read_paths() -> list[tuple[str, str]]:
    """Every command with each of its parameters that is a path to read."""
    found = [
        (name, str(parameter.name))
        for name, command in commands(main)
        for parameter in command.params
        if isinstance(parameter.type, click.Path) or (name, parameter.name) in REFERENCES
        if (name, parameter.name) not in {*WRITTEN, MODEL_FIRST} and "--out" not in parameter.opts
    ]
    assert {*found} >= REFERENCES
    return found


@pytest.mark.parametrize(("name", "parameter"), read_paths(), ids=lambda part: part.replace(" ", "-"))
@pytest.mark.parametrize("missing", ["nothing", "nothing/nowhere.nii.gz"])
def test_a_path_that_is_not_there_is_a_wrong_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, parameter: str, missing: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    call = [*name.split(), *MORE.get((name, parameter), [])]
    for one in dict(commands(main))[name].params:
        if one.name == parameter:
            call += [missing] if isinstance(one, click.Argument) else [one.opts[0], missing]
        elif isinstance(one, click.Argument) and one.required and (name, one.name) != ("plugins test", "component"):
            call.append("new" if (name, one.name) in WRITTEN else "there")
    if name == "segment":
        call += ["--out", "new", *(["there"] if parameter == "model" else [])]
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 2, done.output
    assert missing.split("/")[0] in done.stderr and "Traceback" not in done.output and not done.stdout
    assert len(done.stderr.strip().splitlines()) <= 4
    assert [path.name for path in tmp_path.iterdir()] == ["there"], "nothing was started"


@pytest.mark.parametrize("command", [("inspect",), ("convert",), ("evaluate", "."), ("compare", ".")])
@pytest.mark.parametrize("kind", ["dangling", "loop", "long"])
def test_a_link_to_nowhere_and_an_endless_name_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "loop").symlink_to("loop")
    path = "x" * 5000 if kind == "long" else kind
    done = CliRunner().invoke(main, [*command, path, *(["new.nii.gz"] if command == ("convert",) else [])])
    assert done.exit_code == 2 and f"{path[:200]}: there is no such file or folder" in done.stderr.replace("\n", "")
