"""Where a server listens: on this machine alone, or elsewhere with a token and TLS."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError, UsageError
from .access import hosts_of, is_loopback, read_tokens


@dataclass(frozen=True)
class Listening:
    """Where a server listens and how it is reached.

    Attributes:
        port: 0 for any that is free.
        token_file: Holds the tokens that callers need.
        certificate, key: Files of TLS, PEM; both or none.
        proxy: Name or address of the proxy in front of it.
    """

    host: str = "127.0.0.1"
    port: int = 0
    token_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    proxy: str | None = None

    @property
    def hosts(self) -> frozenset[str]:
        """The names under which the server is asked."""
        return hosts_of(self.host, self.proxy)

    @property
    def tokens(self) -> dict[str, str]:
        """The tokens that callers need, with the reader whose each is; none where none is needed.

        Raises:
            UsageError: The token file is no good.
        """
        return read_tokens(self.token_file, self.reachable) if self.token_file else {}

    @property
    def reachable(self) -> bool:
        """Whether others than this machine can reach the server."""
        return not is_loopback(self.host) or bool(self.proxy)

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
        if not self.reachable:
            return
        if self.token_file is None:
            raise UsageError(
                f"--host {self.host}: others can reach the scans there; add --token-file FILE with a token of at "
                "least 16 characters"
                if not self.proxy
                else f"--behind-proxy {self.proxy}: others can reach the scans; add --token-file FILE"
            )
        if not self.certificate and not self.proxy:
            raise UsageError(
                f"--host {self.host}: scans would go through the network in the clear; add --certificate and --key, or "
                "name the proxy that speaks TLS with --behind-proxy HOST"
            )

    def bind(self) -> socket.socket:
        """A socket that listens.

        Raises:
            DataError: The port is taken, or the address is none of this machine's.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self.host, self.port))
            listener.listen(128)
        except OSError as error:
            listener.close()
            reason = error.strerror or str(error)
            raise DataError(
                f"{self.host}, port {self.port}: cannot listen there ({reason}); name another with --port, or "
                "--port 0 for any that is free"
            ) from error
        return listener

    def url(self, listener: socket.socket) -> str:
        """The address of the server, without a slash at the end."""
        host, port = listener.getsockname()[:2]
        host = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)
        return f"{'https' if self.certificate else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
