"""Reconstructions by kind: mean, mode, sample and parameter, each against the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from pyro_vae.data import context
from pyro_vae.data.batch import Loaded
from pyro_vae.errors import InputError
from pyro_vae.metrics.encodings import DRAWN
from pyro_vae.noise import fixed_noise, noise
from pyro_vae.types import JSON
from pyro_vae.vae import VAE

__all__: list[str] = []

COMPARED = 1000
"""Images that are reconstructed in every kind but the first, the first ones."""

DARK, LIGHT = 0.02, 0.98
"""Below and above these a pixel counts as saturated."""

_LAPLACIAN = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
_WINDOW = 11  # of the structural similarity
_BORDER = _WINDOW // 2


def reconstructed(
    vae: VAE, codes: Tensor, kinds: Sequence[str], images: Loaded | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Reconstructions, those of ``"sample"`` the same from call to call.

    Args:
        vae: The model, in evaluation mode.
        codes: Of any number of images, (N, L), as :meth:`pyro_vae.VAE.code` gives them.
        kinds: Of ``KINDS``.
        images: The images, where covariates come with them.

    Returns:
        By kind: the first of all images, (N, *data_shape), the others of the first
        :data:`COMPARED`, but for those that the observation has no picture of; and of these why.
    """
    missing: dict[str, str] = {}
    parts: dict[str, list[Tensor]] = {kind: [] for kind in kinds}
    known = context(images)
    for start in range(0, len(codes), DRAWN):
        rows = slice(start, start + DRAWN)
        given = {name: value[rows] for name, value in known.items()}
        with fixed_noise(noise("reconstructions, decoded", block=start), codes.device):
            p = vae.decode(codes[rows], **given)
        wanted = kinds if start < COMPARED else kinds[:1]
        for kind in [kind for kind in wanted if kind in parts]:
            try:
                # Each under the same noise: what it is does not depend on what else is wanted.
                with fixed_noise(noise("reconstructions", block=start), codes.device):
                    parts[kind].append(vae.picture(p, kind))
            except InputError as error:
                missing[kind] = str(error)
                del parts[kind]
    return {kind: torch.cat(part) for kind, part in parts.items()}, missing


def reconstruction_scores(vae: VAE, pictures: dict[str, Tensor], target: Tensor) -> JSON:
    """Scores of every kind of reconstruction that the observation has, and the data's own.

    Args:
        vae: The model, for its observation.
        pictures: From ``reconstructed``; the first :data:`COMPARED` of each kind count.
        target: The images as pictures, (N, *data_shape).

    Returns:
        ``images``, ``data`` (what :func:`describe` says of them), and for each kind what
        :func:`compare` and :func:`describe` say.
    """
    target = target[:COMPARED]
    eight_bit = vae.levels.eight_bit
    scores: dict[str, Any] = {"images": len(target), "data": describe(target, eight_bit)}
    done: list[tuple[Tensor, str]] = []
    for kind, every in pictures.items():
        shown = every[:COMPARED]
        # Of a normal distribution the mean is the mode, and the parameter.
        same = next((other for others, other in done if torch.equal(others, shown)), None)
        if same is None:
            scores[kind] = {**compare(shown, target, eight_bit), **describe(shown, eight_bit)}
            done.append((shown, kind))
        else:
            scores[kind] = dict(scores[same])
    return scores


def compare(shown: Tensor, target: Tensor, eight_bit: bool = True) -> dict[str, float | None]:
    r"""Errors of pictures.

    Args:
        shown: (N, *data_shape).
        target: Of the same shape.
        eight_bit: Whether they are pictures on [0, 1], of which there are PSNR and SSIM.

    Returns:
        ``mse`` and ``mae`` per pixel; ``psnr`` :math:`-10 \log_{10} \mathrm{MSE}` in dB, and
        ``ssim``, the structural similarity of Wang et al. 2004 averaged over images (None for
        vectors and for images below 11 × 11).
    """
    error = (shown - target).double()
    mse = float(error.square().mean())
    scores: dict[str, float | None] = {"mse": mse, "mae": float(error.abs().mean())}
    if eight_bit:
        scores["psnr"] = -10 * math.log10(mse) if mse > 0 else None
        scores["ssim"] = _ssim(shown, target)
    return scores


def describe(shown: Tensor, eight_bit: bool = True) -> dict[str, float | None]:
    """What pictures look like by themselves.

    Args:
        shown: (N, *data_shape).
        eight_bit: Whether they are pictures on [0, 1], which can be saturated.

    Returns:
        ``darkest`` and ``lightest`` value; the fractions of pixels that are ``dark`` (< 0.02) and
        ``light`` (> 0.98); ``sharpness``, the variance of the Laplacian of each image, averaged
        over images (None for vectors).
    """
    values: dict[str, float | None] = {
        "darkest": float(shown.min()),
        "lightest": float(shown.max()),
    }
    if eight_bit:
        values["dark"] = float((shown < DARK).double().mean())
        values["light"] = float((shown > LIGHT).double().mean())
        values["sharpness"] = _sharpness(shown)
    return values


def _sharpness(shown: Tensor) -> float | None:
    if shown.dim() != 4 or min(shown.shape[-2:]) < 3:
        return None
    planes = shown.float().flatten(0, 1)[:, None]
    edges = conv2d(planes, _LAPLACIAN.to(planes)[None, None])
    return float(edges.reshape(len(shown), -1).var(-1, correction=0).mean())


def _ssim(shown: Tensor, target: Tensor) -> float | None:
    if shown.dim() != 4 or min(shown.shape[-2:]) < _WINDOW:
        return None
    # Imported only here: it takes a second.
    from torchmetrics.functional.image import structural_similarity_index_measure

    values: list[Tensor] = []
    for ours, theirs in zip(shown.float().split(DRAWN), target.float().split(DRAWN), strict=True):
        # Images as channels of one: each channel is by itself, and its convolutions take a quarter
        # of the time. Averaged here, as versions differ in whether the border counts.
        _, everywhere = structural_similarity_index_measure(
            ours.flatten(0, 1)[None],
            theirs.flatten(0, 1)[None],
            data_range=1.0,
            reduction="none",
            return_full_image=True,
        )
        # As in the paper, windows that lie in the image: not those of a reflected border.
        inside = everywhere[..., _BORDER:-_BORDER, _BORDER:-_BORDER]
        values.append(inside.reshape(len(ours), -1).mean(1))
    return float(torch.cat(values).mean())
