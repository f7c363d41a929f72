"""What is observed: from 8-bit levels to the observation and the encoder, and back to pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any, cast

import torch
from pyro.distributions import Independent
from pyro.infer.util import is_validation_enabled
from torch import Tensor
from torch.distributions import Distribution

from pyro_vae import observations
from pyro_vae.data import as_given
from pyro_vae.data import levels as data_levels
from pyro_vae.errors import InputError, unknown
from pyro_vae.heads import Head
from pyro_vae.heads.built import BuiltHead

__all__: list[str] = []

KINDS = ("mean", "sample", "mode", "parameter")
"""What of p(x|z) a picture may show."""

_CURE = ": show another kind, as sample, or give its head display=, a function of the distribution"


@dataclass(frozen=True)
class Observed:
    """Data of one shape, and the head that scores them.

    Attributes:
        shape: (C, H, W) for images, (D,) for vectors.
        head: Of the observation.
        view: What the encoder sees of it in place of what the levels say, (N, *shape) → (N, any).
    """

    shape: tuple[int, ...]
    head: Head
    view: Callable[[Tensor], Tensor] | None = None

    @property
    def seen_shape(self) -> tuple[int, ...]:
        """Of what the encoder sees of one image."""
        return self.shape

    def build(self) -> BuiltHead:
        """The module that makes its distribution of raw numbers."""
        return self.head.build(self.shape)

    def count(self, x: Tensor) -> int:
        """N, of data (..., N, *shape) that have been checked."""
        return x.shape[-len(self.shape) - 1]

    def sites(
        self, likelihood: Distribution, x: Tensor | None, mask: Tensor | None
    ) -> Iterator[tuple[str, Distribution, Tensor | None]]:
        """Each observed site's name, its distribution and its value.

        Args:
            likelihood: p(x|z), as the built head gives it.
            x: As the observation takes it, (..., N, *shape), or None where it is to be drawn.
            mask: True where it was observed, (N, *shape), or None.

        Yields:
            The name, the distribution of event_shape shape, and x.
        """
        yield "obs", masked(likelihood, mask), x

    def parts_of(
        self, likelihood: BuiltHead, x: Tensor, mask: Tensor | None
    ) -> Iterator[tuple[str, Observed, BuiltHead, Tensor, Tensor | None]]:
        """Each site's name, itself, its built head, its data, and where they were observed.

        Args:
            likelihood: The built head.
            x: Data, (N, *shape).
            mask: True where they were observed, (N, *shape), or None.

        Yields:
            The same as they are.
        """
        yield "obs", self, likelihood, x, mask

    def drawn(self, values: dict[str, Tensor]) -> Tensor:
        """What a program returns, (..., N, *shape), from its sites' values of that shape."""
        return values["obs"]

    def kind_on(self, x: Tensor) -> str:
        """What the observation is on data (N, *shape): ``density``, ``mass`` or ``loss``."""
        return self.head.kind_on(x)

    def given(self, x: Tensor, observed: Tensor) -> Tensor:
        """What the encoder is given outside training: levels, or what chance made of them.

        Args:
            x: As given, (N, *shape).
            observed: What :meth:`observe` made of it.
        """
        return x if self.levels.midpoints else observed

    @property
    def levels(self) -> data_levels.Levels:
        """How 8-bit data reach the observation."""
        return data_levels.get(self.head.levels)

    def checked(self, x: Tensor) -> Tensor:
        """Data of the right shape, (..., N, *shape).

        Raises:
            InputError: If they have another.
        """
        return self._shaped(as_given(x))

    def _shaped(self, x: Tensor) -> Tensor:
        n = len(self.shape)
        if x.dim() <= n or tuple(x.shape[-n:]) != self.shape:
            wanted = ", ".join(map(str, self.shape))
            raise InputError(f"images must have shape (N, {wanted}), got {tuple(x.shape)}")
        return x

    def observe(self, x: Tensor, rows: int | None = None) -> Tensor:
        """8-bit levels as the observation takes them, with fresh noise; floats as they are.

        Args:
            x: Data, (N, *shape).
            rows: Draw noise for so many images and use that of the first N, so that an image's does
                not depend on how many follow.
        """
        x = self.checked(x)
        if x.dtype != torch.uint8:
            return x
        noise = None
        if self.levels.noisy:
            drawn = x.shape if rows is None else (rows, *x.shape[1:])
            noise = torch.rand(drawn, device=x.device)[: len(x)]
        return self.levels.observe(x, noise, self.head.interval)

    def seen(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """What the encoder sees: levels at their midpoints; 0 where nothing was observed."""
        x = self.whole(self.checked(x), mask)
        if self.view is not None:
            return self._viewed(self.view(self.filled(x, mask)), mask)
        if x.dtype == torch.uint8:
            x = self.levels.observe(x, None, self.head.interval)
        seen = self.levels.seen(x, self.head.interval)
        if mask is None:
            return seen
        whole = self.present(mask).repeat_interleave(self.levels.width(self.head.interval), -1)
        return seen.where(whole, seen.new_zeros(()))

    def _viewed(self, seen: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            return seen
        whole, seen = self.present(mask).flatten(1), seen.flatten(1)
        if seen.shape[1] != whole.shape[1]:  # entries cannot be told apart: all or nothing
            whole = whole.all(1, keepdim=True)
        return seen.where(whole, seen.new_zeros(()))

    def filled(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """What was observed, and some value of the observation's support everywhere else.

        Args:
            x: Data in the observation's unit, (N, *data_shape).
            mask: True where a site is observed, of the same shape; None if all are.

        Returns:
            Data of x's shape.
        """
        if mask is None:
            return self.whole(x, mask)
        some = torch.full((), 1, dtype=torch.uint8, device=x.device)
        some = self.levels.observe(some, None, self.head.interval)
        return x.where(self.present(mask), some.to(x))

    def whole(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Data without a gap that no mask tells of; looked at under Pyro's validation only.

        Args:
            x: Data, (..., *shape).
            mask: True where a value was observed, (N, *shape), or None.

        Returns:
            x, (..., *shape).

        Raises:
            InputError: If there is one.
        """
        # A graph has no place for the question, nor have steps after the first the time.
        if mask is None and x.is_floating_point() and is_validation_enabled():
            missing = int(x.detach().isnan().sum())
            if missing:
                raise InputError(
                    f"{missing:,} of {x.numel():,} values are NaN: fill them in, or pass mask=, "
                    "True where a value was observed"
                )
        return x

    def present(self, mask: Tensor) -> Tensor:
        """A mask of the right shape, True where an entry was observed.

        Raises:
            InputError: If it has another shape, or is not boolean.
        """
        mask = torch.as_tensor(mask)
        if mask.dtype != torch.bool:
            raise InputError(f"a mask must be boolean, True where observed; got {mask.dtype}")
        return self._shaped(mask)

    def picture(self, likelihood: Distribution, kind: str) -> Tensor:
        """The picture of p(x|z), on [0, 1] for images.

        Args:
            likelihood: Of batch_shape (...).
            kind: One of ``KINDS``.

        Returns:
            Shape (..., *shape).

        Raises:
            InputError: If there is no such kind, or the observation has no such picture.
        """
        if kind not in KINDS:
            raise unknown("kind of picture", kind, KINDS)
        if kind == "parameter" and self.head.parameter is None:
            raise InputError(
                f"{self.head.title} has no parameter on the data's range to show; "
                "kind must be mean, sample or mode"
            )
        display: dict[str, Callable[[Any], Tensor]] = {
            "mean": self.head.display,
            "sample": lambda p: cast(Tensor, p.sample()),
            "mode": lambda p: cast(Tensor, p.mode),
            "parameter": self.head.parameter or self.head.display,
        }
        try:
            value = display[kind](likelihood)
        except (NotImplementedError, AttributeError):
            raise InputError(f"{self.head.title} has no {kind} to show{_CURE}") from None
        if not torch.isfinite(value).all():
            raise InputError(f"the {kind} of {self.head.title} is not finite here{_CURE}")
        return self.levels.shown(value, self.head.interval)


def masked(p: Distribution, mask: Tensor | None) -> Distribution:
    """A distribution that scores some entries only.

    Args:
        p: Of batch_shape (...) and event_shape data_shape, independent over entries.
        mask: True where an entry counts, (N, *data_shape); None where all do.

    Raises:
        InputError: If it does not split into entries.
    """
    if mask is None:
        return p
    event = len(p.event_shape)
    if not isinstance(p, Independent):
        raise InputError(f"{type(p).__name__} does not split into entries that can be masked")
    grid = p.reinterpreted_batch_ndims
    if event > grid:  # a site's event is there as a whole or not at all
        mask = mask.flatten(mask.dim() - (event - grid)).all(-1)
    found: Distribution = p.base_dist.mask(mask).to_event(grid)
    return found


def head_of(obs: str | Head | Callable[[Tensor], Distribution]) -> Head:
    """The head that a name, a head or a function stands for.

    Raises:
        InputError: If the name is unknown, or it is none of these.
    """
    if isinstance(obs, str):
        return observations.get(obs)
    if isinstance(obs, Head):
        return obs
    if callable(obs):
        return Head.wrap(obs)
    raise InputError(f"obs must be a name, a Head or a function, got {type(obs).__name__}")


def checked_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape of one image or vector.

    Raises:
        InputError: If it is not (C, H, W) or (D,) of positive integers.
    """
    shape = tuple(shape)
    whole = all(isinstance(s, Integral) and s > 0 for s in shape)
    if len(shape) not in (1, 3) or not whole:
        raise InputError(f"data-shape must be (C, H, W) or (D,) of positive integers, got {shape}")
    return tuple(map(int, shape))
