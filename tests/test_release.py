"""What is published says who made it, for what, and where its pages are: no link needs a clone."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ADDRESS = "https://code.example.org/team/voxgraft/blob/main"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    if subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True).returncode:
        pytest.skip("this is not a clone: what is published is built from what is committed")
    call = [sys.executable, "docs/development/release.py", f"{ADDRESS}/", str(folder)]
    subprocess.run(call, cwd=ROOT, check=True, capture_output=True, text=True)
    return folder


def test_links_and_pictures_lead_to_files_of_the_repository(built) -> None:
    (wheel,) = built.glob("*.whl")
    assert len(list(built.glob("*.tar.gz"))) == 1
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        said = message_from_bytes(archive.read(name))
    links = re.findall(r"\]\(([^)]+)\)", said.get_payload())
    assert len(links) > 20 and all(link.startswith(("https://", "http://")) for link in links)
    ours = [link.removeprefix(f"{ADDRESS}/") for link in links if link.startswith(ADDRESS)]
    assert len(ours) > 20 and all((ROOT / re.split(r"[?#]", link)[0]).is_file() for link in ours)
    assert "docs/report.png?raw=true" in ours
    assert {line.partition(",")[0] for line in said.get_all("Project-URL")} == {"Source", "Documentation", "Changelog"}
    assert said["Author"] and said["License-Expression"] == "Apache-2.0" and len(said.get_all("Classifier")) > 5


@pytest.mark.parametrize("address", ["", "code.example.org/voxgraft", "http://code.example.org/voxgraft", "https://x"])
def test_an_address_that_no_page_can_have_is_refused(address, tmp_path) -> None:
    call = [sys.executable, "docs/development/release.py", address, str(tmp_path / "dist")]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and not (tmp_path / "dist").exists()
