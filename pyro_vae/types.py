"""Names for what many rooms hand on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

__all__: list[str] = []

JSON: TypeAlias = dict[str, Any]
"""An object of JSON: plain data by names, as files and records have it."""

Site: TypeAlias = dict[str, Any]
"""A node of a trace, as Pyro has it: ``name``, ``fn``, ``value``, and what handlers add."""

Fields: TypeAlias = Mapping[str, Any]
"""The same where it is only read, and what users give in its place."""
