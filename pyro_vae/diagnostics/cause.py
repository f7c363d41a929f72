"""A cause: what speaks for it, and what mends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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
