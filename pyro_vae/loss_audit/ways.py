"""Shapes, dtypes and data that a loss may want, and what to say where none of them does."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import torch

from pyro_vae.loss_audit.binding import Binding
from pyro_vae.loss_audit.points import BINARY, GREY, LATENTS, POSITIVE, Pairs, Point, Sizes

__all__: list[str] = []

Way = tuple[Point, bool, bool, torch.dtype, int | None]


def ways(point: Point, positive: bool) -> Iterator[Way]:
    """What to try, the commonest first.

    Args:
        point: With the sizes.
        positive: The scale argument is named like something positive.

    Yields:
        A point, whether x and x_hat are flat, the dtype, and the axis of an image that holds
        classes where x is to be their index.
    """
    flats = [(False, False), (False, True), (True, True), (True, False)]
    several = len(point.sizes.data) > 1
    kinds: list[tuple[Pairs, list[tuple[bool, bool]], int | None]] = [
        (pixels, flats if several else flats[:1], None) for pixels in (GREY, BINARY)
    ]
    if several:
        kinds += [(GREY, flats[:1], axis) for axis in (len(point.sizes.data) - 1, 0)]
    for codes, (pixels, shapes, classes) in itertools.product(_codes(point.sizes), kinds):
        sized = replace(point, sizes=replace(point.sizes, codes=codes), pixels=pixels)
        for latents, flat, dtype in itertools.product(
            (POSITIVE,) if positive else (LATENTS, POSITIVE),
            shapes,
            (torch.float64, torch.float32),
        ):
            yield replace(sized, latents=latents), *flat, dtype, classes


def _codes(sizes: Sizes) -> list[tuple[int, ...]]:
    """Shapes of a code: a vector, a map, a sequence."""
    if len(sizes.codes) > 1:
        return [sizes.codes]
    (size,) = sizes.codes
    shaped = (size // 4, 2, 2) if size % 4 == 0 else (size, 1, 1)
    return [(size,), shaped, (2, size // 2) if size % 2 == 0 else (1, size)]


def complaint(binding: Binding, sizes: Sizes, error: str) -> str:
    """What was tried, what came of it, and what to write instead, in one line."""
    image = (sizes.batch, *sizes.data)
    flat = " and flat images" if len(sizes.data) > 1 else ""
    call = binding.describe()
    return (
        f"{call} was tried with x and x_hat of shape {image}{flat}, mean and log_var of shape "
        f"{(sizes.batch, sizes.latents)}, in float64 and float32, with grey and binary x; it "
        f"raised {' '.join(error.split())[:300]}. Where it needs anything else, write: "
        f"def four(x, x_hat, mean, log_var): return {call}"
    )
