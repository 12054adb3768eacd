from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import unrolled
from unrolled.cli import using
from unrolled.engines.native import compiler, sampler
from unrolled.sample import WEIGHTS

needs_compiler = pytest.mark.skipif(
    not any(compiler.shutil.which(name) for name in compiler.COMPILERS),
    reason="there is no C++ compiler here",
)


def test_sample_prints_the_prime_first_and_then_as_many_characters(cli: Any, trained: Path) -> None:
    said = cli("sample", trained, "--prime", "the cat", "--length", 40, "--seed", 3, "--temperature", 0.7)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("the cat")
    assert len(said.out.removesuffix("\n")) in (7 + 39, 7 + 40)


def test_sample_without_a_prime_prints_what_the_model_writes_and_no_prime(cli: Any, trained: Path) -> None:
    data = cli("sample", trained, "--length", 30, "--seed", 3, "--json").json
    plain = cli("sample", trained, "--length", 30, "--seed", 3).out
    assert plain.removesuffix("\n") == data["text"].removesuffix("\n")


def test_sample_as_json_has_the_text_without_the_prime_the_seed_and_the_logprobs(
    cli: Any, trained: Path
) -> None:
    words = ["sample", trained, "--prime", "the ", "--length", 25, "--temperature", 0.5, "--top-k", 3]
    found = cli(*words, "--seed", 3, "--json").json
    assert {"text", "seed", "logprobs"} <= set(found)
    assert found["seed"] == 3 and len(found["text"]) == len(found["logprobs"]) == 25
    assert cli(*words, "--seed", 3).out.removesuffix("\n") == "the " + found["text"].removesuffix("\n")
    net = unrolled.load(trained)
    ids = torch.tensor(net.vocab.encode("the " + found["text"]))[:, None]
    logits, _ = net(ids[:-1])
    own = logits.log_softmax(-1).gather(-1, ids[1:, :, None]).flatten()[3:]
    assert found["logprobs"] == pytest.approx(own.tolist(), abs=1e-5)


def test_the_seed_that_sample_chose_writes_the_same_text_again(cli: Any, trained: Path) -> None:
    first = cli("sample", trained, "--length", 30, "--json").json
    assert cli("sample", trained, "--length", 30, "--seed", first["seed"], "--json").json == first


def test_temperature_0_writes_the_same_for_every_seed(cli: Any, trained: Path) -> None:
    texts = {cli("sample", trained, "--temperature", 0, "--seed", seed).out for seed in (1, 2)}
    assert len(texts) == 1


def test_sample_ends_before_the_stop(cli: Any, trained: Path) -> None:
    whole = cli("sample", trained, "--length", 200, "--seed", 3, "--json").json["text"]
    stop = whole[20:22]
    found = cli("sample", trained, "--length", 200, "--seed", 3, "--stop", stop, "--json").json["text"]
    assert found == whole.partition(stop)[0]


def test_several_samples_are_those_that_their_seeds_write_alone(cli: Any, trained: Path) -> None:
    words = ["sample", trained, "--length", 30, "--prime", "the ", "--stop", "a", "--json"]
    said = cli(*words, "--count", 3, "--seed", 7)
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert [line["seed"] for line in lines] == [7, 8, 9]
    for line in lines:
        assert cli(*words, "--seed", line["seed"]).json == line
    plain = cli("sample", trained, "--length", 30, "--count", 2, "--seed", 7)
    assert plain.code == 0
    assert "--- seed 7" in plain.out and "--- seed 8" in plain.out
    assert cli("sample", trained, "--count", 0).problem() == "--count: wanted 1 or more, came 0"


