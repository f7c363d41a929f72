"""A family is what its parameters' roles say, whatever their names: a Normal's, bit for bit."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor
from torch.distributions import constraints

import pyro_vae as pv
from pyro_vae.config import ObservationConfig
from pyro_vae.diagnostics.diagnosing import _scale_of
from pyro_vae.heads import Param
from pyro_vae.observations import head_of
from pyro_vae.plots.curves import curves_of
from pyro_vae.training.notes import scale_note


class Named(dist.Normal):  # type: ignore[misc]
    """A Normal whose parameters have names of the user's own."""

    arg_constraints = {"mu": constraints.real, "sigma": constraints.positive}  # noqa: RUF012

    def __init__(self, mu: Tensor, sigma: Tensor, validate_args: bool | None = None) -> None:
        self.mu, self.sigma = torch.broadcast_tensors(mu, sigma)
        super().__init__(mu, sigma, validate_args=validate_args)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> Named:
        return Named(self.mu.expand(batch_shape), self.sigma.expand(batch_shape))


SCALES: dict[str, Any] = {
    "fixed": Param(0.3),
    "dataset": Param("dataset"),
    "pixel": Param("pixel"),
    "from-data": Param("dataset", source="data"),
    "residual-batch": Param("batch", source="residual"),
    "residual-pixel": Param("pixel", source="residual"),
}
SHAPE = (1, 4, 4)


def heads(scale: Param) -> tuple[pv.Head, pv.Head]:
    own = Param(**{**vars(scale), "role": "scale"})
    return (
        pv.Head.of(dist.Normal, "loc", scale=scale),
        pv.Head.of(Named, mu=Param(role="location"), sigma=own),
    )


def vaes(scale: Param, **replaced: Any) -> list[pv.VAE]:
    found = []
    for head in heads(scale):
        torch.manual_seed(0)
        net = pv.networks.MLP(hidden=8)
        found.append(pv.VAE(SHAPE, 2, head.replace(**replaced), net, name=f"roles-{len(found)}"))
    return found


@pytest.fixture(scope="module")
def images() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (96, *SHAPE), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_densities_are_a_normals(scale: Param) -> None:
    raw, x = torch.randn(5, 64), torch.rand(5, *SHAPE)
    normal, own = (head.replace(interval=(0, 2), scaled=True).build(SHAPE) for head in heads(scale))
    for built in (normal, own):
        built.estimate(torch.full(SHAPE, 0.04))
    assert normal.numbers == own.numbers
    a, b = (built(raw[:, : normal.numbers], x).log_prob(x) for built in (normal, own))
    assert torch.equal(a, b)
    assert own.head.parameter is not None


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_training_notes_and_diagnosis_are_a_normals(scale: Param, images: Tensor) -> None:
    normal, own = vaes(scale)
    histories = [pv.fit(vae, images, epochs=1, batch_size=32) for vae in (normal, own)]
    assert [r["loss"] for r in histories[0].steps] == [r["loss"] for r in histories[1].steps]
    assert _scale_of(normal) == _scale_of(own) != "none"
    known, said = (scale_note(vae) for vae in (normal, own))
    assert (known is None) == (said is None)
    if known is not None and said is not None:
        assert known.startswith(said)  # of σ² and β only a class that is Normal is told


@pytest.mark.parametrize("scale", ["fixed", "dataset", "residual-batch"])
def test_a_forecast_is_a_normals(scale: str, images: Tensor) -> None:
    normal, own = (pv.forecast(images, head, latent_dim=2) for head in heads(SCALES[scale]))
    assert normal.to_dict() == own.to_dict()
    assert not own.approximate


def test_curves_of_a_residual_are_a_normals() -> None:
    normal, own = (curves_of(head).errors for head in heads(SCALES["residual-pixel"]))
    assert normal is not None
    assert own is not None
    assert torch.equal(normal.loss, own.loss)


def test_the_name_of_torchs_loses_its_role_to_the_declared() -> None:
    head = pv.Head.of(dist.StudentT, "loc", df=Param(3.0), scale=Param("dataset"))
    assert (head.location, head.scale) == ("loc", "scale")
    head = head.replace(df=Param(role="scale"))
    assert head.scale == "df"
    assert head.of_role("scale") == Param(3.0, shape=(), role="scale")


def test_sigma_is_about_the_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    import tests.test_roles as here

    monkeypatch.setattr(here, "OWN", heads(SCALES["dataset"])[1], raising=False)
    found = head_of(ObservationConfig("tests.test_roles:OWN", sigma="0.2"))
    assert dict(found.parameters)["sigma"].scope == 0.2


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(pv.InputError, match="unknown role 'spread'"):
        Param(role="spread")


def test_a_head_without_a_location_has_no_residual() -> None:
    head = pv.Head.of(dist.Gamma, concentration=(), rate=Param("batch", source="residual"))
    assert head.location is None
    with pytest.raises(pv.InputError, match="cannot be a residual x − loc"):
        head.build(SHAPE)
