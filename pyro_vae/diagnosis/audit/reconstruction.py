"""Which likelihood a reconstruction term is, told from its gradient pixel by pixel."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.distributions import ContinuousBernoulli
from torch.nn import functional as F

from pyro_vae.diagnosis.audit.points import FAR, Pairs, fit
from pyro_vae.diagnosis.audit.probes import Probe

__all__: list[str] = []

_TOLERANCE = 0.01

SQUARED = "squared error"
ABSOLUTE = "absolute error"
GAUSSIAN = "Gaussian log-density"
LAPLACE = "Laplace log-density"
CROSS_ENTROPY = "cross-entropy"
LOGITS = "cross-entropy with logits"
HUBER = "Huber"
RMSE = "root mean squared error"
OPTIMAL = "log of the squared error"
SWAPPED = "cross-entropy with x and x_hat swapped"
UNKNOWN = "unknown"

#: Terms by pixel, of x_hat and x; the weights are counted against these.
KINDS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    SQUARED: lambda x_hat, x: (x_hat - x).square(),
    ABSOLUTE: lambda x_hat, x: (x_hat - x).abs(),
    CROSS_ENTROPY: lambda x_hat, x: F.binary_cross_entropy(x_hat, x, reduction="none"),
    LOGITS: lambda x_hat, x: F.binary_cross_entropy_with_logits(x_hat, x, reduction="none"),
    SWAPPED: lambda x_hat, x: -x_hat * x.log().clamp(-100) - (1 - x_hat) * (-x).log1p().clamp(-100),
    "squared error of sigmoid(x_hat)": lambda x_hat, x: (x_hat.sigmoid() - x).square(),
    "continuous Bernoulli": lambda x_hat, x: (
        -ContinuousBernoulli(probs=x_hat, validate_args=False).log_prob(x)
    ),
    "continuous Bernoulli with logits": lambda x_hat, x: (
        -ContinuousBernoulli(logits=x_hat, validate_args=False).log_prob(x)
    ),
    "Poisson": lambda x_hat, x: x_hat - x * x_hat.log(),
    "Poisson with log rate": lambda x_hat, x: x_hat.exp() - x * x_hat,
}
#: Terms that look like a squared error as long as errors are small.
_ROBUST: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    SQUARED: KINDS[SQUARED],
    ABSOLUTE: KINDS[ABSOLUTE],
    "log-cosh": lambda x_hat, x: (x_hat - x).cosh().log(),
}


@dataclass(frozen=True)
class Reconstruction:
    """The term by pixel, and its weight.

    Attributes:
        kind: In words.
        weight: Of one pixel's term; against the squared error for all that are quadratic in small
            errors. None where it is not constant.
        threshold: Where a Huber loss turns.
    """

    kind: str
    weight: float | None
    threshold: float | None = None


def recognise(probe: Probe) -> Reconstruction:
    """Name the likelihood behind the gradient with respect to x_hat."""
    observed = probe.read(probe.point).x_hat
    if float(observed.norm()) == 0:
        return Reconstruction("none", 0.0)
    kind, weight, residual = _best(observed, probe.point.pixels, KINDS)
    tolerance = 10 * _TOLERANCE if probe.noisy else _TOLERANCE
    known = residual < tolerance
    if known and kind not in (SQUARED, ABSOLUTE):
        return Reconstruction(kind, weight)
    normalised = _normalised(probe, known and kind == ABSOLUTE)
    if normalised is not None:
        return Reconstruction(normalised, None)
    return _far(probe, tolerance) or Reconstruction(
        kind if known else UNKNOWN, weight if known else None
    )


def _best(
    observed: Tensor, pixels: Pairs, kinds: dict[str, Callable[[Tensor, Tensor], Tensor]]
) -> tuple[str, float, float]:
    x, x_hat = torch.tensor(pixels, dtype=torch.float64).T
    fits = []
    for kind, term in kinds.items():
        leaf = x_hat.clone().requires_grad_()
        with torch.enable_grad():
            (reference,) = torch.autograd.grad(term(leaf, x).sum(), leaf)
        factor, residual = fit(observed, reference)
        # A term of the wrong sign is rarer than another right one.
        fits.append((residual, factor < 0, kind, factor))
    residual, _, kind, factor = min(fits)
    return kind, factor, residual


def _normalised(probe: Probe, absolute: bool) -> str | None:
    """Terms divided by the size of the error: their gradient does not follow its scale."""
    even: Pairs = tuple((x, x + error) for x in (0.3, 0.5, 0.7) for error in (-0.2, 0.2))
    point = replace(probe.point, pixels=even)
    try:
        large = probe.read(point).x_hat
        small = probe.read(point.scaled(errors=0.5)).x_hat
    except Exception:  # data of 0 and 1 only
        return None
    factor, residual = fit(large, small)
    if residual > _TOLERANCE or absolute:
        return None
    if abs(factor - 1) < 0.02:
        return RMSE
    return OPTIMAL if abs(factor - 0.5) < 0.02 else None


def _far(probe: Probe, tolerance: float) -> Reconstruction | None:
    point = replace(probe.point, pixels=FAR)
    try:
        observed = probe.read(point).x_hat
    except Exception:  # x_hat outside the unit interval is refused
        return None
    kind, weight, residual = _best(observed, FAR, _ROBUST)
    if residual < tolerance:
        return Reconstruction(kind, weight / 2 if kind == "log-cosh" else weight)
    finite = observed.isfinite()
    errors = torch.tensor([x_hat - x for x, x_hat in FAR], dtype=torch.float64)
    near = (errors.abs() < 0.05) & finite
    slope, _ = fit(observed[near], errors[near])
    turn = float(observed.abs()[finite].max()) / abs(slope) if slope else math.inf
    kind = HUBER
    factor, residual = fit(observed, errors.clamp(-turn, turn))
    if residual < tolerance:
        return Reconstruction(kind, factor / 2, turn)
    return None


def constants(
    probe: Probe, found: Reconstruction, scale: float, kl_offset: float, prior_scale: float
) -> tuple[str, str]:
    """Tell a log-density from its bare error by the value at a perfect reconstruction.

    Args:
        probe: The loss.
        found: Its term by pixel.
        scale: What a pixel's term is multiplied by through averages over axes.
        kl_offset: What the KL term comes to at the prior, where it is a mistaken one.
        prior_scale: The scale argument of the prior.

    Returns:
        The kind with its constants, and a note on dropped ones (empty if there are none).
    """
    if found.kind not in (SQUARED, ABSOLUTE) or not found.weight or found.weight < 0:
        return found.kind, ""
    sizes = probe.point.sizes
    exact = tuple((x, x) for x, _ in probe.point.pixels)
    prior = replace(probe.point, pixels=exact, latents=((0.0, prior_scale),))
    number = sizes.batch * math.prod(sizes.data) * scale
    offset = (probe.value(prior) - kl_offset) / number
    own = found.weight / scale
    if found.kind == SQUARED:
        variance = 1 / (2 * own)
        full = 0.5 * math.log(2 * math.pi * variance)
        name, partial = GAUSSIAN, 0.5 * math.log(variance)
    else:
        full = partial = math.log(2 / own)
        name = LAPLACE
    if abs(full) > 1e-3 and math.isclose(offset, full, rel_tol=1e-3, abs_tol=1e-5):
        return name, ""
    dropped = math.prod(sizes.data) * full
    if abs(partial) > 1e-3 and math.isclose(offset, partial, rel_tol=1e-3, abs_tol=1e-5):
        left = 0.5 * math.log(2 * math.pi) * math.prod(sizes.data)
        return name, f"The constant D/2 log(2 pi), {left:.1f} nats per image, is dropped."
    if found.kind == SQUARED:
        return found.kind, (
            "The Gaussian's constant D/2 log(2 pi sigma^2) is dropped (per image "
            f"{dropped:.1f} nats at sigma {math.sqrt(variance):.3g}): training is the same, "
            "values are no log-likelihoods."
        )
    return found.kind, (
        f"The Laplace's constant D log(2 b) is dropped (per image {dropped:.1f} nats at b "
        f"{1 / own:.3g}): training is the same, values are no log-likelihoods."
    )
