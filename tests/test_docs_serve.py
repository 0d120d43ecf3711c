"""The page about serving: its commands are understood, its first one is run, and its Python speaks to that server."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

import voxgraft as vg
from voxgraft.cli.serve import serve
from voxgraft.imaging.volume import Volume
from voxgraft.imaging.write import write
from voxgraft.serve.app import Settings

sys.path.insert(0, str(Path(__file__).parent / "core"))
from serving import affine, kidneys, package, serving

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "serve.md").read_text()
COMMANDS = re.findall(r"^voxgraft serve (.+)$", PAGE, re.M)
SNIPPETS = re.findall(r"```python\n(.+?)```", PAGE, re.S)


@pytest.fixture(scope="module")
def url(tmp_path_factory, catalogue) -> Iterator[tuple[str, Path]]:
    """A server as the page's first command starts it, with a model that needs no training."""
    folder = tmp_path_factory.mktemp("page")
    write(Volume(kidneys(), affine()), folder / "scans" / "scan_1.nii.gz", catalogue)
    model = package(folder / "model", name="hippocampus")
    with serving([model], Settings(folder / "voxgraft-sessions", data=folder / "scans"), catalogue) as address:
        yield address, folder


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder and the files that the page's commands name."""
    (tmp_path / "scans").mkdir()
    for name in ("token", "cert.pem", "key.pem"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_understood(command: str) -> None:
    words = shlex.split(command)
    context = serve.make_context("serve", words)
    assert context.params["models"]
    known = {name for parameter in serve.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.usefixtures("named")
def test_the_first_command_starts_what_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr("voxgraft.serve.app.run", lambda *args: started.extend(args))
    monkeypatch.setattr("voxgraft.batch.segment.resolve_package", lambda reference, _: Path(reference))
    serve.main(shlex.split(COMMANDS[0]), standalone_mode=False)
    packages, settings = started[:2]
    assert packages == [Path("runs/hippocampus-mr/package")] and settings.data == Path("scans")
    assert settings.listening.port == 1527 and settings.sessions == Path("voxgraft-sessions")


def test_every_option_that_the_page_names_is_there() -> None:
    known = {name for parameter in serve.params for name in parameter.opts} | {"--no-deps", "--port"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE)) <= known
    assert isinstance(serve, click.Command)


def test_the_figures_of_the_page_are_those_of_the_code() -> None:
    from voxgraft.serve import app, engine, marks

    assert f"within {engine.NEAR_MM:g} mm" in PAGE and f"at most {engine.REACH_MM:g} mm" in PAGE
    assert f"left after {engine.SLICES_MM:g} mm" in PAGE
    assert f"up to {marks.LARGEST >> 30} GiB unpacked and {app.LARGEST >> 30} GiB packed" in PAGE
    settings = app.Settings(Path())
    assert f"Up to {settings.clients} viewers" in PAGE
    assert f"after {settings.idle:g} s without a mark" in PAGE and f"or {settings.liveness:g} s" in PAGE


def test_what_was_measured_is_what_the_benchmark_wrote() -> None:
    result = json.loads((ROOT / "benchmarks" / "results" / "serve_clients.json").read_text())
    first, labelled = result["nninteractive"], result["monailabel"]
    clicks = first["click_seconds"]
    after = ", ".join(f"{first['dice_after_clicks'][number]:.3f}" for number in ("1", "3", "5", "10"))
    for text in (
        f"| mean Dice: the model's mask | {first['dice_of_the_model']:.3f} |",
        f"| mean Dice after 1, 3, 5, 10 clicks | {after} |",
        f"(median of {clicks['number']}, slowest) | {clicks['median']:.2f}, {clicks['largest']:.2f} |",
        f"prediction included (median) | {first['open_seconds']:.1f} |",
        f"at most | {first['largest_change_voxels']} |",
        f"(SIGKILL) | {first['found_again_after_sigkill']} |",
        f"saved in their own grid | {labelled['scans']}, {labelled['saved_in_the_scans_grid']} |",
    ):
        assert text in PAGE
    for text, name in (
        ("first point, which picks a structure", "first_point"),
        ("click", "click"),
        ("undo", "undo"),
        ("first point on an object of an earlier day", "found_again"),
    ):
        assert f"| {text} | {result['large'][name]:.2f} |" in PAGE
    assert first["undo_exact"] and labelled["all_labelled"]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_its_python_runs(snippet: str, url: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    address, folder = url
    module = re.findall(r"^from (nnInteractive|monailabel)", snippet, re.M)[0]
    if module == "monailabel" and sys.version_info >= (3, 13):
        pytest.skip("monailabel's client imports cgi, which Python 3.13 no longer has")
    pytest.importorskip(module)
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    exec(snippet.replace("http://127.0.0.1:1527", address), names)
    if module == "monailabel":
        saved = vg.read(folder / "scans" / "voxgraft-labels" / "final" / "scan_1.nii.gz")
        assert set(np.unique(saved.array)) == {0, 1, 2}
    else:
        assert isinstance(names["mask"], np.ndarray)
