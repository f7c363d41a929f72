"""A model and its guide, run for many particles of some images at a time."""

from __future__ import annotations

from functools import reduce
from typing import Any, NamedTuple

import pyro
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.evaluation.memory import bytes_made
from pyro_vae.measures import terms_of
from pyro_vae.measures.scores import held_out_traces
from pyro_vae.objectives import terms as sites
from pyro_vae.vae import VAE

__all__ = ["Drawn", "Particles"]


class Drawn(NamedTuple):
    """Particles of a block of images.

    Attributes:
        values: Of each latent site.
        log_q: The guide's log-density of them, float64 (K, ..., N) where nothing is summed.
    """

    values: dict[str, Tensor]
    log_q: Tensor


class Particles:
    """The programs of a VAE with a plate of particles around them.

    Args:
        vae: The model, in evaluation mode.
        image: One image, (1, *data_shape), to find out which sites and plates there are.

    Attributes:
        data: Dim of the data's plate.
        dim: Dim of the particles' plate, left of all others.
    """

    def __init__(self, vae: VAE, image: Tensor) -> None:
        self.vae = vae
        ((_, self._x, _, traces),) = held_out_traces(vae, image)
        terms_of(*traces)  # which says what cannot be scored
        self._plates, self.data = sites.shared_plates(*traces), sites.data_dim(*traces)
        latents = list(sites.latent_sites(*traces))
        nodes = [site for trace in traces for site in trace.nodes.values()]
        frames = [f for site in nodes for f in site.get("cond_indep_stack", ()) if f.vectorized]
        self.dim = min(frame.dim for frame in frames) - 1
        self._event_dims = {name: guide["fn"].event_dim for name, _, guide in latents}
        self._one = {name: guide["value"] for name, _, guide in latents}

    def bytes_per_image(self) -> int:
        """What the model takes for one more image and particle."""
        made = [bytes_made(lambda count=count: self._repeat(count)) for count in (1, 2)]  # type: ignore[misc]
        return max(1, made[1] - made[0])

    def _repeat(self, count: int) -> None:
        """Run the model on the one image, several times over."""
        z = {
            name: value.repeat_interleave(count, self.data - self._event_dims[name])
            for name, value in self._one.items()
        }
        self._traced(poutine.condition(self.vae.model, data=z), self._x.repeat_interleave(count, 0))

    def guide(self, seen: Tensor, count: int) -> Drawn:
        """Draw particles.

        Args:
            seen: What the encoder is given, (N, *data_shape).
            count: K.
        """
        trace, log_q = self._traced(self._plated(self.vae.guide, count), seen)
        values = {name: trace.nodes[name]["value"] for name in self._event_dims}
        return Drawn(values, reduce(torch.add, log_q.values()))

    def model(
        self, drawn: Drawn, some: slice, rows: slice, x: Tensor
    ) -> tuple[Any, dict[str, Tensor]]:
        """Run the model at some particles of some images.

        Args:
            drawn: All particles of the block.
            some: Which particles.
            rows: Which images.
            x: These images, as the observation takes them.

        Returns:
            Its trace, and each site's log-density in float64.
        """
        z = {
            name: self._part(value, some, rows, self._event_dims[name])
            for name, value in drawn.values.items()
        }
        given = poutine.condition(self.vae.model, data=z)
        return self._traced(self._plated(given, some.stop - some.start), x)

    def log_q(self, drawn: Drawn, some: slice, rows: slice) -> Tensor:
        """The guide's log-density of some particles of some images."""
        return self._part(drawn.log_q, some, rows, 0)

    def arranged(self, value: Tensor) -> Tensor:
        """A figure of elements as (particles, rest, images)."""
        value = value.movedim((self.dim, self.data), (0, -1))
        return value.reshape(len(value), -1, value.shape[-1])

    def _part(self, value: Tensor, some: slice, rows: slice, event_dim: int) -> Tensor:
        where = [slice(None)] * value.dim()
        where[self.dim - event_dim], where[self.data - event_dim] = some, rows
        return value[tuple(where)]

    def _plated(self, program: Any, count: int) -> Any:
        def run(x: Tensor) -> None:
            with pyro.plate(sites.PARTICLES, count, dim=self.dim):
                program(x)

        return run

    def _traced(self, program: Any, x: Tensor) -> tuple[Any, dict[str, Tensor]]:
        trace = poutine.trace(program).get_trace(x)
        trace.compute_log_prob()
        found = sites.log_densities(trace, self._plates)
        return trace, {name: value.double() for name, value in found.items()}
