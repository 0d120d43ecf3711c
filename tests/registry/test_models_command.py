"""`voxgraft models`: what people and scripts see."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fake_run import scores_document, small_package

from voxgraft.cli import main
from voxgraft.components.catalogue import Catalogue
from voxgraft.packages.archive import pack
from voxgraft.packages.package import read_package

Call = Callable[..., Result]


@pytest.fixture
def call(uri: str, stubs: Catalogue, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Calls the command; the registry is the one of the environment."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr("voxgraft.discovery.discover", lambda: stubs)

    def do(*args: object, code: int = 0) -> Result:
        done = CliRunner().invoke(main, ["models", *map(str, args)])
        assert done.exit_code == code, done.output
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return done

    return do


@pytest.fixture
def filled(call: Call, tmp_path: Path) -> Call:
    """Two versions of a model; the second is champion."""
    for seed, dice in ((1, 0.8), (2, 0.9)):
        summary = scores_document({"a": dice})["summary"]
        small_package(tmp_path / f"p{seed}", seed, {"scores": summary, "split": {"train": ["b"], "validation": ["a"]}})
        call("register", tmp_path / f"p{seed}", "--name", "brain")
        call("promote", "brain", seed)
    return call


def document(done: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_list_is_one_json_document(filled: Call) -> None:
    found = document(filled("list", "--json"))
    (model,) = found["models"]
    assert model["name"] == "brain"
    assert [(row["version"], row["aliases"], row["metrics"]) for row in model["versions"]] == [
        ("2", ["champion"], {"dice": 0.9}),
        ("1", [], {"dice": 0.8}),
    ]
    assert all(len(row["run"]) == 32 for row in model["versions"])
    assert "version 2 (champion)  dice 0.9000" in filled("list").stdout


def test_an_empty_registry_is_an_empty_list_and_none_is_an_error(call: Call, tmp_path: Path) -> None:
    assert document(call("list", "--json")) == {"models": []}
    gone = f"sqlite:///{tmp_path}/none.db"
    done = call("list", "--json", "--tracking", gone, code=2)
    said = f"voxgraft: {gone}: there is no registry: this file does not exist; name the right one\n"
    assert done.stdout == "" and done.stderr == said
    assert not (tmp_path / "none.db").exists()


def test_show_tells_card_data_plan_scores_and_lineage(filled: Call) -> None:
    for name in ("brain", "brain@champion", "brain/2", "models:/brain@champion"):
        found = document(filled("show", name, "--json"))
        assert (found["version"], found["data"], found["card"]) == ("2", {"hash": "d" * 64}, "# brain\n")
        assert found["plan"]["patch"] == [8, 8, 8] and found["scores"]["dice"]["mean"]["mean"] == 0.9
        assert found["lineage"]["split"]["train"] == ["b"] and found["labels"][0]["name"] == "anterior"
    assert document(filled("show", "brain/1", "--json"))["version"] == "1"
    text = filled("show", "brain").stdout
    assert "dice 0.9000" in text and "d" * 64 in text and "8 x 8 x 8 voxels" in text and "# brain" in text


def test_promote_and_rollback_move_the_champion(filled: Call) -> None:
    assert filled("rollback", "brain").stdout == "brain@champion is version 1 again\n"
    assert "had no champion before version 1" in filled("rollback", "brain", code=1).stderr
    assert filled("promote", "brain", 2).stdout == "brain@champion is version 2\n"
    filled("promote", "brain", 1, "--alias", "night")
    rows = document(filled("list", "--json"))["models"][0]["versions"]
    assert [row["aliases"] for row in rows] == [["champion"], ["night"]]


def test_a_version_is_deleted_and_the_champion_is_not(filled: Call, tmp_path: Path) -> None:
    assert "with --yes" in filled("delete", "brain", 1, code=2).stderr  # nobody is here to be asked
    assert "is champion" in filled("delete", "brain", 2, "--yes", code=2).stderr
    filled("promote", "brain", 1, "--alias", "night")
    assert "is night" in filled("delete", "brain", 1, "--yes", code=2).stderr
    assert filled("delete", "brain", 1, "--yes", "--force").stdout.endswith("; brain has no night any more\n")
    (model,) = document(filled("list", "--json"))["models"]
    assert [row["version"] for row in model["versions"]] == ["2"]
    assert "there is no version 1; there are 2" in filled("show", "brain/1", code=2).stderr
    assert "there is no version 1" in filled("delete", "brain", 1, "--yes", code=2).stderr
    assert "had no champion before version 2" in filled("rollback", "brain", code=1).stderr
    filled("register", tmp_path / "p1", "--name", "brain")  # the same package again is another version
    rows = document(filled("list", "--json"))["models"][0]["versions"]
    assert [row["version"] for row in rows] == ["3", "2"]


def test_a_deleted_champion_leaves_none(filled: Call) -> None:
    assert "has no champion any more" in filled("delete", "brain", 2, "--yes", "--force").stdout
    assert "no such alias; it has none" in filled("show", "brain@champion", code=2).stderr
    filled("promote", "brain", 1)
    assert "had no champion before version 1" in filled("rollback", "brain", code=1).stderr


def test_a_model_moves_to_another_site_as_one_file(filled: Call, tmp_path: Path) -> None:
    file, other = tmp_path / "brain.voxgraft.zip", f"sqlite:///{tmp_path}/other/site.db"
    told = filled("export", "brain@champion", file).stdout
    shown = document(filled("show", "brain", "--json"))
    package_hash = shown["package"]
    assert package_hash in told and package_hash == read_package(tmp_path / "p2").sha256
    assert f"package     {package_hash}" in (text := filled("show", "brain").stdout) and shown["hash"] in text
    refused = filled("import", file, "--hash", shown["hash"], "--tracking", other, code=1).stderr
    assert "is the hash of its model, which says nothing of its workflow" in refused
    done = filled("import", file, "--name", "brain-from-a", "--hash", package_hash, "--tracking", other)
    assert done.stdout == f"brain-from-a version 1, package {package_hash}\n" and "promote" in done.stderr
    (model,) = document(filled("list", "--json", "--tracking", other))["models"]
    (version,) = model["versions"]
    assert (model["name"], version["aliases"], version["package"]) == ("brain-from-a", [], package_hash)
    assert version["metrics"] == {"dice": 0.9}
    assert document(filled("show", "brain-from-a", "--json", "--tracking", other))["card"] == "# brain\n"


def test_an_import_leaves_aliases_as_they_are(filled: Call, tmp_path: Path) -> None:
    file = tmp_path / "brain.voxgraft.zip"
    filled("export", "brain/1", file)
    filled("import", file)
    rows = document(filled("list", "--json"))["models"][0]["versions"]
    assert [(row["version"], row["aliases"]) for row in rows] == [("2", ["champion"]), ("1", [])]


@pytest.mark.parametrize("name", ["card.md", "workflow.yaml", "facts"])
def test_the_hash_of_a_package_covers_all_that_is_in_it(filled: Call, tmp_path: Path, name: str) -> None:
    file, folder = tmp_path / "brain.voxgraft.zip", tmp_path / "p1"
    expected = filled("export", "brain/1", file).stdout.split()[-1]
    model = read_package(folder).hash
    document = json.loads((folder / "manifest.json").read_text())
    if name == "facts":
        document["facts"]["precision"] = {"16": {"agrees": True, "difference": 0.0, "cases": 9}}
    else:
        content = (folder / name).read_bytes() + b"\n"
        (folder / name).write_bytes(content)
        document["files"][name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(document))
    pack(folder, file)
    assert read_package(folder).hash == model, "weights, plan and structures are the same"
    done = filled("import", file, "--hash", expected, code=1)
    assert done.stderr.startswith(f"voxgraft: {file}: is the package {read_package(folder).sha256}, not the one")
    other = tmp_path / "other.zip"
    pack(tmp_path / "p2", other)
    filled("import", other, "--hash", read_package(tmp_path / "p2").sha256)


@pytest.mark.parametrize("damage", ["cut", "flip", "other", "hash", "nothing"])
def test_a_damaged_or_foreign_file_is_not_imported(filled: Call, tmp_path: Path, damage: str) -> None:
    file = tmp_path / "brain.voxgraft.zip"
    filled("export", "brain/1", file)
    content = bytearray(file.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "flip":
        content[content.index(b"# brain")] ^= 1
    elif damage == "other":
        content = bytearray(b"PK\x05\x06" + bytes(18))
    file.write_bytes(content)
    if damage == "nothing":
        file.unlink()
    code = 2 if damage == "nothing" else 1
    done = filled("import", file, "--name", "new", *(["--hash", "0" * 64] if damage == "hash" else []), code=code)
    assert done.stderr.startswith(f"voxgraft: {file}") and len(done.stderr.splitlines()) == 1
    assert [model["name"] for model in document(filled("list", "--json"))["models"]] == ["brain"]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("promote", "brain", "two"), 2, "not a valid integer"),
        (("promote", "brain"), 2, "Missing argument"),
        (("promote", "brain", "0"), 2, "not in the range"),
        (("promote", "brain", "9"), 2, "there is no version 9; there are 1, 2"),
        (("promote", "brain", "1", "--alias", "a b"), 2, "alias"),
        (("show", "brian"), 2, "no model is called 'brian'; there are brain in sqlite:"),
        (("show", "brain@night"), 2, "it has champion (version 2)"),
        (("show", "brain@"), 2, "write models:/NAME@ALIAS"),
        (("register", "no/such/folder", "--name", "x"), 2, "no/such/folder"),
        (("register", ".", "--name", "x"), 2, "not a model package"),
        (("export", "brain/9", "brain.voxgraft.zip"), 2, "there is no version 9"),
        (("delete", "brian", "1", "--yes"), 2, "no model is called 'brian'"),
        (("rollback", "brian"), 2, "no model is called 'brian'"),
        (("export", "brain", "brain.tar"), 2, ".voxgraft.zip"),
        (("list", "--tracking", "nonsense"), 2, "sqlite:///FILE"),
        (("list", "--tracking", "http://127.0.0.1:9"), 1, "nothing answers"),
        (("lits",), 2, "No such command"),
    ],
)
def test_a_wrong_call_is_answered_in_a_sentence(filled: Call, args: tuple[str, ...], code: int, words: str) -> None:
    done = filled(*args, code=code)
    assert words in done.stderr and "Traceback" not in done.output and done.stdout == ""


@pytest.mark.parametrize("way", ["register", "import"])
def test_the_first_model_makes_no_registry_that_nobody_named(
    filled: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    file = tmp_path / "brain.voxgraft.zip"
    filled("export", "brain/1", file)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    given = {"register": tmp_path / "p1", "import": file}[way]
    assert "--tracking" in filled(way, given, code=2).stderr
    assert not list(Path.cwd().iterdir())
    filled(way, given, "--tracking", "sqlite:///voxgraft.db")
    assert document(filled("list", "--json"))["models"][0]["name"] == "brain"
