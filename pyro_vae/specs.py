"""Components as plain data: a table's dataclasses by their name with all their fields.

``{"name": "iaf", "steps": 2, "hidden": 128}`` is what is saved; a command line's text for it is
``iaf`` or ``iaf:2``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from numbers import Integral, Real
from typing import Any

from pyro_vae.errors import InputError, unknown

__all__ = ["described", "forms", "made", "plain", "read", "short"]


def read(what: str, text: Any, table: Mapping[str, type[Any]]) -> Any:
    """The component that a text or a description names.

    Args:
        what: What it is, for messages.
        text: ``name``, ``name:N`` for the component's first field, or what :func:`described` gave;
            a function is given back as it is.
        table: Names and their dataclasses.

    Raises:
        InputError: If the name is unknown (it names the nearest), N is no positive integer, a
            description has an unknown field, or what is given is none of these.
    """
    if isinstance(text, Mapping):
        return _of_fields(what, text, table)
    if callable(text):
        return text
    if not isinstance(text, str):
        raise InputError(f"{what} must be a name or a function that makes a module, got {text!r}")
    name, colon, number = text.strip().partition(":")
    if name not in table:
        raise unknown(what, name, forms(table))
    if not colon:
        return table[name]()
    known = fields(table[name])
    if not known:
        raise InputError(f"{what} {name} takes no number, got {text!r}")
    if not (number.isascii() and number.isdigit() and int(number[:9]) > 0 and len(number) < 9):
        raise InputError(
            f"{what} {name} takes a positive integer, as in {name}:{known[0].default}; got {text!r}"
        )
    return table[name](int(number))


def _of_fields(what: str, spec: Mapping[str, Any], table: Mapping[str, type[Any]]) -> Any:
    name = spec.get("name")
    if not isinstance(name, str) or name not in table:
        raise unknown(what, name, forms(table))
    known = [field.name for field in fields(table[name])]
    given = {key: value for key, value in spec.items() if key != "name"}
    for key in given:
        if key not in known:
            raise unknown(f"field of {what} {name}", key, known)
    return table[name](**made(given))


def described(component: Any, table: Mapping[str, type[Any]]) -> dict[str, Any] | None:
    """A component as plain data, from which :func:`read` makes an equal one.

    Args:
        component: An instance of one of the table's dataclasses.
        table: Names and their dataclasses.

    Returns:
        Its name and all its fields; None for what is not in the table, as a subclass, and for what
        plain data do not give back.
    """
    for name, kind in table.items():
        if type(component) is kind:
            try:
                own = {f.name: plain(getattr(component, f.name)) for f in fields(kind)}
                spec = {"name": name, **own}
                return spec if _of_fields(name, spec, table) == component else None
            except (TypeError, ValueError):
                return None
    return None


def plain(value: Any) -> Any:
    """A value as JSON has it; numbers of numpy and torch become Python's.

    Raises:
        TypeError: If it, or a part of it, is no plain data.
        ValueError: If it is an array of several numbers.

    Example:
        >>> plain({"shape": (3, 2), "floor": None})
        {'shape': [3, 2], 'floor': None}
    """
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if callable(getattr(value, "item", None)):
        return plain(value.item())
    raise TypeError(f"{type(value).__name__} is no plain data")


def made(value: Any) -> Any:
    """The value that :func:`plain` was given, where its lists were tuples."""
    if isinstance(value, list):
        return tuple(made(part) for part in value)
    if isinstance(value, Mapping):
        return {key: made(part) for key, part in value.items()}
    return value


def short(spec: Mapping[str, Any] | None) -> str | None:
    """What people call what :func:`described` gave: its name and first field, as ``iaf:2``."""
    if spec is None:
        return None
    name, *first = list(spec.values())[:2]
    return ":".join(map(str, (name, *first)))


def forms(table: Mapping[str, type[Any]]) -> list[str]:
    """How each entry is written."""
    return [f"{name}:N" if fields(kind) else name for name, kind in table.items()]
