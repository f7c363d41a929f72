"""Diagnose: what is wrong with a trained VAE, from its distributions and its records."""

from pyro_vae.diagnosis.diagnose.diagnosing import Diagnosis, diagnose
from pyro_vae.diagnosis.diagnose.evidence import Evidence

__all__ = ["Diagnosis", "Evidence", "diagnose"]
