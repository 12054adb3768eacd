"""What Caffe's users could do with a net that was unrolled by hand, one test a requirement."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from torch import Tensor

import unrolled
from unrolled.cli.main import run
from unrolled.data import Window, binary_addition
from unrolled.measuring.comparison import Plan, compare
from unrolled.measuring.rounds import Manner
from unrolled.measuring.works import Size
from unrolled.net import Net, Spec
from unrolled.net.importers.caffe import read_net
from unrolled.net.rolling import roll
from unrolled.settings import TrainingSettings

ROOT = Path(__file__).parents[2]
RECIPE = Path(unrolled.__file__).parent / "recipes" / "caffe" / "binary_addition.prototxt"
written: Callable[[int, int], str] = runpy.run_path(str(ROOT / "examples" / "caffe_binary_addition.py"))[
    "binary_addition"
]
LENGTHS = (8, 16, 64, 256)
"""The length that is trained, and those that are not."""


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Spec]:
    """Write the example's net to a file and read it back."""

    def call(num_steps: int, batch_size: int = 4, *changes: tuple[str, str]) -> Spec:
        text = written(num_steps, batch_size)
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / f"net{num_steps}.prototxt"
        path.write_text(text)
        return read_net(path).spec

    return call


def by_name(net: Net) -> dict[str, Tensor]:
    """Return the parameters by the names that the file gives them, wherever they are stored."""
    return {
        param.name: getattr(net.layers[layer.name], param.role)
        for layer in net.spec
        for param in layer.params
    }


def by_hand(p: dict[str, Tensor], x: Tensor) -> Tensor:
    """Add with a loop: x [T, B, 2] to out [T, B]."""
    h, outputs = torch.zeros(x.shape[1], 3, dtype=x.dtype), []
    for bits in x:
        h = torch.sigmoid(bits @ p["WX"] + p["bX"] + h @ p["WH"])
        outputs.append((h @ p["WO"] + p["bO"])[:, 0])
    return torch.stack(outputs)


