"""Priors and posteriors: where they begin, those of one's own, and mistakes."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from pyro_vae import VAE, InputError, diagnose, fit, forecasting, load, networks, posteriors, priors
from pyro_vae.sweeps import forecast_cells, read_spec

from .latent_rows import DIMS, HEAD, rows


def test_priors_begin_where_they_say() -> None:
    z = torch.randn(9, 3)
    standard = priors.make("standard-normal", 3, (DIMS,))(None)
    learned = priors.make("diagonal-normal", 3, (DIMS,))(None)
    torch.testing.assert_close(learned.log_prob(z), standard.log_prob(z))
    mixture = priors.make("mixture:5", 3, (DIMS,))(None)
    assert mixture.component_distribution.batch_shape == (5,)


def test_fit_starts_pseudo_inputs_at_training_images(few: Tensor) -> None:
    vae = VAE((1, 28, 28), 2, "bernoulli", networks.MLP(hidden=4), prior="vamp:7")
    fit(vae, few, epochs=1, batch_size=300, lr=1e-6)
    seen = few.float() / 255
    apart = (vae.latent_prior.inputs.detach()[:, None] - seen[None]).abs().amax((2, 3, 4))
    assert float(apart.amin(1).max()) < 1e-2
    assert len(set(apart.argmin(1).tolist())) == 7


def test_samples_come_from_the_prior(few: Tensor) -> None:
    """300 draws of a mixture far from 0, failure rate 1e-6."""
    vae = VAE((1, 28, 28), 2, "bernoulli", networks.MLP(hidden=4), prior="mixture:2")
    with torch.no_grad():
        vae.latent_prior.loc.copy_(torch.tensor([[20.0, 0.0], [-20.0, 0.0]]))
    z = vae.prior().sample((300,))
    assert float(z[:, 0].abs().min()) > 14
    assert 0.3 < float((z[:, 0] > 0).float().mean()) < 0.7
    assert vae.sample(5).shape == (5, 1, 28, 28)


def own_prior(latent_dim: int, data_shape: tuple[int, ...]) -> nn.Module:
    return priors.make("diagonal-normal", latent_dim, data_shape)


def own_posterior(latent_dim: int) -> nn.Module:
    return posteriors.make("full", latent_dim)


def test_there_is_no_forecast_for_another_prior(few: Tensor) -> None:
    """One that knows nothing of the prior would stand beside runs as if it were theirs."""
    vae = VAE((1, 28, 28), 2, "bernoulli", networks.MLP(hidden=4), prior="mixture:2")
    with pytest.raises(InputError, match="of a standard normal prior, not of mixture:2"):
        forecasting.forecast_of(vae, few)
    history = fit(vae, few, epochs=1)
    assert diagnose(vae, few, history).evidence.predicted is None
    assert not any("forecast" in note for note in history.notes)
    base = {"images": 64, "epochs": 1, "hidden": 8, "latent-dim": 2}
    spec = read_spec({"base": base, "grid": {"prior": ["standard-normal", "vamp:3"]}})
    (_, standard), (_, vamp) = forecast_cells(spec)
    assert standard is not None
    assert vamp is None


def own_standard(latent_dim: int, data_shape: tuple[int, ...]) -> nn.Module:
    return priors.StandardNormal()(latent_dim, data_shape)


def test_a_prior_of_ones_own_may_say_that_it_is_the_standard_normal(few: Tensor) -> None:
    torch.manual_seed(0)
    net = networks.MLP(hidden=4)
    known = forecasting.forecast_of(VAE((1, 28, 28), 2, "bernoulli", net), few)
    with pytest.raises(InputError, match="not of one of your own"):
        forecasting.forecast_of(VAE((1, 28, 28), 2, "bernoulli", net, prior=own_standard), few)
    saying = functools.partial(own_standard)
    saying.is_standard = True  # type: ignore[attr-defined]
    vae = VAE((1, 28, 28), 2, "bernoulli", net, prior=saying)
    assert forecasting.forecast_of(vae, few) == known
    assert any("forecast" in note for note in fit(vae, few, epochs=1).notes)


class Encoding(nn.Module):
    """A prior made of posteriors, without pseudo-inputs that training could start."""

    uses_encoder = True

    def forward(self, encode: Callable[[Tensor], Any]) -> Any:
        q = encode(torch.zeros(1, DIMS))
        return dist.Normal(q.mean[0], q.stddev[0]).to_event(1)


def test_a_prior_of_ones_own_may_use_the_encoder() -> None:
    vae = VAE((DIMS,), 2, HEAD, networks.MLP(hidden=4), prior=lambda latent_dim, shape: Encoding())
    history = fit(vae, rows(20), epochs=1)
    assert len(history.steps) == 1
    assert math.isfinite(history.steps[0]["loss"])


def test_own_parts_are_named_when_a_run_is_loaded(tmp_path: Path) -> None:
    net = networks.MLP(hidden=4)
    vae = VAE((DIMS,), 2, "real-normal", net, prior=own_prior, posterior=own_posterior)
    fit(vae, rows(20), epochs=1, out=tmp_path)
    with pytest.raises(InputError, match="prior of your own: pass prior="):
        load(tmp_path)
    with pytest.raises(InputError, match="posterior of your own"):
        load(tmp_path, prior=own_prior)
    found = load(tmp_path, prior=own_prior, posterior=own_posterior)
    torch.testing.assert_close(found.code(rows(5)), vae.code(rows(5)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prior": "vampire"}, "unknown prior 'vampire': did you mean"),
        ({"prior": "vamp:0"}, "positive integer, as in vamp:50; got 'vamp:0'"),
        ({"prior": "standard-normal:3"}, "takes no number"),
        ({"posterior": "iaf:x"}, "as in iaf:2"),
        ({"posterior": "iaf", "latent_dim": 1}, "latent-dim of at least 2"),
        ({"prior": "flow", "latent_dim": 1}, "latent-dim of at least 2"),
        ({"prior": "vamp:3", "covariates": 2}, "cannot be had with covariates"),
        ({"prior": lambda latent_dim, data_shape: 3}, "makes a module"),
        ({"posterior": 3}, "posterior must be a name or a function .*, got 3"),
        ({"posterior": lambda latent_dim: nn.Linear(2, 2)}, "numbers, its raw numbers"),
    ],
)
def test_mistakes_are_told(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        VAE(**{"data_shape": (DIMS,), "latent_dim": 3, "obs": "real-normal", **options})


def test_the_command_line(cli: Callable[..., Any], mistake: Callable[..., str]) -> None:
    options = ["--images", 50, "--epochs", 1, "--hidden", 8, "--latent-dim", 3, "--out", "run"]
    done = cli("fit", *options, "--prior", "vamp:5", "--posterior", "iaf:1")
    assert done.exit_code == 0, done.output
    assert "the KL of iaf:1 to vamp:5 has no closed form" in " ".join(done.stderr.split())
    for command in (["evaluate", "run"], ["sample", "run"], ["reconstruct", "run"]):
        done = cli(*command)
        assert done.exit_code == 0, done.output
    said = mistake("fit", "--prior", "vampire", "--out", "other")
    assert "unknown prior 'vampire'" in said
