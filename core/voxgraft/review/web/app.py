"""The server of the review: each address of the page, and what answers it."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs

from anyio import Semaphore, fail_after, to_thread
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ...errors import VoxGraftError
from ...support.files import is_full
from ..state.assigning import assign
from ..state.errors import NotThere, Refused
from ..state.page import scan, worklist
from ..state.records import GOLD
from ..state.reviewed import plain
from ..state.store import ReviewStore
from ..state.worklist import Query
from . import app_masks, app_worth
from .gate import LOGIN, Gate
from .requests import Answer, body_of, flag_of, json_of, number_of, query_number, refusal, text_of
from .security import Access, Session

STATIC = Path(__file__).parents[1] / "static"
STYLE = Path(__file__).parents[2] / "reports" / "page.css"
"""The style of all pages, reports and review alike."""
PAGES = {"worklist": STATIC / "worklist.html", "scan": STATIC / "scan.html"}
THREADS = 16
"""Requests that are worked on at one time; each thread may hold on to as much memory as its largest one took."""
LOGIN_WAIT = 20.0
"""Seconds in which a token has to come: everybody may send one."""
KEPT = "private, no-cache"
"""Images and masks may stay in the browser while it runs and are asked for again by their tag."""

log = logging.getLogger(__name__)
Endpoint = Callable[[Request], Awaitable[Response]]


def make_app(store: ReviewStore, access: Access, started: Callable[[], None] = lambda: None) -> Gate:
    """The server of a review.

    Args:
        store: What is reviewed.
        access: Who may ask.
        started: Called once requests are answered.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = THREADS
        started()
        yield

    routes = [
        Route("/healthz", _health),
        Route("/login", _login, methods=["POST"]),
        Route("/", _page("worklist")),
        Route("/scan/{case}", _page("scan")),
        Route("/api/session", _session),
        Route("/api/session", _enter, methods=["POST"]),
        Route("/api/worklist", _worklist),
        Route("/api/scans/{case}", _scan),
        Route("/api/scans/{case}/image", _image),
        Route("/api/scans/{case}/preview", _preview),
        Route("/api/scans/{case}/masks/{which}", _mask),
        Route("/api/scans/{case}/decisions", _decide, methods=["POST"]),
        Route("/api/scans/{case}/notes", _add_note, methods=["POST"]),
        Route("/api/scans/{case}/notes/{number}", _remove_note, methods=["DELETE"]),
        Route("/api/assignments", _assignments),
        Route("/api/assignments", _assign, methods=["POST"]),
        *app_masks.routes(),
        *app_worth.routes(store),
        Route("/static/page.css", _style),
        Mount("/static", StaticFiles(directory=STATIC, html=False, follow_symlink=False)),
    ]
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={VoxGraftError: _refuse, HTTPException: _http, ClientDisconnect: _left, Exception: _broken},
    )
    app.state.store, app.state.access = store, access
    app.state.saving = Semaphore(app_masks.SAVES)
    return Gate(app, access)


def _store(request: Request) -> ReviewStore:
    store: ReviewStore = request.app.state.store
    return store


def _reader(request: Request) -> str:
    session: Session = request.scope["session"]
    return session.reader


def _case(request: Request) -> str:
    return str(request.path_params["case"])


async def _refuse(request: Request, error: Exception) -> Response:
    if isinstance(error, Refused):
        return refusal(error)
    assert isinstance(error, VoxGraftError)
    return Answer({"error": plain(error)}, 507 if is_full(_store(request).out) else 400)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    texts = {404: "there is no such page", 405: "this address does not accept this method"}
    return Answer({"error": texts.get(error.status_code, error.detail)}, error.status_code, error.headers)


async def _left(request: Request, error: Exception) -> Response:
    """The browser was closed while it sent something: nobody reads the answer, and nothing was changed."""
    return Response(status_code=400)


async def _broken(request: Request, error: Exception) -> Response:
    """What nobody expected: the browser is told no more than that, and the log names no patient."""
    return Answer({"error": "something went wrong in the server; its output says where"}, 500)


async def _health(request: Request) -> Response:
    return Answer({"ok": True})


async def _login(request: Request) -> Response:
    """Exchange a token for a session."""
    access: Access = request.app.state.access
    try:
        with fail_after(LOGIN_WAIT):
            body = await body_of(request, 4096)
    except TimeoutError:
        return Answer({"error": "the token did not come in time"}, 408, {"Connection": "close"})
    fields = parse_qs(body.decode("latin-1"), max_num_fields=4)
    reader = access.reader_of_token(fields.get("token", [""])[0]) if access.tokens else ""
    if reader is None:
        return HTMLResponse(LOGIN.replace("<form", "<p>This token is not valid.</p><form"), 401)
    request.scope["new_session"] = access.new(reader)
    return RedirectResponse("/", 303)


def _page(name: str) -> Endpoint:
    async def page(request: Request) -> Response:
        if name == "scan":
            _store(request).seen(_case(request), _reader(request))
        if not PAGES[name].is_file():
            raise NotThere("this page is not part of this installation")
        return HTMLResponse(PAGES[name].read_bytes())

    return page


async def _style(request: Request) -> Response:
    return FileResponse(STYLE, media_type="text/css")


async def _session(request: Request) -> Response:
    return Answer(await run_in_threadpool(_session_document, request, request.scope["session"]))


