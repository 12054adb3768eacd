"""Add binary numbers with a net that is unrolled by hand, as Caffe's users wrote them.

    unrolled net roll caffe_binary_addition.prototxt

A Python function of (num_steps, batch_size) returns the net, once as prototxt and once as a spec of layers.
Step t reads a bit of each summand, least significant first, and gives a bit of the sum. All steps share the
parameters WX, bX, WH, WO and bO by name: 22 numbers, whatever num_steps is.
"""

import argparse
from pathlib import Path

from unrolled.net import Edge, Layer, Param, Spec

HIDDEN = 3
RANGE = {"type": "uniform", "low": -1.0, "high": 1.0}

HEAD = """\
name: "binary-addition"
layer {{
  name: "data"
  type: "Input"
  top: "data"
  input_param {{ shape {{ dim: {B} dim: 1 dim: 2 dim: {T} }} }}
}}
layer {{
  name: "label"
  type: "Input"
  top: "label"
  input_param {{ shape {{ dim: {B} dim: {T} }} }}
}}
layer {{
  name: "h0"
  type: "DummyData"
  top: "h0"
  dummy_data_param {{ data_filler {{ type: "constant" value: 0 }} shape {{ dim: {B} dim: 1 dim: {H} }} }}
}}
layer {{
  name: "x1"
  type: "Slice"
  bottom: "data"
{tops}
  slice_param {{ axis: 3 }}
}}
"""

STEP = """\
layer {{
  name: "zX{t}"
  type: "InnerProduct"
  bottom: "x{t}"
  top: "zX{t}"
  param {{ name: "WX" }}
  param {{ name: "bX" }}
  inner_product_param {{ num_output: {H} weight_filler {{ {range} }} bias_filler {{ {range} }} }}
}}
layer {{
  name: "zH{t}"
  type: "InnerProduct"
  bottom: "{before}"
  top: "zH{t}"
  param {{ name: "WH" }}
  inner_product_param {{ num_output: {H} bias_term: false weight_filler {{ {range} }} }}
}}
layer {{
  name: "z{t}"
  type: "Eltwise"
  bottom: "zX{t}"
  bottom: "zH{t}"
  top: "z{t}"
  eltwise_param {{ operation: SUM }}
}}
layer {{
  name: "a{t}"
  type: "Sigmoid"
  bottom: "z{t}"
  top: "a{t}"
}}
layer {{
  name: "out{t}"
  type: "InnerProduct"
  bottom: "a{t}"
  top: "out{t}"
  param {{ name: "WO" }}
  param {{ name: "bO" }}
  inner_product_param {{ num_output: 1 weight_filler {{ {range} }} bias_filler {{ {range} }} }}
}}
"""

TAIL = """\
layer {{
  name: "out"
  type: "Concat"
{bottoms}
  top: "out"
  concat_param {{ axis: 1 }}
}}
layer {{
  name: "loss"
  type: "EuclideanLoss"
  bottom: "out"
  bottom: "label"
  top: "loss"
}}
"""


def binary_addition(num_steps: int, batch_size: int) -> str:
    """Return the net for numbers of ``num_steps`` bits as prototxt.

    Inputs are data [batch_size × 1 × 2 × num_steps] and label [batch_size × num_steps].
    """
    steps = range(1, num_steps + 1)
    tops = "\n".join(f'  top: "x{t}"' for t in steps)
    bottoms = "\n".join(f'  bottom: "out{t}"' for t in steps)
    drawn = 'type: "uniform" min: -1 max: 1'
    parts = [HEAD.format(B=batch_size, T=num_steps, H=HIDDEN, tops=tops)]
    parts += [STEP.format(t=t, before=f"a{t - 1}" if t > 1 else "h0", H=HIDDEN, range=drawn) for t in steps]
    return "".join([*parts, TAIL.format(bottoms=bottoms)])


def binary_addition_spec(num_steps: int) -> Spec:
    """Return the same net as a list of layers. There is no batch size: a net takes as many lanes as come."""
    layers = [
        Layer("data", "floats", settings={"size": [1, 2, num_steps]}),
        Layer("label", "floats", settings={"size": num_steps}),
        Layer("h0", "constant", settings={"size": [1, HIDDEN]}),
    ]
    for t in range(num_steps):
        part = {"axis": 2, "begin": t, "end": t + 1}
        layers.append(Layer(f"x{t + 1}", "slice", (Edge("data"),), part))
    for t in range(1, num_steps + 1):
        layers += _step(t, f"a{t - 1}" if t > 1 else "h0")
    outputs = tuple(Edge(f"out{t}") for t in range(1, num_steps + 1))
    layers.append(Layer("out", "concat", outputs, {"axis": 0}))
    layers.append(Layer("loss", "euclidean-loss", (Edge("out"), Edge("label"))))
    return Spec(tuple(layers), "binary-addition", unroll=1)


def _step(t: int, before: str) -> list[Layer]:
    """Return the layers of step t; ``before`` is the hidden layer of the step before."""
    init, no_bias = RANGE if t == 1 else None, {"size": HIDDEN, "bias": False}
    WX, bX = Param("x_to_y", "WX", init=init), Param("bias", "bX", init=init)
    WO, bO = Param("x_to_y", "WO", init=init), Param("bias", "bO", init=init)
    WH = Param("x_to_y", "WH", init=init)
    return [
        Layer(f"zX{t}", "linear", (Edge(f"x{t}"),), {"size": HIDDEN}, (WX, bX)),
        Layer(f"zH{t}", "linear", (Edge(before),), no_bias, (WH,)),
        Layer(f"z{t}", "eltwise", (Edge(f"zX{t}"), Edge(f"zH{t}")), {"operation": "sum"}),
        Layer(f"a{t}", "activation", (Edge(f"z{t}"),), {"function": "sigmoid"}),
        Layer(f"out{t}", "linear", (Edge(f"a{t}"),), {"size": 1}, (WO, bO)),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the net that adds binary numbers as prototxt.")
    parser.add_argument("num_steps", type=int)
    parser.add_argument("batch_size", type=int)
    parser.add_argument("file", type=Path)
    asked = parser.parse_args()
    asked.file.write_text(binary_addition(asked.num_steps, asked.batch_size))
