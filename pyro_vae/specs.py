"""Small immutable descriptions by name, as ``vamp:50``: a table's classes and one number each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pyro_vae.errors import InputError, unknown

__all__ = ["forms", "read", "text_of"]


def read(what: str, text: Any, table: Mapping[str, type[Any]]) -> Any:
    """The description that a text names.

    Args:
        what: What it is, for messages.
        text: ``name``, or ``name:N`` for the description's first field; a function is given back
            as it is.
        table: Names and their dataclasses.

    Raises:
        InputError: If the name is unknown (it names the nearest), N is no positive integer, or
            what is given is neither text nor function.
    """
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


def text_of(spec: object, table: Mapping[str, type[Any]]) -> str | None:
    """The text that :func:`read` reads back; None for what is not in the table."""
    for name, kind in table.items():
        if type(spec) is kind:
            known = fields(table[name])
            return f"{name}:{getattr(spec, known[0].name)}" if known else name
    return None


def forms(table: Mapping[str, type[Any]]) -> list[str]:
    """How each entry is written."""
    return [f"{name}:N" if fields(kind) else name for name, kind in table.items()]
