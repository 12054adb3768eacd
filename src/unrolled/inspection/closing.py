"""Structure: of what a text opens, the share that it closes as it should, beside the training text's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from unrolled.inspection.training_text import TrainingText

RARE = 0.5
"""A kind that the training text closes less often than so many times in 10,000 characters is left out."""

PATIENCE = 2000
"""For how many characters a round or square bracket, a curly quote or a link may be open when the text ends.

One that is open for longer was forgotten, not cut; braces, tags and environments are never too long.
"""

KINDS = {
    '"': 'straight quotes " "',
    "“": "curly quotes “ ”",
    "(": "round brackets ( )",
    "[": "square brackets [ ]",
    "{": "braces { }",
    "[[": "links [[ ]]",
    "<": "tags <x> </x>",
    "\\begin": "environments \\begin{x} \\end{x}",
    "deeper": "lines after { or : that are deeper",
    "}": "lines with } as deep as the line of a {",
}
"""What is scored: its short name and what it is in words."""

_YARDSTICK = 100_000
_EXCERPTS = 400
_TAB = 8

_LINK = re.compile(r"\[\[|\]\]")
_BRACKET = re.compile(r"[()\[\]{}“”]")
_ENVIRONMENT = re.compile(r"\\(begin|end)\{([^{}\n]*)\}")
_TAG = re.compile(
    r"<!--.*?(?:-->|\Z)|<!\[CDATA\[.*?(?:\]\]>|\Z)|"
    r"<(?P<end>/?)(?P<name>[A-Za-z_:][\w:.-]*)(?:\s[^<>]*?)?(?P<alone>/?)>",
    re.DOTALL,
)
_SHORT = frozenset(["“", "(", "[", "[["])
_OPENER = {")": "(", "]": "[", "}": "{", "”": "“"}
_ALONE = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"]
)


@dataclass(frozen=True)
class Score:
    """What a text opened of one kind, and what became of it.

    ``cut`` are those that are open at the text's end and might have been closed after it: no error. ``stray``
    are ends without a beginning; a text that begins in the middle has some, so they are no part of the share.
    """

    opened: int = 0
    closed: int = 0
    cut: int = 0
    stray: int = 0

    @property
    def share(self) -> float | None:
        """The share closed correctly of all that could be; None if there are none."""
        judged = self.opened - self.cut
        return self.closed / judged if judged else None

    def __add__(self, other: Score) -> Score:
        return Score(
            self.opened + other.opened,
            self.closed + other.closed,
            self.cut + other.cut,
            self.stray + other.stray,
        )


@dataclass(frozen=True)
class Yardstick:
    """The training text's own scores, of ``characters`` in excerpts as long as the sample."""

    scores: Mapping[str, Score]
    characters: int

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that the training text uses, see RARE."""
        least = RARE * self.characters / 10_000
        return tuple(kind for kind, score in self.scores.items() if score.closed and score.closed >= least)


@dataclass(frozen=True)
class Compared:
    """A kind's score in a sample, and in the training text if that is at hand."""

    kind: str
    score: Score
    training: Score | None


def structure(text: str) -> dict[str, Score]:
    """Score a text for every kind in KINDS.

    Straight quotes pair within a paragraph, for there they begin anew. Brackets of all kinds nest in each
    other; a ``[[`` that a ``]]`` closes is a link and no bracket. Tags and environments nest by name; a
    comment, ``<br>`` and ``<x/>`` open nothing. An end closes the last beginning of its own that is open, and
    what was opened after that counts as not closed. For lines, tabs go to multiples of 8, and blank ones are
    passed over.
    """
    links, of_links = _links(text)
    brackets = _Nest(["“", "(", "[", "{"])
    for match in _BRACKET.finditer(text):
        if match.start() not in of_links:
            mark = match.group()
            if mark in _OPENER:
                brackets.end(_OPENER[mark], _OPENER[mark])
            else:
                brackets.begin(mark, mark, match.start())
    nests = [brackets, links, _tags(text), _environments(text)]
    found = {'"': _quotes(text), **_lines(text)}
    for nest in nests:
        found |= nest.scores(len(text))
    return {kind: found[kind] for kind in KINDS}


def yardstick(training: TrainingText, length: int, seed: int = 0) -> Yardstick:
    """Score excerpts of ``length`` symbols of the training text, from line starts that ``seed`` draws.

    So many are scored together that they have 100,000 symbols, but 400 at most; all of a shorter text is one.
    """
    scores = dict.fromkeys(KINDS, Score())
    characters = 0
    for excerpt in _excerpts(training, max(1, length), seed):
        characters += len(excerpt)
        for kind, score in structure(excerpt).items():
            scores[kind] += score
    return Yardstick(scores, characters)


def compared(text: str, training: Yardstick | None) -> list[Compared]:
    """Score a sample for the kinds that the training text uses; without one, for those it opens itself."""
    scores = structure(text)
    if training is None:
        return [Compared(kind, score, None) for kind, score in scores.items() if score.opened]
    return [Compared(kind, scores[kind], training.scores[kind]) for kind in training.kinds]


