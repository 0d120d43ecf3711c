"""A batch whose scans or results lie in object storage: fetched where they are needed, put when they are whole.

The process that was called has a copy of all scans and results below `cache_folder`, with the ledger. A worker on the
same machine works there; one elsewhere fetches the scan that it is at, and leaves its results in the storage, from
where the parent takes them.
"""

from __future__ import annotations

import platform
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UsageError
from ..packages.references import cache_folder
from ..support.objects import discard, fetch, fetch_file, mirror_of, put, put_file, take
from ..support.texts import is_url
from .outputs import REPORT

STAGED = ".staged"
"""Below the results in object storage: what workers elsewhere have written and the parent has still to take."""


@dataclass(frozen=True, slots=True)
class Remote:
    """Where the files of a batch lie.

    Attributes:
        out: The URL of the results; empty where they lie on a disk.
        inputs: The copy of each INPUT here, and its URL.
        host: The machine that has the copies.
        token: Parts what this call stages from what others do.
    """

    out: str = ""
    inputs: tuple[tuple[Path, str], ...] = ()
    host: str = field(default_factory=platform.node)
    token: str = field(default_factory=lambda: secrets.token_hex(5))

    @property
    def staging(self) -> str:
        return f"{self.out}/{STAGED}/{self.token}"

    def fetch(self, files: Iterable[Path]) -> None:
        """Fetch those files of a scan that are not on this machine.

        Raises:
            DataError: One cannot be read.
        """
        for file in files:
            copy = next(((copy, url) for copy, url in self.inputs if file == copy or copy in file.parents), None)
            if copy is not None and not file.exists():
                name = file.relative_to(copy[0]).as_posix()
                fetch_file(copy[1] if name == "." else f"{copy[1]}/{name}", file)

    def hand_over(self, staged: Path) -> None:
        """On a worker: let the parent have what was staged, where it cannot see the disk of this machine.

        Raises:
            DataError: The storage does not take it.
        """
        if self.out and platform.node() != self.host:
            put(staged, f"{self.staging}/{staged.name}")

    def take(self, staged: Path, hashes: Mapping[str, str]) -> None:
        """In the parent: have what a worker elsewhere staged.

        Raises:
            DataError: It is not there, or has another hash.
        """
        if self.out and not staged.is_dir():
            take(f"{self.staging}/{staged.name}", staged, hashes)

    def publish(self, path: Path) -> None:
        """Put a file of the batch's folder, or the folder of a scan, its report last.

        Raises:
            DataError: The storage does not take it.
        """
        if self.out and path.is_dir():
            put(path, f"{self.out}/{path.name}", REPORT)
        elif self.out and path.is_file():
            put_file(path, f"{self.out}/{path.name}")

    def tidy(self, everything: bool) -> None:
        """Remove what was staged and nobody took: by this call, or by all before it."""
        if self.out:
            discard(f"{self.out}/{STAGED}" if everything else self.staging)


def placed_here(inputs: Sequence[str | Path], out: str | Path) -> tuple[Remote, list[Path], Path]:
    """Fetch inputs that are URLs; where they and the results lie on this machine.

    Raises:
        UsageError: There is no such input, or it is a worklist, whose paths would lead nowhere.
        DataError: It cannot be fetched.
    """
    home, copies, paths = cache_folder().absolute(), [], []
    for given in inputs:
        if not is_url(given):
            paths.append(Path(given))
            continue
        url = str(given).rstrip("/")
        if url.lower().endswith(".csv"):
            raise UsageError(f"{url}: a CSV worklist has to lie on a disk of this machine")
        paths.append(fetch(url, mirror_of(url, home)))
        copies.append((paths[-1], url))
    url = str(out).rstrip("/") if is_url(out) else ""
    return Remote(url, tuple(copies)), paths, here(out)


def here(out: str | Path) -> Path:
    """The folder of a batch on this machine."""
    return mirror_of(str(out), cache_folder().absolute()) if is_url(out) else Path(out)
