"""What is observed: from 8-bit levels to the observation and the encoder, and back to pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from pyro.infer.util import is_validation_enabled
from torch import Tensor

from pyro_vae import observations
from pyro_vae.data import levels as data_levels
from pyro_vae.errors import InputError, unknown
from pyro_vae.heads import Head

__all__ = ["KINDS", "Observed", "checked_shape", "head_of"]

KINDS = ("mean", "sample", "mode", "parameter")
"""What of p(x|z) a picture may show."""


@dataclass(frozen=True)
class Observed:
    """Data of one shape, and the head that scores them.

    Attributes:
        shape: (C, H, W) for images, (D,) for vectors.
        head: Of the observation.
    """

    shape: tuple[int, ...]
    head: Head

    @property
    def levels(self) -> data_levels.Levels:
        """How 8-bit data reach the observation."""
        return data_levels.get(self.head.levels)

    def checked(self, x: Tensor) -> Tensor:
        """Data of the right shape, (..., N, *shape).

        Raises:
            InputError: If they have another.
        """
        n = len(self.shape)
        if x.dim() <= n or tuple(x.shape[-n:]) != self.shape:
            wanted = ", ".join(map(str, self.shape))
            raise InputError(f"images must have shape (N, {wanted}), got {tuple(x.shape)}")
        return x

    def observe(self, x: Tensor) -> Tensor:
        """8-bit levels as the observation takes them, with fresh noise; floats as they are."""
        x = self.checked(x)
        if x.dtype != torch.uint8:
            return x
        noise = torch.rand(x.shape, device=x.device) if self.levels.noisy else None
        return self.levels.observe(x, noise, self.head.interval)

    def seen(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """What the encoder sees: levels at their midpoints; 0 where nothing was observed."""
        x = self.whole(self.checked(x), mask)
        if x.dtype == torch.uint8:
            x = self.levels.observe(x, None, self.head.interval)
        seen = self.levels.seen(x, self.head.interval)
        return seen if mask is None else seen.where(self.present(mask), seen.new_zeros(()))

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
        if mask.dtype != torch.bool:
            raise InputError(f"a mask must be boolean, True where observed; got {mask.dtype}")
        return self.checked(mask)

    def picture(self, likelihood: Any, kind: str) -> Tensor:
        """The picture of p(x|z), on [0, 1] for images.

        Args:
            likelihood: Of batch_shape (...).
            kind: One of :data:`KINDS`.

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
        except NotImplementedError:
            raise InputError(f"{self.head.title} has no {kind} to show") from None
        if not torch.isfinite(value).all():
            raise InputError(f"the {kind} of {self.head.title} is not finite here: show another")
        return self.levels.shown(value, self.head.interval)


def head_of(obs: str | Head | Callable[[Tensor], Any]) -> Head:
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
    if len(shape) not in (1, 3) or not all(isinstance(s, int) and s > 0 for s in shape):
        raise InputError(f"data-shape must be (C, H, W) or (D,) of positive integers, got {shape}")
    return shape
