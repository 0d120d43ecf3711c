"""The JSON Schema of workflow files, with every installed component on offer."""

from __future__ import annotations

from typing import Any

from ..components.catalogue import AnySpec, Catalogue
from .workflow import Workflow


def workflow_schema(catalogue: Catalogue) -> dict[str, Any]:
    """The schema for editors; a plugin whose options cannot be described is left out of it."""
    result: dict[str, Any] = Workflow.model_json_schema()
    result["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    for kind in sorted(_kinds(result)):
        offers = []
        for _, component in catalogue.of(kind):
            try:
                offers.append(_use(component, result["$defs"]))
            except Exception:  # a plugin may fail in any way; `plugins list` says why
                continue
        names = {"enum": [offer["properties"]["use"]["const"] for offer in offers]}
        result["$defs"][kind] = {"anyOf": [*offers, names]} if offers else {}
    _fill(result, result["$defs"])
    return result


def _kinds(node: Any) -> set[str]:
    """The kinds of component that a schema names."""
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    named = {node[key] for key in ("x-component", "x-by-name") if key in node} if isinstance(node, dict) else set()
    return named.union(*(_kinds(child) for child in children))


def _use(component: AnySpec, defs: dict[str, Any]) -> dict[str, Any]:
    """The schema of one component's options plus the key `use`; its own definitions move to `defs`."""
    prefix = f"{component.kind}.{component.name}."
    options: dict[str, Any] = component.options().model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
    defs.update({prefix + name: definition for name, definition in options.pop("$defs", {}).items()})
    use = {"const": component.name, "description": component.summary}
    options["properties"] = {"use": use, **options.get("properties", {})}
    options["required"] = ["use", *options.get("required", ())]
    return options


def _fill(node: Any, defs: dict[str, Any]) -> None:
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        if isinstance(child, dict) and (kind := child.pop("x-by-name", None)):
            child["properties"] = {name: options for name, options in map(_named, defs[kind].get("anyOf", [])) if name}
            child["additionalProperties"] = False
        if isinstance(child, dict) and (kind := child.pop("x-component", None)):
            offers: list[dict[str, Any]] = [{"$ref": f"#/$defs/{kind}"}]
            if default := child.pop("x-default", None):
                offers.append({"type": "object", "not": {"required": ["use"]}, "description": f"options of {default}"})
            if child.pop("x-optional", False):
                offers.append({"type": "null"})
            child["anyOf"] = offers
        _fill(child, defs)


def _named(offer: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name and the options of one component; no name for what is a list of names."""
    properties = dict(offer.get("properties", {}))
    use = properties.pop("use", {})
    required = [name for name in offer.get("required", ()) if name != "use"]
    options = {**offer, "properties": properties, "description": use.get("description", "")}
    options.pop("required", None)
    return use.get("const", ""), {**options, "required": required} if required else options
