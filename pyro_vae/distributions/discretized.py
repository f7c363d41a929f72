"""A density turned into a mass over levels."""

import copy
import math
from collections.abc import Sequence
from typing import ClassVar, TypeVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import Beta, Distribution, constraints

from pyro_vae.distributions.cumulative import of_levels
from pyro_vae.distributions.interval_mass import (
    beta_log_masses,
    check_family,
    log_interval_mass,
    narrow_beta,
)
from pyro_vae.distributions.truncated_normal import TruncatedNormal

__all__ = ["Discretized"]

D = TypeVar("D", bound=Distribution)

_BLOCK = 16  # levels at a time, so that temporaries stay small beside the masses themselves


class LevelMass(TorchDistribution):  # type: ignore[misc]
    """Base of the masses over levels 0 to ``levels - 1``: moments by summing over the levels.

    To add one, set ``levels`` before this class's ``__init__`` and define ``log_prob``, ``sample``
    and ``expand``. Moments hold all ``levels`` times the batch in memory: 100 MB for 128 images
    of 784 pixels.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_enumerate_support = True
    levels: int

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> constraints.Constraint:
        """The integers from 0 to ``levels - 1``."""
        return constraints.integer_interval(0, self.levels - 1)

    @classmethod
    def infer_shapes(cls, **arg_shapes: object) -> tuple[torch.Size, torch.Size]:
        """Refused: the shape depends on a base distribution, which is no tensor."""
        raise NotImplementedError(f"{cls.__name__}'s shape depends on its base distribution")

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All levels, along a new first dimension."""
        values = torch.arange(self.levels, dtype=self._like.dtype, device=self._like.device)
        values = values.reshape((-1,) + (1,) * len(self.batch_shape))
        return values.expand((-1, *self.batch_shape)) if expand else values

    def cdf(self, value: Tensor) -> Tensor:
        """Mass of the levels up to ``value``, a step between them."""
        if self._validate_args:
            self._validate_sample(value)
        return of_levels(self._log_masses(), value)

    @property
    def _like(self) -> Tensor:
        """A tensor of the parameters' dtype and device."""
        raise NotImplementedError

    def _log_masses(self) -> Tensor:
        """Log-masses of all levels, along a new first dimension."""
        blocks = self.enumerate_support(expand=False).split(_BLOCK)
        return torch.cat([self.log_prob(levels) for levels in blocks])

    def _masses(self) -> Tensor:
        """Masses of all levels to absolute precision, which is enough for moments."""
        return self._log_masses().exp()

    @property
    def mean(self) -> Tensor:
        """Mean level."""
        return (self.enumerate_support(expand=False) * self._masses()).sum(0)

    @property
    def variance(self) -> Tensor:
        """Variance of the level."""
        values, masses = self.enumerate_support(expand=False), self._masses()
        mean = (values * masses).sum(0)
        return ((values - mean).square() * masses).sum(0)

    @property
    def mode(self) -> Tensor:
        """Level of the largest mass, the lowest of equal ones."""
        return self._log_masses().argmax(0).to(self._like.dtype)

    def entropy(self) -> Tensor:
        """Entropy in nats."""
        log_masses = self._log_masses()
        return -(log_masses.exp() * log_masses).sum(0)


