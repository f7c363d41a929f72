"""Every class of pyro.distributions that draws and scores, as the page of families has it."""

from __future__ import annotations

import inspect
import re
from functools import partial
from pathlib import Path
from typing import Any

import pyro.distributions as dist
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import constraints, transform_to

from pyro_vae import VAE, Head, InputError, Param, diagnose, evaluate, fit, networks
from pyro_vae.inference import impute

PAGE = Path(__file__).parent.parent / "docs/families.md"
_NAMES = {
    "F": F,
    "Head": Head,
    "Param": Param,
    "constraints": constraints,
    "dist": dist,
    "partial": partial,
    "torch": torch,
    "transform_to": transform_to,
}
_ROW = re.compile(r"\| (\w+) \| `(.+)` \| `(.+)` \| (.+) \|")
ROWS = [found.groups() for found in map(_ROW.fullmatch, PAGE.read_text().splitlines()) if found]


def _small(head: Head, x: Tensor) -> VAE:
    return VAE(tuple(x.shape[1:]), 2, head, networks.MLP(hidden=8))


def _fitted(head: Head, x: Tensor) -> VAE:
    vae = _small(head, x)
    fit(vae, x, epochs=1, batch_size=20)
    return vae


def _scored(head: str, data: str) -> str:
    """What comes of a row, in the page's words."""
    torch.manual_seed(0)
    x = eval(data, _NAMES)
    try:
        vae = _small(eval(head, _NAMES), x)
        history = fit(vae, x, epochs=1, batch_size=20)
    except InputError as error:
        return f"no: {error}"
    scores = evaluate(vae, x)
    assert scores["elbo"] > -1e6
    assert scores["collapsed"] is not None
    found = diagnose(vae, x, history)
    if scores["mse"] is not None:
        assert scores["no_mean"] is None
        return "yes"
    assert "display=" in scores["no_mean"]
    assert any(scores["no_mean"] in remark for remark in found.remarks)
    return "without pictures"


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, of classes that do not say all
@pytest.mark.parametrize(("name", "head", "data", "said"), ROWS, ids=[row[0] for row in ROWS])
def test_what_comes_of_a_family_is_what_the_page_says(
    name: str, head: str, data: str, said: str
) -> None:
    assert name in head
    found = _scored(head, data)
    assert found.startswith(said)
    assert "\n" not in found


def test_the_page_has_every_family_once_and_counts_them() -> None:
    def both(kind: Any) -> bool:
        return all(callable(getattr(kind, name, None)) for name in ("log_prob", "sample"))

    there = sorted(n for n, kind in vars(dist).items() if inspect.isclass(kind) and both(kind))
    assert [name for name, *_ in ROWS] == there
    counts = [sum(said.startswith(word) for *_, said in ROWS) for word in ("yes", "with", "no:")]
    assert sum(counts) == len(there) > 80
    text = " ".join(PAGE.read_text().split())
    yes, without, no = counts
    assert f"Of {len(there)} classes {yes} are trained" in text
    assert f"{without} more are without pictures" in text
    assert f"{no} are refused" in text


@pytest.mark.parametrize(
    "theirs",
    [torch.distributions.Normal, partial(torch.distributions.Normal, validate_args=True)],
    ids=["class", "partial"],
)
def test_a_class_of_torchs_own_is_pyros(theirs: Any) -> None:
    head = Head.of(theirs, "loc", scale="dimension", levels="real")
    built = _small(head, torch.randn(4, 3)).likelihood
    assert isinstance(built(torch.zeros(1, 3)).base_dist, dist.Normal)


def test_a_function_that_makes_one_of_torchs_own_is_refused() -> None:
    def function(loc: Tensor) -> Any:
        return torch.distributions.Normal(loc, 1.0)

    with pytest.raises(InputError, match=r"function makes a Normal .* pyro\.distributions\.Normal"):
        Head.of(function, loc=Param(link="identity")).build((3,))


def test_a_number_needs_no_link_and_may_be_no_parameter() -> None:
    x = torch.distributions.Binomial(50, torch.tensor(0.3)).sample((30, 4))
    assert evaluate(_fitted(Head.of(dist.Binomial, total_count=50, logits="pixel"), x), x)["mse"]
    rows = torch.distributions.Multinomial(20, torch.ones(5)).sample((30,))
    built = _small(Head.of(dist.Multinomial, total_count=20, logits=(5,)), rows).likelihood
    assert built(torch.zeros(1, 5)).total_count == 20


@pytest.mark.parametrize("matrix", ["scale_tril", "covariance_matrix", "precision_matrix"])
def test_a_full_covariance_shows_its_location(matrix: str) -> None:
    x = torch.randn(40, 4)
    loc, of = Param(shape=(4,), link="identity"), Param("dataset", shape=(4, 4))
    vae = _fitted(Head.of(dist.MultivariateNormal, loc=loc, **{matrix: of}), x)
    assert torch.equal(vae.reconstruct(x, "parameter"), vae.reconstruct(x, "mean"))


WRONG = {
    "simplex": (
        lambda: Head.of(dist.Dirichlet, concentration=(5,)),
        torch.rand(20, 5),
        "Dirichlet wants in each row numbers of at least 0 that sum to 1, got values from 0",
    ),
    "counts that do not sum to it": (
        lambda: Head.of(dist.Multinomial, total_count=20, logits=(3,)),
        torch.full((20, 3), 7, dtype=torch.uint8),
        "Multinomial wants in each row whole numbers that sum to 20, got values from 7 to 7",
    ),
    "no one-hot rows": (
        lambda: Head.of(dist.OneHotCategorical, logits=(3,)),
        torch.ones(20, 3, dtype=torch.uint8),
        "OneHotCategorical wants in each row a single 1 among 0s, got values from 1 to 1",
    ),
    "no unit vectors": (
        lambda: Head.of(dist.VonMises3D, concentration=(3,)),
        torch.ones(20, 3),
        "VonMises3D wants in each row a vector of length 1, got values from 1 to 1",
    ),
    "levels above the count": (
        lambda: Head.of(dist.Binomial, total_count=50, logits="pixel"),
        torch.full((20, 3), 51, dtype=torch.uint8),
        "Binomial wants data in 0, 1, ..., 50, got values from 51 to 51",
    ),
    "in units of their own": (
        lambda: Head.of(dist.Laplace, "loc", scale="dataset"),
        torch.linspace(-3, 3, 60).reshape(20, 3),
        "levels='real'",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_data_that_do_not_suit_are_told_in_the_families_words(case: str) -> None:
    make, x, words = WRONG[case]
    with pytest.raises(InputError) as caught:
        fit(_small(make(), x), x, epochs=1)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("df", [1.0, 3.0])
def test_a_mean_that_does_not_exist_is_said(df: float) -> None:
    x = torch.randn(40, 4)
    head = Head.of(dist.StudentT, "loc", df=df, scale="dimension", levels="real")
    vae = _fitted(head, x)
    scores = evaluate(vae, x)
    assert (scores["mse"] is None) == (df <= 1)
    mask = torch.arange(4) < 2
    if df > 1:
        assert impute(vae, x, mask, steps=2, draws=2).shape == x.shape
        return
    with pytest.raises(InputError, match=r"mean of StudentT is not finite here.*display="):
        impute(vae, x, mask, steps=2)


def test_display_gives_pictures_to_a_family_without_a_mean() -> None:
    x = torch.distributions.HalfCauchy(1.0).sample((40, 4))
    head = Head.of(dist.HalfCauchy, "scale", display=lambda p: p.base_dist.scale)
    assert evaluate(_fitted(head, x), x)["mse"] > 0
