"""The pass of a step, as a module."""

from __future__ import annotations

import torch
from pyro.poutine import Trace
from torch import Tensor, nn

from pyro_vae import objectives
from pyro_vae.data.batch import Loaded
from pyro_vae.training.step_metrics import Layout, packed, sums_of
from pyro_vae.vae import VAE

__all__: list[str] = []


PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Name → the dtype that ``torch.autocast`` is given, None for none."""


class TrainStep(nn.Module):
    """The pass of a step as a module: (x, β) → the objective's loss and what is recorded of it.

    Attributes:
        layout: Of what is recorded, known once there has been a pass.
    """

    def __init__(self, vae: VAE, objective: objectives.Objective, precision: str) -> None:
        super().__init__()
        self.vae, self.objective = vae, objective
        self.arithmetic = PRECISIONS[precision]
        self.layout: Layout = {}

    def forward(self, x: Loaded, beta: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of a batch, and the sums of ``sums_of``."""
        traces = self.traces(x, beta)
        loss = self.objective.surrogate(*traces)
        row, self.layout = packed(sums_of(loss, *traces))
        return loss, row

    def prepare(self, batch: Loaded, beta: Tensor) -> None:
        """Find out what an objective of particles must know of the program, without noise.

        Args:
            batch: Levels (uint8) or floats, (N, *data_shape).
            beta: β, 0-dim.
        """
        if self.objective.prepared:
            return
        with torch.random.fork_rng([batch.device] if batch.device.type == "cuda" else []):
            x = self.vae.observe(batch)
        self.objective.prepare(self.vae.model, self.vae.guide, x, beta=beta)

    def traces(self, x: Loaded, beta: Tensor) -> tuple[Trace, Trace]:
        """The model's and the guide's trace."""
        vae = self.vae
        if self.arithmetic is None:
            return self.objective.traces(vae.model, vae.guide, x, beta=beta)
        vae.arithmetic = self.arithmetic
        try:
            return self.objective.traces(vae.model, vae.guide, x, beta=beta)
        finally:
            vae.arithmetic = None
