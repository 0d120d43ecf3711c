"""YAML as a person reads it: the core schema of YAML 1.2, no key twice, and the line of every value."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from ..errors import WorkflowError
from ..support.files import read_bytes

Loc = tuple[int | str, ...]

LARGEST = 2**20
"""Bytes of the longest document."""
MOST_VALUES = 50_000
"""Keys and values of the largest document, aliases and merges written out."""
DEEPEST = 60
"""Mappings and lists in each other."""

_CORE = "tag:yaml.org,2002:"
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")

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
    """PyYAML speaks YAML 1.1, where 1e-3 is a string, `no` is false and 0012 is ten; this one counts as it reads."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        self._depth, self._nodes = self._depth + 1, self._nodes + 1
        if self._depth > DEEPEST:
            raise _fault(f"values are nested more than {DEEPEST} deep", mark)
        if self._nodes > MOST_VALUES:
            raise _fault(f"there are more than {MOST_VALUES} values", mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def checked_node(self) -> yaml.Node | None:
        """The root of the document, after everything that constructing it would do is known to be bounded."""
        root = self.get_single_node()
        if root is not None:
            _weigh(root, {})
        return root


for _tag, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(f"{_CORE}{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


def _fault(text: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=mark)


def _weigh(node: yaml.Node, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """How many values a node holds and how deep it is, once aliases and merges are written out.

    Args:
        known: Of the nodes that were weighed before, by their ids; None while one is being weighed.

    Raises:
        yaml.MarkedYAMLError: It is too large, holds itself, or holds a key or a scalar that no workflow has.
    """
    if id(node) in known:
        if (weight := known[id(node)]) is None:
            raise _fault("a value contains itself through its anchor", node.start_mark)
        return weight
    known[id(node)] = None
    if isinstance(node, yaml.MappingNode):
        _check_keys(node)
        parts = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        parts = node.value
    else:
        assert isinstance(node, yaml.ScalarNode)
        _check_scalar(node)
        parts = []
    if parts and node.tag not in (f"{_CORE}map", f"{_CORE}seq"):
        raise _fault(f"the tag {_shown(node.tag)} is not known here", node.start_mark)
    weights = [_weigh(part, known) for part in parts]
    count, depth = 1 + sum(weight for weight, _ in weights), 1 + max((level for _, level in weights), default=0)
    if count > MOST_VALUES or depth > DEEPEST:
        text = f"aliases and merges make this more than {MOST_VALUES} values, or more than {DEEPEST} deep"
        raise _fault(text, node.start_mark)
    known[id(node)] = count, depth
    return count, depth


def _check_keys(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag.removeprefix(_CORE) not in ("str", "int", "merge"):
            raise _fault("a key must be a word or a whole number; write other words in quotes", key.start_mark)
        _check_scalar(key)
        name = str(int(key.value)) if key.tag == f"{_CORE}int" else key.value
        if name in seen:
            raise _fault(f"key {name!r} appears twice", key.start_mark)
        seen.add(name)


def _check_scalar(node: yaml.ScalarNode) -> None:
    kind = node.tag.removeprefix(_CORE)
    if kind != "str" and (kind not in _SCALARS or not re.fullmatch(_SCALARS[kind][0], node.value)):
        raise _fault(f"the tag {_shown(node.tag)} is not known here, or does not fit its value", node.start_mark)
    if kind == "int" and (len(node.value) > 20 or not -(1 << 63) <= int(node.value) < 1 << 63):
        raise _fault("a whole number has more than 18 digits; write names in quotes", node.start_mark)
    if kind == "str" and _CONTROL.search(node.value):
        raise _fault("a text holds a control character, such as NUL", node.start_mark)


def _shown(tag: str) -> str:
    return repr(tag.replace(_CORE, "!!")[:40])


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
    """One YAML value from a text, as `--set KEY=VALUE` gives it; what is not YAML is the text itself."""
    try:
        return _document(text)[0]
    except (yaml.YAMLError, RecursionError):
        return text


def dump(document: Any) -> str:
    """Plain values as YAML that `load` reads back, keys in their order."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)


def load(path: Path) -> tuple[Any, Lines]:
    """Read one YAML document, and where its values stand.

    It is bounded before it is built: in bytes, in values once aliases and merges are written out, and in depth.

    Raises:
        WorkflowError: It is no such document; the message names the line.
        OSError: The file is not there, is none, is too large or cannot be read.
    """
    try:
        text = read_bytes(path, LARGEST).decode("utf-8")
        document, node = _document(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise WorkflowError(f"{path}:{line}: {error.problem}") from None
    except UnicodeDecodeError:
        raise WorkflowError(f"{path}: cannot be read as a text file: it is not UTF-8") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise WorkflowError(f"{path}:{line}: there is a character here that does not belong in a text file") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise WorkflowError(f"{path}: cannot be read as YAML: {type(error).__name__}") from None
    if node is None:
        raise WorkflowError(f"{path}: the file is empty")
    return document, Lines(node)


def _document(text: str) -> tuple[Any, yaml.Node | None]:
    """A document and its root, None where there is none.

    Raises:
        yaml.YAMLError: It is not YAML, or beyond the bounds.
    """
    if len(text) > LARGEST:
        raise yaml.YAMLError(f"longer than {LARGEST} bytes")
    loader = _Loader(text)
    try:
        node = loader.checked_node()
        return (None if node is None else loader.construct_document(node)), node
    finally:
        loader.dispose()
