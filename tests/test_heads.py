"""Heads: scopes, links, layouts, any Pyro distribution."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from pyro_vae import VAE, Head, InputError, Param, fit, observations

from .zoo import CASES, NAMES, Copied, copies

SHAPES = {"image": (3, 4, 5), "grey": (1, 6, 6), "vector": (7,)}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("lead", [(), (2,), (4, 2)])
def test_shapes_with_any_leading_dimensions(
    name: str, shape: tuple[int, ...], lead: tuple[int, ...]
) -> None:
    built = CASES[name]().build(shape)
    likelihood = built(torch.zeros(*lead, built.numbers))
    assert likelihood.batch_shape == lead
    assert likelihood.event_shape == shape
    x = likelihood.sample()
    assert x.shape == (*lead, *shape)
    assert likelihood.log_prob(x).shape == lead


@pytest.mark.parametrize(
    ("scope", "numbers", "learned"),
    [(0.5, 60, 0), ("dataset", 60, 1), ("dimension", 60, 60), ("image", 61, 0), ("pixel", 120, 0)],
    ids=str,
)
def test_a_scope_says_where_the_numbers_come_from(
    scope: float | str, numbers: int, learned: int
) -> None:
    built = Head.of(dist.Laplace, "loc", scale=scope).build((3, 4, 5))
    assert built.numbers == numbers
    assert sum(p.numel() for p in built.parameters()) == learned


def test_raw_output_is_channel_first_grids_and_then_the_numbers_of_the_image() -> None:
    head = Head.of(dist.StudentT, df="image", loc=Param(link="identity"), scale=Param(link="exp"))
    built = head.build((2, 3, 4))
    raw = torch.arange(49.0) / 10
    t = built(raw).base_dist
    assert torch.equal(t.loc, raw[:24].reshape(2, 3, 4))
    assert torch.allclose(t.scale, raw[24:48].reshape(2, 3, 4).exp())
    df = math.log1p(math.exp(4.8)) + 0.001
    assert torch.allclose(t.df, torch.full((2, 3, 4), df))


def test_an_event_inside_a_site_comes_last() -> None:
    head = Head.of(dist.Categorical, logits=(5,))
    built = head.build((2, 3))
    raw = torch.randn(30)
    logits = built(raw).base_dist.logits
    expected = raw.reshape(5, 2, 3).permute(1, 2, 0)
    assert torch.allclose(logits, expected - expected.logsumexp(-1, keepdim=True), atol=1e-6)
    assert head.levels == "levels"
    assert head.kind == "mass"


def test_a_field_left_at_none_keeps_the_heads_own() -> None:
    head = observations.get("normal-learned-sigma", loc=Param(link="identity"), scale="pixel")
    built = head.build((4,))
    far = built(torch.full((8,), 50.0)).base_dist
    assert far.loc.max() == 50
    assert dict(head.parameters)["scale"].scope == "pixel"
    again = head.replace(scale=Param(floor=0.5))
    assert dict(again.parameters)["scale"] == Param("pixel", (), None, 0.5)
    floor = again.build((4,))(torch.full((8,), -100.0)).base_dist.scale
    assert torch.allclose(floor, torch.full((4,), 0.5))


def test_a_location_stays_on_the_interval() -> None:
    head = observations.get("normal", interval=(-1.0, 1.0))
    loc = head.build((3,))(torch.tensor([-100.0, 0.0, 100.0])).base_dist.loc
    assert loc.tolist() == [-1.0, 0.0, 1.0]


@copies
@pytest.mark.parametrize("name", NAMES)
def test_copies_and_pickles_give_the_same_distribution(name: str, copied: Copied) -> None:
    built = CASES[name]().build((2, 3, 3))
    raw = torch.randn(4, built.numbers)
    x = built(raw).sample()
    other = copied(built)
    assert torch.equal(other(raw).log_prob(x), built(raw).log_prob(x))


class _Square:
    """A bare function raw → distribution."""

    num_raw = 2

    def __call__(self, raw: Tensor) -> Any:
        loc, scale = raw.unbind(-4)
        return dist.Normal(loc, scale.exp()).to_event(3)


def test_a_bare_function_is_an_observation(few: Tensor) -> None:
    vae = VAE((1, 28, 28), 2, obs=_Square())
    assert vae.decode(torch.zeros(5, 2)).event_shape == (1, 28, 28)
    assert vae.decode(torch.zeros(4, 5, 2)).batch_shape == (4, 5)
    history = fit(vae, few, epochs=2)
    assert history.epochs()[1]["elbo"] > history.epochs()[0]["elbo"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Param("pixle"), "unknown scope 'pixle': did you mean 'pixel'"),
        (lambda: Param(math.inf), "finite"),
        (lambda: Param(floor=0.0), "floor must be positive"),
        (lambda: Param(floor=-1.0), "floor must be positive"),
        (lambda: Head.of(dist.Normal, "loc", "scal"), "did you mean 'scale'"),
        (lambda: Head.of(dist.Normal, "loc", scale=Param(link="softpuls")).build((3,)), "softplus"),
        (lambda: Head.of(dist.Normal, "loc", scale=-1.0).build((3,)), "scale of Normal"),
        (lambda: Head.of(lambda a: dist.Delta(a), "a").build((3,)), "'a'.*needs link="),
        (lambda: Head.of(dist.Normal, "loc").build((3,)), "Normal refuses its parameters"),
        (
            lambda: Head.of(dist.Binomial, "total_count", "logits").build((3,)),
            "'total_count' of Binomial needs link= or a number",
        ),
        (lambda: Head.of(dist.Normal, "loc", "scale", levels="gray"), "did you mean 'grey'"),
        (lambda: Head.of(dist.Normal, "loc", "scale", kind="los"), "did you mean 'loss'"),
        (lambda: Head.wrap(lambda raw: raw), "num_raw"),
        (lambda: observations.get("bernouli"), "did you mean 'bernoulli'"),
        (lambda: observations.get("normal", sigma=1.0), "unknown normal parameter 'sigma'"),
        (lambda: observations.get("normal").build((3,))(torch.zeros(2, 5)), "needs 3 raw"),
        (lambda: Head.of(partial(dist.Binomial), "logitz"), "did you mean 'logits'"),
    ],
    ids=range(17),
)
def test_mistakes(make: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)
