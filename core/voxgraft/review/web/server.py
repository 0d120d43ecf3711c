"""Listening: an address that is free, TLS or a named proxy where others can reach it, and an end that is clean."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...errors import DataError, UsageError
from ...web import listen
from ..state.errors import Refused
from .security import Access

if TYPE_CHECKING:
    from ..state.store import ReviewStore

WAIT = 5
"""Seconds in which requests under way may end."""


@dataclass(frozen=True)
class Listening(listen.Listening):
    """Where the page is, and who reads.

    Attributes:
        reader: Named at the start; empty where readers choose their names in the page.
    """

    port: int = 8642
    reader: str = ""

    def access(self, secret: bytes) -> Access:
        """What the server asks of whoever talks to it.

        Raises:
            UsageError: See `check`; or the token file is no good.
        """
        self.check()
        secure = bool(self.certificate or self.proxy)
        return Access(self.hosts, self.tokens, secret, secure, self.reader)


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

    from ...web.patience import Patience
    from .app import make_app

    access = listening.access(store.folder.secret())
    if access.reader:
        try:
            reader = store.enter(access.reader)
        except Refused as error:
            raise UsageError(f"--reader {access.reader}: {error}") from error
        access = replace(access, reader=reader)
    with listening.bind() as listener:
        url = f"{listening.url(listener)}/"
        config = uvicorn.Config(
            make_app(store, access, lambda: started(url)),
            ssl_certfile=listening.certificate,
            ssl_keyfile=listening.key,
            http=Patience,
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
