"""Gradients by central differences, for a loss that has none of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from pyro_vae.loss_audit.points import Pairs, Point, Reading, places

__all__: list[str] = []


def differences(value: Callable[[Point], float], point: Point, step: float) -> Reading:
    """Read a loss at a point by its values, one pair at a time.

    Args:
        value: The loss at a point.
        point: Where to read it.
        step: By how much to move.
    """

    def slopes(kind: str, side: int) -> Tensor:
        pairs: Pairs = getattr(point, kind)
        shape = point.sizes.data if kind == "pixels" else point.sizes.codes
        index = places(len(pairs), point.sizes.batch, math.prod(shape)).flatten()
        counts = index.bincount(minlength=len(pairs))
        found = []
        for number, pair in enumerate(pairs):
            ends = []
            for shift in (step, -step):
                new = (pair[0] + shift, pair[1]) if side == 0 else (pair[0], pair[1] + shift)
                moved = (*pairs[:number], new, *pairs[number + 1 :])
                pixels, latents = kind == "pixels", kind == "latents"
                shifted = replace(
                    point,
                    pixels=moved if pixels else point.pixels,
                    latents=moved if latents else point.latents,
                )
                ends.append(value(shifted) if counts[number] else 0.0)
            found.append((ends[0] - ends[1]) / (2 * step))
        return torch.tensor(found, dtype=torch.float64) / counts

    return Reading(
        value(point),
        slopes("pixels", 1),
        slopes("latents", 0),
        slopes("latents", 1),
        torch.ones(point.sizes.batch, dtype=torch.float64),
        torch.ones(math.prod(point.sizes.data), dtype=torch.float64),
    )
