"""Pictures: grids of images, courses of training, and an observation's own curves."""

from pyro_vae.plots.curves import Curves, curves_of
from pyro_vae.plots.observations import draw_observation
from pyro_vae.plots.runs import draw_grid, draw_reconstructions, draw_samples

__all__ = [
    "Curves",
    "curves_of",
    "draw_grid",
    "draw_observation",
    "draw_reconstructions",
    "draw_samples",
]
