"""Values of a spec that must be of a type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyro_vae.errors import InputError

__all__: list[str] = []

_WORDS = {str: "text", list: "a list", Mapping: "a table", bool: "true or false"}


def of_type(name: str, value: object, *kinds: Any) -> Any:
    """A value, if it is of one of the types.

    Raises:
        InputError: If it is not; it names the value.
    """
    if not isinstance(value, kinds):
        wanted = " or ".join(_WORDS[kind] for kind in kinds)
        raise InputError(f"{name} must be {wanted}, got {value!r}")
    return value


def texts(name: str, value: object) -> Sequence[str]:
    """A value, if it is a list of texts.

    Raises:
        InputError: If it is not; it names the value.
    """
    if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
        raise InputError(f"{name} must be a list of texts, got {value!r}")
    return value
