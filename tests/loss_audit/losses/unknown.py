"""Losses with reconstruction terms that are no plain likelihood, and masked ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.loss_audit.losses.table import (
    ROWS,
    VECTORS,
    absolute,
    case,
    of_log_var,
    per_image,
    squared,
)

B = 32


@case("graph autoencoders: pos_weight", None, term=None, prints="nothing")
def pos_weight(preds, labels, mu, logvar):
    weight = torch.tensor(10.0, dtype=preds.dtype)
    r = F.binary_cross_entropy_with_logits(preds, labels, pos_weight=weight, reduction="sum")
    return r / len(labels) + per_image(of_log_var(mu, logvar))


@case(
    "padding: the last values of every row are masked",
    sizes=ROWS,
    prints="nothing",
    term=lambda x_hat, x: squared(x_hat, x)[..., :-5],
    says=["100 of the 300 values"],
)
def last_masked(x_hat, x, mu, logvar):
    keep = torch.ones_like(x)
    keep[..., -5:] = 0
    return per_image(keep * squared(x_hat, x)) + per_image(of_log_var(mu, logvar))


@case(
    "imputation: only the missing half of the features counts",
    20 * B / 1000,
    "balance-depends-on-batch",
    sizes=VECTORS,
    term=lambda x_hat, x: squared(x_hat, x)[:, :20],
    call="x x_hat mean last",
    prints="nothing",
)
def half_of_the_features(src_data, imputed_data, mu, log_var):
    missing = torch.zeros_like(src_data)
    missing[:, : src_data.shape[1] // 2] = 1
    r = torch.sum((missing * src_data - missing * imputed_data) ** 2) / torch.sum(missing)
    return r * 1000 + of_log_var(mu, log_var).sum()


@case(
    "a padding mask of ones",
    sizes=ROWS,
    prints="nothing",
    says=["what mask does"],
    call=lambda x, x_hat, m, s: padded(x_hat, x, m, s, torch.ones_like(x)),
)
def padded(recon, x, mu, logvar, mask):
    return per_image(mask * squared(recon, x)) + per_image(of_log_var(mu, logvar))


@case(
    "weather: weights by latitude, alike in every image",
    None,
    term=None,
    prints="nothing",
    says=["Positions weigh unequally"],
    kl=None,
)
def by_latitude(x_hat, x, mu, logvar):
    rows = torch.linspace(0.2, 1.8, x.shape[-2], dtype=x.dtype).cos()[:, None]
    return per_image(rows * squared(x_hat, x)) + per_image(of_log_var(mu, logvar))


@case("own variant: foreground weighs ten times", None, term=None, prints="nothing")
def foreground(x_hat, x, mu, logvar):
    weight = torch.where(x > 0.5, 10.0, 1.0).to(x.dtype)
    return per_image(weight * squared(x_hat, x)) + per_image(of_log_var(mu, logvar))


@case("focal loss", None, term=None, prints="nothing", call="x x_hat mean last")
def focal(x, x_hat, mu, logvar, alpha=0.25, gamma=2.0):
    bce = F.binary_cross_entropy(x_hat, x, reduction="none")
    r = alpha * (1 - torch.exp(-bce)) ** gamma * bce
    return per_image(r) + per_image(of_log_var(mu, logvar))


@case(
    "edge_weight = 0.1 beside an absolute error",
    None,
    term=None,
    prints="nothing",
    call="x x_hat mean last",
)
def edge_l1(x, x_hat, mu, logvar):
    step = (x_hat[..., 1:] - x_hat[..., :-1]) - (x[..., 1:] - x[..., :-1])
    r = per_image(absolute(x_hat, x)) + 0.1 * per_image(step.abs())
    return r + per_image(of_log_var(mu, logvar))


def _ssim(a: Tensor, b: Tensor) -> Any:
    def box(images: Tensor) -> Tensor:
        return F.avg_pool2d(images, 3, 1, 1)

    top = (2 * box(a) * box(b) + 1e-4) * (2 * (box(a * b) - box(a) * box(b)) + 9e-4)
    spread = box(a * a) - box(a) ** 2 + box(b * b) - box(b) ** 2
    return (top / ((box(a) ** 2 + box(b) ** 2 + 1e-4) * (spread + 9e-4))).mean((1, 2, 3))


@case("own variant: absolute error and structural similarity", None, term=None, prints="nothing")
def l1_and_ssim(x_hat, x, mu, logvar):
    r = per_image(absolute(x_hat, x)) + 100 * (1 - _ssim(x_hat, x)).mean()
    return r + per_image(of_log_var(mu, logvar))


@case("latent diffusion with a little squared error", None, term=None, prints="nothing")
def l1_and_squares(x_hat, x, mu, logvar):
    r = per_image(absolute(x_hat, x)) + 0.3 * per_image(squared(x_hat, x))
    return r + per_image(of_log_var(mu, logvar))


@case(
    "forum: torch.sum(x - y) ** 2",
    None,
    "errors-cancel",
    "balance-depends-on-batch",
    term=None,
    prints="nothing",
)
def square_of_the_sum(y, x, mu, logvar):
    return torch.sum(x - y) ** 2 / len(x) + per_image(of_log_var(mu, logvar))


@case(
    "forum: the same, its KL summed over the batch",
    None,
    "errors-cancel",
    "balance-depends-on-batch",
    term=None,
    prints="nothing",
)
def square_of_the_mean(y, x, mu, logvar):
    return torch.sum(x - y, dim=(1, 2, 3)).square().mean() + of_log_var(mu, logvar).sum()


@case(
    "a mean over the batch against a sum where the term is unknown",
    None,
    "balance-depends-on-batch",
    term=None,
    prints="nothing",
)
def unknown_and_sum(x_hat, x, mu, logvar):
    return per_image(squared(x_hat, x) ** 1.5) + of_log_var(mu, logvar).sum()
