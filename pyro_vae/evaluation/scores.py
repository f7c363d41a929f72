"""Scores of a model on images it was not trained on."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pyro_vae import measures
from pyro_vae.data import as_images
from pyro_vae.training.pictures import unit
from pyro_vae.vae import VAE

__all__ = ["evaluate"]


def evaluate(vae: VAE, images: Any) -> dict[str, Any]:
    """Scores of a VAE, the same from call to call.

    Args:
        vae: The model.
        images: uint8 levels or floats, (N, *data_shape).

    Returns:
        ``kind`` (what the observation is on these images); ``elbo``, ``reconstruction``, ``kl``
        and ``collapsed`` (the best constant prediction's ELBO) in nats per image; ``kl_per_latent``
        in nats; ``active_units``; ``bits_per_dim`` and ``collapsed_bits_per_dim``; ``mse`` of the
        mean reconstruction per pixel on [0, 1] and ``mse_mean_image``, that of the mean image;
        ``frozen``, for a scale that is a residual: ``elbo`` and ``bits_per_dim`` with the scale of
        the training data, else None; ``spread``, the standard deviation of the mean reconstruction
        over images, averaged over pixels that vary by more than 0.05; ``images``, their number.
        For a loss ``elbo`` and the bits are None and ``objective`` stands in their place.

    Raises:
        InputError: If the images are empty, not finite, or of another shape than the model's.
    """
    tensor = as_images(images, vae.data_shape)
    kind = vae.obs.kind_on(tensor)
    scores = measures.scores_of(measures.held_out_terms(vae, tensor), kind)
    collapsed = measures.best_constant(vae, tensor).reconstruction
    bits: tuple[float | None, float | None] = (None, None)
    if scores["elbo"] is not None and tensor.dtype == torch.uint8:
        bits = (_bits(vae, scores["elbo"], kind), _bits(vae, collapsed, kind))
    return {
        "kind": kind,
        **scores,
        "frozen": _frozen(vae, tensor),
        "collapsed": collapsed,
        "bits_per_dim": bits[0],
        "collapsed_bits_per_dim": bits[1],
        **_pictures(vae, tensor),
        "images": len(tensor),
    }


def _bits(vae: VAE, elbo: float, kind: str) -> float:
    dims = math.prod(vae.data_shape)
    return measures.bits_per_dim(elbo, kind, vae.obs.levels, dims, vae.obs.interval)


def _frozen(vae: VAE, images: Tensor) -> dict[str, Any] | None:
    """Scores of a scale that is a residual, at its value on the training data: a real density."""
    if "residual" not in vae.likelihood.origins():
        return None
    vae.likelihood.frozen = True
    try:
        scores = measures.scores_of(measures.held_out_terms(vae, images), "density")
    finally:
        vae.likelihood.frozen = False
    bits = _bits(vae, scores["elbo"], "density") if images.dtype == torch.uint8 else None
    return {"name": "normal, frozen σ", "elbo": scores["elbo"], "bits_per_dim": bits}


def _pictures(vae: VAE, images: Tensor) -> dict[str, float]:
    with measures.fixed_noise(0, images.device):
        shown = torch.cat([vae.reconstruct(part) for part in images.split(measures.BLOCK)])
    target = unit(vae, images)
    varies = target.std(0, correction=0) > 0.05
    spread = shown.std(0, correction=0)[varies]
    return {
        "mse": float((shown - target).square().mean()),
        "mse_mean_image": float((target - target.mean(0)).square().mean()),
        "spread": float(spread.mean()) if spread.numel() else 0.0,
    }
