"""ONNX Runtime: a step of two LSTM layers, in float32 or with dynamically quantised int8 weights."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peers import CHARS, LAYERS, SYMBOLS, not_installed

TEMPERATURE = 0.8


def build(work: dict[str, Any]) -> Callable[[], object]:
    """Return draws: the step in the runtime, the choice in numpy."""
    try:
        import numpy as np
        import onnx
        import onnxruntime
    except ImportError as error:
        raise not_installed(error.name) from None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "step.onnx"
        onnx.save(_model(work["hidden"]), path)
        if work.get("weights") == "int8":
            path = _quantised(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = work["threads"], 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    random, state = np.random.default_rng(0), np.zeros((2 * LAYERS, 1, 1, work["hidden"]), np.float32)
    names = [name for layer in range(LAYERS) for name in (f"h{layer}", f"c{layer}")]
    feed: dict[str, Any] = {"id": np.zeros((1, 1), np.int64), **dict(zip(names, state, strict=True))}

    def draw() -> None:
        for _ in range(CHARS):
            logits, *after = session.run(None, feed)
            feed.update(zip(names, after, strict=True))
            scaled = logits[0, 0] / TEMPERATURE
            total = np.cumsum(np.exp(scaled - scaled.max()))
            feed["id"] = np.array([[np.searchsorted(total, random.random() * total[-1])]], np.int64)

    return draw


def _model(H: int) -> Any:
    """Return embedding, LSTM layers and linear for one step: id [1, 1] and states to logits [1, 1, V]."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(1)

    def weight(name: str, *shape: int) -> Any:
        values = random.uniform(-(H**-0.5), H**-0.5, shape).astype(np.float32)
        return numpy_helper.from_array(values, name)

    def value(name: str, *shape: int, kind: int = TensorProto.FLOAT) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    weights = [weight("embedding", SYMBOLS, H), weight("w", H, SYMBOLS), weight("b", SYMBOLS)]
    weights.append(numpy_helper.from_array(np.array([1], np.int64), "axis"))
    nodes = [helper.make_node("Gather", ["embedding", "id"], ["x0"])]
    inputs = [value("id", 1, 1, kind=TensorProto.INT64)]
    outputs = [value("logits", 1, 1, SYMBOLS)]
    for n in range(LAYERS):
        weights += [weight(f"W{n}", 1, 4 * H, H), weight(f"R{n}", 1, 4 * H, H), weight(f"B{n}", 1, 8 * H)]
        taken = [f"x{n}", f"W{n}", f"R{n}", f"B{n}", "", f"h{n}", f"c{n}"]
        nodes.append(helper.make_node("LSTM", taken, [f"y{n}", f"h{n}_next", f"c{n}_next"], hidden_size=H))
        nodes.append(helper.make_node("Squeeze", [f"y{n}", "axis"], [f"x{n + 1}"]))
        inputs += [value(f"h{n}", 1, 1, H), value(f"c{n}", 1, 1, H)]
        outputs += [value(f"h{n}_next", 1, 1, H), value(f"c{n}_next", 1, 1, H)]
    nodes.append(helper.make_node("MatMul", [f"x{LAYERS}", "w"], ["product"]))
    nodes.append(helper.make_node("Add", ["product", "b"], ["logits"]))
    graph = helper.make_graph(nodes, "step", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _quantised(path: Path) -> Path:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    small = path.with_name("step8.onnx")
    quantize_dynamic(path, small, weight_type=QuantType.QInt8)
    return small
