"""Scores of a model on images it was not trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from functools import partial

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from pyro_vae import elbo, warning_signs
from pyro_vae.data import as_images, of_covariates
from pyro_vae.data.batch import Given, Loaded
from pyro_vae.elbo.scores import bits_per_dim
from pyro_vae.errors import unknown
from pyro_vae.history import ElboScores
from pyro_vae.metrics.baselines import constant_nats, ppca_nats, uniform_bits
from pyro_vae.metrics.calibration import calibration_scores
from pyro_vae.metrics.chunking import bytes_of
from pyro_vae.metrics.encodings import Block, codes_of, encoded, evaluating
from pyro_vae.metrics.importance import (
    checked_particles,
    importance_bound,
    log_level_mass,
    lowest,
    standard_error,
)
from pyro_vae.metrics.mutual_information import LATENT_SCORES, latent_scores
from pyro_vae.metrics.parts import evaluate_parts
from pyro_vae.metrics.programs import evaluate_programs
from pyro_vae.metrics.reconstructions import reconstructed, reconstruction_scores
from pyro_vae.metrics.results import Calibration, Scores
from pyro_vae.noise import alone
from pyro_vae.observed import KINDS
from pyro_vae.plots.runs import unit
from pyro_vae.types import JSON
from pyro_vae.vae import VAE, checked_vae

__all__ = ["PARTS", "evaluate"]

PARTS = ("ppca", "latents", "reconstructions", "calibration")
"""What :func:`evaluate` adds to the scores, each under this name but the latents'."""


@alone
def evaluate(
    vae: VAE | tuple[Callable[..., object], Callable[..., object]],
    images: Given,
    *,
    train: Given | None = None,
    covariates: ArrayLike | None = None,
    iwae: int | None = None,
    memory_budget: str | int = "512MB",
    parts: Collection[str] = PARTS,
) -> Scores:
    """Scores of a VAE beside their baselines, the same from call to call.

    Args:
        vae: The model; or a pair (model, guide) of any Pyro programs, whose scores are those of
            ``evaluate_programs``.
        images: uint8 levels or floats, (N, *data_shape); of a pair, what both are called with, a
            tensor or a tuple of arguments that begins with one.
        train: The training images, which the baselines are then taken from: the best constant
            prediction, the mean image and probabilistic PCA. Without them they are taken from
            ``images``, which few of those describe too well.
        covariates: (N, C), where the VAE has any.
        iwae: K, to add the importance-weighted bound with K particles.
        memory_budget: What decoding these may take: bytes, or such as ``"512MB"``.
        parts: Which of :data:`PARTS` to add.

    Returns:
        What :class:`~pyro_vae.metrics.Scores` names: a dict, whose keys are attributes too. Of
        programs with several observed or latent sites, what would need them to be one is None; of a
        VAE of several things the scores are those of ``evaluate_parts``.

    Raises:
        InputError: If the images are empty, not finite, or of another shape than the model's, K is
            no positive integer, the budget is no size, or a part is unknown.

    Example:
        >>> vae = VAE((4,), latent_dim=2, obs="categorical")
        >>> scores = evaluate(vae, torch.zeros(3, 4, dtype=torch.uint8), parts=())
        >>> scores["kind"], scores["uniform_bits_per_dim"], scores["iwae"]
        ('mass', 8.0, None)
    """
    if isinstance(vae, tuple):
        return evaluate_programs(*vae, images, iwae=iwae, memory_budget=memory_budget)
    checked_vae(vae, "evaluate")
    if iwae is not None:
        iwae = checked_particles(iwae)
    bytes_of(memory_budget)
    for part in set(parts) - set(PARTS):
        raise unknown("part", part, PARTS)
    tensor = of_covariates(as_images(images, vae.data_shape), covariates)
    fitted = tensor if train is None else as_images(train, vae.data_shape)
    vae.check_given(tensor)
    if vae.joint:
        trained = None if train is None else fitted
        return evaluate_parts(vae, tensor, trained, iwae=iwae, memory_budget=memory_budget)
    with evaluating(vae):
        return _scores(vae, tensor, fitted, train is not None, iwae, memory_budget, parts)


