"""The loss functions of four questions about blurry pictures, as their askers wrote them.

``pyro-vae audit experiments/asked.py:NAME`` says what each is. Where a question used Keras, the
function here does in torch what Keras does: its losses average over the last axis.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = [
    "bce_mean",
    "bce_sum",
    "keras_dimensions",
    "keras_fixed_beta",
    "keras_mean",
    "keras_scaled",
    "mse_mean",
    "mse_sum",
]


def _kl(mean: Tensor, log_var: Tensor) -> Tensor:
    return -0.5 * torch.sum(1 + log_var - mean.pow(2) - log_var.exp())


def _mean_kl(mean: Tensor, log_var: Tensor) -> Tensor:
    return -0.5 * torch.mean(1 + log_var - mean.pow(2) - log_var.exp())


def mse_mean(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """The first question, before its fix."""
    loss: Tensor = nn.MSELoss()(x_hat, x)
    return loss + _kl(mean, log_var)


def bce_sum(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """The first question, after its fix: another loss, and another reduction."""
    loss: Tensor = nn.BCELoss(reduction="sum")(x_hat, x)
    return loss + _kl(mean, log_var)


def bce_mean(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """The fix's loss with the old reduction, which was not tried."""
    loss: Tensor = nn.BCELoss()(x_hat, x)
    return loss + _kl(mean, log_var)


def mse_sum(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """The old loss with the fix's reduction, which was not tried either."""
    loss: Tensor = nn.MSELoss(reduction="sum")(x_hat, x)
    return loss + _kl(mean, log_var)


def keras_fixed_beta(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """The third question's first example, for images (N, C, H, W); Keras has C last."""
    loss = nn.functional.binary_cross_entropy(x_hat, x, reduction="none").mean(1)
    kl = -0.5 * (1 + log_var - mean.pow(2) - log_var.exp()).sum(1)
    return loss.sum((1, 2)).mean() + 1.0 * kl.mean()


def keras_mean(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """The fourth question's first example, called correct; images as vectors."""
    loss = (x_hat - x).pow(2).flatten(1).mean(1)
    return (loss + _mean_kl(mean, log_var)).mean()


def keras_scaled(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """The fourth question's second example, called incorrectly scaled."""
    loss = (x_hat - x).pow(2).flatten(1).mean(1)
    return (loss + 0.01 * _mean_kl(mean, log_var)).mean()


def keras_dimensions(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """The fourth question's third example, called a dimensionality error."""
    loss = (x_hat - x).pow(2).flatten(1).mean(1)
    return (loss + _kl(mean, log_var)).mean()
