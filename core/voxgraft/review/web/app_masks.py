"""The addresses at which masks are changed: saving, undo and redo, and corrections that are previewed first."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..state.correcting import Asked
from ..state.errors import NotThere, Refused
from ..state.masks import largest
from ..state.reviewed import no_mask
from ..state.store import ReviewStore
from .requests import Answer, body_of, flag_of, json_of, number_of, text_of, whole_of
from .security import Session

Values = Mapping[str, Any]
Answered = dict[str, Any]
LONGEST_TOOL = 60
SAVES = 4
"""Masks that are unpacked and saved at one time: each may be some hundred megabytes."""


def routes() -> list[Route]:
    """The routes, to be put among the others."""
    return [
        Route("/api/scans/{case}/mask", save, methods=["PUT"]),
        Route("/api/scans/{case}/propagate", _correction(_propagate), methods=["POST"]),
        Route("/api/scans/{case}/click", _correction(_click), methods=["POST"]),
        Route("/api/scans/{case}/fill", _correction(_fill), methods=["POST"]),
        Route("/api/scans/{case}/smooth", _correction(_smooth), methods=["POST"]),
        Route("/api/scans/{case}/undo", _step("undo"), methods=["POST"]),
        Route("/api/scans/{case}/redo", _step("redo"), methods=["POST"]),
    ]


def of(request: Request) -> tuple[ReviewStore, str, str]:
    """The store, the case and the reader of a request."""
    store: ReviewStore = request.app.state.store
    session: Session = request.scope["session"]
    return store, str(request.path_params["case"]), session.reader


async def save(request: Request) -> Response:
    """Take a mask; the body is bounded by the scan's own size while it is read."""
    store, case, reader = of(request)
    base = _base(request)
    locked = _locked(request.headers.get("X-VoxGraft-Locked", ""))
    tool = request.headers.get("X-VoxGraft-Tool", "pen")
    if not re.fullmatch(rf"[\w ,.-]{{1,{LONGEST_TOOL}}}", tool):
        raise Refused(f"X-VoxGraft-Tool holds at most {LONGEST_TOOL} letters, digits, commas and hyphens")
    shape = await run_in_threadpool(_shape, store, case, reader)
    data = await body_of(request, largest(shape))
    async with request.app.state.saving:
        saved = await run_in_threadpool(store.editor.save, case, reader, base, data, locked, tool)
    return Answer(saved.document())


def _shape(store: ReviewStore, case: str, reader: str) -> tuple[int, ...]:
    store.check_writable()
    seen = store.seen(case, reader)
    if not seen.model_mask:
        raise NotThere(no_mask(seen.row))
    return store.grid(seen)[0]


def _step(name: str) -> Callable[[Request], Any]:
    async def step(request: Request) -> Response:
        store, case, reader = of(request)
        base = _seen(await json_of(request))
        work = store.editor.undo if name == "undo" else store.editor.redo
        saved = await run_in_threadpool(work, case, reader, base)
        return Answer(saved.document())

    return step


async def _propagate(store: ReviewStore, asked: Asked, values: Values) -> Answered:
    axis, slices = whole_of(values, "axis"), _whole_numbers(values, "slices")
    reach = number_of(values, "reach_mm", 30.0)
    return await run_in_threadpool(store.corrector.propagate, asked, axis, reach, slices, flag_of(values, "over"))


async def _click(store: ReviewStore, asked: Asked, values: Values) -> Answered:
    radius = number_of(values, "radius_mm", 25.0)
    return await run_in_threadpool(store.corrector.click, asked, values.get("points"), radius, flag_of(values, "over"))


async def _fill(store: ReviewStore, asked: Asked, values: Values) -> Answered:
    axis, index = (None if values.get(name) is None else whole_of(values, name) for name in ("axis", "slice"))
    return await run_in_threadpool(store.corrector.fill, asked, axis, index, flag_of(values, "over"))


async def _smooth(store: ReviewStore, asked: Asked, values: Values) -> Answered:
    kind, radius = text_of(values, "kind", "median"), number_of(values, "radius_mm", 3.0)
    return await run_in_threadpool(store.corrector.smooth, asked, kind, radius, flag_of(values, "over"))


def _correction(work: Callable[[ReviewStore, Asked, Values], Awaitable[Answered]]) -> Callable[[Request], Any]:
    """Show what follows from a correction, or save it."""

    async def correct(request: Request) -> Response:
        store, case, reader = of(request)
        values = await json_of(request)
        label, locked = whole_of(values, "label"), _whole_numbers(values, "locked")
        commit = flag_of(values, "commit")  # without a mask it can only be shown
        base = _seen(values) if commit or "mask" in values else None
        return Answer(await work(store, Asked(case, reader, label, locked, commit, base), values))

    return correct


def _whole_numbers(values: Mapping[str, Any], name: str) -> list[int]:
    """A list of whole numbers of a request; empty where it is missing.

    Raises:
        Refused: It is something else.
    """
    found = values.get(name) or []
    if not isinstance(found, list) or not all(type(one) is int for one in found):
        raise Refused(f"{name!r} has to be a list of whole numbers")
    return found


def _seen(values: Mapping[str, Any]) -> str:
    """The mask that the reader sees.

    Raises:
        Refused: The request does not say it.
    """
    mask = text_of(values, "mask", "")
    if not re.fullmatch("[0-9a-f]{64}", mask):
        raise Refused("'mask' has to name the mask that was seen by its SHA-256")
    return mask


def _base(request: Request) -> str:
    """The mask that a save started from.

    Raises:
        Refused: The request does not say it.
    """
    match = re.fullmatch(r'(W/)?"([0-9a-f]{64})"', request.headers.get("if-match", "").strip())
    if match is None:
        raise Refused('the header If-Match has to name the mask that was changed: "SHA-256"')
    return match[2]


def _locked(header: str) -> list[int]:
    """Values of structures, with commas between them.

    Raises:
        Refused: It is something else.
    """
    if not re.fullmatch(r"\s*(\d{1,5}\s*(,\s*\d{1,5}\s*)*)?", header) or len(header) > 10_000:
        raise Refused("X-VoxGraft-Locked holds values of structures, with commas between them")
    return [int(part) for part in header.split(",") if part.strip()]