def _session_document(request: Request, session: Session) -> dict[str, Any]:
    store, access = _store(request), request.app.state.access
    own = {token_reader for token_reader in access.tokens.values() if token_reader}
    return {
        "reader": session.reader,
        "csrf": access.csrf(session),
        "readers": sorted({*store.readers, *own}),
        "fixed": bool(access.reader) or session.reader in own,
        "reasons": store.reasons,
        "blind": store.has_doubles,
        "version": version("voxgraft"),
        "writable": store.folder.writable,
        "running": store.ledger.running(),
        "warnings": store.told,
    }


async def _enter(request: Request) -> Response:
    """Choose the reader of a session."""
    access: Access = request.app.state.access
    session: Session = request.scope["session"]
    name = text_of(await json_of(request), "reader")
    fixed = access.reader or (session.reader if session.reader in access.tokens.values() else "")
    if fixed and name != fixed:
        raise Refused(f"this server was started for the reader {fixed!r}; nobody else can be chosen")
    if name in access.tokens.values() and name != session.reader:
        raise Refused(f"{name!r} has a separate token; sign in with that")
    reader = await run_in_threadpool(_store(request).enter, name)
    changed = Session(reader, session.key)
    request.scope["new_session"] = changed
    return Answer(await run_in_threadpool(_session_document, request, changed))


def _query(request: Request) -> Query:
    asked = request.query_params
    texts = {name: asked.get(name, "")[:200] for name in ("q", "state", "flag", "structure")}
    return Query(
        **texts,
        sort=asked.get("sort") or "doubt",
        offset=query_number(request, "offset", 0, 10**9),
        limit=query_number(request, "limit", 200, 2000),
    )


async def _worklist(request: Request) -> Response:
    store, query, near = _store(request), _query(request), request.query_params.get("case", "")
    return await run_in_threadpool(lambda: Answer(worklist(store, query, _reader(request), near)))


async def _scan(request: Request) -> Response:
    store, query, was = _store(request), _query(request), request.query_params.get("was", "")
    return await run_in_threadpool(lambda: Answer(scan(store, _case(request), _reader(request), query, was)))


async def _image(request: Request) -> Response:
    channel = query_number(request, "channel", 0, 10**6)
    image = await run_in_threadpool(_store(request).image, _case(request), channel, _reader(request))
    windows = json.dumps([asdict(window) for window in image.windows])
    return _file(request, image.path, image.tag, "application/octet-stream", {"X-VoxGraft-Windows": windows})


async def _preview(request: Request) -> Response:
    path = await run_in_threadpool(_store(request).preview, _case(request), _reader(request))
    return FileResponse(path, media_type="image/png")


async def _mask(request: Request) -> Response:
    which = str(request.path_params["which"])
    path, content = await run_in_threadpool(_store(request).mask_file, _case(request), which, _reader(request))
    return _file(request, path, content, "application/gzip")


def _file(
    request: Request, path: Path, tag: str, kind: str, more: Mapping[str, str] = MappingProxyType({})
) -> Response:
    headers = {"ETag": f'"{tag}"', "Cache-Control": KEPT, **more}
    if request.headers.get("if-none-match") == f'"{tag}"':
        return Response(status_code=304, headers=headers)
    return FileResponse(path, media_type=kind, headers=headers)


async def _decide(request: Request) -> Response:
    values = await json_of(request)
    case, reader, store = _case(request), _reader(request), _store(request)
    texts = {name: text_of(values, name, "") for name in ("structure", "reason", "note")}
    wanted = {"verdict": text_of(values, "verdict"), "mask": text_of(values, "mask", ""), **texts}
    seconds = number_of(values, "seconds", 0)
    decision = await run_in_threadpool(lambda: store.decide(case, reader, seconds=seconds, **wanted))
    state = await run_in_threadpool(lambda: store.seen(case, reader).review_state)
    return Answer({"decision": asdict(decision), "review_state": state}, 201)


async def _add_note(request: Request) -> Response:
    values = await json_of(request)
    place = values.get("place_mm")
    if place is not None:
        if not isinstance(place, list) or len(place) != 3:
            raise Refused("'place_mm' has to be three numbers")
        place = [number_of({"place_mm": value}, "place_mm") for value in place]
    text, structure = text_of(values, "text"), text_of(values, "structure", "")
    store, case, reader = _store(request), _case(request), _reader(request)
    note = await run_in_threadpool(store.add_note, case, reader, text, place, structure)
    return Answer(asdict(note), 201)


async def _remove_note(request: Request) -> Response:
    store, number = _store(request), str(request.path_params["number"])
    await run_in_threadpool(store.remove_note, _case(request), _reader(request), number)
    return Answer({"removed": number})


async def _assignments(request: Request) -> Response:
    """Who reads what; scans with a reference are not named."""
    given = [asdict(one) for one in _store(request).assignments() if one.role != GOLD]
    return Answer({"assignments": given})


async def _assign(request: Request) -> Response:
    values = await json_of(request)
    case, reader, role = (text_of(values, name) for name in ("case", "reader", "role"))
    withdrawn = flag_of(values, "withdrawn")
    await run_in_threadpool(assign, _store(request), _reader(request), case, reader, role, withdrawn)
    return Answer({"assigned": not withdrawn}, 201)
