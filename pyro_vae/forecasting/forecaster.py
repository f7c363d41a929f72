"""The forecast for an observation and images, before there is any model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor
from torch.distributions import Distribution

from pyro_vae.checks import check_images
from pyro_vae.data import Batch, as_images
from pyro_vae.data.batch import Given
from pyro_vae.errors import InputError
from pyro_vae.forecasting.gaussian import Forecast, forecast_of
from pyro_vae.heads import Head
from pyro_vae.networks import MLP
from pyro_vae.noise import fixed_noise, noise
from pyro_vae.ours import MARK
from pyro_vae.vae import VAE

__all__ = ["draw_forecast", "forecast"]


def forecast(
    images: Given,
    obs: str | Head | Callable[[Tensor], Distribution] = "normal",
    beta: float = 1.0,
    latent_dim: int = 20,
    **parameters: object,
) -> Forecast:
    """How many latents will survive training, and from which β and σ on none does.

    For a linear VAE with a Gaussian observation this is exact (Lucas, Tucker, Grosse and Norouzi
    2019, "Don't blame the ELBO!"); for other networks it tells whether everything collapses and
    the number of active units near that. Other observations are taken to second order.

    Args:
        images: uint8 levels or floats (N, C, H, W) or (N, D), or a ``torch.utils.data.Dataset``.
        obs: A stock observation's name, a :class:`~pyro_vae.heads.Head`, or a function.
        beta: Weight of the KL.
        latent_dim: Length of z.
        **parameters: Changes to the observation, as ``scale=0.1``.

    Raises:
        InputError: If a name is unknown, a number is out of range, or the images do not suit the
            observation.

    Example:
        >>> import pyro_vae as pv
        >>> digits = pv.data.load("mnist-5k").train
        >>> [pv.forecast(digits, "normal", beta=beta).active_units for beta in (4, 8, 16)]
        [6, 1, 0]
    """
    tensor = as_images(images)
    if isinstance(tensor, Batch):
        raise InputError(
            "a forecast is of one observation of images or vectors, without covariates or gaps"
        )
    shape = tuple(tensor.shape[1:])
    # A model of the smallest networks: it knows how to read its observation and these images.
    vae = VAE(shape, latent_dim, obs, MLP(hidden=1), name="forecast")
    if parameters:
        vae = VAE(shape, latent_dim, vae.obs.replace(**parameters), MLP(hidden=1), name="forecast")
    check_images(vae, tensor)
    if "data" in vae.likelihood.origins():
        with fixed_noise(noise("estimate"), tensor.device):
            vae.estimate(tensor)
    return forecast_of(vae, tensor, beta)


def draw_forecast(forecast: Forecast, path: str | Path) -> None:
    """The rate–distortion curve, with the point where this β and σ stand on it.

    Args:
        forecast: The forecast.
        path: PNG to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 3.8), layout="constrained")
    axes = figure.subplots()
    rates, distortions = zip(*forecast.curve, strict=True)
    axes.plot(rates, distortions, color="#0072b2", label="pPCA, reverse water-filling")
    point = forecast.operating_point
    if point is not None:
        axes.plot(*point, "o", color="#d55e00", label=f"β = {forecast.beta:.4g}, as forecast")
    axes.set(
        xlabel="rate: KL in nats per image",
        ylabel="distortion: mean squared error per pixel",
        ylim=(0, None),
    )
    axes.set_title(forecast.note().removeprefix("forecast: "), fontsize=9)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120, metadata=MARK)
