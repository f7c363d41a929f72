"""Losses by how they want to be called."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.loss_audit.losses.table import (
    EQUAL,
    IMAGES,
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


@case("fake and real", term=entropy)
def fake_and_real(fake_x, real_x, mu, logvar):
    return F.binary_cross_entropy(fake_x, real_x, reduction="sum") / len(real_x) + per_image(
        of_log_var(mu, logvar)
    )


@case("y_hat and y", term=entropy)
def y_hat_and_y(y_hat, y, mu, logvar):
    return per_image(F.binary_cross_entropy(y_hat, y, reduction="none")) + per_image(
        of_log_var(mu, logvar)
    )


@case("x_ and x", term=entropy)
def underscore(x_, x, mu, logvar):
    return per_image(F.binary_cross_entropy(x_, x, reduction="none")) + per_image(
        of_log_var(mu, logvar)
    )


@case("out_img and in_img", term=entropy)
def out_and_in(out_img, in_img, mu, logvar):
    return per_image(F.binary_cross_entropy(out_img, in_img, reduction="none")) + per_image(
        of_log_var(mu, logvar)
    )


@case("names that say nothing: what is done with each tells", term=entropy, says=["could also be"])
def nameless(a, b, c, d):
    return per_image(F.binary_cross_entropy(a, b, reduction="none")) + per_image(of_log_var(c, d))


@case("Keras' order of x first", term=entropy, call="x x_hat mean last")
def true_and_pred(y_true, y_pred, mu_pred, logvar_pred):
    return per_image(entropy(y_pred, y_true)) + per_image(of_log_var(mu_pred, logvar_pred))


@case("input_var where vectors are as long as codes", sizes=EQUAL)
def input_var(output, input_var, mean, logvar, epoch=None):
    return right(output, input_var, mean, logvar)


@case(
    "sigma_hat where vectors are as long as codes",
    sizes=EQUAL,
    kl=of_std,
    call=lambda x, x_hat, m, s: sigma_hat(s, m, x_hat, x),
)
def sigma_hat(sigma_hat, mu_hat, recon, x):
    return per_image(squared(recon, x)) + per_image(of_std(mu_hat, sigma_hat))


@case("x_mu is the decoder's", sizes=EQUAL, call="x x_hat mean last")
def x_mu(x, x_mu, z_mu, z_logvar):
    return right(x_mu, x, z_mu, z_logvar)


class NumbersForDefaults(nn.Module):
    def forward(self, outputs, targets, mean=1, var=0):
        r = F.binary_cross_entropy(outputs, targets)
        k = -0.5 * torch.sum(1 + torch.log(var) - mean**2 - var)
        return 0.99 * r + 0.01 * k


case("VAELoss.forward(outputs, targets, mean=1, var=0)", 0.01 / 0.99 * B * D,
     "balance-depends-on-batch", "pixels-averaged", term=entropy,
     kl=lambda m, s: of_std(m, s.sqrt()), prints="mended",
     mended=lambda x, x_hat, m, s: per_image(entropy(x_hat, x)) + 0.01 / 0.99 * per_image(
         of_std(m, s.sqrt())),
     call="x_hat x mean last")(NumbersForDefaults())  # fmt: skip


@case(
    "Project-MONAI: KL in sigma over dim=[1, 2, 3]",
    1e-6 * D,
    "pixels-averaged",
    term=absolute,
    kl=of_std,
    call="x x_hat mean last",
    says=["3 x 2 x 2", "autoencoder in all but name"],
)
def monai(images, reconstruction, z_mu, z_sigma, kl_weight=1e-6):
    r = F.l1_loss(reconstruction, images)
    k = z_mu.pow(2) + z_sigma.pow(2) - torch.log(z_sigma.pow(2)) - 1
    k = 0.5 * torch.sum(k, dim=[1, 2, 3])
    return r + kl_weight * torch.sum(k) / k.shape[0]


class PyTorchVAE(nn.Module):
    def loss_function(self, *args, **kwargs):
        recons = args[0]
        input = args[1]
        mu = args[2]
        log_var = args[3]
        kld_weight = kwargs["M_N"]
        r = F.mse_loss(recons, input)
        k = torch.mean(-0.5 * torch.sum(1 + log_var - mu**2 - log_var.exp(), dim=1), dim=0)
        return {"loss": r + kld_weight * k, "Reconstruction_Loss": r.detach(), "KLD": -k.detach()}


case("AntixK/PyTorch-VAE: *args and kwargs['M_N']", float(D), "pixels-averaged", prints="mended",
     mended=lambda x, x_hat, m, s: right(x_hat, x, m, s), name="pytorch_vae",
     call=lambda x, x_hat, m, s: PyTorchVAE().loss_function(x_hat, x, m, s, M_N=1)["loss"],
     )(PyTorchVAE().loss_function)  # fmt: skip


@case("one tuple", call=lambda x, x_hat, m, s: one_tuple((x_hat, x, m, s)))
def one_tuple(args):
    recon, x, mu, logvar = args
    return right(recon, x, mu, logvar)


@case(
    "what the model returns",
    term=entropy,
    call=lambda x, x_hat, m, s: model_outputs((x_hat, m, s), x),
)
def model_outputs(outputs, x):
    x_hat, mu, logvar = outputs
    return per_image(entropy(x_hat, x)) + per_image(of_log_var(mu, logvar))


class _Plain:
    def __init__(self, mean: Tensor, logvar: Tensor) -> None:
        self.mean, self.logvar = mean, logvar

    def kl(self) -> Any:
        return of_log_var(self.mean, self.logvar).sum(1)


@case(
    "latent diffusion: posterior.kl()",
    1e-6,
    term=absolute,
    call=lambda x, x_hat, m, s: posterior_object(x, x_hat, _Plain(m, s)),
)
def posterior_object(inputs, reconstructions, posteriors, kl_weight=1e-6):
    r = per_image(absolute(reconstructions, inputs))
    k = posteriors.kl()
    return r + kl_weight * torch.sum(k) / k.shape[0]


@case(
    "a dict of outputs by key",
    call=lambda x, x_hat, m, s: by_key(x, {"recon": x_hat, "mu": m, "logvar": s}),
)
def by_key(x, outputs):
    return right(outputs["recon"], x, outputs["mu"], outputs["logvar"])


class ClassOfLoss(nn.Module):
    def __init__(self, beta=0.5):
        super().__init__()
        self.beta = beta

    def forward(self, recon_x, x, mu, logvar):
        return per_image(squared(recon_x, x)) + self.beta * per_image(of_log_var(mu, logvar))


case("a class of losses", 0.5, name="class_of_loss",
     call=lambda x, x_hat, m, s: ClassOfLoss()(x_hat, x, m, s))(ClassOfLoss)  # fmt: skip


@case(
    "three parts, of which two are the loss",
    sizes=VECTORS,
    says=["0 and 1 were added; 2 left out"],
    call=lambda x, x_hat, m, s: sum(three_parts(x_hat, x, m, s)[:2]),
)
def three_parts(recon, x, mu, logvar):
    r, k = per_image(squared(recon, x)), per_image(of_log_var(mu, logvar))
    return r, k, (recon - x).abs().mean().detach()


@case(
    "sampled KL",
    None,
    sizes={**IMAGES, "data_shape": (1, 6, 6)},
    term=None,
    kl=None,
    says=["about 1"],
    prints="any",
    name="sampled",
)
def sampled(recon, x, mu, logvar):
    q = torch.distributions.Normal(mu, (0.5 * logvar).exp())
    z = q.rsample()
    p = torch.distributions.Normal(0.0, 1.0)
    return per_image(squared(recon, x)) + per_image(q.log_prob(z) - p.log_prob(z))
