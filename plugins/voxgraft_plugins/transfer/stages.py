"""The stages of an encoder: which parameters and modules of the network belong to each, shallow to deep."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from voxgraft.plugin import Context, SegmentationNetwork, TrainingError

ENCODER = "encoder"
_ADAPTED = re.compile(r"\.parametrizations\.(\w+)\.(?:original|\d+\..+)$")


def encoder_stages(network: SegmentationNetwork) -> list[list[str]]:
    """Parameter-name prefixes of each stage, under the names of the whole network.

    Raises:
        TrainingError: The encoder does not say what its stages are.
    """
    stages: Sequence[Sequence[str]] | None = getattr(network.encoder, "stages", None)
    if not stages:
        raise TrainingError(f"transfer: the encoder {type(network.encoder).__name__} does not name its stages")
    return [[f"{ENCODER}.{prefix}" for prefix in prefixes] for prefixes in stages]


def shallow_stages(network: SegmentationNetwork, count: int, option: str) -> list[str]:
    """The prefixes of the first stages.

    Args:
        network: Its encoder says the stages.
        count: How many, from the image on.
        option: What asks for them, for the message.

    Raises:
        TrainingError: The encoder has fewer; the message names the option that asks for them.
    """
    stages = encoder_stages(network)
    if count > len(stages):
        raise TrainingError(f"transfer: {option} is {count}, but the encoder has {len(stages)} stages")
    return [prefix for prefixes in stages[:count] for prefix in prefixes]


def plain_name(name: str) -> str:
    """The name of a parameter before `lora` took it apart: `a.parametrizations.weight.original` is `a.weight`."""
    return _ADAPTED.sub(r".\1", name)


def is_loaded(name: str, context: Context) -> bool:
    """Whether a parameter has its start from the weights; low-rank factors count as the weight that they are beside.

    What an encoder has besides, such as the feature pyramid of a plain ViT, begins at random: held there it would spoil
    what the decoder sees, so it learns as the decoder does.
    """
    return name in context.pretrained or plain_name(name) in context.pretrained


def loaded_modules(network: nn.Module, prefixes: Sequence[str], context: Context) -> Iterator[nn.Module]:
    """The modules that the prefixes name and all within them, but for those with parameters that were not loaded, or
    without their statistics.

    Args:
        network: Encoder, decoder and head.
        prefixes: Of the names of parameters.
        context: Knows which tensors were loaded.
    """
    new = {id(parameter) for name, parameter in network.named_parameters() if not is_loaded(name, context)}
    bare = bare_norms(network, context)
    for module in modules_in(network, prefixes):
        if module not in bare and not any(id(parameter) in new for parameter in module.parameters(recurse=False)):
            yield module


def bare_norms(network: nn.Module, context: Context) -> set[nn.Module]:
    """The norms whose running statistics were not loaded. Held as they begin, with mean 0 and variance 1, they would
    spoil every map after them: they follow the images of training, whatever else is frozen."""
    return {
        module
        for name, module in network.named_modules()
        if isinstance(getattr(module, "running_mean", None), Tensor)
        and belongs(name, [ENCODER])
        and not all(f"{name}.{key}" in context.pretrained for key in ("running_mean", "running_var"))
    }


def hold_norms(context: Context) -> None:
    """Let the encoder's batch norms go by the statistics that were loaded, and leave them as they are."""
    bare = bare_norms(context.network, context)
    for module in modules_in(context.network, [ENCODER]):
        if isinstance(module, _BatchNorm) and module not in bare:
            module.training = False


def belongs(name: str, prefixes: Sequence[str]) -> bool:
    """Whether a parameter or module is named by one of the prefixes, or lies within one of them."""
    plain = plain_name(name)
    return any(plain == prefix.rstrip(".") or plain.startswith(f"{prefix.rstrip('.')}.") for prefix in prefixes)


def stage_of(name: str, stages: Sequence[Sequence[str]]) -> int | None:
    """The stage of a parameter; None where it belongs to no encoder. One that no stage names counts as the deepest."""
    for stage, prefixes in enumerate(stages):
        if belongs(name, prefixes):
            return stage
    return len(stages) - 1 if belongs(name, [ENCODER]) else None


def modules_in(network: nn.Module, prefixes: Sequence[str], start: str = "") -> Iterator[nn.Module]:
    """The modules that the prefixes name and all within them; also those whose parameters they name one by one.

    Args:
        network: Is searched, its children first.
        prefixes: Of the full names of parameters.
        start: The full name of `network` with a dot; empty for the whole.
    """
    for name, module in network.named_children():
        full = f"{start}{name}"
        owned = [f"{full}.{key}" for key, _ in module.named_parameters()]
        if belongs(full, prefixes) or (owned and all(belongs(key, prefixes) for key in owned)):
            yield from module.modules()
        else:
            yield from modules_in(module, prefixes, f"{full}.")


class Holder:
    """Keeps parameters from learning for a while, and lets go of exactly those.

    What another strategy holds for good is left to it, in whatever order the two stand.
    """

    def __init__(self) -> None:
        self._held: dict[str, nn.Parameter] = {}

    def hold(self, network: nn.Module, wanted: Callable[[str], bool]) -> None:
        """Of what would learn, hold exactly the parameters whose names are wanted."""
        for name in [name for name in self._held if not wanted(name)]:
            self._held.pop(name).requires_grad_(True)
        for name, parameter in network.named_parameters():
            if parameter.requires_grad and wanted(name):
                parameter.requires_grad_(False)
                self._held[name] = parameter
