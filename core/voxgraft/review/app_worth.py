"""The addresses of the server that say what a review has come to: the summary, the charts, agreement of readers."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from .agreement import agreement, pairs_of
from .charts_page import charts_page
from .comparing import Comparisons
from .requests import Answer
from .security import REPORT_POLICY
from .snapshot import Snapshot, take_snapshot
from .summary import summary_and_charts, summary_of, tolerance_of


def routes() -> list[Route]:
    """What `voxgraft.review.app` adds to its own addresses."""
    return [
        Route("/charts", _charts),
        Route("/api/summary", _summary),
        Route("/api/agreement", _agreement),
    ]


def _snapshot(request: Request) -> Snapshot:
    store = request.app.state.store
    return take_snapshot(store.out, store.catalogue)


async def _summary(request: Request) -> Response:
    points = request.query_params.get("points") == "1"

    def answer() -> Answer:
        snapshot = _snapshot(request)
        return Answer(summary_of(snapshot, tolerance_of(snapshot), points))

    return await run_in_threadpool(answer)


async def _charts(request: Request) -> Response:
    def answer() -> HTMLResponse:
        snapshot = _snapshot(request)
        page = charts_page(*summary_and_charts(snapshot, tolerance_of(snapshot)))
        return HTMLResponse(page, headers={"Content-Security-Policy": REPORT_POLICY})

    return await run_in_threadpool(answer)


async def _agreement(request: Request) -> Response:
    def answer() -> Answer:
        snapshot = _snapshot(request)
        comparisons = Comparisons(snapshot, tolerance_of(snapshot))
        found = agreement(pairs_of(snapshot, comparisons))
        comparisons.keep()
        return Answer({"structures": found})

    return await run_in_threadpool(answer)
