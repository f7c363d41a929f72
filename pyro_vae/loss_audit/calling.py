"""How a loss wants to be called: which of its parameters is which, and which are numbers."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from pyro_vae.loss_audit import wording
from pyro_vae.loss_audit.binding import Binding
from pyro_vae.loss_audit.standins import MASKS
from pyro_vae.loss_audit.wording import ROLES, Role

__all__: list[str] = []

_EMPTY = inspect.Parameter.empty
#: Orders of several tensors in one argument, the commonest first.
_ORDERS: dict[int, tuple[tuple[Role, ...], ...]] = {
    4: (("x_hat", "x", "mean", "log_var"), ("x", "x_hat", "mean", "log_var")),
    3: (("x_hat", "mean", "log_var"),),
    2: (("mean", "log_var"),),
}
#: How far the names of another binding may fall behind, for what the loss does to decide.
_DOUBT = 2
_MOST = 12
#: Keys that a function takes from its keyword arguments, by what it calls these.
_KEYS = r"""\b{}(?:\.get\(|\.pop\(|\[)\s*['"](\w+)['"]"""


def candidates(function: Callable[..., Any]) -> list[Binding]:
    """The ways to match the parameters of a loss with x, x_hat, mean and log_var, best first.

    Names decide as far as they go; where another way falls little behind it is listed as well, for
    what the loss does with its arguments to tell. Parameters whose names say nothing take the
    remaining roles in the order above.

    Raises:
        TypeError: If it is no function.
        ValueError: If a role has no parameter, or a parameter has no role.
    """
    if not callable(function):
        raise TypeError(f"loss_fn is {type(function).__name__}; a function is needed")
    name = getattr(function, "__name__", type(function).__name__)
    described = function.forward if isinstance(function, nn.Module) else function
    try:
        parameters = list(inspect.signature(described).parameters.values())
    except (TypeError, ValueError):
        plain = tuple((None, role) for role in ROLES)
        return [Binding(name, plain, frozenset(), {}, frozenset(), None)]
    star = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if star and len(named) < len(ROLES):
        return _starred(name, named, described)
    mapping = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None)
    if mapping is not None and not named:
        keys = dict.fromkeys(re.findall(_KEYS.format(mapping), _source(described)))
        named = [inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY) for key in keys]
    return _named(name, named)


def _named(name: str, parameters: Sequence[inspect.Parameter]) -> list[Binding]:
    numbers = {p.name for p in parameters if _numeric(p.default)}
    bare = [p for p in parameters if p.default is _EMPTY]
    others = {p.name: what for p in parameters if (what := wording.other(p.name))}
    takers = [p for p in bare if p.name not in others]
    if len(takers) > len(ROLES):
        numbers |= {p.name for p in takers if _a_number(p.name)}
        takers = [p for p in takers if p.name not in numbers]
    if len(takers) > len(ROLES):
        # A decoder's own variance, a condition, labels: the code's mean and scale come first.
        others |= {p.name: what for p in takers if (what := wording.beside(p.name))}
        takers = [p for p in takers if p.name not in others]
    if len(takers) < len(ROLES):
        takers += [
            p for p in parameters
            if p.default is not _EMPTY and (p.default is None or _numeric(p.default))
            and p.name not in others and max(wording.scores(p.name).values()) >= 2
        ]  # fmt: skip
    found = _matches(takers)
    if not found:
        found = _wholes(takers)
    if not found:
        raise ValueError(_unmatched(name, parameters, takers))
    made = []
    for match, standing in found:
        taken = {**match, **{p.name: others[p.name] for p in bare if p.name in others}}
        stray = [p.name for p in bare if p.name not in taken and p.name not in numbers]
        if stray:
            raise ValueError(_strayed(name, match, stray))
        order = tuple((p.name, taken[p.name]) for p in parameters if p.name in taken)
        kept = [p for p in parameters if p.name in numbers and p.name not in taken]
        last = next((key for key, what in match.items() if what == "log_var"), None)
        keywords = _after_a_gap(parameters, taken) | {
            p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name in taken
        }
        weights = {p.name: 1.0 if p.default is _EMPTY else p.default for p in kept}
        assumed = frozenset(p.name for p in kept if p.default is _EMPTY)
        scale = None if last is None else wording.scale_of(last)
        made.append(Binding(name, order, frozenset(keywords), weights, assumed, scale, standing))
    return [variant for binding in made for variant in _masked(binding)]


def _masked(binding: Binding) -> list[Binding]:
    """A binding for each kind of mask that a parameter may want."""
    if not any(what in ("mask", "pad") for _, what in binding.order):
        return [binding]
    variants = []
    for kept, padded in MASKS:
        kind = {"mask": kept, "pad": padded}
        order = tuple((name, kind.get(what, what)) for name, what in binding.order)
        variants.append(replace(binding, order=order))
    return variants


def _matches(takers: Sequence[inspect.Parameter]) -> list[tuple[dict[str, str], int]]:
    """Assignments of the four roles by how well the names fit, then by the usual order."""
    if len(takers) < len(ROLES):
        return []
    points = {p.name: wording.scores(p.name) for p in takers}
    rated = []
    for number, chosen in enumerate(itertools.permutations(takers, len(ROLES))):
        pairs = list(zip(chosen, ROLES, strict=True))
        # A name that says something else is worse than one that says nothing.
        standing = sum(
            points[p.name][role] - (max(points[p.name].values()) and not points[p.name][role])
            for p, role in pairs
        )
        optional = sum(p.default is not _EMPTY for p in chosen)
        rated.append((-standing, optional, number, {p.name: str(role) for p, role in pairs}))
    rated.sort(key=lambda found: found[:3])
    best = rated[0][0]
    return [(match, -cost) for cost, _, _, match in rated if cost <= best + _DOUBT][:_MOST]


def _wholes(takers: Sequence[inspect.Parameter]) -> list[tuple[dict[str, str], int]]:
    """Fewer parameters than roles: one of them holds several tensors, or a posterior."""
    found: list[tuple[dict[str, str], int]] = []
    for whole in takers:
        rest = [p for p in takers if p is not whole]
        orders = _ORDERS.get(len(ROLES) - len(rest), ())
        usable = wording.is_whole(whole.name) or wording.is_posterior(whole.name)
        if not usable and max(wording.scores(whole.name).values()):
            continue
        for order in orders:
            left = [role for role in ROLES if role not in order]
            if len(left) != len(rest):
                continue
            for chosen in itertools.permutations(rest):
                points = [wording.scores(p.name)[r] for p, r in zip(chosen, left, strict=True)]
                match = {p.name: str(role) for p, role in zip(chosen, left, strict=True)}
                packed = {n: f"{r}," for n, r in match.items() if wording.is_whole(n)}
                standing = sum(points) + 2 * usable
                code = order == ("mean", "log_var")
                if code and wording.is_posterior(whole.name):
                    found.append(({**match, whole.name: "posterior"}, standing + 1))
                found.append(({**match, whole.name: ",".join(order)}, standing))
                if packed:
                    both = {**match, **packed, whole.name: ",".join(order)}
                    found.append((both, standing - 1))
                if code and not wording.is_posterior(whole.name):
                    found.append(({**match, whole.name: "posterior"}, standing))
    found.sort(key=lambda pair: -pair[1])
    return found[:_MOST]


def _starred(
    name: str, named: Sequence[inspect.Parameter], function: Callable[..., Any]
) -> list[Binding]:
    """``*args, **kwargs``: the source says what they are called, the usual orders are tried."""
    source = _source(function)
    keys = re.findall(_KEYS.format("kwargs"), source)
    args = {int(n): key for key, n in re.findall(r"(\w+)\s*=\s*\*?args\[(\d)\]", source)}
    unpacked = re.search(r"((?:\w+\s*,\s*){3}\w+)\s*=\s*args", source)
    if unpacked:
        args = dict(enumerate(part.strip() for part in unpacked[1].split(",")))
    weights: dict[str, float] = {p.name: p.default for p in named if _numeric(p.default)}
    weights |= dict.fromkeys(keys, 1.0)
    front = [p for p in named if p.default is _EMPTY]
    orders: list[tuple[Role, ...]] = [ROLES, ("x_hat", "x", "mean", "log_var")]
    if len(args) >= len(ROLES):
        rated = sorted(
            itertools.permutations(ROLES),
            key=lambda order: -sum(wording.scores(args[n])[r] for n, r in enumerate(order)),
        )
        orders = rated[:1]
    if front:
        orders = [order for order in orders if wording.role_of(front[0].name) in (None, order[0])]
    scale = wording.scale_of(args[3]) if len(args) >= len(ROLES) else None
    return [
        Binding(
            name, tuple((None, str(role)) for role in order), frozenset(), weights,
            frozenset(keys), scale,
        )
        for order in orders or [ROLES]
    ]  # fmt: skip


def _source(function: Callable[..., Any]) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return ""


def _after_a_gap(parameters: Sequence[inspect.Parameter], found: Mapping[str, str]) -> set[str]:
    """Parameters that follow one left at its default have to be passed by name."""
    names: set[str] = set()
    gap = False
    for parameter in parameters:
        if parameter.name not in found:
            gap = True
        elif gap and parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            names.add(parameter.name)
    return names


def _numeric(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _a_number(name: str) -> bool:
    return wording.is_number(name) and not max(
        score for role, score in wording.scores(name).items() if role != "log_var"
    )


def _unmatched(
    name: str, parameters: Sequence[inspect.Parameter], takers: Sequence[inspect.Parameter]
) -> str:
    told = [role for role in (wording.role_of(p.name) for p in takers) if role]
    free = len(takers) - len(told)
    missing = [role for role in ROLES if role not in told][free:]
    names = [p.name for p in parameters]
    if names[:1] == ["self"]:
        return f"{name} is a method without its object; give the method of an instance"
    return (
        f"{name}({', '.join(names)}) was tried with (x, x_hat, mean, log_var), by name and by "
        f"position: no parameter is left for {', '.join(missing)}. {_wrapper(name, names, {})}"
    )


def _strayed(name: str, match: Mapping[str, str], stray: Sequence[str]) -> str:
    return (
        f"{name} was tried with (x, x_hat, mean, log_var): it also needs {', '.join(stray)}; wrap "
        f"it in a function of the four that passes the rest. {_wrapper(name, stray, match)}"
    )


def _wrapper(name: str, names: Sequence[str], match: Mapping[str, str]) -> str:
    """The line to write where nothing else helps."""
    passed = [f"{key}={what}" for key, what in match.items()]
    passed += [f"{key}=..." for key in names if key not in match]
    shown = name if name.isidentifier() else "f"
    return f"Write: def four(x, x_hat, mean, log_var): return {shown}({', '.join(passed)})"
