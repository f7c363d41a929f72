"""Claims of comparison folders with their verdicts, as the comparison left them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pyro_vae.sweeps import Estimate
from pyro_vae.sweeps.verdicts import Judged
from pyro_vae.types import JSON

__all__: list[str] = []

CLAIMS = "claims.json"


@dataclass(frozen=True)
class Told:
    """A claim in words.

    Attributes:
        statement: The claim.
        verdict: On it.
        expected: What the spec expects where that is another, or None.
        checks: What speaks for the verdict.
    """

    statement: str
    verdict: str
    expected: str | None
    checks: tuple[str, ...]


def read_claims(folder: Path) -> tuple[list[Told], str | None]:
    """The claims of a comparison's folder.

    Args:
        folder: Any folder.

    Returns:
        The claims, none where there is no comparison, and why they cannot be read, or None.
    """
    path = folder / CLAIMS
    if not path.is_file():
        return [], None
    try:
        return [_told(entry) for entry in json.loads(path.read_text(encoding="utf-8"))], None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return [], f"{CLAIMS} is damaged: {type(error).__name__}: {error}"


def _told(entry: JSON) -> Told:
    checks = tuple(str(_judged(check)) for check in entry["checks"])
    expected = entry["expected"] if entry["expected"] != entry["verdict"] else None
    return Told(str(entry["statement"]), str(entry["verdict"]), expected, checks)


def _judged(check: JSON) -> Judged:
    sides = {
        name: None if check[name] is None else Estimate(**check[name])
        for name in ("left", "right", "difference")
    }
    return Judged(check["text"], check["verdict"], **sides, why=check["why"])
