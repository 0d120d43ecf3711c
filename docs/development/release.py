"""Build what is published: wheel and source archive, with the project's address and absolute links in their README.

    python docs/development/release.py https://HOST/OWNER/voxgraft/blob/main dist && twine check --strict dist/*

The address is the one below which the files of the repository are shown: a page of a package index cannot follow links
that are relative to a clone. What is committed is built, in a copy; the clone stays as it is.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="https://...")
    parser.add_argument("folder", type=Path, help="Where the two files go.")
    asked = parser.parse_args()
    if not re.match(r"https://[^/\s]+/\S", asked.address):
        parser.error(
            f"{asked.address}: is not the address of a repository; write https://HOST/OWNER/voxgraft/blob/main"
        )
    build(asked.address.rstrip("/"), asked.folder.absolute())


def build(address: str, folder: Path) -> None:
    """Build both from a copy of what is committed."""
    with TemporaryDirectory(prefix="voxgraft-release-") as name:
        copy = Path(name)
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", name], input=archive, check=True)
        readme, project = copy / "README.md", copy / "pyproject.toml"
        readme.write_text(absolute(readme.read_text(encoding="utf-8"), address), encoding="utf-8")
        project.write_text(addressed(project.read_text(encoding="utf-8"), address), encoding="utf-8")
        subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(folder)], cwd=copy, check=True)


def absolute(text: str, address: str) -> str:
    """A README whose links and pictures begin with the address; anchors and other hosts stay as they are."""
    text = re.sub(r"(!\[[^\]]*\]\()(?!https?:)([^)]+)\)", rf"\1{address}/\2?raw=true)", text)
    return re.sub(r"(\]\()(?!https?:|#|mailto:)([^)]+)\)", rf"\1{address}/\2)", text)


def addressed(project: str, address: str) -> str:
    """pyproject.toml with the addresses that an index shows beside the project."""
    pages = {"Source": "README.md", "Documentation": "docs/index.md", "Changelog": "CHANGELOG.md"}
    lines = [f"{name} = {json.dumps(f'{address}/{page}')}" for name, page in pages.items()]
    return project.replace("[project.scripts]", "\n".join(["[project.urls]", *lines, "", "[project.scripts]"]), 1)


if __name__ == "__main__":
    main()
