"""Objects of a user's own in place of an option's text: their dotted names, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pyro_vae.errors import InputError, unknown
from pyro_vae.texts import Word

__all__: list[str] = []


def named(value: object) -> str:
    """An object as text: its own, if that reads back as such, else its dotted name.

    Example:
        >>> import torch
        >>> named(torch.optim.Adagrad), named("adam")
        ('torch.optim.adagrad:Adagrad', 'adam')
    """
    from pyro_vae import objectives, schedules

    if isinstance(value, str):
        return value
    if isinstance(value, schedules.Schedule):
        return str(value)
    if isinstance(value, objectives.Objective) and type(value).__module__.startswith(
        objectives.__name__
    ):
        return str(value)
    what = getattr(value, "func", value)  # of a functools.partial
    what = what if hasattr(what, "__qualname__") else type(what)
    return f"{what.__module__}:{what.__qualname__}"


def resolved(name: str, value: Any) -> Any:
    """The object at a text ``package.module:attribute`` of the user's own; others as they are.

    An objective's class is made an instance.

    Raises:
        InputError: If the path leads nowhere.
    """
    from pyro_vae import lookup
    from pyro_vae.objectives.parsing import FORMS

    if isinstance(value, tuple):
        return tuple(resolved(name, each) for each in value)
    if name not in ("beta", "elbo", "optimizer", "augment") or not is_path(value):
        return value
    if name == "elbo" and Word(value).pair(":")[0] in FORMS:
        return value
    found = lookup.at_path(name, value)
    if name == "elbo" and isinstance(found, type):
        with lookup.told(f"elbo {value!r}"):
            return found()
    return found


def is_path(text: object) -> bool:
    """Whether a text reads as ``package.module:attribute``."""
    module, colon, attribute = str(text).partition(":")
    parts = [*module.split("."), *attribute.split(".")]
    return bool(colon) and all(part.isidentifier() for part in parts)


def own_or_unknown(name: str, value: object, accepted: Iterable[str]) -> InputError:
    if isinstance(value, str) and is_path(value):
        return InputError(f"{flag(name)} {value!r} is of your own code: give the object, or path")
    words = {"augment": "augmentation"}
    return unknown(words.get(name, flag(name)), value, accepted)


def flag(name: str) -> str:
    return name.replace("_", "-")
