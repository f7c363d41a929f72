"""The audit of a sampling function, by moments and gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from pyro_vae.loss_audit import audit

SIZES: dict[str, Any] = {"data_shape": (12,), "latent_dim": 6, "batch_size": 32}


def loss(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Any:
    kl = -0.5 * (1 + log_var - mean.pow(2) - log_var.exp()).sum(1).mean()
    return (x_hat - x).pow(2).sum(1).mean() + kl


def log_std_loss(x: Tensor, x_hat: Tensor, mean: Tensor, log_std: Tensor) -> Any:
    kl = (0.5 * (mean.pow(2) + (2 * log_std).exp() - 1) - log_std).sum(1).mean()
    return (x_hat - x).pow(2).sum(1).mean() + kl


def noise_of_another_shape(mean: Tensor, log_var: Tensor) -> Any:
    return mean + (0.5 * log_var).exp() * torch.randn(mean.shape[1], dtype=mean.dtype)


def one_number_per_image(mean: Tensor, log_var: Tensor) -> Any:
    return mean + (0.5 * log_var).exp() * torch.randn(len(mean), 1, dtype=mean.dtype)


def without_graph(mean: Tensor, log_var: Tensor) -> Any:
    with torch.no_grad():
        return torch.normal(mean, (0.5 * log_var).exp())


SAMPLERS: dict[str, Any] = {
    "right": (lambda m, s: m + torch.exp(0.5 * s) * torch.randn_like(s), None),
    "rsample": (lambda m, s: torch.distributions.Normal(m, (s / 2).exp()).rsample(), None),
    "float32": (
        lambda m, s: (m.float() + torch.exp(0.5 * s.float()) * torch.randn(m.shape)), None),
    "exp": (
        lambda m, s: m + torch.exp(s) * torch.randn_like(s), "sample-exp-log-var-as-std"),
    "log_var": (lambda m, s: m + s * torch.randn_like(s), "sample-log-var-as-std"),
    "unscaled": (lambda m, s: m + 0 * s + torch.randn_like(s), None),
    "none": (lambda m, s: m, "sample-no-noise"),
    "detached std": (
        lambda m, s: m + torch.exp(0.5 * s).detach() * torch.randn_like(s), "sample-detached"),
    "no graph": (without_graph, "sample-detached"),
    "uniform": (lambda m, s: m + torch.exp(0.5 * s) * torch.rand_like(s), "sample-uniform-noise"),
    "half": (lambda m, s: m + torch.exp(0.25 * s) * torch.randn_like(s), "sample-std-halved"),
    "shared by the batch": (noise_of_another_shape, "sample-shared-noise"),
    "shared by the code": (one_number_per_image, "sample-shared-noise"),
    "wrong mean": (
        lambda m, s: 2 * m + torch.exp(0.5 * s) * torch.randn_like(s), "sample-wrong-mean"),
    "softplus": (
        lambda m, s: m + torch.nn.functional.softplus(s) * torch.randn_like(s),
        "sample-wrong-variance"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("sampler", "code"),
    [case for name, case in SAMPLERS.items() if name != "unscaled"],
    ids=[name for name in SAMPLERS if name != "unscaled"],
)
def test_a_sampler_is_told_by_its_samples(sampler: Any, code: str) -> None:
    report = audit(loss, **SIZES, sample_fn=sampler)
    assert [found for found, _ in report.findings] == ([code] if code else [])


def test_noise_that_ignores_log_var_has_no_gradient_either() -> None:
    report = audit(loss, **SIZES, sample_fn=lambda m, s: m + torch.randn_like(m))
    assert [code for code, _ in report.findings] == ["sample-unscaled-noise", "sample-detached"]


def test_a_sampler_is_held_against_the_argument_of_the_loss() -> None:
    exp = SAMPLERS["exp"][0]
    assert audit(log_std_loss, **SIZES, sample_fn=exp).findings == ()
    found = audit(log_std_loss, **SIZES, sample_fn=SAMPLERS["right"][0]).findings
    assert [code for code, _ in found] == ["sample-other-scale"]


def test_a_method_that_samples_in_training_only_is_audited_in_training() -> None:
    class Model(torch.nn.Module):
        def reparameterize(self, mu: Tensor, logvar: Tensor) -> Any:
            if not self.training:
                return mu
            return mu + torch.exp(0.5 * logvar) * torch.randn_like(logvar)

    model = Model().eval()
    assert audit(loss, **SIZES, sample_fn=model.reparameterize).findings == ()
    assert not model.training


def test_seeds_stay_and_a_seeded_sampler_is_no_surprise() -> None:
    state = torch.get_rng_state()
    audit(loss, **SIZES, sample_fn=SAMPLERS["right"][0])
    assert torch.equal(torch.get_rng_state(), state)


def test_a_sampler_that_fails_is_named() -> None:
    def sampler(mean: Tensor, log_var: Tensor, eps: Tensor) -> Tensor:
        return mean

    with pytest.raises(ValueError, match=r"sampler was tried as sampler\(mean, log_var\)"):
        audit(loss, **SIZES, sample_fn=sampler)
    with pytest.raises(ValueError, match="no tensor of the mean's shape"):
        audit(loss, **SIZES, sample_fn=lambda mean, log_var: mean.sum())


def test_a_sampling_function_of_one_list_as_keras_has_it() -> None:
    def right(args: Any) -> Any:
        z_mean, z_log_var = args
        return z_mean + torch.exp(0.5 * z_log_var) * torch.randn_like(z_mean)

    def old(args: Any) -> Any:
        z_mean, z_log_var = args
        return z_mean + torch.exp(z_log_var) * torch.randn_like(z_mean)

    def codes(sampler: Any) -> list[str]:
        return [code for code, _ in audit(loss, **SIZES, sample_fn=sampler).findings]

    assert codes(right) == []
    assert codes(old) == ["sample-exp-log-var-as-std"]
