from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unrolled.cells import named_tensors
from unrolled.data import Vocab, Windows
from unrolled.data.corpus import Corpus
from unrolled.errors import UsageError
from unrolled.net import Chain, Net, chain
from unrolled.sample import Choice, Stream, default_prime, draw, log_softmax, text_pieces

NEARLY_ONE = float(np.nextafter(1.0, 0.0))
logits_of_any_size = st.integers(1, 12).flatmap(
    lambda size: arrays(np.float64, size, elements=st.floats(-1e4, 1e4) | st.sampled_from([0.0, 1.0]))
)
uniforms = st.floats(0, NEARLY_ONE)


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(log_softmax(logits))


def drawable(logits: np.ndarray, choice: Choice) -> set[int]:
    """Return every id that can be drawn, by trying; for shares of at least 1 in 900."""
    grid = np.linspace(0, NEARLY_ONE, 901)
    return {draw(logits, float(u), choice) for u in grid}


# --- one draw ---------------------------------------------------------------------------------------


@given(logits_of_any_size, uniforms)
def test_temperature_0_takes_the_likeliest_and_of_equals_the_lowest(
    logits: np.ndarray, uniform: float
) -> None:
    wanted = min(i for i, value in enumerate(logits) if value == max(logits))
    assert draw(logits, uniform, Choice(0)) == wanted


@given(
    logits_of_any_size,
    st.sampled_from([0.0, 1e-300, 0.5, NEARLY_ONE]) | uniforms,
    st.sampled_from([0.0, 1e-320, 1e-6, 1.0, 1e6]),
    st.integers(0, 14),
    st.sampled_from([1e-9, 0.3, 0.999, 1.0]),
    st.sampled_from([0.0, 0.1, 1.0]),
)
def test_every_draw_is_a_valid_id_that_could_be_meant(
    logits: np.ndarray, uniform: float, temperature: float, top_k: int, top_p: float, min_p: float
) -> None:
    id_ = draw(logits, uniform, Choice(temperature, top_k, top_p, min_p))
    assert 0 <= id_ < len(logits)
    if temperature == 1:
        assert logits[id_] > max(logits) - 746, "an id of probability 0 was drawn"


@pytest.mark.parametrize("value", [-1e4, 0.0, 1e4])
def test_equal_logits_are_drawn_equally(value: float) -> None:
    logits = np.full(7, value)
    drawn = [draw(logits, (k + 0.5) / 7, Choice()) for k in range(7)]
    assert drawn == list(range(7))
    assert draw(logits, 0.0, Choice()) == 0 and draw(logits, NEARLY_ONE, Choice()) == 6


def test_an_id_without_probability_is_never_drawn_at_either_end() -> None:
    logits = np.array([-1e4, 0.0, 1.0, -1e4])
    assert draw(logits, 0.0, Choice()) == 1
    assert draw(logits, NEARLY_ONE, Choice()) == 2


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_many_draws_are_distributed_as_the_softmax(temperature: float) -> None:
    logits = np.random.default_rng(0).normal(size=11) * 1.5
    uniforms = np.random.default_rng(1).random(100_000)
    choice = Choice(temperature)
    counts = np.bincount([draw(logits, u, choice) for u in uniforms.tolist()], minlength=11)
    expected = softmax(logits / temperature) * len(uniforms)
    assert expected.min() > 20
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < 29.6, "beyond the 99.9 % quantile with 10 degrees of freedom"


# Slow twins: what each truncation means, word for word, on softmax probabilities.


def slow_top_k(p: list[float], k: int) -> set[int]:
    return set(sorted(range(len(p)), key=lambda i: (-p[i], i))[:k])


def slow_top_p(p: list[float], share: float) -> set[int]:
    kept: set[int] = set()
    for i in sorted(range(len(p)), key=lambda i: (-p[i], i)):
        kept.add(i)
        if math.fsum(p[j] for j in kept) >= share:
            break
    return kept


def slow_min_p(p: list[float], factor: float) -> set[int]:
    return {i for i in range(len(p)) if p[i] >= factor * max(p)}


moderate = st.integers(2, 9).flatmap(
    lambda size: arrays(np.float64, size, elements=st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.7, 1.1]))
)


@given(moderate, st.integers(1, 10), st.sampled_from([0.7, 1.0]))
def test_top_k_keeps_what_the_slow_twin_keeps(logits: np.ndarray, k: int, temperature: float) -> None:
    p = softmax(logits / temperature).tolist()
    assert drawable(logits, Choice(temperature, top_k=k)) == slow_top_k(p, k)


