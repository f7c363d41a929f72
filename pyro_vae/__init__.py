"""Variational autoencoders in Pyro, whose two ends are heads.

A head turns a network's raw output into a distribution: the encoder's gives q(z|x), the decoder's
p(x|z). Swapping the likelihood is swapping one head.
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
from pyro_vae.joint import JointVAE, Part
from pyro_vae.measures import Forecast
from pyro_vae.reporting import report
from pyro_vae.training import History, fit, load, save
from pyro_vae.vae import VAE

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
