"""A model and its guide, run for many particles of some images at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import NamedTuple

import pyro
import torch
from pyro import poutine
from pyro.poutine import Trace
from torch import Tensor

from pyro_vae.data import Batch
from pyro_vae.elbo import Terms, terms_of
from pyro_vae.metrics.chunking import bytes_made
from pyro_vae.objectives import terms as sites

__all__: list[str] = []

Arguments = tuple[object, ...]
"""What a program is called with: tensors of one row for each image, and anything else as it is."""


def rows_of(arguments: Arguments, count: int, rows: slice | Tensor) -> Arguments:
    """The arguments for some images.

    Args:
        arguments: For all images.
        count: How many images these are, the length of the tensors that have a row for each.
        rows: Which images.
    """

    def some(value: object) -> object:
        if isinstance(value, Tensor):
            return value[rows] if value.dim() and len(value) == count else value
        if isinstance(value, dict):
            return {key: some(each) for key, each in value.items()}
        if isinstance(value, Batch):
            return value[rows]
        return value

    return tuple(map(some, arguments))


def run(
    model: Callable[..., object], guide: Callable[..., object], given: Arguments, seen: Arguments
) -> tuple[Trace, Trace]:
    """Run a guide, and its model on what it drew.

    Args:
        model: The model.
        guide: The guide.
        given: The model's arguments.
        seen: The guide's.

    Returns:
        The model's and the guide's trace, their log-probabilities computed.
    """
    guide_trace = poutine.trace(guide).get_trace(*seen)
    model_trace = poutine.trace(poutine.replay(model, trace=guide_trace)).get_trace(*given)
    for trace in (model_trace, guide_trace):
        trace.compute_log_prob()
    return model_trace, guide_trace


class Drawn(NamedTuple):
    """Particles of some images.

    Attributes:
        values: Of each latent site.
        log_q: The guide's log-density of them, float64 (K, ..., N) where nothing is summed.
    """

    values: dict[str, Tensor]
    log_q: Tensor


class Particles:
    """A model and its guide with a plate of particles around them.

    Args:
        model: The model.
        guide: The guide.
        given: The model's arguments for one or two images, to find out which sites and plates there
            are.
        seen: The guide's.
        count: How many images these are.

    Attributes:
        data: Dim of the data's plate.
        dim: Dim of the particles' plate, left of all others.
        terms: Of these images.
    """

    def __init__(
        self,
        model: Callable[..., object],
        guide: Callable[..., object],
        given: Arguments,
        seen: Arguments,
        count: int,
    ) -> None:
        self._model, self._guide = model, guide
        traces = run(model, guide, given, seen)
        self.terms: Terms = terms_of(*traces)  # which says what cannot be scored
        self._plates, self.data = sites.shared_plates(*traces), sites.data_dim(*traces)
        latents = list(sites.latent_sites(*traces))
        nodes = [site for trace in traces for site in trace.nodes.values()]
        frames = [f for site in nodes for f in site.get("cond_indep_stack", ()) if f.vectorized]
        self.dim = min(frame.dim for frame in frames) - 1
        self._event_dims = {name: guide["fn"].event_dim for name, _, guide in latents}
        values = {name: guide["value"] for name, _, guide in latents}
        self._few = values, given, count

    def bytes_per_image(self) -> int:
        """What the model takes for one more image and particle."""
        made = [bytes_made(lambda n=n: self._repeat(n)) for n in (1, 2)]  # type: ignore[misc]
        return max(1, made[1] - made[0])

    def _repeat(self, times: int) -> None:
        """Run the model on the first image, several times over."""
        values, given, count = self._few
        first = torch.zeros(times, dtype=torch.int64)
        z = {
            name: value.index_select(self.data - self._event_dims[name], first.to(value.device))
            for name, value in values.items()
        }
        self._traced(poutine.condition(self._model, data=z), rows_of(given, count, first))

    def guide(self, seen: Arguments, count: int) -> Drawn:
        """Draw particles.

        Args:
            seen: The guide's arguments.
            count: K.
        """
        trace, log_q = self._traced(self._plated(self._guide, count), seen)
        values = {name: trace.nodes[name]["value"] for name in self._event_dims}
        return Drawn(values, reduce(torch.add, log_q.values()))

    def model(
        self, drawn: Drawn, some: slice, rows: slice, given: Arguments
    ) -> tuple[Trace, dict[str, Tensor]]:
        """Run the model at some particles of some images.

        Args:
            drawn: Particles.
            some: Which of them.
            rows: Which of their images.
            given: The model's arguments for these images.

        Returns:
            Its trace, and each site's log-density in float64.
        """
        z = {
            name: self._part(value, some, rows, self._event_dims[name])
            for name, value in drawn.values.items()
        }
        conditioned = poutine.condition(self._model, data=z)
        return self._traced(self._plated(conditioned, some.stop - some.start), given)

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

    def _plated(self, program: Callable[..., object], count: int) -> Callable[..., object]:
        def run(*arguments: object) -> None:
            with pyro.plate(sites.PARTICLES, count, dim=self.dim):
                program(*arguments)

        return run

    def _traced(
        self, program: Callable[..., object], arguments: Arguments
    ) -> tuple[Trace, dict[str, Tensor]]:
        trace = poutine.trace(program).get_trace(*arguments)
        trace.compute_log_prob()
        found = sites.log_densities(trace, self._plates)
        return trace, {name: value.double() for name, value in found.items()}
