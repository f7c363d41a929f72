"""Training: fit, its history, and run folders."""

from pyro_vae.training.history import History
from pyro_vae.training.loop import fit
from pyro_vae.training.progress import Progress
from pyro_vae.training.runs import load, read_config, save
from pyro_vae.training.settings import Settings

__all__ = ["History", "Progress", "Settings", "fit", "load", "read_config", "save"]
