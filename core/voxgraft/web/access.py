"""Who may ask a server: the names under which it is asked, the pages that ask, the tokens."""

from __future__ import annotations

import hmac
import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import UsageError
from ..support.files import read_bytes
from ..support.texts import counted

SHORTEST = 16
"""Letters of a token where others can reach the server."""


@dataclass(frozen=True)
class Callers:
    """Who may ask a server.

    Attributes:
        hosts: Names and addresses under which it may be asked, in small letters, without ports.
        tokens: Token -> the reader whose it is, or empty for anybody's; none where no token is asked for.
    """

    hosts: frozenset[str]
    tokens: Mapping[str, str] = field(default_factory=dict)

    def host_fits(self, header: str) -> bool:
        """Whether a Host header names this server (a page elsewhere may have its name lead here)."""
        return host_of(header) in self.hosts

    def origin_fits(self, origin: str, host: str) -> bool:
        """Whether a request comes from a page of this server."""
        try:
            parts = urlsplit(origin)
        except ValueError:  # such as a bracket that is not closed
            return False
        return parts.netloc.lower() == host.lower() and parts.scheme in ("http", "https")

    def reader_of_token(self, token: str) -> str | None:
        """Whose a token is, empty for anybody's; None for a wrong one. All are compared, each in constant time."""
        found = None
        for known, reader in self.tokens.items():
            if hmac.compare_digest(known.encode(), token.encode()):
                found = reader
        return found


def host_of(header: str) -> str:
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
        UsageError: It is not a name of a host.
    """
    names = {"localhost", "127.0.0.1", "::1"} if is_loopback(host) or host in ("0.0.0.0", "::") else set()
    if host not in ("0.0.0.0", "::"):
        names.add(host.lower().strip("[]"))
    else:
        names |= {socket.gethostname().lower(), socket.getfqdn().lower(), *_addresses()}
    if proxy:
        name = host_of(urlsplit(proxy if "//" in proxy else f"//{proxy}").netloc)
        if not name:
            raise UsageError(f"--behind-proxy {proxy}: is not a host name; write it as review.hospital.example")
        names.add(name)
    return frozenset(names)


def _addresses() -> set[str]:
    """The addresses of this machine."""
    import psutil

    families = (socket.AF_INET, socket.AF_INET6)
    found = [one for every in psutil.net_if_addrs().values() for one in every if one.family in families]
    return {one.address.partition("%")[0].lower() for one in found}


def read_tokens(path: Path, reachable: bool) -> dict[str, str]:
    """The tokens of a file: one a line, or `READER:TOKEN` for a reader's own; `#` begins a remark.

    Args:
        path: The file.
        reachable: Others can reach the server: then tokens must be long, and the file its owner's alone.

    Raises:
        UsageError: It cannot be read, others may read it, or a token is too short.
    """
    try:
        lines = read_bytes(path, 2**16).decode().splitlines()
        open_to_all = reachable and os.name == "posix" and path.stat().st_mode & 0o077
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
        shortest = SHORTEST if reachable else 1
        if len(token) < shortest or not token.isascii() or not token.isprintable() or " " in token:
            raise UsageError(
                f"{path}, line {number}: a token has at least {counted(shortest, 'ASCII character')} and no "
                "spaces; make "
                "one with `python -c 'import secrets; print(secrets.token_urlsafe())'`"
            )
        if colon and not reader.strip():
            raise UsageError(f"{path}, line {number}: the name of a reader has to come before the colon")
        if token in tokens:
            raise UsageError(f"{path}, line {number}: this token appears twice")
        tokens[token] = reader.strip()
    if not tokens:
        raise UsageError(f"{path}: holds no token")
    return tokens