def _scores(
    vae: VAE,
    images: Loaded,
    fitted: Loaded,
    held_out: bool,
    iwae: int | None,
    budget: str | int,
    parts: Collection[str],
) -> Scores:
    """Scores of a VAE of one thing, in evaluation mode; ``fitted`` are the baselines' images."""
    kind = vae.kind_on(images)
    wanted = kind == "density" and _no_bits(vae, images, kind) is None
    blocks = encoded(vae, images, partial(log_level_mass, vae) if wanted else None)
    terms = elbo.Terms.cat(block.terms for block in blocks)
    target = unit(vae, images).float()
    codes = codes_of(vae, blocks)
    kinds = KINDS if "reconstructions" in parts else ("mean",)
    pictures, missing = reconstructed(vae, codes, kinds, images)
    nats = elbo.scores_of(terms, kind)
    # What is made of the head alone says nothing of a program with further observations, and
    # what is made of q(z|x) nothing of one whose latents are drawn at several sites.
    one = len(terms.observed) == 1 and blocks[0].posterior is not None
    collapsed = None
    if len(terms.observed) == 1:
        collapsed = constant_nats(vae, images, fitted if held_out else None)
    total = nats["reconstruction"] - nats["kl"]
    on = "the training images" if held_out else "these images"
    scores = Scores(
        kind=kind,
        few=warning_signs.few_words(len(images)),
        baselines_from=on,
        **nats,
        elbo_standard_error=standard_error(terms.reconstruction - terms.kl),
        lowest=lowest(terms.reconstruction - terms.kl),
        frozen=_frozen(vae, images),
        collapsed=collapsed,
        beats_collapsed=None if collapsed is None else total > collapsed,
        **_bits_scores(vae, blocks if one else [], images, kind, nats, collapsed),
        **_picture_scores(pictures.get("mean"), target, _mean_image(vae, fitted)),
        no_mean=missing.get("mean"),
        images=len(images),
        iwae=None,
    )
    if iwae is not None and kind != "loss":
        scores["iwae"] = _iwae(vae, images, scores, iwae, budget)
    if "ppca" in parts:
        units = terms.mean.shape[1]
        scores["ppca"] = None
        if collapsed is not None:
            scores["ppca"] = _ppca(vae, images, kind, fitted, on, units)
    if "latents" in parts:
        scores.update(latent_scores(blocks, terms.kl) if one else dict.fromkeys(LATENT_SCORES))
    if "reconstructions" in parts:
        scores["reconstructions"] = reconstruction_scores(vae, pictures, target)
    if "calibration" in parts:
        describes = one and (kind != "loss" or _residual(vae))
        scores["calibration"] = _calibration(vae, blocks) if describes else None
    return scores


def _calibration(vae: VAE, blocks: list[Block]) -> Calibration | None:
    """Of a family that has masses, a cdf, or at least samples; else None."""
    try:
        return calibration_scores(vae, blocks)
    except NotImplementedError:
        return None


def _mean_image(vae: VAE, images: Loaded) -> Tensor:
    sums = [unit(vae, part).double().sum(0) for part in images.split(elbo.BLOCK)]
    return (torch.stack(sums).sum(0) / len(images)).float()


def _bits(vae: VAE, value: float, kind: str) -> float:
    dims = math.prod(vae.data_shape)
    return bits_per_dim(value, kind, vae.obs.levels, dims, vae.obs.interval)


def _no_bits(vae: VAE, images: Loaded, kind: str) -> str | None:
    """Why bits per dimension would mean nothing, or None where they do."""
    if kind == "loss" and _residual(vae):
        return "not a likelihood: σ is computed from the very x that it scores"
    if kind == "loss" and vae.obs.levels == "grey":
        return "not a likelihood: on grey pixels its exponential does not integrate to 1"
    if kind == "loss":
        return "not a likelihood: its head declares it a loss"
    if kind == "density" and vae.obs.levels != "dequantised":
        return "a density of real numbers: bits depend on their unit"
    if kind == "density" and images.dtype != torch.uint8:
        return "needs 8-bit data: floats have no levels"
    return None


