"""An asker's own training loop: a loss function (x, x_hat, mean, log_var) and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import pyro_vae as pv
from pyro_vae.elbo import ACTIVE

__all__ = ["Loss", "Trained", "rounded", "train"]

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass
class Trained:
    """Networks that a loss function has trained.

    Attributes:
        encoder: Images to mean and log-variance, one after the other.
        decoder: Latents to the pixels' logits.
        course: Of each step, the squared error per pixel, and the KL summed over a full batch.
    """

    encoder: nn.Module
    decoder: nn.Module
    course: list[tuple[float, float]] = field(default_factory=list)

    @torch.no_grad()
    def reconstruct(self, images: Tensor) -> Tensor:
        """Pictures at the posterior's mean."""
        mean, _ = self.encoder(images).chunk(2, 1)
        return torch.sigmoid(self.decoder(mean)).view_as(images)

    @torch.no_grad()
    def scores(self, images: Tensor, centre: Tensor) -> dict[str, Any]:
        """What tells a collapsed model from a healthy one, on held-out images.

        Args:
            images: On [0, 1], (N, 1, H, W).
            centre: The training images' mean, whose squared error is the collapsed model's.

        Returns:
            ``kl`` in nats per image, ``active_units``, ``mse`` per pixel, ``mse_over_mean_image``,
            and ``spread``: the reconstructions' standard deviation over inputs, of the data's.
        """
        mean, log_var = self.encoder(images).chunk(2, 1)
        pictures = self.reconstruct(images)
        kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(1)
        mse = (pictures - images).square().mean()
        spread = pictures.var(0).sum() / images.var(0).sum()
        return {
            "kl": rounded(kl.mean()),
            "active_units": int((mean.var(0, correction=0) > ACTIVE).sum()),
            "mse": rounded(mse),
            "mse_over_mean_image": rounded(mse / (centre - images).square().mean()),
            "spread": rounded(spread.sqrt()),
        }


def rounded(value: Any) -> float:
    """Four significant digits."""
    return float(f"{float(value):.4g}")


def train(
    loss: Loss,
    images: Tensor,
    epochs: int,
    posterior: str = "normal",
    net: Any = "mlp",
    latent_dim: int = 20,
    lr: float = 1e-3,
    batch_size: int = 128,
    seed: int = 0,
) -> Trained:
    """Train a pair of networks by Adam, as a tutorial does.

    Args:
        loss: (x, x_hat, mean, log_var) → the loss of a batch.
        images: On [0, 1], (N, 1, H, W).
        epochs: Passes over the images.
        posterior: ``"normal"``, or ``"delta"`` for a plain autoencoder.
        net: As for :class:`pyro_vae.VAE`.
        latent_dim: Length of z.
        lr: Learning rate.
        batch_size: Images per step.
        seed: Of weights, batches and noise.
    """
    torch.manual_seed(seed)
    shape = tuple(images.shape[1:])
    sizes = pv.networks.Sizes(shape, 2 * latent_dim, latent_dim, images[0].numel(), 0)
    trained = Trained(*pv.networks.make(net, sizes))
    parameters = [*trained.encoder.parameters(), *trained.decoder.parameters()]
    adam = torch.optim.Adam(parameters, lr)
    for _ in range(epochs):
        for index in torch.randperm(len(images)).split(batch_size):
            x = images[index]
            mean, log_var = trained.encoder(x).chunk(2, 1)
            noise = torch.randn_like(mean) if posterior == "normal" else torch.zeros_like(mean)
            x_hat = torch.sigmoid(trained.decoder(mean + torch.exp(0.5 * log_var) * noise))
            x_hat = x_hat.view_as(x)
            value = loss(x, x_hat, mean, log_var)
            adam.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            adam.step()
            with torch.no_grad():
                kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(1).mean()
                trained.course.append((float((x_hat - x).square().mean()), batch_size * float(kl)))
    return trained
