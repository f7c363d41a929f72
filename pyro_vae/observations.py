"""The stock observations, as one table: adding one is adding one entry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt
from operator import attrgetter

import pyro.distributions as dist

from pyro_vae import links
from pyro_vae.distributions import BernoulliCrossEntropy, ContinuousBernoulli
from pyro_vae.errors import unknown
from pyro_vae.heads import Head, Param

__all__ = ["TABLE", "Entry", "get"]


@dataclass(frozen=True)
class Entry:
    """One stock observation.

    Attributes:
        head: Its head.
        assumes: What it assumes of the data, in one line.
        range: The data it takes.
    """

    head: Head
    assumes: str
    range: str


_CONCENTRATION = Param(link=links.Bounded(1e-3, 1e3))

TABLE: dict[str, Entry] = {
    "bernoulli": Entry(
        Head.of(
            BernoulliCrossEntropy,
            "logits",
            parameter=attrgetter("base_dist.probs"),
            levels="grey",
            kind="loss",
        ),
        "pixels are 0 or 1; on grey pixels it is cross-entropy, a loss and no likelihood",
        "[0, 1]",
    ),
    "continuous-bernoulli": Entry(
        Head.of(ContinuousBernoulli, "logits", parameter=attrgetter("base_dist.probs")),
        "pixels follow a truncated exponential on [0, 1]",
        "[0, 1]",
    ),
    "normal": Entry(
        Head.of(dist.Normal, "loc", scale=sqrt(0.5)),
        "one σ for everything, set by hand; σ = √½ is the summed squared error",
        "real",
    ),
    "normal-learned-sigma": Entry(
        Head.of(dist.Normal, "loc", scale="image"),
        "σ is learned: per dataset, dimension, image or pixel",
        "real",
    ),
    "normal-optimal-sigma": Entry(
        Head.of(dist.Normal, "loc", scale=Param("batch", source="residual")),
        "σ is the error's root mean square: per batch a Normal, per image or pixel a loss",
        "real",
    ),
    "laplace": Entry(
        Head.of(dist.Laplace, "loc", scale="image"),
        "errors have heavier tails; its scale is learned as the Normal's σ",
        "real",
    ),
    "student-t": Entry(
        Head.of(dist.StudentT, "loc", df=Param("dataset", floor=2.0), scale="image"),
        "errors have tails as heavy as the data ask for: the degrees of freedom are learned",
        "real",
    ),
    "beta": Entry(
        Head.of(dist.Beta, concentration1=_CONCENTRATION, concentration0=_CONCENTRATION),
        "pixels follow a Beta density with bounded concentrations",
        "(0, 1)",
    ),
}


def get(
    name: str,
    levels: str | None = None,
    interval: tuple[float, float] | None = None,
    scaled: bool | None = None,
    **parameters: Param | str | float | tuple[int, ...],
) -> Head:
    """A stock observation's head, with changes.

    Args:
        name: A key of :data:`TABLE`.
        levels: Other levels than its own, as ``"binary"`` for binarised pixels.
        interval: Where the data's range lies, (0, 1) by default.
        scaled: Whether ``scale`` counts in units of the interval's width.
        **parameters: As in :meth:`Head.replace`: a number, a scope's name or a
            :class:`~pyro_vae.heads.Param`.

    Raises:
        InputError: If there is no such observation or parameter (names the nearest).

    Example:
        >>> get("normal-learned-sigma", scale="pixel").parameters[1][1].scope
        'pixel'
    """
    if name not in TABLE:
        raise unknown("observation", name, TABLE)
    head = replace(TABLE[name].head, name=name)
    return head.replace(levels, interval, scaled, **parameters)
