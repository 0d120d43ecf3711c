"""The workflow file: its sections together, and what is said when it does not fit."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from annotated_types import MaxLen, MinLen
from pydantic import AfterValidator, Field, ValidationError, model_validator

from ..components.catalogue import Catalogue
from ..components.choice import ComponentField, Options, Selected, StrategyOptions, TrackingOptions
from ..datasets.options import Data
from ..errors import UsageError, WorkflowError
from ..networks.encoder_decoder import EncoderSpec
from .choices import one_for_each_value
from .sections import Budget, Evaluation, Guard, Inference, Model, Registry, Review, Training
from .yaml import Lines, Loc, load, parse

STEPS = ("check", "plan", "prepare", "train", "evaluate", "register")


def _names_a_folder(name: str) -> str:
    if not name.strip(" .") or any(letter in "/\\" or ord(letter) < 32 for letter in name):
        raise ValueError(
            f"{name!r} cannot name the folder of a run: leave out slashes and control characters, and do not use "
            "dots only"
        )
    return name


@runtime_checkable
class ComesAfter(Protocol):
    """The spec of a step, as far as the order of steps is concerned."""

    @property
    def after(self) -> tuple[str, ...]:
        """The steps that stand before it."""
        ...


class Workflow(Options):
    """One run, from labelled images to a registered model."""

    voxgraft: Literal[1] = 1
    """The version of the file format."""

    name: Annotated[str, MinLen(1), MaxLen(128), AfterValidator(_names_a_folder)]
    """The name of the run, and of its folder below `runs`."""

    data: Data
    model: Model
    transfer: list[Annotated[Selected[Any], ComponentField("strategy")]] = Field(default=[])
    """Strategies, applied in order; an empty list trains from scratch, or fine-tunes a pretrained encoder."""

    training: Training = Training.model_construct()
    inference: Inference = Inference()
    evaluation: Evaluation = Evaluation.model_construct()
    tracking: Annotated[Selected[Any] | None, ComponentField("tracker", default="mlflow", optional=True)] = Field(
        default="mlflow", validate_default=True
    )
    registry: Registry | None = None
    guard: Guard | None = None
    """Test whether transfer helps, after `evaluate`; `guard: twin` is enough."""

    review: Review = Review()

    steps: Annotated[list[Annotated[Selected[Any], ComponentField("step")]], MinLen(1)] = Field(
        default=list(STEPS[:-1]),
        validate_default=True,
    )
    """The steps to do, in this order."""

    @property
    def place(self) -> str | None:
        """The tracking URI, where the tracker has one: runs go there, and models are looked up there."""
        options = self.tracking.options if self.tracking is not None else None
        return options.uri if isinstance(options, TrackingOptions) else None

    @model_validator(mode="before")
    @classmethod
    def _fill_sections(cls, document: Any) -> Any:
        if isinstance(document, dict):
            return {"training": {}, "evaluation": {}, **_with_guard(document)}
        return document

    @model_validator(mode="after")
    def _fits_together(self) -> Workflow:
        names = [step.name for step in self.steps]
        if twice := [name for index, name in enumerate(names) if name in names[:index]]:
            raise ValueError(f"steps: {twice[0]!r} appears twice; a run does each step once")
        for index, step in enumerate(self.steps):
            spec = step.component
            for before in spec.after if isinstance(spec, ComesAfter) else ():
                if before in names[index:]:
                    raise ValueError(f"steps: {step.name!r} must come after {before!r}")
        if "register" in names and self.registry is None:
            raise ValueError("steps: 'register' needs a section 'registry' with a name")
        if "guard" in names and self.guard is None:
            raise ValueError("steps: 'guard' needs a section 'guard', such as guard: twin")
        if self.guard is not None:
            metrics = [metric.name for metric in self.evaluation.metrics]
            if self.guard.metric not in (None, *metrics):
                raise ValueError(f"guard: metric {self.guard.metric!r} is not among evaluation.metrics")
            if not self.model.pretrained and not self.transfer:
                raise ValueError("guard: nothing is transferred here; name weights or a strategy, or leave guard out")
            if not self.supervised:
                raise ValueError(
                    "guard: a pretraining uses no labels and has no scores to judge; put the guard into the "
                    "workflow that starts from its model"
                )
        encoder = self.model.encoder.component
        dims = encoder.dims if isinstance(encoder, EncoderSpec) else frozenset({2, 3})
        if self.model.dims not in dims:
            raise ValueError(
                f"model: the encoder {self.model.encoder.name!r} has no {self.model.dims}D form; choose another, or "
                f"set model.dims to {min(dims)}"
            )
        patch = self.training.patch
        if patch != "auto" and len(patch) != self.model.dims:
            raise ValueError(
                f"training.patch has {len(patch)} numbers, a network of {self.model.dims}D needs {self.model.dims}; "
                "change one of the two, or leave training.patch out"
            )
        return self._as_pretrained()

    def _as_pretrained(self) -> Workflow:
        """With the spacing of the images that the encoder's own weights saw, where the workflow names none."""
        saw = self.model.saw
        if saw is None or self.data.spacing is not None or len(saw.spacing) != self.model.dims:
            return self
        return self.model_copy(update={"data": self.data.model_copy(update={"spacing": saw.spacing})})

    @property
    def supervised(self) -> bool:
        """Whether the network learns from labels; a strategy's options may say that it does not."""
        options = [strategy.options for strategy in self.transfer]
        return all(one.supervised for one in options if isinstance(one, StrategyOptions))

    def document(self) -> dict[str, Any]:
        """Plain values with every default written out; reading them again gives the same workflow."""
        return {name: _document(getattr(self, name)) for name in type(self).model_fields}


