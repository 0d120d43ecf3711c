"""What stands before every route: the name of the server, the page that asks, the token, the size of the body."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from ..support.texts import legible

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from .access import Callers

Most = Callable[[str, str], int]
"""Bytes of the longest body of a request, by its method and path."""


TOO_LONG = "this request is too long"


class TooLong(Exception):
    """A body is longer than one of its kind may be."""


class Guard:
    """An ASGI application that lets through to another what may pass.

    A request is refused, before anything of its body is read, with

    - 421 where it calls the server by a name that is not its own: a page in a browser may have had its name turned
      towards this machine (DNS rebinding);
    - 403 where a page of another origin sends it that was not named;
    - 401 where it lacks the token, on all paths but the open ones;
    - 413 where its body says that it is too long, and while it is read where it is.

    Args:
        app: What answers.
        callers: Who may ask.
        most: The longest body, by method and path.
        open_paths: Paths that need no token.
        origins: Pages of other servers that may ask too, such as `https://ohif.example`.
    """

    def __init__(
        self,
        app: ASGIApp,
        callers: Callers,
        most: Most,
        open_paths: Collection[str] = (),
        origins: Collection[str] = (),
    ) -> None:
        self.app, self.callers, self.most, self.open = app, callers, most, frozenset(open_paths)
        self.origins = frozenset(origin.rstrip("/").casefold() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refusal(scope, headers)
        if refused is not None:
            await answer(send, *refused)
            return
        await self._bounded(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Mapping[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if not self.callers.host_fits(host):
            return 421, "this server does not have that host name; see --behind-proxy"
        origin = headers.get("origin", "").rstrip("/").casefold()
        if origin and origin not in self.origins and not self.callers.origin_fits(origin, host):
            return 403, "pages of that origin may not call this server; see --origin"
        preflight = scope["method"] == "OPTIONS" and "access-control-request-method" in headers
        if scope["path"] not in self.open and not preflight and not self._knows(headers.get("authorization", "")):
            return 401, "the token is missing or wrong"
        if _length(headers.get("content-length", "0")) > self.most(scope["method"], scope["path"]):
            return 413, TOO_LONG
        return None

    def _knows(self, authorization: str) -> bool:
        kind, _, token = authorization.partition(" ")
        known = kind.casefold() == "bearer" and self.callers.reader_of_token(token.strip()) is not None
        return known or not self.callers.tokens

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer, and stop where more than the longest body is sent."""
        most, read, begun = self.most(scope["method"], scope["path"]), 0, False

        async def bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise TooLong
            return message

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, bounded, watched)
        except TooLong:
            if not begun:
                await answer(send, 413, TOO_LONG)


def _length(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 2**63


async def answer(send: Send, status: int, sentence: str) -> None:
    """Send one sentence as JSON.

    Args:
        send: Of ASGI.
        status: Of HTTP.
        sentence: What is wrong, for a person.
    """
    body = json.dumps(told(sentence)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def told(sentence: str) -> dict[str, Any]:
    """An error as every server of VoxGraft tells it."""
    text = legible(sentence)  # it may quote what a caller sent
    return {"error": text, "detail": text}