@given(moderate, st.floats(0.01, 0.985), st.sampled_from([0.7, 1.0]))
def test_top_p_keeps_what_the_slow_twin_keeps(logits: np.ndarray, share: float, temperature: float) -> None:
    p = softmax(logits / temperature).tolist()
    sums = np.cumsum(sorted(p, reverse=True))
    if np.abs(sums - share).min() > 1e-9:
        assert drawable(logits, Choice(temperature, top_p=share)) == slow_top_p(p, share)


@given(moderate, st.floats(0.01, 0.99), st.sampled_from([0.7, 1.0]))
def test_min_p_keeps_what_the_slow_twin_keeps(logits: np.ndarray, factor: float, temperature: float) -> None:
    p = softmax(logits / temperature).tolist()
    if min(abs(q - factor * max(p)) for q in p) > 1e-9:
        assert drawable(logits, Choice(temperature, min_p=factor)) == slow_min_p(p, factor)


@given(moderate, st.integers(1, 10), st.floats(0.01, 0.985))
def test_truncations_together_keep_what_each_keeps(logits: np.ndarray, k: int, share: float) -> None:
    p = softmax(logits).tolist()
    sums = np.cumsum(sorted(p, reverse=True))
    if np.abs(sums - share).min() > 1e-9:
        kept = slow_top_k(p, k) & slow_top_p(p, share) & slow_min_p(p, 0.25)
        assert drawable(logits, Choice(top_k=k, top_p=share, min_p=0.25)) == kept


def test_what_is_kept_is_drawn_in_the_models_own_proportions() -> None:
    logits = np.array([0.3, 2.0, 1.0, -1.0])
    drawn = [draw(logits, u, Choice(top_k=2)) for u in np.linspace(0, NEARLY_ONE, 20_001)]
    assert drawn.count(1) / len(drawn) == pytest.approx(math.e / (math.e + 1), abs=1e-4)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"temperature": -1}, "temperature: wanted a finite number, 0 or more, came -1"),
        ({"temperature": math.nan}, "temperature: wanted a finite number, 0 or more, came nan"),
        ({"temperature": math.inf}, "temperature: wanted a finite number, 0 or more, came inf"),
        ({"top_k": -1}, "top_k: wanted 0 or more, came -1"),
        ({"top_p": 0}, "top_p: wanted more than 0 and at most 1, came 0"),
        ({"top_p": math.nan}, "top_p: wanted more than 0 and at most 1, came nan"),
        ({"min_p": 1.5}, "min_p: wanted between 0 and 1, came 1.5"),
    ],
)
def test_a_choice_that_means_nothing_is_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(UsageError, match=f"^{said}$"):
        Choice(**wrong)  # type: ignore[arg-type]


# --- streams ----------------------------------------------------------------------------------------

TEXT = "abc de\nfgh ij\n"


def make_net(cell: str = "lstm", vocab: Vocab | None = None, seed: int = 0, **sizes: float) -> Net:
    vocab = vocab or Vocab.of(TEXT)
    torch.manual_seed(seed)
    net = Net(chain(Chain(len(vocab), cell=cell, layers=2, hidden=7, **sizes)), vocab)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(3)
    return net.eval()


def take(stream: Stream, count: int) -> list[int]:
    return [next(stream) for _ in range(count)]


def test_the_same_seed_draws_the_same_ids_and_another_seed_others() -> None:
    net = make_net()
    first, again, other = (take(Stream(net, seed=seed).prime([1, 2]), 60) for seed in (5, 5, 6))
    assert first == again != other


def test_a_stream_without_a_seed_tells_the_one_it_chose() -> None:
    net = make_net()
    stream = Stream(net)
    assert take(stream, 40) == take(Stream(net, seed=stream.seed), 40)
    assert take(Stream(net), 40) != take(Stream(net), 40)


@pytest.mark.parametrize("seed", [-1, 2**64, 10**30])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(UsageError, match=f"seed: wanted 0 or more and less than 2\\^64, came {seed}"):
        Stream(make_net(), seed=seed)


