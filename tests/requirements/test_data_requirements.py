from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from unrolled.data import Corpus, Vocab, Windows, binary_addition, counting_text
from unrolled.data.generated import COUNTING_SYMBOLS

MEGABYTE = 1 << 20


def test_S4_successive_characters_are_inputs_and_the_ones_after_them_labels() -> None:
    corpus = Corpus.from_text("int a;")
    window = Windows(corpus, lanes=1, length=5)[0]
    read, label = corpus.vocab.decode(window.inputs[:, 0]), corpus.vocab.decode(window.targets[:, 0])
    assert list(zip(read, label, strict=True)) == [("i", "n"), ("n", "t"), ("t", " "), (" ", "a"), ("a", ";")]


def test_H1_the_sequence_is_1_22_333_to_9_nines_a_hundred_times() -> None:
    text = counting_text(repeats=100)
    ids = Vocab.of(COUNTING_SYMBOLS).encode(text)
    one = [digit for digit in range(1, 10) for _ in range(digit)]
    assert ids.tolist() == one * 100 and len(ids) == 4500 and len(COUNTING_SYMBOLS) == 10


def test_H2_lanes_are_equal_in_order_and_a_position_is_just_a_number() -> None:
    ids = Vocab.of(COUNTING_SYMBOLS).encode(counting_text())
    windows = Windows(ids, lanes=10, length=20)
    sizes = [end - begin for begin, end in windows.bounds]
    assert max(sizes) - min(sizes) <= 1 and sum(sizes) == windows.num_targets == 4499
    pairs: list[list[tuple[int, int]]] = [[] for _ in sizes]
    for window in windows:
        for b, lane in enumerate(pairs):
            steps = zip(window.inputs[:, b].tolist(), window.targets[:, b].tolist(), strict=True)
            lane += [(now, then) for now, then in steps if then >= 0]
    successive = list(zip(ids[:-1].tolist(), ids[1:].tolist(), strict=True))
    assert [pair for lane in pairs for pair in lane] == successive
    assert torch.equal(Windows(ids, 10, 20)[7].inputs, windows[7].inputs)


def test_K5_a_text_of_any_size_is_read_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "text"
    line = "The cat sat on the mat; it's 12°.\n" + "and so on, and on\n" * 40
    path.write_text(line * (60 * MEGABYTE // len(line.encode())))
    code = """if True:
        import sys, threading
        from unrolled.data import Corpus, Windows
        def anonymous():
            return int(open("/proc/self/status").read().split("RssAnon:")[1].split()[0]) << 10
        before, peak, ended = anonymous(), [0], threading.Event()
        def watch():
            while not ended.wait(0.005):
                peak.append(anonymous())
        watcher = threading.Thread(target=watch)
        watcher.start()
        corpus = Corpus.open(sys.argv[1], boundary="line")
        windows = Windows(corpus, 50, 50)
        for k in range(0, len(windows), 500):
            windows[k]
        ended.set()
        watcher.join()
        print(max(peak) - before, len(corpus), len(corpus.starts))
    """
    command = [sys.executable, "-c", code, str(path)]
    environment = {**os.environ, "UNROLLED_CACHE": str(tmp_path / "cache")}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    grown, num_ids, num_starts = map(int, said.split())
    assert grown < 25 * MEGABYTE
    assert (num_ids, num_starts) == (len(path.read_text()), path.read_text().count("\n"))


def test_C5_binary_addition_gives_every_bit_of_the_sum() -> None:
    x, y = binary_addition(bits=6, lanes=5, generator=torch.Generator().manual_seed(0))
    weights = 2 ** np.arange(7)
    first, second = (weights @ x[:, :, k].numpy() for k in range(2))
    assert x.shape == (7, 5, 2) and (first + second == weights @ y[:, :, 0].numpy()).all()
