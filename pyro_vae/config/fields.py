"""Options, each declared once: a field of a dataclass, with what the command line says of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from pyro_vae.errors import InputError, shown, unknown

__all__ = ["Option", "declared", "option"]

MOST = 2**31 - 1
"""Largest number of anything that is counted: what follows from it still fits 64 bits."""


@dataclass(frozen=True)
class Option:
    """What is declared of an option.

    Attributes:
        name: As keyword and in files; the command line's has dashes.
        kind: Its type.
        default: Its value where nothing is given.
        help: What it does, in a sentence.
        metavar: What stands for its value in a usage line.
        choices: All texts that it may be, where there are few.
        most: Of an option that counts something, the largest number; else None.
        path: Whether it is a file or a folder.
        others: Further names of it on the command line.
        off: Of a flag that is neither on nor off by default, what turns it off there.
        read: What makes its value of whatever a user gave, if not :func:`read`'s own rules.
    """

    name: str
    kind: Any
    default: Any
    help: str
    metavar: str | None = None
    choices: tuple[str, ...] | None = None
    most: int | None = None
    path: bool = False
    others: tuple[str, ...] = ()
    off: str | None = None
    read: Callable[[Any], Any] | None = None

    @property
    def flag(self) -> str:
        """As it is written on the command line, without its dashes in front."""
        return self.name.replace("_", "-")


def option(default: Any, help: str, **more: Any) -> Any:
    """A dataclass's field that is an option.

    Args:
        default: Its value where nothing is given.
        help: What it does, in a sentence.
        **more: Further fields of :class:`Option`.
    """
    return field(default=default, metadata={"help": help, **more})


def declared(*configs: type) -> dict[str, Option]:
    """The options that dataclasses declare, by name, in their order.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Config:
        ...     batch_size: int = option(128, "Images per step.")
        >>> declared(Config)["batch_size"].flag
        'batch-size'
    """
    found = {}
    for config in configs:
        hints = get_type_hints(config)
        for each in fields(config):
            if "help" in each.metadata:
                kind = hints[each.name]
                found[each.name] = Option(each.name, kind, each.default, **each.metadata)
    return found


def read(known: Mapping[str, Option], name: str, value: object) -> Any:
    """The one form of an option's value, whatever stands for it.

    Args:
        known: All options.
        name: The option's.
        value: Its value, perhaps as text.

    Raises:
        InputError: If the option is unknown (it names the nearest), or of a wrong type.
    """
    if name not in known:
        raise unknown("option", name, known)
    return _as(known[name], value)


def _as(wanted: Option, value: Any) -> Any:
    kinds = get_args(wanted.kind) if get_origin(wanted.kind) is not tuple else (tuple,)
    kinds = kinds or (wanted.kind,)
    value = plain_number(value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is None and NoneType in kinds:
        return None
    if wanted.read is not None:
        return wanted.read(value)
    if bool in kinds and isinstance(value, bool):
        return value
    if float in kinds and number:
        return as_float(value)
    if int in kinds and isinstance(value, int) and number:
        return value
    if str in kinds and isinstance(value, str | Path):
        return str(value)
    texts = isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)
    if tuple in kinds and (texts or isinstance(value, str)):
        return (value,) if isinstance(value, str) else tuple(value)
    raise InputError(f"{wanted.flag} must be {_wanted(kinds)}, got {shown(value)}")


def _wanted(kinds: tuple[object, ...]) -> str:
    words: dict[object, str] = {
        bool: "true or false",
        int: "an integer",
        float: "a number",
        str: "text",
        tuple: "a list of texts",
    }
    return " or ".join(words[kind] for kind in kinds if kind in words)


def number_or_text(name: str) -> Callable[[object], str]:
    """A reader of what is a number or a text: one text for one number, however it was written."""

    def reader(value: object) -> str:
        value = plain_number(value)
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise InputError(f"{name} must be a number or text, got {shown(value)}")
        try:
            return repr(as_float(value)).removesuffix(".0")
        except ValueError:
            return str(value)

    return reader


def plain_number(value: Any) -> Any:
    """A number of numpy's or torch's as one of Python's; anything else as it is."""
    single = getattr(value, "shape", None) == () and hasattr(value, "item")
    return value.item() if single else value


def as_float(value: float | str) -> float:
    """A number as a decimal one."""
    try:
        return float(value)
    except OverflowError:  # of an integer, which would be infinite as a decimal
        return math.inf


def check_number(name: str, value: Any, wanted: str, holds: Callable[[Any], bool]) -> None:
    """Make sure of an option's number.

    Raises:
        InputError: If it is none, infinite, or not as wanted; it names the option.
    """
    try:
        # No integer is infinite, and some are beyond all floats.
        fine = (isinstance(value, int) or math.isfinite(value)) and holds(value)
    except TypeError:
        fine = False
    if not fine:
        raise InputError(f"{name.replace('_', '-')} must be {wanted}, got {shown(value)}")


def check_count(name: str, value: object, most: int = MOST) -> None:
    """Make sure that an option's value counts something, and no more of it than there can be.

    Raises:
        InputError: If it does not; it names the option.
    """
    check_number(name, value, "a positive integer", lambda n: isinstance(n, int) and n > 0)
    check_number(name, value, f"at most {most:,}", lambda n: n <= most)
