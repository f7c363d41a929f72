"""A plain loss of small images, as one number and in two terms."""

from __future__ import annotations

from typing import Any

from torch import Tensor

SIZES: dict[str, Any] = {"data_shape": (1, 6, 5), "latent_dim": 4, "batch_size": 8}


def terms(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    kl = -0.5 * (1 + log_var - mean.pow(2) - log_var.exp()).sum(1).mean()
    return (x_hat - x).pow(2).flatten(1).sum(1).mean(), kl


def plain(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    return sum(terms(x, x_hat, mean, log_var))
