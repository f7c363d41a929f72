"""Levels: how 8-bit data reach an observation, and how what it says comes back to [0, 1]."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_vae.errors import unknown

__all__: list[str] = []

NOISE_MARGIN = 2.0**-16
"""Dequantisation noise stays this far from 0 and 1; in float32 more noise makes x exactly 1."""

Range = tuple[float, float]


def _unit(x: Tensor, interval: Range) -> Tensor:
    low, high = interval
    return x if interval == (0.0, 1.0) else (x - low) / (high - low)


def _scaled(unit: Tensor, interval: Range) -> Tensor:
    low, high = interval
    return unit if interval == (0.0, 1.0) else low + (high - low) * unit


def _one(interval: Range) -> int:
    return 1


@dataclass(frozen=True)
class Levels:
    """One way from 8-bit levels k to an observation's x.

    Attributes:
        name: Its name in ``LEVELS``.
        describe: One line for the table of observations.
        observe: (k, noise, interval) → x, where noise is uniform on [0, 1), of k's shape.
        noisy: Whether ``observe`` uses its noise.
        seen: (x, interval) → what the encoder sees, on [0, 1] where x is an image.
        midpoints: Whether the encoder sees levels without their noise outside training.
        shown: (value, interval) → the picture: the displayed value brought back to [0, 1].
        eight_bit: Whether data are pictures of 8-bit levels, shown on [0, 1].
        location: Link of a parameter that lies where x does: ``"sigmoid"`` onto the interval in
            which x lies, ``"affine"`` where the interval is but x's unit; None for the family's.
        interval_of: Values of another unit → the interval that suits them; None where x is in a
            unit of its own.
        width: interval → how many numbers the encoder sees of each entry.
        refused: Likeliest causes of data that an observation cannot take; empty where only the data
            tell, see ``causes``.
    """

    name: str
    describe: str
    observe: Callable[[Tensor, Tensor | None, Range], Tensor]
    noisy: bool
    midpoints: bool
    seen: Callable[[Tensor, Range], Tensor]
    shown: Callable[[Tensor, Range], Tensor]
    eight_bit: bool = True
    location: str | None = "sigmoid"
    interval_of: Callable[[Tensor], Range] | None = None
    width: Callable[[Range], int] = _one
    refused: str = ""


def _dequantise(k: Tensor, noise: Tensor | None, interval: Range) -> Tensor:
    u = 0.5 if noise is None else noise.clamp(NOISE_MARGIN, 1 - NOISE_MARGIN)
    return _scaled((k.to(_float(noise)) + u) / 256, interval)


def _binarise(k: Tensor, noise: Tensor | None, interval: Range) -> Tensor:
    grey = k.to(_float(noise)) / 255
    return (grey > (0.5 if noise is None else noise)).to(grey.dtype)


def _float(noise: Tensor | None) -> torch.dtype:
    return torch.get_default_dtype() if noise is None else noise.dtype


def _same(x: Tensor, interval: Range) -> Tensor:
    return x


def _ends(values: Tensor) -> Range:
    return float(values.min()), float(values.max())


def _standard(values: Tensor) -> Range:
    mean, deviation = float(values.mean()), float(values.std(correction=0))
    return mean, mean + deviation


def _typical(values: Tensor) -> Range:
    return 0.0, float(values.log().mean().exp())


def _classes(interval: Range) -> int:
    return round(interval[1] - interval[0]) + 1


def _one_hot(x: Tensor, interval: Range) -> Tensor:
    """(..., D) → (..., D·K), 0 everywhere for an entry that is NaN."""
    classes = torch.arange(_classes(interval), dtype=x.dtype, device=x.device) + interval[0]
    return (x.unsqueeze(-1) == classes).to(x.dtype).flatten(-2)


_NOT_LEVELS = (
    "likeliest causes: floats on [0, 1] (pass uint8 levels), or counts above 255 "
    "(poisson and negative-binomial have no upper bound)"
)
_NOT_COUNTS = (
    "likeliest causes: images on [0, 1] (they suit bernoulli or normal-learned-sigma), "
    "or negative or fractional numbers (they suit real-normal)"
)

LEVELS: dict[str, Levels] = {
    levels.name: levels
    for levels in (
        Levels(
            "dequantised",
            "x = (k + u)/256, u uniform",
            _dequantise,
            True,
            True,
            _unit,
            _unit,
            interval_of=_ends,
        ),
        Levels(
            "positive",
            "x = (k + u)/256, u uniform, seen as log x",
            _dequantise,
            True,
            True,
            lambda x, interval: _unit(x, interval).log(),
            _same,
            eight_bit=False,
            interval_of=_typical,
            refused="likeliest causes: zeros or negative numbers (they suit real-normal)",
        ),
        Levels(
            "levels",
            "x = k, one of 0 to 255",
            lambda k, noise, interval: k.to(_float(noise)),
            False,
            False,
            lambda x, interval: (x + 0.5) / 256,
            lambda value, interval: value / 255,
            location=None,
            refused=_NOT_LEVELS,
        ),
        Levels(
            "grey",
            "x = k/255",
            lambda k, noise, interval: k.to(_float(noise)) / 255,
            False,
            False,
            _same,
            _same,
        ),
        Levels(
            "binary", "x is 1 with probability k/255, else 0", _binarise, True, False, _same, _same
        ),
        Levels(
            "threshold",
            "x = 1 where k/255 > 1/2, else 0",
            lambda k, noise, interval: _binarise(k, None, interval),
            False,
            False,
            _same,
            _same,
        ),
        Levels(
            "counts",
            "x = k = 0, 1, 2, ...",
            lambda k, noise, interval: k.to(_float(noise)),
            False,
            False,
            lambda x, interval: _unit(torch.log1p(x), interval),
            _same,
            eight_bit=False,
            location=None,
            interval_of=lambda values: _standard(values.log1p()),
            refused=_NOT_COUNTS,
        ),
        Levels(
            "real",
            "x as given",
            lambda k, noise, interval: k.to(_float(noise)),
            False,
            False,
            _unit,
            _same,
            eight_bit=False,
            location="affine",
            interval_of=_standard,
            refused="likeliest cause: a family for part of the real line",
        ),
        Levels(
            "classes",
            "x = k, one of some classes without an order, seen as a 1 among 0s",
            lambda k, noise, interval: k.to(_float(noise)),
            False,
            False,
            _one_hot,
            _same,
            eight_bit=False,
            location=None,
            interval_of=_ends,
            width=_classes,
            refused="likeliest cause: classes that are not counted from 0",
        ),
    )
}


def get(name: str) -> Levels:
    """The levels of a name.

    Raises:
        InputError: If there are none of that name.
    """
    if name not in LEVELS:
        raise unknown("levels", name, LEVELS)
    return LEVELS[name]


def is_binary(images: Tensor) -> bool:
    """Whether images hold two values only: 0 and 1, or the 8-bit levels 0 and 255.

    Args:
        images: Levels (uint8) or floats of any shape.
    """
    top = 255 if images.dtype == torch.uint8 else 1
    return bool(((images == 0) | (images == top)).all())
