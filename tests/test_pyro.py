"""The model and guide unwrapped, in plain Pyro."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Predictive, Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor

from pyro_vae import VAE, InputError, fit, load, networks, save

SHAPE = (1, 28, 28)


def small(obs: Any = "normal", name: str | None = None) -> VAE:
    return VAE(SHAPE, 2, obs, networks.MLP(hidden=16), name)


@pytest.fixture
def x(few: Tensor) -> Tensor:
    return (few[:40].float() + 0.5) / 256


def _train(vae: VAE, x: Tensor, steps: int = 60, elbo: Any = None) -> list[float]:
    svi = SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-2}), elbo or Trace_ELBO())
    return [svi.step(x) for _ in range(steps)]


def test_svi(x: Tensor) -> None:
    vae = small()
    before = vae.decoder[-1].bias.clone()
    losses = _train(vae, x)
    assert losses[-1] < losses[0] - 50
    assert not torch.equal(vae.decoder[-1].bias, before)


def test_svi_step_is_the_sum_over_the_batch(x: Tensor) -> None:
    vae = small()
    torch.manual_seed(0)
    total = SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 0.0}), Trace_ELBO()).step(x)
    torch.manual_seed(0)
    z = vae.encode(x).rsample()
    kl = vae.encode(x).log_prob(z) - vae.prior().log_prob(z)
    assert total == pytest.approx((kl - vae.decode(z).log_prob(x)).sum().item(), rel=1e-5)


def test_mean_field_elbo(x: Tensor) -> None:
    losses = _train(small(), x, elbo=TraceMeanField_ELBO())
    assert losses[-1] < losses[0] - 50


def test_vectorised_particles(x: Tensor) -> None:
    vae = small()
    elbo = Trace_ELBO(num_particles=5, vectorize_particles=True, max_plate_nesting=1)
    assert _train(vae, x, 5, elbo)[-1] < float("inf")
    trace = poutine.trace(vae.model).get_trace(x)
    trace.compute_log_prob()
    assert trace.nodes["obs"]["log_prob"].shape == (40,)


def test_posterior_predictive(x: Tensor) -> None:
    vae = small()
    drawn = Predictive(vae.model, guide=vae.guide, num_samples=3)(x)
    assert drawn["latent"].shape == (3, 40, 2)
    unobserved = poutine.uncondition(vae.model)
    assert Predictive(unobserved, guide=vae.guide, num_samples=3)(x)["obs"].shape == (3, 40, *SHAPE)


def test_prior_predictive() -> None:
    drawn = Predictive(small().model, num_samples=4)(None, size=6)
    assert drawn["latent"].shape == (4, 6, 2)
    assert drawn["obs"].shape == (4, 6, *SHAPE)


def test_trace_condition_replay_uncondition(x: Tensor) -> None:
    vae = small()
    z = torch.randn(40, 2)
    conditioned = poutine.trace(poutine.condition(vae.model, {"latent": z})).get_trace(x)
    assert conditioned.nodes["latent"]["is_observed"]
    guide = poutine.trace(vae.guide).get_trace(x)
    replayed = poutine.trace(poutine.replay(vae.model, trace=guide)).get_trace(x)
    assert torch.equal(replayed.nodes["latent"]["value"], guide.nodes["latent"]["value"])
    free = poutine.trace(poutine.uncondition(vae.model)).get_trace(x)
    assert not torch.equal(free.nodes["obs"]["value"], x)
    assert [f.name for f in replayed.nodes["obs"]["cond_indep_stack"]] == ["data"]


def test_render_model(x: Tensor) -> None:
    graph = pyro.render_model(small().model, model_args=(x,), render_distributions=True)
    assert "latent" in graph.source
    assert "obs" in graph.source


@pytest.mark.parametrize("how", ["svi", "fit"])
def test_two_vaes_one_after_the_other_both_learn(x: Tensor, few: Tensor, how: str) -> None:
    for _ in range(2):
        vae = small()
        start = {key: value.clone() for key, value in vae.state_dict().items()}
        if how == "svi":
            losses = _train(vae, x)
            assert losses[-1] < losses[0] - 50
        else:
            history = fit(vae, few, epochs=10, lr=1e-2, init_from_data=False)
            assert history.epochs()[-1]["elbo"] > history.epochs()[0]["elbo"] + 10
        moved = [
            key for key, value in vae.state_dict().items() if not torch.equal(value, start[key])
        ]
        assert set(moved) == set(start)


def test_fit_leaves_the_parameter_store_alone(few: Tensor) -> None:
    fit(small(), few, epochs=1)
    assert len(pyro.get_param_store()) == 0


def test_a_namesake_in_the_store_is_refused_with_its_cure(x: Tensor) -> None:
    _train(small(name="mine"), x, 1)
    second = small(name="mine")
    with pytest.raises(InputError, match=r"name=.*pyro\.clear_param_store"):
        second.model(x)
    with pytest.raises(InputError, match="'mine'"):
        second.guide(x)
    fit(second, x, epochs=1)
    pyro.clear_param_store()
    _train(second, x, 1)


@pytest.mark.parametrize(
    "again",
    [
        lambda vae, run: copy.deepcopy(vae),
        lambda vae, run: load(run),
        lambda vae, run: load(run, name="third"),
    ],
    ids=["copied", "loaded", "renamed"],
)
def test_copies_and_loaded_models_train_beside_the_original(
    again: Callable[[VAE, Path], VAE], x: Tensor, tmp_path: Path
) -> None:
    vae = small(name="original")
    _train(vae, x, 2)
    save(vae, tmp_path / "run")
    other = again(vae, tmp_path / "run")
    assert other.name != vae.name
    assert torch.equal(other.decoder[-1].bias, vae.decoder[-1].bias)
    Predictive(other.model, guide=other.guide, num_samples=1)(x)
    pyro.render_model(other.model, model_args=(x,))
    losses = _train(other, x)
    assert losses[-1] < losses[0]
