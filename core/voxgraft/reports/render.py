"""Every HTML page of VoxGraft: a template that extends `base.html`; style and script are inside, so it stands alone."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: Any) -> str:
    """Fill in a template. Every value is escaped, unless the template itself marks it as `safe`.

    Args:
        template: Path below the package, such as `reports/scores.html`.
        values: What the template names; a name that is missing is an error.
    """
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("voxgraft", "")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.globals["version"] = version("voxgraft")
    return made
