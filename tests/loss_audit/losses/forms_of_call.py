"""Losses with arguments of other kinds: masks, posteriors, priors, keys, schedules."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from tests.loss_audit.losses.calls import _Plain
from tests.loss_audit.losses.table import (
    IMAGES,
    ROWS,
    VECTORS,
    absolute,
    case,
    entropy,
    of_log_var,
    of_std,
    per_image,
    right,
    squared,
)

B, D = 32, 768


def _none_padded(x: Tensor) -> Tensor:
    return torch.zeros(x.shape[:2], dtype=torch.bool)


@case(
    "ACT: is_pad of every step", 10 * 300, "pixels-averaged", sizes=ROWS, term=absolute,
    call=lambda x, x_hat, m, s: act(x_hat, x, _none_padded(x), m, s), prints="nothing",
    says=["what is_pad does"],
)  # fmt: skip
def act(a_hat, actions, is_pad, mu, logvar, kl_weight=10):
    l1 = (F.l1_loss(actions, a_hat, reduction="none") * ~is_pad.unsqueeze(-1)).mean()
    return l1 + kl_weight * per_image(of_log_var(mu, logvar))


@case(
    "sequences: a mask of every step", sizes=ROWS, prints="nothing", says=["what mask does"],
    call=lambda x, x_hat, m, s: of_steps(x_hat, x, torch.ones_like(x[..., 0]), m, s),
)  # fmt: skip
def of_steps(recon, x, mask, mu, logvar):
    each = squared(recon, x).sum(-1) * mask
    return each.sum(1).mean() + per_image(of_log_var(mu, logvar))


class WithDiscriminator(nn.Module):
    def __init__(self, disc_start=50001, logvar_init=-3.0, kl_weight=1e-6, disc_weight=1.0):
        super().__init__()
        self.kl_weight, self.disc_start = kl_weight, disc_start
        self.logvar = nn.Parameter(torch.tensor(logvar_init))

    def forward(self, inputs, reconstructions, posteriors, optimizer_idx=0, global_step=0,
                split="train", weights=None):  # fmt: skip
        rec = torch.abs(inputs - reconstructions)
        nll = (rec / torch.exp(self.logvar) + self.logvar).sum() / len(inputs)
        k = posteriors.kl()
        return nll + self.kl_weight * k.sum() / len(k), {"split": split}


case(
    "LPIPSWithDiscriminator, without its networks", 1e-6 * 0.049787, term=absolute,
    says=["D log 2", "autoencoder in all but name"], name="with_discriminator",
    call=lambda x, x_hat, m, s: WithDiscriminator()(x, x_hat, _Plain(m, s))[0],
)(WithDiscriminator)  # fmt: skip


@case(
    "segmentation: classes first", sizes={**IMAGES, "data_shape": (5, 8, 8)}, term=None,
    says=["over axis 1"], call="x_hat x mean last", prints="any",
)  # fmt: skip
def segmentation(logits, labels, mu, logvar):
    r = F.cross_entropy(logits, labels, reduction="sum") / len(logits)
    return r + per_image(of_log_var(mu, logvar))


@case(
    "a cyclical weight", call=lambda x, x_hat, m, s: cyclical(x_hat, x, m, s, step=500),
    says=["a warm-up"],
)  # fmt: skip
def cyclical(recon, x, mu, logvar, step=0, cycle=1000):
    weight = min(1.0, 2 * (step % cycle) / cycle)
    return per_image(squared(recon, x)) + weight * per_image(of_log_var(mu, logvar))


@case(
    "world models: the prior's parameters are arguments", kl=of_std, prints="nothing",
    says=["what prior_mean does"],
    call=lambda x, x_hat, m, s: state_space(
        x, x_hat, m, s, torch.zeros_like(m), torch.ones_like(s)
    ),
)  # fmt: skip
def state_space(obs, recon, post_mean, post_std, prior_mean, prior_std):
    k = kl_divergence(Normal(post_mean, post_std), Normal(prior_mean, prior_std))
    return per_image(squared(obs, recon)) + per_image(k)


@case(
    "everything by keyword", sizes=VECTORS,
    call=lambda x, x_hat, m, s: by_keyword(recon=x_hat, x=x, mu=m, logvar=s),
)  # fmt: skip
def by_keyword(**kw):
    return right(kw["recon"], kw["x"], kw["mu"], kw["logvar"])


@case(
    "a batch and outputs, both by key", sizes=VECTORS, term=entropy,
    call=lambda x, x_hat, m, s: both_by_key(
        {"x": x}, {"x_recon": x_hat, "mu": m, "logvar": s}
    ),
)  # fmt: skip
def both_by_key(batch, outputs):
    r = per_image(entropy(outputs["x_recon"], batch["x"]))
    return r + per_image(of_log_var(outputs["mu"], outputs["logvar"]))


@case("a KL that is cut at 100 nats", sizes=VECTORS, kl=None)
def cut(x_hat, x, mu, logvar):
    k = of_log_var(mu, logvar).sum(1).clamp(max=100)
    return per_image(squared(x_hat, x)) + k.mean()


@case(
    "a log-variance kept within 0.1", sizes=VECTORS, says=["clamped"],
    kl=lambda m, s: of_log_var(m, s.clamp(-0.1, 0.1)),
)  # fmt: skip
def kept_within(x_hat, x, mu, logvar):
    return right(x_hat, x, mu, logvar.clamp(-0.1, 0.1))


@case("softmax against shares", None, sizes=VECTORS, term=None, prints="nothing")
def shares(out, x, mu, logvar):
    return per_image(squared(out.softmax(1), x)) + per_image(of_log_var(mu, logvar))


@case("the error of a cosine", None, sizes=VECTORS, term=None, prints="nothing")
def cosine(x_hat, x, mu, logvar):
    return (1 - F.cosine_similarity(x_hat, x)).mean() + per_image(of_log_var(mu, logvar))


@case(
    "keras: z_log_sigma is a log-variance", 1.0, "kl-takes-log-variance", term=entropy,
    call="x x_hat mean last",
)  # fmt: skip
def keras_log_sigma(y_true, y_pred, z_mean, z_log_sigma):
    k = -0.5 * torch.sum(1 + z_log_sigma - z_mean.square() - torch.exp(z_log_sigma))
    return (entropy(y_pred, y_true).sum() + k) / len(y_true)


@case("an encoder that gives minus log-variances", sizes=VECTORS,
      kl=lambda m, s: of_log_var(m, -s))  # fmt: skip
def precision(x_hat, x, mu, log_precision):
    return right(x_hat, x, mu, -log_precision)


@case(
    "a decoder with a log-variance of its own", 2.0, sizes=VECTORS, prints="nothing",
    says=["what x_logvar does", "x_logvar=zeros of x_hat"],
    call=lambda x, x_hat, m, s: own_log_var(x, x_hat, torch.zeros_like(x), m, s),
)  # fmt: skip
def own_log_var(x, x_mu, x_logvar, z_mu, z_logvar):
    each = 0.5 * (x_logvar + squared(x_mu, x) / x_logvar.exp() + 1.837877)
    return per_image(each) + per_image(of_log_var(z_mu, z_logvar))


@case(
    "conditional VAEs: labels beside", sizes=VECTORS,
    call=lambda x, x_hat, m, s: conditional(x_hat, x, None, m, s),
)  # fmt: skip
def conditional(recon_x, x, c, mu, logvar):
    return right(recon_x, x, mu, logvar)


@case(
    "the log-variance is detached", None, "log-var-detached", sizes=VECTORS, term=None, kl=None,
    prints="nothing",
)  # fmt: skip
def half_detached(recon_x, x, mu, logvar):
    return right(recon_x, x, mu, logvar.detach())


@case(
    "cells: qz_v says nothing, and is a variance", sizes=VECTORS, says=["its name does not say"],
    term=lambda x_hat, x: x_hat - x * x_hat.log(), call="x x_hat mean last",
    kl=lambda m, s: of_std(m, s.sqrt()),
)  # fmt: skip
def cells(x, px_rate, qz_m, qz_v):
    k = kl_divergence(Normal(qz_m, torch.sqrt(qz_v)), Normal(0.0, 1.0))
    return per_image(px_rate - x * torch.log(px_rate)) + per_image(k)
