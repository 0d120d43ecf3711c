"""The command line. A command is imported when it is called, and imports what it needs when it runs."""

from __future__ import annotations

import errno
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

import click

from ..components.catalogue import AnySpec
from ..errors import UsageError, VoxGraftError
from ..support.progress import fitted, kept_for_json

COMMANDS = {
    "demo": ("demo", "Run the main job from start to end on synthetic data."),
    "new": ("new", "Write a workflow file for the scans in a folder."),
    "run": ("run", "Run the steps of a workflow: from labelled images to a registered model."),
    "check": ("check", "Say what is wrong with a data set or a workflow, before you train."),
    "inspect": ("data", "Show what files contain: series, geometry, modality, problems."),
    "convert": ("data", "Convert an image or mask from any readable format to any writable one."),
    "evaluate": ("evaluate", "Compare masks with references."),
    "compare": ("compare", "Compare runs, case by case, with confidence intervals."),
    "advise": ("advise", "Find out which encoder and strategy suit the data."),
    "segment": ("segment", "Segment scans in bulk with a trained model."),
    "review": ("review", "Accept, correct and reject the masks of a batch in the browser."),
    "serve": ("serve", "Serve models to 3D Slicer, MITK, napari and OHIF, with correction tools."),
    "models": ("models", "List, show, promote, roll back and move registered models."),
    "plugins": ("plugins", "List, show, test and start plugins."),
    "schema": ("schema", "Print the JSON Schema of workflow files, for editors."),
    "doctor": ("doctor", "Show what works here: Python, GPU, memory, plugins, registry."),
}
"""Each command, the module of this package that holds it, and its line in the help."""

LONGEST = 200
"""Letters of a file's name that a message quotes."""
GOES_ON = "what was done is kept, and the same command continues from there"
STOPPED = {
    "run": GOES_ON,
    "demo": GOES_ON,
    "segment": GOES_ON,
    "serve": "what was drawn is kept, and is there again when the same scan is opened",
    "deidentify": "what was written is whole, and the same command with the same --key continues from there",
    "advise": "what was found until then is in its report",
}
"""What a command leaves when it is stopped by hand."""


_ERASE = "\r\x1b[2K"


class _Note:
    """A line that goes away before anything else is written."""

    def __init__(self, text: str, terminal: TextIO) -> None:
        self._terminal, self._shown = terminal, True
        terminal.write(text)
        terminal.flush()

    def erase(self) -> None:
        if self._shown:
            self._shown = False
            self._terminal.write(_ERASE)
            self._terminal.flush()


class _Watched:
    """A stream that erases the note before the first text."""

    def __init__(self, stream: TextIO, note: _Note) -> None:
        self._stream, self._note = stream, note

    def write(self, text: str) -> int:
        self._note.erase()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def sign_of_life(command: str) -> Iterator[None]:
    """Show that a command has begun: loading what it needs may take seconds, in which nothing else would be seen."""
    terminal, output = sys.stderr, sys.stdout
    if not terminal.isatty() or os.environ.get("TERM") == "dumb":
        yield
        return
    note = _Note(f"voxgraft {command}: starting", terminal)
    sys.stderr, sys.stdout = _Watched(terminal, note), _Watched(output, note)
    try:
        yield
    finally:
        note.erase()
        sys.stderr, sys.stdout = terminal, output


class There(click.Path):
    """A path that has to be there: a call that names another is wrong, and nothing is started."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if not _is_there(path):
            option = f"{param.opts[0]} " if isinstance(param, click.Option) else ""
            raise UsageError(f"{option}{str(path)[:LONGEST]}: there is no such file or folder")
        return path


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # it may lie in a folder that must not be looked into; opening it says so
        return error.errno not in (errno.ENAMETOOLONG, errno.ELOOP)


PATH, THERE = click.Path(path_type=Path), There()
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")


class Amount(click.FloatRange):
    """A finite number in a range; `nan` is in none, whatever a comparison says."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


def _of_plugins() -> dict[str, AnySpec]:
    """The commands that plugins offer, by name; one that two plugins offer, or that is ours, is left out."""
    from ..discovery import discover

    catalogue = discover()
    conflicts = {conflict.name for conflict in catalogue.conflicts("command")}
    return {
        spec.name: spec
        for _, spec in catalogue.of("command")
        if spec.name not in COMMANDS and spec.name not in conflicts
    }


class _Commands(click.Group):
    """A group whose commands are imported when they are called, and whose errors are one sentence each."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from ..support.limits import leave

        try:
            return self.main(*args, **kwargs)
        except SystemExit as end:
            leave(end.code)
            raise

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *_of_plugins()]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in COMMANDS:
            command = getattr(import_module(f".{COMMANDS[name][0]}", __name__), name)
        elif spec := _of_plugins().get(name):
            command = spec.build(spec.options()())
        else:
            return None
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, *rest = args
        if command := self.get_command(ctx, name):
            return name, command, rest
        from difflib import get_close_matches

        near = get_close_matches(name, self.list_commands(ctx), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise click.UsageError(f"there is no command {name!r}{hint}", ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        lines = [(name, text) for name, (_, text) in COMMANDS.items()]
        lines += [(name, spec.summary) for name, spec in _of_plugins().items()]
        with formatter.section("Commands"):
            formatter.write_dl(lines)

    def invoke(self, ctx: click.Context) -> Any:
        from ..support.limits import ending_gently

        words = [*ctx._protected_args, *ctx.args]
        try:  # as the first process of a container a command would not hear of SIGTERM
            with ending_gently(), sign_of_life(words[0] if words else ""), kept_for_json(ctx, words):
                return super().invoke(ctx)
        except VoxGraftError as error:
            if ctx.params.get("debug"):
                raise
            _complain(f"voxgraft: {error}")
            ctx.exit(error.exit_code)
        except BrokenPipeError:
            sys.stderr.close()
            ctx.exit(1)
        except KeyboardInterrupt:
            left = STOPPED.get(ctx.invoked_subcommand or "", "")
            _complain(f"voxgraft: stopped by hand{left and '; '}{left}")
            ctx.exit(1)
        except (click.exceptions.Exit, click.ClickException, click.Abort):
            raise
        except MemoryError:
            _complain("voxgraft: this does not fit into the machine's memory")
            ctx.exit(1)
        except OSError as error:
            if ctx.params.get("debug"):
                raise
            prefix = f"{str(error.filename)[:LONGEST]}: " if error.filename else ""
            _complain(f"voxgraft: {prefix}{error.strerror or error}")
            ctx.exit(1)
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop"):
                _complain(f"voxgraft: {str(error)[:LONGEST]}; name the file itself")
                ctx.exit(1)
            _complain(
                f"voxgraft: {type(error).__name__}: {error}\n"
                "This is not an error we expected; `voxgraft --debug ...` shows where it happened."
            )
            ctx.exit(1)


def _complain(text: str) -> None:
    click.echo(fitted(text, sys.stderr), err=True)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="voxgraft")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Graft pretrained networks onto your own scans: train, track, segment, review."""
