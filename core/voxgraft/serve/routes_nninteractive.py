"""The addresses of nnInteractive's protocol: what a request carries, and what goes back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .marks import Mark, mark_of
from .nninteractive import Client, Protocol, changed_part
from .refused import Refused, json_object

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

LEASE, META = "x-lease-token", "x-meta"
MARKS = ("point", "bbox", "scribble", "lasso", "initial_seg")
BINARY = ("/set_image", *(f"/add_{kind}_interaction" for kind in ("scribble", "lasso", "initial_seg")))
"""Addresses to which arrays are sent."""

Work = Callable[[Client, bytes, Mapping[str, Any]], Any]


def routes(protocol: Protocol) -> list[Route]:
    """Every address, for the first model at the root and for each model below `/models/NAME`."""
    from starlette.routing import Route

    found: list[Route] = []
    for prefix in ("", "/models/{model}"):
        found += [
            Route(f"{prefix}/claim", _plain(protocol, lambda p, r: p.claim(_model(p, r))), methods=["POST"]),
            Route(f"{prefix}/capabilities", _plain(protocol, lambda p, r: p.capabilities(_model(p, r)))),
            Route(f"{prefix}/release", _plain(protocol, _release), methods=["POST"]),
            Route(f"{prefix}/heartbeat", _plain(protocol, _heartbeat), methods=["POST"]),
            Route(f"{prefix}/lease_status", _plain(protocol, _status), methods=["GET"]),
            Route(f"{prefix}/set_image", _leased(protocol, protocol.set_image), methods=["POST"]),
        ]
        works: dict[str, Work] = {
            "set_target_buffer": lambda c, d, m: protocol.set_target(c, json_object(d, "the request is")),
            "reset_interactions": lambda c, d, m: protocol.reset(c),
            "set_do_autozoom": lambda c, d, m: {},
            "predict": lambda c, d, m: protocol.predict(c),
            "undo": lambda c, d, m: protocol.undo(c),
        }
        found += [Route(f"{prefix}/{name}", _leased(protocol, work), methods=["POST"]) for name, work in works.items()]
        for kind in MARKS:
            path = f"{prefix}/add_{kind}_interaction"
            found.append(Route(path, _leased(protocol, _add(protocol, kind)), methods=["POST"]))
    return found


def _plain(protocol: Protocol, work: Callable[[Protocol, Request], dict[str, Any]]) -> Any:
    """An address that answers from memory."""

    async def answer(request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool

        from ..review.web.requests import Answer as Json

        return Json(await run_in_threadpool(work, protocol, request))

    return answer


def _leased(protocol: Protocol, work: Work) -> Any:
    """An address at which a client's person does something; a client's requests are done one after the other."""

    async def answer(request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool

        token = request.headers.get(LEASE, "")
        await run_in_threadpool(protocol.leases.get, token, active=True)
        return await run_in_threadpool(_done, protocol, token, work, await request.body(), _meta(request))

    return answer


def _done(protocol: Protocol, token: str, work: Work, data: bytes, meta: Mapping[str, Any]) -> Response:
    from starlette.responses import Response

    from ..review.web.requests import Answer as Json

    lease = protocol.leases.get(token, active=True)
    with lease.lock:
        answer = work(lease.held, data, meta)
        if isinstance(answer, dict):
            response: Response = Json(answer)
        else:
            body, told = changed_part(lease.held, *answer)
            response = Response(body, media_type="application/octet-stream", headers={META: json.dumps(told)})
    lease = protocol.leases.get(token, active=True)  # the time that the model took is not the person's
    return response


def _release(protocol: Protocol, request: Request) -> dict[str, Any]:
    protocol.leases.release(request.headers.get(LEASE, ""))
    return {"released": True}


def _heartbeat(protocol: Protocol, request: Request) -> dict[str, Any]:
    lease = protocol.leases.get(request.headers.get(LEASE, ""))
    return {"remaining_seconds": protocol.leases.remaining(lease)}


def _status(protocol: Protocol, request: Request) -> dict[str, Any]:
    lease = protocol.leases.get(request.headers.get(LEASE, ""), seen=False)
    return {"remaining_seconds": protocol.leases.remaining(lease), "idle_timeout_seconds": protocol.leases.idle}


def _add(protocol: Protocol, kind: str) -> Work:
    """An address at which something is marked."""
    binary = kind in ("scribble", "lasso", "initial_seg")

    def add(client: Client, data: bytes, meta: Mapping[str, Any]) -> tuple[bool, Any]:
        if client.image is None:
            raise Refused(409, "there is no image yet; send it first")
        body = meta if binary else json_object(data, "the request is")
        mark: Mark = mark_of(kind, body, data, client.image.shape)
        return protocol.mark(client, mark, kind == "initial_seg" or bool(body.get("run_prediction", True)))

    return add


def _model(protocol: Protocol, request: Request) -> Any:
    return protocol.models.get(request.path_params.get("model", ""))


def _meta(request: Request) -> Mapping[str, Any]:
    return json_object(request.headers.get(META, "{}").encode(), "the request is")