def test_texts_that_are_not_all_drawn_at_once_are_the_same(
    cli: Any, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("sample", trained, "--length", 9, "--count", 5, "--seed", 2**64 - 2)
    for more in ([], ["--json"], ["--stop", "e"]):
        at_once = cli(*words, *more).out
        with monkeypatch.context() as patch:
            patch.setattr(using, "TOGETHER", 2)
            assert cli(*words, *more).out == at_once


@needs_compiler
def test_weights_of_fewer_bits_write_and_read(cli: Any, trained: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat.\n" * 4)
    words = ["sample", trained, "--length", 30, "--seed", 3, "--json", "--weights"]
    assert cli(*words, "float32").json == cli(*words[:-1]).json
    assert len(cli(*words, "int8").json["text"]) == 30
    plain = cli("eval", trained, text, "--json").json
    read = {weights: cli("eval", trained, text, "--json", "--weights", weights).json for weights in WEIGHTS}
    assert read["float32"] == pytest.approx(plain, abs=1e-5)
    assert read["bf16"]["bits_per_char"] == pytest.approx(plain["bits_per_char"], abs=0.01)
    assert read["int8"]["bits_per_char"] == pytest.approx(plain["bits_per_char"], abs=0.1)
    assert len({found["bits_per_char"] for found in read.values()}) == 3


def test_weights_that_there_are_not_are_an_error_of_one_line(cli: Any, trained: Path) -> None:
    said = cli("sample", trained, "--weights", "int4").problem()
    assert said == "weights: wanted one of float32, bf16, int8, came 'int4'"
    said = cli("eval", trained, "stdlib", "--weights", "int4").problem()
    assert said == "--weights: wanted one of float32, bf16, int8, came 'int4'"


def test_weights_without_a_compiler_are_an_error_of_one_line(
    cli: Any, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat.\n" * 4)
    monkeypatch.setenv("PATH", str(tmp_path))
    sampler._library.cache_clear()
    for words in (["sample", trained], ["eval", trained, text]):
        problem = cli(*words, "--weights", "int8").problem()
        assert problem.startswith("the loop with int8 weights can't be had: there is no C++ compiler")
    sampler._library.cache_clear()


def test_a_character_of_the_prime_that_the_vocabulary_lacks_is_named_with_its_place(
    cli: Any, trained: Path
) -> None:
    problem = cli("sample", trained, "--prime", "the Übercat").problem()
    assert "'Ü'" in problem and "position 4" in problem and "--skip-unseen" in problem
    said = cli("sample", trained, "--prime", "the Übercat", "--skip-unseen", "--length", 3)
    assert said.code == 0 and said.out.startswith("the ercat")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--length", "-1"], "--length: wanted 0 or more, came -1"),
        (["--length", "nan"], 'unable to convert "nan" into int'),
        (["--temperature", "nan"], "temperature: wanted a finite number, 0 or more, came nan"),
        (["--temperature", "-1"], "temperature: wanted a finite number, 0 or more, came -1"),
        (["--top-k", "-1"], "top_k: wanted 0 or more, came -1"),
        (["--top-p", "0"], "top_p: wanted more than 0 and at most 1, came 0"),
        (["--min-p", "2"], "min_p: wanted between 0 and 1, came 2"),
        (["--stop", ""], "--stop: wanted a text, came an empty one"),
        (["--seed", "-3"], "seed: wanted 0 or more and less than 2^64, came -3"),
        (["--seed", str(2**64 - 1), "--length", "nan"], 'unable to convert "nan" into int'),
        (["--seed", "9" * 30], "wanted whole numbers of at most 64 bits"),
        (["--tempreature", "1"], "--tempreature"),
    ],
)
def test_a_number_that_means_nothing_is_one_line(
    cli: Any, trained: Path, words: list[str], said: str
) -> None:
    assert said in cli("sample", trained, *words).problem()


def test_length_0_writes_nothing_but_the_prime(cli: Any, trained: Path) -> None:
    assert cli("sample", trained, "--prime", "the", "--length", 0).out == "the\n"


def test_eval_as_json_has_the_keys_and_the_models_numbers(cli: Any, trained: Path, here: Path) -> None:
    found = cli("eval", trained, "a.txt", "--json").json
    assert {"nats_per_char", "bits_per_char", "bits_per_byte", "accuracy", "chars"} <= set(found)
    net = unrolled.load(trained)
    text = Path("a.txt").read_text()
    ids = torch.tensor(net.vocab.encode(text))
    logits, _ = net(ids[:-1, None])
    nats = torch.nn.functional.cross_entropy(logits[:, 0].double(), ids[1:])
    assert found["nats_per_char"] == pytest.approx(float(nats.detach()), rel=1e-6)
    assert found["bits_per_char"] == pytest.approx(found["nats_per_char"] / math.log(2))
    assert found["bits_per_byte"] == pytest.approx(found["bits_per_char"])
    assert found["chars"] == len(text) - 1
    hits = (logits[:, 0].argmax(-1) == ids[1:]).double().mean()
    assert found["accuracy"] == pytest.approx(float(hits))


def test_the_window_of_eval_changes_nothing_and_lanes_say_what_they_cost(
    cli: Any, trained: Path, here: Path
) -> None:
    one = cli("eval", trained, "a.txt", "--json").json
    for window in (1, 7, 5000):
        other = cli("eval", trained, "a.txt", "--window", window, "--json").json
        assert other["nats_per_char"] == pytest.approx(one["nats_per_char"], rel=1e-6)
    said = cli("eval", trained, "a.txt", "--lanes", 5)
    assert said.code == 0 and "of them had less context than with one lane" in said.out


def test_eval_of_a_text_with_unseen_characters_names_the_first_or_skips_them(
    cli: Any, trained: Path, here: Path
) -> None:
    Path("b.txt").write_text("the cat\nthe Ünseen dog\n")
    problem = cli("eval", trained, "b.txt").problem()
    assert "'Ü'" in problem and "line 2" in problem and "position 12" in problem
    said = cli("eval", trained, "b.txt", "--skip-unseen", "--json")
    assert said.code == 0 and said.json["chars"] == len("the cat\nthe nseen dog\n") - 1 and said.err


@pytest.mark.parametrize("words", [["--lanes", 0], ["--window", 0], ["--window", -3]])
def test_eval_refuses_sizes_that_mean_nothing(
    cli: Any, trained: Path, here: Path, words: list[object]
) -> None:
    assert cli("eval", trained, "a.txt", *words).problem()


# --- what cannot be loaded --------------------------------------------------------------------------


def test_what_is_no_run_ends_with_3(cli: Any, here: Path) -> None:
    Path("empty").mkdir()
    for place in ("nowhere", "empty", "a.txt"):
        for words in (["sample", place], ["eval", place, "a.txt"], ["resume", place]):
            assert place in cli(*words).problem(3)


def test_a_flipped_bit_is_noticed_and_the_checkpoint_before_is_used(cli: Any, copied: Path) -> None:
    wanted = cli("sample", copied / "checkpoints" / "3", "--seed", 1).out
    weights = copied / "checkpoints" / "6" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.write_bytes(bytes(data))
    said = cli("sample", copied, "--seed", 1)
    assert (said.code, said.out) == (0, wanted)
    assert said.err.startswith("note: ") and len(said.err.splitlines()) == 1
    assert "model.safetensors is damaged" in said.err and "using checkpoint 3 instead" in said.err
    assert "is damaged" in cli("sample", copied / "checkpoints" / "6").problem(3)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "manifest.json"])
