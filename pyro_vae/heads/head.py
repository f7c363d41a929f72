"""The immutable description of how raw output becomes a distribution."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from operator import attrgetter
from typing import TypeVar

from torch import Tensor
from torch.distributions import Distribution

from pyro_vae.data import levels as data_levels
from pyro_vae.errors import InputError, unknown
from pyro_vae.heads import roles
from pyro_vae.heads.built import BuiltHead
from pyro_vae.heads.families import (
    Family,
    Whole,
    adopted,
    attribute,
    class_of,
    is_discrete,
    takes,
    title_of,
)
from pyro_vae.heads.location import bounds_of, example, is_location
from pyro_vae.heads.param import Param

__all__ = ["Head"]

T = TypeVar("T")
Display = Callable[[Distribution], Tensor]


@dataclass(frozen=True)
class Head:
    """An immutable description of how raw output becomes a distribution; it holds no tensors.

    Make one with :meth:`of`, change a copy with :meth:`replace`, and :meth:`build` it for a shape.

    Attributes:
        family: Callable with the parameters as keywords, returning a Pyro distribution.
        parameters: (name, :class:`Param`) pairs in the order of the raw output.
        display: Distribution → what ``reconstruct(kind="mean")`` shows.
        parameter: Distribution → the parameter that lies on the data's range, or None.
        levels: How 8-bit data reach it, a name of ``data.levels.LEVELS``.
        kind: ``"density"``, ``"mass"`` or ``"loss"``.
        interval: Where the data's range lies in the observation's own unit.
        scaled: Whether the parameter that is its scale counts in units of the interval's width.
        name: The stock name it came from, if any.
        changes: What :meth:`replace` changed since, as (name, Param) pairs.

    Example:
        >>> import pyro.distributions as dist
        >>> import torch
        >>> head = Head.of(dist.Laplace, "loc", scale="image")
        >>> p = head.build((1, 8, 8))(torch.zeros(5, 65))
        >>> p.batch_shape, p.event_shape
        (torch.Size([5]), torch.Size([1, 8, 8]))
    """

    family: Family
    parameters: tuple[tuple[str, Param], ...]
    display: Display = attrgetter("mean")
    parameter: Display | None = None
    levels: str = "dequantised"
    kind: str = "density"
    interval: tuple[float, float] = (0.0, 1.0)
    scaled: bool = False
    name: str | None = None
    changes: tuple[tuple[str, Param], ...] = field(default=())

    def __post_init__(self) -> None:
        if self.kind not in ("density", "mass", "loss"):
            raise unknown("kind", self.kind, ("density", "mass", "loss"))

    @classmethod
    def of(
        cls,
        family: Family,
        *names: str,
        display: Display = attrgetter("mean"),
        parameter: Display | None = None,
        levels: str | None = None,
        kind: str | None = None,
        **parameters: Param | str | float | tuple[int, ...],
    ) -> Head:
        """A head from a family and the names of its parameters.

        Args:
            family: A distribution class, a ``functools.partial`` with constants, or a function. A
                class of torch's own is taken as Pyro's of the same name.
            *names: Parameters with nothing to say about (per pixel, the default link).
            display: Distribution → tensor of the data's shape; the mean unless said otherwise.
            parameter: Distribution → the parameter on the data's range; the location if it lies
                there.
            levels: A name of ``data.levels.LEVELS``; default ``"dequantised"`` for a continuous
                family, ``"levels"`` for a discrete one.
            kind: ``"density"``, ``"mass"`` or ``"loss"``; default by the family's support.
            **parameters: A number (fixed), a scope's name, a tuple (shape inside a site) or a
                :class:`Param`. A number for what a class is made with beside its parameters, as
                ``total_count`` of a Multinomial, is handed on as it is.

        Raises:
            InputError: If a name, scope, link, floor or levels is unknown or out of range.
        """
        family = adopted(family)
        family, parameters = _with_numbers(family, parameters)
        own = Param(scope="pixel", shape=())
        pairs = [(name, own) for name in names]
        pairs += [(name, Param.of(value).over(own)) for name, value in parameters.items()]
        constrained = attribute(family, "arg_constraints", {})
        for name, _ in pairs:
            if constrained and name not in constrained:
                raise unknown(f"{title_of(family)} parameter", name, constrained)
        discrete = is_discrete(getattr(class_of(family), "support", None))
        levels = levels or ("levels" if discrete else "dequantised")
        if parameter is None:
            where = roles.named(dict(pairs), "location")
            if where is not None and is_location(family, dict(pairs), where):
                parameter = roles.Parameter(where)
        data_levels.get(levels)
        kind = kind or ("mass" if discrete else "density")
        return cls(family, tuple(pairs), display, parameter, levels, kind)

    @classmethod
    def wrap(cls, function: Callable[[Tensor], Distribution]) -> Head:
        """A head from a bare function raw → distribution with an attribute ``num_raw``.

        Args:
            function: Takes raw of shape (..., num_raw, *data_shape) and returns a distribution of
                event_shape data_shape. Attributes ``levels`` and ``kind`` are read if present.

        Raises:
            InputError: If the function has no positive integer ``num_raw``.
        """
        num_raw = getattr(function, "num_raw", None)
        if not isinstance(num_raw, int) or num_raw < 1:
            raise InputError(
                f"an observation function needs a positive integer attribute num_raw, "
                f"{title_of(function)} has {num_raw!r}"
            )
        return cls.of(
            Whole(function),
            levels=getattr(function, "levels", "dequantised"),
            kind=getattr(function, "kind", "density"),
            raw=Param(shape=(num_raw,), link="identity"),
        )

    def replace(
        self,
        levels: str | None = None,
        interval: tuple[float, float] | None = None,
        scaled: bool | None = None,
        **parameters: Param | str | float | tuple[int, ...],
    ) -> Head:
        """A copy with other parameters, levels or interval.

        A field that a new :class:`Param` leaves at None keeps this head's own.

        Raises:
            InputError: If the head has no such parameter (names the nearest one).
        """
        own = dict(self.parameters)
        changes = dict(self.changes)
        for name, value in parameters.items():
            if name not in own:
                raise unknown(f"{self.title} parameter", name, own)
            own[name] = Param.of(value).over(own[name])
            changes[name] = Param.of(value).over(changes.get(name, Param()))
        made = replace(
            self,
            parameters=tuple(own.items()),
            changes=tuple(changes.items()),
            levels=data_levels.get(levels or self.levels).name,
            scaled=self.scaled if scaled is None else scaled,
        )
        return replace(made, interval=made._checked_interval(interval))

    def _checked_interval(self, interval: tuple[float, float] | None) -> tuple[float, float]:
        if interval is None or tuple(interval) == self.interval:
            return self.interval
        low, high = map(float, interval)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise InputError(f"a range must be finite, low < high; got {low:g},{high:g}")
        least, most = self._bounds()
        elsewhere = data_levels.get(self.levels).interval_of is not None
        if not elsewhere or low < least or high > most:
            where = f"[{least:g}, {most:g}]" if elsewhere else "[0, 1]"
            raise InputError(f"{self.title} lives on {where}, not on the range {low:g},{high:g}")
        return low, high

    def _bounds(self) -> tuple[float, float]:
        """The ends of its support, infinite where it has none or does not say."""
        try:
            return bounds_of(example(self.family, dict(self.parameters)).support)
        except Exception:  # it refuses its parameters, which build() says in words
            return -math.inf, math.inf

    @property
    def location(self) -> str | None:
        """The name of the parameter that is its location, None where it has none."""
        return roles.named(dict(self.parameters), "location")

    @property
    def scale(self) -> str | None:
        """The name of the parameter that is its scale, None where it has none."""
        return roles.named(dict(self.parameters), "scale")

    def of_role(self, role: roles.Role) -> Param | None:
        """The parameter that is its ``"location"`` or ``"scale"``, None where it has none."""
        name = roles.named(dict(self.parameters), role)
        return None if name is None else dict(self.parameters)[name]

    def floor(self, param: Param) -> float:
        """The smallest value of one of its positive parameters."""
        return param.floor_or_default(data_levels.get(self.levels).eight_bit)

    @property
    def unit(self) -> float:
        """What a scale of 1 is in the observation's own unit."""
        return self.interval[1] - self.interval[0] if self.scaled else 1.0

    @property
    def title(self) -> str:
        """Its stock name, or its family's."""
        return self.name or title_of(self.family)

    def kind_on(self, images: Tensor) -> str:
        """What it is on these images: a loss on grey pixels is a mass on binary ones.

        Args:
            images: Levels (uint8) or floats.
        """
        own_x = any(p.origin == "residual" and p.scope != "batch" for _, p in self.parameters)
        if own_x:
            # A σ computed from the very x that it scores is no parameter of a density.
            return "loss"
        if self.kind != "loss":
            return self.kind
        if self.levels in ("binary", "threshold"):
            return "mass"
        return "mass" if self.levels == "grey" and data_levels.is_binary(images) else "loss"

    def build(self, data_shape: tuple[int, ...]) -> BuiltHead:
        """The module raw → distribution that a VAE owns.

        Args:
            data_shape: (C, H, W) for images, (D,) for vectors.

        Raises:
            InputError: If the family refuses its parameters or they do not fit the shape.
        """
        return BuiltHead(self, tuple(data_shape))


def _with_numbers(family: Family, given: Mapping[str, T]) -> tuple[Family, dict[str, T]]:
    """The family with the numbers that are no parameters of it, and what else was given."""
    known = attribute(family, "arg_constraints", {})
    numbers = {
        name: value
        for name, value in given.items()
        if known and name not in known and isinstance(value, int | float) and takes(family, name)
    }
    if not numbers:
        return family, dict(given)
    rest = {name: value for name, value in given.items() if name not in numbers}
    return partial(family, **numbers), rest