def _with_guard(document: dict[str, Any]) -> dict[str, Any]:
    """The word `twin` written out, and the step `guard` after `evaluate` where the workflow has a guard."""
    guard = document.get("guard")
    if guard is None:
        return document
    steps = document.get("steps", list(STEPS[:-1]))
    if isinstance(steps, list):
        names = [step.get("use") if isinstance(step, dict) else step for step in steps]
        if "guard" not in names and "evaluate" in names:
            index = names.index("evaluate") + 1
            steps = [*steps[:index], "guard", *steps[index:]]
    return {**document, "guard": {"use": guard} if isinstance(guard, str) else guard, "steps": steps}


def _document(value: Any) -> Any:
    if isinstance(value, Selected):
        return value.document()
    if isinstance(value, Budget):
        return str(value)
    if isinstance(value, Options):
        fields = type(value).model_fields
        return {field.alias or name: _document(getattr(value, name)) for name, field in fields.items()}
    if isinstance(value, dict):
        by_name = {
            name: part.options.model_dump(mode="json") for name, part in value.items() if isinstance(part, Selected)
        }
        return {name: by_name[name] if name in by_name else _document(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_document(part) for part in value]
    return value.as_posix() if isinstance(value, Path) else value


def read(path: Path, catalogue: Catalogue, overrides: Iterable[str] = ()) -> Workflow:
    """Read and check a workflow file.

    Args:
        overrides: Texts `KEY=VALUE` with dotted keys, such as `training.budget=5 min` or `transfer.0.decay=0.6`.

    Raises:
        WorkflowError: It is not there, is not YAML, or does not fit; every fault is named with its line.
        UsageError: An override is not a `KEY=VALUE`.
    """
    try:
        document, lines = load(path)
    except IsADirectoryError:
        raise WorkflowError(
            f"{path}: is a folder, and a workflow file is needed here; `voxgraft check {path}` looks at the data in it"
        ) from None
    except FileNotFoundError:
        raise WorkflowError(f"{path}: there is no such workflow file") from None
    except OSError as error:
        raise WorkflowError(f"{path}: cannot be read as a text file: {error.strerror}") from None
    if not isinstance(document, dict):
        raise WorkflowError(f"{path}: {_no_workflow(path)}")
    overridden = [_override(document, text) for text in overrides]
    try:
        return Workflow.model_validate(document, context=catalogue)
    except ValidationError as error:
        raise WorkflowError("\n".join(_complaints(path, error, lines, overridden, document))) from None


def _no_workflow(path: Path) -> str:
    """What to say of a file that holds no keys and values."""
    if path.suffix.lower() in (".csv", ".tsv"):
        return (
            "is a table, not a workflow file; write a workflow with data: {layout: {use: csv, path: "
            f"{path.as_posix()}}}, modality: NAME}}, and name that file"
        )
    return "is not a workflow file: a workflow is YAML with keys such as name, data and model"


def from_document(document: dict[str, Any], catalogue: Catalogue, name: str = "workflow") -> Workflow:
    """Check a workflow that is already in memory.

    Args:
        document: Plain values, as they stand in a workflow file.
        catalogue: Offers the components that it names.
        name: What messages call it.

    Raises:
        WorkflowError: It does not fit.
    """
    try:
        return Workflow.model_validate(document, context=catalogue)
    except ValidationError as error:
        errors = one_for_each_value(error.errors(), document)
        raise WorkflowError("\n".join(f"{name}: {_where(e['loc'])}: {_say(e)}" for e in errors)) from None


def _override(document: Any, text: str) -> Loc:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {text!r}: expected KEY=VALUE, such as training.budget='5 min'")
    loc: Loc = tuple(int(part) if part.isdigit() else part for part in key.strip().split("."))
    node = document
    for part in loc[:-1]:
        try:
            if isinstance(node, dict) and node.get(part) is None:
                node[part] = {}
            elif isinstance(node, dict) and isinstance(node[part], str):
                node[part] = {"use": node[part]}
            node = node[part]
        except (KeyError, IndexError, TypeError):
            raise UsageError(f"--set {text!r}: the workflow has no key {part!r}") from None
    try:
        node[loc[-1]] = parse(value)
    except (IndexError, TypeError):
        raise UsageError(f"--set {text!r}: the workflow has no key {loc[-1]!r}") from None
    return loc


def _complaints(path: Path, error: ValidationError, lines: Lines, overridden: list[Loc], document: Any) -> list[str]:
    complaints = []
    errors = one_for_each_value(error.errors(), document)
    faults = [fault["loc"] for fault in errors]
    for fault in errors:
        if any(len(loc) > len(fault["loc"]) and loc[: len(fault["loc"])] == fault["loc"] for loc in faults):
            continue  # it only says that something inside it is wrong
        loc = fault["loc"]
        source = f"{path}:{lines.at(loc)}"
        if any(loc[: len(prefix)] == prefix for prefix in overridden):
            source = "--set"
        complaints.append(f"{source}: {_where(loc)}: {_say(fault)}")
    return complaints


def _where(loc: Loc) -> str:
    return ".".join(map(str, loc)) or "workflow"


def _say(error: Any) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        from difflib import get_close_matches

        near = get_close_matches(str(error["loc"][-1]), _keys_near(error["loc"]), n=1)
        return f"there is no key {error['loc'][-1]!r} here" + (f"; did you mean {near[0]!r}?" if near else "")
    if error["type"] == "list_type":
        return (
            "a list is needed here, such as [{use: NAME}]" if error["loc"] == ("transfer",) else "a list is needed here"
        )
    if error["type"] == "missing":
        return "this key is required"
    return message[:1].lower() + message[1:] if message[1:2].islower() else message


def _keys_near(loc: Loc) -> list[str]:
    model: Any = Workflow
    for part in loc[:-1]:
        field = model.model_fields.get(part) if hasattr(model, "model_fields") else None
        model = getattr(field, "annotation", None)
    return list(getattr(model, "model_fields", {}))
