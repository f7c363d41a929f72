"""What an evaluation leaves in a run folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyro_vae.data import as_images
from pyro_vae.errors import InputError
from pyro_vae.evaluation.blocks import encoded, evaluating
from pyro_vae.evaluation.pictures import (
    draw_calibration,
    draw_interpolations,
    draw_kinds,
    draw_latents,
    draw_traversals,
)
from pyro_vae.observed import KINDS
from pyro_vae.posteriors import code_of
from pyro_vae.training.runs import replace
from pyro_vae.vae import VAE

__all__ = ["EVALUATION", "checked_labels", "write_evaluation"]

EVALUATION = "evaluation.json"
"""Where a run folder keeps its scores."""

_SCATTERED = 2000


def checked_labels(labels: Any, count: int) -> Tensor | None:
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


def write_evaluation(
    vae: VAE, images: Any, scores: dict[str, Any], folder: str | Path, labels: Any = None
) -> list[Path]:
    """Write scores as ``evaluation.json`` and draw what they speak of.

    Args:
        vae: The model.
        images: Those that it was scored on.
        scores: From :func:`~pyro_vae.evaluation.evaluate`.
        folder: An existing folder, as that of the run.
        labels: Classes of the images, which colour the latents, or None.

    Returns:
        The files: ``evaluation.json``, ``latents.png``, ``calibration.png`` where the scores have
        a calibration, and for pictures and vectors on [0, 1] also ``traversals.png``,
        ``interpolations.png`` and ``kinds.png``.

    Raises:
        InputError: If the images have another shape than the model's, or the labels do not fit.
    """
    folder = Path(folder)
    tensor = as_images(images, vae.data_shape)
    classes = checked_labels(labels, len(tensor))
    text = json.dumps(scores, indent=2) + "\n"
    replace(folder / EVALUATION, lambda path: path.write_text(text, encoding="utf-8"))
    files = [folder / EVALUATION, folder / "latents.png"]
    with evaluating(vae):
        blocks = encoded(vae, tensor[:_SCATTERED])
        means = torch.cat([code_of(block.posterior) for block in blocks])
        shown = None if classes is None else classes[:_SCATTERED]
        draw_latents(means.cpu(), shown, files[-1])
        if scores.get("calibration"):
            files.append(folder / "calibration.png")
            draw_calibration(scores["calibration"], files[-1])
        if vae.levels.eight_bit:
            files += [folder / f"{name}.png" for name in ("traversals", "interpolations", "kinds")]
            strength = scores["kl_per_latent"] or means.var(0, correction=0).tolist()
            draw_traversals(vae, means[0], strength, files[-3])
            if len(means) > 1:
                draw_interpolations(vae, means, files[-2])
            kinds = [
                kind for kind in KINDS if kind in scores.get("reconstructions", {"mean": None})
            ]
            draw_kinds(vae, tensor[:16], kinds, files[-1])
    return [path for path in files if path.exists()]
