"""One window of a network in OpenVINO and ONNX Runtime: called by speed_cpu.py with a Python that has them.

python benchmarks/speed_engines.py FOLDER ROUNDS    # FOLDER holds net.onnx and x.npy; labels go there too
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

warnings.filterwarnings("ignore")


def main(folder: str, rounds: int) -> None:
    import onnxruntime
    import openvino

    window = np.load(f"{folder}/x.npy")
    calls: dict[str, Callable[[], Any]] = {}
    model = openvino.Core().read_model(f"{folder}/net.onnx")
    for kind, name in (("f32", "OpenVINO, float32"), ("bf16", "OpenVINO, bfloat16")):
        how: dict[str, Any] = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": kind, "NUM_STREAMS": 1}
        request = openvino.Core().compile_model(model, "CPU", how).create_infer_request()
        calls[name] = lambda request=request: request.infer({0: window})[0]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(f"{folder}/net.onnx", options, providers=["CPUExecutionProvider"])
    calls["ONNX Runtime, float32"] = lambda: session.run(None, {"x": window})[0]
    rows: dict[str, list[float]] = {name: [] for name in calls}
    for name, call in calls.items():
        np.save(f"{folder}/{name}.npy", call().argmax(1))
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.process_time()
            call()
            rows[name].append(round(time.process_time() - start, 4))
    versions = {"openvino": openvino.__version__, "onnxruntime": onnxruntime.__version__}
    taken = {name: {"cpu_s": round(statistics.median(row), 4), "rounds": row} for name, row in rows.items()}
    print(json.dumps({"versions": versions, "rows": taken}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
