"""What single pixels tell: the minimiser of a loss, and the pull of outliers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

__all__ = ["FAMILIES", "LOSSES", "corrupted", "location", "minimiser"]


def _squared_error(picture: Tensor, x: Tensor) -> Tensor:
    return (picture - x).square()


def _cross_entropy(logits: Tensor, x: Tensor) -> Tensor:
    return binary_cross_entropy_with_logits(logits.expand_as(x), x, reduction="none")


LOSSES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor], float]] = {
    "squared error": (_squared_error, lambda picture: picture, 0.5),
    "cross-entropy": (_cross_entropy, torch.sigmoid, 0.0),
}
"""Each loss of free numbers, what makes a picture of these, and where they start."""


def minimiser(loss: str, images: Tensor, steps: int = 40) -> Tensor:
    """The one picture that is best for all images, by Newton's method on the loss itself.

    Args:
        loss: A key of :data:`LOSSES`.
        images: On [0, 1], (N, ...), in double precision.
        steps: Of the search.

    Returns:
        The picture, of an image's shape.
    """
    score, link, start = LOSSES[loss]
    free = torch.full_like(images[0], start, requires_grad=True)
    for _ in range(steps):
        value = score(free, images).mean(0).sum()
        (slope,) = torch.autograd.grad(value, free, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), free)
        free = (free - slope / curvature).detach().requires_grad_()
    return link(free.detach())


def _student_t(loc: Tensor, scale: float) -> Any:
    return dist.StudentT(3.0, loc, scale)


FAMILIES: dict[str, Callable[[Tensor, float], Any]] = {
    "Normal": dist.Normal,
    "Laplace": dist.Laplace,
    "Student-t": _student_t,
}
"""Families of a location and a scale; the Student-t has 3 degrees of freedom."""


def location(family: str, values: Tensor, scale: float = 0.05, steps: int = 1000) -> Tensor:
    """The location of greatest likelihood of each pixel, found by Adam.

    Args:
        family: A key of :data:`FAMILIES`.
        values: (N, ...) pixels, N draws of each.
        scale: Of the family, fixed.
        steps: Of Adam, with a rate that falls to 0.

    Returns:
        One number per pixel.
    """
    loc = torch.full_like(values[0], 0.5, requires_grad=True)
    adam = torch.optim.Adam([loc], 0.05, betas=(0.5, 0.9))
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for _ in range(steps):
        adam.zero_grad()
        value = -FAMILIES[family](loc, scale).log_prob(values)
        value.mean(0).sum().backward()  # type: ignore[no-untyped-call]
        adam.step()
        fall.step()
    return loc.detach()


def corrupted(
    images: Tensor, copies: int, share: float, noise: float = 0.05, seed: int = 0
) -> Tensor:
    """Noisy copies of images in which some pixels, drawn anew for each copy, are white.

    Args:
        images: On [0, 1], (N, ...).
        copies: Of each.
        share: Of pixels that are white.
        noise: Standard deviation of all the others, cut off at 0 and 1.
        seed: Of both.

    Returns:
        (copies, N, ...), on [0, 1].
    """
    generator = torch.Generator().manual_seed(seed)
    shape = (copies, *images.shape)
    noisy = images + noise * torch.randn(shape, generator=generator, dtype=images.dtype)
    white = torch.rand(shape, generator=generator, dtype=images.dtype) < share
    return torch.where(white, torch.ones(()).to(images), noisy.clamp(0, 1))
