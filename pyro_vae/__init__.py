"""Variational autoencoders in Pyro, whose two ends are heads.

A head turns a network's raw output into a distribution: the encoder's gives q(z|x), the decoder's
p(x|z). Swapping the likelihood is swapping one head.
"""

from importlib.metadata import version

from pyro_vae import data, networks, objectives, observations, schedules, training
from pyro_vae.diagnosis import AuditReport, audit
from pyro_vae.errors import InputError, TrainingError
from pyro_vae.evaluation import evaluate
from pyro_vae.heads import Head, Param
from pyro_vae.training import History, fit, load, save
from pyro_vae.vae import VAE

__version__ = version("pyro_vae")
__all__ = [
    "VAE",
    "AuditReport",
    "Head",
    "History",
    "InputError",
    "Param",
    "TrainingError",
    "audit",
    "data",
    "evaluate",
    "fit",
    "load",
    "networks",
    "objectives",
    "observations",
    "save",
    "schedules",
    "training",
]
