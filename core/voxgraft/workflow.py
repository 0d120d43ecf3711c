"""The workflow file: what may stand in it, and what is said when it does not fit."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError, WithJsonSchema, model_validator

from .config import Config
from .discovery import Catalogue
from .errors import UsageError, WorkflowError
from .interfaces import Decoder, Encoder, Layout, Loss, Metric, Modality, Step, Strategy, Tracker
from .slot import Chosen, Slot
from .yamlfile import Lines, Loc, load, parse

STEPS = ("check", "plan", "prepare", "train", "evaluate", "register")


class Budget(Config):
    """How long training goes on."""

    amount: Annotated[float, Gt(0)]
    unit: Literal["steps", "epochs", "minutes"]

    def __str__(self) -> str:
        amount = int(self.amount) if self.amount == int(self.amount) else self.amount
        return f"{amount} {'min' if self.unit == 'minutes' else self.unit}"


def _budget(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(steps?|epochs?|min|minutes?|h|hours?)\s*", value)
    if not match:
        raise ValueError("expected an amount and a unit, such as '500 steps', '20 epochs', '10 min' or '2 h'")
    amount, unit = float(match[1]), match[2]
    if unit.startswith("h"):
        return Budget(amount=amount * 60, unit="minutes")
    if unit.startswith(("min", "minute")):
        return Budget(amount=amount, unit="minutes")
    if amount != int(amount):
        raise ValueError(f"{unit} are counted in whole numbers")
    return Budget(amount=amount, unit="steps" if unit.startswith("step") else "epochs")


class Split(Config):
    """How patients are dealt into training and validation."""

    folds: Annotated[int, Ge(2)] = 5
    """The number of parts; one of them is for validation."""

    fold: Annotated[int, Ge(0)] = 0
    """The part that is for validation, counted from 0."""

    seed: int = 7
    """Another seed gives another deal."""

    @model_validator(mode="after")
    def _fold_exists(self) -> Split:
        if self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} does not exist: {self.folds} folds are counted from 0")
        return self


class Data(Config):
    """The images and their labels."""

    layout: Annotated[Chosen[Layout], Slot("layout")]
    """How the folder on disk becomes cases."""

    modality: Annotated[Chosen[Modality], Slot("modality")]
    """How the images are normalised, augmented and shown."""

    labels: dict[str, int] | None = None
    """Names and values of the structures; by default what the layout says."""

    split: Split = Split()

    spacing: tuple[Annotated[float, Gt(0)], ...] | None = None
    """Millimetres between voxels that the network sees; by default the median of the training cases."""

    cache: Path | None = None
    """Where prepared arrays are kept; by default in the run's folder."""

    limit: Annotated[int, Ge(2)] | None = None
    """Use only so many of the training cases (for learning curves); validation keeps all of its cases."""


class Model(Config):
    """The network."""

    dims: Literal[2, 3] = 3
    """Slices or whole volumes."""

    encoder: Annotated[Chosen[Encoder], Slot("encoder")]
    """The pretrained part of the network."""

    decoder: Annotated[Chosen[Decoder], Slot("decoder")]
    """The part that is new."""

    deep_supervision: bool = True
    """Coarser decoded maps are compared with the labels as well while training."""


class Optimiser(Config):
    """How weights are changed."""

    use: Literal["adamw", "sgd"] = "adamw"
    lr: Annotated[float, Gt(0)] | None = None
    """The highest learning rate; by default 2e-3 for AdamW and 1e-2 for SGD."""

    weight_decay: Annotated[float, Ge(0)] = 0.01
    """Applies to weights of more than one axis; biases and norms are left alone."""

    momentum: Annotated[float, Ge(0), Lt(1)] = 0.99
    """For SGD, with Nesterov's rule."""


class Schedule(Config):
    """How the learning rate changes while training goes on."""

    use: Literal["cosine", "poly", "step", "exponential", "constant"] = "poly"
    warmup: Annotated[float, Ge(0), Lt(1)] = 0.05
    """The share of the budget in which the rate rises from zero."""

    power: Annotated[float, Gt(0)] = 0.9
    """For poly."""

    factor: Annotated[float, Gt(0), Lt(1)] = 0.1
    """For step: what the rate is multiplied with at each milestone. For exponential: what is left of it at the end."""

    milestones: tuple[Annotated[float, Gt(0), Lt(1)], ...] = (0.5, 0.75)
    """For step: shares of the budget."""


