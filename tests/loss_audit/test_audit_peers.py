"""The audit on losses of blog posts and of other libraries, rebuilt from their formulas."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pyro_vae.loss_audit import audit

MNIST: dict[str, Any] = {"data_shape": (1, 28, 28), "latent_dim": 20, "batch_size": 128}
VECTORS: dict[str, Any] = {"data_shape": (784,), "latent_dim": 20, "batch_size": 128}
CELEBA: dict[str, Any] = {"data_shape": (3, 64, 64), "batch_size": 16}
CIFAR: dict[str, Any] = {"data_shape": (3, 32, 32), "batch_size": 16}


def kl_sum(mean: Tensor, log_var: Tensor) -> Any:
    return -0.5 * torch.sum(1 + log_var - mean.pow(2) - log_var.exp())


def keras_cross_entropy(x: Tensor, x_hat: Tensor) -> Tensor:
    """Keras averages over the last axis: the colours of an image, the pixels of a vector."""
    return F.binary_cross_entropy(x_hat, x, reduction="none").mean(1)


# --- blog posts ---


def blur_with_mse(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    recon_loss = torch.nn.MSELoss()(x_hat, x)
    kl_loss = kl_sum(mean, log_var)
    return recon_loss + kl_loss, recon_loss, kl_loss


def blur_with_bce(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    recon_loss = torch.nn.BCELoss(reduction="sum")(x_hat, x)
    kl_loss = kl_sum(mean, log_var)
    return recon_loss + kl_loss, recon_loss, kl_loss


def keras_sum_over_image(x: Tensor, x_hat: Tensor, z_mean: Tensor, z_log_var: Tensor) -> Any:
    beta = 1.0
    reconstruction_loss = keras_cross_entropy(x, x_hat).sum((1, 2)).mean()
    kl_loss = -0.5 * (1 + z_log_var - z_mean**2 - z_log_var.exp()).sum(1).mean()
    return reconstruction_loss + beta * kl_loss


def keras_importance_weighted(x: Tensor, x_hat: Tensor, z_mean: Tensor, z_log_var: Tensor) -> Any:
    def importance_weighted_kl(z_mean: Tensor, z_log_var: Tensor, beta: float = 1) -> Any:
        return beta * (-0.5 * (1 + z_log_var - z_mean**2 - z_log_var.exp()).sum(1).mean())

    reconstruction_loss = keras_cross_entropy(x, x_hat).sum((1, 2)).mean()
    return reconstruction_loss + importance_weighted_kl(z_mean, z_log_var, beta=1.0)


def keras_means(x: Tensor, x_decoded_mean: Tensor, z_mean: Tensor, z_log_var: Tensor) -> Any:
    xent_loss = (x - x_decoded_mean).pow(2).mean(-1)
    return xent_loss - 0.5 * torch.mean(1 + z_log_var - z_mean**2 - z_log_var.exp())


def keras_means_weakly(x: Tensor, x_decoded_mean: Tensor, z_mean: Tensor, z_log_var: Tensor) -> Any:
    xent_loss = (x - x_decoded_mean).pow(2).mean(-1)
    return xent_loss - 0.5 * torch.mean(1 + z_log_var - z_mean**2 - z_log_var.exp()) * 0.01


def keras_kl_sum(x: Tensor, x_decoded_mean: Tensor, z_mean: Tensor, z_log_var: Tensor) -> Any:
    xent_loss = (x - x_decoded_mean).pow(2).mean(-1)
    return xent_loss + kl_sum(z_mean, z_log_var)


# --- libraries ---


def pytorch_vae(
    recons: Tensor, input: Tensor, mu: Tensor, log_var: Tensor, kld_weight: float = 0.00025
) -> Any:
    recons_loss = F.mse_loss(recons, input)
    kld = torch.mean(-0.5 * torch.sum(1 + log_var - mu**2 - log_var.exp(), dim=1), dim=0)
    return {
        "loss": recons_loss + kld_weight * kld,
        "Reconstruction_Loss": recons_loss.detach(),
        "KLD": -kld.detach(),
    }


def pytorch_vae_in_validation(recons: Tensor, input: Tensor, mu: Tensor, log_var: Tensor) -> Any:
    return pytorch_vae(recons, input, mu, log_var, kld_weight=1.0)


def disent(x_recon: Tensor, x: Tensor, mean: Tensor, log_var: Tensor, beta: float = 0.003) -> Any:
    kl = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (0.5 * log_var).exp()),
        torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean)),
    )
    return F.mse_loss(x_recon, x) + beta * kl.mean()


def lightning_bolts(
    x: Tensor, x_hat: Tensor, mu: Tensor, log_var: Tensor, kl_coeff: float = 0.1
) -> Any:
    recon_loss = F.mse_loss(x_hat, x, reduction="mean")
    kl = torch.mean(-0.5 * (1 + log_var - mu.pow(2) - log_var.exp()))
    return kl_coeff * kl + recon_loss, {"recon_loss": recon_loss, "kl": kl}


def pythae_mse(recon_x: Tensor, x: Tensor, mu: Tensor, log_var: Tensor) -> Any:
    size = x.shape[0]
    recon_loss = 0.5 * F.mse_loss(
        recon_x.reshape(size, -1), x.reshape(size, -1), reduction="none"
    ).sum(dim=-1)
    kld = -0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp(), dim=-1)
    return (recon_loss + kld).mean(dim=0), recon_loss.mean(dim=0), kld.mean(dim=0)


def pythae_bce(recon_x: Tensor, x: Tensor, mu: Tensor, log_var: Tensor) -> Any:
    size = x.shape[0]
    recon_loss = F.binary_cross_entropy(
        recon_x.reshape(size, -1), x.reshape(size, -1), reduction="none"
    ).sum(dim=-1)
    kld = -0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp(), dim=-1)
    return (recon_loss + kld).mean(dim=0), recon_loss.mean(dim=0), kld.mean(dim=0)


def pytorch_examples(recon_x: Tensor, x: Tensor, mu: Tensor, logvar: Tensor) -> Any:
    bce = F.binary_cross_entropy(recon_x, x.view(-1, 784), reduction="sum")
    return bce + kl_sum(mu, logvar)


def pytorch_examples_of_old(recon_x: Tensor, x: Tensor, mu: Tensor, logvar: Tensor) -> Any:
    bce = F.binary_cross_entropy(recon_x, x.view(-1, 784))
    kld = kl_sum(mu, logvar)
    kld /= 128 * 784
    return bce + kld


CASES: dict[str, Any] = {
    # effective beta, squared error or not, codes; by hand as in the comments.
    "blur-mse": (blur_with_mse, MNIST, 784 * 128, True, {"balance-depends-on-batch",
                                                        "pixels-averaged"}),
    "blur-bce": (blur_with_bce, MNIST, 1, False, set()),
    "keras-image-grey": (keras_sum_over_image, MNIST, 1, False, set()),
    "keras-image-rgb": (keras_sum_over_image, {**CIFAR, "latent_dim": 20}, 3, False,
                        {"axis-averaged"}),
    "keras-importance-grey": (keras_importance_weighted, MNIST, 1, False, set()),
    "keras-importance-rgb": (keras_importance_weighted, {**CIFAR, "latent_dim": 20}, 3, False,
                             {"axis-averaged"}),
    "keras-means": (keras_means, VECTORS, 784 / 20, True, {"pixels-averaged", "latents-averaged"}),
    "keras-means-two-latents": (keras_means, {**VECTORS, "latent_dim": 2}, 392, True,
                                {"pixels-averaged", "latents-averaged"}),
    "keras-means-weakly": (keras_means_weakly, VECTORS, 0.392, True,
                           {"pixels-averaged", "latents-averaged"}),
    "keras-kl-sum": (keras_kl_sum, VECTORS, 784 * 128, True,
                     {"balance-depends-on-batch", "pixels-averaged"}),
    "pytorch-vae": (pytorch_vae, {**CELEBA, "latent_dim": 128}, 3.072, True, {"pixels-averaged"}),
    "pytorch-vae-validation": (pytorch_vae_in_validation, {**CELEBA, "latent_dim": 128}, 12288,
                               True, {"pixels-averaged"}),
    "disent": (disent, {**CELEBA, "latent_dim": 9}, 0.003 * 12288 / 9, True,
               {"pixels-averaged", "latents-averaged"}),
    "lightning-bolts": (lightning_bolts, {**CIFAR, "latent_dim": 256}, 1.2, True,
                        {"pixels-averaged", "latents-averaged"}),
    "pythae-mse": (pythae_mse, MNIST, 2, True, set()),
    "pythae-bce": (pythae_bce, MNIST, 1, False, set()),
    "pytorch-examples": (pytorch_examples, MNIST, 1, False, set()),
    "pytorch-examples-of-old": (pytorch_examples_of_old, MNIST, 1, False,
                                {"balance-depends-on-batch"}),
    "pytorch-examples-of-old-at-64": (pytorch_examples_of_old, {**MNIST, "batch_size": 64}, 0.5,
                                      False, {"balance-depends-on-batch"}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_effective_beta_and_findings_of_a_published_loss(case: Any) -> None:
    loss, sizes, beta, squared, codes = case
    report = audit(loss, **sizes)
    assert report.effective_beta == pytest.approx(beta, rel=0.01)
    assert {code for code, _ in report.findings} >= codes
    assert bool(report.findings) == bool(codes)
    if squared:
        assert report.implied_sigma == pytest.approx(math.sqrt(beta / 2), rel=0.005)
    else:
        assert report.implied_sigma is None


def test_keras_mean_over_the_colours_is_told_axis_by_axis() -> None:
    report = audit(keras_sum_over_image, **CIFAR, latent_dim=20)
    assert report.reductions == {
        "reconstruction": {"batch": "mean", "channels": "mean", "height": "sum", "width": "sum"},
        "kl": {"batch": "mean", "latents": "sum"},
    }


def test_axes_of_size_one_are_left_out() -> None:
    report = audit(keras_means, data_shape=(1, 5, 4), latent_dim=1, batch_size=8)
    assert report.reductions == {
        # The mean over the last axis of a map, the average of what is left is the audit's.
        "reconstruction": {"batch": "mean", "height": "mean", "width": "mean"},
        "kl": {"batch": "mean"},
    }


def test_batch_sums_are_a_note_on_the_learning_rate() -> None:
    summed = audit(pytorch_examples, **MNIST)
    assert not summed.findings
    assert any("learning rate" in note for note in summed.notes)
    assert not any("learning rate" in note for note in audit(pythae_bce, **MNIST).notes)


def test_sizes_written_into_the_code_are_said_to_be_undecidable() -> None:
    report = audit(pytorch_examples_of_old, **MNIST)
    assert report.reductions["reconstruction"] == {
        "batch": "mean", "height": "mean", "width": "mean",
    }  # fmt: skip
    assert any("no probe can tell a mean" in note for note in report.notes)


def test_a_view_that_would_regroup_rows_is_not_taken_for_a_mean() -> None:
    def loss(recon_x: Tensor, x: Tensor, mu: Tensor, logvar: Tensor) -> Any:
        pixels = F.binary_cross_entropy(recon_x.view(-1, 784), x.view(-1, 784), reduction="none")
        kl = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum(1)
        return pixels.sum(1).mean() + kl.mean()

    report = audit(loss, **MNIST)
    assert not report.findings
    assert report.reductions["reconstruction"] == {"batch": "mean", "height": "sum", "width": "sum"}


def test_an_implied_sigma_of_one_is_a_gaussian_without_constants() -> None:
    report = audit(pythae_mse, **MNIST)
    assert report.reconstruction == "squared error"
    # D/2 log(2 pi) for 784 pixels.
    assert any(f"{392 * math.log(2 * math.pi):.1f} nats" in note for note in report.notes)
