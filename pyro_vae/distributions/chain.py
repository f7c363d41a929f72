"""Several vectors, each drawn in view of the one before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

__all__: list[str] = []


class Chain(dist.TorchDistribution):  # type: ignore[misc]
    r"""The joint distribution of a hierarchy of latents, as one vector.

    .. math:: p(z_1, \dots, z_L) = p(z_L) \prod_{l < L} p(z_l | z_{l+1})

    Args:
        top: Of z_L, event_shape (D_L,).
        below: For each level from L − 1 down to 1, the one above it, (..., D) → its distribution.
        dims: D_1 to D_L, in which order values lie side by side.

    Example:
        >>> top = dist.Normal(torch.zeros(2), 1.0).to_event(1)
        >>> p = Chain(top, [lambda z: dist.Normal(z[..., :1], 0.1).to_event(1)], (1, 2))
        >>> p.sample((5,)).shape, p.log_prob(torch.zeros(4, 3)).shape, p.centre
        (torch.Size([5, 3]), torch.Size([4]), tensor([0., 0., 0.]))
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012  torch's own protocol
    has_rsample = True
    support = constraints.real_vector

    def __init__(
        self,
        top: Distribution,
        below: Sequence[Callable[[Tensor], Distribution]],
        dims: Sequence[int],
        validate_args: bool | None = None,
    ) -> None:
        self.top, self.below, self.dims = top, list(below), list(dims)
        super().__init__(top.batch_shape, (sum(dims),), validate_args=validate_args)

    def steps(self, draw: Callable[[int, Distribution], Tensor]) -> Tensor:
        """Go down the levels.

        Args:
            draw: (level from 1 to L, its distribution) → its value.

        Returns:
            All values, (..., sum of D).
        """
        level = len(self.dims)
        values = [draw(level, self.top)]
        for conditional in self.below:
            level -= 1
            values.append(draw(level, conditional(values[-1])))
        lead = torch.broadcast_shapes(*(value.shape[:-1] for value in values))
        return torch.cat([value.expand(*lead, -1) for value in reversed(values)], -1)

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """Reparameterised draws, (*sample_shape, *batch_shape, sum of D)."""
        top = len(self.dims)
        return self.steps(lambda level, p: p.rsample(sample_shape if level == top else ()))

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """Draws without gradients, also where a level has none that are reparameterised."""
        top = len(self.dims)
        with torch.no_grad():
            return self.steps(lambda level, p: p.sample(sample_shape if level == top else ()))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats; leading dimensions of value broadcast against batch_shape."""
        parts = list(value.split(self.dims, -1))
        total: Tensor = self.top.log_prob(parts[-1])
        for conditional, above, part in zip(self.below, parts[:0:-1], parts[-2::-1], strict=True):
            total = total + conditional(above).log_prob(part)
        return total

    @property
    def centre(self) -> Tensor:
        """The mean of z_L, and of each level given that of the one above it."""
        return self.steps(lambda level, p: _centre(p))


def _centre(p: Distribution) -> Tensor:
    point: Tensor = p.centre if hasattr(p, "centre") else p.mean
    return point
