"""A server that answers until its process is asked to end, and ends connections that never say what they want."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..errors import DataError
from .listen import Listening

WAIT = 5
"""Seconds in which requests under way may end."""
HEAD = 20.0
"""Seconds in which the head of a request has to be there, from the connection or from its first byte on."""


def answer(
    listening: Listening, app_at: Callable[[str], Any], begun: Callable[[str], object] = lambda _: None, **more: Any
) -> None:
    """Answer requests until the process is asked to end (SIGINT, SIGTERM).

    Args:
        listening: Where.
        app_at: Makes the application, told the address at which it will be.
        begun: Is told the address before the first request is answered.
        more: Options of uvicorn.

    Raises:
        DataError: The port is taken, or the files of TLS are no good.
    """
    with listening.bind() as listener:
        config = uvicorn.Config(
            app_at(address := listening.url(listener)),
            ssl_certfile=listening.certificate,
            ssl_keyfile=listening.key,
            http=Patience,
            access_log=False,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=WAIT,
            h11_max_incomplete_event_size=2**16,
            **more,
        )
        try:
            config.load()
        except OSError as error:  # ssl.SSLError is one
            raise DataError(f"{listening.certificate}: cannot be used for TLS with {listening.key}: {error}") from error
        begun(address)
        with suppress(KeyboardInterrupt):  # uvicorn raises the signal again once all is closed
            uvicorn.Server(config).run(sockets=[listener])


class Patience(H11Protocol):
    """HTTP of uvicorn, which waits for the head of a request for ever; so few programs could keep all readers out."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._waiting is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(HEAD, self._end)

    def _stop(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _end(self) -> None:
        self._waiting = None
        if self.conn.their_state is h11.IDLE and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()
