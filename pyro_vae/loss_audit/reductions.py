"""How each term is reduced along each axis, told from its weights at other sizes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from pyro_vae.loss_audit.kinds import Kind
from pyro_vae.loss_audit.points import Sizes, fit
from pyro_vae.loss_audit.probes import Probe
from pyro_vae.loss_audit.reconstruction import coupled_weight

__all__: list[str] = []

_NEAR = 0.2


@dataclass(frozen=True)
class Scaling:
    """Powers of an axis' size that a term's weight is divided by: 0 for a sum, 1 for a mean.

    Attributes:
        reconstruction: By axis ("batch", the data's axes, "latents"); None where the function
            does not accept another size.
        kl: The same for the KL.
    """

    reconstruction: Mapping[str, float | None]
    kl: Mapping[str, float | None]


def axis_names(data_shape: tuple[int, ...]) -> tuple[str, ...]:
    """Names for the axes of one image, or of one vector."""
    known = {1: ("features",), 2: ("height", "width"), 3: ("channels", "height", "width")}
    rank = len(data_shape)
    return known.get(rank, tuple(f"axis {number + 1}" for number in range(rank)))


def code_names(codes: tuple[int, ...]) -> tuple[str, ...]:
    """Names for the axes of a code."""
    if len(codes) == 1:
        return ("latents",)
    inner = ("height", "width") if len(codes) == 3 else axis_names(codes)[1:]
    return ("latents", *(f"latent {name}" for name in inner))


def measure(probe: Probe, kind: Kind | None, capped: bool) -> Scaling:
    """Read the loss at other sizes, one axis at a time.

    Args:
        probe: The loss.
        kind: Its reconstruction term.
        capped: A large KL has no gradient, so that it is read where it is small.
    """
    sizes = probe.point.sizes
    batch = _batch(sizes, probe.noisy)
    small = replace(sizes, batch=batch)
    reconstruction: dict[str, float | None] = {}
    kl: dict[str, float | None] = {}
    coupled = None if kind is None or kind.axis is None else kind

    def compare(axis: str, old: Sizes, new: Sizes, ratio: float) -> bool:
        powers = _powers(probe, coupled, capped, old, new, ratio)
        reconstruction[axis], kl[axis] = powers or (None, None)
        return powers is not None

    base = small if compare("batch", sizes, small, batch / sizes.batch) else sizes
    for number, (axis, size) in enumerate(zip(axis_names(sizes.data), sizes.data, strict=True)):
        # 2n + 1 leaves a remainder where `view(-1, n)` would regroup 2n without a word.
        shape = (*sizes.data[:number], 2 * size + 1, *sizes.data[number + 1 :])
        compare(axis, base, replace(base, data=shape), (2 * size + 1) / size)
    for number, (axis, size) in enumerate(zip(code_names(sizes.codes), sizes.codes, strict=True)):
        shape = (*sizes.codes[:number], 2 * size + 1, *sizes.codes[number + 1 :])
        compare(axis, base, replace(base, codes=shape), (2 * size + 1) / size)
    return Scaling(reconstruction, kl)


def word(power: float) -> str:
    """Name a power of an axis' size."""
    if abs(power) < _NEAR:
        return "sum"
    return "mean" if abs(power - 1) < _NEAR else "other"


def guess(weight: float, sizes: Mapping[str, int]) -> dict[str, float]:
    """Powers along axes whose size cannot change, from the weight that is left.

    A weight of 1 or 1/2 after multiplying by the sizes of some axes says that these are averaged.
    """
    plain = (1.0, 0.5)
    axes = [axis for axis, size in sizes.items() if size > 1]
    choices = (
        [()]
        + [tuple(axes)]
        + [
            chosen
            for count in range(1, len(axes))
            for chosen in itertools.combinations(axes, count)
        ]
    )
    for chosen in choices:
        scaled = abs(weight) * math.prod(sizes[axis] for axis in chosen)
        if any(math.isclose(scaled, constant, rel_tol=1e-3) for constant in plain):
            return {axis: float(axis in chosen) for axis in sizes}
    return dict.fromkeys(sizes, 0.0)


def _batch(sizes: Sizes, noisy: bool) -> int:
    """A batch size of which no axis is a divisor, so that no view can regroup images silently."""
    start = max(2, sizes.batch // 2) if noisy else 3
    forbidden = [size for size in sizes.data if size > 1]
    return next(
        batch
        for batch in itertools.count(start)
        if batch != sizes.batch and all(batch % size for size in forbidden)
    )


def _powers(
    probe: Probe, coupled: Kind | None, capped: bool, old: Sizes, new: Sizes, ratio: float
) -> tuple[float, float] | None:
    try:
        if capped:
            small = probe.point.scaled(means=0.1, scales=0.1)
            before, after = (probe.read(replace(small, sizes=sizes)) for sizes in (old, new))
        else:
            before, after = probe.read_large(old), probe.read_large(new)
        weights = [coupled_weight(probe, coupled, s) for s in (old, new)] if coupled else []
    except Exception:  # sizes are written into the function
        return None
    factors = (
        weights[1] / weights[0] if weights and weights[0] else fit(after.x_hat, before.x_hat)[0],
        fit(torch.cat([after.mean, after.scale]), torch.cat([before.mean, before.scale]))[0],
    )
    powers = [-math.log(f) / math.log(ratio) if f > 0 else 0.0 for f in factors]
    return powers[0], powers[1]
