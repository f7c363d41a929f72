"""Every prior with every posterior: bounds, gradients, folders, resumption, graphs."""

from __future__ import annotations

import gc
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pyro_vae import VAE, evaluate, fit, load, networks
from pyro_vae.metrics.importance import importance_bound
from pyro_vae.objectives import parse
from pyro_vae.training import Stopped

from .latent_rows import DIMS, HEAD, SIGMA, rows
from .test_captured import agree, both
from .training.stopping import StopAt

# A mean of N paired differences may be this many standard errors on the wrong side: 3e-5 a test.
ERRORS = 4.0

PAIRS = list(
    itertools.product(
        ["standard-normal", "diagonal-normal", "mixture:3", "vamp:4", "flow"],
        ["diagonal", "full", "iaf", "coupling"],
    )
)
every_pair = pytest.mark.parametrize(("prior", "posterior"), PAIRS)


def linear_decoder(sizes: networks.Sizes) -> tuple[nn.Module, nn.Module]:
    layers = [nn.Flatten(), nn.Linear(DIMS, 16), nn.Tanh()]
    encoder = nn.Sequential(*layers, nn.Linear(16, sizes.posterior_numbers))
    return encoder, nn.Linear(sizes.latent_dim, DIMS)


def pair(prior: str, posterior: str, net: Any = linear_decoder) -> VAE:
    return VAE((DIMS,), 2, HEAD, net, prior=prior, posterior=posterior)


@torch.no_grad()
def log_evidence(vae: VAE, x: Tensor) -> np.ndarray:
    """Of each row, by quadrature over the two latents."""
    line = torch.linspace(-14, 14, 401)
    grid = torch.cartesian_prod(line, line)
    cell = 2 * math.log(float(line[1] - line[0]))
    log_p = vae.prior().log_prob(grid).double() + cell
    # p(z) is a density, and all of it is here but for a flow's tails, where no image comes from.
    assert -0.1 < float(log_p.logsumexp(0)) < 5e-3
    means = vae.decoder(grid).double()
    constant = DIMS * math.log(SIGMA * math.sqrt(2 * math.pi))
    distances = (torch.cdist(part.double(), means).square() for part in x.split(40))
    parts = [(log_p - d / (2 * SIGMA**2) - constant).logsumexp(1) for d in distances]
    return torch.cat(parts).numpy()


@pytest.mark.slow
@every_pair
def test_elbo_below_importance_bound_below_evidence(prior: str, posterior: str) -> None:
    vae, x = pair(prior, posterior), rows(200)
    fit(vae, x, epochs=40, batch_size=50, lr=1e-2)
    exact = log_evidence(vae, x)
    elbo, few, many = (importance_bound(vae, x, k).observed.numpy() for k in (1, 5, 500))
    for lower, higher in ((elbo, few), (few, many), (many, exact)):
        gap = higher - lower
        assert gap.mean() > -ERRORS * gap.std() / math.sqrt(len(gap)) - 1e-4
    # Draws and densities that did not fit each other would be nats off.
    assert abs((exact - many).mean()) < 0.1
    spread = (exact - elbo).std() / math.sqrt(len(x))
    assert evaluate(vae, x)["elbo"] < exact.mean() + ERRORS * spread


@every_pair
def test_gradients_are_finite_and_reach_every_weight(prior: str, posterior: str) -> None:
    vae = pair(prior, posterior)
    parse("trace").differentiable_loss(vae.model, vae.guide, rows(30), beta=0.7).backward()
    for name, parameter in vae.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert bool((parameter.grad != 0).any()), name


@every_pair
def test_a_run_is_saved_resumed_and_loaded(prior: str, posterior: str, tmp_path: Path) -> None:
    x, settings = rows(60), {"epochs": 2, "batch_size": 20, "lr": 1e-2}

    def made() -> VAE:
        torch.manual_seed(5)
        return pair(prior, posterior, networks.MLP(hidden=8))

    whole, again = made(), made()
    fit(whole, x, **settings)
    with pytest.raises(Stopped):
        fit(again, x, out=tmp_path, progress=StopAt(4), **settings)
    fit(made(), x, out=tmp_path, resume=True, **settings)
    found = load(tmp_path, obs=HEAD)
    assert (found.prior_spec, found.posterior_spec) == (whole.prior_spec, whole.posterior_spec)
    assert {name for name, _ in found.named_parameters()} > {"encoder.1.weight"}
    for key, value in whole.state_dict().items():
        assert torch.equal(value, found.state_dict()[key]), key


@every_pair
def test_every_pair_is_captured(prior: str, posterior: str) -> None:
    vae = pair(prior, posterior)
    wanted, found = both(vae, rows(8), "trace", torch.tensor(0.7))
    agree(found, wanted, 1e-5, 1e-4)


@pytest.mark.parametrize("posterior", ["iaf", "coupling"])
def test_collecting_garbage_while_tracing_changes_no_gradient(posterior: str) -> None:
    """What is collected in the midst of tracing is taken for a constant by torch's tracer."""
    vae, before = pair("vamp:4", posterior), gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        wanted, found = both(vae, rows(8), "trace", torch.tensor(0.7))
    finally:
        gc.set_threshold(*before)
    agree(found, wanted, 1e-5, 1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*_prims_common.check.*:FutureWarning")  # torch's own
@pytest.mark.parametrize(("prior", "posterior"), [("vamp:3", "iaf"), ("flow", "full")])
def test_compiled_steps_train(prior: str, posterior: str) -> None:
    vae, x = pair(prior, posterior), rows(40)
    history = fit(vae, x, epochs=2, batch_size=20, compile="on")
    assert not history.warnings
    assert any("compiled" in note for note in history.notes)
    assert all(math.isfinite(step["loss"]) for step in history.steps)
    assert len(history.steps) == 4


@pytest.mark.parametrize("elbo", ["mean-field", "iwae:3", "dreg:3", "free-bits:.1", "capacity:3"])
@pytest.mark.parametrize("pair_of", [("mixture:3", "diagonal"), ("standard-normal", "iaf")])
def test_every_objective_trains_without_a_closed_form(elbo: str, pair_of: tuple[str, str]) -> None:
    history = fit(pair(*pair_of), rows(40), epochs=2, batch_size=20, elbo=elbo)
    assert len(history.steps) == 4
    assert all(math.isfinite(step["loss"]) for step in history.steps)
    assert any("sampled" in note for note in history.notes)


@pytest.mark.parametrize("beta", ["linear:0,1,steps=3", "cyclical:0,1,period=4,ratio=0.5"])
def test_every_schedule_trains_without_a_closed_form(beta: str) -> None:
    history = fit(pair("vamp:3", "coupling"), rows(40), epochs=3, batch_size=20, beta=beta)
    assert len({step["beta"] for step in history.steps}) > 1
    assert all(math.isfinite(step["loss"]) for step in history.steps)