def _residual(vae: VAE) -> bool:
    return "residual" in vae.likelihood.origins()


def _bits_scores(
    vae: VAE,
    blocks: list[Block],
    images: Loaded,
    kind: str,
    nats: ElboScores,
    collapsed: float | None,
) -> JSON:
    """Bits per dimension; ``no_bits`` says why there are none."""
    why = _no_bits(vae, images, kind)
    if collapsed is None:
        why = "several observations, whose nats have no one unit"
    bits: JSON = {
        "bits_per_dim": None,
        "collapsed_bits_per_dim": None,
        "mass_bits_per_dim": None,
        "uniform_bits_per_dim": None,
        "no_bits": why,
    }
    if why is not None or collapsed is None:
        return bits
    bits["bits_per_dim"] = _bits(vae, nats["reconstruction"] - nats["kl"], kind)
    bits["collapsed_bits_per_dim"] = _bits(vae, collapsed, kind)
    bits["uniform_bits_per_dim"] = uniform_bits(vae.obs.levels, kind)
    masses = [block.mass.double() for block in blocks if block.mass is not None]
    if masses and len(masses) == len(blocks):
        mean = float(torch.cat(masses).mean())
        bits["mass_bits_per_dim"] = _bits(vae, mean - nats["kl"], "mass")
    return bits


def _iwae(vae: VAE, images: Loaded, scores: Scores, k: int, budget: str | int) -> JSON:
    kind, dims = scores.kind, math.prod(vae.data_shape)
    bounds = importance_bound(vae, images, k, budget, mass=scores.mass_bits_per_dim is not None)
    bound, error = float(bounds.observed.mean()), standard_error(bounds.observed)
    valid = scores.bits_per_dim is not None
    mass = None if bounds.mass is None else _bits(vae, float(bounds.mass.mean()), "mass")
    return {
        "k": k,
        "bound": bound,
        "standard_error": error,
        **bounds.reliable.scores,
        "bits_per_dim": _bits(vae, bound, kind) if valid else None,
        "bits_per_dim_standard_error": error / (dims * math.log(2)) if valid and error else None,
        "mass_bits_per_dim": mass,
        "beats_collapsed": None if scores.collapsed is None else bound > scores.collapsed,
    }


def _ppca(
    vae: VAE, images: Loaded, kind: str, fitted: Loaded, on: str, latents: int
) -> JSON | None:
    """Probabilistic PCA with as many latents, in the ELBO's unit and in bits; ``on`` says of which
    images it is.
    """
    value = ppca_nats(vae, images, kind, fitted, latents)
    if value is None:
        return None
    bits = None if _no_bits(vae, images, kind) else _bits(vae, value, kind)
    return {"log_likelihood": value, "bits_per_dim": bits, "fitted_to": on}


def _frozen(vae: VAE, images: Loaded) -> JSON | None:
    """Scores of a scale that is a residual, at its value on the training data: a real density."""
    if not _residual(vae):
        return None
    vae.likelihood.frozen = True
    try:
        nats = elbo.scores_of(elbo.held_out_terms(vae, images), "density")
    finally:
        vae.likelihood.frozen = False
    value = nats["reconstruction"] - nats["kl"]
    bits = _bits(vae, value, "density") if images.dtype == torch.uint8 else None
    return {"name": "normal, frozen σ", "elbo": value, "bits_per_dim": bits}


def _picture_scores(
    shown: Tensor | None, target: Tensor, mean_image: Tensor
) -> dict[str, float | None]:
    if shown is None:
        return {"mse": None, "mse_mean_image": None, "spread": None}
    varies = target.std(0, correction=0) > 0.05
    spread = shown.std(0, correction=0)[varies]
    return {
        "mse": float((shown - target).square().mean()),
        "mse_mean_image": float((target - mean_image).square().mean()),
        "spread": float(spread.mean()) if spread.numel() else 0.0,
    }
