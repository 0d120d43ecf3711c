"""Pretrained tensors: where they come from, and what became of each when they were loaded."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError, NoSuchModel
from .diagnose import why_unreadable
from .inflation import inflated
from .modules import EncoderModule, InputContract
from .options import ENCODER, Inflation

ENOUGH = 0.9
"""The share of an encoder's parameters and statistics that initial weights must hold, unless the workflow says less."""

STATISTICS = (".running_mean", ".running_var")
"""How the names end under which BatchNorm keeps what it has seen."""

LARGEST = 32 * 2**30
"""Bytes of the largest file of weights that is opened, packed or unpacked."""

NESTS = ("state_dict_ema", "state_dict", "model_state_dict", "model", "network_weights", "teacher", "params", "net")
"""Under these names checkpoints of other programs keep their tensors."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Tensors under the names of the module they are for.

    Attributes:
        origin: Where they come from, for the load report: a package and version, a file's name, a model reference.
        sha256: Of the file they were read from.
        contract: What they were trained to see, where that is known.
        at_least: The share of the encoder's parameters that must be found in them.
    """

    tensors: Mapping[str, Tensor]
    origin: str
    licence: str = ""
    sha256: str = ""
    contract: InputContract | None = None
    at_least: float = ENOUGH

    def but(self, **changes: Any) -> Weights:
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What became of each tensor.

    Attributes:
        loaded: Taken as they are.
        adapted: Taken in another shape: the first convolution fitted to the number of channels, a convolution inflated,
            a position embedding resampled.
        new: Parameters and buffers of the module that the weights do not hold, or hold in another shape.
        dropped: Tensors that the module has no place for.
        share: Of the numbers in parameters and buffers; counters and indices are not counted.
        part: What stands before these names in the network; nothing, where the whole was loaded.
    """

    origin: str
    licence: str = ""
    sha256: str = ""
    loaded: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    share: float = 0.0
    contract: InputContract | None = None
    part: str = ENCODER

    def __str__(self) -> str:
        return (
            f"{self.origin} ({self.licence or 'licence not stated'}): {percent(self.share)} of the "
            f"{'encoder' if self.part else 'network'}'s parameters; {len(self.loaded)} tensors loaded, "
            f"{len(self.adapted)} adapted{self._shown(self.adapted)}, {len(self.new)} new{self._shown(self.new)}, "
            f"{len(self.dropped)} dropped{self._bare()}"
        )

    def _bare(self) -> str:
        """A warning of norms whose scales were loaded and whose statistics were not."""
        norms = [name.removesuffix(STATISTICS[0]) for name in self.new if name.endswith(STATISTICS[0])]
        norms = [name for name in norms if f"{name}.weight" in self.pretrained]
        if not norms:
            return ""
        layers = "1 BatchNorm layer" if len(norms) == 1 else f"{len(norms)} BatchNorm layers"
        return f". Warning: without the statistics of {layers}, which follow the training images, frozen or not"

    @staticmethod
    def _shown(names: Sequence[str]) -> str:
        """A name or two, so that it is seen what these are."""
        more = ", ..." if len(names) > 2 else ""
        return f" ({', '.join(names[:2])}{more})" if names else ""

    def document(self) -> dict[str, Any]:
        """Plain values, as the run keeps them; under `said` what people are told."""
        return {"said": str(self), **asdict(self)}

    @property
    def pretrained(self) -> frozenset[str]:
        return frozenset(self.loaded) | frozenset(self.adapted)

    @property
    def started(self) -> frozenset[str]:
        """Names in the network of the parameters and buffers that are pretrained."""
        return frozenset(f"{self.part}{name}" for name in self.pretrained)


def percent(share: float) -> str:
    """A share in whole percent; 100 % is said of the whole only."""
    return f"{int(100 * share)}%"


def load_weights(module: nn.Module, weights: Weights, at_least: float | None = None) -> LoadReport:
    """Put pretrained tensors into a module, and say what became of each.

    Tensors of another shape are fitted where that is exact or usual, see `fitted`; a module says how its convolutions
    are inflated by its attribute `inflation`.

    Args:
        at_least: The share of the module's parameters and buffers, counted in numbers, below which nothing counts as
            pretrained; by default what the weights themselves ask for.

    Raises:
        ModelError: Less than `at_least` of the parameters could be loaded, or one of them is not a number.
    """
    at_least = weights.at_least if at_least is None else at_least
    state = module.state_dict()
    taken: dict[str, Tensor] = {}
    adapted, new = [], []
    sizes = counted_sizes(module)
    first = next((name for name, parameter in module.named_parameters() if parameter.ndim >= 4), "")
    mode: Inflation = module.inflation if isinstance(module, EncoderModule) else "centre"
    for name, value in state.items():
        source = weights.tensors.get(name)
        fit = None
        if source is not None and source.is_floating_point() == value.is_floating_point():
            fit = fitted(source, value.shape, first=name == first, mode=mode)
        if source is None or fit is None:
            new.append(name)
            continue
        fit = fit.to(value.dtype)
        if not bool(torch.isfinite(fit).all()):
            raise ModelError(f"weights {weights.origin}: {name} contains NaN or infinite values; the file is damaged")
        taken[name] = fit
        if source.shape != value.shape:
            adapted.append(name)
    contract = module.contract if isinstance(module, EncoderModule) else InputContract()
    total = sum(sizes.values())
    share = sum(sizes.get(name, 0) for name in taken) / total if total else 1.0
    if share < at_least:
        raise ModelError(
            f"weights {weights.origin}: only {percent(share)} of the encoder's parameters were found in them, "
            f"{at_least:.0%} are needed; they are not for this encoder (first missing: {', '.join(new[:3])}): "
            + _remedy(weights, new, state, share)
        )
    for name, fit in taken.items():
        state[name].copy_(fit)
    return LoadReport(
        origin=weights.origin,
        licence=weights.licence,
        sha256=weights.sha256,
        loaded=tuple(name for name in taken if name not in adapted),
        adapted=tuple(adapted),
        new=tuple(new),
        dropped=tuple(name for name in weights.tensors if name not in state),
        share=share,
        contract=contract.given(weights.contract),
    )


def counted_sizes(module: nn.Module) -> dict[str, int]:
    """How many numbers each tensor holds that initial weights should hold: parameters, and buffers such as BatchNorm's
    statistics, but no counters and indices."""
    return {name: tensor.numel() for name, tensor in module.state_dict().items() if tensor.is_floating_point()}


def _remedy(weights: Weights, new: Sequence[str], state: Mapping[str, Tensor], share: float) -> str:
    """What to do about weights that do not fit: of volumes, another variant, another family, or a part."""
    sizes = [name for name in new if name in weights.tensors]
    if any(weights.tensors[name].ndim == 5 and state[name].ndim == 4 for name in sizes):
        return "they are of a 3D network and this one is 2D; set model.dims to 3"
    if sizes:
        return f"{len(sizes)} tensors have the right name but another size; choose the variant they were made for"
    if share == 0:
        return f"they hold {', '.join(list(weights.tensors)[:2]) or 'nothing'}; choose the encoder they were made for"
    return "choose the encoder they were made for, or take what is there with allow_partial: true"


def load_network(network: nn.Module, weights: Weights) -> LoadReport:
    """Put the tensors of a registered model into a network: what has the same name and fits, in decoder and heads too.

    Args:
        network: It has an `encoder`, whose parameters must be found in the weights as `load_weights` says.

    Raises:
        ModelError: They are not for this encoder.
    """
    own = {name.removeprefix(ENCODER): tensor for name, tensor in weights.tensors.items() if name.startswith(ENCODER)}
    encoder = load_weights(network.encoder, weights.but(tensors=own))  # type: ignore[arg-type]
    rest = {name: tensor for name, tensor in weights.tensors.items() if not name.startswith(ENCODER)}
    report = load_weights(network, weights.but(tensors=rest), at_least=0.0)
    loaded, adapted = (tuple(f"{ENCODER}{name}" for name in names) for names in (encoder.loaded, encoder.adapted))
    placed = {*report.loaded, *report.adapted, *loaded, *adapted}
    sizes = counted_sizes(network)
    return replace(
        report,
        loaded=loaded + report.loaded,
        adapted=adapted + report.adapted,
        new=tuple(name for name in report.new if name not in placed),
        dropped=tuple(f"{ENCODER}{name}" for name in encoder.dropped) + report.dropped,
        share=sum(size for name, size in sizes.items() if name in placed) / sum(sizes.values()),
        contract=encoder.contract,
        part="",
    )


def fitted(source: Tensor, shape: torch.Size, *, first: bool, mode: Inflation = "centre") -> Tensor | None:
    """A pretrained tensor in the shape of a module's; None where it does not belong there.

    Args:
        first: It is the weight of the first convolution, which may have another number of input channels.
        mode: How a convolution of planes becomes one of volumes.
    """
    if source.shape == shape:
        return source
    if source.ndim == 2 and len(shape) > 2 and source.shape == shape[:2] and set(shape[2:]) == {1}:
        return source.reshape(shape)  # a layer over channels, written as a convolution of one pixel
    if source.ndim == len(shape) == 3 and source.shape[0] == shape[0] == 1 and source.shape[2] == shape[2]:
        return _resampled_places(source, shape[1])
    inside = source.shape[1] if source.ndim > 1 else 0
    if first and source.ndim >= 4 and len(shape) >= 4 and inside != shape[1] and source.shape[0] == shape[0]:
        source = fit_channels(source, shape[1])
    if source.ndim == 4 and len(shape) == 5 and source.shape == shape[:2] + shape[3:]:
        source = inflated(source, shape[2], mode)
    return source if source.shape == shape else None


def fit_channels(weight: Tensor, channels: int) -> Tensor:
    """A first convolution's weight (out, in, *kernel) for another number of input channels.

    One channel is the sum over the pretrained ones: exactly what a grey image fed to each of them gives. More are
    repeated and scaled by in / channels; where the last repetition is not whole, its channels are the mean over the
    pretrained ones. So any number of equal channels gives exactly what the pretrained network gives for a grey image.
    """
    inside = weight.shape[1]
    if channels == 1:
        return weight.sum(1, keepdim=True)
    whole = channels // inside
    parts = [weight] * whole + [weight.mean(1, keepdim=True)] * (channels - whole * inside)
    return torch.cat(parts, 1) * (inside / channels)


def _resampled_places(source: Tensor, count: int) -> Tensor | None:
    """A position embedding (1, tokens, width) of a square of patches for another square, bicubic; the few tokens that
    stand before the patches (class, registers) are kept."""
    for before in range(6):
        old, new = (source.shape[1] - before) ** 0.5, (count - before) ** 0.5
        if old > 1 and new > 1 and old == int(old) and new == int(new):
            grid = source[:, before:].float().reshape(1, int(old), int(old), -1).permute(0, 3, 1, 2)
            size = (int(new), int(new))
            grid = nn.functional.interpolate(grid, size, mode="bicubic", antialias=True, align_corners=False)
            return torch.cat([source[:, :before].float(), grid.flatten(2).transpose(1, 2)], 1)
    return None


def read_tensors(path: Any) -> dict[str, Tensor]:
    """Tensors of a `.safetensors` or a `.pth`/`.pt` file, read as data only.

    Raises:
        ModelError: It is damaged, or absurdly large, or holds anything but tensors.
    """
    try:
        _refuse_huge(Path(path))
        if str(path).endswith(".safetensors"):
            from safetensors.torch import load_file

            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about how a file was pickled, which nobody here can change
            state = torch.load(path, map_location="cpu", weights_only=True)
    except ModelError:
        raise
    except FileNotFoundError:
        raise NoSuchModel(f"{path}: there is no such file of weights") from None
    except Exception as error:
        raise ModelError(f"{path}: {why_unreadable(Path(path), error)}") from error
    for _ in NESTS:
        inner = next(
            (state[key] for key in NESTS if isinstance(state, dict) and isinstance(state.get(key), dict)), None
        )
        state = state if inner is None else inner
    if not isinstance(state, dict) or not all(isinstance(name, str) and _plain(value) for name, value in state.items()):
        raise ModelError(f"{path}: does not hold a plain dictionary of tensors")
    return dict(state)


def _plain(value: Any) -> bool:
    """Whether it is a tensor with all its elements in the file: one that repeats some can claim any number."""
    if not isinstance(value, Tensor) or value.layout is not torch.strided or value.is_quantized or value.is_meta:
        return False
    return not value.is_complex() and value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def _refuse_huge(path: Path) -> None:
    """Weights do not shrink when they are packed: an archive that claims more than there is memory for is hostile."""
    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = max(size, sum(member.file_size for member in archive.infolist()))
    if size > LARGEST:
        raise ModelError(f"{path}: would take {size / 2**30:.0f} GiB, more than any file of weights that is read here")
