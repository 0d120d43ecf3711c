"""Write the pages below docs/reference that follow from the code: `python docs/development/reference.py`.

tests/test_site.py compares what stands there with what this would write.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import click

import voxgraft
from voxgraft import plugin
from voxgraft.cli import COMMANDS, main
from voxgraft.components.catalogue import Catalogue
from voxgraft.discovery import discover
from voxgraft.errors import VoxGraftError
from voxgraft.hookspecs import KINDS
from voxgraft.workflow.schema import workflow_schema

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "reference"
WRITTEN = "<!-- Written by docs/development/reference.py. -->\n\n"
CODES = {
    0: "Everything was done.",
    1: "It failed; the last line of standard error says why. For `check`: there are errors in the data.",
    2: "The call or the workflow file is wrong; nothing was started.",
    3: "Some cases failed, and the rest are done.",
}
WORDS = {
    "reader": "Read files; `data.readers` sets their options.",
    "writer": "Write masks: `voxgraft segment --writers`, `voxgraft convert --writer`.",
    "layout": "Turn a folder into cases: `data.layout` ([with a tree for each](../data.md)).",
    "modality": "Normalise, augment and show images: `data.modality`.",
    "encoder": "The pretrained part of the network: `model.encoder` ([more](../encoders.md)).",
    "decoder": "The new part of the network: `model.decoder` ([more](../decoders.md)).",
    "strategy": "Methods of transfer: `transfer` ([formulas and sources](../strategies.md)).",
    "loss": "What training minimises: `training.loss`.",
    "metric": "How masks are scored: `evaluation.metrics` ([definitions](../metrics.md)).",
    "measurement": "Measure the intensities inside each structure, for reports; all that are installed are used.",
    "step": "Do one part of a run: `steps`.",
    "tracker": "Log a run: `tracking`.",
    "store": "Find the models that references such as `models:/NAME@ALIAS` name.",
    "executor": "Run the tasks of a batch: `voxgraft segment --executor`.",
    "command": "Commands that plugins add to `voxgraft`.",
}
"""What components of each kind do, and where a workflow or a call names them."""

INTRO = {
    "workflow": """# Workflow file

A workflow is a YAML file. `voxgraft new` writes one with a comment on each choice, `voxgraft check` says what is
wrong and in which line, and `voxgraft schema` prints the JSON Schema with which an editor completes and checks
it. Unknown keys are refused. You can change any value for one run: `voxgraft run FILE --set
training.budget='5 min'`.

For a component (`encoder`, `layout`, ...), write its name, or a mapping with its name under `use` and [its
options](components.md) beside it.
""",
    "components": """# Components

All components of VoxGraft's own plugins. `voxgraft plugins list` shows what is installed on your machine,
`voxgraft plugins show NAME` the options of one component. [Writing a plugin](../plugins.md) says how to add
one.
""",
    "commands": """# Command line

`voxgraft --help` lists the commands, `voxgraft COMMAND --help` explains one. `--debug` before the command shows
the traceback of an error. With `--json` a command prints one JSON document on standard output and nothing else
there.

## Exit codes
""",
    "python": """# Python

`import voxgraft as vg` loads neither torch nor MLflow; each name loads what it needs when it is used. An error
that a user can cause is a `VoxGraftError`: one sentence, with the command line's exit code in `exit_code`.
Plugins also import `voxgraft.plugin` ([how to write one](../plugins.md)).
""",
}


def built_in() -> Catalogue:
    """What VoxGraft's own plugins offer, whatever else is installed here."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    return discover(
        [EntryPoint(name, value, group) for group, names in groups.items() for name, value in names.items()]
    )


