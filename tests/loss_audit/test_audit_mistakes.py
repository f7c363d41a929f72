"""Planted mistakes are named by their code.

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
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from pyro_vae.loss_audit import audit

from .pieces import SIZES, divergence, run, squared


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
