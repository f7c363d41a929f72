"""Objectives of a search: a score, which way it is better, and its unit."""

from __future__ import annotations

from dataclasses import dataclass

from pyro_vae.errors import InputError, unknown
from pyro_vae.metrics.score_table import SCORES, score_of
from pyro_vae.texts import Word

__all__: list[str] = []


@dataclass(frozen=True)
class Objective:
    """What a search is after.

    Attributes:
        score: A score's name, as in ``results.csv`` after ``scores.``.
        maximise: Whether higher is better.
        unit: In words; empty where none is known.
    """

    score: str
    maximise: bool
    unit: str

    @property
    def better(self) -> str:
        """Which way is better, in words."""
        return "higher is better" if self.maximise else "lower is better"


def read_objective(text: str) -> Objective:
    """An objective by a score's name, or ``min:`` or ``max:`` and a name.

    Raises:
        InputError: If no way is known to be better and none is given.

    Example:
        >>> read_objective("bits_per_dim")
        Objective(score='bits_per_dim', maximise=False, unit='bits per dimension')
        >>> read_objective("max:active_units").maximise
        True
    """
    way, named = Word(text).pair(":")
    if named is not None and way not in ("min", "max"):
        raise InputError(f"--objective must be KEY, min:KEY or max:KEY, got {text!r}")
    score = str(way if named is None else named)
    known = score_of(score)
    if named is None and (known is None or known.better is None):
        usable = [name for name, each in SCORES.items() if each.better is not None]
        told = unknown("objective", text, usable)
        raise InputError(f"{told}; of any other score say which way: min:{text} or max:{text}")
    usual = None if known is None else known.better
    unit = "" if known is None else known.unit
    return Objective(score, (usual if named is None else way) == "max", unit)
