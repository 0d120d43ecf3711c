"""Standard output under `--json`: one document and nothing else, whatever plugins print."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout

import click

_OUTPUT = "voxgraft.output"


@contextmanager
def kept_for_json(ctx: click.Context, args: Sequence[str]) -> Iterator[None]:
    """Where `--json` is among the arguments, print goes to standard error, and `print_result` to standard output."""
    if "--json" not in args:
        yield
        return
    ctx.meta[_OUTPUT] = sys.stdout
    with redirect_stdout(sys.stderr):
        yield


def print_result(text: str) -> None:
    """Print what a command was asked for."""
    click.echo(text, file=click.get_current_context().meta.get(_OUTPUT))
