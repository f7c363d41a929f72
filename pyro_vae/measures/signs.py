"""Warning signs in a run's records, in the words that training and diagnosis share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
from torch import Tensor

from pyro_vae.vae import VAE

__all__ = ["overfitting", "scale_note"]

_WAIT = 5
_FALL = 0.10


def overfitting(
    training: Sequence[dict[str, Any]], held_out: Sequence[dict[str, Any]], key: str
) -> str | None:
    """Whether the held-out score has been falling while the training score rises.

    Args:
        training: The epochs' records of training images.
        held_out: Those of held-out images.
        key: ``"elbo"`` or ``"objective"``.

    Returns:
        One line, or None: the held-out score must have been better by 10% of what it had gained,
        at least 5 epochs ago.
    """
    if len(held_out) <= _WAIT or len(training) != len(held_out):
        return None
    scores = [record[key] for record in held_out]
    best = max(range(len(scores)), key=scores.__getitem__)
    fallen = scores[best] - scores[-1] > _FALL * (scores[best] - scores[0])
    if len(scores) - 1 - best < _WAIT or not fallen or training[-1][key] <= training[best][key]:
        return None
    return (
        f"overfitting: the held-out {key} was best at epoch {held_out[best]['epoch']} "
        f"({scores[best]:.1f}) and is {scores[-1]:.1f} now, while training's has risen: "
        "share σ more widely (--sigma-per dataset), add --dropout, or stop earlier (--patience)"
    )


def scale_note(vae: VAE, kind: str) -> str | None:
    """What a scale that is not learned implies, in one line; None where there is none.

    A Normal's fixed σ is the weight of the KL in disguise: squared error + 2σ² β KL.
    """
    origins = {name: param.origin for name, param in vae.obs.parameters}
    origin = origins.get("scale", "learned")
    if origin == "learned":
        return None
    if origin == "residual":
        return (
            "σ is computed from the errors that it scores: a loss and no likelihood"
            if kind == "loss"
            else "σ is each batch's root mean square error, frozen outside training"
        )
    scale: Tensor = getattr(vae.likelihood, "fixed_scale")  # noqa: B009
    value = float(scale.square().mean().sqrt())
    said = f"σ = {value:.4g} {'from the data' if origin == 'data' else 'fixed'}"
    if scale.numel() > 1:
        said += (
            f" (root mean square over sites, {float(scale.min()):.2g} to {float(scale.max()):.2g})"
        )
    if vae.obs.family is not dist.Normal:
        return said
    return f"{said}: the summed squared error with the KL weighted 2σ²β = {2 * value**2:.4g} β"
