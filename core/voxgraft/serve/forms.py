"""What a request to MONAI Label's API carries: a form with files, or JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .refused import Refused, json_object
from .uploads import ending

if TYPE_CHECKING:
    from starlette.datastructures import UploadFile
    from starlette.requests import Request

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
