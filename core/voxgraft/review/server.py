"""Listening: an address that is free, TLS or a named proxy where others can reach it, and an end that is clean."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError, UsageError
from .security import Access, hosts_of, is_loopback, read_tokens

if TYPE_CHECKING:
    from .store import ReviewStore

WAIT = 5
"""Seconds in which requests under way may end."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a server listens and how it is reached.

    Attributes:
        port: 0 for any that is free.
        proxy: Name or address of the proxy in front of it.
    """

    host: str = "127.0.0.1"
    port: int = 8642
    reader: str = ""
    token_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    proxy: str | None = None

    def check(self) -> None:
        """Refuse to be reached by others without a token, and in the clear.

        Raises:
            UsageError: It is so; or a file of TLS is missing.
        """
        if bool(self.certificate) != bool(self.key):
            raise UsageError("--certificate and --key belong together: name the files of both")
        for path in (self.certificate, self.key):
            if path is not None and not path.is_file():
                raise UsageError(f"{path}: there is no such file")
        if is_loopback(self.host) and not self.proxy:
            return
        if self.token_file is None:
            raise UsageError(
                f"--host {self.host}: others can reach the scans there; add --token-file FILE with a token of at "
                "least 16 letters"
                if not self.proxy
                else f"--behind-proxy {self.proxy}: others can reach the scans; add --token-file FILE"
            )
        if not self.certificate and not self.proxy:
            raise UsageError(
                f"--host {self.host}: scans would go through the network in the clear; add --certificate and --key, or "
                "name the proxy that speaks TLS with --behind-proxy HOST"
            )

    def access(self, secret: bytes) -> Access:
        """What the server asks of whoever talks to it.

        Raises:
            UsageError: See `check`; or the token file is no good.
        """
        self.check()
        tokens = read_tokens(self.token_file) if self.token_file else {}
        secure = bool(self.certificate or self.proxy)
        return Access(hosts_of(self.host, self.proxy), tokens, secret, secure, self.reader)


def serve(store: ReviewStore, listening: Listening, started: Callable[[str], None]) -> None:
    """Answer requests until the process is asked to end (SIGINT, SIGTERM).

    Args:
        store: What is reviewed.
        listening: Where.
        started: Is told the address once requests are answered.

    Raises:
        UsageError: It would be reached by others without protection.
        DataError: The port is taken, or the files of TLS are no good.
    """
    import uvicorn

    from .app import make_app

    access = listening.access(store.folder.secret())
    if access.reader:
        access = Access(access.hosts, access.tokens, access.secret, access.secure, store.enter(access.reader))
    with _socket(listening) as listener:
        url = f"{'https' if listening.certificate else 'http'}://{_address(listener)}/"
        config = uvicorn.Config(
            make_app(store, access, lambda: started(url)),
            ssl_certfile=listening.certificate,
            ssl_keyfile=listening.key,
            access_log=False,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=WAIT,
            limit_concurrency=200,
            h11_max_incomplete_event_size=2**16,
        )
        try:
            config.load()
        except OSError as error:  # ssl.SSLError is one
            raise DataError(f"{listening.certificate}: cannot be used for TLS with {listening.key}: {error}") from error
        with suppress(KeyboardInterrupt):  # uvicorn raises the signal again once all is closed
            uvicorn.Server(config).run(sockets=[listener])


def _socket(listening: Listening) -> socket.socket:
    """A socket that listens.

    Raises:
        DataError: The port is taken, or the address is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((listening.host, listening.port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise DataError(
            f"{listening.host}, port {listening.port}: cannot listen there ({reason}); name another with --port, or "
            "--port 0 for any that is free"
        ) from error
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
