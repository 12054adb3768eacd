"""What a text must be for a net to read it, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from unrolled.data import Vocab
from unrolled.errors import UsageError
from unrolled.net import Net
from unrolled.sample.walkers import boundary_ids

Ids = NDArray[np.int64]


def check_reads_text(net: Net) -> None:
    """Raise UsageError unless ``net`` goes along a text, id by id, and foretells the next."""
    if net.is_whole:
        raise UsageError("wanted a net that reads symbol by symbol, this one needs whole sequences at once")
    given = [name for name in net.input_names if name not in net.target_names]
    if len(given) != 1 or (net.vocab is not None and not net.writes_text):
        told = ", ".join(given) or "no input"
        raise UsageError(f"wanted a net whose output hangs on one text alone, this one reads {told}")
    shape, output = net.wiring.shapes[given[0]], net.wiring.shapes[net.wiring.output]
    if not shape.ids or output.ids or output.width != shape.ids:
        raise UsageError(
            f"wanted a net that reads ids and gives a logit for each, this one goes from {shape} to {output}"
        )


def checked_ids(net: Net, ids: Iterable[int]) -> Ids:
    """Return ``ids`` as an array [T]; UsageError where the net can't read them."""
    if isinstance(ids, str | bytes):
        raise UsageError("wanted ids, came a text; call net.vocab.encode(text)")
    found = np.asarray(ids.tolist() if hasattr(ids, "tolist") else list(ids))
    if found.ndim != 1 or not len(found) or found.dtype.kind not in "iu":
        raise UsageError(f"wanted whole ids [T], at least one, came {found.dtype} {list(found.shape)}")
    count = net.output_size
    wrong = np.flatnonzero((found < 0) | (found >= count))
    if len(wrong):
        raise UsageError(f"wanted ids from 0 to {count - 1}, came {found[wrong[0]]} at position {wrong[0]}")
    return found.astype(np.int64)


def document_starts(net: Net, ids: Ids) -> NDArray[np.bool_]:
    """Return where the net starts anew [T]: after each boundary of its documents, as a stream does."""
    starts, boundary = np.zeros(len(ids), bool), boundary_ids(net)
    since, size = 0, len(boundary)
    if not 0 < size <= len(ids):
        return starts
    ends = np.ones(len(ids), bool)
    for back, id_ in enumerate(reversed(boundary)):
        ends[back:] &= ids[: len(ids) - back] == id_
        ends[:back] = False
    for end in np.flatnonzero(ends).tolist():
        if end + 1 - size >= since and end + 1 < len(ids):
            starts[end + 1], since = True, end + 1
    return starts


def shown(vocab: Vocab | None, ids: Ids) -> list[str]:
    r"""Return each id's own text: its character; ``\xNN`` beyond ASCII; its number without a vocab."""
    if vocab is None:
        return [str(id_) for id_ in ids.tolist()]
    if vocab.units == "byte":
        return [chr(id_) if id_ < 128 else f"\\x{id_:02x}" for id_ in ids.tolist()]
    return [vocab.symbols[id_] for id_ in ids.tolist()]