@pytest.mark.parametrize("cell", ["rnn", "relu-rnn", "lstm", "gru", "peephole-lstm", "min-gru", "min-lstm"])
@pytest.mark.parametrize("embedding", [0, 3])
def test_a_stream_is_the_net_stepped_by_hand(cell: str, embedding: int) -> None:
    net = make_net(cell, embedding=embedding)
    stream = Stream(net, Choice(0.9), seed=4).prime([3, 0])
    generator, state = torch.Generator().manual_seed(4), net.initial_state(1)
    for id_ in (3, 0):
        logits, state = net(torch.tensor([[id_]]), state)
    for _ in range(40):
        u = float(torch.rand((), dtype=torch.float64, generator=generator))
        id_ = draw(logits[0, 0].double().detach().numpy(), u, Choice(0.9))
        assert next(stream) == id_
        logits, state = net(torch.tensor([[id_]]), state)


def test_the_random_numbers_of_others_do_not_reach_a_stream() -> None:
    net = make_net()
    wanted = take(Stream(net, seed=3), 30)
    before, stream, found = torch.get_rng_state(), Stream(net, seed=3), []
    for _ in range(30):
        found.append(next(stream))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(9)
    assert found == wanted


@pytest.mark.parametrize("primed", [[], [2, 5]], ids=["unprimed", "primed"])
def test_a_stream_rewinds_exactly(primed: list[int]) -> None:
    stream = Stream(make_net(), seed=1).prime(primed)
    start = stream.save()
    first = take(stream, 20)
    middle = stream.save()
    second = take(stream, 20)
    stream.rewind(middle)
    assert take(stream, 20) == second
    stream.rewind(start)
    assert take(stream, 40) == first + second


def test_a_fork_goes_on_as_the_stream_does_and_neither_disturbs_the_other() -> None:
    net = make_net()
    wanted = take(Stream(net, seed=1).prime([2]), 40)
    stream = Stream(net, seed=1).prime([2])
    assert take(stream, 10) == wanted[:10]
    fork = stream.fork()
    assert take(fork, 30) == wanted[10:]
    assert take(stream, 30) == wanted[10:]


def test_a_fork_with_another_seed_draws_other_ids_from_the_same_place() -> None:
    stream = Stream(make_net(), seed=1).prime([2, 4])
    fork = stream.fork(seed=2)
    assert np.array_equal(fork.logits, stream.logits) and fork.seed == 2
    assert take(fork, 40) != take(stream, 40)


def test_to_look_at_a_stream_to_save_or_to_fork_it_changes_nothing() -> None:
    net = make_net()
    untouched, looked_at = Stream(net, seed=1), Stream(net, seed=1)
    looked_at.save()
    looked_at.fork()
    assert looked_at.logits.shape == (len(net.vocab or ""),)
    assert take(untouched.prime([3]), 30) == take(looked_at.prime([3]), 30)


def test_a_net_in_training_is_sampled_without_dropout_and_its_generator_stays() -> None:
    net = make_net(dropout=0.5, embedding=4, embedding_dropout=0.5)
    wanted = take(Stream(net, seed=1).prime([1]), 30)
    net.train()
    net.dropout_generator = torch.Generator().manual_seed(9)
    before = net.dropout_generator.get_state()
    assert take(Stream(net, seed=1).prime([1]), 30) == wanted
    assert torch.equal(net.dropout_generator.get_state(), before)
    assert net.training and all(module.training for module in net.modules())


def test_the_logprobs_are_the_models_own_at_temperature_1_before_truncation() -> None:
    net = make_net()
    stream = Stream(net, Choice(0.3, top_k=3), seed=2).prime([1])
    heard: list[tuple[int, float]] = []
    stream.on_draw = lambda id_, logprob: heard.append((id_, logprob))
    ids = take(stream, 25)
    logits, _ = net(torch.tensor([1, *ids[:-1]])[:, None])
    wanted = logits[:, 0].double().log_softmax(-1)[torch.arange(25), torch.tensor(ids)]
    assert [id_ for id_, _ in heard] == ids
    np.testing.assert_allclose([p for _, p in heard], wanted.detach().numpy(), rtol=0, atol=1e-5)


def test_the_state_of_a_stream_does_not_grow() -> None:
    stream = Stream(make_net("lstm"), seed=3).prime([1])

    def size() -> tuple[int, ...]:
        saved = stream.save()
        storages = [t.untyped_storage().nbytes() for t in named_tensors(saved.state).values()]
        return (*storages, saved.logits.nbytes, len(saved.tail), saved.generator.numel())

    take(stream, 2)
    before = size()
    take(stream, 500)
    assert size() == before


