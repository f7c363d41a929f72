"""Variational autoencoders in Pyro, whose sites are heads.

A head turns a network's raw output into a distribution: a latent site has two, p in the model and
q in the guide, an observed site one. Swapping a likelihood, a prior or a posterior is swapping one.
"""

from importlib.metadata import version

from pyro_vae import (
    data,
    evaluation,
    inference,
    networks,
    objectives,
    observations,
    posteriors,
    priors,
    schedules,
    testing,
    training,
)
from pyro_vae.comparison import Comparison, compare
from pyro_vae.diagnosis import AuditReport, Diagnosis, audit, diagnose, forecast
from pyro_vae.errors import InputError, TrainingError
from pyro_vae.evaluation import evaluate
from pyro_vae.heads import Head, Param
from pyro_vae.measures import Forecast
from pyro_vae.reporting import report
from pyro_vae.several import Part
from pyro_vae.training import History, fit, load, save
from pyro_vae.vae import VAE, JointVAE

__version__ = version("pyro_vae")
__all__ = [
    "VAE",
    "AuditReport",
    "Comparison",
    "Diagnosis",
    "Forecast",
    "Head",
    "History",
    "InputError",
    "JointVAE",
    "Param",
    "Part",
    "TrainingError",
    "audit",
    "compare",
    "data",
    "diagnose",
    "evaluate",
    "evaluation",
    "fit",
    "forecast",
    "inference",
    "load",
    "networks",
    "objectives",
    "observations",
    "posteriors",
    "priors",
    "report",
    "save",
    "schedules",
    "testing",
    "training",
]
