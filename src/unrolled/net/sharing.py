"""Parameters of one name are one parameter: layers that share, gates of it, and how fast it learns."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from torch import nn

from unrolled.cells import GatedCell
from unrolled.errors import NetError
from unrolled.net.params import Cells, owners, params_of
from unrolled.net.spec import Layer, Param, Spec

Modules = Mapping[str, nn.Module]


class Place(NamedTuple):
    """Where a parameter is: a layer, and the role that it has there."""

    layer: str
    role: str


def share(spec: Spec, modules: Modules, cells: Cells, kept: Collection[str]) -> None:
    """Make parameters of one name one parameter, and freeze those that never learn.

    Those of the layers ``kept`` stay what they are. NetError where parameters can't be one.
    """
    known = owners(spec, cells)
    first: dict[str, Place] = {}
    groups: dict[Place, dict[str | None, str]] = {}
    for layer in sorted(spec, key=lambda layer: layer.name not in kept):
        for role, params in _by_role(layer, cells).items():
            _check_role(modules, layer, role, params)
            here = Place(layer.name, role)
            stored = {param.gate: known[param.name][1] for param in params}
            there = {first[name] for name in stored.values() if name in first}
            if not there:
                first.update(dict.fromkeys(stored.values(), here))
                groups[here] = stored
                continue
            owner = min(there)
            if len(there) > 1 or groups[owner] != stored or not _is_whole(modules, here, params):
                raise NetError(
                    f"layer '{layer.name}' shares only a part of '{role}' with layer '{owner.layer}'; "
                    "share all of its gates, or none",
                    layer.name,
                    "params",
                )
            _make_one(modules, here, owner, next(iter(stored.values())))
    for place, (lr, _) in scales(spec, modules, cells).items():
        if lr == 0:
            parameter_of(modules[place.layer], place.role).requires_grad_(False)


def scales(spec: Spec, modules: Modules, cells: Cells) -> dict[Place, tuple[float, float]]:
    """Return what multiplies learning rate and weight decay, for each parameter that says so.

    Of layers that share a parameter one may say it for all; NetError where two say two things.
    """
    said: dict[nn.Parameter, tuple[Place, tuple[float, float]]] = {}
    places: dict[Place, nn.Parameter] = {}
    for layer in spec:
        for role, params in _by_role(layer, cells).items():
            here, scale = Place(layer.name, role), _one_scale(modules, layer, role, params)
            parameter = places[here] = parameter_of(modules[layer.name], role)
            if scale == (1.0, 1.0):
                continue
            other, wanted = said.setdefault(parameter, (here, scale))
            if scale != wanted:
                raise NetError(
                    f"layer '{layer.name}' shares '{role}' with layer '{other.layer}', where it learns at "
                    "another rate; give both one lr and one decay, or one of them alone",
                    layer.name,
                    "params",
                )
    return {place: said[parameter][1] for place, parameter in places.items() if parameter in said}


def parameter_of(module: nn.Module, role: str) -> nn.Parameter:
    """Return a module's parameter by the name it has there."""
    path, _, last = role.rpartition(".")
    found = getattr(module.get_submodule(path), last)
    assert isinstance(found, nn.Parameter)
    return found


def gates_of(module: nn.Module, role: str) -> tuple[str, ...]:
    """Return the gates that are packed in a parameter, in order; none where it is no packed one."""
    if not isinstance(module, GatedCell):
        return ()
    whole = parameter_of(module, role)
    if whole is module.h_bias:
        return tuple(gate for gate in module.gates if gate in module.split)
    packed = (module.x_to_gates, module.h_to_gates, module.bias)
    return module.gates if any(whole is part for part in packed) else ()


def _by_role(layer: Layer, cells: Cells) -> dict[str, list[Param]]:
    roles: dict[str, list[Param]] = {}
    for param in params_of(layer, cells):
        roles.setdefault(param.role, []).append(param)
    return roles


def _check_role(modules: Modules, layer: Layer, role: str, params: list[Param]) -> None:
    """Raise NetError unless a layer has a parameter, and its gates, each listed once."""
    names = [name for name, _ in modules[layer.name].named_parameters()]
    if role not in names:
        have = ", ".join(names) or "none"
        raise NetError(
            f"layer '{layer.name}' ({layer.type}) has no parameter '{role}'; it has {have}",
            layer.name,
            "params",
        )
    gates = gates_of(modules[layer.name], role)
    told = [param.gate for param in params]
    for gate in told:
        if gate is not None and gate not in gates:
            have = f"it has {', '.join(gates)}" if gates else "it has none"
            raise NetError(
                f"layer '{layer.name}', parameter '{role}': there is no gate '{gate}'; {have}",
                layer.name,
                "params",
            )
        if told.count(gate) > 1 or (gate is None and len(told) > 1):
            raise NetError(
                f"layer '{layer.name}' lists '{role}' twice; list it once, or each of its gates once",
                layer.name,
                "params",
            )


def _one_scale(modules: Modules, layer: Layer, role: str, params: list[Param]) -> tuple[float, float]:
    found = {(param.lr, param.decay) for param in params}
    whole = _is_whole(modules, Place(layer.name, role), params)
    if len(found) > 1 or (found != {(1.0, 1.0)} and not whole):
        raise NetError(
            f"layer '{layer.name}': the gates of '{role}' are one parameter here and learn "
            "at one rate; give them one lr and one decay",
            layer.name,
            "params",
        )
    return found.pop()


def _is_whole(modules: Modules, here: Place, params: list[Param]) -> bool:
    """Tell whether a parameter is listed with all of its gates, each under a name of its own."""
    names = {param.name for param in params}
    gates = gates_of(modules[here.layer], here.role)
    return params[0].gate is None or len(gates) == len(params) == len(names)


def _make_one(modules: Modules, here: Place, owner: Place, name: str) -> None:
    theirs = parameter_of(modules[owner.layer], owner.role)
    mine = parameter_of(modules[here.layer], here.role)
    if theirs.shape != mine.shape:
        raise NetError(
            f"parameter '{name}' is {list(theirs.shape)} in layer '{owner.layer}' and {list(mine.shape)} in "
            f"layer '{here.layer}'; only equal shapes can be shared",
            here.layer,
            "params",
        )
    path, _, last = here.role.rpartition(".")
    setattr(modules[here.layer].get_submodule(path), last, theirs)