def cell(text: str) -> str:
    """Text in a cell of a table."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell(one) for one in line)} |" for line in lines) + "\n"


def kind_of(field: dict[str, Any], defs: dict[str, Any]) -> str:
    """The values that a key takes, in words."""
    if "title" in field and field["title"] in KINDS:
        kind = field["title"]
        null = any(one.get("type") == "null" for one in field.get("anyOf", ()))
        return f"a [{kind}](components.md#{kind}){' or null' if null else ''}"
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[1]
        if name in KINDS:
            return f"a [{name}](components.md#{name})"
        return f"[{name.rsplit('.', 1)[-1]}](#{name.rsplit('.', 1)[-1].lower()})" if name in defs else "a mapping"
    if "const" in field:
        return f"`{json.dumps(field['const'])}`".replace('"', "")
    if "enum" in field:
        return ", ".join(f"`{one}`" for one in dict.fromkeys(map(str, field["enum"])))
    if alternatives := field.get("anyOf") or field.get("oneOf"):
        return " or ".join(dict.fromkeys(kind_of(one, defs) for one in alternatives))
    match field.get("type"):
        case "array":
            item = field.get("items") or (field.get("prefixItems") or [{}])[0]
            return f"list of {kind_of(item, defs)}" if item else "list"
        case "integer" | "number" as name:
            return ("whole number" if name == "integer" else "number") + limits(field)
        case "string":
            return "text"
        case "boolean":
            return "`true`, `false`"
        case "object":
            return "mapping"
        case "null":
            return "null"
    return "any"


def limits(field: dict[str, Any]) -> str:
    low = field.get("minimum", field.get("exclusiveMinimum"))
    high = field.get("maximum", field.get("exclusiveMaximum"))
    signs = (">" if "exclusiveMinimum" in field else "≥", "<" if "exclusiveMaximum" in field else "≤")
    said = [
        f"{sign} {one:g}" for sign, one in zip(signs, (low, high), strict=True) if one is not None and abs(one) < 1e9
    ]
    return f" {', '.join(said)}" if said else ""


def default_of(field: dict[str, Any], needed: bool) -> str:
    """The default of a key; one of a whole section follows from its own keys."""
    if needed:
        return "**required**"
    value = field.get("default")
    if isinstance(value, dict) and {"amount", "unit"} <= value.keys():
        return f"`{value['amount']:g} {value['unit']}`"
    if isinstance(value, dict) and value:
        return "see there"
    return "" if value is None else f"`{value if isinstance(value, str) else json.dumps(value)}`"


def fields(schema: dict[str, Any], defs: dict[str, Any]) -> str:
    """The table of what stands in one mapping."""
    needed = schema.get("required", ())
    rows = [
        (f"`{key}`", kind_of(field, defs), default_of(field, key in needed), said(field, defs))
        for key, field in schema["properties"].items()
        if key != "use" or "const" not in field
    ]
    return table(("key", "value", "default", "what it does"), rows) if rows else ""


def said(field: dict[str, Any], defs: dict[str, Any]) -> str:
    """What a key does; of a section, what the section says of itself."""
    named = next((one["$ref"] for one in (field, *field.get("anyOf", ())) if "$ref" in one), "").rsplit("/", 1)[-1]
    return str(field.get("description") or model_of(defs.get(named, {})).get("description", ""))


def model_of(schema: dict[str, Any]) -> dict[str, Any]:
    """A section's own mapping, also where a short form stands beside it."""
    return next((one for one in (schema, *schema.get("anyOf", ())) if "properties" in one), {})


def workflow_page(catalogue: Catalogue) -> str:
    schema = workflow_schema(catalogue)
    defs = schema["$defs"]
    text = [
        INTRO["workflow"],
        f"## At the top\n\n{fields(schema, defs)}",
    ]
    sections = [name for name in defs if name not in KINDS and "." not in name and model_of(defs[name])]
    for name in sorted(sections, key=lambda name: _first_use(schema, name)):
        described = model_of(defs[name])
        text.append(f"## {name}\n\n{described.get('description', '')}\n\n{fields(described, defs)}")
    return "\n".join(text)


def _first_use(schema: dict[str, Any], name: str) -> int:
    """Sections in the order in which a file names them."""
    order = list(schema["properties"])
    return order.index(name.lower()) if name.lower() in order else len(order)


def options_of(schema: dict[str, Any]) -> Iterator[str]:
    """A component's options, and the mappings that stand in them."""
    defs = schema.get("$defs", {})
    if schema.get("properties"):
        yield fields(schema, {})
    for name, nested in defs.items():
        if nested.get("properties"):
            yield f"**{name}**: {nested.get('description', '')}\n\n{fields(nested, {})}"


