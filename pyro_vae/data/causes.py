"""Why data do not suit an observation of [0, 1], told from the data, and what would."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pyro_vae.data.levels import Levels

__all__: list[str] = []

_BYTE, _WORD = 255, 2**16 - 1
_BRIGHT = 200
"""A level that pictures come near to."""


def likeliest(levels: Levels, x: Tensor) -> str:
    """Likeliest causes of data that an observation cannot take, and their cures, in a few words.

    Args:
        levels: How data reach it.
        x: The data, floats of any shape.

    Example:
        >>> from pyro_vae.data.levels import get
        >>> hounsfield = torch.tensor([-1024.0, 3071.0] * 2)
        >>> print(likeliest(get("dequantised"), hounsfield).split(": ", 1)[1])
        numbers in a unit of their own: --obs real-normal, or --range=-1024,3071
    """
    if levels.refused:
        return levels.refused
    low, high = float(x.min()), float(x.max())
    whole = bool((x == x.round()).all())
    moves = levels.interval_of is not None
    other = "" if moves else " with --obs normal-learned-sigma"
    if -1 <= low < 0 and high <= 1:
        cure = f"add 1 and divide by 2, or --range=-1,1{other}"
        return f"likeliest cause: images scaled to -1..1 ({cure})"
    # Of pictures that were resized levels are no whole numbers.
    if low >= 0 and high <= _BYTE and (whole or high > _BRIGHT):
        own = "" if whole else "; or numbers in a unit of their own: --obs real-normal"
        return (
            "likeliest cause: levels 0 to 255 passed as floats (pass uint8, or divide by 255, or "
            f"--range 0,255{other}){own}"
        )
    a, b = range_of(x)
    if whole and low >= 0 and high <= _WORD:
        return f"likeliest cause: {_sixteen(x, int(high))}, or --range 0,{b:g}{other}"
    return (
        "likeliest cause: numbers in a unit of their own: --obs real-normal, or "
        f"--range={a:g},{b:g}{other}"
    )


def _sixteen(x: Tensor, high: int) -> str:
    """What 16-bit levels are, and how many are left of them where 8 bits are kept."""
    shift = high.bit_length() - 8
    values = x.to(torch.int64).unique()
    left = (values >> shift).unique()
    return (
        f"16-bit levels, {len(values):,} different ones up to {high}: (x >> {shift}).astype(uint8) "
        f"leaves {len(left)} of them"
    )


def range_of(x: Tensor) -> tuple[float, float]:
    """The ends of a range, with few digits, that further data will hardly lie outside of.

    Where several values are at an end, as those of saturated pixels, that is the end of the range.

    Args:
        x: The data, floats of any shape.

    Example:
        >>> range_of(torch.tensor([0.0, 0.0, 12.5, 98.0]))
        (0.0, 108.0)
    """
    low, high = float(x.min()), float(x.max())
    unit = 10.0 ** (math.floor(math.log10(max(high - low, 1e-30))) - 1)
    margin = (high - low) / 10
    a = low if int((x == low).sum()) > 1 else math.floor((low - margin) / unit) * unit
    b = high if int((x == high).sum()) > 1 else math.ceil((high + margin) / unit) * unit
    return a, b