class _Nest:
    """What is open, innermost last; kinds that nest in each other share one."""

    def __init__(self, kinds: Iterable[str]) -> None:
        self._scores = dict.fromkeys(kinds, Score())
        self._open: list[tuple[str, str, int]] = []
        self._waiting: dict[tuple[str, str], int] = {}

    def begin(self, kind: str, name: str, place: int) -> None:
        """Open one by its name."""
        self._open.append((kind, name, place))
        self._waiting[kind, name] = self._waiting.get((kind, name), 0) + 1
        self._count(kind, Score(opened=1))

    def end(self, kind: str, name: str) -> int | None:
        """Close the last one of this name, and return its place; None if none is open."""
        if not self._waiting.get((kind, name)):
            self._count(kind, Score(stray=1))
            return None
        while True:
            *last, place = self._open.pop()
            self._waiting[last[0], last[1]] -= 1
            if last == [kind, name]:
                self._count(kind, Score(closed=1))
                return place

    def cut(self, length: int) -> list[int]:
        """Return the places of those that a text's end after ``length`` characters cuts."""
        patient = [kind not in _SHORT or length - place <= PATIENCE for kind, _, place in self._open]
        return [place for (_, _, place), kept in zip(self._open, patient, strict=True) if kept]

    def scores(self, length: int) -> dict[str, Score]:
        """Return the score of each kind in a text of ``length`` characters."""
        found = dict(self._scores)
        cut = set(self.cut(length))
        for kind, _, place in self._open:
            found[kind] += Score(cut=int(place in cut))
        return found

    def _count(self, kind: str, more: Score) -> None:
        self._scores[kind] += more


def _links(text: str) -> tuple[_Nest, set[int]]:
    """Pair links; return where the brackets stand that are part of one, or of one that the end cuts."""
    nest, places = _Nest(["[["]), set[int]()
    for match in _LINK.finditer(text):
        begin = match.start()
        if match.group() == "[[":
            nest.begin("[[", "[[", begin)
        elif (place := nest.end("[[", "[[")) is not None:
            places |= {place, place + 1, begin, begin + 1}
    for place in nest.cut(len(text)):
        places |= {place, place + 1}
    return nest, places


def _quotes(text: str) -> Score:
    """Pair straight quotes paragraph by paragraph; the last paragraph may be cut."""
    paragraphs = re.split(r"\n[ \t\r]*\n", text)
    counts = [paragraph.count('"') for paragraph in paragraphs]
    odd = counts[-1] % 2
    return Score(sum((n + 1) // 2 for n in counts), sum(n // 2 for n in counts), odd)


def _tags(text: str) -> _Nest:
    nest = _Nest(["<"])
    for match in _TAG.finditer(text):
        name = match["name"]
        if name is None or match["alone"] or name.lower() in _ALONE:
            continue
        if match["end"]:
            nest.end("<", name)
        else:
            nest.begin("<", name, match.start())
    return nest


def _environments(text: str) -> _Nest:
    nest = _Nest(["\\begin"])
    for match in _ENVIRONMENT.finditer(text):
        if match[1] == "begin":
            nest.begin("\\begin", match[2], match.start())
        else:
            nest.end("\\begin", match[2])
    return nest


def _lines(text: str) -> dict[str, Score]:
    """Score lines by their depth: after a line that ends in { or :, and of those that begin with }."""
    deeper, level = Score(), Score()
    asked: int | None = None
    open_: list[int] = []
    for line in text.expandtabs(_TAB).split("\n"):
        said = line.strip()
        if not said:
            continue
        depth = len(line) - len(line.lstrip())
        if asked is not None and not said.startswith("}"):
            deeper += Score(closed=int(depth > asked))
        elif asked is not None:
            deeper += Score(opened=-1)
        asked = None
        if said.startswith("}"):
            level, open_ = level + _level(depth, open_), [at for at in open_ if at < depth]
        if said.endswith(("{", ":")):
            asked = depth
            deeper += Score(opened=1)
        if said.endswith("{"):
            open_.append(depth)
    return {"deeper": deeper + Score(cut=int(asked is not None)), "}": level}


def _level(depth: int, open_: list[int]) -> Score:
    """Score a line that begins with a brace; without a { before it nobody knows."""
    return Score(opened=1, closed=int(depth in open_)) if open_ else Score(stray=1)


def _excerpts(training: TrainingText, length: int, seed: int) -> Iterable[str]:
    """Yield excerpts from drawn places, moved on by up to ``length`` to a new paragraph, or a new line."""
    last = len(training) - length
    if last <= 0:
        yield training.excerpt(0, len(training))
        return
    draw = np.random.default_rng(seed)
    for _ in range(min(_EXCERPTS, -(-_YARDSTICK // length))):
        begin = int(draw.integers(last + 1))
        before = training.excerpt(begin, min(length, last - begin))
        after = before.find("\n\n") + 2 if "\n\n" in before else before.find("\n") + 1
        yield training.excerpt(min(last, begin + len(training.encode(before[:after]))), length)
