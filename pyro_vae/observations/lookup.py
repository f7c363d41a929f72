"""Observations by name: stock ones, those of installed packages, and a user's own by its path."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from importlib import resources

from pyro_vae import lookup
from pyro_vae.errors import InputError, unknown
from pyro_vae.heads import Head, Param
from pyro_vae.observations.table import TABLE, Entry

__all__ = ["available", "costs", "get", "resolve"]

_WHAT = "observation"
_MEANT = {
    **dict.fromkeys(("mse", "l2", "gaussian"), "normal-learned-sigma"),
    **dict.fromkeys(("l1", "mae"), "laplace"),
    **dict.fromkeys(("bce", "cross-entropy", "binary-cross-entropy"), "bernoulli"),
}
"""What losses and other libraries call observations."""


def available() -> dict[str, Entry | None]:
    """Every name that :func:`get` takes; None for one of another package, not yet imported.

    A stock name cannot be taken by another package.
    """
    return {**dict.fromkeys(lookup.installed(_WHAT)), **TABLE}


@cache
def costs() -> dict[str, float]:
    """A training step's cost against Bernoulli's, as ``benchmarks.observations`` measured it."""
    file = resources.files("pyro_vae.observations").joinpath("costs.json")
    return dict(json.loads(file.read_text(encoding="utf-8"))["times bernoulli"])


def get(
    name: str,
    levels: str | None = None,
    interval: tuple[float, float] | None = None,
    scaled: bool | None = None,
    **parameters: Param | str | float | tuple[int, ...],
) -> Head:
    """A stock observation's head, or one of an installed package, with changes.

    Args:
        name: A key of :data:`~pyro_vae.observations.TABLE`, or a name that an installed package
            declares in the entry-point group ``pyro_vae.observations``.
        levels: Other levels than its own, as ``"binary"`` for binarised pixels.
        interval: Where the data's range lies, (0, 1) by default.
        scaled: Whether ``scale`` counts in units of the interval's width.
        **parameters: As in :meth:`~pyro_vae.heads.Head.replace`: a number, a scope's name or a
            :class:`~pyro_vae.heads.Param`.

    Raises:
        InputError: If there is no such observation or parameter (names the nearest), or a
            package's entry is no head.

    Example:
        >>> get("normal-learned-sigma", scale="pixel").parameters[1][1].scope
        'pixel'
    """
    if name in TABLE:
        head = TABLE[name].head
    elif point := lookup.installed(_WHAT).get(name):
        head = _as_head(lookup.loaded(_WHAT, point), point.value)
    else:
        raise unknown(_WHAT, name, available(), _MEANT)
    return replace(head, name=name).replace(levels, interval, scaled, **parameters)


def resolve(path: str) -> Head:
    """The head at ``package.module:attribute``; the module is imported, so its code runs.

    Modules in the working directory are found too.

    Raises:
        InputError: If the module does not import, lacks the attribute, or that is no head.
    """
    return _as_head(lookup.at_path(_WHAT, path), path)


def _as_head(value: object, path: str) -> Head:
    if isinstance(value, Entry):
        return value.head
    if isinstance(value, Head):
        return value
    if callable(value) and isinstance(getattr(value, "num_raw", None), int):
        return Head.wrap(value)
    raise InputError(
        f"observation {path!r} is of type {type(value).__name__}: it must be a pyro_vae.Head, or a "
        "function raw → distribution with an integer attribute num_raw"
    )
