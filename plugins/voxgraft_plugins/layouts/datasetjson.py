"""What the files dataset.json of the Decathlon and of nnU-Net have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from voxgraft.plugin import DataError, as_stored, listed, read_json


def load_document(path: Path, layout: str) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        DataError: It is not there, or is none.
    """
    document = load_json(path, f"; the layout {layout!r} needs it")
    if not isinstance(document, dict):
        raise DataError(f"{path}: holds no JSON object with the keys of a data set")
    return document


def load_json(path: Path, need: str = "") -> Any:
    """What a JSON file holds.

    Raises:
        DataError: It is not there, or is not a readable JSON.
    """
    try:
        return read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path}: there is no such file{need}") from None
    except ValueError as error:
        detail = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else f" ({error})"
        raise DataError(f"{path}: is not a readable JSON document{detail}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def channel_names(document: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    """The names of the channels 0, 1, ... in their order.

    Raises:
        DataError: They are not numbered so.
    """
    key = "channel_names" if "channel_names" in document else "modality"
    names = document.get(key, {"0": "image"})
    if isinstance(names, list):
        names = {str(index): name for index, name in enumerate(names)}
    if not isinstance(names, dict) or not names or set(names) != {str(index) for index in range(len(names))}:
        raise DataError(f"{folder / 'dataset.json'}: '{key}' must name the channels 0, 1, ... in order")
    return tuple(str(names[str(index)]) for index in range(len(names)))


def inside(text: str, folder: Path) -> Path:
    """A path of dataset.json, which may not lead out of the data set.

    Raises:
        DataError: It does.
    """
    path = PurePosixPath(text.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in text or not path.parts:
        raise DataError(f"{folder / 'dataset.json'}: {text!r} is not a path inside the data set's folder")
    return as_stored(folder / path)


def complain_of_missing(paths: Mapping[str, list[Path]], folder: Path) -> None:
    """Refuse a data set whose files are not there.

    Args:
        paths: `image` and `label` -> the files that must be there.

    Raises:
        DataError: Some are not; the message says how many and names the first.
    """
    for role, files in paths.items():
        missing = [_short(path, folder) for path in files if not path.exists()]
        if missing:
            are = "is" if len(missing) == 1 else "are"
            raise DataError(f"{folder}: {listed(missing, role)}, named for training in dataset.json, {are} not there")


def _short(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()
