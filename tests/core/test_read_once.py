"""Check, plan and prepare read each file once, and notice one that changes between them."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from datasets import boxes, workflow

from voxgraft.components.catalogue import Catalogue
from voxgraft.imaging import read as reading
from voxgraft.imaging.volume import Item, Volume
from voxgraft.runs.engine import run_workflow
from voxgraft.runs.run import Run
from voxgraft.support import contents
from voxgraft.support.contents import Contents, Kept
from voxgraft.support.progress import Progress
from voxgraft.workflow.workflow import read

STEPS = ["check", "plan", "prepare"]


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as left alone as soon as they are written."""
    monkeypatch.setattr(contents, "SETTLED", -1)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many times the voxels of each file were read."""
    times: Counter[str] = Counter()
    plain = reading._read_item

    def counting(item: Item, catalogue: Catalogue, numbers: bool) -> Volume:
        times[f"{item.path.parent.name}/{item.path.name}"] += 1
        return plain(item, catalogue, numbers)

    monkeypatch.setattr(reading, "_read_item", counting)
    return times


def run_in(tmp_path: Path, data: Path, catalogue: Catalogue, steps: list[str] = STEPS) -> Run:
    checked = read(workflow(tmp_path, data, steps="[check, plan, prepare]"), catalogue, ["tracking=null"])
    return run_workflow(checked, catalogue, tmp_path / "run", steps=steps, progress=Progress(quiet=True))


def test_three_steps_read_each_file_once_and_leave_what_they_left(
    tmp_path: Path, catalogue: Catalogue, settled: None, counted: Counter[str]
) -> None:
    data = boxes(tmp_path / "data", cases=3, shape=(12, 12, 12))
    together = run_in(tmp_path, data, catalogue)
    assert len(counted) == 6 and set(counted.values()) == {1}
    left = [together.read(name) for name in ("fingerprint.json", "plan.json", "prepared.json")]
    (tmp_path / "run" / "steps" / "plan.json").unlink()
    (tmp_path / "run" / "steps" / "prepare.json").unlink()
    apart = run_in(tmp_path, data, catalogue, ["plan", "prepare"])
    assert [apart.read(name) for name in ("fingerprint.json", "plan.json", "prepared.json")] == left


def test_without_room_files_are_read_again(
    tmp_path: Path, catalogue: Catalogue, settled: None, counted: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voxgraft.runs.run.MOST_KEPT", 12**3 * 2)
    run_in(tmp_path, boxes(tmp_path / "data", cases=3, shape=(12, 12, 12)), catalogue)
    assert len(counted) == 6 and max(counted.values()) == 3


def test_a_change_of_same_size_and_time_is_noticed(tmp_path: Path, settled: None) -> None:
    file, kept, hashes = tmp_path / "scan", Kept(10), Contents(tmp_path / "contents.json")
    file.write_bytes(b"before")
    before, status, content = Kept.states([file]), file.stat(), hashes.of(file)
    assert kept.put("scan", before, "voxels", 10) and kept.get("scan") == "voxels"
    assert not kept.put("more", before, "voxels", 1)
    file.write_bytes(b"after!")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert kept.get("scan") is None and hashes.of(file) != content
    kept.clear()
    assert kept.put("more", Kept.states([file]), "voxels", 10)


def test_what_changed_a_moment_ago_is_neither_kept_nor_trusted(tmp_path: Path) -> None:
    file, hashes = tmp_path / "scan", Contents(tmp_path / "contents.json")
    file.write_bytes(b"before")
    assert not Kept.states([file]) and not Kept(10).put("scan", Kept.states([file]), "voxels")
    assert not Kept.states([tmp_path / "not there"])
    hashes.note(file, "header", "read")
    hashes.save()
    assert Contents(tmp_path / "contents.json").noted(file, "header") is None
    row = hashes._known[next(iter(hashes._known))]
    row["sha256"] = "what it was within the same tick"
    assert hashes.of(file) != row["sha256"]
