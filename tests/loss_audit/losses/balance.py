"""Losses by their weights and reductions."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from tests.loss_audit.losses.table import (
    DIGITS,
    IMAGES,
    VECTORS,
    absolute,
    case,
    entropy,
    of_log_var,
    per_image,
    right,
    squared,
)

B, D, L = 32, 768, 12


@case("davidADSP/GDL_code#14: r_loss_factor = 1000", 0.784, sizes=DIGITS, call="x x_hat mean last")
def gdl(y_true, y_pred, mu, log_var, r_loss_factor=1000):
    r = r_loss_factor * ((y_true - y_pred) ** 2).mean(dim=(1, 2, 3))
    return (r - 0.5 * torch.sum(1 + log_var - mu**2 - log_var.exp(), dim=1)).mean()


@case("Keras: original_dim * mse", sizes=VECTORS, call="x x_hat mean last")
def original_dim(inputs, outputs, z_mean, z_log_var):
    r = F.mse_loss(outputs, inputs) * inputs.shape[1]
    return r + per_image(of_log_var(z_mean, z_log_var))


@case("MSE * 1000, the weight an argument", D / 1000)
def weight_on_reconstruction(recon_x, x, mu, logvar, alpha=1000.0):
    return alpha * F.mse_loss(recon_x, x) + per_image(of_log_var(mu, logvar))


@case("mean error, KL / 768: the two cancel", 4.0)
def both_divided(recon_x, x, mu, logvar, beta=4.0):
    return F.mse_loss(recon_x, x) + beta * per_image(of_log_var(mu, logvar)) / 768


@case("KL / 768 by hand against a mean", 1.0)
def both_divided_at_one(recon_x, x, mu, logvar):
    return F.mse_loss(recon_x, x) + per_image(of_log_var(mu, logvar)) / x[0].numel()


@case("weights for terms that are switched off", call="x_hat x mean last")
def optional_terms(
    reconstructed_x,
    x,
    mu,
    log_var,
    use_sum=True,
    ssim_module=None,
    mse_weight=1,
    ssim_weight=1,
    reconstruction_weight=1,
    kl_weight=1,
):
    mse = mse_weight * F.mse_loss(reconstructed_x, x, reduction="sum")
    if ssim_module:
        mse = mse + ssim_weight * (1 - ssim_module(reconstructed_x, x))
    k = -0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp())
    return reconstruction_weight * mse + kl_weight * k


@case("a weight that is off by default", 0.5, call="x x_hat mean last", says=["l1_weight = 0"])
def off_by_default(x, x_hat, mu, logvar, kl_weight=0.5, l1_weight=0.0):
    r = per_image(squared(x_hat, x)) + l1_weight * per_image(absolute(x_hat, x))
    return r + kl_weight * per_image(of_log_var(mu, logvar))


@case(
    "a weight that rises from 0 with the epoch",
    term=entropy,
    says=["a warm-up"],
    call=lambda x, x_hat, m, s: annealed_from_zero(x_hat, x, m, s, epoch=50),
)
def annealed_from_zero(recon_x, x, mu, logvar, epoch=0, warmup_epochs=10):
    r = F.binary_cross_entropy(recon_x, x, reduction="sum") / len(x)
    return r + min(1.0, epoch / warmup_epochs) * per_image(of_log_var(mu, logvar))


@case(
    "a step without default",
    0.1,
    term=squared,
    call=lambda x, x_hat, m, s: step_needed(x_hat, x, m, s, 10**6),
)
def step_needed(recon_x, x, mu, logvar, step, max_beta=0.1, total=2000):
    weight = max_beta * min(1.0, step / total)
    return per_image(squared(recon_x, x)) + weight * per_image(of_log_var(mu, logvar))


@case(
    "beta of 0 by default",
    1.0,
    says=["audited at 1"],
    call=lambda x, x_hat, m, s: beta_off(x_hat, x, m, s, 1.0),
)
def beta_off(recon_x, x, mu, logvar, beta=0.0):
    return per_image(squared(recon_x, x)) + beta * per_image(of_log_var(mu, logvar))


@case("diffusers' trainer: KL x 1e-6", 1e-6, says=["autoencoder in all but name", "0.00113"])
def diffusers(reconstruction, target, mean, logvar, kl_scale=1e-6):
    return per_image(squared(reconstruction, target)) + kl_scale * per_image(
        of_log_var(mean, logvar)
    )


@case("absolute error, KL x 1e-6", 1e-6, term=absolute, says=["autoencoder in all but name"])
def absolute_and_little(reconstruction, target, mean, logvar, kl_weight=1e-6):
    r = per_image(absolute(reconstruction, target))
    return r + kl_weight * per_image(of_log_var(mean, logvar))


@case(
    "ACT, LeRobot: mean error over chunk x joints, KL x 10",
    10 * 100 * 14,
    "pixels-averaged",
    sizes={"data_shape": (100, 14), "latent_dim": 32, "batch_size": 8},
    term=absolute,
    call="x_hat x mean last",
    prints="mended",
    mended=lambda x, x_hat, m, s: per_image(absolute(x_hat, x)) + 10 * per_image(of_log_var(m, s)),
)
def robot_policy(actions_hat, actions, mu, log_sigma_x2, kl_weight=10.0):
    l1 = F.l1_loss(actions_hat, actions, reduction="none").mean()
    k = (-0.5 * (1 + log_sigma_x2 - mu.pow(2) - log_sigma_x2.exp())).sum(-1).mean()
    return l1 + kl_weight * k


@case(
    "shape[1] for shape[0] in both terms",
    1.0,
    "divided-by-latents",
    "kl-takes-log-variance",
    sizes=VECTORS,
    call=lambda x, x_hat, m, s: sigma_hat_first(s, m, x_hat, x),
)
def sigma_hat_first(sigma_hat, mu, recon, x):
    k = (-0.5 / mu.shape[1]) * torch.sum(1 + sigma_hat - mu**2 - torch.exp(sigma_hat))
    return torch.sum((recon - x) ** 2) / mu.shape[1] + k


@case("(1 - alpha) r + alpha KL", 0.3 / 0.7)
def convex(recon, x, mu, logvar, alpha=0.3):
    r, k = per_image(squared(recon, x)), per_image(of_log_var(mu, logvar))
    return (1 - alpha) * r + alpha * k


@case(
    "scvi's DIAGVI: KL / number of genes",
    1 / 40,
    "kl-divided-by-pixels",
    sizes=VECTORS,
    prints="mended",
    mended=lambda x, x_hat, m, s: right(x_hat, x, m, s),
)
def by_genes(x_hat, x, mu, logvar):
    return per_image(squared(x_hat, x)) + per_image(of_log_var(mu, logvar)) / x.shape[1]


@case("weight of the reconstruction by its own name", 1 / 50)
def lambda_recon(x_hat, x, mu, logvar, lambda_recon=50.0):
    return lambda_recon * per_image(squared(x_hat, x)) + per_image(of_log_var(mu, logvar))


@case("everything scaled by an argument", 1.0, sizes=IMAGES)
def loss_scale(x_hat, x, mu, logvar, scale=0.01):
    return scale * right(x_hat, x, mu, logvar)
