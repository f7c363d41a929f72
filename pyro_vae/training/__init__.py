"""Training: fit, its history, and run folders."""

from pyro_vae.training.faults import FaultError
from pyro_vae.training.history import History
from pyro_vae.training.loop import fit
from pyro_vae.training.progress import Progress, Stopped
from pyro_vae.training.recipe import Recipe
from pyro_vae.training.runs import load, read_config, save
from pyro_vae.training.settings import Settings

__all__ = [
    "FaultError",
    "History",
    "Progress",
    "Recipe",
    "Settings",
    "Stopped",
    "fit",
    "load",
    "read_config",
    "save",
]
