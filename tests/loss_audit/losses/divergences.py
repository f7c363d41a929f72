"""Losses by their KL terms."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal, kl_divergence
from torch.nn import functional as F

from tests.loss_audit.losses.table import (
    VECTORS,
    case,
    entropy,
    of_log_std,
    of_log_var,
    of_std,
    per_image,
    right,
    squared,
)

B = 32


@case(
    "wiseodd/generative-models#40: z_var is a log-variance",
    1.0,
    "kl-takes-log-variance",
    sizes=VECTORS,
    term=entropy,
)
def wiseodd(X_sample, X, z_mu, z_var):  # noqa: N803
    r = F.binary_cross_entropy(X_sample, X, reduction="sum") / X.shape[0]
    return r + torch.mean(0.5 * torch.sum(torch.exp(z_var) + z_mu**2 - 1.0 - z_var, 1))


@case(
    "aymericdamien/TensorFlow-Examples#316: z_std is a log-variance",
    1.0,
    "kl-takes-log-variance",
    sizes=VECTORS,
    term=entropy,
)
def aymeric(x_reconstructed, x_true, z_mean, z_std):
    ones = x_true * torch.log(1e-10 + x_reconstructed)
    zeros = (1 - x_true) * torch.log(1e-10 + 1 - x_reconstructed)
    k = -0.5 * torch.sum(1 + z_std - z_mean**2 - torch.exp(z_std), 1)
    return torch.mean(-torch.sum(ones + zeros, 1) + k)


@case(
    "DaehanKim/vgae_pytorch#2",
    None,
    "kl-std-for-variance",
    "balance-depends-on-batch",
    sizes={"data_shape": (B,), "latent_dim": 12, "batch_size": B},
    term=entropy,
    kl=None,
    prints="mended",
    mended=lambda x, x_hat, m, s: per_image(entropy(x_hat, x)) + per_image(of_log_std(m, s)),
)
def vgae(A_pred, adj, mean, logstd):  # noqa: N803
    loss = F.binary_cross_entropy(A_pred.view(-1), adj.view(-1))
    k = (1 + 2 * logstd - mean**2 - torch.exp(logstd)).sum(1).mean()
    return loss - 0.5 / A_pred.size(0) * k


def _mended_log_std(x: Tensor, x_hat: Tensor, m: Tensor, s: Tensor) -> Any:
    return per_image(squared(x_hat, x)) + per_image(of_log_std(m, s))


@case(
    "log std: sign of the last term",
    None,
    "kl-log-var-sign",
    kl=None,
    prints="mended",
    mended=_mended_log_std,
)
def log_std_sign(x_hat, x, mu, log_std):
    k = 0.5 * (torch.exp(2 * log_std) + mu**2 - 1 + 2 * log_std)
    return per_image(squared(x_hat, x)) + per_image(k)


@case(
    "log std: all signs plus",
    None,
    "kl-log-var-sign",
    kl=None,
    prints="mended",
    mended=_mended_log_std,
)
def log_std_all_plus(x_hat, x, mu, logsigma):
    k = 0.5 * (1 + torch.exp(2 * logsigma) + mu**2 + 2 * logsigma)
    return per_image(squared(x_hat, x)) + per_image(k)


@case(
    "log std: exp(s) not squared",
    None,
    "kl-std-for-variance",
    kl=None,
    prints="mended",
    mended=_mended_log_std,
)
def log_std_not_squared(x_hat, x, mu, log_sigma):
    k = 0.5 * (torch.exp(log_sigma) + mu**2 - 1 - 2 * log_sigma)
    return per_image(squared(x_hat, x)) + per_image(k)


@case(
    "std: not squared",
    None,
    "kl-std-for-variance",
    kl=None,
    prints="mended",
    mended=lambda x, x_hat, m, s: per_image(squared(x_hat, x)) + per_image(of_std(m, s)),
)
def std_not_squared(x_hat, x, mu, sigma):
    k = 0.5 * (sigma + mu**2 - 1 - (sigma**2).log())
    return per_image(squared(x_hat, x)) + per_image(k)


@case(
    "std: sign of its logarithm",
    None,
    "kl-log-var-sign",
    kl=None,
    prints="mended",
    mended=lambda x, x_hat, m, s: per_image(squared(x_hat, x)) + per_image(of_std(m, s)),
)
def std_sign(x_hat, x, mu, sigma):
    k = 0.5 * (sigma**2 + mu**2 - 1 + 2 * sigma.log())
    return per_image(squared(x_hat, x)) + per_image(k)


@case(
    "log variance: sign",
    None,
    "kl-log-var-sign",
    kl=None,
    prints="mended",
    mended=lambda x, x_hat, m, s: right(x_hat, x, m, s),
)
def log_var_sign(x_hat, x, mu, logvar):
    return per_image(squared(x_hat, x)) + per_image(0.5 * (mu**2 + logvar.exp() - 1 + logvar))


@case(
    "edwardlib talks 2017: softplus standard deviation",
    term=entropy,
    call="x x_hat mean last",
    kl=lambda m, s: of_std(m, F.softplus(s)),
    says=["softplus(rho)"],
)
def softplus_rho(x, x_hat, mu, rho):
    sigma = F.softplus(rho)
    k = 0.5 * (mu**2 + sigma**2 - 1) - sigma.log()
    return F.binary_cross_entropy(x_hat, x, reduction="sum") / len(x) + per_image(k)


@case(
    "neural processes: 0.1 + 0.9 sigmoid",
    kl=lambda m, s: of_std(m, 0.1 + 0.9 * s.sigmoid()),
    says=["0.1 + 0.9 * s"],
)
def sigmoid_sigma(pred_y, y, mu, raw):
    posterior = Normal(mu, 0.1 + 0.9 * torch.sigmoid(raw))
    return per_image(squared(pred_y, y)) + per_image(kl_divergence(posterior, Normal(0.0, 1.0)))


@case("Dreamer: softplus + 0.1", kl=lambda m, s: of_std(m, F.softplus(s) + 0.1))
def softplus_floor(recon, obs, mean, pre_std):
    posterior = Normal(mean, F.softplus(pre_std) + 0.1)
    prior = Normal(torch.zeros_like(mean), torch.ones_like(mean))
    return per_image(squared(recon, obs)) + per_image(kl_divergence(posterior, prior))


@case(
    "MultivariateNormal with a diagonal scale_tril", kl=lambda m, s: of_std(m, F.softplus(s) + 1e-6)
)
def scale_tril(recon, x, mu, rho):
    q = MultivariateNormal(mu, scale_tril=torch.diag_embed(F.softplus(rho) + 1e-6))
    p = MultivariateNormal(torch.zeros_like(mu), torch.eye(mu.shape[1], dtype=mu.dtype))
    return per_image(squared(recon, x)) + kl_divergence(q, p).mean()


@case(
    "a prior N(0, 4)",
    kl=lambda m, s: kl_divergence(Normal(m, (0.5 * s).exp()), Normal(0.0, 2.0)),
    says=["The prior is N(0, 4)"],
)
def wide_prior(recon, x, mu, logvar):
    q, p = Normal(mu, torch.exp(0.5 * logvar)), Normal(torch.zeros_like(mu), 2.0)
    return per_image(squared(recon, x)) + per_image(kl_divergence(q, p))


@case(
    "a prior N(1, 1/4), beta 3",
    3.0,
    term=entropy,
    kl=lambda m, s: kl_divergence(Normal(m, (0.5 * s).exp()), Normal(1.0, 0.5)),
)
def shifted_prior(recon, x, mu, logvar):
    q, p = Normal(mu, torch.exp(0.5 * logvar)), Normal(torch.ones_like(mu), 0.5)
    r = F.binary_cross_entropy(recon, x, reduction="sum") / len(x)
    return r + 3 * per_image(kl_divergence(q, p))


@case(
    "beta-TC: a term of another kind",
    None,
    term=None,
    kl=None,
    prints="nothing",
    call=lambda x, x_hat, m, s: beta_tc(x_hat, x, m, s, m),
    says=["another kind"],
)
def beta_tc(recon, x, mu, logvar, z):
    log_q = Normal(mu, (0.5 * logvar).exp()).log_prob(z).sum(1)
    log_p = Normal(0.0, 1.0).log_prob(z).sum(1)
    spread = Normal(mu[None], (0.5 * logvar).exp()[None]).log_prob(z[:, None])
    log_qz = spread.sum(2).logsumexp(1)
    product = spread.logsumexp(1).sum(1)
    terms = (log_q - log_qz) + 6 * (log_qz - product) + (product - log_p)
    return per_image(squared(recon, x)) + terms.mean()


@case("MMD instead of a KL", None, term=None, kl=None, prints="nothing", says=["another kind"])
def mmd(recon, x, mu, logvar):
    def kernel(a: Tensor, b: Tensor) -> Any:
        return (-(a[:, None] - b[None]).square().mean(2)).exp().mean()

    other = torch.linspace(-1, 1, mu.numel(), dtype=mu.dtype).reshape(mu.shape)
    distance = kernel(mu, mu) + kernel(other, other) - 2 * kernel(mu, other)
    return per_image(squared(recon, x)) + 100 * distance + 0.01 * logvar.square().mean()


@case("free bits by latent", kl=None, says=["free bits"])
def free_bits(recon, x, mu, logvar):
    return per_image(squared(recon, x)) + per_image(of_log_var(mu, logvar).clamp(min=0.25))


@case("free bits by latent of the batch (Kingma et al. 2016)", kl=None, says=["free bits"])
def free_bits_of_batch(recon, x, mu, logvar):
    k = of_log_var(mu, logvar).mean(0)
    return per_image(squared(recon, x)) + torch.maximum(k, torch.full_like(k, 0.5)).sum()


@case("world models: the KL is no less than 0.5 per latent, of an image", kl=None)
def tolerance(recon, x, mu, logvar, kl_tolerance=0.5):
    k = of_log_var(mu, logvar).sum(1)
    return per_image(squared(recon, x)) + k.clamp(min=kl_tolerance * mu.shape[1]).mean()


@case("understanding beta-VAE: capacity", 30.0, kl=None, says=["|KL - C|"])
def capacity(recon, x, mu, logvar, gamma=30.0, C=5.0):  # noqa: N803
    return per_image(squared(recon, x)) + gamma * (per_image(of_log_var(mu, logvar)) - C).abs()


@case("clamped log-variance", kl=lambda m, s: of_log_var(m, s.clamp(-30, 20)), says=["clamped"])
def clamped(recon, x, mu, logvar):
    return right(recon, x, mu, logvar.clamp(-30.0, 20.0))


@case("bounded log-variance", None, term=None, kl=None, prints="nothing", name="squashed_log_var")
def squashed(recon, x, mu, logvar):
    k = mu.square() * (1 + 0.1 * logvar.tanh()) + logvar.exp() - logvar
    return per_image(squared(recon, x)) + per_image(k * k.roll(1, 1))


@case(
    "InfoVAE: original_dim * mse beside an MMD",
    None,
    sizes=VECTORS,
    term=None,
    kl=None,
    prints="nothing",
    says=["another kind"],
)
def info_vae(recon, x, mu, logvar):
    z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
    far = (z[:, None] - z[None]).square().sum(2)
    near = (-far / 12).exp().mean() - 2 * (-z.square().sum(1) / 12).exp().mean()
    return 40 * F.mse_loss(recon, x) + 0.1 * per_image(of_log_var(mu, logvar)) + 100 * near
