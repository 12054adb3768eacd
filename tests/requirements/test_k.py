"""What char-rnn's users and the article's readers could do, one test a requirement."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch.nn import functional

import unrolled
from unrolled.data import Vocab, Windows, catalog
from unrolled.inspection.copies import novelty
from unrolled.inspection.repeats import repetition_by_temperature
from unrolled.inspection.stages import evolution
from unrolled.inspection.training_text import TrainingText, training_text
from unrolled.net import Chain, Net, chain
from unrolled.sample import Choice, Stream
from unrolled.settings import GROUP_OF, Settings, TrainingSettings, resolve
from unrolled.training import fit
from unrolled.training.lesson import chain_of
from unrolled.training.schedules import learning_rate


def parameters(settings: Settings, symbols: int) -> int:
    with torch.device("meta"):
        return Net(chain_of(settings, symbols)).num_parameters


def test_K3_hello_is_learned_with_3_units_and_its_confidences_can_be_shown(tmp_path: Path) -> None:
    run = unrolled.train("hello", recipe="hello", run=tmp_path / "run")
    net = run.load()
    assert net.vocab == Vocab.of(["h", "e", "l", "o"])
    assert [cell.hidden_size for cell in net.cells.values()] == [3]
    logits, _ = net(torch.tensor(net.vocab.encode("hell"))[:, None])
    confidences = logits[:, 0].softmax(-1)
    assert confidences.shape == (4, 4)
    assert net.vocab.decode(confidences.argmax(-1)) == "ello"
    assert bool((confidences.max(-1).values > 0.5).all()), confidences


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adagrad", "adam"])
def test_K4_one_hot_inputs_softmax_cross_entropy_and_each_optimizer_learn(optimizer: str) -> None:
    torch.manual_seed(0)
    vocab = Vocab.of("abcde ")
    net = Net(chain(Chain(len(vocab), cell="rnn", layers=1, hidden=11)), vocab)
    windows = Windows(vocab.encode("abc de " * 60), 4, 10)
    rate = {"sgd": 0.5, "rmsprop": 0.01, "adagrad": 0.1, "adam": 0.01}[optimizer]
    settings = TrainingSettings(epochs=12, optimizer=optimizer, lr=rate)  # type: ignore[arg-type]
    window = windows[0]
    logits, _ = net(window.inputs)
    start = functional.cross_entropy(logits.flatten(0, 1), window.targets.flatten()).item()
    assert 1 < start < 3
    history = fit(net, windows, settings)
    assert history[-1]["nats"] < 0.5 * start


def test_K6_paul_graham_has_three_and_a_half_million_parameters() -> None:
    found = resolve("paul-graham").settings
    net, data = found.net, found.data
    assert (net.cell, net.layers, net.hidden, net.dropout) == ("lstm", 2, 512, 0.5)
    assert (data.lanes, data.window) == (100, 100)
    assert parameters(found, 97) == pytest.approx(3.5e6, rel=0.05)
    kinds = [layer.type for layer in chain_of(found, 97)]
    assert kinds == [
        "text", "one-hot", "recurrent", "dropout", "recurrent", "dropout", "linear", "label", "softmax-loss",
    ]  # fmt: skip


def test_K7_the_recipes_of_the_article_have_its_sizes() -> None:
    shakespeare, linux, wikipedia, latex, names = (
        resolve(name).settings for name in ("shakespeare", "linux", "wikipedia", "latex", "baby-names")
    )
    for found in (shakespeare, latex):
        assert (found.net.cell, found.net.layers, found.net.hidden) == ("lstm", 3, 512)
    assert linux.net.layers == 3 and parameters(linux, 101) == pytest.approx(10e6, rel=0.05)
    assert wikipedia.data.units == "byte" and wikipedia.data.split == (0.96, 0.04)
    assert names.data.boundary == "line"


def test_K7_char_rnn_has_the_programs_own_defaults() -> None:
    found = resolve("char-rnn").settings
    assert (found.net.cell, found.net.layers, found.net.hidden, found.net.dropout) == ("lstm", 2, 128, 0.0)
    assert (found.data.window, found.data.lanes, found.data.split) == (50, 50, (0.95, 0.05))
    training = found.training
    assert (training.optimizer, training.decay_rate) == ("rmsprop", 0.95)
    assert (training.clip_value, training.clip_norm) == (5.0, 0.0)
    assert (training.epochs, training.max_updates, training.seed) == (50, 0, 123)
    for epoch in range(50):
        decays = max(0, epoch - 9)
        wanted = 2e-3 * 0.97**decays
        assert learning_rate(training, epoch * 423, 423, 50 * 423) == pytest.approx(wanted)
        assert learning_rate(training, epoch * 423 + 422, 423, 50 * 423) == pytest.approx(wanted)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])


def test_K8_a_stream_goes_on_for_any_length_at_constant_memory_and_temperature_0_is_argmax() -> None:
    torch.manual_seed(0)
    net = Net(chain(Chain(23, cell="gru", layers=1, hidden=9))).eval()
    stream = Stream(net, Choice(0), seed=1).prime([3])
    id_, state = 3, net.initial_state(1)
    with torch.inference_mode():
        for _ in range(200):
            logits, state = net(torch.tensor([[id_]]), state)
            id_ = int(logits.argmax())
            assert next(stream) == id_
    stream = Stream(net, seed=1).prime([3])
    seen = [next(stream) for _ in range(2000)]
    before = resident()
    for _ in range(18_000):
        seen[0] = next(stream)
    assert 0 <= seen[0] < 23 and resident() <= before * 1.05


def test_K8_repetition_is_reported_per_temperature_and_a_cold_net_loops() -> None:
    torch.manual_seed(0)
    vocab = Vocab.of("abcdefghijklmnopqrstuvw")
    net = Net(chain(Chain(23, cell="gru", layers=1, hidden=9)), vocab=vocab).eval()
    cold, warm = repetition_by_temperature(net, [1e-5, 1.0], 500, seed=1)
    assert cold.repetition.share is not None and warm.repetition.share is not None
    assert cold.repetition.share > 0.7 > 0.1 > warm.repetition.share
    loop = cold.repetition.loop
    assert loop is not None and cold.text.endswith(cold.text[-loop.period :] * 3)


def test_K9_names_that_are_in_the_training_file_are_left_out_and_the_novel_share_is_told() -> None:
    training = TrainingText.of("Anna\nBenjamin\nCleo\n")
    found = novelty("Anna\nBen\nClea\nCleo\nBen\nBenj", training, prime="\n")
    assert found.lines.novel == ("Ben", "Clea") and found.lines.share == 3 / 5
    assert found.longest is not None and (found.longest.text, found.longest.line) == ("Anna\nBen", 1)


def test_K10_K11_samples_at_chosen_steps_are_an_evolution_with_structure_scores(tmp_path: Path) -> None:
    text = tmp_path / "book.txt"
    text.write_text('"say (it)" [[now]] <b>or</b> \\begin{x}\n\\end{x}\n' * 90, encoding="utf-8")
    more = {"lanes": 5, "window": 11, "max_updates": 17, "hidden": 8}
    run = unrolled.train(text, run=tmp_path / "run", sample_at=(1, 3, 5, 17), sample_every=0, **more)
    stages = evolution(run, training_text(run), at=[3, 17])
    assert [stage.update for stage in stages] == [3, 17]
    for stage in stages:
        assert stage.structure is not None and stage.novelty is not None and stage.repetition is not None
        assert [one.kind for one in stage.structure] == ['"', "(", "{", "[[", "<", "\\begin"]
        assert all(one.training is not None and one.training.share == 1 for one in stage.structure)


def test_K16_a_model_is_one_directory_that_can_be_given_away(tmp_path: Path) -> None:
    tiny = {"hidden": 7, "layers": 1, "lanes": 3, "window": 5, "max_updates": 3}
    run = unrolled.train("counting", run=tmp_path / "run", **tiny)
    shutil.copytree(tmp_path / "run" / "checkpoints" / "3", tmp_path / "gift")
    wanted = run.sample(40, prime="12", seed=4)
    shutil.rmtree(tmp_path / "run")
    net = unrolled.load(tmp_path / "gift")
    assert net.vocab is not None
    stream = Stream(net, seed=4).prime(net.vocab.encode("12"))
    assert "".join(net.vocab.symbols[next(stream)] for _ in range(40)) == wanted


def test_K17_a_corpus_of_46_kB_trains_without_trouble_and_samples_at_low_temperature(tmp_path: Path) -> None:
    (path,), _ = catalog.resolve(["pydoc"])
    text = path.read_text(encoding="utf-8").encode("ascii", "ignore")[:46_000]
    (tmp_path / "small.txt").write_bytes(text)
    run = unrolled.train(
        tmp_path / "small.txt", run=tmp_path / "run", hidden=64, layers=1, lanes=20, window=32, epochs=3,
        lr=0.01, split="0.9,0.1",
    )  # fmt: skip
    nats = [line["nats"] for line in run.metrics.lines() if line["kind"] == "validation"]
    assert len(nats) == 3 and nats[2] < nats[0] < 3.4
    sample = run.sample(300, prime="The ", temperature=0.3, seed=1)
    assert len(sample) == 300 and 20 < sample.count(" ") < 150


# char-rnn's flag, and what it is here: a setting, or (in brackets) a flag of another kind.
COUNTERPARTS = {
    "rnn_size": "hidden", "num_layers": "layers", "model": "cell", "learning_rate": "lr",
    "learning_rate_decay": "decay_factor", "learning_rate_decay_after": "decay_after",
    "decay_rate": "decay_rate", "dropout": "dropout", "seq_length": "window", "batch_size": "lanes",
    "max_epochs": "epochs", "grad_clip": "clip_value", "train_frac": "split", "val_frac": "split",
    "seed": "seed", "eval_val_every": "validate_every",
}  # fmt: skip


def test_K19_every_flag_of_char_rnn_has_a_counterpart(capsys: pytest.CaptureFixture[str]) -> None:
    from unrolled.cli.main import run

    assert set(COUNTERPARTS.values()) <= set(GROUP_OF)
    flat = {name: value for part in asdict(Settings()).values() for name, value in part.items()}
    given = {name: flat[name] for name in set(COUNTERPARTS.values()) - {"clip_value", "split", "decay_after"}}
    assert resolve(flags={name: str(value) for name, value in given.items()}).settings == Settings()
    assert run(["sample", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(flag in shown for flag in ("--prime", "--length", "--temperature", "--seed"))
    assert run(["resume", "--help"]) == 0
