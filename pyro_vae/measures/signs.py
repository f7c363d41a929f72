"""Warning signs in a run's records, in the words that training and diagnosis share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_vae.measures.scores import BLOCK
from pyro_vae.vae import VAE

__all__ = ["overfitting", "scale_note", "worse_than_mean_image"]

_WAIT = 5
_FALL = 0.10
_EPOCHS = 3


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


def worse_than_mean_image(
    vae: VAE, images: Tensor, training: Sequence[dict[str, Any]], key: str
) -> str | None:
    """Whether a loss whose σ is the error's own falls while its pictures are no pictures.

    Per pixel that loss is log|x − mean| above the floor: an exact hit on a pixel's commonest value
    pays more than coming close to all the others, so black everywhere beats any digit.

    Args:
        vae: The model.
        images: Training images, levels (uint8) or floats; the first ones are looked at.
        training: The epochs' records of training images.
        key: ``"elbo"`` or ``"objective"``.

    Returns:
        One line, or None: the score must have risen over at least 3 epochs, while the squared
        error of the mean reconstruction is above that of the mean image.
    """
    own = [param.scope for _, param in vae.obs.parameters if param.origin == "residual"]
    if not {"image", "pixel"} & set(own):
        return None
    if len(training) < _EPOCHS or training[-1][key] <= training[0][key]:
        return None
    error, of_mean_image = _squared_errors(vae, images[:BLOCK])
    if error <= of_mean_image:
        return None
    wider = "batch" if own[0] == "image" else "image or batch"
    return (
        f"diverging: the loss falls while the squared error of its mean, {error:.3g} per pixel, is "
        f"above the mean image's {of_mean_image:.3g}: with σ per {own[0]} the error's own, hitting "
        "the commonest value exactly pays more than any picture: share σ more widely "
        f"(--sigma-per {wider})"
    )


@torch.no_grad()
def _squared_errors(vae: VAE, images: Tensor) -> tuple[float, float]:
    """Of the mean reconstruction and of the mean image, in the observation's unit."""
    training = vae.training
    vae.eval()
    try:
        mean = vae.decode(vae.encode(images).mean).mean
    finally:
        vae.train(training)
    x = images
    if images.dtype == torch.uint8:
        x = vae.levels.observe(images, None, vae.obs.interval)
    return float((x - mean).square().mean()), float((x - x.mean(0)).square().mean())


def scale_note(vae: VAE, kind: str) -> str | None:
    """What a scale that is not learned implies, in one line; None where there is none.

    A Normal's fixed σ is the weight of the KL in disguise: squared error + 2σ² β KL.
    """
    origins = {name: param.origin for name, param in vae.obs.parameters}
    origin = origins.get("scale", "learned")
    if origin == "learned":
        return None
    if origin == "residual":
        return _residual_note(dict(vae.obs.parameters)["scale"].scope)
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


def _residual_note(scope: object) -> str:
    """What a scale that is the error's own implies."""
    if scope == "batch":
        return "σ is each batch's root mean square error, frozen outside training"
    said = "σ is computed from the errors that it scores: a loss and no likelihood"
    if scope == "pixel":
        said += (
            "; per pixel it is log|x − mean|, which only the floor bounds: expect it to diverge to "
            "each pixel's commonest value (--sigma-per image or batch does not)"
        )
    return said
