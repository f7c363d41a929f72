"""What the objective's options are for, at a small setting of experiments/objective.py."""

from __future__ import annotations

from typing import Any

import pytest
from scipy import stats
from torch import Tensor

from experiments.objective import interval
from pyro_vae import History, data, fit, objectives

from .models import small


@pytest.fixture(scope="module")
def thousand(digits: data.Data) -> Tensor:
    return digits.train[:1000]


def trained(images: Tensor, obs: Any, epochs: int, **options: Any) -> History:
    """Batches of 100: as many tens of steps as epochs."""
    vae = small(obs, hidden=100, latent_dim=10)
    return fit(vae, images, images[:200], epochs=epochs, batch_size=100, lr=3e-3, **options)


@pytest.mark.parametrize("spec", ["trace:K=2", "mean-field", "iwae:3", "dreg:3", "renyi:0.5",
                                  "free-bits:0.1", "capacity:5,gamma=1"])  # fmt: skip
def test_every_objective_trains(few: Tensor, spec: str) -> None:
    history = fit(small(), few, few[:50], epochs=5, lr=1e-2, elbo=spec)
    first, *_, last = history.epochs("held-out")
    assert last["loss"] < first["loss"]
    assert last["elbo"] > first["elbo"]
    assert str(objectives.parse(spec)) == spec


@pytest.mark.slow
def test_a_target_kl_is_held(thousand: Tensor) -> None:
    history = trained(thousand, "normal", 40, target_kl=4.0)
    seen = [record["kl"] for record in history.epochs("held-out")[-10:]]
    assert sum(seen) / 10 == pytest.approx(4, rel=0.05)
    assert history.epochs()[-1]["beta"] > 1.2  # at β = 1 it would be above 6


@pytest.mark.slow
def test_a_target_reconstruction_is_held(thousand: Tensor) -> None:
    # After 40 epochs it is still 1.4 above, whatever the seed; after 60, 0.25.
    history = trained(thousand, "normal", 60, target_reconstruction=-480.0)
    seen = [record["reconstruction"] for record in history.epochs()[-10:]]
    assert sum(seen) / 10 == pytest.approx(-480, abs=1.5)
    assert history.baselines["best constant prediction"] < -490  # it is no matter of course


@pytest.mark.slow
def test_free_bits_keep_units_that_a_large_beta_gives_up(thousand: Tensor) -> None:
    without, with_them = (
        trained(thousand, "normal", 30, elbo=elbo, beta=8.0).epochs("held-out")[-1]
        for elbo in ("mean-field", "free-bits:0.25")
    )
    assert max(without["kl_per_latent"]) < 0.05
    assert sum(kl > 0.1 for kl in with_them["kl_per_latent"]) >= 9
    assert without["active_units"] < with_them["active_units"] == 10


@pytest.mark.slow
@pytest.mark.parametrize("obs", ["normal", "bernoulli"])
def test_a_mean_collapses_and_a_sum_does_not(thousand: Tensor, obs: str) -> None:
    """A mean over batch and pixels beside a summed KL is β = batch × pixels, for both losses."""
    mean, total = (
        trained(thousand, obs, 30, beta=beta).epochs("held-out")[-1] for beta in (100.0 * 784, 1.0)
    )
    assert mean["active_units"] == 0
    assert max(mean["kl_per_latent"]) < 0.01
    assert total["active_units"] >= 9
    assert total["kl"] > 5


def test_the_interval_is_students() -> None:
    values = [0.3, -0.2, 0.9, 0.4, 0.35]
    mean, half = interval(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (mean - half, mean + half) == pytest.approx(tuple(expected))
