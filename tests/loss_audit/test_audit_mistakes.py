"""Planted mistakes are named by their code, right losses get no finding.

Every planted loss is summed over pixels and latents and averaged over the batch, unless that is the
mistake, so that nothing else is there to find.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence
from torch.nn import functional as F

from pyro_vae.loss_audit import audit

SIZES: dict[str, Any] = {"data_shape": (3, 8, 7), "latent_dim": 6, "batch_size": 16}


def squared(x: Tensor, x_hat: Tensor) -> Any:
    return (x_hat - x).pow(2).flatten(1).sum(1)


def divergence(mean: Tensor, log_var: Tensor) -> Any:
    return -0.5 * (1 + log_var - mean.pow(2) - log_var.exp()).sum(1)


def with_kl(per_latent: Callable[[Tensor, Tensor], Tensor]) -> Any:
    """A right squared error with a KL of one's own."""

    def loss(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
        return (squared(x, x_hat) + per_latent(mean, log_var).sum(1)).mean()

    return loss


def with_reconstruction(per_image: Callable[[Tensor, Tensor], Tensor]) -> Any:
    """A right KL with a reconstruction term of one's own."""

    def loss(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
        return (per_image(x, x_hat) + divergence(mean, log_var)).mean()

    return loss


def beta_ignored(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor, beta: float = 4.0) -> Any:
    return (squared(x, x_hat) + divergence(mean, log_var)).mean()


def kl_weight_on_everything(
    x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor, kl_weight: float = 0.5
) -> Any:
    return kl_weight * (squared(x, x_hat) + divergence(mean, log_var)).mean()


def kld_weight_on_reconstruction(
    x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor, kld_weight: float = 3.0
) -> Any:
    return (kld_weight * squared(x, x_hat) + divergence(mean, log_var)).mean()


def alpha_ignored(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor, alpha: Tensor) -> Any:
    return (squared(x, x_hat) + divergence(mean, log_var)).mean()


def log_std_as_log_var(x: Tensor, x_hat: Tensor, mean: Tensor, log_std: Tensor) -> Any:
    return (squared(x, x_hat) + divergence(mean, log_std)).mean()


def sum_over_the_batch_in_kl(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    return squared(x, x_hat).mean() + divergence(mean, log_var).sum()


def kl_detached(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    return (squared(x, x_hat) + divergence(mean, log_var).detach()).mean()


def kl_left_out(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    reconstruction, kl = squared(x, x_hat).mean(), divergence(mean, log_var).mean()
    return reconstruction, reconstruction, kl


def reconstruction_detached(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    return (squared(x, x_hat.detach()) + divergence(mean, log_var)).mean()


def first_image_only(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    return squared(x, x_hat)[0] + divergence(mean, log_var).mean()


def elbo(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    return -(squared(x, x_hat) + divergence(mean, log_var)).mean()


def no_gradient(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    with torch.no_grad():
        return (squared(x, x_hat) + divergence(mean, log_var)).mean()


def divided_by_pixels(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    return (squared(x, x_hat) + divergence(mean, log_var) / x[0].numel()).mean()


def reversed_kl(mean: Tensor, log_var: Tensor) -> Any:
    prior = Normal(torch.zeros_like(mean), torch.ones_like(mean))
    return kl_divergence(prior, Normal(mean, (0.5 * log_var).exp()))


# code -> (loss, effective beta or None, implied sigma or None)
ROOT_HALF = math.sqrt(0.5)
PLANTED: dict[str, Any] = {
    "kl-wrong-sign": (
        with_kl(lambda m, s: 0.5 * (1 + s - m**2 - s.exp())), -1.0, None),
    "kl-missing-half": (
        with_kl(lambda m, s: -(1 + s - m**2 - s.exp())), 2.0, 1.0),
    "kl-takes-variance": (
        with_kl(lambda m, s: -0.5 * (1 + s.log() - m**2 - s)), 1.0, ROOT_HALF),
    "kl-takes-std": (
        with_kl(lambda m, s: -0.5 * (1 + (s**2).log() - m**2 - s**2)), 1.0, ROOT_HALF),
    "kl-takes-log-std": (
        with_kl(lambda m, s: -0.5 * (1 + 2 * s - m**2 - (2 * s).exp())), 1.0, ROOT_HALF),
    "kl-takes-log-variance": (log_std_as_log_var, 1.0, ROOT_HALF),
    "kl-scale-ignored": (
        with_kl(lambda m, s: -0.5 * (1 + s - m**2 - s)), 1.0, ROOT_HALF),
    "kl-missing-log-var": (
        with_kl(lambda m, s: -0.5 * (1 - m**2 - s.exp())), 1.0, ROOT_HALF),
    "kl-missing-exp-term": (
        with_kl(lambda m, s: -0.5 * (1 + s - m**2)), 1.0, ROOT_HALF),
    "kl-mean-not-squared": (
        with_kl(lambda m, s: -0.5 * (1 + s - m - s.exp())), None, None),
    "kl-takes-mean-absolute": (
        with_kl(lambda m, s: -0.5 * (1 + s - m.abs() - s.exp())), None, None),
    "kl-missing-mean": (
        with_kl(lambda m, s: -0.5 * (1 + s - s.exp())), None, None),
    "kl-std-for-variance": (
        with_kl(lambda m, s: -0.5 * (1 + s - m**2 - (0.5 * s).exp())), 1.0, ROOT_HALF),
    "kl-variance-squared": (
        with_kl(lambda m, s: -0.5 * (1 + s - m**2 - s.exp() ** 2)), 1.0, ROOT_HALF),
    "kl-mean-sign": (
        with_kl(lambda m, s: -0.5 * (1 + s + m**2 - s.exp())), -1.0, None),
    "kl-log-var-sign": (
        with_kl(lambda m, s: -0.5 * (1 - s - m**2 - s.exp())), 1.0, ROOT_HALF),
    "kl-exp-sign": (
        with_kl(lambda m, s: -0.5 * (1 + s - m**2 + s.exp())), 1.0, ROOT_HALF),
    "kl-half-misplaced": (
        with_kl(lambda m, s: -0.5 * (1 + s) + m**2 + s.exp()), 2.0, 1.0),
    "kl-reversed": (with_kl(reversed_kl), None, None),
    "kl-unknown": (with_kl(lambda m, s: m**4 + s**4), None, None),
    "kl-nonlinear": (
        lambda x, x_hat, mean, log_var: (
            squared(x, x_hat).mean() + divergence(mean, log_var).mean().pow(2)
        ),
        None,
        None,
    ),
    "kl-detached": (kl_detached, 0.0, None),
    "no-kl": (kl_left_out, 0.0, None),
    "kl-divided-by-pixels": (divided_by_pixels, 1 / 168, math.sqrt(0.5 / 168)),
    "latents-averaged": (
        lambda x, x_hat, mean, log_var: (
            squared(x, x_hat) + divergence(mean, log_var) / mean.shape[1]).mean(),
        1 / 6, math.sqrt(1 / 12)),
    "pixels-averaged": (
        with_reconstruction(lambda x, x_hat: (x_hat - x).pow(2).mean((1, 2, 3))),
        168.0, math.sqrt(84)),
    "axis-averaged": (
        with_reconstruction(lambda x, x_hat: (x_hat - x).pow(2).mean(-1).sum((1, 2))),
        7.0, math.sqrt(3.5)),
    "balance-depends-on-batch": (sum_over_the_batch_in_kl, 16.0, math.sqrt(8)),
    "beta-ignored": (beta_ignored, 1.0, ROOT_HALF),
    "beta-scales-both": (kl_weight_on_everything, 1.0, ROOT_HALF),
    "beta-on-reconstruction": (kld_weight_on_reconstruction, 1 / 3, math.sqrt(1 / 6)),
    "rmse": (
        with_reconstruction(lambda x, x_hat: squared(x, x_hat).sqrt()), None, None),
    "x-and-x-hat-swapped": (
        with_reconstruction(lambda x, x_hat: F.binary_cross_entropy(
            x, x_hat, reduction="none").flatten(1).sum(1)), 1.0, None),
    "reconstruction-wrong-sign": (
        with_reconstruction(lambda x, x_hat: -squared(x, x_hat)), -1.0, None),
    "elbo-not-negated": (elbo, 1.0, ROOT_HALF),
    "reconstruction-detached": (reconstruction_detached, None, None),
    "no-reconstruction": (
        with_reconstruction(lambda x, x_hat: x.flatten(1).sum(1)), None, None),
    "images-weighted-unevenly": (first_image_only, 1.0, ROOT_HALF),
    "no-gradient": (no_gradient, 1.0, ROOT_HALF),
}  # fmt: skip


@pytest.mark.parametrize(("code", "planted"), PLANTED.items(), ids=PLANTED)
def test_a_planted_mistake_is_the_only_finding(code: str, planted: Any) -> None:
    loss, beta, sigma = planted
    report = audit(loss, **SIZES)
    assert [found for found, _ in report.findings] == [code]
    assert report.effective_beta == (None if beta is None else pytest.approx(beta, rel=1e-3))
    assert report.implied_sigma == (None if sigma is None else pytest.approx(sigma, rel=1e-3))
    if beta is None:
        assert any("effective_beta is null" in note for note in report.notes)


@pytest.mark.parametrize(("code", "planted"), PLANTED.items(), ids=PLANTED)
def test_the_corrected_function_has_no_findings(code: str, planted: Any) -> None:
    report = audit(planted[0], **SIZES)
    assert max(map(len, str(report).splitlines())) <= 80
    assert str(report).endswith(report.corrected)
    again = audit(run(report.corrected), **SIZES)
    assert again.findings == ()
    assert again.kl.startswith("closed form")


def run(source: str) -> Any:
    scope: dict[str, Any] = {}
    exec(source, scope)
    return scope["loss_function"]


def test_a_second_spelling_of_an_ignored_weight_without_default() -> None:
    report = audit(alpha_ignored, **SIZES)
    assert [code for code, _ in report.findings] == ["beta-ignored"]
    assert any("alpha has no default, or 0" in note for note in report.notes)


def test_a_weight_of_the_object_that_is_never_used() -> None:
    class Model(torch.nn.Module):
        def __init__(self, used: Any) -> None:
            super().__init__()
            self.kl_coeff, self.used = 0.1, used

        def loss(self, x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
            weight = self.kl_coeff if self.used else 1.0
            return (squared(x, x_hat) + weight * divergence(mean, log_var)).mean()

    assert [code for code, _ in audit(Model(False).loss, **SIZES).findings] == ["beta-ignored"]
    assert audit(Model(True).loss, **SIZES).findings == ()


@pytest.mark.parametrize(
    ("code", "both"),
    {
        "kl-missing-half": ("1/2 is missing", "beta = 2"),
        "kl-scale-ignored": ("exponential is missing", "its terms are"),
        "kl-variance-squared": ("taken for the standard deviation", "factor 2"),
        "kl-takes-log-std": ("Right if", "wrong if"),
        "kl-takes-variance": ("Right if", "wrong if"),
    }.items(),
)
def test_what_no_probe_can_tell_apart_is_said_with_both_explanations(code: str, both: Any) -> None:
    ((_, sentence),) = audit(PLANTED[code][0], **SIZES).findings
    assert "no probe can tell" in sentence
    assert all(explanation in sentence for explanation in both)


def test_a_log_variance_given_to_a_distribution_that_refuses_it() -> None:
    def loss(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
        prior = Normal(torch.zeros_like(mean), 1.0)
        return (squared(x, x_hat) + kl_divergence(Normal(mean, log_var), prior).sum(1)).mean()

    report = audit(loss, **SIZES)
    assert [code for code, _ in report.findings] == ["kl-takes-std"]


def test_a_capacity_above_the_usual_kl_is_no_wrong_sign() -> None:
    def loss(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
        return squared(x, x_hat).mean() + 10 * (divergence(mean, log_var).mean() - 200).abs()

    report = audit(loss, **{**SIZES, "latent_dim": 2})
    assert report.findings == ()
    assert report.effective_beta == pytest.approx(10)


def test_a_doubled_kl_is_no_finding_where_a_weight_of_two_was_asked_for() -> None:
    def loss(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor, beta: float = 2.0) -> Any:
        return (squared(x, x_hat) + beta * divergence(mean, log_var)).mean()

    report = audit(loss, **SIZES)
    assert report.findings == ()
    assert report.effective_beta == pytest.approx(2)


# --- right losses ---


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