class Discretized(LevelMass):
    r"""Mass over ``levels`` integers that a density gives to equal bins of an interval.

    .. math:: P(k) = F(e_{k+1}) - F(e_k), \qquad e_k = \mathrm{low} + (\mathrm{high} -
        \mathrm{low})\,\frac{k}{\mathrm{levels}}

    The masses are formed in log space, family by family, by
    :func:`~pyro_vae.distributions.interval_mass.log_interval_mass`. A mixture of discretised
    logistics (Salimans et al. 2017, PixelCNN++) is this class over Pyro's ``MixtureSameFamily``
    of ``Logistic``.

    Args:
        base: A univariate density of a family that ``log_interval_mass`` knows.
        levels: Number of levels.
        low: Lower end of level 0's bin.
        high: Upper end of the last level's bin.
        edges: ``"open"`` gives the mass outside [low, high] to the first and last level,
            ``"bounded"`` conditions the density on [low, high]. The two agree where the density
            lives on [low, high].
        validate_args: Whether to check values.

    Raises:
        TypeError: If the base's family has no interval mass.
        ValueError: If the base has event dimensions, there are fewer than 2 levels, ``low`` is not
            below ``high``, or ``edges`` is neither word.

    Example:
        >>> from pyro.distributions import Normal
        >>> d = Discretized(Normal(torch.tensor([0.5, 0.0]), 0.1))
        >>> d.log_prob(torch.tensor([128.0, 0.0])).exp()
        tensor([0.0156, 0.5156])
        >>> d.mean
        tensor([127.5000,   9.9642])
    """

    def __init__(
        self,
        base: Distribution,
        levels: int = 256,
        low: float = 0.0,
        high: float = 1.0,
        edges: str = "open",
        *,
        validate_args: bool | None = None,
    ) -> None:
        check_family(base)
        if base.event_shape:
            raise ValueError(f"base must be univariate, got event_shape {tuple(base.event_shape)}")
        if levels < 2:
            raise ValueError(f"levels must be at least 2, got {levels}")
        if not low < high:
            raise ValueError(f"low must be below high, got low={low} and high={high}")
        if edges not in ("open", "bounded"):
            raise ValueError(f"edges must be 'open' or 'bounded', got {edges!r}")
        self.base_dist, self.levels, self.edges = base, int(levels), edges
        self.low, self.high = float(low), float(high)
        super().__init__(base.batch_shape, validate_args=validate_args)

    def expand(
        self, batch_shape: Sequence[int], _instance: "Discretized | None" = None
    ) -> "Discretized":
        """The same distribution with ``batch_shape``."""
        new: Discretized = self._get_checked_instance(Discretized, _instance)
        new.base_dist = self.base_dist.expand(torch.Size(batch_shape))
        new.levels, new.edges = self.levels, self.edges
        new.low, new.high = self.low, self.high
        super(Discretized, new).__init__(torch.Size(batch_shape), validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-mass of the level ``value`` in nats."""
        if self._validate_args:
            self._validate_sample(value)
        value = value.to(torch.promote_types(value.dtype, self._like.dtype))
        step = (self.high - self.low) / self.levels
        lo, hi = self.low + step * value, self.low + step * (value + 1)
        if not self._conditioned:
            lo = torch.where(value <= 0, -math.inf, lo)
            hi = torch.where(value >= self.levels - 1, math.inf, hi)
            return self._between(lo, hi)
        whole = log_interval_mass(self.base_dist, *self._ends())
        return log_interval_mass(self.base_dist, lo, hi) - whole

    def cdf(self, value: Tensor) -> Tensor:
        """Mass of the levels up to ``value``: the base's up to the upper end of that bin."""
        if self._validate_args:
            self._validate_sample(value)
        level = value.to(torch.promote_types(value.dtype, self._like.dtype)).detach().floor()
        before, last = level < 0, level >= self.levels - 1
        inner = torch.where(before | last, 0.0, level)
        hi = self.low + (self.high - self.low) / self.levels * (inner + 1)
        conditioned = self._conditioned
        lo = torch.full_like(hi, self.low if conditioned else -math.inf)
        found = log_interval_mass(self.base_dist, lo, hi)
        if conditioned:
            found = found - log_interval_mass(self.base_dist, *self._ends())
        steps: Tensor = torch.where(before, 0.0, torch.where(last, 1.0, found.exp()))
        return steps

    def _between(self, lo: Tensor, hi: Tensor) -> Tensor:
        if isinstance(self.base_dist, Beta) and self.high - self.low <= self.levels / 64:
            return narrow_beta(self.base_dist, lo, hi)
        return log_interval_mass(self.base_dist, lo, hi)

    def _ends(self) -> tuple[Tensor, Tensor]:
        return self._like.new_tensor(self.low), self._like.new_tensor(self.high)

    @property
    def _range(self) -> tuple[float, float]:
        """Ends of the base's support, infinite if they are not plain numbers."""
        support = getattr(self.base_dist.support, "base_constraint", self.base_dist.support)
        lower, upper = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
        if isinstance(lower, int | float) and isinstance(upper, int | float):
            return lower, upper
        return -math.inf, math.inf

    @property
    def _conditioned(self) -> bool:
        """Whether mass of the base is cut off."""
        lower, upper = self._range
        return self.edges == "bounded" and (lower < self.low or upper > self.high)

    def _log_masses(self) -> Tensor:
        whole = (self.low, self.high) == (0, 1) and self.levels >= 64
        if whole and isinstance(self.base_dist, Beta):
            return beta_log_masses(self.base_dist, self.levels)
        return super()._log_masses()

    def _masses(self) -> Tensor:
        masses = self._by_cdf(self.base_dist)
        return super()._masses() if masses is None else masses

    @property
    def mode(self) -> Tensor:
        """Level of the largest mass, the lowest of equal ones."""
        # Float64 tells the largest mass from the next where a wide density hardly varies.
        twin: Discretized = in_float64(self)
        masses = twin._by_cdf(twin.base_dist)
        if masses is None:
            masses = twin._log_masses()
        return masses.argmax(0).to(self._like.dtype)

    def _by_cdf(self, base: Distribution) -> Tensor | None:
        """Masses of all levels as differences of the base's cdf, where it has all of them."""
        lower, upper = self._range
        # A truncated normal's cdf takes longer than its masses.
        slow = isinstance(base, TruncatedNormal)
        if slow or self._conditioned or lower > self.low or upper < self.high:
            return None
        like = _first_parameter(base)
        step = (self.high - self.low) / self.levels
        edges = self.low + step * self.enumerate_support(expand=False)[1:].to(like.dtype)
        try:
            cdf = base.cdf(edges)
        except NotImplementedError:
            return None
        first, last = torch.zeros_like(cdf[:1]), torch.ones_like(cdf[:1])
        return torch.cat([first, cdf, last]).diff(dim=0)

    @property
    def _like(self) -> Tensor:
        return _first_parameter(self.base_dist)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Levels, as floats of the parameters' dtype."""
        with torch.no_grad():
            if not self._conditioned:
                x = self.base_dist.sample(torch.Size(sample_shape))
                levels = ((x - self.low) * (self.levels / (self.high - self.low))).floor()
                return levels.clamp(0, self.levels - 1)
            logits = self._log_masses().movedim(0, -1)
            shape = torch.Size(sample_shape)
            drawn = torch.distributions.Categorical(logits=logits, validate_args=False)
            level: Tensor = drawn.sample(shape)
            return level.to(self._like.dtype)


def in_float64(p: D) -> D:
    """A copy whose tensors, and those of the distributions inside it, are float64."""
    twin = copy.copy(p)
    for name, value in vars(p).items():
        if isinstance(value, Tensor) and value.is_floating_point():
            setattr(twin, name, value.double())
        elif isinstance(value, Distribution):
            setattr(twin, name, in_float64(value))
    return twin


def _first_parameter(base: Distribution) -> Tensor:
    if isinstance(base, torch.distributions.MixtureSameFamily):
        return _first_parameter(base.component_distribution)
    for name in base.arg_constraints:
        value = base.__dict__.get(name)
        if isinstance(value, Tensor):
            return value
    return base.mean