def test_checkpoints_cut_short_leave_nothing_to_load(cli: Any, copied: Path, name: str) -> None:
    for update in ("3", "6"):
        file = copied / "checkpoints" / update / name
        file.write_bytes(file.read_bytes()[:-20])
    problem = cli("sample", copied).problem(3)
    assert "no checkpoint in" in problem and name in problem


def test_a_resume_passes_a_damaged_checkpoint_over_and_says_so(cli: Any, copied: Path) -> None:
    file = copied / "checkpoints" / "6" / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    said = cli("resume", copied)
    assert said.code == 0 and "using checkpoint 3 instead" in said.out
    assert "going on from update 3" in said.out


def test_a_run_made_by_a_newer_format_is_refused_by_name(cli: Any, copied: Path) -> None:
    import hashlib

    for update in ("3", "6"):
        folder = copied / "checkpoints" / update
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "format": 99}))
        manifest = json.loads((folder / "manifest.json").read_text())
        digest = hashlib.sha256((folder / "config.json").read_bytes()).hexdigest()
        (folder / "manifest.json").write_text(json.dumps({**manifest, "config.json": digest}))
    for words in (["sample", copied], ["resume", copied, "--max-updates", 9]):
        problem = cli(*words).problem(3)
        assert "has the format 99" in problem and "install a newer one" in problem


def test_a_configuration_that_was_damaged_ends_with_3(cli: Any, copied: Path) -> None:
    (copied / "config.toml").write_text("[net\n")
    assert "config.toml can't be read" in cli("resume", copied).problem(3)