def components_page(catalogue: Catalogue) -> str:
    text = [INTRO["components"]]
    for kind in KINDS:
        text.append(f"## {kind}\n\n{WORDS[kind]}\n")
        for _, spec in catalogue.of(kind):
            text.append(f"### `{spec.name}` {{ #{kind}-{spec.name} }}\n\n{cell(spec.summary)}\n")
            text += options_of(spec.options().model_json_schema())
    return "\n".join(text)


def commands_page(catalogue: Catalogue) -> str:
    added = {spec.name: spec.build(spec.options()()) for _, spec in catalogue.of("command")}
    text = [
        INTRO["commands"],
        table(("code", "meaning"), [(f"`{code}`", meaning) for code, meaning in CODES.items()]),
    ]
    for name in [*COMMANDS, *added]:
        text += command_text(("voxgraft", name), added.get(name) or main.get_command(click.Context(main), name))
    return "\n".join(text)


def command_text(words: tuple[str, ...], command: click.Command | None) -> Iterator[str]:
    """One command and, of a group, those below it."""
    assert command is not None
    context = click.Context(command, info_name=words[-1])
    usage = " ".join([*words, *command.collect_usage_pieces(context)])
    level = "##" if len(words) == 2 else "###"
    text = "\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n"))
    yield f"{level} {' '.join(words[1:])}\n\n```text\n{usage}\n```\n\n{text}\n"
    rows = [row for one in command.params if (row := option_row(one, context))]
    if rows:
        yield table(("option", "default", "what it does"), rows)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            yield from command_text((*words, name), command.get_command(context, name))


def option_row(one: click.Parameter, context: click.Context) -> tuple[str, str, str] | None:
    record = one.get_help_record(context) if isinstance(one, click.Option) else None
    if not isinstance(one, click.Option) or record is None:
        return None
    text = f"{one.help.removesuffix('.')}{range_of(one.type)}." if one.help else range_of(one.type)
    default = (
        "**required**" if one.required else f"`{one.default}`" if one.show_default and one.default is not None else ""
    )
    return f"`{record[0].replace(' RANGE', '')}`", default, text


def range_of(kind: click.ParamType) -> str:
    """What a number may be."""
    if not isinstance(kind, click.IntRange | click.FloatRange):
        return ""
    low = "" if kind.min is None else f"{'above' if kind.min_open else 'at least'} {kind.min:,.10g}"
    high = "" if kind.max is None else f"{'below' if kind.max_open else 'at most'} {kind.max:,.10g}"
    return f" ({', '.join(one for one in (low, high) if one)})"


def python_page() -> str:
    text = [INTRO["python"]]
    names = sorted((name for name in voxgraft.__all__ if not name.endswith("Spec")), key=lambda name: name[0].isupper())
    kinds = [name for name in voxgraft.__all__ if name.endswith("Spec")]
    text += ["## Functions and classes\n", *(f"::: {home_of(name)}\n" for name in names if name != "hookimpl")]
    text += [
        "## For plugins\n\n`hookimpl` marks the functions by which a plugin offers components. They return these\n"
        "specs; those of measurements and commands are in `voxgraft.plugin`.\n",
        *(f"::: {home_of(name)}\n" for name in kinds),
    ]
    return "\n".join(text)


def home_of(name: str) -> str:
    """Where a public name is defined."""
    value = getattr(voxgraft, name)
    return f"{value.__module__}.{value.__qualname__}"


def pages() -> dict[str, str]:
    """What stands below docs/reference, by the name of the page."""
    assert {
        code.exit_code for code in (VoxGraftError, *VoxGraftError.__subclasses__(), plugin.UsageError)
    } <= CODES.keys()
    catalogue = built_in()
    texts = {
        "workflow.md": workflow_page(catalogue),
        "commands.md": commands_page(catalogue),
        "python.md": python_page(),
        "components.md": components_page(catalogue),
    }
    return {name: WRITTEN + re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n" for name, text in texts.items()}


if __name__ == "__main__":
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
