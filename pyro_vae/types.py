"""Names for what many rooms hand on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

__all__: list[str] = []

JSON: TypeAlias = dict[str, Any]
"""An object of JSON: plain data by names, as files and records have it."""

Fields: TypeAlias = Mapping[str, Any]
"""The same where it is only read, and what users give in its place."""


class Result(dict[str, Any]):
    """What was found: a dict as JSON has it, whose keys are attributes too.

    A class made of it names its keys with their types; one that a result lacks is None.

    Example:
        >>> class Found(Result):
        ...     kl: float
        ...     bound: float | None
        >>> found = Found(kl=3.5)
        >>> found.kl == found["kl"], found.bound, "bound" in found
        (True, None, False)
    """

    if not TYPE_CHECKING:  # a name that no class declares is a mistake that mypy tells

        def __getattr__(self, name: str) -> object:
            if name in self:
                return self[name]
            if name in type(self).__annotations__:
                return None
            raise AttributeError(f"{type(self).__name__} has no {name!r}")
