"""Losses by their reconstruction terms."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.loss_audit.losses.table import (
    IMAGES,
    ROWS,
    VECTORS,
    absolute,
    case,
    entropy,
    logits,
    of_log_var,
    per_image,
    right,
    squared,
)

B, D = 32, 768


def multinomial(x_hat: Tensor, x: Tensor) -> Any:
    return -x * x_hat.log_softmax(1)


@case(
    "world models, Keras text VAEs: cross-entropy on one-hot rows",
    sizes=ROWS,
    term=lambda x_hat, x: -x * x_hat.log(),
)
def categorical(x_hat, x, mu, logvar):
    r = -(x * x_hat.clamp_min(1e-7).log()).sum(-1)
    return r.sum(1).mean() + per_image(of_log_var(mu, logvar))


@case(
    "matsengrp/vampire#29",
    B / 4 / 15,
    "balance-depends-on-batch",
    sizes=ROWS,
    term=lambda x_hat, x: -x * x_hat.log(),
    call="x x_hat mean last",
    says=["averaged"],
)
def vampire(x, x_decoded, z_mean, z_log_var):
    each = -(x * torch.log(x_decoded)).sum(-1)
    k = -0.5 * torch.sum(1 + z_log_var - z_mean**2 - z_log_var.exp(), dim=-1)
    return (x_decoded[0].numel() * each.mean() + len(x) / 4 * k).mean()


@case("movie recommendation, Multi-VAE", sizes=VECTORS, term=multinomial)
def multi_vae(recon_x, x, mu, logvar, anneal=1.0):
    r = -torch.mean(torch.sum(F.log_softmax(recon_x, 1) * x, -1))
    return r + anneal * -0.5 * torch.mean(torch.sum(1 + logvar - mu**2 - logvar.exp(), dim=1))


@case(
    "RecVAE: multinomial with an anneal of 0.2",
    0.2,
    sizes=VECTORS,
    term=multinomial,
    call="x x_hat mean last",
)
def recommender(user_ratings, x_pred, mu, logvar, beta=0.2):
    mll = (F.log_softmax(x_pred, dim=-1) * user_ratings).sum(dim=-1).mean()
    return -(mll - beta * of_log_var(mu, logvar).sum(-1).mean())


@case(
    "molecules: characters by classes, logits first axis after the batch",
    sizes=ROWS,
    term=lambda x_hat, x: -x * x_hat.log_softmax(2),
)
def molecules(recon, x, mu, logvar):
    each = F.cross_entropy(recon.transpose(1, 2), x.transpose(1, 2), reduction="sum")
    return (each + of_log_var(mu, logvar).sum()) / len(x)


@case(
    "Keras: categorical_crossentropy divides by the sum first",
    sizes=ROWS,
    term=lambda x_hat, x: -x * (x_hat / x_hat.sum(2, keepdim=True)).log(),
)
def keras_categorical(y_pred, y_true, mu, logvar):
    shares = y_pred / y_pred.sum(-1, keepdim=True)
    return per_image(-y_true * shares.clamp(1e-7, 1).log()) + per_image(of_log_var(mu, logvar))


def tokens_term(x_hat: Tensor, x: Tensor) -> Any:
    return F.cross_entropy(x_hat.flatten(0, 1), x.flatten(), reduction="none").reshape(len(x), -1)


@case(
    "sentence VAEs: tokens with a vocabulary",
    sizes=ROWS,
    term=tokens_term,
    says=["the index of one of 15 classes"],
)
def tokens(logp, target, mean, logv):
    logp = logp.view(-1, logp.size(2))
    nll = F.cross_entropy(logp, target.view(-1).long(), reduction="sum")
    return (nll + of_log_var(mean, logv).sum()) / len(target)


@case(
    "CTGAN's TVAE: tanh of the output",
    0.01,
    sizes=VECTORS,
    term=lambda x_hat, x: (x_hat.tanh() - x).square(),
)
def tvae_columns(recon_x, x, mu, logvar, factor=2):
    std = torch.full((x.shape[1],), 0.1, dtype=x.dtype)
    r = ((x - torch.tanh(recon_x)) ** 2 / 2 / std**2).sum() + (torch.log(std) * len(x)).sum()
    return r * factor / len(x), of_log_var(mu, logvar).sum() / len(x)


@case(
    "course work: 2 x - 1 inside",
    term=lambda x_hat, x: (x_hat - 2 * x + 1).square(),
    call="x x_hat mean last",
)
def rescaled_inside(x, x_recon, mu, logvar):
    return right(x_recon, 2 * x - 1, mu, logvar)


@case(
    "scRNA: log1p of counts inside",
    sizes=VECTORS,
    term=lambda x_hat, x: (x_hat - x.log1p()).square(),
    call="x x_hat mean last",
)
def log_counts(x, x_recon, mu, logvar):
    return right(x_recon, torch.log(x + 1), mu, logvar)


@case("cells: Poisson rate", sizes=VECTORS, term=lambda x_hat, x: x_hat - x * x_hat.log())
def poisson(rate, counts, mu, logvar):
    nll = F.poisson_nll_loss(rate, counts, log_input=False, reduction="none")
    return per_image(nll) + per_image(of_log_var(mu, logvar))


@case("Laplace without log 2", 1.5, term=absolute, says=["D log 2", f"{D * math.log(2):.1f}"])
def laplace_but_log_two(x_hat, x, mu, logvar):
    b = 1.5
    return per_image(absolute(x_hat, x) / b + math.log(b)) + per_image(of_log_var(mu, logvar))


@case(
    "latent diffusion: logvar at -3",
    1e-6 * math.exp(-3),
    term=absolute,
    says=["D log 2", "autoencoder in all but name"],
)
def latent_diffusion(
    reconstructions, inputs, mu, logvar, kl_weight=1e-6, perceptual_weight=1.0, adv_weight=0.5
):
    scale = torch.tensor(-3.0, dtype=inputs.dtype)
    nll = (absolute(reconstructions, inputs) / scale.exp() + scale).sum() / len(inputs)
    return nll + kl_weight * of_log_var(mu, logvar).sum() / len(inputs)


@case(
    "binary_cross_entropy(x, x_hat), really swapped",
    None,
    "x-and-x-hat-swapped",
    term=None,
    kl=None,
    call="x x_hat mean last",
    prints="mended",
    mended=lambda x, x_hat, m, s: per_image(entropy(x_hat, x)) + per_image(of_log_var(m, s)),
)
def really_swapped(x, x_hat, mean, log_var):
    r = F.binary_cross_entropy(x, x_hat, reduction="sum") / len(x)
    return r + per_image(of_log_var(mean, log_var))


@case(
    "root of the error per image",
    None,
    "rmse",
    term=None,
    kl=None,
    prints="mended",
    mended=lambda x, x_hat, m, s: right(x_hat, x, m, s),
)
def root(x_hat, x, mu, logvar):
    return squared(x_hat, x).flatten(1).sum(1).sqrt().mean() + per_image(of_log_var(mu, logvar))


@case("speech: Huber", 2.0, term=lambda x_hat, x: 2 * F.huber_loss(x_hat, x, reduction="none"))
def smooth(x_hat, x, mu, logvar):
    r = F.smooth_l1_loss(x_hat, x, reduction="none")
    return per_image(r) + per_image(of_log_var(mu, logvar))


@case("sigmoid inside", term=lambda x_hat, x: (x_hat.sigmoid() - x).square())
def sigmoid_inside(out, x, mu, logvar):
    return right(out.sigmoid(), x, mu, logvar)


@case("TensorFlow: sigmoid_cross_entropy_with_logits summed by hand", term=logits, sizes=IMAGES)
def tensorflow_logits(x_logit, x, mean, logvar):
    each = x_logit.clamp(min=0) - x_logit * x + torch.log1p(torch.exp(-x_logit.abs()))
    return each.sum(dim=(1, 2, 3)).mean() + per_image(of_log_var(mean, logvar))


def of_the_largest(x_hat: Tensor, x: Tensor) -> Any:
    places = x_hat.flatten(0, 1), x.argmax(-1).flatten()
    return F.cross_entropy(*places, reduction="none").reshape(len(x), -1)


@case("SMILES: the index of one-hot rows", sizes=ROWS, term=of_the_largest)
def smiles(recon, x, mu, logvar):
    target = x.argmax(dim=-1).view(-1)
    nll = F.cross_entropy(recon.view(-1, recon.size(-1)), target, reduction="sum")
    return nll / len(x) + per_image(of_log_var(mu, logvar))


@case("music: log-probabilities of tokens", sizes=ROWS, says=["log-probabilities"],
      term=lambda x_hat, x: -x_hat.gather(2, x.unsqueeze(2)))  # fmt: skip
def log_probabilities(log_probs, target, mu, logvar):
    nll = F.nll_loss(log_probs.flatten(0, 1), target.flatten(), reduction="sum")
    return nll / len(target) + per_image(of_log_var(mu, logvar))
