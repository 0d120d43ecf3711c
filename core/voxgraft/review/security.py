"""Who may ask: hosts, origins, tokens, sessions and the headers of every answer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import UsageError
from ..support.files import read_bytes

COOKIE = "voxgraft-review"
CSRF = "X-VoxGraft-CSRF"
SHORTEST = 16
"""Letters of a token."""

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",  # NiiVue's letters are an image in its own code, hence data:
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
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
class Access:
    """What this server asks of whoever talks to it.

    Attributes:
        hosts: Names and addresses under which it may be asked, in small letters, without ports.
        tokens: Token -> the reader whose it is, or empty for anybody's; none where no token is asked for.
        secret: Signs sessions.
        secure: It is reached by TLS.
        reader: Named at the start; the reader of every session that names none.
    """

    hosts: frozenset[str]
    tokens: Mapping[str, str] = field(default_factory=dict)
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    secure: bool = False
    reader: str = ""

    def host_fits(self, header: str) -> bool:
        """Whether a Host header names this server (a page elsewhere may have its name lead here)."""
        return _host(header) in self.hosts

    def origin_fits(self, origin: str, host: str) -> bool:
        """Whether a request comes from a page of this server."""
        parts = urlsplit(origin)
        return parts.netloc.lower() == host.lower() and parts.scheme in ("http", "https")

    def reader_of_token(self, token: str) -> str | None:
        """Whose a token is, empty for anybody's; None for a wrong one. All are compared, each in constant time."""
        found = None
        for known, reader in self.tokens.items():
            if hmac.compare_digest(known.encode(), token.encode()):
                found = reader
        return found

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
        return Session(str(reader), str(key))

    def csrf(self, session: Session) -> str:
        """What a page of this session sends with every request that changes something."""
        return self._sign("csrf", session.key)

    def csrf_fits(self, session: Session, sent: str) -> bool:
        return hmac.compare_digest(self.csrf(session).encode(), sent.encode())

    def _sign(self, kind: str, text: str) -> str:
        tokens = hashlib.sha256("\n".join(sorted(self.tokens)).encode()).digest()  # another token ends all sessions
        return hmac.new(self.secret + tokens, f"{kind}:{text}".encode(), hashlib.sha256).hexdigest()


def _host(header: str) -> str:
    """The name of a Host header without its port, in small letters."""
    match = re.fullmatch(r"(\[[0-9a-f:.]+\]|[^:\[\]/@\s]+)(:\d{1,5})?", header.strip().lower())
    return match[1].strip("[]") if match else ""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def hosts_of(host: str, proxy: str | None) -> frozenset[str]:
    """The names under which a server is asked.

    Args:
        host: The address that it listens on.
        proxy: Name or address of the proxy in front of it.

    Raises:
        UsageError: It is no name of a host.
    """
    names = {"localhost", "127.0.0.1", "::1"} if is_loopback(host) or host in ("0.0.0.0", "::") else set()
    if host not in ("0.0.0.0", "::"):
        names.add(host.lower().strip("[]"))
    if proxy:
        name = _host(urlsplit(proxy if "//" in proxy else f"//{proxy}").netloc)
        if not name:
            raise UsageError(f"--behind-proxy {proxy}: is no name of a host; give it as review.hospital.example")
        names.add(name)
    return frozenset(names)


def read_tokens(path: Path) -> dict[str, str]:
    """The tokens of a file: one a line, or `READER:TOKEN` for a reader's own; `#` begins a remark.

    Raises:
        UsageError: It cannot be read, others may read it, or a token is too short.
    """
    try:
        lines = read_bytes(path, 2**16).decode().splitlines()
        open_to_all = os.name == "posix" and path.stat().st_mode & 0o077
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: the token file cannot be read: {getattr(error, 'strerror', '') or error}") from error
    if open_to_all:
        raise UsageError(f"{path}: others on this machine may read the token; run `chmod 600` on it")
    tokens: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        reader, colon, token = text.rpartition(":")
        if len(token) < SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
            raise UsageError(
                f"{path}, line {number}: a token has at least {SHORTEST} ASCII letters and no spaces; make one with "
                "`python -c 'import secrets; print(secrets.token_urlsafe())'`"
            )
        if colon and not reader.strip():
            raise UsageError(f"{path}, line {number}: before the colon stands the name of a reader")
        if token in tokens:
            raise UsageError(f"{path}, line {number}: this token stands there twice")
        tokens[token] = reader.strip()
    if not tokens:
        raise UsageError(f"{path}: holds no token")
    return tokens
