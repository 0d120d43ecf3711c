"""The source code of plugins: which files it is made of, and their fingerprint."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from importlib import metadata
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

_IMPORT = re.compile(
    r"(?:^|[:;])[ \t]*(?:import[ \t]+((?:[\w., \t]|\\\r?\n)+)"
    r"|from[ \t]+(\.*)([\w.]*)[ \t]+import[ \t]*(\([^)]*\)|(?:[^\n;#(\\]|\\\r?\n)+))",
    re.MULTILINE,
)
"""An import, wherever on a line and over however many lines it stands."""

_BY_NAME = re.compile(r"import_module\(\s*[\"']([\w.]+)[\"']")
"""An import of a module whose name is a text."""

CORE = __name__.split(".")[0]
"""This package, which is not part of a plugin's code: an installation has it beside plugins, a clone elsewhere."""
SHIPPED = Path(__file__).parents[1] / "workflows"
"""Files to begin from, which decide nothing: a wheel has them in this package, a clone elsewhere."""

_COMMENT = re.compile(r"#[^\n]*")


def source_hash(module: str, distribution: str | None = None) -> str:
    """SHA-256 over the names and bytes of a module's source files, in the order of names; empty where there are none.

    Args:
        distribution: What installed the module. Where it is given, modules that are imported and lie beside it count as
            well, with the packages that they are in and the tables in these; in a folder that distributions share,
            those that this one installed.
    """
    files = source_files(module, distribution)
    total = hashlib.sha256()
    for name, file in sorted(files.items()):
        total.update(name.encode())
        total.update(file.read_bytes())
    return total.hexdigest() if files else ""


def source_files(module: str, distribution: str | None = None) -> dict[str, Path]:
    """The files of a module, or of the whole package that it is in, and of what they import from beside it: the tables
    of a package that is imported from are among them.

    Returns:
        The files by their names relative to the folder that the module was found in.
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return {}
    root = Path(spec.origin)
    packaged = root.name == "__init__.py" or "." in module
    top = root.parents[module.count(".") + (root.name == "__init__.py")]
    files = set(_files_below(root.parent) if packaged else [root])
    left = list(files) if distribution is not None else []
    beside = {path.name.removesuffix(".py") for path in top.iterdir()} if left else set()
    if distribution and top.name in ("site-packages", "dist-packages"):
        beside &= {*_top_levels(distribution), module.split(".")[0]}
    if module.split(".")[0] != CORE:
        beside.discard(CORE)
    below = cache(_files_below)  # many imports lead to one folder: it is walked once
    resolved: set[str] = set()
    while left:
        names = {name for name in _named(left.pop(), top) if name.split(".")[0] in beside} - resolved
        resolved |= names
        new = {found for name in names for found in _imported(name, top, below)} - files
        files |= new
        left += new
    return {file.relative_to(top).as_posix(): file for file in files}


def _top_levels(distribution: str) -> set[str]:
    """The modules and packages that a distribution installed."""
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        return set()
    return {file.parts[0].removesuffix(".py") for file in files}


def _files_below(folder: Path) -> list[Path]:
    """Everything but what Python compiled: tables and weights decide as much as code does."""
    files = (file for file in folder.rglob("*") if file.suffix != ".pyc" and "__pycache__" not in file.parts)
    return [file for file in files if SHIPPED not in file.parents and file.is_file()]


def _imported(name: str, top: Path, below: Callable[[Path], list[Path]]) -> Iterator[Path]:
    """The modules below a folder that an import may mean; with each the beginnings of the packages that it is in, and
    what else but code lies in these.

    Args:
        name: Dotted, from that folder on.
        top: The folder.
        below: Lists the files of a folder.
    """
    path = top.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            yield candidate
            packages = candidate.relative_to(top).parents[:-1]
            yield from (found for folder in packages if (found := top / folder / "__init__.py").is_file())
            if packages:
                yield from (found for found in below(candidate.parent) if found.suffix != ".py")


def _named(file: Path, top: Path) -> Iterator[str]:
    """What a file imports from below a folder that it lies in, by dotted names from that folder on."""
    if file.suffix == ".py":
        within = file.relative_to(top).parts
        for dots, name in _names(file.read_text(encoding="utf-8", errors="replace")):
            if dots <= len(within):
                yield ".".join([*within[: len(within) - dots], name]) if dots else name


@lru_cache(maxsize=4096)
def _names(text: str) -> frozenset[tuple[int, str]]:
    """What a text imports: the number of dots before a name, and the name."""
    found = {(0, name) for match in _BY_NAME.finditer(text) if (name := match[1].strip("."))}
    for match in _IMPORT.finditer(text):
        plain, dots, start, names = match.groups()
        if plain:
            dotted = _listed(plain)
        else:
            dotted = [start, *(f"{start}.{name}" if start else name for name in _listed(names))]
        found |= {(0 if plain else len(dots), name) for name in dotted if name}
    return frozenset(found)


def _listed(names: str) -> list[str]:
    """The names of an import, without what they are called there."""
    plain = _COMMENT.sub("", names).replace("\\", " ").strip(" \t()")
    return [name.split()[0] for name in plain.split(",") if name.strip()]


def version_of(name: str) -> str:
    """The installed version of a distribution, or that it is not installed."""
    if name == "python":
        return sys.version.split()[0]
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


@cache
def own_code() -> str:
    """VoxGraft's version with the beginning of the fingerprint of its code, as it was when this was first asked for."""
    return f"{version_of(CORE)} ({source_hash(CORE)[:12]})"
