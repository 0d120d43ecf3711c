"""Options, and a place in a workflow file where a component stands, checked against what is installed."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from annotated_types import Ge, Gt
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from ..errors import BrokenPlugin, ComponentConflict, UnknownComponent, VoxGraftError
from ..support.texts import as_stored
from .catalogue import Catalogue, Component

T = TypeVar("T")

StoredPath = Annotated[Path, AfterValidator(as_stored)]
"""A path in options, as what is there is called."""


@dataclass(frozen=True, slots=True)
class Selected(Generic[T]):
    """A component that a workflow names, with its options. Nothing heavy is imported before `build`."""

    component: Component[Any, T]
    options: Options
    plugin: str = ""

    @property
    def name(self) -> str:
        return self.component.name

    def build(self) -> T:
        """Make the component.

        Raises:
            BrokenPlugin: Its code failed in a way that is no user's error.
        """
        try:
            return self.component.build(self.options)
        except VoxGraftError:
            raise
        except (Exception, SystemExit) as error:
            doing = f"making the {self.component.kind} {self.name!r}"
            raise BrokenPlugin(self.plugin, doing, error) from error

    def document(self) -> dict[str, Any]:
        """The mapping a workflow file would hold, with every option written out."""
        return {"use": self.name, **self.options.model_dump(mode="json")}


@dataclass(frozen=True, slots=True)
class ComponentField:
    """Where a component of one kind stands: a mapping with the key `use`, or just its name.

    Attributes:
        default: The component that is used when the mapping has no key `use`.
        optional: Null is allowed and means no component.
    """

    kind: str
    default: str | None = None
    optional: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self._choose)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"title": self.kind, "x-component": self.kind, "x-default": self.default, "x-optional": self.optional}

    def _choose(self, value: Any, info: ValidationInfo) -> Selected[Any] | None:
        if isinstance(value, Selected) or (value is None and self.optional):
            return value
        if isinstance(value, str):
            value = {"use": value}
        if isinstance(value, dict) and self.default and "use" not in value:
            value = {"use": self.default, **value}
        if not isinstance(value, dict) or not isinstance(value.get("use"), str):
            raise PydanticCustomError("no_use", "expected a mapping with the key 'use'")
        return choose(_catalogue(info), self.kind, value)


@dataclass(frozen=True, slots=True)
class ByName:
    """Where components of one kind stand by their names, each with a mapping of options: `{dicom: {pet: stored}}`."""

    kind: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._named, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "object", "x-by-name": self.kind}

    def _named(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        for name, options in value.items():
            if not isinstance(options, (dict, Selected)) or (isinstance(options, dict) and "use" in options):
                raise PydanticCustomError(
                    "no_options",
                    "{name}: expected a mapping of options, without the key 'use'",
                    {"name": name},
                )
        return {
            name: {"use": name, **options} if isinstance(options, dict) else options for name, options in value.items()
        }


def choose(catalogue: Catalogue, kind: str, value: dict[str, Any]) -> Selected[Any]:
    """The component that a mapping with the key `use` names, its options validated.

    Options that are not given are the catalogue's, where it has some for this component, or else its own defaults.

    Args:
        catalogue: Offers the components.
        kind: Such as `encoder` or `metric`.
        value: `use` and the options.

    Raises:
        PydanticCustomError: There is no such component, or several plugins offer it.
        pydantic.ValidationError: The options do not fit.
    """
    usual = catalogue.options.get((kind, value["use"]), {})
    options = {**usual, **{key: option for key, option in value.items() if key != "use"}}
    try:
        component = catalogue.get(kind, value["use"])
    except (UnknownComponent, ComponentConflict) as error:
        raise PydanticCustomError("component", "{reason}", {"reason": str(error)}) from None
    plugin = catalogue.origin(component).plugin
    try:
        model = component.options()
    except (Exception, SystemExit) as error:
        broken = BrokenPlugin(plugin, f"reading the options of {value['use']!r}", error)
        raise PydanticCustomError("component", "{reason}", {"reason": str(broken)}) from None
    try:
        return Selected(component, model.model_validate(options), plugin)
    except ValidationError as error:
        keys = [field.alias or name for name, field in model.model_fields.items()]
        raise ValidationError.from_exception_data(
            error.title, [_told(fault, keys) for fault in error.errors()]
        ) from None


def _told(error: Any, keys: list[str]) -> InitErrorDetails:
    """What is wrong with an option; one that does not exist is told with those that do."""
    kind, message = error["type"], error["msg"]
    if kind == "extra_forbidden" and len(error["loc"]) == 1:
        unknown = str(error["loc"][0])
        near = get_close_matches(unknown, keys, n=1)
        hint = f"the options here are {', '.join(keys)}" if keys else "there are no options here"
        kind, message = (
            "no_option",
            f"there is no key {unknown!r} here; " + (f"did you mean {near[0]!r}?" if near else hint),
        )
    return InitErrorDetails(
        type=PydanticCustomError(kind, "{message}", {**error.get("ctx", {}), "message": message}),
        loc=error["loc"],
        input=error["input"],
    )


def _catalogue(info: ValidationInfo) -> Catalogue:
    assert isinstance(info.context, Catalogue), "validate a workflow with context=catalogue"
    return info.context


class Options(BaseModel):
    """Options of a component."""

    # Docstrings become the texts of the schema that editors show.

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class TrackingOptions(Options):
    """Options of trackers and stores at a tracking URI."""

    uri: str | None = None
    """Where the tracking server or its database is."""


class ExecutorOptions(Options):
    """What `voxgraft segment` hands to executors; one that has other options of its own adds them."""

    workers: Annotated[int, Ge(1)] | None = None
    """Number of workers; by default one on this machine, or as many as a cluster has room for."""
    device: str = "auto"
    """Device: auto, cpu, cuda or cuda:1."""
    seconds: Annotated[float, Gt(0)] | None = None
    """Time limit in seconds for a whole task; a worker that takes longer is ended. Threads cannot enforce it."""
    gigabytes: Annotated[float, Gt(0)] | None = None
    """Memory limit in GB (1e9 bytes) for a worker; one that takes more is ended. Threads cannot enforce it."""
    alone: bool = False
    """Give a worker its next task only when it has ended the last one: for long tasks, and tasks that share nothing."""


class StrategyOptions(Options):
    """Options of a strategy that say what they ask of the workflow; plain `Options` ask nothing."""

    @property
    def needs(self) -> frozenset[str]:
        """What the strategy cannot do without when set like this, besides the needs of its spec."""
        return frozenset()

    @property
    def supervised(self) -> bool:
        """Whether the network learns from labels."""
        return True

    @property
    def teachers(self) -> tuple[str, ...]:
        """References of the models that it learns from; they are looked up before training starts."""
        return ()
