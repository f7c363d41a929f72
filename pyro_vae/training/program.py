"""The pass of a step, as a module."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from pyro_vae import objectives
from pyro_vae.training.settings import PRECISIONS
from pyro_vae.vae import VAE

__all__ = ["Program"]


class Program(nn.Module):
    """The pass of a step as a module: (x, β) → the objective's loss, summed over images.

    Attributes:
        traces: Model's and guide's traces of the last pass.
    """

    def __init__(self, vae: VAE, objective: objectives.Objective, precision: str) -> None:
        super().__init__()
        self.vae, self.objective = vae, objective
        self.arithmetic = PRECISIONS[precision]
        self.traces: Any = None

    def forward(self, x: Tensor, beta: Tensor) -> Tensor:
        """The loss of a batch."""
        self.vae.arithmetic = self.arithmetic
        try:
            self.traces = self.objective.traces(self.vae.model, self.vae.guide, x, beta=beta)
        finally:
            self.vae.arithmetic = None
        return self.objective.surrogate(*self.traces)
