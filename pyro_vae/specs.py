"""Components as plain data: a table's dataclasses by their name with all their fields.

``{"name": "iaf", "steps": 2, "hidden": 128}`` is what is saved; a command line's text for it is
``iaf`` or ``iaf:2``. Behind a table stand the components of installed packages, by the names that
they declare in the entry-point group ``pyro_vae.priors``, ``posteriors`` or ``networks``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from numbers import Integral, Real
from typing import Any, TypeAlias

from pyro_vae import lookup
from pyro_vae.errors import InputError, unknown, unknown_form
from pyro_vae.texts import Word
from pyro_vae.types import JSON, Fields

__all__: list[str] = []

Component: TypeAlias = Callable[..., object]
"""What makes a thing: a function, a class, or a dataclass's instance."""

Table: TypeAlias = Mapping[str, Component]
"""Names and what they stand for: a dataclass whose instances make the thing, or what makes it."""


def read(what: str, given: object, table: Table) -> Component:
    """The component that a text or a description names; no path is followed.

    Args:
        what: What it is, for messages and the entry-point group.
        given: ``name``, ``name:N`` for the component's first field, or what ``described`` gave;
            a function is given back as it is.
        table: The stock ones, whose names no package can take.

    Raises:
        InputError: If the name is unknown (it names the nearest), N is no positive integer, a
            description has an unknown field, or what is given is none of these.
    """
    if isinstance(given, Mapping):
        return _of_fields(what, given, table)
    if isinstance(given, str):
        name, number = Word(given).pair(":")
        entry = _entry(what, name, table)
        return _instance(f"{what} {name}", entry, _first(f"{what} {name}", entry, number))
    if callable(given):
        return given
    raise InputError(f"{what} must be a name or a function that makes a module, got {given!r}")


def asked(
    what: str, text: str, table: Table, options: Mapping[str, object] | None = None
) -> Component:
    """The component that a user's text asks for, a path of the user's own among them.

    Args:
        what: What it is.
        text: As ``read`` takes it, or ``package.module:attribute``, also with ``:N``.
        table: The stock ones.
        options: Fields that were given beside it, each by an option of its name.

    Raises:
        InputError: As ``read`` and ``resolve`` do, or if the component lacks a field that
            was given, which names those that it has.
    """
    name, number = Word(text).pair(":")
    if number is not None and not number.isdigit() and name not in _names(what, table):
        label, entry, number = _at_path(what, Word(text))
    else:
        label, entry = f"{what} {name}", _entry(what, name, table)
    first, options = _first(label, entry, number), options or {}
    for option in options:
        if option not in _fields(entry):
            has = ", ".join(_fields(entry)) or "no fields"
            raise InputError(f"--{option}: {label} has {has}")
        if option in first:
            raise InputError(f"--{option}: {text!r} says it already, leave one of them out")
    return _instance(label, entry, {**first, **options})


def asked_all(
    what: str, text: str, table: Table, options: Mapping[str, object] | None = None
) -> Any:
    """What ``asked`` gives for a text; of several, between commas, a tuple."""
    found = tuple(asked(what, part, table, options) for part in Word(text).parts())
    return found[0] if len(found) == 1 else found


def resolve(what: str, path: str, table: Table) -> Any:
    """The component at ``package.module:attribute``, or ``package.module:attribute:N``.

    Args:
        what: What it is.
        path: One; or several between commas, among which there may be names of the table.
        table: The stock ones.

    Raises:
        InputError: If the path leads nowhere, to nothing callable, or not to an integer's field.
    """
    if "," in path:
        return asked_all(what, path, table)
    label, entry, number = _at_path(what, Word(path))
    return _instance(label, entry, _first(label, entry, number))


def _at_path(what: str, text: Word) -> tuple[str, Component, Word | None]:
    """What a path says: its words in messages, what is there, and the N behind a second colon."""
    path, number = text.pair(":", last=True)
    if ":" not in path:
        path, number = text, None
    return f"{what} {path!r}", _component(what, lookup.at_path(what, path), path), number


def _names(what: str, table: Table) -> set[str]:
    return {*table, *lookup.installed(what)}


def _entry(what: str, name: str, table: Table) -> Component:
    """What a name stands for."""
    if name in table:
        return table[name]
    point = lookup.installed(what).get(name)
    if point is None:
        raise _unknown(what, name, table)
    return _component(what, lookup.loaded(what, point), point.value)


