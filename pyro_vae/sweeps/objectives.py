"""Objectives of a search: a score, which way it is better, and its unit."""

from __future__ import annotations

from dataclasses import dataclass

from pyro_vae.errors import InputError, unknown

__all__: list[str] = []

_NATS, _BITS = "nats per image", "bits per dimension"
_KNOWN = {
    "elbo": ("max", _NATS),
    "objective": ("max", _NATS),
    "reconstruction": ("max", _NATS),
    "bound": ("max", _NATS),
    "bits_per_dim": ("min", _BITS),
    "mass_bits_per_dim": ("min", _BITS),
    "mse": ("min", "squared, per pixel"),
    "mse_over_mean_image": ("min", "of the mean image's"),
    "mae": ("min", "per pixel"),
    "psnr": ("max", "decibels"),
    "ssim": ("max", "of 1"),
    "classifier_fid": ("min", "squared, between features"),
    "classifier_fid_infinite": ("min", "squared, between features"),
    "classifier_kid": ("min", "squared, between features"),
    "classifier_is": ("max", "classes"),
    "seconds": ("min", "seconds"),
}
"""By the last part of a score's name."""


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
    way, colon, score = text.partition(":")
    if colon and way not in ("min", "max"):
        raise InputError(f"--objective must be KEY, min:KEY or max:KEY, got {text!r}")
    score = score if colon else text
    last = score.rpartition(".")[2]
    if not colon and last not in _KNOWN:
        known = unknown("objective", text, _KNOWN)
        raise InputError(f"{known}; of any other score say which way: min:{text} or max:{text}")
    usual, unit = _KNOWN.get(last, ("", ""))
    return Objective(score, (way if colon else usual) == "max", unit)
