"""What viewers send to MONAI Label's API: forms with files or JSON, and images for a while, on disk, so that they
outlive the server.
"""

from __future__ import annotations

import re
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..support.files import atomic_write, read_json, write_json
from ..support.lock import remove
from .refused import Refused, json_object

if TYPE_CHECKING:
    from starlette.datastructures import UploadFile
    from starlette.requests import Request

DAYS = 30.0
"""After so many days without use a session is removed when the server starts."""
MOST = 200
"""Sessions at once."""

_ID = re.compile(r"[0-9a-f]{32}")
_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm", ".zip")


@dataclass(frozen=True)
class Uploads:
    """The sessions of a folder.

    Attributes:
        folder: Has a folder for each session.
    """

    folder: Path

    def add(self, files: dict[str, Path], expiry: float = 0.0) -> str:
        """Take one image, of one file or several; gives the id of the session.

        Args:
            files: The name that each file has at the viewer, and where it lies now; it is moved.
            expiry: Seconds after the last use at which it may be removed; 0 for the usual days.

        Raises:
            Refused: 400, no file was sent; 409, there are too many sessions.
        """
        if not files:
            raise Refused(400, "no image was sent")
        if sum(1 for _ in self.folder.glob("*/session.json")) >= MOST:
            raise Refused(409, f"there are {MOST} sessions here already; remove some")
        name = secrets.token_hex(16)
        with atomic_write(self.folder / name) as folder:
            (folder / "image").mkdir(parents=True)
            for number, (called, path) in enumerate(sorted(files.items())):
                shutil.move(path, folder / "image" / f"{number:05d}{ending(called)}")
            now = int(time.time())
            facts = {"created": now, "used": now, "expiry": max(0.0, expiry) or DAYS * 86400, "files": len(files)}
            write_json(folder / "session.json", facts)
        return name

    def image(self, name: str) -> Path:
        """The file of a session's image, or its folder where several files make it.

        Raises:
            Refused: 404, there is no such session.
        """
        info = self.info(name)
        write_json(self.folder / name / "session.json", {**info, "used": int(time.time())})
        files = sorted((self.folder / name / "image").iterdir())
        return files[0] if len(files) == 1 else self.folder / name / "image"

    def info(self, name: str) -> dict[str, Any]:
        """What is known of a session.

        Raises:
            Refused: 404, there is none.
        """
        try:
            if not _ID.fullmatch(name):
                raise ValueError(name)
            document = read_json(self.folder / name / "session.json")
            return {key: document[key] for key in ("created", "used", "expiry", "files")}
        except (OSError, ValueError, KeyError, TypeError):
            raise Refused(404, "there is no session of this id") from None

    def remove(self, name: str) -> dict[str, Any]:
        """Remove a session; gives what was known of it."""
        info = self.info(name)
        remove(self.folder / name)
        return info

    def sweep(self) -> None:
        """Remove the sessions whose time is over."""
        for path in self.folder.glob("*/session.json"):
            try:
                info = self.info(path.parent.name)
            except Refused:
                continue
            if time.time() - info["used"] > info["expiry"]:
                remove(path.parent)


def ending(name: str) -> str:
    """The ending of a file's name that says its format; nothing else of a name that a client sends is used."""
    lower = name.lower()
    return next((end for end in _ENDINGS if lower.endswith(end)), "")


LONGEST_FIELD = 2**20
"""Bytes of a field of a form that is not a file."""
MOST_FILES = 5000
"""Files of one request: the slices of a series."""


@dataclass(frozen=True)
class Form:
    """What a request carries, on disk as far as it is files.

    Attributes:
        query: What stands in the address.
        params: The JSON object of the field `params`, or of the whole body.
        files: (field, the file's name at the viewer, where it lies until the answer is made).
    """

    query: Mapping[str, str]
    path: Mapping[str, str]
    params: Mapping[str, Any]
    files: tuple[tuple[str, str, Path], ...] = ()

    def file(self, field: str) -> tuple[str, Path] | None:
        """The name and the place of the one file of a field; None where there is none."""
        return next(((called, path) for name, called, path in self.files if name == field), None)


async def form_of(request: Request, folder: Path) -> Form:
    """What a request carries; its files lie in a folder afterwards.

    Raises:
        Refused: 400, it cannot be understood.
    """
    from starlette.concurrency import run_in_threadpool
    from starlette.datastructures import UploadFile
    from starlette.exceptions import HTTPException

    query, path = dict(request.query_params), dict(request.path_params)
    if not request.headers.get("content-type", "").startswith(("multipart/form-data", "application/x-www-form")):
        return Form(query, path, json_object(await request.body(), "params are"))
    files: list[tuple[str, str, Path]] = []
    try:
        async with request.form(max_files=MOST_FILES, max_part_size=LONGEST_FIELD) as form:
            params = form.get("params")
            for number, (field, value) in enumerate(form.multi_items()):
                if isinstance(value, UploadFile):
                    called = value.filename or ""
                    place = folder / f"{number:05d}{ending(called)}"
                    await run_in_threadpool(_keep, value, place)
                    files.append((field, called, place))
    except HTTPException as error:
        raise Refused(error.status_code, f"the form cannot be read: {error.detail}") from None
    return Form(
        query, path, json_object(params.encode() if isinstance(params, str) else b"", "params are"), tuple(files)
    )


def _keep(file: UploadFile, place: Path) -> None:
    with place.open("wb") as target:
        while piece := file.file.read(1 << 20):
            target.write(piece)
