"""The JSON Schema of workflow files, with every installed component on offer."""

from __future__ import annotations

from typing import Any

from .component import AnySpec
from .discovery import Catalogue
from .hookspecs import KINDS
from .workflow import Workflow


def workflow_schema(catalogue: Catalogue) -> dict[str, Any]:
    """The schema for editors; a plugin whose options cannot be described is left out of it."""
    result: dict[str, Any] = Workflow.model_json_schema()
    result["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    for kind in KINDS:
        offers = []
        for _, component in catalogue.of(kind):
            try:
                offers.append(_use(component, result["$defs"]))
            except Exception:  # a plugin may fail in any way; `plugins list` says why
                continue
        names = {"enum": [offer["properties"]["use"]["const"] for offer in offers]}
        result["$defs"][kind] = {"anyOf": [*offers, names]} if offers else {}
    _fill(result)
    return result


def _use(component: AnySpec, defs: dict[str, Any]) -> dict[str, Any]:
    """The schema of one component's options plus the key `use`; its own definitions move to `defs`."""
    prefix = f"{component.kind}.{component.name}."
    options: dict[str, Any] = component.config().model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
    defs.update({prefix + name: definition for name, definition in options.pop("$defs", {}).items()})
    use = {"const": component.name, "description": component.summary}
    options["properties"] = {"use": use, **options.get("properties", {})}
    options["required"] = ["use", *options.get("required", ())]
    return options


def _fill(node: Any) -> None:
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        if isinstance(child, dict) and (kind := child.pop("x-slot", None)):
            offers: list[dict[str, Any]] = [{"$ref": f"#/$defs/{kind}"}]
            if default := child.pop("x-default", None):
                offers.append({"type": "object", "not": {"required": ["use"]}, "description": f"options of {default}"})
            if child.pop("x-optional", False):
                offers.append({"type": "null"})
            child["anyOf"] = offers
        _fill(child)
