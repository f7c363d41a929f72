"""How many latents will survive, told before training."""

from pyro_vae.forecasting.forecaster import draw_forecast, forecast
from pyro_vae.forecasting.gaussian import Forecast, forecast_gaussian, forecast_of

__all__ = ["Forecast", "draw_forecast", "forecast", "forecast_gaussian", "forecast_of"]
