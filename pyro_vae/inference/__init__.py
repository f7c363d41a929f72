"""Inference after training: aggregate posteriors, refined ones, missing pixels, anomalies."""

from pyro_vae.inference.aggregate import mixture_prior
from pyro_vae.inference.anomalies import Anomaly, anomaly
from pyro_vae.inference.chains import Draws, hmc
from pyro_vae.inference.imputing import impute, impute_parts
from pyro_vae.inference.refining import refine
from pyro_vae.inference.two_stage import TwoStage, two_stage

__all__ = [
    "Anomaly",
    "Draws",
    "TwoStage",
    "anomaly",
    "hmc",
    "impute",
    "impute_parts",
    "mixture_prior",
    "refine",
    "two_stage",
]
