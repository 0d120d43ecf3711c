"""`voxgraft review`: look at the scans of a batch in the browser, accept, correct and reject."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..support.output import print_result


@click.command()
@click.argument("out", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; others need a token.")
@click.option("--port", type=click.IntRange(0, 65535), default=8642, show_default=True, help="0 for any free port.")
@click.option("--reader", default="", help="Name of the reader; by default chosen in the page.")
@click.option("--token-file", type=click.Path(path_type=Path), help="File with tokens, or READER:TOKEN, one a line.")
@click.option("--certificate", type=click.Path(path_type=Path), help="TLS certificate (PEM).")
@click.option("--key", type=click.Path(path_type=Path), help="Private key of the certificate (PEM).")
@click.option("--behind-proxy", metavar="HOST", help="Name under which a proxy with TLS is asked for the page.")
@click.option(
    "--assign",
    "table",
    type=click.Path(path_type=Path),
    help="CSV table with columns case, reader, role (reader, second, adjudicator, gold) and mask (reference for gold).",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output, with the address.")
def review(out: Path, as_json: bool, **options: Any) -> None:
    """Review the scans of DIR, the folder that `voxgraft segment --out DIR` made, in the browser.

    The page shows doubtful scans first; the batch may still be running. No model and no GPU are needed. What is
    decided is kept in DIR/review. Ctrl-C ends it.
    """
    from ..errors import UsageError

    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise UsageError("the review page needs two more packages: pip install 'voxgraft[review]'") from None
    _serve(out, as_json, **options)


def _serve(out: Path, as_json: bool, behind_proxy: str | None, table: Path | None, **options: Any) -> None:
    from ..discovery import discover
    from ..review.assigning import assign_all
    from ..review.server import Listening, serve
    from ..review.store import ReviewStore
    from ..support.stopping import ending_gently
    from ..support.texts import counted

    listening = Listening(proxy=behind_proxy, **options)
    listening.check()
    store = ReviewStore(out, discover())

    def started(url: str) -> None:
        for message in store.told:
            click.echo(f"voxgraft: {message}", err=True)
        print_result(json.dumps({"url": url}) if as_json else f"{url}  (Ctrl-C ends it)")

    try:
        if table is not None:
            number = assign_all(store, table)
            click.echo(f"voxgraft: {counted(number, 'new assignment')}", err=True)
        with ending_gently():
            serve(store, listening, started)
    finally:
        store.close()
