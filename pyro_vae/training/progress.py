"""Progress: what fit tells whoever watches it."""

from __future__ import annotations

from typing import Protocol

from pyro_vae.history import History, Record

__all__ = ["Progress", "Stopped"]


class Stopped(Exception):  # noqa: N818 (no error: somebody wanted it)
    """Raised by a watcher's ``step`` to end training; the run is saved and can be resumed."""


class Progress(Protocol):
    """What :func:`fit` tells while it runs."""

    def start(self, history: History, total_steps: int, epochs: int) -> None:
        """Training is about to begin."""

    def step(self, step: int) -> None:
        """A step is done."""

    def epoch(self, training: Record, held_out: Record | None) -> None:
        """An epoch is done: its records."""

    def warn(self, message: str) -> None:
        """Something is wrong that does not stop training."""


class Silent:
    """Progress that nobody watches."""

    def start(self, history: History, total_steps: int, epochs: int) -> None:
        """Say nothing."""

    def step(self, step: int) -> None:
        """Say nothing."""

    def epoch(self, training: Record, held_out: Record | None) -> None:
        """Say nothing."""

    def warn(self, message: str) -> None:
        """Say nothing."""
