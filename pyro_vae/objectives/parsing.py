"""Objectives by name, as on the command line."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from pyro_vae.errors import unknown_form
from pyro_vae.texts import Word, arguments

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
        pyro_vae.errors.InputError: unknown objective 'iwea': did you mean 'iwae'? Accepted: \
capacity:nats,gamma=g, dreg:K, free-bits:nats, iwae:K, mean-field, renyi:alpha, trace
    """
    if not isinstance(text, str):
        raise TypeError(f"an objective is given as text, got {type(text).__name__}")
    name, rest = Word(text).pair(":")
    if name not in _TYPES:
        raise unknown_form("objective", name, FORMS)
    make, alone = _TYPES[name]
    try:
        given = _arguments(rest, name, alone)
        if alone is not None and alone not in given:
            raise ValueError(f"expected a value, as in {FORMS[name]}")
        return make(**given, max_plate_nesting=max_plate_nesting)
    except ValueError as error:
        raise ValueError(f"objective {text!r}: {error}") from None


def _arguments(rest: Word | None, name: str, alone: str | None) -> dict[str, float]:
    keys = {"K": "num_particles"} | ({"gamma": "gamma"} if name == "capacity" else {})
    accepted = f"accepted: {FORMS[name]} and {', '.join(f'{key}=' for key in keys)}"
    values, options = arguments(rest, 0 if alone is None else 1, [*keys], accepted)
    given = {keys[key]: value for key, value in options.items()}
    if alone is not None and values:
        if alone in given:
            raise ValueError(f"{alone} is given twice")
        given[alone] = values[0]
    return {name: _number(word, whole=name == "num_particles") for name, word in given.items()}


def _number(word: str, *, whole: bool) -> float:
    if whole:
        if not re.fullmatch("[0-9]{1,6}", word):
            raise ValueError(f"K must be a positive integer up to 999,999, got {word[:20]!r}")
        return int(word)
    try:
        return float(word)
    except ValueError:
        raise ValueError(f"expected a number, got {word!r}") from None
