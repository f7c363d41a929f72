"""Scores of samples: classifier-FID, classifier-KID and classifier-IS, beside their floors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pyro_vae.data import Data, as_images, cycled
from pyro_vae.data.batch import Loaded
from pyro_vae.elbo import BLOCK
from pyro_vae.errors import InputError
from pyro_vae.metrics.classifier import Classifier, labelled
from pyro_vae.metrics.classifier_network import FEATURES
from pyro_vae.metrics.encodings import evaluating
from pyro_vae.metrics.fid import (
    frechet_distance,
    frechet_distance_infinite,
    inception_score,
    kernel_distance,
    least,
)
from pyro_vae.noise import fixed_noise, noise
from pyro_vae.plots.runs import unit
from pyro_vae.types import JSON
from pyro_vae.vae import VAE

__all__ = ["check_samples", "sample_scores", "score_pictures"]

Features = Callable[[Tensor], Tensor]
"""Pictures on [0, 1], (N, C, H, W), to features (N, D)."""


def check_samples(vae: VAE, data: Data, n: int, kind: str = "sample") -> None:
    """Refuse at once what :func:`sample_scores` by the data's classifier would refuse.

    Args:
        vae: The model.
        data: Images and labels, of which the test images are the real ones.
        n: Number of samples.
        kind: As for :func:`sample_scores`.

    Raises:
        InputError: If there are too few samples or real images (it says how many are needed),
            labels are missing, the images have another shape than the model's, or the observation
            has no pictures on [0, 1] or none of this kind.
    """
    if not vae.levels.eight_bit:
        raise InputError(
            f"samples can be scored of pictures on [0, 1], {vae.obs.title} is of {vae.obs.levels}"
        )
    real = as_images(data.test, vae.data_shape)
    _check_number(n, "samples", least(FEATURES), FEATURES)
    _check_number(len(real), "real images", least(FEATURES), FEATURES)
    labelled(data)
    with evaluating(vae), fixed_noise(noise("one sample"), next(vae.parameters()).device):
        vae.sample(1, kind, covariates=cycled(data.test, 1))


def sample_scores(
    vae: VAE,
    images: Loaded,
    classifier: Classifier | None,
    n: int | None = None,
    kind: str = "sample",
    seed: int = 0,
    features: Features | None = None,
) -> JSON:
    """Scores of a VAE's samples against real images, the same from call to call.

    Args:
        vae: The model.
        images: Real images that neither the VAE nor the classifier was trained on, uint8 levels
            or floats, (N, *data_shape).
        classifier: Of the data set, see :func:`~pyro_vae.metrics.classifier.classifier_for`;
            None where ``features`` is given, which leaves out the Inception Score.
        n: Number of samples; by default as many as real images.
        kind: What of p(x|z) to score: ``"sample"``, ``"mean"``, ``"mode"`` or ``"parameter"``.
        seed: Of the latents, the samples and the subsets.
        features: In place of the classifier's features, as Inception's from torch-fidelity for
            those who have its weights. The scores are then named ``custom``.

    Returns:
        Those of :func:`score_pictures`, with ``kind`` and ``seed``; of a VAE that is told classes
        ``right_class``, the share of samples that the classifier takes for theirs, else None.

    Raises:
        InputError: If there are too few images or samples for the distance (it says how many it
            needs), they have another shape than the model's or the classifier's, or the
            observation has no such picture.
    """
    if classifier is not None and classifier.data_shape != vae.data_shape:
        raise InputError(
            f"the classifier takes images of shape {classifier.data_shape}, "
            f"the run's have {vae.data_shape}"
        )
    given = as_images(images, vae.data_shape)
    real = unit(vae, given)
    n = len(real) if n is None else n
    if classifier is not None and features is None:
        _check_number(len(real), "real images", least(classifier.dims), classifier.dims)
        _check_number(n, "samples", least(classifier.dims), classifier.dims)
    elif n < 1:
        raise InputError(f"n must be at least 1, got {n}")
    pictures = draw(vae, n, kind, seed, given)
    scores = score_pictures(pictures, real, classifier, features, seed)
    return {
        **scores,
        "right_class": _right(pictures, given, classifier),
        "kind": kind,
        "seed": seed,
    }


def _right(pictures: Tensor, images: Loaded, classifier: Classifier | None) -> float | None:
    """Share of samples that the classifier takes for the class that they were drawn of."""
    known = cycled(images, len(pictures))
    if classifier is None or known is None:
        return None
    logits = classifier.logits(pictures)
    if logits.shape[1] != known.shape[1]:  # classes that no training image has
        return None
    return float((logits.argmax(1) == known.argmax(1).cpu()).double().mean())


def draw(
    vae: VAE, n: int, kind: str = "sample", seed: int = 0, images: Loaded | None = None
) -> Tensor:
    """Pictures at latents from the prior, (n, *data_shape) on [0, 1], in fixed blocks of noise.

    Args:
        vae: The model.
        n: How many.
        kind: As for :meth:`~pyro_vae.vae.VAE.sample`.
        seed: Of the latents and the samples.
        images: Those whose covariates the samples have, one after the other, where there are any.
    """
    parts, blocks = [], -(-n // BLOCK)
    known = None if images is None else cycled(images, blocks * BLOCK)
    with evaluating(vae):
        for block in range(blocks):
            given = None if known is None else known[block * BLOCK : (block + 1) * BLOCK]
            with fixed_noise(noise("samples", seed, block), next(vae.parameters()).device):
                parts.append(vae.sample(BLOCK, kind, covariates=given).cpu())
    return torch.cat(parts)[:n].clamp(0, 1)


def score_pictures(
    pictures: Tensor,
    real: Tensor,
    classifier: Classifier | None,
    features: Features | None = None,
    seed: int = 0,
) -> JSON:
    """Scores of generated pictures against real ones.

    Args:
        pictures: Generated, on [0, 1], (n, C, H, W); values outside are clipped, as a screen does.
        real: Real ones, of the same shape but for their number.
        classifier: Of the data set, or None.
        features: In place of the classifier's.
        seed: Of the subsets.

    Returns:
        With the prefix ``classifier_`` (``custom_`` with ``features``): ``fid``; ``fid_infinite``,
        extrapolated to infinite n; ``fid_floor``, between two halves of the real pictures (of no
        more than there are samples), and ``fid_at_floor``, of the samples at the same number;
        ``kid`` and ``kid_se``, and ``kid_floor`` and ``kid_floor_se``. ``classifier_is``,
        ``classifier_is_se`` and the real pictures' ``classifier_is_real`` and
        ``classifier_is_real_se``, or None without a classifier. ``n``, ``n_real``, ``n_floor``;
        ``classifier_sha256``, ``classifier_accuracy``, ``classifier_tested``; ``features``, their
        number.
        ``dark`` and ``light``, the fractions of pixels below 0.02 and above 0.98, and the real
        pictures' ``dark_real`` and ``light_real``.

    Raises:
        InputError: As for :func:`sample_scores`.
    """
    chosen = features
    if chosen is None:
        if classifier is None:
            raise InputError("scores of samples need a classifier, or features of your own")
        chosen = classifier.features
    generator = torch.Generator().manual_seed(noise("order of samples", seed))
    # Blocks and halves are of pictures in random order, whatever order the data came in.
    pictures, real = (
        part.cpu().clamp(0, 1)[torch.randperm(len(part), generator=generator)]
        for part in (pictures, real)
    )
    made, true = _features(chosen, pictures), _features(chosen, real)
    _check_number(len(real), "real images", least(true.shape[1]), true.shape[1])
    _check_number(len(pictures), "samples", least(true.shape[1]), true.shape[1])
    prefix = "classifier" if features is None else "custom"
    return {
        **{f"{prefix}_{name}": value for name, value in _distances(made, true, seed).items()},
        **_inception(classifier, pictures, real),
        "n": len(pictures),
        "n_real": len(real),
        "n_floor": _half(pictures, real),
        "features": true.shape[1],
        "dark": float((pictures < 0.02).double().mean()),
        "light": float((pictures > 0.98).double().mean()),
        "dark_real": float((real < 0.02).double().mean()),
        "light_real": float((real > 0.98).double().mean()),
    }


def _distances(made: Tensor, real: Tensor, seed: int) -> dict[str, float]:
    half = _half(made, real)
    same, first, second = made[:half], real[:half], real[half : 2 * half]
    kid, kid_se = kernel_distance(made, real)
    floor, floor_se = kernel_distance(first, second)
    return {
        "fid": frechet_distance(made, real),
        "fid_infinite": frechet_distance_infinite(made, real, seed),
        "fid_floor": frechet_distance(first, second),
        "fid_at_floor": (frechet_distance(same, first) + frechet_distance(same, second)) / 2,
        "kid": kid,
        "kid_se": kid_se,
        "kid_floor": floor,
        "kid_floor_se": floor_se,
    }


def _half(made: Tensor, real: Tensor) -> int:
    """Pictures in each set whose distances are the floor."""
    return min(len(real) // 2, len(made))


def _inception(classifier: Classifier | None, made: Tensor, real: Tensor) -> JSON:
    names = ("is", "is_se", "is_real", "is_real_se", "sha256", "accuracy", "tested")
    values: tuple[Any, ...] = (None,) * len(names)
    if classifier is not None:
        scores = (*_score(classifier, made), *_score(classifier, real))
        values = (*scores, classifier.sha256, classifier.accuracy, classifier.tested)
    return {f"classifier_{name}": value for name, value in zip(names, values, strict=True)}


def _score(classifier: Classifier, pictures: Tensor) -> tuple[float, float]:
    return inception_score(classifier.logits(pictures))


@torch.no_grad()
def _features(features: Features, pictures: Tensor) -> Tensor:
    parts = [features(block) for block in pictures.split(BLOCK)]
    for part in parts:
        if not isinstance(part, Tensor) or part.dim() != 2:
            shape = tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__
            raise InputError(f"features must return a tensor (N, D), got {shape}")
    found = torch.cat(parts).double().cpu()
    if not bool(torch.isfinite(found).all()):
        raise InputError("features must be finite, and of these pictures some are not")
    return found


def _check_number(n: int, what: str, fewest: int, dims: int) -> None:
    if n < fewest:
        raise InputError(f"FID on {dims} features needs at least {fewest} {what}, got {n}")


def rows(scores: JSON) -> list[tuple[str, str]]:
    """Scores as lines of a table: a label, and its value in words.

    Args:
        scores: As :func:`sample_scores` or :func:`score_pictures` returns them.
    """
    name = "custom" if "custom_fid" in scores else "classifier"
    at = {key: scores[f"{name}_{key}"] for key in _KEYS}
    half = scores["n_floor"]
    kid_floor = f"{at['kid_floor']:.5f} ± {at['kid_floor_se']:.5f}"
    found = [
        (
            f"{name}-FID",
            f"{at['fid']:10.3f} of {scores['n']} samples and {scores['n_real']} real images",
        ),
        ("  at infinite n", f"{at['fid_infinite']:10.3f} extrapolated in 1/n"),
        (f"  at n = {half}", f"{at['fid_at_floor']:10.3f} real halves: {at['fid_floor']:.3f}"),
        (f"{name}-KID", f"{at['kid']:10.5f} ± {at['kid_se']:.5f}, real halves: {kid_floor}"),
    ]
    if scores["classifier_is"] is not None:
        found += [
            (
                "classifier-IS",
                f"{scores['classifier_is']:10.3f} ± {scores['classifier_is_se']:.3f}, real "
                f"images: {scores['classifier_is_real']:.3f}",
            ),
            (
                "  classifier",
                f"{scores['classifier_sha256'][:10]} accuracy {scores['classifier_accuracy']:.4f} "
                f"on {scores['classifier_tested']} test images",
            ),
        ]
    if scores.get("right_class") is not None:
        text = f"{scores['right_class']:10.4f} of the samples, by the classifier"
        found.append(("  of the class asked for", text))
    return [
        *found,
        ("samples' dark pixels", f"{scores['dark']:10.4f} < 0.02, real: {scores['dark_real']:.4f}"),
        ("  light pixels", f"{scores['light']:10.4f} > 0.98, real: {scores['light_real']:.4f}"),
    ]


_KEYS = (
    "fid",
    "fid_infinite",
    "fid_floor",
    "fid_at_floor",
    "kid",
    "kid_se",
    "kid_floor",
    "kid_floor_se",
)