class Training(Config):
    """How the network learns."""

    budget: Annotated[
        Budget,
        BeforeValidator(_budget),
        PlainSerializer(str, return_type=str),
        WithJsonSchema(
            {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*(steps?|epochs?|min|minutes?|h|hours?)\s*$"}
        ),
    ] = Budget(amount=1000, unit="steps")
    """How long: '500 steps', '20 epochs', '10 min' or '2 h'."""

    batch: Annotated[int, Ge(1)] | Literal["auto"] = "auto"
    """Patches in one step."""

    patch: tuple[Annotated[int, Ge(8)], ...] | Literal["auto"] = "auto"
    """Voxels of a patch along each axis."""

    precision: Literal["auto", "32", "bf16", "16"] = "auto"
    """Mixed precision where the device has it."""

    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`, or a number of devices such as `cuda*2`."""

    loss: Annotated[Chosen[Loss], Slot("loss", default="dice-ce")] = Field(default="dice-ce", validate_default=True)
    """What is made small."""

    optimiser: Optimiser = Optimiser()
    schedule: Schedule = Schedule()

    ema: Annotated[float, Ge(0), Lt(1)] = 0.99
    """The exponential moving average of the weights that is kept as the model; 0 keeps the last weights."""

    clip: Annotated[float, Gt(0)] = 12.0
    """The largest norm of the gradient."""

    augment: Annotated[float, Ge(0), Le(2)] = 1.0
    """How strong the modality's augmentation is; 0 switches it off."""

    foreground: Annotated[float, Ge(0), Le(1)] = 0.33
    """The share of patches that are centred on a labelled voxel."""

    validate_every: Annotated[float, Gt(0), Le(1)] = 0.25
    """The share of the budget between two looks at the validation cases."""

    validation_cases: Annotated[int, Ge(1)] = 8
    """At most so many validation cases are looked at while training; `evaluate` takes them all."""

    patience: Annotated[int, Ge(1)] | None = None
    """Stop after so many looks without a better validation score."""

    seed: int = 7

    @model_validator(mode="after")
    def _budget_allows_patience(self) -> Training:
        if self.patience is not None and self.patience * self.validate_every >= 1:
            raise ValueError("patience can never run out within the budget: look more often (validate_every)")
        return self


class Inference(Config):
    """How a trained model is applied."""

    overlap: Annotated[float, Ge(0), Lt(1)] = 0.5
    """The share by which neighbouring windows overlap."""

    mirror: bool = False
    """Average over mirrored copies of the image: slower, sometimes better."""

    batch: Annotated[int, Ge(1)] = 1
    """Windows in one pass."""

    device: str = "auto"


class Evaluation(Config):
    """How masks are compared with references."""

    metrics: Annotated[list[Annotated[Chosen[Metric], Slot("metric")]], MinLen(1)] = Field(
        default=["dice", "iou", "accuracy", "precision", "recall"],
        validate_default=True,
    )
    """The first one decides about promotion."""


class Registry(Config):
    """The name under which versions of the model are kept."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    promote: Literal["if-not-worse", "always", "never"] = "if-not-worse"
    """When a new version becomes `champion`."""


class Workflow(Config):
    """One run, from labelled images to a registered model."""

    voxgraft: Literal[1] = 1
    """The version of the file format."""

    name: Annotated[str, MinLen(1)]
    """The name of the run."""

    data: Data
    model: Model
    transfer: list[Annotated[Chosen[Strategy], Slot("strategy")]] = Field(default=[])
    """Ways of transferring, applied in order; none trains from scratch, or fine-tunes all of a pretrained encoder."""

    training: Training = Training.model_construct()
    inference: Inference = Inference()
    evaluation: Evaluation = Evaluation.model_construct()
    tracking: Annotated[Chosen[Tracker] | None, Slot("tracker", default="mlflow", optional=True)] = Field(
        default="mlflow", validate_default=True
    )
    registry: Registry | None = None
    steps: Annotated[list[Annotated[Chosen[Step], Slot("step")]], MinLen(1)] = Field(
        default=list(STEPS[:-1]),
        validate_default=True,
    )
    """What is done, in this order."""

    @model_validator(mode="before")
    @classmethod
    def _fill_sections(cls, document: Any) -> Any:
        if isinstance(document, dict):
            return {"training": {}, "evaluation": {}, **document}
        return document

    @model_validator(mode="after")
    def _fits_together(self) -> Workflow:
        names = [step.name for step in self.steps]
        for place, step in enumerate(self.steps):
            for before in getattr(step.component, "after", ()):
                if before in names[place:]:
                    raise ValueError(f"steps: {step.name!r} must come after {before!r}")
        if "register" in names and self.registry is None:
            raise ValueError("steps: 'register' needs a section 'registry' with a name")
        dims = getattr(self.model.encoder.component, "dims", frozenset({2, 3}))
        if self.model.dims not in dims:
            raise ValueError(f"model: the encoder {self.model.encoder.name!r} has no {self.model.dims}D form")
        return self

    def document(self) -> dict[str, Any]:
        """Plain values with every default written out; reading them again gives the same workflow."""
        return {name: _document(getattr(self, name)) for name in type(self).model_fields}


def _document(value: Any) -> Any:
    if isinstance(value, Chosen):
        return value.document()
    if isinstance(value, Budget):
        return str(value)
    if isinstance(value, Config):
        return {name: _document(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, (list, tuple)):
        return [_document(part) for part in value]
    return value.as_posix() if isinstance(value, Path) else value


def read(path: Path, catalogue: Catalogue, overrides: Iterable[str] = ()) -> Workflow:
    """Read and check a workflow file.

    Args:
        overrides: Texts `KEY=VALUE` with dotted keys, such as `training.budget=5 min` or `transfer.0.decay=0.6`.

    Raises:
        WorkflowError: It is not there, is no YAML, or does not fit; every fault is named with its line.
        UsageError: An override is no `KEY=VALUE`.
    """
    try:
        document, lines = load(path)
    except (FileNotFoundError, IsADirectoryError):
        raise WorkflowError(f"{path}: there is no such workflow file") from None
    except OSError as error:
        raise WorkflowError(f"{path}: cannot be read as a text file: {error}") from None
    overridden = [_override(document, text) for text in overrides]
    try:
        return Workflow.model_validate(document, context=catalogue)
    except ValidationError as error:
        raise WorkflowError("\n".join(_complaints(path, error, lines, overridden))) from None


def from_document(document: dict[str, Any], catalogue: Catalogue, name: str = "workflow") -> Workflow:
    """Check a workflow that is already in memory.

    Raises:
        WorkflowError: It does not fit.
    """
    try:
        return Workflow.model_validate(document, context=catalogue)
    except ValidationError as error:
        raise WorkflowError("\n".join(f"{name}: {_where(e['loc'])}: {_say(e)}" for e in error.errors())) from None


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
            raise UsageError(f"--set {text!r}: the workflow has no place {part!r}") from None
    try:
        node[loc[-1]] = parse(value)
    except (IndexError, TypeError):
        raise UsageError(f"--set {text!r}: the workflow has no place {loc[-1]!r}") from None
    return loc


def _complaints(path: Path, error: ValidationError, lines: Lines, overridden: list[Loc]) -> list[str]:
    complaints = []
    for one in error.errors():
        loc = one["loc"]
        source = f"{path}:{lines.at(loc)}"
        if any(loc[: len(place)] == place for place in overridden):
            source = "--set"
        complaints.append(f"{source}: {_where(loc)}: {_say(one)}")
    return complaints


def _where(loc: Loc) -> str:
    return ".".join(map(str, loc)) or "workflow"


def _say(error: Any) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        from difflib import get_close_matches

        near = get_close_matches(str(error["loc"][-1]), _keys_near(error["loc"]), n=1)
        return f"there is no key {error['loc'][-1]!r} here" + (f"; did you mean {near[0]!r}?" if near else "")
    if error["type"] == "missing":
        return "this key is needed and is not there"
    return message[:1].lower() + message[1:] if message[1:2].islower() else message


def _keys_near(loc: Loc) -> list[str]:
    model: Any = Workflow
    for part in loc[:-1]:
        field = model.model_fields.get(part) if hasattr(model, "model_fields") else None
        model = getattr(field, "annotation", None)
    return list(getattr(model, "model_fields", {}))
