"""Conditional VAEs, missing entries, and several observations on one latent."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from pyro.optim import Adam
from scipy.stats import norm
from torch import Tensor, nn

from pyro_vae import VAE, Head, InputError, JointVAE, Param, Part, networks

SIGMA = 0.5
HEAD = Head.of(dist.Normal, loc=Param(link="identity"), scale=SIGMA, levels="real")
FROM_DATA = Head.of(dist.Normal, "loc", scale=Param(scope="dataset", source="data"))
LABEL = Head.of(dist.Categorical, logits=(3,), levels="levels")


def one_hot(labels: Tensor) -> Tensor:
    return nn.functional.one_hot(labels.squeeze(-1).long(), 3).float()


def negative_elbo(vae: Any, x: Any, **options: Any) -> float:
    torch.manual_seed(3)
    return float(Trace_ELBO().differentiable_loss(vae.model, vae.guide, x, **options).detach())


@pytest.fixture
def linear() -> tuple[nn.Module, nn.Module]:
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 4)), nn.Linear(2, 6)


def test_parts_together_are_one_vector(linear: tuple[nn.Module, nn.Module]) -> None:
    """Two parts of 2 and 4 numbers score as a VAE of 6 with the same networks, masked as well."""
    whole = VAE((6,), 2, HEAD, copy.deepcopy(linear))
    joint = VAE({"a": (2,), "b": (4,)}, 2, HEAD, copy.deepcopy(linear))
    x, mask = torch.randn(9, 6), torch.rand(9, 6) < 0.6
    parts = dict(zip("ab", x.split([2, 4], 1), strict=True))
    masks = dict(zip("ab", mask.split([2, 4], 1), strict=True))
    wanted = negative_elbo(whole, x)
    assert negative_elbo(joint, parts) == pytest.approx(wanted, rel=1e-5)
    assert negative_elbo(joint, parts, beta=0.3) != pytest.approx(wanted, rel=1e-3)
    hidden = negative_elbo(whole, x, mask=mask)
    assert hidden != pytest.approx(wanted, rel=1e-3)
    assert negative_elbo(joint, parts, mask=masks) == pytest.approx(hidden, rel=1e-5)
    # A part that is left out is one of which no entry is observed.
    nothing = mask.clone()
    nothing[:, :2], nothing[:, 2:] = False, True
    alone = negative_elbo(whole, x, mask=nothing)
    assert negative_elbo(joint, {"b": parts["b"]}) == pytest.approx(alone, rel=1e-5)


def test_masked_entries_are_not_scored_whatever_they_are() -> None:
    vae = VAE((6,), 2, HEAD, networks.MLP(hidden=4))
    x, mask = torch.randn(5, 6), torch.rand(5, 6) < 0.5
    z = torch.randn(5, 2)
    replayed = poutine.condition(vae.model, {"latent": z})
    trace = poutine.trace(replayed).get_trace(x.where(mask, torch.nan), mask=mask)
    trace.compute_log_prob()
    mean = vae.decode(z).mean.detach().numpy()
    each = norm.logpdf(x.numpy(), mean, SIGMA)
    wanted = np.where(mask.numpy(), each, 0).sum(1)
    np.testing.assert_allclose(trace.nodes["obs"]["log_prob"].detach(), wanted, rtol=1e-5)
    loss = Trace_ELBO().differentiable_loss(
        vae.model, vae.guide, x.where(mask, torch.nan), mask=mask
    )
    loss.backward()
    gradients = [p.grad for p in vae.parameters()]
    assert len(gradients) == 8
    assert all(g is not None and bool(torch.isfinite(g).all()) for g in gradients)


def test_a_colour_counts_as_a_whole() -> None:
    head = Head.of(
        dist.MultivariateNormal,
        loc=Param(shape=(2,), link="identity"),
        scale_tril=(2, 2),
        levels="real",
    )
    vae = VAE((3, 4, 2), 2, head, networks.MLP(hidden=4))
    x, mask = torch.randn(5, 3, 4, 2), torch.ones(5, 3, 4, 2, dtype=torch.bool)
    mask[:, 0, 0, 1] = False  # half of a site
    z = torch.zeros(5, 2)
    trace = poutine.trace(poutine.condition(vae.model, {"latent": z})).get_trace(x, mask=mask)
    trace.compute_log_prob()
    sites = vae.decode(z).base_dist.log_prob(x)
    wanted = sites.sum((1, 2)) - sites[:, 0, 0]
    torch.testing.assert_close(trace.nodes["obs"]["log_prob"], wanted)


@pytest.mark.parametrize(
    ("shape", "net", "dims"),
    [((1, 8, 8), "mlp", 3), ((2, 9, 8), "conv", 3), ((1, 8, 8), "ladder", (2, 1))],
)
def test_covariates_reach_both_networks(shape: tuple[int, ...], net: str, dims: Any) -> None:
    vae = VAE(shape, dims, "bernoulli", net, covariates=4)
    x, c = torch.rand(5, *shape).round(), torch.eye(4)[torch.arange(5) % 4]
    other = torch.roll(c, 1, 1)
    assert not torch.allclose(vae.code(x, c), vae.code(x, other))
    z = torch.randn(5, 3)
    given, changed = vae.decode(z, covariates=c).mean, vae.decode(z, covariates=other).mean
    assert not torch.allclose(given, changed)
    everywhere = vae.decode(z, covariates=torch.eye(4)[:, None])
    assert everywhere.batch_shape == (4, 5)
    torch.testing.assert_close(everywhere.mean[0, 0], vae.decode(z[0], covariates=c[0]).mean)
    assert vae.encode(x, torch.eye(4)[:, None]).batch_shape == (4, 5)
    assert vae.sample(5, covariates=c).shape == (5, *shape)
    assert vae.reconstruct(x, covariates=c).shape == (5, *shape)
    loss = Trace_ELBO().differentiable_loss(vae.model, vae.guide, x, covariates=c)
    assert bool(torch.isfinite(loss))


def test_a_conditional_vae_learns_what_its_covariate_says() -> None:
    """x is the covariate with noise: the decoder takes it from there, and z stays unused."""
    vae = VAE((2,), 2, HEAD, networks.MLP(hidden=16), covariates=1)
    c = torch.randn(200, 1)
    x = torch.cat([c, -2 * c], 1) + SIGMA * torch.randn(200, 2)
    svi = SVI(vae.model, vae.guide, Adam({"lr": 1e-2}), Trace_ELBO())
    for _ in range(300):
        svi.step(x, covariates=c)
    with torch.no_grad():
        at = torch.tensor([[1.0], [-1.0]])
        mean = vae.decode(torch.zeros(2, 2), covariates=at).mean
        spread = vae.encode(x, c).stddev.mean()
    np.testing.assert_allclose(mean, [[1, -2], [-1, 2]], atol=0.3)
    assert float(spread) > 0.8


def test_draws_and_names_of_a_joint_model() -> None:
    parts = {"image": Part((1, 8, 8), "bernoulli"), "label": Part((1,), LABEL, one_hot)}
    vae = VAE(parts, 2)
    trace = poutine.trace(vae.model).get_trace(size=7)
    assert {"latent", "obs.image", "obs.label"} <= set(trace.nodes)
    drawn = trace.nodes["_RETURN"]["value"]
    assert drawn["image"].shape == (7, 1, 8, 8)
    assert set(drawn["label"].flatten().tolist()) <= {0, 1, 2}
    assert vae.encode(drawn).batch_shape == (7,)
    assert vae.decode(torch.zeros(4, 7, 2))["label"].batch_shape == (4, 7)


def test_a_label_is_inferred_from_the_other_part() -> None:
    """Clusters far apart: after training, x alone tells the label in 95 of 100 cases."""
    label = torch.arange(300).remainder(3)[:, None].float()
    x = 4 * one_hot(label) + SIGMA * torch.randn(300, 3)
    vae = VAE({"x": Part((3,), HEAD), "label": Part((1,), LABEL, one_hot)}, 2)
    svi = SVI(vae.model, vae.guide, Adam({"lr": 1e-2}), Trace_ELBO())
    seen = torch.rand(300, 1) < 0.5
    for _ in range(200):
        svi.step({"x": x, "label": label}, mask={"label": seen})
    code = vae.encode({"x": x}).mean
    probs = vae.decode(code)["label"].base_dist.probs
    assert float((probs.argmax(-1) == label).float().mean()) > 0.95


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: VAE({}, 2), "not empty"),
        (lambda: VAE({"a": Part((2,), "bernouli")}, 2), "unknown observation"),
        (
            lambda: VAE({"a": Part((2,), HEAD)}).model({"b": torch.zeros(1, 2)}),
            "part of data 'b'",
        ),
        (lambda: VAE({"a": Part((2,), HEAD)}).encode({}), "at least one of a"),
        (lambda: VAE({"a": Part((2,), HEAD)}).model({"a": torch.zeros(1, 3)}), "shape"),
        (lambda: VAE((2,), 2, HEAD, covariates=3).encode(torch.zeros(1, 2)), "3 covariates"),
        (
            lambda: VAE((2,), 2, HEAD).encode(torch.zeros(1, 2), covariates=torch.zeros(1, 3)),
            "0 covariates",
        ),
        (lambda: VAE({"a": Part((2,), FROM_DATA)}), "scale from the data"),
        (lambda: VAE((2,), 2, HEAD, covariates=-1), "0 or more"),
        (
            lambda: VAE((2,), 2, HEAD).model(torch.zeros(1, 2), mask=torch.ones(1, 2)),
            "must be boolean",
        ),
    ],
)
def test_mistakes_are_told(call: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()


def test_two_joint_models_do_not_share_parameters() -> None:
    x = {"a": torch.randn(20, 2)}
    for _ in range(2):
        vae = VAE({"a": Part((2,), HEAD)}, 2, net=networks.MLP(hidden=4))
        before = copy.deepcopy(vae.state_dict())
        SVI(vae.model, vae.guide, Adam({"lr": 1e-2}), Trace_ELBO()).step(x)
        moved = [k for k, v in vae.state_dict().items() if not torch.equal(v, before[k])]
        assert len(moved) == 8
    names = set(pyro.get_param_store().keys())
    assert len(names) == 16


def test_who_overrides_encode_need_not_know_of_covariates() -> None:
    class Doubled(VAE):
        def encode(self, x: Tensor) -> Any:  # type: ignore[override]
            return super().encode(2 * x)

        def decode(self, z: Tensor, x: Tensor | None = None) -> Any:  # type: ignore[override]
            return super().decode(z, x)

    vae, x = Doubled((2,), 2, HEAD, networks.MLP(hidden=4)), torch.randn(5, 2)
    assert vae.guide(x).shape == (5, 2)
    assert vae.model(x).shape == vae.sample(5).shape == vae.reconstruct(x).shape == (5, 2)


def test_the_former_name_makes_the_same_model() -> None:
    parts = {"a": Part((2,), HEAD), "b": ((4,), HEAD)}
    with pytest.warns(DeprecationWarning, match="JointVAE goes in the next release"):
        former = JointVAE(parts, 2, networks.MLP(hidden=4), posterior="full")
    torch.manual_seed(0)
    x = {"a": torch.randn(5, 2), "b": torch.randn(5, 4)}
    now = VAE({"a": (2,), "b": (4,)}, 2, HEAD, networks.MLP(hidden=4), posterior="full")
    now.load_state_dict(former.state_dict())
    assert negative_elbo(former, x) == pytest.approx(negative_elbo(now, x), rel=1e-6)
