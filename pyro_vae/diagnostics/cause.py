"""A cause: what speaks for it, and what mends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pyro_vae.types import Fields

__all__ = ["Cause"]


@dataclass(frozen=True)
class Cause:
    """One cause that holds.

    Attributes:
        code: Its name.
        sentence: What speaks for it, with numbers.
        mend: What to change, as options of ``pyro-vae fit`` or, where no option does it, words.
        changes: The same as options by name, empty where there are none.
        verdict: What it makes, as the first, of a run that is neither collapsed nor thinned out.
    """

    code: str
    sentence: str
    mend: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    verdict: str = "underfitted"


_FLAGS = {"scale": "sigma-per", "interval": "range", "scaled": "scale-with-range"}
"""Options of ``fit`` that are not called as what they change."""


def options_words(changes: Fields, location: str | None = None) -> str:
    """Changes as options of ``pyro-vae fit``; what is None is an option that is left out.

    Args:
        changes: Of a cause.
        location: Name of the observation's location, which a change of ``link`` is of.

    Example:
        >>> options_words({"interval": (-1024.0, 3071.0), "scaled": True, "lr": 1e-3})
        '--range -1024,3071 --scale-with-range --lr 0.001'
    """
    words = []
    for name, value in changes.items():
        if name == "link":
            words.append(f"--param {location}=pixel,link={value}")
        elif value is True:
            words.append(f"--{_flag(name)}")
        elif value is not None:
            numbers = value if isinstance(value, tuple) else (value,)
            shown = ",".join(n if isinstance(n, str) else f"{n:g}" for n in numbers)
            words.append(f"--{_flag(name)} {shown}")
    return " ".join(words)


def _flag(name: str) -> str:
    return _FLAGS.get(name, name.replace("_", "-"))
