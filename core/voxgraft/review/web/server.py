"""Listening: an address that is free, TLS or a named proxy where others can reach it, and an end that is clean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from ...web import listen
from ..state.errors import Refused
from .security import Access

if TYPE_CHECKING:
    from ..state.store import ReviewStore


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
    from ...web.server import answer
    from .app import make_app

    access = listening.access(store.folder.secret())
    if access.reader:
        try:
            reader = store.enter(access.reader)
        except Refused as error:
            raise UsageError(f"--reader {access.reader}: {error}") from error
        access = replace(access, reader=reader)

    def app_at(address: str) -> Any:
        return make_app(store, access, lambda: started(f"{address}/"))

    answer(listening, app_at, limit_concurrency=200)
