"""YAML as a person reads it: the core schema of YAML 1.2, no key twice, and the line of every value."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from .errors import WorkflowError

Loc = tuple[int | str, ...]

_SCALARS = {
    "null": (r"~|null|", ["~", "n", ""]),
    "bool": (r"true|false", ["t", "f"]),
    "int": (r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]?\.inf|\.nan",
        list("-+.0123456789"),
    ),
    "merge": (r"<<", ["<"]),
}


class _Loader(yaml.SafeLoader):
    """PyYAML speaks YAML 1.1, where 1e-3 is a string, `no` is false and 0012 is ten."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


for _tag, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


class _Dumper(yaml.SafeDumper):
    """Quotes what the 1.1 or the 1.2 schema would read as something else."""


class Lines:
    """Where each value of a document stands in its file."""

    def __init__(self, root: yaml.Node) -> None:
        self._at: dict[Loc, int] = {}
        self._walk(root, ())

    def at(self, loc: Loc) -> int:
        """The line of a value, or of the nearest thing around it."""
        while loc not in self._at:
            loc = loc[:-1]
        return self._at[loc]

    def _walk(self, node: yaml.Node, loc: Loc) -> None:
        self._at.setdefault(loc, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                self._at[(*loc, key.value)] = key.start_mark.line + 1
                self._walk(value, (*loc, key.value))
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                self._walk(value, (*loc, index))


def parse(text: str) -> Any:
    """One YAML value from a text, as `--set KEY=VALUE` gives it; what is no YAML is the text itself."""
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    except yaml.YAMLError:
        return text
    finally:
        loader.dispose()


def dump(document: Any) -> str:
    """Plain values as YAML that `load` reads back, keys in their order."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)


def load(path: Path) -> tuple[Any, Lines]:
    """Read one YAML document, and where its values stand."""
    loader = None
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        if node is None:
            raise WorkflowError(f"{path}: the file is empty")
        return loader.construct_document(node), Lines(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise WorkflowError(f"{path}:{line}: {error.problem}") from None
    except UnicodeDecodeError:
        raise WorkflowError(f"{path}: cannot be read as a text file: it is not UTF-8") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise WorkflowError(f"{path}: cannot be read as YAML: {type(error).__name__}") from None
    finally:
        if loader is not None:
            loader.dispose()