def sums(length: int, lanes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw numbers: bits x [T, B, 2] and the sums' bits y [T, B, 1], T = length, as doubles."""
    x, y = binary_addition(length - 1, lanes, torch.Generator().manual_seed(seed))
    assert len(x) == length
    return x.double(), y.double()


def for_hand(x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Lay bits as the hand-unrolled net wants them: data [1, B, 1, 2, T], label [1, B, T]."""
    return {"data": x.permute(1, 2, 0)[None, :, None], "label": y[..., 0].t()[None]}


def for_rolled(x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Lay bits as the rolled net wants them, [T, B, 1, 2, 1] and [T, B, 1]."""
    return {"x": x[:, :, None, :, None], "label": y}


def test_C1_a_function_of_num_steps_and_batch_size_returns_a_net_that_slices_its_input_on_the_time_axis(
    read: Callable[..., Spec],
) -> None:
    assert "dim: 6 dim: 1 dim: 2 dim: 5" in written(5, 6)
    net, (x, y) = Net(read(5, 6)).double(), sums(5, 6, seed=1)
    given = for_hand(x + torch.arange(5)[:, None, None], y)
    values, _ = net(given)
    for t in range(5):
        assert torch.equal(values[f"x{t + 1}"], given["data"][..., t : t + 1])
    assert "x6" not in values and given["data"].shape == (1, 6, 1, 2, 5)


def test_C2_every_step_has_its_layers_each_with_a_name(read: Callable[..., Spec]) -> None:
    names = {layer.name for layer in read(13)}
    steps = {f"{stem}{t}" for stem in ("x", "zX", "zH", "z", "a", "out") for t in range(1, 14)}
    assert names == steps | {"data", "label", "h0", "out", "loss"}


def test_C3_steps_share_parameters_by_name_which_are_stored_once_and_changed_together(
    read: Callable[..., Spec],
) -> None:
    net, (x, y) = Net(read(7)).double(), sums(7, 5, seed=2)
    shared = by_name(net)
    assert {name: tuple(t.shape) for name, t in shared.items()} == {
        "WX": (2, 3), "bX": (3,), "WH": (3, 3), "WO": (3, 1), "bO": (1,),
    }  # fmt: skip
    weights = net.weights()
    assert len(weights) == 5 and sum(t.numel() for t in weights.values()) == net.num_parameters == 22
    assert len(list(net.parameters())) == 5
    assert {t.data_ptr() for t in weights.values()} == {t.data_ptr() for t in shared.values()}
    first = net(for_hand(x, y))[0]["out"]
    with torch.no_grad():
        net.layers["zX7"].x_to_y.mul_(-1.7)
        net.layers["zX3"].bias.add_(0.3)
        net.layers["zH2"].x_to_y.add_(torch.arange(9.0).view(3, 3))
        net.layers["out5"].bias.sub_(2.0)
    second = net(for_hand(x, y))[0]["out"]
    assert bool(((first - second).abs() > 1e-3).all())
    torch.testing.assert_close(second[0].t(), by_hand(shared, x), rtol=1e-12, atol=1e-12)


def test_C3_a_shared_parameters_gradient_is_that_of_the_loop_by_hand(read: Callable[..., Spec]) -> None:
    net, (x, y) = Net(read(7)).double(), sums(7, 5, seed=3)
    shared = by_name(net)
    ours = torch.autograd.grad(net.judge(for_hand(x, y))[0].total, list(shared.values()))
    wanted = torch.autograd.grad((by_hand(shared, x) - y[..., 0]).square().sum() / 2, list(shared.values()))
    for a, b in zip(ours, wanted, strict=True):
        assert b.abs().max() > 1e-3
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_C4_all_outputs_are_joined_and_the_first_hidden_blob_is_a_constant_zero(
    read: Callable[..., Spec],
) -> None:
    net, (x, y) = Net(read(6)).double(), sums(6, 5, seed=4)
    values, state = net(for_hand(x, y))
    assert torch.equal(values["out"], torch.cat([values[f"out{t}"].flatten(2) for t in range(1, 7)], dim=-1))
    assert values["out"].shape == (1, 5, 6) and values["out"].std() > 1e-3
    assert not values["h0"].any() and not values["h0"].requires_grad and values["h0"].numel() == 5 * 3
    assert state == {} and not any(name.startswith("layers.h0") for name in net.weights())


class Untaught(Exception):
    """No beginning led to every bit right."""


def taught(spec: Spec, given: Callable[[Tensor, Tensor], dict[str, Tensor]]) -> Net:
    """Train on length 8 by L-BFGS from one random beginning after the other until the loss is nothing.

    About one beginning in three gets there; one whose loss stands still is left.
    """
    inputs = given(*sums(8, 100, seed=5))
    for seed in range(30):
        torch.manual_seed(seed)
        net, before = Net(spec).double(), float("inf")
        optimizer = torch.optim.LBFGS(net.parameters(), max_iter=25, history_size=20,
                                      tolerance_change=1e-12, line_search_fn="strong_wolfe")  # fmt: skip

        def loss(net: Net = net) -> Tensor:
            net.zero_grad()
            mean = net.judge(inputs)[0].total / (8 * 100)
            mean.backward()  # type: ignore[no-untyped-call]
            return mean

        for _ in range(10):
            optimizer.step(loss)  # type: ignore[no-untyped-call]
            now = float(loss().detach())
            if now < 1e-4:
                return net
            if now > 0.8 * before:
                break
            before = now
    raise Untaught


WIDER = ("min: -1 max: 1", "min: -2 max: 2")


def test_C5_the_rolled_net_learns_to_add_and_goes_on_right_on_longer_numbers(
    read: Callable[..., Spec],
) -> None:
    spec = roll(read(8, 4, WIDER))
    assert spec["a"].settings == {"function": "sigmoid"}
    assert spec["loss"].type == "euclidean-loss" and spec["zH"].settings["size"] == 3
    net = taught(spec, for_rolled)
    assert net.num_parameters == 22
    for length in LENGTHS:
        x, y = sums(length, 60, seed=1000 + length)
        values, _ = net(for_rolled(x, y))
        assert torch.equal((values["out"] > 0.5).double().reshape(y.shape), y), length


def test_C5_the_net_that_is_unrolled_by_hand_learns_to_add_and_its_weights_fit_any_length(
    read: Callable[..., Spec],
) -> None:
    net = taught(read(8, 4, WIDER), for_hand)
    assert net.num_parameters == 22
    for length in LENGTHS:
        x, y = sums(length, 20, seed=2000 + length)
        longer = Net(read(length, 4))
        longer.double().load_weights(net.weights())
        values, _ = longer(for_hand(x, y))
        assert torch.equal((values["out"][0] > 0.5).double(), y[..., 0].t()), length


def test_C5_the_shipped_net_is_trained_by_the_toolkit_as_by_a_loop_by_hand(read: Callable[..., Spec]) -> None:
    assert read_net(RECIPE).spec == read(8)
    torch.manual_seed(9)
    net, (x, y) = Net(roll(read_net(RECIPE).spec)).double(), sums(8, 50, seed=6)
    copied = {name: tensor.detach().clone().requires_grad_() for name, tensor in by_name(net).items()}
    window = Window(for_rolled(x, y)["x"], y, None, None)
    settings = TrainingSettings(
        optimizer="adam",
        lr=0.05,
        schedule="constant",
        clip_norm=0.0,
        epochs=0,
        max_updates=40,
        report_every=10,
    )
    history = unrolled.fit(net, [window], settings)
    optimizer, losses = torch.optim.Adam(copied.values(), lr=0.05), []
    for _ in range(40):
        optimizer.zero_grad()
        loss = (by_hand(copied, x) - y[..., 0]).square().mean() / 2
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert [entry["update"] for entry in history] == [10, 20, 30, 40] and losses[-1] < 0.9 * losses[0]
    for entry in history:
        mean = sum(losses[entry["update"] - 10 : entry["update"]]) / 10
        assert entry["nats"] == pytest.approx(mean, rel=1e-9)
    for name, tensor in by_name(net).items():
        torch.testing.assert_close(tensor, copied[name], rtol=1e-9, atol=1e-9)


def test_C6_layers_blobs_and_parameters_are_reached_by_name_and_the_net_is_drawn(
    read: Callable[..., Spec], tmp_path: Path
) -> None:
    net, (x, y) = Net(read(3)).double(), sums(3, 4, seed=7)
    values, _ = net(for_hand(x, y))
    W, b = net.layers["zX3"].x_to_y, net.layers["zX3"].bias
    torch.testing.assert_close(values["zX3"][0].reshape(4, 3), x[2] @ W + b, rtol=1e-12, atol=1e-12)
    assert torch.equal(values["a3"], torch.sigmoid(values["z3"]))
    assert torch.equal(values["loss"], (values["out"] - y[..., 0].t()[None]).square().sum(-1) / 2)
    assert net.spec["a2"].type == "activation" and net.weights()["layers.zH1.x_to_y"].shape == (3, 3)
    file = tmp_path / "drawn.svg"
    assert run(["net", "draw", str(tmp_path / "net3.prototxt"), "-o", str(file)]) == 0
    root = ElementTree.fromstring(file.read_text())
    drawn = {group.get("data-layer") for group in root.iter("{http://www.w3.org/2000/svg}g")}
    assert {layer.name for layer in net.spec} == drawn - {None}


def test_C8_length_100_takes_the_same_source_as_length_3(read: Callable[..., Spec]) -> None:
    short, long = read(3), read(100)
    assert replace(roll(long), unroll=3) == roll(short)
    nets = [Net(spec).double() for spec in (short, long, roll(short))]
    assert [net.num_parameters for net in nets] == [22, 22, 22]
    nets[1].load_weights(nets[0].weights())
    theirs = by_name(nets[0])
    with torch.no_grad():
        for name, parameter in by_name(nets[2]).items():
            parameter.copy_(theirs[name])
    x, y = sums(100, 4, seed=8)
    given: list[Any] = [for_hand(x, y), for_rolled(x, y)]
    for net, inputs in zip(nets[1:], given, strict=True):
        out = net(inputs)[0]["out"]
        out = out[0].t() if net is nets[1] else out.reshape(100, 4)
        torch.testing.assert_close(out, by_hand(theirs, x), rtol=1e-12, atol=1e-12)


def test_C7_processors_gpus_and_maths_libraries_stand_in_one_table(tmp_path: Path) -> None:
    made = {name: runpy.run_path(str(ROOT / "benchmarks" / f"{name}.py")) for name in ("gpu", "page")}
    plan = Plan({"lstm": unrolled.LSTM}, [Size(5, 3, 4)], ("torch", "naive"), manner=Manner(1, 1e-3, 1.0))
    report = compare(plan).to_dict()
    for number, gpu in enumerate((None, "A GPU")):
        entries = list(made["gpu"]["entries"](report))
        rows = {entry["row"]: {"0" if gpu else "1": entry} for entry in entries}
        facts = {**report["machine"], **({"gpu": gpu} if gpu else {"processor": "A processor"})}
        (tmp_path / f"{number}.json").write_text(json.dumps({"machine": facts, "rows": rows}))
    text = made["page"]["page"](tmp_path)
    table = text[text.index("## Processors, GPUs and maths libraries") :].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert cells[0] == ["machine", "products by", "", "lstm 5x3x4"]
    machines = {(row[0].partition(",")[0], row[1]): float(row[3]) for row in cells[2:]}
    assert set(machines) == {
        (machine, library) for machine in ("A processor", "A GPU") for library in ("cuDNN", "cuBLAS")
    }
    seconds = {row["engine"]: row["seconds"] for row in report["rows"] if row["work"] == "train"}
    assert machines["A GPU", "cuDNN"] == pytest.approx(1e3 * seconds["torch"], abs=0.06)
    assert "No GPU has been measured yet" not in text
