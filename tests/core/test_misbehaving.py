"""Plugins that misbehave: they are named, for the plugin or the scan alone, and never take the rest with them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

import voxgraft.discovery as discovery
from voxgraft.discovery import discover

GOOD = "from voxgraft import hookimpl\n"
HOOK = f"{GOOD}import sys, time\n@hookimpl\ndef voxgraft_metrics():\n    "


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import time; time.sleep(60)", "did not end within 0.5 s"),
        (f"{HOOK}sys.exit('no licence')", "SystemExit: no licence"),
        (f"{HOOK}time.sleep(60)", "voxgraft_metrics did not end within 0.5 s"),
        (f"{HOOK}yield from iter(lambda: time.sleep(1), 1)", "voxgraft_metrics did not end within 0.5 s"),
    ],
)
def test_one_that_exits_or_hangs_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, builtin_entries: Any, code: str, reason: str
) -> None:
    module = f"odd_plugin_{abs(hash(code))}"  # one that hangs goes on being imported
    (tmp_path / f"{module}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    begun = time.monotonic()
    assert not discover(builtin_entries).failures, "asked with the usual patience: a busy machine is slow to import"
    assert time.monotonic() - begun < 10
    monkeypatch.setattr(discovery, "PATIENCE", 0.5)
    catalogue = discover([EntryPoint("odd", module, "voxgraft")])
    assert [(one.plugin, reason in one.reason) for one in catalogue.failures] == [("odd", True)]


def voxgraft(folder: Path, python: list[str], env: dict[str, str], *args: object) -> subprocess.CompletedProcess[str]:
    path = f"{folder}{os.pathsep}{env['PYTHONPATH']}"
    command = [*python, "-m", "voxgraft", *map(str, args)]
    return subprocess.run(command, env={**env, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120)


CHATTY = """
from voxgraft import ReaderSpec, hookimpl
from voxgraft.components.choice import Options
print("imported")
class Reader:
    def scan(self, files):
        import numpy as np
        from voxgraft.imaging.volume import Item
        print("scanning")
        return [Item(file, "chatty", (2, 2, 2), np.eye(4)) for file in files]
@hookimpl
def voxgraft_readers():
    print("asked")
    def build(options):
        print("built")
        return Reader()
    return [ReaderSpec(name="chatty", summary="", options=lambda: Options, build=build, suffixes=(".chat",))]
"""


def test_under_json_standard_output_is_one_document_whatever_plugins_print(
    tmp_path: Path, warm_python: list[str], repo_path: dict[str, str]
) -> None:
    (tmp_path / "chatty.py").write_text(CHATTY)
    info = tmp_path / "chatty-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: chatty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[voxgraft]\nchatty = chatty\n")
    (tmp_path / "a.chat").touch()
    for call in (("plugins", "list", "--json"), ("inspect", tmp_path / "a.chat", "--json")):
        done = voxgraft(tmp_path, warm_python, repo_path, *call)
        assert done.returncode == 0, done.stderr
        assert "chatty" in done.stdout and isinstance(json.loads(done.stdout), dict)
        assert "imported" in done.stderr and "asked" in done.stderr
    assert "scanning" in done.stderr and "built" in done.stderr
