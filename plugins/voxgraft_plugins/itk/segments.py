"""The segments that 3D Slicer adds to a NRRD header: names, values and layers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .header import HeaderError

_KEY = re.compile(r"Segment(\d{1,4})_(ID|Name|LabelValue|Layer)")


def segments_of(keys: Mapping[str, str], layers: int) -> dict[str, Any]:
    """Names, values and layers of the segments, in their order, as the facts of an item.

    A segment without a value has 1, and one without a layer lies in the layer of its own number: so 3D Slicer saved
    them before version 4.11, with a layer for each segment, and so it reads them (vtkMRMLSegmentationStorageNode).
    In a file of one layer segments without a layer lie in that one.

    Raises:
        HeaderError: A value or layer is none, or the file has no such layer; or several segments are one.
    """
    rows: dict[int, dict[str, str]] = {}
    for key, value in keys.items():
        if part := _KEY.fullmatch(key):
            rows.setdefault(int(part[1]), {})[part[2]] = value
    segments = []
    for number, row in sorted(rows.items()):
        value, layer = row.get("LabelValue", "1"), row.get("Layer", str(number) if layers > 1 else "0")
        if not (value.isdecimal() and layer.isdecimal() and len(value) < 9 and len(layer) < 5):
            raise HeaderError("one of its segments has no proper value or layer")
        name = row.get("Name") or row.get("ID") or f"segment {number + 1}"
        if int(layer) >= layers:
            raise HeaderError(f"its segment {name!r} lies in layer {int(layer)}, and it has {layers}, counted from 0")
        segments.append({"name": name, "value": int(value), "layer": int(layer)})
    if len({(one["value"], one["layer"]) for one in segments}) < len(segments):
        raise HeaderError("two of its segments have the same value in the same layer; save it again with 3D Slicer")
    return {"names": [one["name"] for one in segments], "segments": segments} if segments else {}
