"""The default link of every parameter of Pyro's that is called a location: by hand, one a line."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor
from torch.distributions.transforms import AffineTransform, SigmoidTransform

from pyro_vae import VAE, Head, InputError, Param, fit, observations
from pyro_vae.distributions import LogitNormal, TruncatedNormal
from pyro_vae.observations import OnLevels


def _triangle(raw: Tensor) -> Tensor:
    return raw.tril(-1) + torch.eye(3)


_SCALE: dict[str, Any] = {"scale": "image"}
_TRIL: dict[str, Any] = {"scale_tril": Param(shape=(3, 3), link=_triangle)}
_MIXTURE: dict[str, Any] = {"component_logits": (2,)}
_TORUS: dict[str, Any] = {f"{side}_concentration": "image" for side in ("phi", "psi")}
_TORUS |= {"correlation": 0.0, "phi_loc": (), "psi_loc": ()}

# The parameter, its shape in an entry, the others, and whether it lies where the data lie: the
# family's support is the whole line (torch says that a circle's is), which it moves along. Where
# the support is another, the parameter is a logarithm, a logit, or the support's own end.
PARAMETERS: dict[str, tuple[str, tuple[int, ...], dict[str, Any], bool]] = {
    "Normal": ("loc", (), _SCALE, True),
    "Laplace": ("loc", (), _SCALE, True),
    "Cauchy": ("loc", (), _SCALE, True),
    "StudentT": ("loc", (), {**_SCALE, "df": "dataset"}, True),
    "Gumbel": ("loc", (), _SCALE, True),
    "Logistic": ("loc", (), _SCALE, True),
    "SkewLogistic": ("loc", (), {**_SCALE, "asymmetry": "dataset"}, True),
    "SoftLaplace": ("loc", (), _SCALE, True),
    "AsymmetricLaplace": ("loc", (), {**_SCALE, "asymmetry": "dataset"}, True),
    "SoftAsymmetricLaplace": ("loc", (), {**_SCALE, "asymmetry": 1.0, "softness": 1.0}, True),
    "Stable": ("loc", (), {**_SCALE, "stability": 1.5, "skew": 0.0}, True),
    "StableWithLogProb": ("loc", (), {**_SCALE, "stability": 1.5, "skew": 0.0}, True),
    "VonMises": ("loc", (), {"concentration": "image"}, True),
    "NanMaskedNormal": ("loc", (), _SCALE, True),
    "MultivariateNormal": ("loc", (3,), _TRIL, True),
    "NanMaskedMultivariateNormal": ("loc", (3,), _TRIL, True),
    "OMTMultivariateNormal": ("loc", (3,), _TRIL, True),
    "AVFMultivariateNormal": (
        "loc",
        (3,),
        {**_TRIL, "control_var": Param(0.0, shape=(2, 1, 3))},
        True,
    ),
    "MultivariateStudentT": ("loc", (3,), {**_TRIL, "df": 4.0}, True),
    "LowRankMultivariateNormal": ("loc", (3,), {"cov_factor": (3, 1), "cov_diag": (3,)}, True),
    "MixtureOfDiagNormals": ("locs", (2, 3), {**_MIXTURE, "coord_scale": (2, 3)}, True),
    "MixtureOfDiagNormalsSharedCovariance": (
        "locs",
        (2, 3),
        {**_MIXTURE, "coord_scale": (3,)},
        True,
    ),
    "LogNormal": ("loc", (), _SCALE, False),
    "LogisticNormal": ("loc", (2,), {"scale": (2,)}, False),
    "GeneralizedPareto": ("loc", (), {**_SCALE, "concentration": 0.1}, False),
    "AffineBeta": ("loc", (), {**_SCALE, "concentration1": 2.0, "concentration0": 2.0}, False),
    "SineBivariateVonMises": ("phi_loc", (), _TORUS, False),
}


def _link(head: Head, name: str, shape: tuple[int, ...]) -> list[float]:
    """What a parameter is at raw output −100, 0 and 100."""
    # Some that no plate can hold are refused for that; where a location goes does not hang on it.
    with patch("pyro_vae.heads.probing.try_batch"):
        built = head.build(shape)
    made = built.links[name](torch.tensor([-100.0, 0.0, 100.0]))
    return [float(value) for value in made]


@pytest.mark.parametrize("family", PARAMETERS)
def test_a_location_of_pyros_goes_where_its_support_lies(family: str) -> None:
    if not hasattr(dist, family):
        pytest.skip("this version of Pyro has none")
    name, shape, others, located = PARAMETERS[family]
    head = Head.of(getattr(dist, family), **{**others, name: Param(shape=shape)})
    event = {"LogisticNormal": (3,), "SineBivariateVonMises": (2,)}.get(family, (3,))
    assert _link(head, name, event) == ([0.0, 0.5, 1.0] if located else [-100.0, 0.0, 100.0])
    assert (head.parameter is not None) == (located and name == "loc")


def test_the_table_has_what_this_version_of_pyro_has() -> None:
    named = set()
    for family in vars(dist).values():
        constrained = getattr(family, "arg_constraints", None)
        if isinstance(constrained, dict) and any("loc" in name for name in constrained):
            named.add(family.__name__)
    # Its observations come in groups, which a head's own grid cannot be.
    assert {*PARAMETERS, "GroupedNormalNormal"} >= named > {"Normal", "LogNormal"}


class _Squashed(dist.TransformedDistribution):  # type: ignore[misc]
    """Its class says nothing of its support."""

    arg_constraints = dist.Normal.arg_constraints

    def __init__(self, loc: Tensor, scale: Tensor, steps: Any, validate_args: Any = None) -> None:
        self.loc, self.scale = loc, scale
        super().__init__(dist.Normal(loc, scale), steps, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return dist.TransformedDistribution(self.base_dist.expand(batch_shape), self.transforms)


class _ShiftedExponential(dist.Exponential):  # type: ignore[misc]
    """An exponential from ``loc`` upwards: below it there is no density."""

    arg_constraints = {"loc": torch.distributions.constraints.real}  # noqa: RUF012
    support = torch.distributions.constraints.dependent

    def __init__(self, loc: Tensor, validate_args: Any = None) -> None:
        self.loc = loc
        super().__init__(torch.ones_like(loc), validate_args=False)
        self.support = torch.distributions.constraints.greater_than_eq(loc)

    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value - self.loc)


OTHERS: dict[str, tuple[Callable[[], Head], bool]] = {
    "truncated": (lambda: Head.of(TruncatedNormal, "loc", scale="image"), True),
    "truncated, narrow": (lambda: Head.of(TruncatedNormal, "loc", scale=1e-3), True),
    "logit-normal": (lambda: Head.of(LogitNormal, "loc", scale="image"), False),
    "partial": (lambda: Head.of(partial(dist.LogNormal, scale=1.0), "loc"), False),
    "partial of a partial": (
        lambda: Head.of(partial(partial(dist.Normal, scale=1.0)), "loc"),
        True,
    ),
    "narrow": (lambda: Head.of(dist.Normal, "loc", scale=1e-4), True),
    "wide": (lambda: Head.of(dist.Normal, "loc", scale=1e4), True),
    "wide logarithm": (lambda: Head.of(dist.LogNormal, "loc", scale=1e4), False),
    "squashed": (
        lambda: Head.of(partial(_Squashed, steps=[SigmoidTransform()]), "loc", scale="image"),
        False,
    ),
    "in another unit": (
        lambda: Head.of(partial(_Squashed, steps=[AffineTransform(0.0, 9.0)]), "loc", scale=1.0),
        False,
    ),
    "shifted": (
        lambda: Head.of(partial(_Squashed, steps=[AffineTransform(0.1, 1.0)]), "loc", scale=1.0),
        True,
    ),
    "an end of the support": (lambda: Head.of(_ShiftedExponential, "loc"), False),
    "a mass": (lambda: Head.of(OnLevels(dist.Normal), "loc", scale="image"), True),
    "a truncated mass": (lambda: Head.of(OnLevels(TruncatedNormal), "loc", scale="image"), True),
    "a mass of logits": (lambda: Head.of(OnLevels(LogitNormal), "loc", scale="image"), False),
    "grey": (lambda: Head.of(dist.Normal, "loc", scale="image", levels="grey"), True),
    "binary": (lambda: Head.of(dist.Normal, "loc", scale="image", levels="binary"), True),
    "counts": (lambda: Head.of(dist.Normal, "loc", scale="image", levels="counts"), False),
    "real": (lambda: Head.of(dist.Normal, "loc", scale="image", levels="real"), False),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_location_of_others_goes_where_its_support_lies(name: str) -> None:
    make, located = OTHERS[name]
    assert _link(make(), "loc", (3,)) == ([0.0, 0.5, 1.0] if located else [-100.0, 0.0, 100.0])


def test_a_lognormal_finds_the_mean_of_logarithms_outside_the_unit_interval() -> None:
    built = Head.of(dist.LogNormal, loc="dataset", scale="dataset").build((1,))
    logs = torch.linspace(-1.0, 1.0, 50) + 3.0  # of mean 3 and mean square deviation 0.3469
    optimiser = torch.optim.Adam(built.parameters(), lr=0.05)
    for _ in range(400):
        optimiser.zero_grad()
        (-built(torch.zeros(50, 0)).log_prob(logs.exp().unsqueeze(-1)).mean()).backward()
        optimiser.step()
    p = built(torch.zeros(0)).base_dist
    assert p.loc.item() == pytest.approx(3.0, abs=0.01)
    assert p.scale.item() == pytest.approx(logs.std(correction=0).item(), abs=0.01)


def test_a_lognormal_takes_positive_numbers_above_one() -> None:
    x = torch.rand(60, 4) * 3 + 0.1
    head = Head.of(dist.LogNormal, "loc", scale="dimension")
    steps = fit(VAE((4,), 2, head), x, epochs=2).steps
    assert all(torch.isfinite(torch.tensor(step["loss"])) for step in steps)


@pytest.mark.parametrize("family", [dist.LogNormal, LogitNormal])
def test_no_residual_without_a_location(family: Any) -> None:
    head = Head.of(family, "loc", scale=Param("batch", source="residual"))
    with pytest.raises(InputError, match=r"scale of .* cannot be a residual"):
        head.build((3,))


def test_a_range_outside_the_support() -> None:
    with pytest.raises(InputError, match=r"lives on \[0, 1\], not on the range -1,1"):
        observations.get("truncated-normal", interval=(-1.0, 1.0))
    head = Head.of(dist.LogNormal, "loc", scale="image")
    with pytest.raises(InputError, match=r"lives on \[0, inf\], not on the range -1,1"):
        head.replace(interval=(-1.0, 1.0))
    wide = Head.of(partial(TruncatedNormal, low=-1.0, high=1.0), "loc", scale="image")
    assert _link(wide.replace(interval=(-1.0, 1.0)), "loc", (3,)) == [-1.0, 0.0, 1.0]
    assert head.replace(interval=(0.0, 255.0)).interval == (0.0, 255.0)
