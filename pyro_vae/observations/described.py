"""Heads of the table as plain data, and back: what a run keeps of its observation."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from pyro_vae import specs
from pyro_vae.errors import InputError, unknown
from pyro_vae.heads import Head, Param
from pyro_vae.observations.lookup import get
from pyro_vae.types import JSON, Fields

__all__ = ["read", "spec"]

_NOT_PLAIN = ("family", "parameters", "display", "parameter")
"""Fields of functions: they are what the table has by the head's name, or it is not described."""
_CHECKED = ("levels", "interval", "scaled")
"""Those that :meth:`~pyro_vae.heads.Head.replace` checks."""


def spec(head: Head) -> JSON | None:
    """A stock head, or an installed package's, as plain data.

    Returns:
        Its name and all its fields, ``changes`` under the name of ``parameters``; None for a head
        that the user must bring along.
    """
    try:
        own = {f.name: getattr(head, f.name) for f in fields(head) if f.name not in _NOT_PLAIN}
        changes = {name: _fields(param) for name, param in own.pop("changes")}
        said = {**specs.plain(own), "parameters": changes}
        return said if read(said) == head else None
    except (TypeError, ValueError):  # InputError, of a name that nothing has, among them
        return None


def _fields(param: Param) -> JSON:
    said = {f.name: getattr(param, f.name) for f in fields(param)}
    return dict(specs.plain({name: v for name, v in said.items() if v is not None}))


def read(said: Fields) -> Head:
    """The head that :func:`spec` described.

    Raises:
        InputError: If nothing has its name, or it has an unknown field or one out of range.
        KeyError: If it has no name.
        TypeError: If it is no description.
    """
    rest = specs.made(said)
    name, changes = rest.pop("name"), rest.pop("parameters")
    known = [f.name for f in fields(Head) if f.name not in (*_NOT_PLAIN, "changes")]
    for key in rest:
        if key not in known:
            raise unknown("field of an observation", key, known)
    changed: dict[str, Any] = {key: rest.pop(key) for key in _CHECKED if key in rest}
    changed |= {key: Param(**param) for key, param in changes.items()}
    if not isinstance(name, str):
        raise InputError(f"an observation has a name, got {name!r}")
    return replace(get(name, **changed), **rest)
