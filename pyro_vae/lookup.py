"""What others bring: components of installed packages by name, a user's own by a path."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pyro_vae.errors import InputError, reason

__all__: list[str] = []


def installed(what: str) -> dict[str, EntryPoint]:
    """What packages declare in the entry-point group of this kind, by name; nothing is imported.

    Args:
        what: The kind, as "prior", whose group is ``pyro_vae.priors``.
    """
    return {point.name: point for point in entry_points(group=f"{__package__}.{what}s")}


def loaded(what: str, point: EntryPoint) -> object:
    """The object that an entry point names; its module is imported.

    Raises:
        InputError: If the module does not import, or lacks the attribute.
    """
    with told(f"{what} {point.name!r} of {point.value}"):
        return point.load()


def at_path(what: str, path: str) -> object:
    """The object at ``package.module:attribute``; the module is imported, so its code runs.

    Modules in the working directory are found too. A path is the user's own text: none that is
    read from a file comes here.

    Raises:
        InputError: If it is no path, or the module does not import or lacks the attribute.
    """
    module, _, attribute = path.partition(":")
    if not (module and attribute):
        raise InputError(f"{what} {path!r}: a path must read package.module:attribute")
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        with told(f"{what} {path!r}: {module!r} does not import"):
            value: Any = importlib.import_module(module)
    finally:
        sys.path.remove(here)
    try:
        for part in attribute.split("."):
            value = getattr(value, part)
    except AttributeError as error:
        raise InputError(f"{what} {path!r}: {error}") from None
    return value


@contextmanager
def told(words: str) -> Iterator[None]:
    """A context in which other people's code runs: what it raises is told in one line.

    Args:
        words: What the line begins with.

    Raises:
        InputError: If the code inside fails; one of ours goes through as it is.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        said = reason(error) if str(error) else "no reason given"
        raise InputError(f"{words}: {type(error).__name__}: {said}") from error
