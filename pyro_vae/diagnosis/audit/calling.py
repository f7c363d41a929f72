"""How a loss wants to be called: which of its parameters is which, and which one is a weight."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

__all__: list[str] = []

Role = Literal["x", "x_hat", "mean", "log_var"]
Parametrisation = Literal["log-variance", "log-std", "variance", "std"]

ROLES: tuple[Role, ...] = ("x", "x_hat", "mean", "log_var")

_WEIGHT = re.compile(
    r"(^|_)(beta|kl|kld|kldiv|alpha|gamma|lambda|lambd|lam|anneal\w*|warm\w*|coeff?|weight|w)(_|$)"
)
_X_HAT = re.compile(
    r"hat$|^recon|_recon|^rec(s|_|$)|_rec$|decod|pred|logit|tilde|prime|^outp?u?t?s?$|^gen|^y$"
)
_MEAN = re.compile(r"(^|_)(mu|mean|means|loc|mus)(_|$|\d)|^zmean$|^zmu$")
_X = re.compile(
    r"^(x|xs|data|batch|inputs?|targets?|images?|imgs?|real|truth|gt|obs|samples?)$"
    r"|orig|(^|_)true$|^x_(in|input|real|target|0)$|_(input|target)s?$"
)


@dataclass(frozen=True)
class Binding:
    """The parameters of a loss, matched with what an audit can give.

    Attributes:
        order: Each parameter that gets a tensor: its name, None for one of ``*args``, and its role.
        keywords: Those of them that are accepted by name only.
        weights: Parameters that look like a weight, and the value they are audited at.
        assumed: Those of the weights that have no default, or 0.
        scale: What the name of the last argument says it is; None if it says nothing.
    """

    name: str
    order: tuple[tuple[str | None, Role], ...]
    keywords: frozenset[str]
    weights: Mapping[str, float]
    assumed: frozenset[str]
    scale: Parametrisation | None

    def call(
        self,
        function: Callable[..., Any],
        tensors: Mapping[Role, Any],
        weights: Mapping[str, float],
    ) -> Any:
        """Call the function with a tensor for each role."""
        positional = [tensors[role] for name, role in self.order if name not in self.keywords]
        named = {name: tensors[role] for name, role in self.order if name in self.keywords}
        return function(*positional, **{str(n): t for n, t in named.items()}, **weights)

    def argument(self, role: Role) -> str:
        """The function's own name for a role."""
        return next((name for name, found in self.order if found == role and name), role)

    def describe(self) -> str:
        """The mapping in words, as Python would write the call."""
        parts = [role if name is None else f"{name}={role}" for name, role in self.order]
        parts += [f"{name}={self.weights[name]:g}" for name in self.weights]
        return f"{self.name}({', '.join(parts)})"


def bind(function: Callable[..., Any]) -> Binding:
    """Match the parameters of a loss with x, x_hat, mean and log_var.

    Names decide; parameters whose name says nothing take the remaining roles in this order.

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
        return Binding(name, plain, frozenset(), {}, frozenset(), None)
    star = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    parameters = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    weights = {p.name: _default(p) for p in parameters if _is_weight(p)}
    candidates = [p for p in parameters if p.name not in weights and p.default in (p.empty, None)]
    found = _match(candidates)
    missing = [role for role in ROLES if role not in found.values()]
    if missing and not star:
        raise ValueError(
            f"{name}({', '.join(p.name for p in parameters)}) was tried with (x, x_hat, mean, "
            f"log_var), by name and by position: no parameter is left for {', '.join(missing)}"
        )
    stray = [p.name for p in candidates if p.name not in found and p.default is p.empty]
    if stray:
        raise ValueError(
            f"{name} was tried with (x, x_hat, mean, log_var): it also needs {', '.join(stray)}; "
            "wrap it in a function of the four that passes the rest"
        )
    order: list[tuple[str | None, Role]] = [
        (p.name, found[p.name]) for p in parameters if p.name in found
    ]
    order += [(None, role) for role in missing]
    keyword_only = frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
    keyword_only |= _after_a_gap(parameters, found)
    scale = next((_scale(n) for n, role in found.items() if role == "log_var"), None)
    assumed = frozenset(
        p.name for p in parameters if p.name in weights and p.default in (p.empty, 0)
    )
    return Binding(name, tuple(order), keyword_only, weights, assumed, scale)


def _match(parameters: list[inspect.Parameter]) -> dict[str, Role]:
    found: dict[str, Role] = {}
    for parameter in parameters:
        role = role_of(parameter.name)
        if role is not None and role not in found.values():
            found[parameter.name] = role
    rest = [role for role in ROLES if role not in found.values()]
    nameless = [p.name for p in parameters if p.name not in found and p.default is p.empty]
    found.update(zip(nameless, rest, strict=False))
    return found


def _after_a_gap(parameters: list[inspect.Parameter], found: Mapping[str, Role]) -> frozenset[str]:
    """Parameters that follow one left at its default have to be passed by name."""
    names: set[str] = set()
    gap = False
    for parameter in parameters:
        if parameter.name not in found:
            gap = True
        elif gap and parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            names.add(parameter.name)
    return frozenset(names)


def _is_weight(parameter: inspect.Parameter) -> bool:
    plain = isinstance(parameter.default, int | float) and not isinstance(parameter.default, bool)
    return bool(_WEIGHT.search(parameter.name.lower())) and (
        plain or parameter.default is parameter.empty
    )


def _default(parameter: inspect.Parameter) -> float:
    # A weight of 0 hides its term, so that nothing could be said about it.
    return 1.0 if parameter.default is parameter.empty else float(parameter.default) or 1.0


def role_of(name: str) -> Role | None:
    """The role that a parameter's name gives it, if any."""
    plain = name.lower().strip("_")
    if _X_HAT.search(plain):
        return "x_hat"
    if _scale(plain) is not None:
        return "log_var"
    if _MEAN.search(plain):
        return "mean"
    return "x" if _X.search(plain) else None


def _scale(name: str) -> Parametrisation | None:
    plain = name.lower().strip("_")
    squared = re.search(r"var|sigma_?2|sigma_?sq|std_?2", plain)
    if re.search(r"log", plain) and squared:
        return "log-variance"
    if re.search(r"log.*(std|sig|scale)", plain):
        return "log-std"
    if squared:
        return "variance"
    return "std" if re.search(r"(^|_)(std|stddev|sigma|sigmas|scale|sd)(_|$)", plain) else None
