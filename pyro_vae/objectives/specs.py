"""Objectives by name, as on the command line."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable

from .analytic import CapacityELBO, FreeBitsELBO, MeanFieldELBO
from .base import Objective
from .sampled import DoublyReparameterizedELBO, ImportanceWeightedELBO, RenyiELBO, TraceELBO

__all__ = ["parse"]

FORMS = {
    "trace": "trace",
    "mean-field": "mean-field",
    "iwae": "iwae:K",
    "dreg": "dreg:K",
    "renyi": "renyi:alpha",
    "free-bits": "free-bits:nats",
    "capacity": "capacity:nats,gamma=g",
}
"""How each objective is written; all take ``K=`` besides."""

_TYPES: dict[str, tuple[Callable[..., Objective], str | None]] = {
    "trace": (TraceELBO, None),
    "mean-field": (MeanFieldELBO, None),
    "iwae": (ImportanceWeightedELBO, "num_particles"),
    "dreg": (DoublyReparameterizedELBO, "num_particles"),
    "renyi": (RenyiELBO, "alpha"),
    "free-bits": (FreeBitsELBO, "nats"),
    "capacity": (CapacityELBO, "capacity"),
}
"""Class, and the argument that stands alone after the colon."""


def parse(text: str, *, max_plate_nesting: float = math.inf) -> Objective:
    """Make an objective from its text.

    Args:
        text: ``name``, ``name:value`` or ``name:value,key=value``: ``trace``, ``mean-field``,
            ``iwae:10``, ``dreg:10``, ``renyi:0.5``, ``free-bits:0.25``, ``capacity:25,gamma=100``;
            each takes ``K=`` for its particles, as in ``renyi:0.5,K=10``.
        max_plate_nesting: See :class:`Objective`.

    Returns:
        The objective; its ``str`` is the text.

    Raises:
        ValueError: One line with what was given and what is accepted.

    Example:
        >>> str(parse("iwae:10")), parse("renyi:0.5,K=3").num_particles
        ('iwae:10', 3)
        >>> parse("iwea:10")
        Traceback (most recent call last):
        ValueError: unknown objective 'iwea': did you mean 'iwae'? Accepted: trace, mean-field, \
iwae:K, dreg:K, renyi:alpha, free-bits:nats, capacity:nats,gamma=g
    """
    if not isinstance(text, str):
        raise TypeError(f"an objective is given as text, got {type(text).__name__}")
    name, colon, rest = text.strip().partition(":")
    if name not in _TYPES:
        near = difflib.get_close_matches(name, FORMS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown objective {name!r}: {hint}Accepted: {', '.join(FORMS.values())}")
    make, alone = _TYPES[name]
    try:
        arguments = _arguments(rest.split(",") if colon else [], name, alone)
        if alone is not None and alone not in arguments:
            raise ValueError(f"expected a value, as in {FORMS[name]}")
        return make(**arguments, max_plate_nesting=max_plate_nesting)
    except ValueError as error:
        raise ValueError(f"objective {text!r}: {error}") from None


def _arguments(words: list[str], name: str, alone: str | None) -> dict[str, float]:
    keys = {"K": "num_particles"} | ({"gamma": "gamma"} if name == "capacity" else {})
    arguments: dict[str, float] = {}
    for position, word in enumerate(words):
        key, equals, value = (part.strip() for part in word.rpartition("="))
        argument = keys.get(key) if equals else alone if position == 0 else None
        if argument is None:
            accepted = ", ".join(f"{key}=" for key in keys)
            raise ValueError(f"unexpected {word!r}, accepted: {FORMS[name]} and {accepted}")
        if argument in arguments:
            raise ValueError(f"{argument} is given twice")
        arguments[argument] = _number(value, whole=argument == "num_particles")
    return arguments


def _number(word: str, *, whole: bool) -> float:
    if whole:
        if not re.fullmatch("[0-9]{1,6}", word):
            raise ValueError(f"K must be a positive integer up to 999,999, got {word[:20]!r}")
        return int(word)
    try:
        return float(word)
    except ValueError:
        raise ValueError(f"expected a number, got {word!r}") from None
