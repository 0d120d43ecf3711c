"""Conformance checks of commands: the help is there at once, and wrong calls are refused in a sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
from click.testing import CliRunner

from .conformance import Subject, check, require

HEAVY = ("torch", "monai", "mlflow", "timm", "SimpleITK", "scipy")
"""What takes too long to import for a page of help."""

HELP = """
import sys
sys.path[:0] = {path!r}
from click.testing import CliRunner
from importlib import import_module
specs = import_module({module!r}).{hook}()
spec = next(spec for spec in specs if spec.name == {name!r})
CliRunner().invoke(spec.build(spec.options()()), ["--help"])
print(*[module for module in {heavy!r} if module in sys.modules])
"""


@check("command", "it is a click command of the name that its spec says")
def _it_is_called_as_its_spec_says(subject: Subject, folder: Path) -> None:
    from ..cli import COMMANDS

    command = subject.build()
    require(isinstance(command, click.Command), f"it builds a {type(command).__name__}, which is not a click command")
    require(command.name == subject.spec.name, f"it calls itself {command.name!r}, its spec {subject.spec.name!r}")
    require(subject.spec.name not in COMMANDS, f"VoxGraft has a command {subject.spec.name!r} of its own")


@check("command", "it has a help, and so has each of its options")
def _it_has_a_help(subject: Subject, folder: Path) -> None:
    found = CliRunner().invoke(subject.build(), ["--help"])
    require(found.exit_code == 0, f"--help ends with {found.exit_code}: {found.exception or found.output[-200:]}")
    require("Usage:" in found.output, "--help shows no usage")
    for one in subject.build().params:
        if isinstance(one, click.Option) and not one.hidden:
            require(one.help, f"the option {one.opts[-1]} has no help")


@check("command", "its help imports nothing heavy")
def _its_help_is_light(subject: Subject, folder: Path) -> None:
    from ..hookspecs import KINDS

    module = subject.catalogue.origin(subject.spec).module
    code = HELP.format(path=sys.path, module=module, hook=KINDS["command"], name=subject.spec.name, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    require(done.returncode == 0, f"its help fails: {done.stderr.strip()[-200:]}")
    require(not done.stdout.strip(), f"its help imports {done.stdout.strip()}")


@check("command", "an unknown option is refused")
def _a_wrong_call_is_refused(subject: Subject, folder: Path) -> None:
    found = CliRunner().invoke(subject.build(), ["--no-such-option-of-anything"])
    require(found.exit_code == 2, f"an unknown option ends with {found.exit_code}: {found.exception}")
