"""A normal pushed through invertible transforms.

Ours beside zuko's, which a prior is made of: runs have been saved with the weights of Pyro's
transforms, and neither package broadcasts values against conditioned transforms or has a centre.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution, Transform, constraints

__all__: list[str] = []


class Flow(dist.TorchDistribution):  # type: ignore[misc]
    r"""A base distribution pushed through transforms (Rezende & Mohamed 2015).

    .. math:: z = f_T \circ \dots \circ f_1(z_0), \qquad
       \log q(z) = \log q_0(z_0) - \sum_t \log |\det \partial f_t|

    As :class:`pyro.distributions.TransformedDistribution`, except that values broadcast against
    the batch of transforms that are conditioned on something, and that it has a ``centre``. Its
    mean has no closed form.

    Args:
        base: A distribution of event_shape (L,) with a mean.
        transforms: Of vectors of length L, in the order that they are applied in.

    Attributes:
        base: As given.

    Example:
        >>> base = dist.Normal(torch.zeros(3), 1.0).to_event(1)
        >>> q = Flow(base, [dist.transforms.AffineTransform(1.0, 2.0)])
        >>> q.centre, q.log_prob(torch.ones(5, 3)).shape
        (tensor([1., 1., 1.]), torch.Size([5]))
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012  torch's own protocol
    has_rsample = True
    support = constraints.real_vector

    def __init__(
        self, base: Distribution, transforms: Sequence[Transform], validate_args: bool | None = None
    ) -> None:
        self.base, self.transforms = base, list(transforms)
        self._pushed = dist.TransformedDistribution(base, self.transforms, validate_args=False)
        super().__init__(base.batch_shape, base.event_shape, validate_args=validate_args)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> Flow:
        """The same for a larger batch."""
        return Flow(self.base.expand(batch_shape), self.transforms, self._validate_args)

    def rsample(self, sample_shape: object = torch.Size()) -> Tensor:
        """Reparameterised draws, (*sample_shape, *batch_shape, L)."""
        return cast(Tensor, self._pushed.rsample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats; cheap for what was drawn last, else by the transforms' inverses.

        Args:
            value: (..., L), whose leading dimensions broadcast against batch_shape.
        """
        lead = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        if lead != value.shape[:-1]:  # another tensor of the same shape would not be known again
            value = value.expand(*lead, -1)
        return cast(Tensor, self._pushed.log_prob(value))

    @property
    def centre(self) -> Tensor:
        """The base's mean pushed through the transforms, (*batch_shape, L)."""
        z: Tensor = self.base.mean
        for transform in self.transforms:
            z = transform(z)
        return z
