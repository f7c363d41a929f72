"""What an evaluation leaves in a run folder."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from torch import Tensor

from pyro_vae import ours
from pyro_vae.data import as_images, cycled, plain
from pyro_vae.data.batch import Loaded
from pyro_vae.errors import InputError
from pyro_vae.files import expanded, write_text
from pyro_vae.metrics.classifier import sha256_of
from pyro_vae.metrics.encodings import encoded, evaluating
from pyro_vae.metrics.pictures import (
    draw_calibration,
    draw_interpolations,
    draw_kinds,
    draw_latents,
    draw_traversals,
)
from pyro_vae.observed import KINDS
from pyro_vae.posteriors import code_of
from pyro_vae.types import JSON
from pyro_vae.vae import VAE

__all__ = ["write_evaluation"]

EVALUATION = "evaluation.json"
"""Where a run folder keeps its scores."""
_PICTURES = ("latents", "calibration", "traversals", "interpolations", "kinds")
WRITTEN = (EVALUATION, *(f"{name}.png" for name in _PICTURES))
"""What an evaluation may write."""

_SCATTERED = 2000


def checked_labels(labels: Tensor | None, count: int) -> Tensor | None:
    """Labels as a tensor on the CPU, one for each image.

    Raises:
        InputError: If their number is another.
    """
    if labels is None:
        return None
    tensor = torch.as_tensor(labels).cpu()
    if tensor.shape != (count,):
        raise InputError(
            f"labels must be one for each of {count} images, got {tuple(tensor.shape)}"
        )
    return tensor


def keep_scores(vae: VAE, images: Loaded, scores: JSON, folder: Path) -> Path:
    """Write scores as ``evaluation.json``, beside those that it has already.

    A score that is not among the new ones stays where it is of the same weights and images, which
    ``of`` tells by their SHA-256; all others go.

    Args:
        vae: The model.
        images: Those that it was scored on.
        scores: The new ones.
        folder: That of the run.

    Returns:
        The file.
    """
    of = {
        "weights": sha256_of(vae.state_dict()),
        "images": sha256_of({"images": plain(images)}),
    }
    path = folder / EVALUATION
    merged = {**_kept(path, scores, of), "of": of}
    ours.claim(folder, ours.RUN, [EVALUATION])
    write_text(path, json.dumps(merged, indent=2) + "\n")
    return path


def _kept(path: Path, scores: JSON, of: dict[str, str]) -> JSON:
    """The new scores, and such of a file's as are not among them and of the same."""
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return scores
    # Earlier versions did not say of what scores are, and own heads have no weights: figures do.
    if not isinstance(before, dict) or before.get("of", of) != of or not _agree(before, scores):
        return scores
    # None stands for a table that was not asked for.
    return before | {
        key: value
        for key, value in scores.items()
        if value is not None or not isinstance(before.get(key), dict)
    }


def _agree(before: JSON, scores: JSON) -> bool:
    """Whether scores that every evaluation has are the same but for rounding."""
    if before.get("kind") != scores.get("kind") or before.get("images") != scores.get("images"):
        return False
    for key in ("reconstruction", "kl", "mse"):
        old, new = before.get(key, 0.0), scores.get(key, 0.0)
        if not (isinstance(old, float) and isinstance(new, float)):
            return False
        if not math.isclose(old, new, rel_tol=1e-4, abs_tol=1e-6):
            return False
    return True


def write_evaluation(
    vae: VAE,
    images: Loaded,
    scores: JSON,
    folder: str | Path,
    labels: Tensor | None = None,
) -> list[Path]:
    """Write scores as ``evaluation.json`` and draw what they speak of.

    Scores that the file has already stay where they are of the same weights and images.

    Args:
        vae: The model.
        images: Those that it was scored on.
        scores: From :func:`~pyro_vae.metrics.evaluate`.
        folder: That of the run, or a new or empty one.
        labels: Classes of the images, which colour the latents, or None.

    Returns:
        The files: ``evaluation.json``, ``latents.png``, ``calibration.png`` where the scores have
        a calibration, and for pictures and vectors on [0, 1] also ``traversals.png``,
        ``interpolations.png`` and ``kinds.png``.

    Raises:
        InputError: If the images have another shape than the model's, the labels do not fit, or
            the folder holds other files; nothing is written then.
    """
    folder = expanded(folder)
    ours.check(folder, ours.RUN, WRITTEN)
    tensor = as_images(images, vae.data_shape)
    classes = checked_labels(labels, len(tensor))
    ours.claim(folder, ours.RUN, WRITTEN)
    files = [keep_scores(vae, tensor, scores, folder), folder / "latents.png"]
    with evaluating(vae):
        blocks = encoded(vae, tensor[:_SCATTERED])
        means = torch.cat([code_of(block.posterior) for block in blocks])
        shown = None if classes is None else classes[:_SCATTERED]
        draw_latents(means.cpu(), shown, files[-1])
        if scores.get("calibration"):
            files.append(folder / "calibration.png")
            draw_calibration(scores["calibration"], files[-1])
        if not vae.joint and vae.levels.eight_bit:
            files += [folder / f"{name}.png" for name in ("traversals", "interpolations", "kinds")]
            strength = scores["kl_per_latent"] or means.var(0, correction=0).tolist()
            known = cycled(tensor, len(means))
            one = None if known is None else known[:1]
            draw_traversals(vae, means[0], strength[: vae.latent_dims[0]], files[-3], one)
            if len(means) > 1:
                draw_interpolations(vae, means, files[-2], known)
            kinds = [
                kind for kind in KINDS if kind in scores.get("reconstructions", {"mean": None})
            ]
            draw_kinds(vae, tensor[:16], kinds, files[-1])
    return [path for path in files if path.exists()]