def _component(what: str, value: Any, path: str) -> Component:
    """What another's code brought, made sure of."""
    # A class has a call of its own: the one that makes instances.
    calls = isinstance(value, type) and any("__call__" in kind.__dict__ for kind in value.__mro__)
    if not (calls if isinstance(value, type) and is_dataclass(value) else callable(value)):
        of = "of instances that are not" if isinstance(value, type) else "not"
        raise InputError(
            f"{what} {path!r} is of type {type(value).__name__}, {of} callable: it must be a "
            "function that makes a module, or a dataclass of such"
        )
    found: Component = value
    return found


def _fields(entry: object) -> JSON:
    """Fields by name, with their defaults."""
    own = fields(entry) if is_dataclass(entry) else ()
    return {f.name: f.default for f in own if f.init}


def _first(label: str, entry: object, number: str | None) -> JSON:
    """The first field, as the text behind a name's colon has it; none without a colon."""
    if number is None:
        return {}
    own = _fields(entry)
    if not own:
        raise InputError(f"{label} takes no number, got {str(number)!r}")
    field, default = next(iter(own.items()))
    if not (number.isascii() and number.isdigit() and int(number[:9]) > 0 and len(number) < 9):
        name = label.partition(" ")[2].strip("'")
        example = "N" if default is MISSING else default
        raise InputError(
            f"{label} takes a positive integer, as in {name}:{example}; got {f'{name}:{number}'!r}"
        )
    return {field: int(number)}


def _instance(label: str, entry: Any, given: Mapping[str, object]) -> Component:
    found: Component = entry
    if is_dataclass(entry):
        with lookup.told(label):
            made_of: Any = entry(**given) if isinstance(entry, type) else replace(entry, **given)
            found = made_of
    return found


def _of_fields(what: str, spec: Mapping[str, object], table: Table) -> Component:
    name = spec.get("name")
    if not isinstance(name, str):
        raise _unknown(what, name, table)
    entry = _entry(what, name, table)
    given = {key: value for key, value in spec.items() if key != "name"}
    for key in given:
        if key not in _fields(entry):
            raise unknown(f"field of {what} {name}", key, _fields(entry))
    return _instance(f"{what} {name}", entry, made(given))


def described(what: str, component: object, table: Table) -> JSON | None:
    """A component as plain data, from which ``read`` makes an equal one.

    Args:
        what: What it is.
        component: What makes the thing.
        table: The stock ones.

    Returns:
        Its name and all its fields; None for what is neither in the table nor an installed
        package's, as a subclass, and for what plain data do not give back.
    """
    for name, entry in _at_hand(what, table):
        kind = entry if isinstance(entry, type) else type(entry)
        if component is entry or (is_dataclass(entry) and type(component) is kind):
            try:
                own = {field: plain(getattr(component, field)) for field in _fields(entry)}
                spec = {**own, "name": name} if "name" in own else {"name": name, **own}
                return spec if _of_fields(what, spec, table) == component else None
            except (TypeError, ValueError):
                return None
    return None


def _at_hand(what: str, table: Table) -> Iterator[tuple[str, Component]]:
    """Names and what they stand for, of packages as far as they are imported already."""
    yield from table.items()
    for name, point in lookup.installed(what).items():
        if name not in table and point.module in sys.modules:
            try:
                yield name, _entry(what, name, table)
            except InputError:  # of a package that is at odds with itself
                continue


def plain(value: object) -> Any:
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
    item = getattr(value, "item", None)
    if callable(item):
        return plain(item())
    raise TypeError(f"{type(value).__name__} is no plain data")


def made(value: object) -> Any:
    """The value that ``plain`` was given, where its lists were tuples."""
    if isinstance(value, list):
        return tuple(made(part) for part in value)
    if isinstance(value, Mapping):
        return {key: made(part) for key, part in value.items()}
    return value


def short(spec: Fields | Sequence[Fields | None] | None) -> str | None:
    """What people call what ``described`` gave, or several: name and first field, ``iaf:2``."""
    if spec is None:
        return None
    if not isinstance(spec, Mapping):
        return ",".join(short(each) or "yours" for each in spec)
    name, *first = list(spec.values())[:2]
    return ":".join(map(str, (name, *first)))


def _unknown(what: str, name: object, table: Table) -> InputError:
    """The error for a name that nothing has, with the nearest and how each is written."""
    forms = {name: f"{name}:N" if _fields(entry) else name for name, entry in table.items()}
    return unknown_form(what, str(name), {**{n: n for n in lookup.installed(what)}, **forms})
