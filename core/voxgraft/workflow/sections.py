"""The sections of a workflow file, one model each: what may stand in them, and what it means."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema

from ..components.choice import ComponentField, Options, Selected
from ..networks.encoder_decoder import Decoder, Encoder, EncoderSpec
from ..networks.options import StartValues, whole_option

LONGEST = 1e9
"""Steps, epochs or minutes beyond which a budget is a slip of the pen."""


class Budget(Options):
    """How long training goes on."""

    amount: Annotated[float, Gt(0), Le(LONGEST)]
    unit: Literal["steps", "epochs", "minutes"]

    def __str__(self) -> str:
        amount = int(self.amount) if self.amount == int(self.amount) else self.amount
        return f"{amount} {'min' if self.unit == 'minutes' else self.unit}"


def _word(value: Any) -> Any:
    """A number of bits as people write it, without quotes."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Precision = Annotated[
    Literal["auto", "32", "bf16", "16"],
    BeforeValidator(_word, json_schema_input_type=Literal["auto", "32", "bf16", "16", 32, 16]),
]


def _budget(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ValueError(f"give the unit too: '{value} steps', '{value} epochs' or '{value} min'")
    if isinstance(value, (Budget, dict)):
        return value
    pattern = r"\s*([0-9]+(?:\.[0-9]+)?)\s*(steps?|epochs?|min|minutes?|h|hours?)\s*"
    match = re.fullmatch(pattern, value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("expected an amount and a unit, such as '500 steps', '20 epochs', '10 min' or '2 h'")
    amount, unit = float(match[1]), match[2]
    if amount > LONGEST:
        raise ValueError(f"no training goes on for more than {LONGEST:.0e} {unit}")
    if unit.startswith(("h", "min")):
        return Budget(amount=amount * 60 if unit.startswith("h") else amount, unit="minutes")
    if amount != int(amount):
        raise ValueError(f"{unit} are counted in whole numbers")
    return Budget(amount=amount, unit="steps" if unit.startswith("step") else "epochs")


def _device(text: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?|(cpu|cuda)\*[1-9][0-9]?", text):
        raise ValueError(f"there is no device {text[:40]!r}; write auto, cpu, cuda, cuda:1 or cuda*2")
    return text


Device = Annotated[str, AfterValidator(_device)]


class Model(Options):
    """The network."""

    dims: Literal[2, 3] = 3
    """2: slices; 3: volumes."""

    encoder: Annotated[Selected[Encoder], ComponentField("encoder")]
    """The pretrained part of the network."""

    decoder: Annotated[Selected[Decoder], ComponentField("decoder")]
    """The new part of the network."""

    start: Annotated[str, AfterValidator(whole_option)] = "none"
    """Initial weights of the whole network: `models:/NAME@ALIAS`. What does not fit, such as heads of other classes, is
    initialised at random; `none` leaves the initial weights to the encoder's `weights`."""

    deep_supervision: bool = True
    """Also compare coarser decoded maps with the labels while training."""

    @property
    def pretrained(self) -> bool:
        """Whether initial weights are named, for the encoder or for the whole network."""
        return self.start != "none" or self._weights not in (None, "none")

    @property
    def saw(self) -> EncoderSpec[Any] | None:
        """The encoder's spec, where the workflow starts from the weights that come with it."""
        spec = self.encoder.component
        own = self._weights != "none" and ":" not in self._weights
        return spec if own and isinstance(spec, EncoderSpec) else None

    @property
    def takes_weights(self) -> bool:
        """Whether the encoder has pretrained weights to offer; one without them always starts from scratch."""
        return isinstance(self.encoder.options, StartValues)

    @property
    def _weights(self) -> str:
        return self.encoder.options.weights if isinstance(self.encoder.options, StartValues) else "none"

    @model_validator(mode="after")
    def _one_start(self) -> Model:
        if self.start != "none" and self._weights != "none":
            raise ValueError("start and encoder.weights both name initial weights; leave one of them out")
        return self


class Optimiser(Options):
    """How weights are changed."""

    use: Literal["adamw", "sgd"] = "adamw"
    lr: Annotated[float, Gt(0), Le(1e3)] | None = None
    """The highest learning rate; by default 2e-3 for AdamW and 1e-2 for SGD."""

    weight_decay: Annotated[float, Ge(0), Le(1e3)] = 0.01
    """Applies to weights of more than one axis; biases and norms are left alone."""

    momentum: Annotated[float, Ge(0), Lt(1)] = 0.99
    """For SGD, with Nesterov's rule."""


class Schedule(Options):
    """How the learning rate changes during training."""

    use: Literal["cosine", "poly", "step", "exponential", "constant"] = "poly"
    warmup: Annotated[float, Ge(0), Lt(1)] = 0.05
    """The share of the budget in which the rate rises from zero."""

    power: Annotated[float, Gt(0), Le(100)] = 0.9
    """For poly."""

    factor: Annotated[float, Gt(0), Lt(1)] = 0.1
    """For step: what the rate is multiplied by at each milestone. For exponential: what is left of it at the end."""

    milestones: tuple[Annotated[float, Gt(0), Lt(1)], ...] = (0.5, 0.75)
    """For step: shares of the budget."""


class Training(Options):
    """How the network learns."""

    budget: Annotated[
        Budget,
        BeforeValidator(_budget),
        PlainSerializer(str, return_type=str),
        WithJsonSchema(
            {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*(steps?|epochs?|min|minutes?|h|hours?)\s*$"}
        ),
    ] = Budget(amount=1000, unit="steps")
    """How long to train: '500 steps', '20 epochs', '10 min' or '2 h'."""

    batch: Annotated[int, Ge(1), Le(4096)] | Literal["auto"] = "auto"
    """Number of patches in one step."""

    patch: tuple[Annotated[int, Ge(8), Le(8192)], ...] | Literal["auto"] = "auto"
    """Voxels of a patch along each axis."""

    precision: Precision = "auto"
    """`auto` is mixed precision on a GPU that has it, and float32 on a CPU. On a CPU that supports bfloat16
    `bf16` takes about three quarters of the time (docs/speed.md)."""

    device: Device = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`, or a number of devices such as `cuda*2`."""

    loss: Annotated[Selected[Any], ComponentField("loss", default="dice-ce")] = Field(
        default="dice-ce", validate_default=True
    )
    """The loss function, which training minimises."""

    optimiser: Optimiser = Optimiser()
    schedule: Schedule = Schedule()

    ema: Annotated[float, Ge(0), Lt(1)] = 0.99
    """The exponential moving average of the weights that is kept as the model; 0 keeps the last weights."""

    clip: Annotated[float, Gt(0)] = 12.0
    """Largest norm of the gradient; larger ones are scaled down to it."""

    augment: Annotated[float, Ge(0), Le(2)] = 1.0
    """How strong the modality's augmentation is; 0 switches it off."""

    foreground: Annotated[float, Ge(0), Le(1)] = 0.33
    """The share of patches that are centred on a labelled voxel."""

    validate_every: Annotated[float, Ge(1e-4), Le(1)] = 0.25
    """The share of the budget between two validation passes."""

    validation_cases: Annotated[int, Ge(1)] = 8
    """Largest number of validation cases used while training, of large scans a block around the structures;
    `evaluate` uses all cases, whole."""

    patience: Annotated[int, Ge(1)] | None = None
    """Stop after this many validation passes without a better score."""

    seed: Annotated[int, Ge(0), Lt(2**32)] = 7

    @model_validator(mode="after")
    def _budget_allows_patience(self) -> Training:
        if self.patience is not None and self.patience * self.validate_every >= 1:
            raise ValueError("patience can never run out within the budget: validate more often (validate_every)")
        return self


class Inference(Options):
    """How a trained model is applied."""

    overlap: Annotated[float, Ge(0), Le(0.95)] = 0.5
    """The share by which neighbouring windows overlap."""

    mirror: bool = False
    """Average over copies of the image, mirrored along the axes along which training mirrored: slower, sometimes
    better."""

    batch: Annotated[int, Ge(1), Le(4096)] = 1
    """Number of windows in one pass."""

    skip_empty: bool = True
    """Compute windows with a single value (the air around a patient in a clipped CT) once, and use the result for all
    of them: the masks are the same."""

    precision: Precision = "auto"
    """Number format in which the network is applied. `auto` takes half precision if the device supports it and the
    held-out cases hold every structure and show that no Dice differs by more than 0.001; otherwise float32."""

    body: Literal["auto", "on", "off"] = "auto"
    """Search only the body, not the air and the table around it, if the modality knows it (CT, MR). `auto` does
    if the held-out cases hold every structure and show that no Dice differs by more than 0.001."""

    device: Device = "auto"

    def windows(self, overlap: float | None, mirror: bool | None) -> tuple[float, bool]:
        """Overlap and mirroring of windows: what was asked for, or else what the workflow says."""
        return self.overlap if overlap is None else overlap, self.mirror if mirror is None else mirror


class Evaluation(Options):
    """How masks are compared with references."""

    metrics: Annotated[list[Annotated[Selected[Any], ComponentField("metric")]], MinLen(1)] = Field(
        default=["dice", "iou", "accuracy", "precision", "recall"],
        validate_default=True,
    )
    """The first one decides about promotion."""


class Guard(Options):
    """A second network, trained from scratch on the same data in the same order, that shows whether transfer helps."""

    use: Literal["twin"] = "twin"
    metric: str | None = None
    """The metric that decides; by default the first metric of the evaluation."""

    lr: Annotated[float, Gt(0), Le(1e3)] | None = None
    """The twin's highest learning rate; by default the run's. A network from scratch often wants a larger one."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The word `twin` alone is enough; the workflow writes it out."""
        return {"anyOf": [handler(schema), {"const": "twin"}]}


class Registry(Options):
    """The name under which versions of the model are kept."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=128)]
    promote: Literal["if-not-worse", "always", "never"] = "if-not-worse"
    """When a new version becomes `champion`. `if-not-worse` also keeps back a version whose guard says `hurts`, and
    one that finds nothing of a structure or is no better there than an empty mask."""


class Review(Options):
    """Settings of the review page for this model's masks."""

    reasons: Annotated[list[Annotated[str, MinLen(1), MaxLen(80)]], MaxLen(40)] = Field(default=[])
    """Reasons for rejecting a mask; by default the usual list."""

    tolerance_mm: Annotated[float, Gt(0), Le(100)] = 2.0
    """Millimetres by which two surfaces may differ and still agree, in the statistics of corrections and readers."""
