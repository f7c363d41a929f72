"""What people are told of a forecast: by fit, by its own report, by the audit, by the command."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from torch import Tensor

import pyro_vae as pv
from pyro_vae import forecasting
from pyro_vae.errors import InputError
from pyro_vae.forecasting import draw_forecast

pytestmark = pytest.mark.usefixtures("pictures")

Run = Callable[..., Result]


def test_fit_says_it_in_its_first_lines(few: Tensor) -> None:
    vae = pv.VAE((1, 28, 28), 5, "normal", pv.networks.MLP(hidden=4))
    expected = forecasting.forecast_of(vae, few, beta=40.0)
    history = pv.fit(vae, few, epochs=1, beta="linear:1,40,steps=2")
    assert expected.note() in history.notes
    assert history.warnings[0] == expected.warning()
    assert "β = 40" in history.warnings[0]


@pytest.mark.parametrize("name", ["normal-learned-sigma", "bernoulli"])
def test_a_healthy_run_is_not_warned(few: Tensor, name: str) -> None:
    vae = pv.VAE((1, 28, 28), 5, name, pv.networks.MLP(hidden=4))
    history = pv.fit(vae, few, epochs=1)
    assert history.warnings == []
    assert sum(note.startswith("forecast: 5 of 5 units") for note in history.notes) == 1


@pytest.mark.parametrize("option", [{"target_kl": 5.0}, {"elbo": "free-bits:0.1"}], ids=str)
def test_no_forecast_where_beta_is_not_known_beforehand(
    few: Tensor, option: dict[str, Any]
) -> None:
    vae = pv.VAE((1, 28, 28), 5, "normal", pv.networks.MLP(hidden=4))
    notes = pv.fit(vae, few, epochs=1, **option).notes
    assert not any(note.startswith("forecast") for note in notes)


def test_the_report_fits_its_page(few: Tensor) -> None:
    for name in ("normal", "normal-learned-sigma", "bernoulli"):
        for beta in (0.001, 1, 1e6):
            forecast = pv.forecast(few, name, beta=beta)
            assert all(len(line) <= 79 for line in str(forecast).splitlines())
            assert len(forecast.note()) <= 95
            assert f"{forecast.active_units} of 20" in str(forecast)
            assert ("approximate" in str(forecast)) == forecast.approximate
    assert dataclasses.is_dataclass(forecast)
    with pytest.raises(AttributeError):
        forecast.beta = 2  # type: ignore[misc]


def test_the_audit_forecasts_for_the_implied_sigma(few: Tensor) -> None:
    def loss(x: Tensor, x_hat: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
        kl = -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum()
        return ((x_hat - x) ** 2).mean() + kl

    images = few.float() / 255
    report = pv.audit(loss, data_shape=(1, 28, 28), latent_dim=7, batch_size=64, data=images)
    assert report.forecast.collapses
    assert report.forecast.latent_dim == 7
    assert report.forecast.sigma == pytest.approx(report.implied_sigma, rel=1e-6)
    assert "0 of 7" in str(report)
    assert json.loads(json.dumps(report.to_dict()))["forecast"]["active_units"] == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"beta": -1.0}, "beta"),
        ({"beta": float("nan")}, "beta"),
        ({"latent_dim": 0}, "latent-dim"),
        ({"obs": "norml"}, "did you mean 'normal'"),
        ({"scale": -0.5}, "scale"),
        ({"images": torch.zeros(0, 4)}, "no images"),
        ({"images": torch.tensor([[0.0, float("inf")]])}, "finite"),
        ({"images": torch.full((3, 4), 200.0)}, "200"),
        ({"images": torch.zeros(3)}, "shape"),
    ],
    ids=lambda value: str(list(value)) if isinstance(value, dict) else value,
)
def test_mistakes_are_told_in_a_line(options: dict[str, Any], words: str) -> None:
    arguments = {"images": torch.rand(20, 4), **options}
    with pytest.raises(InputError, match=words) as error:
        pv.forecast(**arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("variance", [0.0, -1.0, float("inf"), float("nan")])
def test_a_variance_is_positive(variance: float) -> None:
    with pytest.raises(InputError, match="variance must be positive"):
        forecasting.forecast_gaussian(torch.rand(20, 4), variance)


def test_the_command_prints_and_draws(cli: Run, tmp_path: Path) -> None:
    words = ("--obs", "normal", "--sigma", 0.5, "--beta", 4, "--latent-dim", 9)
    said = json.loads(cli("forecast", *words, "--json").stdout)
    train = pv.data.load("mnist-5k").train
    known = forecasting.forecast_gaussian(train, 0.25, 4.0, 9)
    assert said["active_units"] == known.active_units
    assert said["eigenvalues"] == pytest.approx(known.eigenvalues)
    assert said["beta_collapse"] == pytest.approx(known.beta_collapse)
    result = cli("forecast", *words, "--plot", tmp_path / "curve.png")
    assert f"{known.active_units} of 9" in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines())
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_warns_of_collapse(cli: Run) -> None:
    printed = cli("forecast", "--obs", "normal", "--beta", 16).stdout
    assert "0 of 20" in printed
    assert "this will collapse" in printed
    assert all(len(line) <= 80 for line in printed.splitlines())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--beta", -1), "beta"),
        (("--beta", "much"), "--beta"),
        (("--latent-dim", 0), "latent-dim"),
        (("--obs", "normle"), "did you mean"),
        (("--sigma", 0), "--sigma"),
        (("--plot", "curve.pdf"), "--plot"),
        (("--plot", "nowhere/curve.png"), "nowhere"),
        (("--data", "mnist-6k"), "data set"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else value,
)
def test_the_command_refuses(
    mistake: Callable[..., str], words: tuple[object, ...], said: str
) -> None:
    assert said in mistake("forecast", *words)


def test_the_drawing_of_one_without_a_sigma(few: Tensor, tmp_path: Path) -> None:
    draw_forecast(pv.forecast(few, "bernoulli"), tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
