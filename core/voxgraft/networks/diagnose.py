"""Why a file is not a file of weights, in words for who was given it: cut off, a web page, a pointer, code."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

AGAIN = "download it again"
ENOUGH = 512
"""Bytes from the start of a file that tell what it is."""
HEADER = 100_000_000
"""Bytes of the longest header of a safetensors file that its makers read."""


def why_unreadable(path: Path, error: BaseException) -> str:
    """What is the matter with a file that was not read as weights, and how to fix it, as the end of a sentence.

    Args:
        error: What the reader of such files said; its kind stands in the message where nothing better is known.
    """
    if path.is_dir():
        return "is a folder; name the file of weights in it"
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(ENOUGH)
    except OSError as problem:
        return f"cannot be opened: {problem.strerror or problem}"
    if size == 0:
        return f"is empty; {AGAIN}"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page, not weights: a login or error page was saved; download the file itself"
    if start.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, not the file it stands for; fetch that with `git lfs pull`"
    if path.suffix == ".safetensors":
        return _safetensors(start, path, size)
    if start.startswith(b"PK\x03\x04") and not zipfile.is_zipfile(path):
        return f"is cut off or damaged; {AGAIN}"
    return (
        f"cannot be read as weights without running code ({type(error).__name__}); where it was made, save its tensors "
        "alone, best as .safetensors"
    )


def _safetensors(start: bytes, path: Path, size: int) -> str:
    """Eight bytes tell the header's length; the header tells where the last tensor ends."""
    header = int.from_bytes(start[:8], "little")
    if start[8:9] != b"{":
        return "is not a safetensors file, whatever its name says; download it again, or give it its original extension"
    if header > HEADER:
        return f"is damaged: its header cannot be read; {AGAIN}"
    if 8 + header > size:
        return f"is cut off: it ends within its header; {AGAIN}"
    try:
        with path.open("rb") as file:
            file.seek(8)
            entries = json.loads(file.read(header))
        whole = 8 + header + max(entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return f"is damaged: its header cannot be read; {AGAIN}"
    if isinstance(whole, int) and whole > size:
        return f"is cut off: it holds {size:,} of {whole:,} bytes; {AGAIN}"
    return f"is damaged; {AGAIN}"
