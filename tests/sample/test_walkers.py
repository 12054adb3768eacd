"""However a stream takes its steps, it gives the ids that it would give one step at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import unrolled
from unrolled import Choice, Net, Stream, Streams
from unrolled.data import Vocab, Windows
from unrolled.data.corpus import Corpus
from unrolled.engines.native import compiler, sampler
from unrolled.errors import UsageError
from unrolled.net import Chain, Spec, chain
from unrolled.sample import Reader, native
from unrolled.sample.folded import Folded
from unrolled.sample.native import Native, walker_of
from unrolled.sample.walkers import SHARES, Plain
from unrolled.training import evaluate_text

needs_compiler = pytest.mark.skipif(
    not any(compiler.shutil.which(name) for name in compiler.COMPILERS),
    reason="there is no C++ compiler here",
)
TEXT = "abc de\nfgh ij\n"


def make_net(cell: str = "lstm", *, layers: int = 2, hidden: int = 19, seed: int = 0, **sizes: Any) -> Net:
    vocab = Vocab.of(TEXT)
    torch.manual_seed(seed)
    net = Net(chain(Chain(len(vocab), cell=cell, layers=layers, hidden=hidden, **sizes)), vocab)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1 if cell == "relu-rnn" else 3)
    return net.eval()


@pytest.fixture
def without_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("PATH", str(tmp_path))
    sampler._library.cache_clear()
    yield
    sampler._library.cache_clear()


def logits_along(stream: Stream, ids: list[int]) -> np.ndarray:
    return np.stack([stream.prime([id_]).logits for id_ in ids])


@needs_compiler
@pytest.mark.parametrize("cell", ["rnn", "relu-rnn", "lstm", "gru"])
@pytest.mark.parametrize("sizes", [{}, {"embedding": 3}, {"embedding": 3, "dropout": 0.5}, {"layers": 1}])
def test_the_compiled_loop_draws_what_the_net_does_step_by_step(cell: str, sizes: dict[str, Any]) -> None:
    net, other = make_net(cell, **sizes), make_net(cell, **sizes)
    other.engine = "naive"
    choice = Choice(0.9, top_p=0.95)
    streams = [Stream(each, choice, seed=4).prime([3, 0]) for each in (net, other)]
    assert [type(stream._walker) for stream in streams] == [Native, Plain]
    assert streams[0].take(150) == streams[1].take(150)
    np.testing.assert_allclose(streams[0].logits, streams[1].logits, rtol=0, atol=1e-5)


@needs_compiler
@pytest.mark.parametrize("cell", ["rnn", "relu-rnn", "lstm", "gru"])
@pytest.mark.parametrize("embedding", [0, 3])
def test_a_stream_has_the_bits_of_the_net_that_reads_the_whole_text_at_once(
    cell: str, embedding: int
) -> None:
    net = make_net(cell, embedding=embedding)
    net.engine = "native"
    stream = Stream(net, seed=4).prime([3, 0])
    found, ids = [], []
    for _ in range(70):
        found.append(stream.logits)
        ids.append(next(stream))
    with torch.no_grad():
        logits, _ = net(torch.tensor([3, 0, *ids])[:, None])
    assert torch.equal(torch.from_numpy(np.stack(found)), logits[1:-1, 0].double())


@pytest.mark.usefixtures("without_compiler")
@pytest.mark.parametrize("cell", ["rnn", "relu-rnn", "lstm", "gru"])
@pytest.mark.parametrize("embedding", [0, 3])
def test_without_a_compiler_the_logits_are_those_of_the_net_within_1e_5(cell: str, embedding: int) -> None:
    net = make_net(cell, embedding=embedding, seed=embedding)
    stream = Stream(net, seed=1)
    assert type(stream._walker) is Folded
    unread = stream.logits
    ids = torch.randint(-1, 10, (40,)).tolist()
    found = logits_along(stream, ids)
    net.engine = "naive"
    plain = Stream(net, seed=1)
    np.testing.assert_allclose(unread, plain.logits, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found, logits_along(plain, ids), rtol=0, atol=1e-5)
    assert stream.take(60) == plain.take(60)


def test_a_net_that_the_loop_does_not_run_is_stepped_as_it_is() -> None:
    assert type(walker_of(make_net().double())) is Plain
    named = make_net()
    named.engine = "torch"
    assert type(walker_of(named)) is Plain

    class Own(unrolled.RNN):
        def step(self, x: Any, state: Any) -> Any:
            return super().step(x, state)

    vocab = Vocab.of(TEXT)
    own = Net(chain(Chain(len(vocab), cell="x.py:Own", hidden=4)), vocab, {"Own": Own})
    assert type(walker_of(own)) is Plain
    assert "a step of its own" in str(native.why_no_loop(own))


@needs_compiler
def test_nets_with_more_than_one_line_are_stepped_as_they_are() -> None:
    vocab = Vocab.of(TEXT)
    layers = chain(Chain(len(vocab), cell="rnn", hidden=4)).to_dict()["layers"]
    layers.insert(-3, {"name": "more", "type": "activation", "function": "tanh", "sources": ["rnn2"]})
    for layer in layers:
        if layer["name"] == "logits":
            layer["sources"] = ["more"]
    net = Net(Spec.from_dict({"layers": layers}), vocab)
    assert "a linear layer" in str(native.why_no_loop(net))
    assert Stream(net, seed=1).take(3)
    with pytest.raises(UsageError, match=r"^the loop with int8 weights can't be had: it runs .*\n?$"):
        Stream(net, weights="int8")


def test_weights_that_there_are_not_and_weights_without_a_compiler_are_errors_of_one_line() -> None:
    with pytest.raises(UsageError, match=r"^weights: wanted one of float32, bf16, int8, came 'int4'$"):
        Stream(make_net(), weights="int4")
    with pytest.raises(UsageError, match=r"float64 on cpu; leave --weights out$"):
        Stream(make_net().double(), weights="bf16")


@pytest.mark.usefixtures("without_compiler")
def test_fewer_bits_need_a_compiler() -> None:
    with pytest.raises(
        UsageError, match=r"^the loop with int8 weights can't be had: there is no C\+\+ compiler"
    ):
        Stream(make_net(), weights="int8")


def test_a_block_of_uniform_numbers_is_the_sequence_of_single_ones() -> None:
    one, many = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    for count in (1, 2, 3, 15, 16, 17, 64, 129):
        block = torch.rand(count, dtype=torch.float64, generator=many)
        single = [torch.rand((), dtype=torch.float64, generator=one) for _ in range(count)]
        assert torch.equal(block, torch.stack(single))
    assert torch.equal(one.get_state(), many.get_state())


# --- nothing shows of what is drawn ahead -----------------------------------------------------------

ACTIONS = ("next", "take", "save", "rewind", "fork", "logits", "choice", "prime", "expect", "weights")


@needs_compiler
@pytest.mark.parametrize("weights", ["float32", "int8"])
@settings(max_examples=120)
@given(data=st.data())
def test_a_stream_does_whatever_is_asked_as_one_that_draws_nothing_ahead(
    weights: str, data: st.DataObject
) -> None:
    """The same requests to two streams, of which one draws a single id a call."""
    net = make_net("gru", embedding=3, seed=1)
    net.boundary = data.draw(st.sampled_from([None, "\n", "ab"]))
    streams = [Stream(net, Choice(0.8), seed=5, weights=weights) for _ in range(2)]
    saved = [stream.save() for stream in streams]
    for action in data.draw(st.lists(st.sampled_from(ACTIONS), min_size=3, max_size=14)):
        number = data.draw(st.integers(0, 9))
        results: list[Any] = []
        if action == "weights":
            with torch.no_grad():
                net.get_parameter("layers.logits.bias").mul_(1 + number / 20)
        for n, stream in enumerate(streams):
            if action == "next":
                results.append(next(stream))
            elif action == "take":
                size = number * 7
                results.append(stream.take(size) if n == 0 else [_single(stream) for _ in range(size)])
            elif action == "save":
                saved[n] = stream.save()
                results.append((saved[n].logits.tolist(), saved[n].tail, saved[n].generator.tolist()))
            elif action == "rewind":
                stream.rewind(saved[n])
            elif action == "fork":
                streams[n] = stream.fork(seed=number if number % 2 else None)
            elif action == "logits":
                results.append(stream.logits.tolist())
            elif action == "choice":
                stream.choice = Choice(0.5 + number / 10, top_k=number)
            elif action == "prime":
                stream.prime(list(range(number)))
            elif action == "expect" and n == 0:
                stream.expect(number * 10)
        assert len(results) < 2 or results[0] == results[1]
    assert streams[0].take(30) == [_single(streams[1]) for _ in range(30)]


def _single(stream: Stream) -> int:
    stream._settle()
    stream._expected = 1
    return next(stream)


@needs_compiler
def test_weights_that_change_while_a_stream_lives_are_heeded_by_the_next_id() -> None:
    """The state stays; what is fed from then on meets the new weights, as one step at a time."""
    net, plain = make_net("lstm"), make_net("lstm")
    plain.engine = "naive"
    streams = [Stream(each, seed=3).prime([1, 2, 3]) for each in (net, plain)]
    found: list[list[int]] = [[], []]
    for turn in range(12):
        for ids, stream in zip(found, streams, strict=True):
            stream.expect(50)
            ids += [next(stream) for _ in range(5 + turn)]
        for each in (net, plain):
            with torch.no_grad():
                for parameter in each.parameters():
                    parameter.mul_(0.97)
    assert found[0] == found[1]


def stepped(net: Net) -> None:
    """Take a step of a fused optimizer, which changes weights and leaves their versions as they were."""
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    versions = [parameter._version for parameter in net.parameters()]
    torch.optim.SGD(net.parameters(), 0.5, fused=True).step()
    if [parameter._version for parameter in net.parameters()] != versions:
        pytest.skip("this torch counts a fused step as a change")


def test_a_new_stream_begins_with_the_weights_of_now_however_they_were_changed() -> None:
    net, plain = make_net("lstm"), make_net("lstm")
    plain.engine = "naive"
    for change in (stepped, lambda net: net.load_weights({n: w + 0.1 for n, w in net.weights().items()})):
        Stream(net, seed=3).take(5)
        for each in (net, plain):
            change(each)
        assert Stream(net, seed=3).take(40) == Stream(plain, seed=3).take(40)
    for each in (net, plain):
        for parameter in each.parameters():
            parameter.data = -parameter.data
    assert Stream(net, seed=3).take(40) == Stream(plain, seed=3).take(40)


@needs_compiler
def test_what_torch_does_not_count_as_a_change_is_heeded_a_block_later() -> None:
    net = make_net("lstm")
    stream = Stream(net, seed=3)
    stream.take(7)
    walker = stream._walker
    stepped(net)
    stream.take(2 * walker.longest)
    assert isinstance(stream._walker, Native)
    assert stream._walker is not walker and stream._walker.has_same_numbers()


@needs_compiler
def test_a_single_number_that_torch_does_not_count_is_heeded_once_all_were_compared() -> None:
    net = make_net("lstm")
    stream = Stream(net, seed=3)
    for parameter in list(net.parameters()):
        walker = stream._walker
        parameter.data.view(-1)[-1] += 1
        stream.take((SHARES + 1) * walker.longest)
        assert isinstance(stream._walker, Native)
        assert stream._walker is not walker and stream._walker.has_same_numbers()


@needs_compiler
def test_streams_of_one_net_share_its_weights() -> None:
    net = make_net()
    one, two = Stream(net, seed=1), Stream(net, seed=2)
    assert one._walker is two._walker
    with torch.no_grad():
        net.get_parameter("layers.logits.bias").add_(1)
    assert Stream(net, seed=3)._walker is not one._walker


@needs_compiler
def test_each_draw_is_heard_of_when_it_is_taken_with_the_logits_it_was_drawn_from() -> None:
    stream = Stream(make_net(), Choice(0.5), seed=2).prime([1])
    heard: list[tuple[int, float, float]] = []
    stream.on_draw = lambda id_, logprob: heard.append((id_, logprob, float(stream.logits[id_])))
    ids = []
    stream.expect(40)
    for count in range(40):
        ids.append(next(stream))
        assert len(heard) == count + 1
    assert [id_ for id_, _, _ in heard] == ids
    other = Stream(make_net(), Choice(0.5), seed=2).prime([1])
    for id_, logprob, logit in heard:
        logits = other.logits
        assert logit == logits[id_]
        assert logprob == pytest.approx(torch.tensor(logits).log_softmax(-1)[id_].item(), abs=1e-12)
        assert next(other) == id_


@needs_compiler
def test_an_id_that_the_net_does_not_know_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^this net reads ids from 0 to 11, or -1 for none; came 2 to 12$"):
        Stream(make_net(), seed=1).prime([2, 12])


@needs_compiler
def test_a_stream_primed_from_an_endless_source_in_parts_equals_one_primed_at_once() -> None:
    ids = list(itertools.islice(itertools.cycle(range(11)), 9000))
    whole = Stream(make_net("rnn"), seed=1).prime(ids)
    parts = Stream(make_net("rnn"), seed=1)
    for at in range(0, 9000, 700):
        parts.prime(iter(ids[at : at + 700]))
    assert np.array_equal(whole.logits, parts.logits) and whole.take(9) == parts.take(9)


# --- together ---------------------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("weights", ["float32", "bf16", "int8"])
@settings(max_examples=25)
@given(data=st.data())
def test_together_each_stream_gives_the_ids_that_it_gives_alone(weights: str, data: st.DataObject) -> None:
    net = make_net("gru", embedding=3, seed=1)
    net.boundary = "\n"
    count = data.draw(st.sampled_from([1, 2, 3, 7, 16, 40, 64]))
    random = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    choices = [
        Choice(float(t), int(k))
        for t, k in zip(random.random(count), random.integers(0, 9, count), strict=True)
    ]
    primes = [random.integers(0, 11, n).tolist() for n in random.integers(0, 20, count)]
    sizes = data.draw(st.lists(st.integers(0, 40), min_size=1, max_size=3))
    threads = torch.get_num_threads()

    def streams() -> list[Stream]:
        return [Stream(net, choice, seed=n, weights=weights) for n, choice in enumerate(choices)]

    try:
        torch.set_num_threads(data.draw(st.integers(1, 2)))
        together = Streams(streams()).prime(primes)
        found: list[list[int]] = [[] for _ in primes]
        for size in sizes:
            for ids, more in zip(found, together.take(size), strict=True):
                ids += more
    finally:
        torch.set_num_threads(threads)
    for stream, prime, ids in zip(streams(), primes, found, strict=True):
        assert stream.prime(prime).take(len(ids)) == ids


def test_streams_of_a_net_that_the_loop_does_not_run_go_on_together_too() -> None:
    net = make_net().double()
    together = Streams(Stream(net, seed=seed) for seed in range(3)).prime([[1], [], [2, 3]])
    alone = [Stream(net, seed=seed).prime(ids) for seed, ids in enumerate([[1], [], [2, 3]])]
    assert together.take(9) == [stream.take(9) for stream in alone]
    assert together.take(0) == [[], [], []]


def test_what_cannot_go_on_together_is_refused() -> None:
    net = make_net()
    stream = Stream(net)
    for others in ([stream, stream], [stream, Stream(make_net())]):
        with pytest.raises(
            UsageError, match=r"^streams that go on together must be different ones of one net"
        ):
            Streams(others)
    with pytest.raises(UsageError, match=r"^wanted 1 primes, one a stream, came 2$"):
        Streams([stream]).prime([[1], [2]])


# --- reading ----------------------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("weights", ["float32", "bf16", "int8"])
def test_a_text_is_read_with_the_logits_of_a_stream_that_is_primed_with_it(weights: str) -> None:
    net = make_net("gru")
    net.boundary = "\n"
    text = "abc\nde f\n\ngh\nij\nabc"
    corpus = Corpus.from_text(text, vocab=net.vocab, boundary="\n")
    reader, stream = Reader(net, weights), Stream(net, seed=1, weights=weights)
    found = [reader.read(w.inputs, w.fresh, w.lengths)[0] for w in Windows(corpus, 1, 5)]
    assert net.vocab is not None
    wanted = logits_along(stream, net.vocab.encode(text[:-1]).tolist())
    assert np.array_equal(np.concatenate(found).astype(np.float64), wanted)


@needs_compiler
@pytest.mark.parametrize("lanes", [1, 3])
def test_a_text_read_by_the_loop_is_predicted_as_well_as_by_the_net(lanes: int) -> None:
    net = make_net("lstm", embedding=4)
    corpus = Corpus.from_text(TEXT * 5, vocab=net.vocab)
    wanted = evaluate_text(net, corpus, lanes, 7)
    found = evaluate_text(net, corpus, lanes, 7, "float32")
    assert found.nats_per_char == pytest.approx(wanted.nats_per_char, abs=1e-5)
    assert (found.accuracy, found.chars, found.shortened) == (wanted.accuracy, wanted.chars, wanted.shortened)
    rough = evaluate_text(net, corpus, lanes, 7, "int8")
    assert rough.nats_per_char == pytest.approx(wanted.nats_per_char, abs=0.1)
    assert rough.nats_per_char != found.nats_per_char
