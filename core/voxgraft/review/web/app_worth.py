"""The addresses of the server that say what a review has come to: the summary, the charts, agreement of readers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from threading import Lock
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from ..state.reviewed import Reviewed
from ..worth.charts import Chart
from ..worth.charts_page import charts_page
from ..worth.snapshot import for_everybody, take_snapshot
from ..worth.summary import summary_and_charts, tolerance_of
from .requests import Answer
from .security import REPORT_POLICY

Told = tuple[dict[str, Any], list[Chart]]


class Latest:
    """The summary of a review as every reader may see it, made again only when something has changed since.

    Args:
        store: The review.
    """

    def __init__(self, store: Reviewed) -> None:
        self._store = store
        self._lock = Lock()
        self._key: tuple[int, int] | None = None
        self._told: Told = ({}, [])

    def get(self) -> Told:
        """The summary without points, and its charts."""
        with self._lock:
            key = self._store.ledger.rows()[0], self._store.log.lines
            if key != self._key:
                snapshot = for_everybody(take_snapshot(self._store.out, self._store.catalogue))
                self._told = summary_and_charts(snapshot, tolerance_of(snapshot))
                self._key = key
            return self._told


def routes(store: Reviewed) -> list[Route]:
    """What `voxgraft.review.web.app` adds to its own addresses."""
    latest = Latest(store)

    def page(_: Request) -> Response:
        return HTMLResponse(charts_page(*latest.get()), headers={"Content-Security-Policy": REPORT_POLICY})

    def summary(request: Request) -> Response:
        told, charts = latest.get()
        if request.query_params.get("points") == "1":
            told = {**told, "charts": [chart.document() for chart in charts]}
        return Answer(told)

    def agreement(_: Request) -> Response:
        return Answer({"structures": latest.get()[0]["agreement"]})

    pages = {"/charts": page, "/api/summary": summary, "/api/agreement": agreement}
    return [Route(path, _threaded(answer)) for path, answer in pages.items()]


def _threaded(answer: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(answer, request)

    return endpoint
