"""What is kept of each step: sums over its images in a row of numbers, read once an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyro_vae import measures

__all__ = ["Rows", "sums_of"]


def sums_of(loss: Tensor, model_trace: Any, guide_trace: Any) -> Tensor:
    """Sums over a step's images, without gradients.

    Args:
        loss: The objective's loss, summed over the images.
        model_trace: The model's trace.
        guide_trace: The guide's trace.

    Returns:
        Loss, reconstruction, KL; each latent's posterior mean and its square; each latent's KL
        where it splits: (3 + 2 L,) or (3 + 3 L,).
    """
    terms = measures.terms_of(model_trace, guide_trace)
    each, mean = terms.kl_per_latent, terms.mean
    scalars = torch.stack([loss.detach(), terms.reconstruction.sum(), terms.kl.sum()])
    per_latent = [] if each is None else [each.sum(0)]
    return torch.cat([scalars, mean.sum(0), mean.square().sum(0), *per_latent])


class Rows:
    """The rows of some steps: for each its sums, β, the gradient's norm and the learning rate.

    Args:
        rows: One of each step, (3 + 2 L + 3,) or (3 + 3 L + 3,).
        sizes: Each step's images.
        latent_dim: L.
    """

    def __init__(self, rows: Sequence[Tensor], sizes: Sequence[int], latent_dim: int) -> None:
        table, latents = torch.stack(list(rows)).cpu(), latent_dim
        self.sizes = torch.tensor(sizes)
        sums, self.settings = table[:, :-3], table[:, -3:]
        per_image = sums / self.sizes[:, None]
        self.scalars, self.per_latent = per_image[:, :3], per_image[:, 3 + 2 * latents :]
        self.moments = sums[:, 3 : 3 + 2 * latents].unflatten(1, (2, latents))

    def records(self, objective: str) -> list[dict[str, Any]]:
        """A record for each step.

        Args:
            objective: The name of reconstruction − kl.
        """
        active = measures.active_of_moments(self.moments, self.sizes[:, None, None])
        figures = zip(
            self.scalars.tolist(),
            self.settings.tolist(),
            self.per_latent.tolist(),
            active.tolist(),
            strict=True,
        )
        return [_record(objective, *figure) for figure in figures]

    def mean(self, objective: str) -> dict[str, Any]:
        """The steps' averages, each with the weight of its images, and the last step's β."""
        n = int(self.sizes.sum())
        weights = (self.sizes / n).to(self.scalars)
        active = measures.active_of_moments(self.moments.sum(0), n)
        settings = [*self.settings[-1].tolist()]
        settings[1] = float(weights @ self.settings[:, 1])
        return _record(
            objective,
            (weights @ self.scalars).tolist(),
            settings,
            (weights @ self.per_latent).tolist(),
            int(active),
        )


def _record(
    objective: str,
    scalars: Sequence[float],
    settings: Sequence[float],
    per_latent: Sequence[float],
    active: int,
) -> dict[str, Any]:
    loss, reconstruction, kl = scalars
    beta, norm, lr = settings
    return {
        "loss": loss,
        "beta": beta,
        "elbo": None,
        "objective": None,
        objective: reconstruction - kl,
        "reconstruction": reconstruction,
        "kl": kl,
        "kl_per_latent": list(per_latent) or None,
        "active_units": active,
        "gradient_norm": norm,
        "learning_rate": lr,
    }
