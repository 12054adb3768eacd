"""Wires side by side: who runs in which lane of a gutter, a gap or the side of a box."""

from __future__ import annotations

from collections.abc import Hashable


class Lanes:
    """Give every key of a group the first lane in which nobody else is along its way.

    A way is an interval; adding a key again lengthens it, so that wires of one key run as one.
    """

    def __init__(self) -> None:
        self._ways: dict[Hashable, dict[Hashable, tuple[float, float]]] = {}
        self._lanes: dict[Hashable, dict[Hashable, int]] = {}

    def add(self, group: Hashable, key: Hashable, start: float = 0, end: float = 0) -> None:
        """Say that a key's wire runs from ``start`` to ``end``, either way round."""
        ways = self._ways.setdefault(group, {})
        low, high = ways.get(key, (start, start))
        ways[key] = (min(low, start, end), max(high, start, end))
        self._lanes.pop(group, None)

    def lane(self, group: Hashable, key: Hashable) -> int:
        """Return a key's lane, from 0."""
        return self._settled(group)[key]

    def count(self, group: Hashable) -> int:
        """Return how many lanes a group has."""
        return 1 + max(self._settled(group).values(), default=-1)

    def _settled(self, group: Hashable) -> dict[Hashable, int]:
        """Hand out the lanes of a group, the shortest way first, which is so the nearest to the boxes."""
        if group not in self._lanes:
            ways = self._ways.get(group, {})
            taken: list[list[tuple[float, float]]] = []
            lanes = {}
            for key, (low, high) in sorted(ways.items(), key=lambda item: item[1][1] - item[1][0]):
                free = (n for n, lane in enumerate(taken) if all(high < a or b < low for a, b in lane))
                number = next(free, len(taken))
                if number == len(taken):
                    taken.append([])
                taken[number].append((low, high))
                lanes[key] = number
            self._lanes[group] = lanes
        return self._lanes[group]
