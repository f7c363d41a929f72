"""Losses without a mistake: none is found in any of them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence
from torch.nn import functional as F

from pyro_vae.loss_audit import audit

from .pieces import SIZES, divergence, run, squared


def parts_returned(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    reconstruction, kl = squared(x, x_hat).mean(), divergence(mean, log_var).mean()
    return {"loss": reconstruction + kl, "reconstruction": reconstruction, "kl": kl}


def other_order(recon_x: Tensor, x: Tensor, mu: Tensor, logvar: Tensor) -> Any:
    bce = F.binary_cross_entropy(recon_x, x, reduction="none").flatten(1).sum(1)
    return (bce + divergence(mu, logvar)).mean()


def scale_before_mean(logvar: Tensor, mu: Tensor, output: Tensor, target: Tensor) -> Any:
    return (squared(target, output) + divergence(mu, logvar)).mean()


def torch_distributions(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    posterior = Independent(Normal(mean, (0.5 * log_var).exp()), 1)
    prior = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 1)
    return (squared(x, x_hat) + kl_divergence(posterior, prior)).mean()


def gaussian(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    log_likelihood = Normal(x_hat, 1).log_prob(x).flatten(1).sum(1)
    return -(log_likelihood - divergence(mean, log_var)).mean()


def narrow_gaussian(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    log_likelihood = Normal(x_hat, 0.1).log_prob(x).flatten(1).sum(1)
    return -(log_likelihood - divergence(mean, log_var)).mean()


def with_logits(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    bce = F.binary_cross_entropy_with_logits(x_hat, x, reduction="none").flatten(1).sum(1)
    return (bce + divergence(mean, log_var)).mean()


def bernoulli(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    log_likelihood = torch.distributions.Bernoulli(probs=x_hat).log_prob(x)
    return -log_likelihood.flatten(1).sum(1).mean() + divergence(mean, log_var).mean()


def log_std(x: Tensor, x_hat: Tensor, mean: Tensor, log_std: Tensor) -> Any:
    kl = 0.5 * (mean.pow(2) + torch.exp(2 * log_std) - 1) - log_std
    return (squared(x, x_hat) + kl.sum(1)).mean()


def std(x: Tensor, x_hat: Tensor, mean: Tensor, std: Tensor) -> Any:
    kl = 0.5 * (mean.pow(2) + std.pow(2) - 1) - std.log()
    return (squared(x, x_hat) + kl.sum(1)).mean()


def std_through_distributions(x: Tensor, x_hat: Tensor, mu: Tensor, sigma: Tensor) -> Any:
    prior = Normal(torch.zeros_like(mu), torch.ones_like(mu))
    return (squared(x, x_hat) + kl_divergence(Normal(mu, sigma), prior).sum(1)).mean()


def variance(x: Tensor, x_hat: Tensor, mean: Tensor, var: Tensor) -> Any:
    return (squared(x, x_hat) + 0.5 * (mean.pow(2) + var - 1 - var.log()).sum(1)).mean()


def absolute(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    return ((x - x_hat).abs().flatten(1).sum(1) + divergence(mean, log_var)).mean()


def laplace(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    log_likelihood = torch.distributions.Laplace(x_hat, 0.2).log_prob(x).flatten(1).sum(1)
    return (divergence(mean, log_var) - log_likelihood).mean()


def huber(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    error = F.huber_loss(x_hat, x, reduction="none").flatten(1).sum(1)
    return (error + divergence(mean, log_var)).mean()


def sharp_huber(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    error = F.huber_loss(x_hat, x, reduction="none", delta=0.25).flatten(1).sum(1)
    return (error + divergence(mean, log_var)).mean()


def optimal_sigma(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    size = x[0].numel()
    return 0.5 * size * (x - x_hat).pow(2).mean().log() + divergence(mean, log_var).mean()


def continuous_bernoulli(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    log_likelihood = torch.distributions.ContinuousBernoulli(logits=x_hat).log_prob(x)
    return (divergence(mean, log_var) - log_likelihood.flatten(1).sum(1)).mean()


def beta_in_use(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor, beta: float = 4.0) -> Any:
    return (squared(x, x_hat) + beta * divergence(mean, log_var)).mean()


def capacity(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor, gamma: float = 5.0) -> Any:
    return squared(x, x_hat).mean() + gamma * (divergence(mean, log_var).mean() - 4.0).abs()


def free_bits(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    kl = -0.5 * (1 + log_var - mean.pow(2) - log_var.exp())
    return squared(x, x_hat).mean() + kl.clamp(min=0.1).sum(1).mean()


def clamped(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    return (squared(x, x_hat) + divergence(mean, log_var.clamp(-10, 10))).mean()


SIGMA_OF = "squared error", "Gaussian log-density"
RIGHT: dict[str, Any] = {
    # kind, effective beta
    "parts returned": (parts_returned, "squared error", 1.0),
    "order of other projects": (other_order, "cross-entropy", 1.0),
    "names in any order": (scale_before_mean, "squared error", 1.0),
    "KL through torch.distributions": (torch_distributions, "squared error", 1.0),
    "Gaussian log-density": (gaussian, "Gaussian log-density", 2.0),
    "Gaussian of sigma 0.1": (narrow_gaussian, "Gaussian log-density", 0.02),
    "cross-entropy with logits": (with_logits, "cross-entropy with logits", 1.0),
    "Bernoulli that insists on 0 and 1": (bernoulli, "cross-entropy", 1.0),
    "log_std": (log_std, "squared error", 1.0),
    "std": (std, "squared error", 1.0),
    "std through torch.distributions": (std_through_distributions, "squared error", 1.0),
    "variance": (variance, "squared error", 1.0),
    "absolute error": (absolute, "absolute error", 1.0),
    "Laplace log-density": (laplace, "Laplace log-density", 0.2),
    "Huber": (huber, "Huber", 2.0),
    "Huber, narrow": (sharp_huber, "Huber", 2.0),
    "optimal sigma": (optimal_sigma, "log of the squared error", None),
    "continuous Bernoulli": (continuous_bernoulli, "continuous Bernoulli with logits", 1.0),
    "beta in use": (beta_in_use, "squared error", 4.0),
    "capacity": (capacity, "squared error", 5.0),
    "free bits": (free_bits, "squared error", 1.0),
    "clamped": (clamped, "squared error", 1.0),
}


@pytest.mark.parametrize("right", RIGHT.values(), ids=RIGHT)
def test_a_right_loss_gets_no_finding(right: Any) -> None:
    loss, kind, beta = right
    report = audit(loss, **SIZES)
    assert report.findings == ()
    assert report.reconstruction == kind
    assert report.effective_beta == (None if beta is None else pytest.approx(beta, rel=1e-3))
    has_sigma = kind in SIGMA_OF
    expected = math.sqrt(beta / 2) if has_sigma else None
    assert report.implied_sigma == (pytest.approx(expected, rel=1e-3) if has_sigma else None)
    assert report.kl.startswith("closed form")


BALANCED: dict[str, Any] = {
    name: case for name, case in RIGHT.items() if name not in ("optimal sigma", "capacity")
}


@pytest.mark.parametrize("right", BALANCED.values(), ids=BALANCED)
def test_the_corrected_function_of_a_right_loss_balances_like_it(right: Any) -> None:
    report = audit(right[0], **SIZES)
    again = audit(run(report.corrected), **SIZES)
    assert again.findings == ()
    assert again.effective_beta == pytest.approx(right[2], rel=1e-3)


@pytest.mark.parametrize(
    ("loss", "words"),
    {
        capacity: "|KL - C|", free_bits: "free bits", clamped: "clamped",
        optimal_sigma: "optimal sigma", absolute: "Laplace's constant",
        parts_returned: "Called as parts_returned(x=x, x_hat=x_hat",
        other_order: "recon_x=x_hat, x=x, mu=mean, logvar=log_var",
        bernoulli: "with x of 0 and 1",
    }.items(),
    ids=lambda value: getattr(value, "__name__", None),
)  # fmt: skip
def test_remarks_that_are_no_mistakes(loss: Any, words: Any) -> None:
    assert any(words in note for note in audit(loss, **SIZES).notes)


def test_a_squared_error_has_a_note_on_its_constants_and_a_log_density_has_none() -> None:
    assert any("constant" in note for note in audit(parts_returned, **SIZES).notes)
    assert not any("constant" in note for note in audit(gaussian, **SIZES).notes)


@pytest.mark.parametrize(
    ("loss", "x", "x_hat", "code"),
    [
        (other_order, (0, 1), (-4, 5), "x-hat-outside-unit-interval"),
        (other_order, (-1, 1), (0, 1), "data-outside-unit-interval"),
        (other_order, (0, 255), (0, 1), "data-0-255"),
        (with_logits, (0, 1), (0, 1), "sigmoid-twice"),
        (parts_returned, (0, 1), (-1, 1), "tanh-against-unit-data"),
        (parts_returned, (-1, 1), (0, 1), "sigmoid-against-signed-data"),
        (parts_returned, (0, 255), (0, 1), "data-0-255"),
        (with_logits, (0, 1), (-4, 5), None),
        (other_order, (0, 1), (0, 1), None),
        (parts_returned, (0, 1), (0, 1), None),
        (parts_returned, (-1, 1), (-1, 1), None),
    ],
)
def test_ranges_of_ones_own_data_and_output(
    loss: Any, x: tuple[int, int], x_hat: tuple[int, int], code: str
) -> None:
    def batch(low: Any, high: Any) -> Any:
        return torch.linspace(low, high, 2 * 168).reshape(2, 3, 8, 7)

    report = audit(loss, **SIZES, x=batch(*x), x_hat=batch(*x_hat))
    assert [found for found, _ in report.findings] == ([code] if code else [])
