"""Every prior with every posterior: bounds, gradients, folders, resumption, graphs."""

from __future__ import annotations

import functools
import gc
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from pyro_vae import (
    VAE,
    Head,
    InputError,
    Param,
    diagnose,
    evaluate,
    fit,
    forecasting,
    load,
    networks,
    posteriors,
    priors,
)
from pyro_vae.distributions.flow import Flow
from pyro_vae.distributions.full_normal import FullNormal
from pyro_vae.metrics.importance import importance_bound
from pyro_vae.objectives import parse
from pyro_vae.sweeps import forecast_cells, read_spec
from pyro_vae.training import Stopped

from .test_captured import agree, both
from .training.stopping import StopAt

# A mean of N paired differences may be this many standard errors on the wrong side: 3e-5 a test.
ERRORS = 4.0
SIGMA, DIMS = 0.5, 6

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


HEAD = Head.of(
    dist.Normal, loc=Param(link="identity"), scale=SIGMA, levels="real", display=lambda p: p.mean
)


def pair(prior: str, posterior: str, net: Any = linear_decoder) -> VAE:
    return VAE((DIMS,), 2, HEAD, net, prior=prior, posterior=posterior)


def rows(count: int) -> Tensor:
    """Two clusters in a plane of six dimensions, so that priors have something to learn."""
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(count, 2, generator=generator) * 0.5
    z[:, 0] += 3.0 * (torch.rand(count, generator=generator) < 0.5) - 1.5
    weight = torch.randn(2, DIMS, generator=generator)
    return z @ weight + SIGMA * torch.randn(count, DIMS, generator=generator)


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


@pytest.mark.parametrize("posterior", ["iaf:3", "coupling:3"])
def test_the_density_of_a_flow_is_the_draws_own(posterior: str) -> None:
    """By its inverse, and by the Jacobian of the map from the base that autograd gives."""
    torch.set_default_dtype(torch.float64)
    try:
        module = posteriors.make(posterior, 3)
        q = module(torch.randn(4, module.numbers))
        z = q.rsample((2,))
        cached = q.log_prob(z)
        torch.testing.assert_close(q.log_prob(z.clone()), cached)
        # z = f(z0): log q(z) = log N(z0) − log |det ∂f|, from a fresh pass for one image.
        one = module(torch.randn(1, module.numbers))
        start = one.base.rsample()

        def push(z0: Tensor) -> Tensor:
            z = z0[None]
            for transform in one.transforms:
                z = transform(z)
            return z[0]

        jacobian = torch.autograd.functional.jacobian(push, start[0])
        wanted = one.base.log_prob(start)[0] - torch.linalg.slogdet(jacobian)[1]
        torch.testing.assert_close(one.log_prob(push(start[0])[None])[0], wanted)
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_flows_density_broadcasts_over_images() -> None:
    module = posteriors.make("iaf", 3)
    q, z = module(torch.randn(4, module.numbers)), torch.randn(5, 1, 3)
    together = q.log_prob(z)
    assert together.shape == (5, 4)
    for i, j in itertools.product(range(5), range(4)):
        alone = q.log_prob(z[i].expand(4, 3))[j]
        torch.testing.assert_close(together[i, j], alone, atol=1e-5, rtol=1e-5)


def test_kl_of_a_full_normal_is_torchs_of_two_full_ones() -> None:
    factor = torch.tril(torch.randn(7, 3, 3), -1) + torch.diag_embed(torch.rand(7, 3) + 0.5)
    q = FullNormal(torch.randn(7, 3), scale_tril=factor)
    loc, scale = torch.randn(3), torch.rand(3) + 0.5
    p = Independent(Normal(loc, scale), 1)
    wanted = kl_divergence(
        MultivariateNormal(q.loc, scale_tril=q.scale_tril),
        MultivariateNormal(loc, torch.diag(scale**2)),
    )
    torch.testing.assert_close(kl_divergence(q, p), wanted)


@pytest.mark.parametrize("size", [0.0, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("name", ["diagonal", "full", "iaf", "coupling"])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_every_draw_of_a_posterior_has_a_density(name: str, sign: float, size: float) -> None:
    module = posteriors.make(name, 8)
    either = torch.where(torch.rand(100, module.numbers) < 0.5, size, -size)
    for raw in (torch.full((100, module.numbers), sign * size), either):
        raw.requires_grad_()
        for drawn in ("sample", "rsample"):
            q = module(raw)
            with torch.set_grad_enabled(drawn == "rsample"):
                log_prob = q.log_prob(getattr(q, drawn)())
            assert log_prob.isfinite().all()
        (gradient,) = torch.autograd.grad(log_prob.sum(), raw)
        assert gradient.isfinite().all()


def _full_normal(numbers: Tensor) -> tuple[FullNormal, Tensor, Tensor]:
    loc, factor = numbers[:3], numbers[3:].reshape(3, 3).tril(-1) + 2 * torch.eye(3).to(numbers)
    return FullNormal(loc, scale_tril=factor), loc, factor


def test_a_full_normals_own_draw_has_the_density_and_gradients_of_torchs() -> None:
    numbers = torch.randn(12, dtype=torch.float64, requires_grad=True)
    q, loc, factor = _full_normal(numbers)
    torchs = MultivariateNormal(loc, scale_tril=factor)
    z = q.rsample((5,))
    for point in (z, z.detach(), z.detach().requires_grad_()):
        ours, theirs = q.log_prob(point), torchs.log_prob(point)
        torch.testing.assert_close(ours, theirs)
        grads = [
            torch.autograd.grad(p.sum(), numbers, retain_graph=True)[0] for p in (ours, theirs)
        ]
        torch.testing.assert_close(*grads)
    constant = q.sample()  # under no_grad it is made as z is, but stays where it is
    grads = [
        torch.autograd.grad(p.log_prob(constant), numbers, retain_graph=True)[0]
        for p in (q, torchs)
    ]
    torch.testing.assert_close(*grads)
    start = q.sample().requires_grad_()
    grads = [torch.autograd.grad(p.log_prob(start), start)[0] for p in (q, torchs)]
    torch.testing.assert_close(*grads)


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


def test_a_flow_has_a_centre_and_no_mean() -> None:
    base = dist.Normal(torch.ones(3), 1.0).to_event(1)
    q = Flow(base, [dist.transforms.AffineTransform(1.0, 2.0)])
    torch.testing.assert_close(posteriors.code_of(q), torch.full((3,), 3.0))
    with pytest.raises(NotImplementedError):
        q.mean  # noqa: B018
    assert q.expand((4,)).rsample().shape == (4, 3)
