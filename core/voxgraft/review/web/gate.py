"""The gate before every request: host, token, session, CSRF; and the headers behind every answer."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .requests import Answer
from .security import COOKIE, CSRF, HEADERS, Access, Session

CHANGING = ("POST", "PUT", "DELETE", "PATCH")
OPEN = ("/healthz", "/login")
"""What may be asked without a token."""

LOGIN = """<!doctype html><html lang="en"><meta charset="utf-8"><title>VoxGraft review</title>
<body><main><h1>VoxGraft review</h1><form method="post" action="/login"><label>Token
<input type="password" name="token" autocomplete="current-password" required autofocus></label>
<button>Enter</button></form></main></body></html>"""


class Gate:
    """Lets requests in that may ask, and puts session and headers on the answers.

    Args:
        app: What is behind it; finds the session in `scope["session"]`.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        session, fresh = self._session(headers)
        scope["session"], scope["new_session"] = session, session if fresh and session.key else None

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._finish(scope, MutableHeaders(scope=message))
            await send(message)

        refused = self._refused(scope, headers, session)
        await (refused or self._app)(scope, receive, answer)

    def _session(self, headers: Headers) -> tuple[Session, bool]:
        """The session of a request, and whether the browser has to be told of it."""
        if self._access.tokens:
            scheme, _, token = headers.get("authorization", "").partition(" ")
            if scheme.lower() == "bearer":
                reader = self._access.reader_of_token(token.strip())
                return (
                    (Session(reader or self._access.reader, f"bearer:{reader}"), False)
                    if reader is not None
                    else (
                        Session(),
                        False,
                    )
                )
        known = self._access.session(_cookie(headers.get("cookie", "")))
        if known is not None:
            return known, False
        return (Session(), False) if self._access.tokens else (self._access.new(), True)

    def _refused(self, scope: Scope, headers: Headers, session: Session) -> Response | None:
        host, path, method = headers.get("host", ""), scope["path"], scope["method"]
        if not self._access.host_fits(host):
            return Answer({"error": "this server does not have that host name; open the address that it printed"}, 421)
        if method in CHANGING and (origin := headers.get("origin")) and not self._access.origin_fits(origin, host):
            return Answer({"error": "the request comes from a page of another site"}, 403)
        if path in OPEN or (not session.key and path.startswith("/static/")):
            return None
        if not session.key:
            page = method == "GET" and not path.startswith("/api/")
            return HTMLResponse(LOGIN, 401) if page else Answer({"error": "a token is needed"}, 401)
        bearer = session.key.startswith("bearer:")
        if method in CHANGING and not bearer and not self._access.csrf_fits(session, headers.get(CSRF, "")):
            return Answer({"error": f"the header {CSRF} is missing or old; load the page again"}, 403)
        return None

    def _finish(self, scope: Scope, headers: MutableHeaders) -> None:
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        if self._access.secure:
            headers["Strict-Transport-Security"] = "max-age=31536000"
        session: Any = scope.get("new_session")
        if session is not None:
            secure = "; Secure" if self._access.secure else ""
            headers.append(
                "Set-Cookie", f"{COOKIE}={self._access.cookie(session)}; Path=/; HttpOnly; SameSite=Strict{secure}"
            )


def _cookie(header: str) -> str:
    try:
        found = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""
