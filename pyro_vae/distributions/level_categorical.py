"""A categorical over levels, whose order gives it a mean."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical, constraints

from pyro_vae.distributions.discretized import LevelMass

__all__ = ["LevelCategorical"]


class LevelCategorical(LevelMass):
    r"""Mass over the levels 0 to K − 1 with a logit for each: :math:`P(k) = \mathrm{softmax}(l)_k`.

    Beside torch's ``Categorical`` it has the mean and variance of the level, and ``log_prob``
    neither normalises all logits nor expands them to the values' shape.

    Args:
        logits: Shape ``(*batch, K)``.
        validate_args: Whether to check parameters and values.

    Raises:
        ValueError: If there are fewer than 2 levels.

    Example:
        >>> d = LevelCategorical(torch.zeros(256))
        >>> d.log_prob(torch.tensor([0.0, 255.0])), d.mean
        (tensor([-5.5452, -5.5452]), tensor(127.5000))
    """

    arg_constraints = {"logits": constraints.real_vector}  # noqa: RUF012

    def __init__(self, logits: Tensor, *, validate_args: bool | None = None) -> None:
        if logits.dim() == 0 or logits.shape[-1] < 2:
            raise ValueError(f"logits must have at least 2 levels last, got {tuple(logits.shape)}")
        self.logits, self.levels = logits, logits.shape[-1]
        super().__init__(logits.shape[:-1], validate_args=validate_args)

    @classmethod
    def infer_shapes(cls, **arg_shapes: Any) -> tuple[torch.Size, torch.Size]:
        """Batch and event shape from the parameters' shapes."""
        return torch.Size(arg_shapes["logits"][:-1]), torch.Size()

    def expand(
        self, batch_shape: Sequence[int], _instance: "LevelCategorical | None" = None
    ) -> "LevelCategorical":
        """The same distribution with ``batch_shape``."""
        new: LevelCategorical = self._get_checked_instance(LevelCategorical, _instance)
        new.levels = self.levels
        new.logits = self.logits.expand((*batch_shape, self.levels))
        super(LevelCategorical, new).__init__(torch.Size(batch_shape), validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def _like(self) -> Tensor:
        return self.logits

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-mass of the level ``value`` in nats."""
        if self._validate_args:
            self._validate_sample(value)
        # Picked by position: gathering from logits expanded over many images would write as many
        # gradients.
        start = torch.arange(self.batch_shape.numel(), device=value.device) * self.levels
        index = start.reshape(self.batch_shape) + value.long()
        picked = self.logits.reshape(-1).index_select(0, index.reshape(-1)).reshape(index.shape)
        # Both from the largest logit: large ones are subtracted before anything is rounded.
        top = self.logits.detach().amax(-1)
        return (picked - top) - (self.logits - top.unsqueeze(-1)).exp().sum(-1).log()

    def _log_masses(self) -> Tensor:
        return self.logits.log_softmax(-1).movedim(-1, 0)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Levels, as floats of the logits' dtype."""
        with torch.no_grad():
            drawn = Categorical(logits=self.logits, validate_args=False)
            level: Tensor = drawn.sample(torch.Size(sample_shape))
            return level.to(self.logits.dtype)