# --- boundaries -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("boundary", "text"),
    [
        ("line", "abc\nde f\n\ngh\nij\n\n\nabc"),
        ("\n\n", "abc\nd\n\n\nfg\n\n\n\n\nij\nab"),
        ("aba", "ababa\ncabababade abaaba bc"),
        ("file", "abc\nde\n"),
    ],
    ids=["line", "overlapping", "repeating", "file"],
)
def test_after_a_boundary_the_state_starts_anew_exactly_as_in_training(boundary: str, text: str) -> None:
    vocab = Vocab.of(TEXT)
    net = make_net("gru", vocab)
    net.boundary, net.engine = boundary, "naive"
    corpus = Corpus.from_text(text + "a", vocab=vocab, boundary=boundary)
    window = Windows(corpus, 1, 1000)[0]
    trained, _ = net(window.inputs, fresh=window.fresh)
    stream = Stream(net, seed=1)
    for t, id_ in enumerate(vocab.encode(text)):
        stream.prime([id_])
        wanted = trained[t, 0].double().detach().numpy()
        np.testing.assert_allclose(stream.logits, wanted, rtol=0, atol=1e-6, err_msg=str(t))


def test_a_saved_stream_remembers_that_a_boundary_has_begun() -> None:
    net = make_net()
    net.boundary = "ab"
    stream = Stream(net, seed=1).prime(net.vocab.encode("cda"))  # type: ignore[union-attr]
    fork = stream.fork()
    ids = net.vocab.encode("bcd")  # type: ignore[union-attr]
    other = Stream(net, seed=1).prime(net.vocab.encode("cd"))  # type: ignore[union-attr]
    assert np.array_equal(fork.prime(ids).logits, stream.prime(ids).logits)
    assert np.allclose(other.fork().prime(ids).logits, stream.logits) is False


def test_a_boundary_that_the_net_cannot_write_never_comes() -> None:
    net = make_net()
    ids = [int(i) for i in net.vocab.encode("abcabc")]  # type: ignore[union-attr]
    plain = Stream(net, seed=1).prime(ids).logits
    net.boundary = "aÜ"
    assert np.array_equal(Stream(net, seed=1).prime(ids).logits, plain)


# --- text -------------------------------------------------------------------------------------------


class Scripted(Stream):
    """A stream that draws what it is told to."""

    def __init__(self, net: Net, ids: list[int]) -> None:
        super().__init__(net, seed=0)
        self._script = iter(ids)

    def __next__(self) -> int:
        return next(self._script)


def scripted(text: str | bytes) -> Scripted:
    vocab = Vocab.bytes() if isinstance(text, bytes) else Vocab.of(text + "x")
    net = Net(chain(Chain(len(vocab), cell="rnn", layers=1, hidden=2)), vocab)
    return Scripted(net, [int(i) for i in vocab.encode(text)])


@given(st.text(min_size=0, max_size=30), st.data())
def test_the_pieces_of_a_text_joined_are_the_text(text: str, data: st.DataObject) -> None:
    text = text.encode("utf-8", "ignore").decode()
    length = data.draw(st.integers(0, len(text)))
    assert "".join(text_pieces(scripted(text), length)) == text[:length]


@given(st.text("ab", max_size=20), st.text("ab", min_size=1, max_size=5))
def test_a_text_ends_before_the_first_place_of_its_stop(text: str, stop: str) -> None:
    pieces = list(text_pieces(scripted(text), len(text), stop))
    assert "".join(pieces) == text.partition(stop)[0]


def test_only_what_may_begin_the_stop_is_held_back() -> None:
    pieces = text_pieces(scripted("xa ab aab!"), 10, "aab!")
    assert [next(pieces) for _ in range(4)] == ["x", "a ", "ab", " "]
    assert "".join(pieces) == ""


@given(st.text(min_size=1, max_size=20))
def test_bytes_become_whole_characters_and_never_half_of_one(text: str) -> None:
    data = text.encode("utf-8", "ignore")
    pieces = list(text_pieces(scripted(data), len(data)))
    assert "".join(pieces) == data.decode()
    assert all("�" not in piece for piece in pieces) or "�" in text


@given(st.binary(min_size=1, max_size=30), st.data())
def test_bytes_that_are_no_text_become_what_python_makes_of_them(data: bytes, pick: st.DataObject) -> None:
    length = pick.draw(st.integers(1, len(data)))
    wanted = data[:length].decode("utf-8", "replace")
    assert "".join(text_pieces(scripted(data), length)) == wanted


def test_the_prime_of_nobody_is_a_newline_where_there_is_one() -> None:
    assert default_prime(make_net()) == "\n"
    assert default_prime(make_net(vocab=Vocab.bytes())) == "\n"
    assert default_prime(make_net(vocab=Vocab.of("abc"))) == ""
