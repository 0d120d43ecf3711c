"""Who may ask: hosts, origins, tokens, sessions and the headers of every answer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass, field

from ...web.access import Callers

COOKIE = "voxgraft-review"
CSRF = "X-VoxGraft-CSRF"
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",  # NiiVue's letters are an image in its own code, hence data:
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer browsers send the form of the token with the origin "null"
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}

REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""Of a page that stands alone, with its style inside as in reports: it may have style, and no script."""


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that is known.

    Attributes:
        reader: Empty until one is chosen.
        key: Random, for the whole session.
    """

    reader: str = ""
    key: str = ""


@dataclass(frozen=True)
class Access(Callers):
    """What this server asks of whoever talks to it.

    Attributes:
        secret: Signs sessions.
        secure: It is reached by TLS.
        reader: Named at the start; the reader of every session that names none.
    """

    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    secure: bool = False
    reader: str = ""

    def new(self, reader: str = "") -> Session:
        return Session(reader or self.reader, secrets.token_hex(16))

    def cookie(self, session: Session) -> str:
        """A session as a cookie's value, signed."""
        text = base64.urlsafe_b64encode(json.dumps([session.reader, session.key]).encode()).decode().rstrip("=")
        return f"{text}.{self._sign('session', text)}"

    def session(self, cookie: str) -> Session | None:
        """The session of a cookie; None where it is not one that this server signed."""
        text, _, sign = cookie.partition(".")
        if len(cookie) > 1000 or not hmac.compare_digest(self._sign("session", text).encode(), sign.encode()):
            return None
        reader, key = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return Session(self.reader or str(reader), str(key))  # a server may be started again for another reader

    def csrf(self, session: Session) -> str:
        """What a page of this session sends with every request that changes something.

        It is another one once another tab has chosen another reader: what the first reader left open is not kept under
        the second one's name.
        """
        return self._sign("csrf", f"{session.key}:{session.reader}")

    def csrf_fits(self, session: Session, sent: str) -> bool:
        return hmac.compare_digest(self.csrf(session).encode(), sent.encode())

    def _sign(self, kind: str, text: str) -> str:
        tokens = hashlib.sha256("\n".join(sorted(self.tokens)).encode()).digest()  # another token ends all sessions
        return hmac.new(self.secret + tokens, f"{kind}:{text}".encode(), hashlib.sha256).hexdigest()
