"""In which order a net's layers run, and which of them run for all steps at once.

Strongly connected components over all edges: a component of several layers, or with an edge to itself, is
one scan; everything else runs for all T steps at once. Tarjan 1972, without recursion.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from unrolled.errors import NetError
from unrolled.net.spec import Layer, Spec


@dataclass(frozen=True)
class Component:
    """Layers that run together, in the order within a step."""

    layers: tuple[Layer, ...]
    scan: bool
    """Whether they go step by step, several together or one that reads itself."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The layers' names."""
        return tuple(layer.name for layer in self.layers)

    @cached_property
    def reads(self) -> frozenset[str]:
        """The layers outside that they read."""
        return frozenset(edge.source for layer in self.layers for edge in layer.sources) - set(self.names)


def schedule(spec: Spec) -> tuple[Component, ...]:
    """Return the components of a net of one phase, sources first.

    NetError for a cycle without a delay, and for a cycle that holds an ``all`` or ``last`` edge.
    """
    by_name = {layer.name: layer for layer in spec}
    place = {name: number for number, name in enumerate(by_name)}
    found = []
    for names in _strongly_connected(by_name):
        inside = set(names)
        for name in names:
            _check_no_end(by_name[name], inside)
        ordered = _order_in_a_step([by_name[name] for name in sorted(names, key=place.__getitem__)])
        itself = any(edge.source == ordered[0].name for edge in ordered[0].sources)
        component = Component(tuple(ordered), scan=len(ordered) > 1 or itself)
        _check_forward(component)
        found.append(component)
    return tuple(found)


def reads_future(spec: Spec) -> str | None:
    """Return the name of a layer for which the whole sequence must be there, or None.

    That is one with an ``all`` or ``last`` edge from a layer of more than one copy, or a backward one.
    """
    by_name = {layer.name: layer for layer in spec}
    for layer in spec:
        if layer.settings.get("direction") == "backward":
            return layer.name
        for edge in layer.sources:
            if edge.kind != "same" and spec.length_of(by_name[edge.source]) != 1:
                return layer.name
    return None


def _check_no_end(layer: Layer, inside: set[str]) -> None:
    for edge in layer.sources:
        if edge.source in inside and edge.kind != "same":
            raise NetError(
                f"layer '{layer.name}' reads '{edge.kind}' of '{edge.source}', which reads '{layer.name}' "
                f"in turn: {', '.join(sorted(inside))}; only 'same' edges with a shift may close a cycle",
                layer.name,
                "sources",
            )


def _check_forward(component: Component) -> None:
    for layer in component.layers if component.scan else ():
        if layer.settings.get("direction") == "backward":
            raise NetError(
                f"layer '{layer.name}' walks backward and reads what comes of itself at an earlier step: "
                f"{', '.join(sorted(component.names))}; neither can be first",
                layer.name,
                "direction",
            )


def _strongly_connected(layers: dict[str, Layer]) -> list[list[str]]:
    """Return the components' names; a component comes after all that it reads."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    found: list[list[str]] = []
    for root in layers:
        if root in index:
            continue
        work = [(root, 0)]
        while work:
            name, place = work.pop()
            if place == 0:
                index[name] = low[name] = len(index)
                stack.append(name)
                on_stack.add(name)
            sources = layers[name].sources
            if place and sources[place - 1].source in on_stack:
                low[name] = min(low[name], low[sources[place - 1].source])
            while place < len(sources) and sources[place].source in index:
                if sources[place].source in on_stack:
                    low[name] = min(low[name], index[sources[place].source])
                place += 1
            if place < len(sources):
                work += [(name, place + 1), (sources[place].source, 0)]
                continue
            if low[name] == index[name]:
                found.append(_cut(stack, on_stack, name))
    return found


def _cut(stack: list[str], on_stack: set[str], name: str) -> list[str]:
    """Take a component off the stack, down to its first layer."""
    component: list[str] = []
    while not component or component[-1] != name:
        component.append(stack.pop())
    on_stack.difference_update(component)
    return component


def _order_in_a_step(layers: list[Layer]) -> list[Layer]:
    """Sort a component by its edges without shift; NetError with the names where they go in a circle."""
    by_name = {layer.name: layer for layer in layers}
    done: dict[str, Layer] = {}
    for root in by_name:
        path: list[str] = [] if root in done else [root]
        while path:
            name = path[-1]
            ahead = (e.source for e in by_name[name].sources if e.kind == "same" and e.shift == 0)
            waiting = next((source for source in ahead if source in by_name and source not in done), None)
            if waiting is None:
                done[name] = by_name[name]
                path.pop()
            elif waiting in path:
                circle = [*path[path.index(waiting) :], waiting]
                raise NetError(
                    f"the layers {' <- '.join(circle)} read each other within one step; "
                    "give one of these edges a shift of 1 or more",
                    name,
                    "sources",
                )
            else:
                path.append(waiting)
    return list(done.values())
