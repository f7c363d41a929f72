"""Patterns with braces, which stand for the paths of several shards.

Ours and not the package braceexpand: it is sixty lines, and refuses a pattern that stands for too
many shards or for one twice.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from math import prod
from pathlib import Path

from pyro_vae.errors import InputError

__all__: list[str] = []

_MOST_SHARDS = 100_000
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"([0-9]+)\.\.([0-9]+)")
_LONGEST = 255
"""Characters that a file's name may have; Python reads no number of more than 4,300 digits."""


def is_shards(name: str) -> bool:
    """Whether a data set's name is of shards: a path or a pattern that ends in .tar."""
    return name.endswith(".tar")


def is_packed(name: str) -> bool:
    """Whether a data set's name is of compressed shards, which cannot be read in any order."""
    return name.endswith((".tgz", *(f".tar.{suffix}" for suffix in ("gz", "bz2", "xz", "zst"))))


def expand(pattern: str) -> list[Path]:
    """The paths that a pattern with braces stands for, as a shell has it.

    Args:
        pattern: A path with any number of ``{000..009}`` and ``{a,b,c}``, none inside another.

    Raises:
        InputError: If they are more than 100,000, none, or one of them comes twice.

    Example:
        >>> [str(path) for path in expand("{a,b}-{08..10}.tar")]
        ['a-08.tar', 'a-09.tar', 'a-10.tar', 'b-08.tar', 'b-09.tar', 'b-10.tar']
    """
    pieces = _BRACES.split(pattern)  # every second one was in braces
    choices = [_choices(piece) if i % 2 else [piece] for i, piece in enumerate(pieces)]
    if prod(map(len, choices)) > _MOST_SHARDS:
        raise InputError(f"{pattern} stands for more than {_MOST_SHARDS:,} shards")
    paths = [Path("".join(words)) for words in itertools.product(*choices)]
    # Its images would be among those to train on and those held out.
    twice = [path for path, count in Counter(paths).items() if count > 1]
    if twice:
        raise InputError(f"{pattern} stands for {twice[0]} more than once")
    return paths


def _choices(inside: str) -> Sequence[str]:
    numbers = _RANGE.fullmatch(inside)
    if numbers is None:
        return inside.split(",")
    first, last = numbers.groups()
    if max(len(first), len(last)) > _LONGEST:
        raise InputError(f"numbers in braces have {_LONGEST} digits at most, got {inside[:20]}…")
    count = int(last) - int(first) + 1
    if not 0 < count <= _MOST_SHARDS:
        raise InputError(f"{{{inside}}} stands for {max(0, count):,} shards")
    return [f"{i:0{len(first)}}" for i in range(int(first), int(last) + 1)]
