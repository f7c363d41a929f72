"""Values of options, from whatever may stand for them: numbers, and texts of numbers."""

from __future__ import annotations

import math
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

from pyro_vae.errors import InputError, shown

__all__ = ["read_as"]

_TEXT_OR_NUMBER = ("beta", "sigma", "checkpoint")


def read_as(name: str, value: Any, kind: Any) -> Any:
    """A value of an option's type, from what may stand for it.

    Raises:
        InputError: If it is of another type; it names the option.
    """
    kinds = get_args(kind) if get_origin(kind) is not tuple else (tuple,)
    kinds = kinds or (kind,)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name == "latent_dim":
        return _dims(value)
    if value is None and NoneType in kinds:
        return None
    if bool in kinds and isinstance(value, bool):
        return value
    if float in kinds and number:
        return _float(value)
    if int in kinds and isinstance(value, int) and number:
        return value
    if name in _TEXT_OR_NUMBER and (number or isinstance(value, str)):
        return _number_as_text(value)
    if str in kinds and isinstance(value, str | Path):
        return str(value)
    texts = isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)
    if tuple in kinds and (texts or isinstance(value, str)):
        return (value,) if isinstance(value, str) else tuple(value)
    raise InputError(f"{name.replace('_', '-')} must be {_wanted(name, kinds)}, got {shown(value)}")


def _dims(value: Any) -> int | tuple[int, ...]:
    """The length of z, or of each latent of a hierarchy, as text (``40,40``) or numbers."""
    parts = value.split(",") if isinstance(value, str) else value
    parts = list(parts) if isinstance(parts, list | tuple) else [parts]
    try:
        dims = [int(part) if isinstance(part, str) else part for part in parts]
    except ValueError:
        dims = []
    if not dims or not all(isinstance(d, int) and not isinstance(d, bool) for d in dims):
        raise InputError(
            f"latent-dim must be an integer, or one for each latent as 40,40, got {shown(value)}"
        )
    return dims[0] if len(dims) == 1 else tuple(dims)


def _number_as_text(value: float | str) -> str:
    """One text for one number, however it was written; other texts as they are."""
    try:
        return repr(_float(value)).removesuffix(".0")
    except ValueError:
        return str(value)


def _float(value: float | str) -> float:
    try:
        return float(value)
    except OverflowError:  # of an integer, which would be infinite as a decimal
        return math.inf


def _wanted(name: str, kinds: tuple[Any, ...]) -> str:
    if name in _TEXT_OR_NUMBER:
        return "a number or text"
    words = {
        bool: "true or false",
        int: "an integer",
        float: "a number",
        str: "text",
        tuple: "a list of texts",
    }
    return " or ".join(words[kind] for kind in kinds if kind in words)
