"""Runs that stop on the way, and what is compared of those that went on."""

from __future__ import annotations

from typing import Any

from pyro_vae.training import History, Stopped
from pyro_vae.training.progress import Silent


class StopAt(Silent):
    """Stops after so many steps."""

    def __init__(self, step: int) -> None:
        self.at = step

    def step(self, step: int) -> None:
        """Stop there."""
        if step == self.at:
            raise Stopped


def told(history: History) -> list[dict[str, Any]]:
    """Its records without their speed, which is another every time."""
    return [{k: v for k, v in r.items() if k != "images_per_second"} for r in history.records]
